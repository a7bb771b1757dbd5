"""Pings after silence, and who counts as dead."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from wireloom import App
from wireloom.net.wheel import Wheel
from wireloom.testing import TestServer
from wireloom.wire.frames import CLOSE, PING, TEXT

from .clock import TICK, Clock
from .raw import Frame, dial, eventually, soon

pytestmark = pytest.mark.anyio


INTERVAL, ANSWER = 3.0, 2.0


def echo_app(**options: Any) -> App:
    app = App(**{"ping_interval_seconds": INTERVAL, "ping_timeout_seconds": ANSWER, **options})

    @app.websocket("/echo")
    async def echo(message: str) -> str:
        return message

    return app


async def test_a_ping_after_silence_and_1011_without_an_answer() -> None:
    """By the clock on the wall; the tests of the contract turn one of their own."""
    app = echo_app(ping_interval_seconds=0.3, ping_timeout_seconds=0.3)
    async with TestServer(app) as server, dial(server.port) as peer:
        await peer.upgrade()
        assert await peer.frame() == Frame(PING, b"")
        assert (await peer.frame()).code == 1011
        await peer.expect_end()
        await eventually(lambda: server.app.hub.count() == 0)


async def test_traffic_is_life_and_needs_no_ping() -> None:
    async with TestServer(echo_app()) as server, dial(server.port) as peer:
        clock = Clock.of(server)
        await peer.upgrade()
        for _ in range(20):
            clock.go_on(INTERVAL / 2)
            peer.text("x")
            await peer.expect_text("x")


async def test_what_the_server_sends_is_no_sign_of_life() -> None:
    async with TestServer(echo_app()) as server, dial(server.port) as peer:
        clock = Clock.of(server)
        await peer.upgrade()
        await eventually(lambda: server.app.hub.count() == 1)
        [connection] = server.app.hub.connections()
        frames = []
        for seconds in (INTERVAL, TICK, ANSWER, TICK):
            connection.send("x")
            clock.go_on(seconds)
            frames.append(await peer.frame())
        assert frames == [Frame(TEXT, b"x")] * 2 + [Frame(PING, b""), Frame(TEXT, b"x")]
        await peer.expect_text("x")
        frame = await peer.frame()
        assert (frame.opcode, frame.code) == (CLOSE, 1011)


async def test_reading_that_is_paused_is_not_death() -> None:
    app = App(ping_interval_seconds=INTERVAL, ping_timeout_seconds=ANSWER, inbound_queue=1)
    begun, go = asyncio.Event(), asyncio.Event()

    @app.websocket("/gate")
    async def gate(message: str) -> str:
        begun.set()
        await go.wait()
        return message

    async with TestServer(app) as server, dial(server.port) as peer:
        clock = Clock.of(server)
        await peer.upgrade("/gate")
        peer.text("0")
        await soon(begun.wait())
        for number in range(1, 4):
            peer.text(str(number))
        assert app.listener is not None
        [shell] = app.listener.shells
        await eventually(lambda: not shell._reading)  # type: ignore[attr-defined]
        for _ in range(20):  # pings may come; their answers cannot be read
            clock.go_on(INTERVAL)
        go.set()
        texts = []
        while len(texts) < 4:
            frame = await peer.frame()
            assert frame.opcode in (PING, TEXT), frame
            if frame.opcode == TEXT:
                texts.append(frame.payload)
        assert texts == [b"0", b"1", b"2", b"3"]


async def test_a_peer_that_does_not_read_either_is_given_up() -> None:
    app = echo_app(close_timeout_seconds=1, outbox_bytes=100_000_000)
    async with TestServer(app) as server, dial(server.port, limit=1000) as peer:
        clock = Clock.of(server)
        await peer.upgrade()
        await eventually(lambda: app.hub.count() == 1)
        [connection] = app.hub.connections()
        while connection.backlog < 1_000_000:
            connection.send("x" * 500_000)
            await asyncio.sleep(0)
        for seconds in (INTERVAL + TICK, ANSWER + TICK, 1 + TICK):
            clock.go_on(seconds)
        await eventually(lambda: app.hub.count() == 0)


# -- the wheel -------------------------------------------------------------------------------------------------------


class Item:
    """Notes when its time came."""

    def __init__(self, clock: Clock, again: tuple[Wheel, float] | None = None) -> None:
        self.bucket: Any = None
        self.times: list[float] = []
        self._clock = clock
        self._began = clock.time()
        self._again = again

    def on_timeout(self) -> None:
        self.times.append(self._clock.time() - self._began)
        if self._again is not None and len(self.times) < 2:
            self._again[0].add(self, self._again[1])


@pytest.mark.parametrize("start", [0.0, 0.01, 0.24])
def test_the_wheel_is_never_early_and_at_most_two_ticks_late(start: float) -> None:
    clock = Clock()
    wheel = clock.wheel()
    clock.go_on(start)
    items = {seconds: Item(clock) for seconds in (0, 0.1, 0.25, 0.3, 0.6)}
    for seconds, item in items.items():
        wheel.add(item, seconds)
    for _ in range(10):
        clock.go_on(TICK)
    for seconds, item in items.items():
        [time] = item.times
        assert seconds <= time <= seconds + 2 * TICK, seconds


def test_the_wheel_forgets_what_was_removed_and_what_was_replaced() -> None:
    clock = Clock()
    wheel = clock.wheel()
    removed, replaced, again = Item(clock), Item(clock), Item(clock, (wheel, 0.1))
    wheel.add(removed, 0.1)
    wheel.add(replaced, 0.1)
    wheel.add(replaced, 0.8)
    wheel.add(again, 0.1)
    wheel.remove(removed)
    wheel.remove(removed)
    for _ in range(8):
        clock.go_on(TICK)
    assert replaced.times == [1.0]
    assert again.times == [TICK, 2 * TICK]
    assert not removed.times
    wheel.add(removed, 0)
    wheel.stop()
    clock.go_on(8 * TICK)
    assert not removed.times


def test_a_time_out_may_take_away_another_that_is_due_as_well() -> None:
    clock = Clock()
    wheel = clock.wheel()
    items = [Item(clock) for _ in range(4)]
    for item, other in zip(items, reversed(items), strict=True):
        item.on_timeout = lambda item=item, other=other: (Item.on_timeout(item), wheel.remove(other))  # type: ignore[method-assign,misc]
        wheel.add(item, 0.1)
    for _ in range(4):
        clock.go_on(TICK)
    pairs = zip(items[:2], items[:1:-1], strict=True)
    assert [len(one.times) + len(other.times) for one, other in pairs] == [1, 1]
