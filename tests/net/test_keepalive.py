"""Pings after silence, and who counts as dead."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from wireloom import App
from wireloom.net.wheel import Wheel
from wireloom.testing import TestServer
from wireloom.wire.frames import CLOSE, PING, TEXT

from .raw import Frame, dial, eventually, soon

pytestmark = pytest.mark.anyio


def echo_app(**options: Any) -> App:
    app = App(**{"ping_interval_seconds": 0.3, "ping_timeout_seconds": 0.3, **options})

    @app.websocket("/echo")
    async def echo(message: str) -> str:
        return message

    return app


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_a_ping_after_silence_and_1011_without_an_answer() -> None:
    async with TestServer(echo_app()) as server, dial(server.port) as peer:
        await peer.upgrade()
        started = now()
        assert await peer.frame() == Frame(PING, b"")
        assert 0.3 <= now() - started < 1.2
        pinged = now()
        frame = await peer.frame()
        assert (frame.opcode, frame.code) == (CLOSE, 1011)
        await peer.expect_end()
        assert 0.2 <= now() - pinged < 1.2
        await eventually(lambda: server.app.hub.count() == 0)


@pytest.mark.parametrize("answer", ["pong", "text"])
async def test_an_answer_keeps_it_alive(answer: str) -> None:
    async with TestServer(echo_app()) as server, dial(server.port) as peer:
        await peer.upgrade()
        for _ in range(3):
            frame = await peer.frame()
            assert frame == Frame(PING, b""), frame
            if answer == "pong":
                peer.pong()
            else:
                peer.text("I live")
                await peer.expect_text("I live")
        peer.text("still here")
        await peer.expect_text("still here")


async def test_a_late_answer_within_the_time_keeps_it_alive() -> None:
    async with TestServer(echo_app(ping_timeout_seconds=1.0)) as server, dial(server.port) as peer:
        await peer.upgrade()
        for _ in range(2):
            frame = await peer.frame()
            assert frame == Frame(PING, b""), frame
            await asyncio.sleep(0.6)
            peer.pong()
        peer.text("still here")
        await peer.expect_text("still here")


async def test_traffic_is_life_and_needs_no_ping() -> None:
    async with TestServer(echo_app()) as server, dial(server.port) as peer:
        await peer.upgrade()
        started = now()
        while now() - started < 1.2:
            peer.text("x")
            await peer.expect_text("x")
            await asyncio.sleep(0.02)


async def test_what_the_server_sends_is_no_sign_of_life() -> None:
    async with TestServer(echo_app()) as server, dial(server.port) as peer:
        await peer.upgrade()
        opcodes = []
        started = now()
        while now() - started < 3 and CLOSE not in opcodes:
            await server.app.hub.publish("nobody", "x")
            for connection in server.app.hub.connections():
                connection.send("x")
            opcodes.append((await peer.frame()).opcode)
            await asyncio.sleep(0.02)
        assert PING in opcodes
        assert CLOSE in opcodes
        assert TEXT in opcodes


async def test_zero_turns_pings_off() -> None:
    async with TestServer(echo_app(ping_interval_seconds=0)) as server, dial(server.port) as peer:
        await peer.upgrade()
        with pytest.raises(TimeoutError):
            await peer.frame(0.9)
        peer.text("here")
        await peer.expect_text("here")


async def test_reading_that_is_paused_is_not_death() -> None:
    app = App(ping_interval_seconds=0.3, ping_timeout_seconds=0.3, inbound_queue=1)
    begun, go = asyncio.Event(), asyncio.Event()

    @app.websocket("/gate")
    async def gate(message: str) -> str:
        begun.set()
        await go.wait()
        return message

    async with TestServer(app) as server, dial(server.port) as peer:
        await peer.upgrade("/gate")
        peer.text("0")
        await soon(begun.wait())
        for number in range(1, 4):
            peer.text(str(number))
        assert app.listener is not None
        [shell] = app.listener.shells
        await eventually(lambda: not shell._reading)  # type: ignore[attr-defined]
        opcodes, until = [], now() + 1.8
        while now() < until:  # pings may come; their answers cannot be read
            with contextlib.suppress(TimeoutError):
                opcodes.append((await peer.frame(0.1)).opcode)
        assert set(opcodes) <= {PING}
        go.set()
        texts = []
        while len(texts) < 4:
            frame = await peer.frame()
            assert frame.opcode in (PING, TEXT), frame
            if frame.opcode == TEXT:
                texts.append(frame.payload)
        assert texts == [b"0", b"1", b"2", b"3"]


async def test_a_peer_that_does_not_read_either_is_given_up() -> None:
    app = echo_app(close_timeout_seconds=0.3, outbox_bytes=100_000_000)
    async with TestServer(app) as server, dial(server.port, limit=1000) as peer:
        await peer.upgrade()
        await eventually(lambda: app.hub.count() == 1)
        [connection] = app.hub.connections()
        while connection.backlog < 1_000_000:
            connection.send("x" * 500_000)
            await asyncio.sleep(0)
        await eventually(lambda: app.hub.count() == 0, 4)


# -- the wheel -------------------------------------------------------------------------------------------------------


class Item:
    """Notes when its time came."""

    def __init__(self, again: tuple[Wheel, float] | None = None) -> None:
        self.bucket: Any = None
        self.times: list[float] = []
        self.came = asyncio.Event()
        self._again = again

    def on_timeout(self) -> None:
        self.times.append(now())
        self.came.set()
        if self._again is not None and len(self.times) < 2:
            self._again[0].add(self, self._again[1])


async def test_the_wheel_is_never_early_and_at_most_two_ticks_late() -> None:
    wheel = Wheel(asyncio.get_running_loop())
    wheel.start()
    started = now()
    items = {seconds: Item() for seconds in (0, 0.1, 0.25, 0.3, 0.6)}
    for seconds, item in items.items():
        wheel.add(item, seconds)
    for seconds, item in items.items():
        await soon(item.came.wait())
        assert seconds <= item.times[0] - started < seconds + 0.7
    wheel.stop()


async def test_the_wheel_forgets_what_was_removed_and_what_was_replaced() -> None:
    wheel = Wheel(asyncio.get_running_loop())
    wheel.start()
    removed, replaced, again = Item(), Item(), Item((wheel, 0.1))
    started = now()
    wheel.add(removed, 0.1)
    wheel.add(replaced, 0.1)
    wheel.add(replaced, 0.8)
    wheel.add(again, 0.1)
    wheel.remove(removed)
    wheel.remove(removed)
    await soon(replaced.came.wait())
    assert replaced.times[0] - started >= 0.8
    assert len(replaced.times) == 1
    assert len(again.times) == 2
    assert not removed.times
    wheel.add(removed, 0)
    wheel.stop()
    await asyncio.sleep(0.3)
    assert not removed.times


async def test_a_time_out_may_take_away_another_that_is_due_as_well() -> None:
    wheel = Wheel(asyncio.get_running_loop())
    items = [Item() for _ in range(4)]
    for item, other in zip(items, reversed(items), strict=True):
        item.on_timeout = lambda item=item, other=other: (Item.on_timeout(item), wheel.remove(other))
        wheel.add(item, 0.1)
    later = Item()
    wheel.add(later, 0.6)
    wheel.start()
    await soon(later.came.wait())
    pairs = zip(items[:2], items[:1:-1], strict=True)
    assert [len(one.times) + len(other.times) for one, other in pairs] == [1, 1]
    wheel.stop()
