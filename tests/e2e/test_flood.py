"""100 abusive connections break every limit over and over; 100 well-behaved clients see no error and lose nothing."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from bench.abuse import ABUSES
from bench.flood import CLIENTS, Clients

from tests.cli.processes import Running, environment

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).resolve().parents[2]
ABUSERS, ROUNDS = 100, 2
SECONDS = 120


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """A server in a process of its own."""
    running = Running(("serve", str(ROOT / "bench" / "servers" / "flooded.py"), "--port", "0"), tmp_path, {})
    try:
        yield int(running.started().rpartition(":")[2])
    finally:
        running.kill()


async def held(port: int) -> Any:
    """What the server holds."""
    async with httpx.AsyncClient() as http:
        return (await http.get(f"http://127.0.0.1:{port}/held/", timeout=10)).json()


async def held_with(port: int, connections: int) -> Any:
    """The same, as soon as so many connections are left."""
    while (told := await held(port))["shells"] != connections:  # noqa: ASYNC110 - of another process
        await asyncio.sleep(0.05)
    return told


async def flood(port: int) -> dict[str, dict[str, int]]:
    """What the server did about each kind of abuse, and how often."""
    command = ("-m", "bench.abuse", "127.0.0.1", str(port), str(ABUSERS), str(ROUNDS))
    abuse = await asyncio.create_subprocess_exec(
        sys.executable, *command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE
    )
    try:
        output, _ = await abuse.communicate()
    finally:
        if abuse.returncode is None:
            abuse.kill()
            await abuse.wait()
    outcomes: dict[str, dict[str, int]] = json.loads(output)
    return outcomes


async def test_the_well_behaved_notice_nothing_and_the_abusers_are_dealt_with(port: int) -> None:
    async with asyncio.timeout(SECONDS):
        over, clients = asyncio.Event(), Clients(port)
        conversing = asyncio.create_task(clients.run(over))
        before = await held_with(port, CLIENTS)
        outcomes = await flood(port)
        after = await held_with(port, CLIENTS)
        over.set()
        await conversing
        last = await held_with(port, 0)
    assert clients.errors == []
    assert clients.opened == CLIENTS and len(clients.delays) > CLIENTS
    for kind, told in outcomes.items():
        assert set(told) <= set(ABUSES[kind].dealt), outcomes
        assert sum(told.values()) >= ROUNDS, outcomes
    assert after == before == {**before, "counted": CLIENTS, "connections": CLIENTS}
    assert last == {**last, "counted": 0, "connections": 0, "tasks": before["tasks"]}
