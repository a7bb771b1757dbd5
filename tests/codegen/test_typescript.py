"""The TypeScript client against live servers, by Node's own WebSocket."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
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
        line = await asyncio.wait_for(self._process.stdout.readline(), SECONDS)
        if line.decode().strip() != wanted:
            raise AssertionError(f"awaited {wanted!r}, got {line!r}: {await self._errors()}")

    async def _errors(self) -> str:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        assert self._process.stderr is not None
        return (await self._process.stderr.read()).decode()[-3000:]


@contextlib.asynccontextmanager
async def running(typescript: TypeScript, compiled: Path, url: str, scenario: str) -> AsyncIterator[Program]:
    """Runs a scenario; it has to end by itself once it is done."""
    process = await asyncio.create_subprocess_exec(
        *typescript.node,
        str(compiled / "usage.js"),
        url,
        scenario,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        program = Program(process)
        yield program
        await program.expect("done")
        assert await asyncio.wait_for(process.wait(), SECONDS) == 0
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.mark.anyio
@pytest.mark.parametrize("scenario", ["endpoints", "rest", "events"])
async def test_every_face_is_reached(typescript: TypeScript, compiled: Path, scenario: str) -> None:
    async with TestServer(make_app()) as server, running(typescript, compiled, server.url, scenario):
        pass


@pytest.mark.anyio
async def test_it_comes_back_with_its_subscriptions_and_what_it_kept(typescript: TypeScript, compiled: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        first = TestServer(make_app())
        await first.__aenter__()
        program = await stack.enter_async_context(running(typescript, compiled, first.url, "reconnect"))
        await program.expect("stop")
        await first.__aexit__(None, None, None)
        await program.expect("start")
        await stack.enter_async_context(TestServer(make_app(), port=first.port))
        await program.expect("publish")
        notify.channels(["kitchen"], {"soup": 1})


@pytest.mark.anyio
async def test_a_late_answer_is_nobody_elses(typescript: TypeScript, compiled: Path) -> None:
    app = App()

    @app.websocket("/chat/{room}")
    async def chat(message: dict[str, str]) -> dict[str, str]:
        if message["text"] == "late":
            await anyio.sleep_forever()
        return message

    async with TestServer(app) as server, running(typescript, compiled, server.url, "silence"):
        pass


@pytest.mark.anyio
async def test_it_ends_where_nobody_listens(typescript: TypeScript, compiled: Path) -> None:
    async with TestServer(App()) as server:
        url = server.url
    async with running(typescript, compiled, url, "final"):
        pass


def test_the_golden_client_is_what_is_written() -> None:
    """Else look at the difference, then run ``python -m tests.codegen.renew``."""
    assert (GOLDEN / "client.ts").read_text(encoding="utf-8") == generate(".ts")


def test_it_compiles_under_the_strictest_options(typescript: TypeScript) -> None:
    strictest = (
        *("--noUncheckedIndexedAccess", "--exactOptionalPropertyTypes", "--noImplicitOverride", "--noImplicitReturns"),
        *("--noPropertyAccessFromIndexSignature", "--noFallthroughCasesInSwitch", "--verbatimModuleSyntax", "--noEmit"),
    )
    assert typescript.problems([GOLDEN / "client.ts"], *strictest) == ""


def test_its_close_codes_are_the_servers() -> None:
    [listed] = [line for line in writer._runtime().splitlines() if line.startswith("const COME_BACK:")]
    table = {code for code, known in CLOSE_CODES.items() if known.come_back} | {1006, 1014}
    assert listed.partition("=")[2].strip(" ;") == str(sorted(table))
