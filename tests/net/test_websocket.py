"""The WebSocket shell: cork, coalescing, order, back-pressure, hooks, and ends of every kind but the graceful stop."""

from __future__ import annotations

import asyncio
import gc
import socket
import sys
from typing import Any

import pytest

from wireloom import EVERYONE, App, Connection, Disconnect, Hub
from wireloom.core.topic import client
from wireloom.hub.outbox import Flusher, Outbox
from wireloom.testing import TestServer
from wireloom.wire.frames import CLOSE, TEXT, mask_frame, text_frame

from .raw import Frame, Peer, dial, eventually, soon, upgrade_head

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


def echo_app(**options: Any) -> App:
    """``/echo`` never waits, ``/slow`` does, ``/gate/{n}`` waits for `app.gate`."""
    app = App(**options)
    app.gate = asyncio.Event()  # type: ignore[attr-defined]
    app.events = []  # type: ignore[attr-defined]

    @app.websocket("/echo")
    async def echo(message: str | bytes) -> str | bytes:
        return message

    @app.websocket("/slow")
    async def slow(message: str) -> str:
        await asyncio.sleep(0)
        return message

    @app.websocket("/gate")
    async def gated(message: str) -> str:
        app.events.append(f"begin {message}")  # type: ignore[attr-defined]
        await app.gate.wait()  # type: ignore[attr-defined]
        app.events.append(f"end {message}")  # type: ignore[attr-defined]
        return message

    @gated.on_connect
    async def joined() -> None:
        app.events.append("connect")  # type: ignore[attr-defined]

    @gated.on_disconnect
    async def left() -> None:
        await asyncio.sleep(0)
        app.events.append("disconnect")  # type: ignore[attr-defined]

    return app


def texts(*messages: str) -> bytes:
    return b"".join(mask_frame(TEXT, message.encode()) for message in messages)


async def only_connection(app: App) -> Connection:
    await eventually(lambda: app.hub.count() == 1)
    return app.hub.connections()[0]


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


# -- hooks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_on_connect_ends_before_the_first_message_is_handled(concurrency: int) -> None:
    app, order = App(), []

    @app.websocket("/echo", concurrency=concurrency)
    async def echo(message: str) -> str:
        order.append(message)
        return message

    @echo.on_connect
    async def joined(connection: Connection) -> None:
        connection.send("welcome")
        for _ in range(20):
            await asyncio.sleep(0.001)
        order.append("connected")

    async with TestServer(app) as server, dial(server.port) as peer:
        peer.send(upgrade_head() + texts("first"))
        await peer.switched()
        peer.text("second")
        await peer.expect_text("welcome")
        await peer.expect_text("first")
        await peer.expect_text("second")
    assert order == ["connected", "first", "second"]


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize(("error", "code"), [(Disconnect(4001, "not you"), 4001), (ValueError("bug"), 1011)])
async def test_no_message_is_handled_after_on_connect_has_failed(error: Exception, code: int, waits: bool) -> None:
    app, order = App(), []

    @app.websocket("/echo")
    async def echo(message: str) -> None:
        order.append(message)

    @echo.on_connect
    async def refuse() -> None:
        if waits:
            await asyncio.sleep(0.02)
        raise error

    @echo.on_disconnect
    async def left() -> None:
        order.append("disconnect")

    async with TestServer(app) as server, dial(server.port) as peer:
        peer.send(upgrade_head() + texts("glued"))
        await peer.switched()
        peer.send(texts("behind"))
        assert (await peer.frame()).code == code
        peer.close()
        await peer.expect_end()
        await eventually(lambda: "disconnect" in order)
    assert order == ["disconnect"]


@pytest.mark.parametrize("error", [Disconnect(4001, "not you"), ValueError("bug")])
async def test_nor_when_the_peer_has_gone_before_on_connect_fails(error: Exception) -> None:
    app, order = App(), []

    @app.websocket("/echo")
    async def echo(message: str) -> None:
        order.append(message)

    @echo.on_connect
    async def refuse(hub: Hub) -> None:
        await eventually(lambda: hub.count() == 0)
        raise error

    @echo.on_disconnect
    async def left() -> None:
        order.append("disconnect")

    async with TestServer(app) as server:
        async with dial(server.port) as peer:
            peer.send(upgrade_head() + texts("glued"))
            await peer.switched()
            peer.abort()
        await eventually(lambda: "disconnect" in order)
    assert order == ["disconnect"]


