"""The TypeScript client against live servers, by Node's own WebSocket."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import anyio
import pytest

from wireloom import App, notify
from wireloom.codegen import typescript as writer
from wireloom.errors import CLOSE_CODES
from wireloom.testing import TestServer

from .application import make_app
from .conftest import GOLDEN, generate
from .typescript import TypeScript

SECONDS = 20


class Program:
    """A running scenario of ``usage.ts``."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def expect(self, wanted: str) -> None:
        """Waits for its next line."""
        assert self._process.stdout is not None
        line = b"nothing in time"
        with contextlib.suppress(TimeoutError):
            line = await asyncio.wait_for(self._process.stdout.readline(), SECONDS)
        if line.decode().strip() != wanted:
            raise AssertionError(f"awaited {wanted!r}, got {line!r}: {await self._errors()}")

    async def end(self) -> None:
        """Waits until it is done and has ended by itself."""
        await self.expect("done")
        assert await asyncio.wait_for(self._process.wait(), SECONDS) == 0
        await self._process.communicate()

    async def _errors(self) -> str:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        return (await self._process.communicate())[1].decode()[-3000:]


async def start(typescript: TypeScript, compiled: Path, url: str, scenario: str) -> Program:
    """Runs a scenario of ``usage.ts``."""
    command = [*typescript.node, str(compiled / "usage.js"), url, scenario]
    pipe = asyncio.subprocess.PIPE
    return Program(await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe))


async def play(typescript: TypeScript, compiled: Path, url: str, scenario: str) -> None:
    """Runs a scenario to its end."""
    await (await start(typescript, compiled, url, scenario)).end()


@pytest.mark.anyio
@pytest.mark.parametrize("scenario", ["endpoints", "rest", "events"])
async def test_every_face_is_reached(typescript: TypeScript, compiled: Path, scenario: str) -> None:
    async with TestServer(make_app()) as server:
        await play(typescript, compiled, server.url, scenario)


@pytest.mark.anyio
async def test_it_comes_back_with_its_subscriptions_and_what_it_kept(typescript: TypeScript, compiled: Path) -> None:
    async with TestServer(make_app()) as first:
        url, port = first.url, first.port
        program = await start(typescript, compiled, url, "reconnect")
        await program.expect("stop")
    await program.expect("start")
    async with TestServer(make_app(), port=port):
        await program.expect("publish")
        notify.channels(["kitchen"], {"soup": 1})
        await program.end()


@pytest.mark.anyio
async def test_a_late_answer_is_nobody_elses(typescript: TypeScript, compiled: Path) -> None:
    app, asked_again = App(), anyio.Event()

    @app.websocket("/chat/{room}")
    async def chat(message: dict[str, str]) -> dict[str, str]:
        if message["text"] == "late":
            await asked_again.wait()
        asked_again.set()
        return message

    async with TestServer(app) as server:
        await play(typescript, compiled, server.url, "silence")


@pytest.mark.anyio
async def test_it_ends_where_nobody_listens(typescript: TypeScript, compiled: Path) -> None:
    async with TestServer(App()) as server:
        url = server.url
    await play(typescript, compiled, url, "final")


def test_the_golden_client_is_what_is_written() -> None:
    """Else look at the difference, then run ``python -m tests.codegen.renew``."""
    assert (GOLDEN / "client.ts").read_text(encoding="utf-8") == generate(".ts")


def test_it_compiles_under_the_strictest_options(typescript: TypeScript) -> None:
    strictest = (
        *("--noUncheckedIndexedAccess", "--exactOptionalPropertyTypes", "--noImplicitOverride", "--noImplicitReturns"),
        *("--noPropertyAccessFromIndexSignature", "--noFallthroughCasesInSwitch", "--verbatimModuleSyntax", "--noEmit"),
    )
    assert typescript.problems([GOLDEN / "client.ts"], *strictest) == ""


def test_the_shared_part_compiles_by_itself(typescript: TypeScript) -> None:
    parts = Path(writer.__file__).with_name("client").glob("*.ts")
    assert typescript.problems(parts, "--noUnusedLocals", "--verbatimModuleSyntax", "--noEmit") == ""


def test_its_types_can_be_declared_apart(typescript: TypeScript, tmp_path: Path) -> None:
    """For libraries that hand the client on."""
    assert typescript.problems([GOLDEN / "client.ts"], "--declaration", "--outDir", str(tmp_path)) == ""
    assert "export declare class Client" in (tmp_path / "client.d.ts").read_text()


def test_its_close_codes_are_the_servers() -> None:
    [listed] = [line for line in writer._runtime().splitlines() if line.startswith("const COME_BACK:")]
    table = {code for code, known in CLOSE_CODES.items() if known.come_back} | {1006, 1014}
    assert listed.partition("=")[2].strip(" ;") == str(sorted(table))
