"""Workers that are replaced one after another: nothing acknowledged is lost, and nobody is replaced by nobody."""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, closing
from pathlib import Path

import pytest
import redis
from bench.crowd import Crowd

from tests.cli.processes import Running
from tests.net.raw import dial, eventually
from tests.services import Service, redis_service
from wireloom import ConnectionClosed, connect

from .draining import APP, SECONDS, end_of, port_of, serving, soon, until

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX"),
]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Starts `wireloom serve` on an application; gives the process."""
    with serving(tmp_path) as start:
        yield start


COUNTING = """\
import asyncio
import os

import redis.asyncio

from wireloom import App, notify

app = App()
app.events()
store = redis.asyncio.from_url(os.environ["STORE"])


@app.event("where")
async def where() -> int:
    return os.getpid()


@app.event("count")
async def count(message: dict) -> int:
    await asyncio.sleep(0.005)
    await store.rpush("stored", message["number"])
    notify.channels(["counted"], message)
    return message["number"]
"""


@pytest.fixture
def service() -> Iterator[Service]:
    with redis_service() as running:
        yield running


@pytest.fixture
def counting(tmp_path: Path, service: Service) -> Iterator[Callable[..., Running]]:
    """Starts servers of one application and one backplane; each stores what it counts in Redis."""
    (tmp_path / "app.py").write_text(COUNTING)
    started: list[Running] = []

    def start(*flags: str) -> Running:
        command = ("serve", "app.py", "--port", "0", "--backplane", service.url, *flags)
        started.append(Running(command, tmp_path, {"STORE": service.url}))
        return started[-1]

    yield start
    for running in started:
        running.kill()


class CountingClient:
    """A client that sends numbers until it is told to stop, three at a time and each until it is acknowledged."""

    def __init__(self, first: int) -> None:
        self._numbers = itertools.count(first)
        self.acknowledged: list[int] = []
        self.returns: list[tuple[float, float]] = []  # seconds that it was told to stay away, and those that it did
        self.stopping = False

    async def run(self, url: str) -> None:
        async with connect(f"{url}/websocket", on_state=self._note) as self._ws:
            await asyncio.gather(*(self._count_on() for _ in range(3)))

    async def _count_on(self) -> None:
        while not self.stopping:
            await self._count(next(self._numbers))

    async def _count(self, number: int) -> None:
        event = {"type": "walker", "walker": "count", "context": {"number": number}}
        while True:
            try:
                reply = await self._ws.request(event, timeout=SECONDS)
            except ConnectionClosed as closed:
                assert closed.code == 1012, closed
                continue
            assert reply["reports"] == [number]
            self.acknowledged.append(number)
            return

    def _note(self, state: str) -> None:
        now = asyncio.get_running_loop().time()
        if state == "away":
            told = json.loads(self._ws.close_reason)["reconnect_in_ms"] / 1000
            self._left = now, told
        elif state == "connected" and self.acknowledged:
            left, told = self._left
            self.returns.append((told, now - left))


async def test_a_rolling_restart_loses_nothing(counting: Callable[..., Running], service: Service) -> None:
    """Twenty clients count on at two workers, each of which is replaced; a server beside them hears of all of it."""
    server, beside = counting("--workers", "2"), counting()
    url, beside_url = server.started(), beside.started()
    heard: list[int] = []
    async with connect(f"{beside_url}/websocket") as listener, asyncio.TaskGroup() as tasks:
        await listener.subscribe("counted")

        async def hear() -> None:
            async for message in listener:
                told = json.loads(message)
                if "number" in told:
                    heard.append(told["number"])

        hearing = tasks.create_task(hear())
        before = await places(url)
        clients = [CountingClient(1_000_000 * index) for index in range(20)]
        running = [tasks.create_task(client.run(url)) for client in clients]
        await eventually(lambda: all(client.acknowledged for client in clients), SECONDS)
        server.signal(signal.SIGHUP)
        await until(server, "All workers are new", 90)  # two starts and two drains
        seen = {client: len(client.acknowledged) for client in clients}
        await eventually(lambda: all(client.acknowledged[count + 5 :] for client, count in seen.items()), SECONDS)
        for client in clients:
            client.stopping = True
        await asyncio.gather(*running)
        acknowledged = sorted(number for client in clients for number in client.acknowledged)
        with closing(redis.Redis.from_url(service.url)) as store:
            stored = sorted(int(number) for number in store.lrange("stored", 0, -1))
        assert stored == acknowledged  # none lost, and none counted twice
        await eventually(lambda: len(heard) >= len(stored), SECONDS)
        hearing.cancel()
    assert sorted(heard) == stored
    assert not before & await places(url)
    returns = [each for client in clients for each in client.returns]
    assert len(returns) >= 20  # each was closed at least once
    assert all(told <= away for told, away in returns)
    assert len({told for told, _ in returns}) > len(returns) // 2
    server.signal(signal.SIGTERM)
    assert await end_of(server) == 0


async def test_a_worker_that_does_not_start_replaces_nobody(serve: Callable[..., Running], tmp_path: Path) -> None:
    server = serve("--workers", "2")
    port = port_of(server.started())
    async with dial(port) as peer:
        await peer.upgrade("/echo")
        (tmp_path / "app.py").write_text("from wireloom import nothing_of_this_name\n")
        server.signal(signal.SIGHUP)
        await until(server, "The new worker did not start; the old ones go on", 90)
        peer.text("as before")
        await peer.expect_text("as before")
        (tmp_path / "app.py").write_text(APP)
        server.signal(signal.SIGHUP)
        await until(server, "All workers are new", 90)
        assert (await peer.frame()).code == 1012
    server.signal(signal.SIGTERM)
    assert await end_of(server) == 0
    assert "Traceback" not in server.stderr


@pytest.mark.parametrize("moment", ["a new one starts", "an old one drains"])
async def test_signals_are_heard_while_workers_are_replaced(serve: Callable[..., Running], moment: str) -> None:
    """The first ends the restart and all workers, the one that is being replaced among them; the second is at once."""
    server = serve("--workers", "2")
    port = port_of(server.started())
    idle = Crowd("/echo")
    async with AsyncExitStack() as stack:
        await soon(idle.connect(port, 16))
        for number in range(16):  # the kernel chooses the worker: one of them gets none in 1 of 30,000 runs
            peer = await stack.enter_async_context(dial(port))
            await peer.upgrade("/never")
            peer.text(str(number))
            await until(server, rf"begun {number}\b")
        server.signal(signal.SIGHUP)
        await until(server, "Restarting the workers, one by one")
        if moment == "an old one drains":
            await soon(idle.told.wait(), 60)
        server.signal(signal.SIGTERM)
        await until(server, "Stopping", 60)
        server.signal(signal.SIGTERM)
        assert await end_of(server) == 128 + signal.SIGTERM
    await soon(idle.over.wait())
    with pytest.raises(OSError):
        await asyncio.open_connection("127.0.0.1", port)


async def places(url: str) -> set[int]:
    """The processes that answer on a port."""
    found = set()
    for _ in range(20):
        async with connect(f"{url}/websocket") as ws:
            reply = await ws.request({"type": "walker", "walker": "where"})
            found.add(reply["reports"][0])
    return found
