"""The WebSocket shell: cork, coalescing, order, back-pressure, hooks, and ends of every kind but the graceful stop."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest

from tests.net.shells import echo_app, only_connection, texts
from wireloom import EVERYONE, App, Connection
from wireloom.core.topic import client
from wireloom.hub.outbox import Flusher, Outbox
from wireloom.testing import TestServer
from wireloom.wire.frames import CLOSE, mask_frame, text_frame

from .raw import Frame, dial, eventually

pytestmark = pytest.mark.anyio


class CountingSink:
    """Stands between an outbox and its transport and counts what is written."""

    def __init__(self, outbox: Outbox) -> None:
        self.writes: list[bytes] = []
        assert outbox._sink is not None
        self._transport, outbox._sink = outbox._sink, self
        outbox.direct = outbox._descriptor = -1  # everything by way of the sink

    def write(self, data: bytes) -> None:
        self.writes.append(data)
        self._transport.write(data)

    def get_write_buffer_size(self) -> int:
        return self._transport.get_write_buffer_size()


# -- one read, one write ---------------------------------------------------------------------------------------------


async def test_messages_of_one_segment_are_answered_in_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    flushes: list[Outbox] = []
    async with TestServer(echo_app()) as server, dial(server.port) as peer:
        await peer.upgrade()
        sink = CountingSink((await only_connection(server.app)).outbox)
        monkeypatch.setattr(Flusher, "add", lambda flusher, outbox: flushes.append(outbox))
        messages = [f"message {number}" for number in range(30)]
        peer.send(texts(*messages))
        for message in messages:
            await peer.expect_text(message)
        assert sink.writes == [b"".join(text_frame(message.encode()) for message in messages)]
        assert not flushes  # the read itself writes; no further turn is needed


async def test_handlers_that_wait_for_nothing_for_long_are_corked_as_well() -> None:
    """On 3.11 a task starts a turn later, so its replies share a write by coalescing."""
    app, calls = App(), []

    @app.websocket("/quick")
    async def quick(message: str) -> str:
        async def nothing() -> None:
            calls.append(message)

        await nothing()
        return message

    async with TestServer(app) as server, dial(server.port) as peer:
        await peer.upgrade("/quick")
        sink = CountingSink((await only_connection(server.app)).outbox)
        messages = [str(number) for number in range(30)]
        peer.send(texts(*messages))
        for message in messages:
            await peer.expect_text(message)
        assert calls == messages
        assert sink.writes == [b"".join(text_frame(message.encode()) for message in messages)]


async def test_a_ping_amid_messages_is_answered_in_the_same_write() -> None:
    async with TestServer(echo_app()) as server, dial(server.port) as peer:
        await peer.upgrade()
        sink = CountingSink((await only_connection(server.app)).outbox)
        peer.send(texts("a") + mask_frame(9, b"p") + texts("b") + mask_frame(10, b"unasked"))
        await peer.expect_text("a")
        assert await peer.frame() == Frame(10, b"p")
        await peer.expect_text("b")
        # On 3.11 a task starts a turn later.
        assert len(sink.writes) <= (1 if sys.version_info >= (3, 12) else 2)


async def test_publications_of_one_turn_reach_a_subscriber_in_one_write() -> None:
    async with TestServer(echo_app()) as server, dial(server.port) as peer, dial(server.port) as other:
        await peer.upgrade()
        await other.upgrade()
        await eventually(lambda: server.app.hub.count() == 2)
        sinks = [CountingSink(connection.outbox) for connection in server.app.hub.connections()]
        for number in range(10):
            await server.app.hub.publish(EVERYONE, {"n": number})
        for one in (peer, other):
            for number in range(10):
                await one.expect_text(f'{{"n":{number}}}')
        assert [len(sink.writes) for sink in sinks] == [1, 1]


async def test_sends_of_one_turn_leave_in_one_write_and_in_order_with_publications() -> None:
    async with TestServer(echo_app()) as server, dial(server.port) as peer:
        await peer.upgrade()
        connection = await only_connection(server.app)
        sink = CountingSink(connection.outbox)
        for number in range(5):
            connection.send_text(f"sent {number}")
            await server.app.hub.publish(EVERYONE, f"published {number}")
        for number in range(5):
            await peer.expect_text(f"sent {number}")
            await peer.expect_text(f"published {number}")
        assert len(sink.writes) == 1


async def test_what_a_connection_sends() -> None:
    async with TestServer(echo_app()) as server, server.websocket("/echo") as ws:
        connection = await only_connection(server.app)
        connection.send("text")
        connection.send(b"bytes")
        connection.send(bytearray(b"array"))
        connection.send({"json": ["ü", None]})
        connection.send_bytes(b"more")
        assert await ws.receive() == "text"
        assert await ws.receive() == b"bytes"
        assert await ws.receive() == b"array"
        assert await ws.receive() == '{"json":["ü",null]}'
        assert await ws.receive() == b"more"
        await server.app.hub.publish(client(connection.client_id), "for you")
        assert await ws.receive() == "for you"


# -- order and back-pressure -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/echo", "/slow"])
async def test_order_is_kept_whatever_the_segments(path: str) -> None:
    async with TestServer(echo_app()) as server, dial(server.port) as peer:
        await peer.upgrade(path)
        stream = texts(*(f"{number} {'x' * (number % 300)}" for number in range(800)))
        for start in range(0, len(stream), 1777):
            peer.send(stream[start : start + 1777])
            if start % 5 == 0:
                await asyncio.sleep(0)
        for number in range(800):
            await peer.expect_text(f"{number} {'x' * (number % 300)}")


@pytest.mark.parametrize("waits", [False, True])
async def test_a_flood_of_one_connection_lets_others_have_their_turn(waits: bool) -> None:
    app, handled, at_next_turn = App(), [], []

    @app.websocket("/flood")
    async def flood(message: str) -> str:
        if not handled:
            asyncio.get_running_loop().call_soon(lambda: at_next_turn.append(len(handled)))
        handled.append(message)
        sum(range(2000))  # about as long as a handler takes that does something
        if waits and message == "70":
            await asyncio.sleep(0)
        return message

    async with TestServer(app) as server, dial(server.port) as peer:
        await peer.upgrade("/flood")
        peer.send(texts(*(str(number) for number in range(2000))) + mask_frame(CLOSE, b"\x03\xe8"))
        for number in range(2000):
            await peer.expect_text(str(number))
        assert (await peer.frame()).opcode == CLOSE
    assert at_next_turn[0] < 100


async def test_a_slow_handler_is_finished_before_the_next_begins() -> None:
    app = echo_app()
    async with TestServer(app) as server, dial(server.port) as peer:
        await peer.upgrade("/gate")
        peer.send(texts("1", "2"))
        peer.text("3")
        await eventually(lambda: "begin 1" in app.events)  # type: ignore[attr-defined]
        peer.ping(b"are you there?")
        assert await peer.frame() == Frame(10, b"are you there?")
        assert app.events == ["connect", "begin 1"]  # type: ignore[attr-defined]
        app.gate.set()  # type: ignore[attr-defined]
        for message in ("1", "2", "3"):
            await peer.expect_text(message)
        expected = ["connect", *(f"{what} {n}" for n in (1, 2, 3) for what in ("begin", "end"))]
        assert app.events == expected  # type: ignore[attr-defined]


async def test_concurrency_lets_so_many_run_at_once_and_no_more() -> None:
    app, go = App(), {str(number): asyncio.Event() for number in range(6)}
    running: list[str] = []

    @app.websocket("/three", concurrency=3)
    async def three(message: str) -> str:
        running.append(message)
        await go[message].wait()
        running.remove(message)
        return message

    async with TestServer(app) as server, dial(server.port) as peer:
        await peer.upgrade("/three")
        peer.send(texts("0", "1", "2", "3"))
        peer.send(texts("4", "5"))
        await eventually(lambda: len(running) == 3)
        peer.ping()
        await peer.frame()
        assert running == ["0", "1", "2"]
        go["2"].set()
        await peer.expect_text("2")
        await eventually(lambda: running == ["0", "1", "3"])
        for number in ("5", "4", "3", "1", "0"):
            go[number].set()
        assert {(await peer.frame()).payload for _ in range(5)} == {b"0", b"1", b"3", b"4", b"5"}
        peer.close()
        assert (await peer.frame()).code == 1000


async def test_the_end_waits_for_all_concurrent_handlers() -> None:
    app, go = App(), asyncio.Event()

    @app.websocket("/two", concurrency=2)
    async def two(message: str) -> str:
        await go.wait()
        return message

    async with TestServer(app) as server:
        for messages in (("1",), ("1", "2"), ("1", "2", "3")):
            go.clear()
            async with dial(server.port) as peer:
                await peer.upgrade("/two")
                peer.send(texts(*messages) + mask_frame(CLOSE, b"\x03\xe8"))
                with pytest.raises(TimeoutError):
                    await peer.frame(0.05)
                go.set()
                assert {(await peer.frame()).payload.decode() for _ in messages} == set(messages)
                assert (await peer.frame()).code == 1000


async def test_reading_pauses_at_the_queues_limit_and_goes_on_after() -> None:
    app = echo_app(inbound_queue=4, outbox_bytes=50_000_000)
    message, count = "x" * 100_000, 200
    async with TestServer(app) as server, dial(server.port) as peer:
        await peer.upgrade("/gate")
        for number in range(count):
            peer.text(f"{number} {message}")
        await eventually(lambda: len(app.events) == 2)  # type: ignore[attr-defined]
        # Nobody reads, so most of the 20 MB cannot leave: the kernel's buffers hold some megabytes.
        sizes = [peer.writer.transport.get_write_buffer_size()]
        for _ in range(20):
            await asyncio.sleep(0.01)
            sizes.append(peer.writer.transport.get_write_buffer_size())
        assert sizes[-1] == sizes[-10] > 1_000_000
        app.gate.set()  # type: ignore[attr-defined]
        for number in range(count):
            frame = await peer.frame()
            assert frame.payload.startswith(b"%d x" % number)


async def test_reading_pauses_when_as_much_waits_as_one_message_may_have() -> None:
    app = echo_app(max_message_bytes=1_000_000)
    async with TestServer(app) as server, dial(server.port) as peer:
        await peer.upgrade("/gate")
        connection = await only_connection(app)
        for _ in range(12):
            peer.send(texts("x" * 500_000))
        link: Any = connection._link
        await eventually(lambda: not link._reading)
        assert sum(len(item) for item in link._queue) < 3_000_000
        app.gate.set()  # type: ignore[attr-defined]
        for _ in range(12):
            await peer.expect_text("x" * 500_000)


async def test_drain_waits_for_a_slow_reader_and_ends_with_the_connection() -> None:
    app, states = App(outbox_bytes=50_000_000), []

    @app.websocket("/stream")
    async def stream(message: str, connection: Connection) -> Any:
        try:
            for number in range(2000):
                states.append(number)
                yield f"{number} {'x' * 50_000}"
        finally:
            states.append("ended")

    async with TestServer(app) as server:
        async with dial(server.port, limit=1000) as peer:
            await peer.upgrade("/stream")
            peer.text("go")
            await eventually(lambda: len(states) > 5)
            before = -1
            while before != len(states):  # until the stream stands still
                before = len(states)
                await asyncio.sleep(0.1)
            assert len(states) < 1000
            assert (await peer.frame()).payload.startswith(b"0 x")
        await eventually(lambda: states[-1] == "ended")
