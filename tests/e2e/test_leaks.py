"""10,000 connections come and go, in every way there is: server and client hold afterwards what they held before."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.cli.processes import COMMAND, Running

CYCLES = 10_000
CHURN = str(Path(__file__).with_name("churn.py"))
SERVER = """
import asyncio, gc, os
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
    pages = int(open("/proc/self/statm").read().split()[1])
    answer = JSONResponse({
        "tasks": len(asyncio.all_tasks()),
        "files": len(os.listdir("/proc/self/fd")),
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
    client = run(tmp_path, CHURN, f"{url}/echo", str(CYCLES), command=(sys.executable,))
    with httpx.Client(base_url=url.replace("ws", "http", 1), timeout=20) as http:
        before = json.loads(client.until(r"before: (.*)\n")[1]), http.get("/held/").json()
        client.type("\n")
        assert client.end() == 0, client.stderr
        found = re.search(r"after: (.*)\n", client.stdout)
        assert found is not None
        after = json.loads(found[1]), http.get("/held/").json()
    assert after[1]["connections"] == after[1]["channels"] == 0
    for held, left in zip(before, after, strict=True):
        assert (left["tasks"], left["files"]) == (held["tasks"], held["files"])
        assert left["resident"] < held["resident"] * 1.05, (held, left)
