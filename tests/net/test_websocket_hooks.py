"""The WebSocket shell: hooks, and ends of every kind but the graceful stop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
from typing import Any

import pytest

from tests.net.shells import echo_app, only_connection, texts
from wireloom import App, Connection, Disconnect, Hub
from wireloom.core.topic import client
from wireloom.testing import TestServer
from wireloom.wire.frames import CLOSE, TEXT, mask_frame

from .clock import TICK, Clock
from .raw import Frame, Peer, dial, eventually, soon, upgrade_head

pytestmark = pytest.mark.anyio


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
    app = echo_app(close_timeout_seconds=3)
    async with TestServer(app) as server, dial(server.port) as peer:
        clock = Clock.of(server)
        await peer.upgrade()
        (await only_connection(app)).close()
        assert (await peer.frame()).code == 1000
        for _ in range(6):
            peer.text("I go on talking")
            clock.go_on(0.5)
        assert app.hub.count() == 1
        clock.go_on(TICK)
        with contextlib.suppress(ConnectionResetError):
            await peer.rest()
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
