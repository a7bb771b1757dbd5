"""10,000 connections come and go, in every way there is: server and client hold afterwards what they held before."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.processes import COMMAND, Running

WARM_UP, ROUNDS = 3, 5  # of 2,000 connections
CHURN = str(Path(__file__).with_name("churn.py"))
SERVER = """
import asyncio, ctypes, gc, os
from starlette.responses import JSONResponse
from wireloom import App, Connection

app = App(compression=True, compression_takeover=True, compression_min_bytes=1)


@app.websocket("/echo")
async def echo(message: str, connection: Connection) -> str | None:
    connection.join("all")
    if message == "close":
        return connection.close(4000)
    await asyncio.sleep(0)
    return message


async def held(scope, receive, send):
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    pages = int(open("/proc/self/statm").read().split()[1])
    answer = JSONResponse({
        "tasks": len(asyncio.all_tasks()),
        "files": len(os.listdir("/proc/self/fd")),
        "objects": len(gc.get_objects()),
        "resident": pages * os.sysconf("SC_PAGE_SIZE"),
        "connections": app.hub.count(),
        "channels": app.hub.count("all"),
    })
    await answer(scope, receive, send)


app.mount("/held", held)
"""


@pytest.fixture
def run() -> Iterator[Callable[..., Running]]:
    """Starts processes, and ends them whatever happens."""
    started: list[Running] = []

    def start(folder: Path, *arguments: str, command: tuple[str, ...] = COMMAND) -> Running:
        started.append(Running(arguments, folder, {}, command))
        return started[-1]

    yield start
    for running in started:
        running.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_nothing_is_left_of_10000_connections(run: Callable[..., Running], tmp_path: Path) -> None:
    (tmp_path / "server.py").write_text(SERVER)
    url = run(tmp_path, "serve", "server.py", "--port", "0").started()
    client = run(tmp_path, CHURN, f"{url}/echo", str(WARM_UP + ROUNDS), command=(sys.executable,))
    client.until(rf"(.*\n){{{WARM_UP + ROUNDS}}}")
    told = [json.loads(line) for line in client.stdout.splitlines()]
    for side in (0, 1):
        held = [each[side] for each in told]
        before, after = held[WARM_UP - 1], held[-1]
        assert (after["tasks"], after["files"]) == (before["tasks"], before["files"])
        assert after["objects"] < before["objects"] + 500  # of 10,000 connections
        # an allocator gives pages back when it likes, by a few percent more or less at each look
        most, least = (max(at["resident"] for at in held[:WARM_UP]), min(at["resident"] for at in held[-3:]))
        assert least < most * 1.05, held
    assert told[-1][1]["connections"] == told[-1][1]["channels"] == 0