async def test_nor_when_the_peer_has_gone_before_a_handler_disconnects() -> None:
    app, handled = App(), []

    @app.websocket("/echo")
    async def echo(message: str, hub: Hub) -> None:
        handled.append(message)
        await eventually(lambda: hub.count() == 0)
        raise Disconnect(1008, "enough")

    @echo.on_disconnect
    async def left() -> None:
        handled.append("disconnect")

    async with TestServer(app) as server:
        async with dial(server.port) as peer:
            await peer.upgrade()
            peer.send(texts("1", "2", "3"))
            await eventually(lambda: handled)
            peer.abort()
        await eventually(lambda: "disconnect" in handled)
    assert handled == ["1", "disconnect"]


@pytest.mark.parametrize("waits", [False, True])
async def test_no_message_is_handled_after_a_handler_has_disconnected(waits: bool) -> None:
    app, handled = App(), []

    if waits:

        @app.websocket("/echo")
        async def echo(message: str) -> None:
            handled.append(message)
            await asyncio.sleep(0)
            raise Disconnect(1008, "enough")
    else:

        @app.websocket("/echo")
        async def echo_at_once(message: str) -> None:
            handled.append(message)
            raise Disconnect(1008, "enough")

    async with TestServer(app) as server, dial(server.port) as peer:
        await peer.upgrade()
        peer.send(texts("1", "2", "3"))
        frame = await peer.frame()
        assert (frame.code, frame.reason) == (1008, "enough")
        peer.send(texts("4") + mask_frame(CLOSE, b"\x03\xf0"))
        await peer.expect_end()
        await eventually(lambda: app.hub.count() == 0)
    assert handled == ["1"]


