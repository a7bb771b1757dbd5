"""Turns: what is much waits and others do not; nothing is lost, nothing overtakes, a failure keeps nobody waiting."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from wireloom import App
from wireloom.net.turns import Turns
from wireloom.testing import TestServer
from wireloom.wire.frames import BINARY, CONTINUATION, mask_frame

from .raw import dial, soon

pytestmark = pytest.mark.anyio

LARGE = 40_000


def busy(seconds: float) -> None:
    """Keeps the loop for so long."""
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


def exhaust(turns: Turns) -> None:
    """Leaves no time in this turn of the loop."""
    while turns.has_time():
        pass


class Others:
    """Counts the turns of the loop."""

    def __init__(self) -> None:
        self.turns = 0
        self._loop = asyncio.get_running_loop()
        self._handle = self._loop.call_soon(self._count)

    def _count(self) -> None:
        self.turns += 1
        self._handle = self._loop.call_soon(self._count)

    def stop(self) -> None:
        self._handle.cancel()


@pytest.fixture
async def others() -> Any:
    counted = Others()
    yield counted
    counted.stop()


async def test_what_waits_is_done_in_order() -> None:
    turns, done, over = Turns(asyncio.get_running_loop()), [], asyncio.Event()
    for number in range(100):
        turns.wait(lambda number=number: done.append(number))  # type: ignore[misc]
    turns.wait(over.set)
    assert not done  # later, never at once
    await soon(over.wait())
    assert done == list(range(100))


async def test_what_takes_long_is_spread_over_turns_of_the_loop(others: Others) -> None:
    turns, seen, over = Turns(asyncio.get_running_loop()), [], asyncio.Event()

    def work() -> None:
        busy(0.0003)
        seen.append(others.turns)

    for _ in range(20):
        turns.wait(work)
    turns.wait(over.set)
    await soon(over.wait())
    assert len(seen) == 20
    assert len(set(seen)) >= 10  # two at most in one turn


async def test_who_comes_back_stands_behind_those_who_wait() -> None:
    turns, done, over = Turns(asyncio.get_running_loop()), [], asyncio.Event()

    def again(name: str, left: int) -> Callable[[], None]:
        def work() -> None:
            done.append(name)
            if left:
                turns.wait(again(name, left - 1))
            elif name == "b":
                over.set()

        return work

    turns.wait(again("a", 3))
    turns.wait(again("b", 3))
    await soon(over.wait())
    assert "".join(done) == "abababab"


async def test_a_failure_keeps_nobody_waiting() -> None:
    loop, failures, over = asyncio.get_running_loop(), [], asyncio.Event()
    loop.set_exception_handler(lambda _, context: failures.append(context["exception"]))
    turns = Turns(loop)

    def fail() -> None:
        raise ValueError("on purpose")

    turns.wait(fail)
    turns.wait(over.set)
    await soon(over.wait())
    assert [str(failure) for failure in failures] == ["on purpose"]


async def test_time_is_of_one_turn_of_the_loop() -> None:
    turns = Turns(asyncio.get_running_loop())
    exhaust(turns)
    assert not turns.has_time()
    for _ in range(2):
        await asyncio.sleep(0)
    assert turns.has_time()


async def test_a_pause_that_is_cancelled_takes_nothing_from_others() -> None:
    turns = Turns(asyncio.get_running_loop())
    exhaust(turns)
    first, second = (asyncio.create_task(turns.pause()) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await soon(second)
    assert first.cancelled()


def sizes() -> tuple[App, list[int]]:
    """An application that tells the size of each message, and what it has got."""
    app, got = App(), []

    @app.websocket("/sizes")
    async def tell(message: bytes) -> str:
        got.append(len(message))
        return str(len(message))

    return app, got


def give(app: App, data: bytes) -> None:
    """Hands the application's only connection bytes in a turn of the loop that has no time left."""
    assert app.listener is not None
    [shell] = app.listener.shells
    exhaust(app.listener.turns)
    shell.data_received(data)  # type: ignore[attr-defined]


async def test_a_large_read_waits_when_there_is_no_time_and_a_small_one_does_not() -> None:
    app, got = sizes()
    async with TestServer(app) as server, dial(server.port) as peer:
        await peer.upgrade("/sizes")
        give(app, mask_frame(BINARY, bytes(100)))
        assert got == [100]
        give(app, mask_frame(BINARY, bytes(LARGE)))
        assert got == [100]  # nothing of it was handled at once
        peer.send(mask_frame(BINARY, bytes(200)))
        for size in (100, LARGE, 200):
            await peer.expect_text(str(size))
        [endpoint] = {shell.connection.endpoint for shell in app.listener.shells}
        assert endpoint.counts.received == 3
        frames = (mask_frame(BINARY, bytes(size)) for size in (100, LARGE, 200))
        assert endpoint.counts.received_bytes == sum(map(len, frames))


async def test_a_large_read_that_waits_is_not_lost_with_the_connection() -> None:
    app, got = sizes()
    async with TestServer(app) as server, dial(server.port) as peer:
        await peer.upgrade("/sizes")
        half = LARGE // 2
        data = mask_frame(BINARY, bytes(half), fin=False) + mask_frame(CONTINUATION, bytes(half))
        give(app, data)
        peer.writer.write_eof()
        await peer.rest()
    assert got == [LARGE]


async def test_handlers_of_one_read_pause_when_there_is_no_time(others: Others) -> None:
    app, seen = App(), []

    @app.websocket("/busy")
    async def work(message: str) -> str:
        if message == "0":
            await asyncio.sleep(0)  # from here on it is a task that handles the rest of the read
        busy(0.0003)
        seen.append(others.turns)
        return message

    async with TestServer(app) as server, dial(server.port) as peer:
        await peer.upgrade("/busy")
        peer.send(b"".join(mask_frame(1, str(number).encode()) for number in range(20)))
        for number in range(20):
            await peer.expect_text(str(number))
    assert len(set(seen)) >= 5
