"""Pings and closes: what comes in time keeps a connection and what comes later does not, on every door.

They are our own port's. On another server they are its own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.net.clock import TICK, Clock
from tests.net.raw import Frame, Peer, dial, eventually
from wireloom import Connection
from wireloom.testing import TestServer
from wireloom.wire.frames import PING, TEXT

from .doors import DOORS, Door, every_door
from .sharing import BACKEND, sharing

pytestmark = pytest.mark.anyio

every = pytest.mark.parametrize("door", DOORS.values(), ids=list(DOORS))
INTERVAL, ANSWER, CLOSE = 3.0, 2.0, 4.0
OPTIONS = {"ping_interval_seconds": INTERVAL, "ping_timeout_seconds": ANSWER, "close_timeout_seconds": CLOSE}


class Client:
    """A client of one door, and the server's end of its connection."""

    def __init__(self, peer: Peer, connection: Connection, door: Door) -> None:
        self._connection = connection
        self._door = door
        self.peer = peer

    async def hears_nothing_before(self, text: str) -> None:
        """What the server sends now is the next that comes, so there was nothing before it."""
        self._connection.send(text)
        await self.peer.expect_text(text)

    async def says_something(self) -> None:
        """Sends a message; its answer says that it was taken."""
        self.peer.text(self._door.message)
        assert (await self.peer.frame()).opcode == TEXT

    def close(self) -> None:
        """The server closes."""
        self._connection.close(4321, "over")

    @property
    def is_dropped(self) -> bool:
        """Whether the server has ended TCP."""
        link: Any = self._connection._link
        closing: bool = link._transport.is_closing()
        return closing


@pytest.fixture(scope="module")
def anyio_backend() -> Any:
    """The event loop of this module's servers."""
    return BACKEND


@asynccontextmanager
async def timed(folder: Path, **options: Any) -> AsyncIterator[tuple[TestServer, Clock]]:
    """A server of every door, and its clock."""
    async with TestServer(every_door(folder, **{**OPTIONS, **options})) as server:
        yield server, Clock.of(server)


@pytest.fixture(scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Any]:
    """Opens a connection; gives its two ends and the clock of the server."""
    folder = tmp_path_factory.mktemp("routes")

    @asynccontextmanager
    async def connect(door: Door, **options: Any) -> AsyncIterator[tuple[Client, Clock]]:
        server, clock = await get(**options)
        async with dial(server.port) as peer:
            await peer.upgrade(door.path)
            if door.greets:
                await peer.frame()
            await eventually(lambda: server.app.hub.count() == 1)
            [connection] = server.app.hub.connections()
            yield Client(peer, connection, door), clock
        await eventually(lambda: server.app.hub.count() == 0)

    async with sharing(lambda **options: timed(folder, **options)) as get:
        yield connect


@every
async def test_a_ping_comes_after_the_interval_of_silence_and_not_within_it(client: Any, door: Door) -> None:
    async with client(door) as (it, clock):
        clock.go_on(INTERVAL)
        await it.hears_nothing_before("silence is over")
        clock.go_on(TICK)
        assert await it.peer.frame() == Frame(PING, b"")


@every
async def test_what_is_said_at_the_end_of_the_interval_begins_it_anew(client: Any, door: Door) -> None:
    async with client(door) as (it, clock):
        clock.go_on(INTERVAL)
        await it.says_something()
        clock.go_on(INTERVAL - TICK)
        await it.hears_nothing_before("it was no silence")
        clock.go_on(2 * TICK)
        assert await it.peer.frame() == Frame(PING, b"")


@every
@pytest.mark.parametrize("answer", ["pong", "message"])
async def test_an_answer_when_its_time_ends_keeps_it(client: Any, door: Door, answer: str) -> None:
    async with client(door) as (it, clock):
        clock.go_on(INTERVAL + TICK)
        assert await it.peer.frame() == Frame(PING, b"")
        clock.go_on(ANSWER)
        if answer == "pong":
            it.peer.pong()
        await it.says_something()
        clock.go_on(2 * TICK)
        await it.hears_nothing_before("still here")


@every
async def test_no_answer_when_its_time_is_over_ends_it_with_1011(client: Any, door: Door) -> None:
    async with client(door) as (it, clock):
        clock.go_on(INTERVAL + TICK)
        assert await it.peer.frame() == Frame(PING, b"")
        clock.go_on(ANSWER)
        await it.hears_nothing_before("time is over")
        clock.go_on(TICK)
        frame = await it.peer.frame()
        assert (frame.code, frame.reason) == (1011, "Ping timeout")
        await it.peer.expect_end()


@every
async def test_an_interval_of_zero_is_no_pings(client: Any, door: Door) -> None:
    async with client(door, ping_interval_seconds=0) as (it, clock):
        clock.go_on(1_000_000)
        await it.hears_nothing_before("still here")


@every
async def test_no_time_to_answer_a_ping_is_a_tick(client: Any, door: Door) -> None:
    async with client(door, ping_timeout_seconds=0) as (it, clock):
        clock.go_on(INTERVAL + TICK)
        assert await it.peer.frame() == Frame(PING, b"")
        await it.hears_nothing_before("time is over")
        clock.go_on(TICK)
        assert (await it.peer.frame()).code == 1011


@every
async def test_a_close_is_waited_for_until_its_time_is_over(client: Any, door: Door) -> None:
    async with client(door) as (it, clock):
        it.close()
        assert (await it.peer.frame()).code == 4321
        clock.go_on(CLOSE)
        assert not it.is_dropped
        it.peer.close(b"\x10\xe1")
        await it.peer.expect_end()


@every
async def test_a_close_that_is_not_answered_in_time_drops_the_connection(client: Any, door: Door) -> None:
    async with client(door) as (it, clock):
        it.close()
        assert (await it.peer.frame()).code == 4321
        clock.go_on(CLOSE)
        assert not it.is_dropped
        clock.go_on(TICK)
        assert it.is_dropped