@pytest.mark.parametrize("code", [1005, 1006, 999, 5000])
async def test_a_disconnect_with_a_code_that_must_not_be_sent_is_a_bug_of_the_application(
    code: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever it becomes, the connection goes on or ends, and the mistake is in the log once."""
    app = App()

    @app.websocket("/echo")
    async def echo(message: str) -> str:
        if message == "leave":
            raise Disconnect(code)
        return message

    async with TestServer(app) as server, dial(server.port) as peer:
        await peer.upgrade()
        peer.send(texts("leave", "still there?"))
        frame = await peer.frame()
        assert frame.opcode == TEXT or frame.code == 1011
    assert [record for record in caplog.records if record.name.startswith("wireloom") and record.exc_info]


@pytest.mark.parametrize("how", ["close", "fin", "reset"])
async def test_on_disconnect_runs_once_after_the_last_message(how: str) -> None:
    app = echo_app()
    async with TestServer(app) as server:
        async with dial(server.port) as peer:
            await peer.upgrade("/gate")
            peer.send(texts("1", "2"))
            await eventually(lambda: "begin 1" in app.events)  # type: ignore[attr-defined]
            if how == "close":
                peer.close()
            elif how == "reset":
                peer.abort()
            await peer.leave()
        if how != "close":
            await eventually(lambda: app.hub.count() == 0)
        app.gate.set()  # type: ignore[attr-defined]
        await eventually(lambda: "disconnect" in app.events)  # type: ignore[attr-defined]
    expected = ["connect", "begin 1", "end 1", "begin 2", "end 2", "disconnect"]
    assert app.events == expected  # type: ignore[attr-defined]


async def test_a_connection_lost_while_reading_is_paused_ends_well() -> None:
    """The server notices by writing, as it does not read."""
    app = echo_app(inbound_queue=1)
    async with TestServer(app) as server:
        async with dial(server.port) as peer:
            await peer.upgrade("/gate")
            for number in range(5):
                peer.text(str(number))
                await asyncio.sleep(0.005)
            await eventually(lambda: "begin 0" in app.events)  # type: ignore[attr-defined]
            peer.abort()
        connection = await only_connection(app)
        while app.hub.count():
            connection.send("anybody?")
            await asyncio.sleep(0.01)
        app.gate.set()  # type: ignore[attr-defined]
        await eventually(lambda: "disconnect" in app.events)  # type: ignore[attr-defined]
        assert app.events.count("disconnect") == 1  # type: ignore[attr-defined]


async def test_a_stream_ends_when_its_connection_does() -> None:
    app, ended = App(), asyncio.Event()

    @app.websocket("/ticks")
    async def ticks(message: str) -> Any:
        try:
            yield "tick"
            await asyncio.Event().wait()
        finally:
            ended.set()

    for how in ("close", "reset"):
        ended.clear()
        async with TestServer(app) as server, dial(server.port) as peer:
            await peer.upgrade("/ticks")
            peer.text("go")
            await peer.expect_text("tick")
            if how == "close":
                peer.close()
                assert (await peer.frame()).code == 1000
            else:
                peer.abort()
            await soon(ended.wait())


@pytest.mark.parametrize("glued", [False, True])
async def test_streams_that_wait_their_turn_do_not_outlive_a_close(glued: bool) -> None:
    app, begun = App(), []

    @app.websocket("/ticks")
    async def ticks(message: str) -> Any:
        begun.append(message)
        yield message
        await asyncio.Event().wait()

    async with TestServer(app) as server, dial(server.port) as peer:
        await peer.upgrade("/ticks")
        if glued:
            peer.send(texts("1", "2", "3") + mask_frame(CLOSE, b"\x03\xe8"))
        else:
            peer.text("1")
            await peer.expect_text("1")
            peer.send(texts("2", "3"))
            await peer.drain()
            await asyncio.sleep(0.02)
            peer.close()
        while (frame := await peer.frame(2)).opcode == TEXT:
            pass
        assert frame.code == 1000
        await peer.expect_end()


# -- ends ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/echo", "/slow"])
async def test_a_close_is_answered_with_its_own_code_and_an_empty_one_stays_empty(path: str) -> None:
    async with TestServer(echo_app()) as server:
        for payload in (b"\x03\xe8", b"\x0b\xb8bye", b"\x13\x87" + "ende ü".encode(), b""):
            async with dial(server.port) as peer:
                await peer.upgrade(path)
                peer.send(texts("last") + mask_frame(CLOSE, payload))
                await peer.expect_text("last")
                assert await peer.frame() == Frame(CLOSE, payload)
                await peer.expect_end()
        await eventually(lambda: server.app.hub.count() == 0)


async def test_the_server_closes_after_all_that_was_sent_and_waits_for_the_answer() -> None:
    app = App(close_timeout_seconds=5)

    @app.websocket("/bye")
    async def bye(message: str, connection: Connection) -> str:
        connection.send("one")
        connection.send("two")
        connection.close(4321, "good bye " + "ü" * 100)
        assert not connection.is_open
        connection.send("dropped")
        connection.close(1000)
        return "dropped as well"

    async with TestServer(app) as server, dial(server.port) as peer:
        await peer.upgrade("/bye")
        peer.text("go")
        await peer.expect_text("one")
        await peer.expect_text("two")
        frame = await peer.frame()
        assert frame.code == 4321
        assert frame.reason == "good bye " + "ü" * 57  # 123 bytes, cut between characters
        with pytest.raises(TimeoutError):
            await peer.rest(0.1)  # the TCP connection stays until the answer
        assert app.hub.count() == 1
        peer.text("ignored")
        peer.close(b"\x10\xe1")
        await peer.expect_end()
        await eventually(lambda: app.hub.count() == 0)


async def test_a_peer_that_never_answers_a_close_is_dropped() -> None:
    app = echo_app(close_timeout_seconds=0.3)
    async with TestServer(app) as server, dial(server.port) as peer:
        await peer.upgrade()
        started = asyncio.get_running_loop().time()
        (await only_connection(app)).close()
        assert (await peer.frame()).code == 1000
        for _ in range(20):
            peer.text("I go on talking")
        try:
            await peer.rest(3)
        except ConnectionResetError:
            pass
        assert 0.3 <= asyncio.get_running_loop().time() - started < 1.5
        await eventually(lambda: app.hub.count() == 0)


async def test_a_code_that_must_not_be_sent_is_refused() -> None:
    async with TestServer(echo_app()) as server, dial(server.port) as peer:
        await peer.upgrade()
        connection = await only_connection(server.app)
        for code in (0, 999, 1004, 1005, 1006, 1015, 2999, 5000):
            with pytest.raises(ValueError, match=str(code)):
                connection.close(code)
        assert connection.is_open


@pytest.mark.parametrize("path", ["/echo", "/slow"])
async def test_protocol_errors_end_with_their_code_after_what_was_whole(path: str) -> None:
    errors = [
        (b"\x81\x01x", 1002),  # not masked
        (mask_frame(0x3, b""), 1002),
        (mask_frame(TEXT, b"\xff"), 1007),
        (mask_frame(CLOSE, b"\x03\xed"), 1002),  # 1005
        (mask_frame(CLOSE, b"\x03"), 1002),
        (mask_frame(TEXT, b"x" * 5001), 1009),
        (b"\x82\xff" + (1 << 40).to_bytes(8, "big") + bytes(4), 1009),
    ]
    async with TestServer(echo_app(max_message_bytes=5000)) as server:
        for broken, code in errors:
            async with dial(server.port) as peer:
                await peer.upgrade(path)
                peer.send(texts("whole") + broken + texts("ignored"))
                await peer.expect_text("whole")
                assert (await peer.frame()).code == code, broken[:20]
                await peer.leave()
        await eventually(lambda: server.app.hub.count() == 0)


async def test_the_close_frame_reaches_a_peer_that_is_still_sending() -> None:
    """A TCP connection closed with unread bytes is reset, and the reset overtakes the close frame."""
    message = b"\x82\xff" + (8_000_000).to_bytes(8, "big") + bytes(4) + bytes(8_000_000)

    def send_all_then_read(port: int) -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as peer:
            peer.sendall(upgrade_head())
            received = peer.recv(4096)
            assert received.startswith(b"HTTP/1.1 101")
            peer.sendall(message)
            return peer.recv(4096)

    async with TestServer(echo_app()) as server:
        answer = await asyncio.to_thread(send_all_then_read, server.port)
        assert answer[:1] == b"\x88"
        assert answer[2:4] == (1009).to_bytes(2, "big")
        await eventually(lambda: server.app.hub.count() == 0)


async def test_the_peers_end_of_stream_ends_the_connection() -> None:
    async with TestServer(echo_app()) as server, dial(server.port) as peer:
        await peer.upgrade()
        peer.send(texts("last words"))
        peer.writer.write_eof()
        await peer.expect_text("last words")
        await peer.expect_end()
        await eventually(lambda: server.app.hub.count() == 0)


async def test_a_closed_connection_takes_no_more_part() -> None:
    app = echo_app()
    async with TestServer(app) as server:
        async with dial(server.port) as peer:
            await peer.upgrade()
            connection = await only_connection(app)
            connection.join("news")
            assert app.hub.count("news") == 1
            client_id = connection.client_id
        await eventually(lambda: app.hub.count() == 0)
        connection.send("dropped")
        connection.join("late")
        assert app.hub.count("news") == app.hub.count("late") == 0
        await eventually(lambda: connection.backlog == 0)
        await app.hub.publish(client(client_id), "to nobody")
        with pytest.raises(Exception, match="closed"):
            await connection.drain()


async def test_what_is_asked_in_on_disconnect_is_not_remembered_for_ever() -> None:
    app, done = App(), asyncio.Event()

    @app.websocket("/echo")
    async def echo(message: str) -> None: ...

    @echo.on_disconnect
    async def left(connection: Connection, hub: Hub) -> None:
        assert connection.client_id
        done.set()

    async with TestServer(app) as server:
        async with dial(server.port) as peer:
            await peer.upgrade()
        await soon(done.wait())
        assert not app.hub._clients


async def test_two_thousand_short_connections_leave_nothing() -> None:
    app, ended = App(), [0, 0]

    @app.websocket("/short")
    async def echo(message: str, connection: Connection) -> str:
        connection.join("all")
        assert connection.client_id
        await asyncio.sleep(0)
        return message

    @echo.on_connect
    async def joined(connection: Connection) -> None:
        ended[0] += 1

    @echo.on_disconnect
    async def left(connection: Connection) -> None:
        await asyncio.sleep(0)
        ended[1] += 1

    async with TestServer(app) as server:
        loop = asyncio.get_running_loop()

        async def cycle(number: int) -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            peer = Peer(reader, writer)
            peer.send(upgrade_head("/short") + (texts("hello") if number % 2 else b""))
            if number % 5:
                await peer.switched()
            if number % 3 == 0:
                peer.close()
                await peer.rest()
            elif number % 3 == 1:
                peer.abort()
            await peer.leave()

        tasks = len(asyncio.all_tasks())
        for start in range(0, 2000, 100):
            await asyncio.gather(*map(cycle, range(start, start + 100)))
        listener = app.listener
        assert listener is not None
        await eventually(lambda: not listener.shells and not listener.tasks)
        await eventually(lambda: len(asyncio.all_tasks()) <= tasks)
        assert ended[0] == ended[1] > 1000
        assert app.hub.count() == app.hub.count("all") == 0
        assert not app.hub._topics
        assert not app.hub._clients
        assert not server._server.server_state.connections  # type: ignore[union-attr]
        assert loop is listener.loop
        gc.collect()
        alive = [thing for thing in gc.get_objects() if type(thing) is Connection and thing.endpoint.path == "/short"]
        assert not alive
