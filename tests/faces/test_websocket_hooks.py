"""Page 1, "Declaring": on_connect and on_disconnect, in order and exactly once."""

import asyncio
import contextlib
import logging
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

import pytest

from wireloom import App, Connection, ConnectionClosed, Disconnect, Hub, Provide, Query, Request, RequestError
from wireloom.testing import TestServer, TestWebSocket
from wireloom.wire.frames import TEXT, mask_frame

pytestmark = pytest.mark.anyio

T = TypeVar("T")


def soon(awaitable: Awaitable[T]) -> Awaitable[T]:
    return asyncio.wait_for(awaitable, 20)


def reset(ws: TestWebSocket) -> None:
    """Ends the TCP connection by RST, as a crash of the peer's machine does."""
    transport = ws.connection._transport
    assert transport is not None
    linger = struct.pack("ii", 1, 0)
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    transport.abort()


def errors(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.levelno >= logging.ERROR]


# -- on_connect -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_on_connect_ends_before_the_first_message_is_handled(wireloom_server: Any, concurrency: int) -> None:
    app, log, gate = App(), [], asyncio.Event()

    @app.websocket("/", concurrency=concurrency)
    async def handler(message: str) -> str:
        log.append(message)
        return message

    @handler.on_connect
    async def connected(connection: Connection) -> None:
        log.append("connecting")
        await gate.wait()
        connection.send("welcome")
        log.append("connected")

    async with wireloom_server(app) as server, server.websocket("/") as ws:
        await ws.send_text("one")
        await ws.send_text("two")
        await ws.expect_nothing(0.1)
        assert log == ["connecting"]
        gate.set()
        assert [await ws.receive_text() for _ in range(3)] == ["welcome", "one", "two"]
    assert log == ["connecting", "connected", "one", "two"]


async def test_messages_in_the_same_segment_as_the_handshake_wait_for_on_connect(wireloom_server: Any) -> None:
    app, log = App(), []

    @app.websocket("/")
    async def handler(message: str) -> str:
        log.append(message)
        return message

    @handler.on_connect
    async def connected() -> None:
        await asyncio.sleep(0)
        log.append("connected")

    request = (
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    async with wireloom_server(app) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(request + mask_frame(TEXT, b"one") + mask_frame(TEXT, b"two"))
        assert (await soon(reader.readuntil(b"\r\n\r\n"))).startswith(b"HTTP/1.1 101 ")
        assert await soon(reader.readexactly(10)) == b"\x81\x03one\x81\x03two"
        writer.close()
        await writer.wait_closed()
    assert log == ["connected", "one", "two"]


async def test_hooks_get_what_handlers_get_except_a_message(wireloom_server: Any) -> None:
    app, got = App(), []

    async def dependency(number: int) -> str:
        return f"made for {number}"

    @app.websocket("/{number}")
    async def handler(message: str, number: int) -> None:
        """Nothing."""

    async def hook(
        number: int,
        connection: Connection,
        request: Request,
        hub: Hub,
        made: Annotated[str, Provide(dependency)],
        limit: Annotated[int, Query()] = 5,
    ) -> None:
        got.append((number, connection is request.connection, hub is app.hub, made, limit, request.message))

    handler.on_connect(hook)
    handler.on_disconnect(hook)
    async with wireloom_server(app) as server, server.websocket("/7?limit=9"):
        pass
    assert got == [(7, True, True, "made for 7", 9, None)] * 2


async def test_plain_hooks_run_in_a_worker_thread(wireloom_server: Any) -> None:
    import threading

    app, threads, ended = App(), [], asyncio.Event()
    loop = asyncio.get_running_loop()

    @app.websocket("/")
    async def handler(message: str) -> str:
        return message

    @handler.on_connect
    def connected() -> None:
        threads.append(threading.get_ident())

    @handler.on_disconnect
    def disconnected() -> None:
        threads.append(threading.get_ident())
        loop.call_soon_threadsafe(ended.set)

    async with wireloom_server(app) as server:
        async with server.websocket("/") as ws:
            await ws.send_text("x")
            assert await ws.receive_text() == "x"
        await soon(ended.wait())
    assert len(threads) == 2
    assert threading.get_ident() not in threads


@pytest.mark.parametrize(
    ("error", "code", "reason", "logged"),
    [
        (ValueError("secret"), 1011, "Internal error", 1),
        (Disconnect(4003, "not today"), 4003, "not today", 0),
        (Disconnect(), 1000, "", 0),
    ],
    ids=["bug", "Disconnect", "Disconnect without a code"],
)
async def test_a_failed_on_connect_ends_the_connection_and_no_message_is_handled(
    wireloom_server: Any, caplog: pytest.LogCaptureFixture, error: Exception, code: int, reason: str, logged: int
) -> None:
    app, handled, gate, entered = App(), [], asyncio.Event(), asyncio.Event()

    @app.websocket("/")
    async def handler(message: str) -> None:
        handled.append(message)

    @handler.on_connect
    async def connected() -> None:
        entered.set()
        await gate.wait()
        raise error

    async with wireloom_server(app) as server:
        async with server.websocket("/") as ws:
            await soon(entered.wait())
            await ws.send_text("sent at once")
            await ws.expect_nothing(0.05)  # the message is at the server
            gate.set()
            assert await ws.wait_closed() == code
            assert ws.close_reason == reason
    assert handled == []
    assert len(errors(caplog)) == logged
    if logged:
        assert "on_connect of websocket /" in errors(caplog)[0].getMessage()
        assert errors(caplog)[0].exc_info is not None
        assert errors(caplog)[0].exc_info[1] is error


async def test_a_disconnect_of_on_connect_that_cannot_be_told_ends_the_connection_too(
    wireloom_server: Any, caplog: pytest.LogCaptureFixture
) -> None:
    app = App()

    @app.websocket("/")
    async def handler(message: str) -> None:
        """Nothing."""

    @handler.on_connect
    async def connected() -> None:
        raise Disconnect(4000, None)  # type: ignore[arg-type]

    async with wireloom_server(app) as server, server.websocket("/") as ws:
        assert await ws.wait_closed() == 1011
    assert len(errors(caplog)) == 1


async def test_on_connect_may_close_the_connection(wireloom_server: Any) -> None:
    app, log = App(), []

    @app.websocket("/")
    async def handler(message: str) -> None:
        log.append(message)

    @handler.on_connect
    async def connected(connection: Connection) -> None:
        connection.send("bye")
        connection.close(4000, "enough")

    async with wireloom_server(app) as server, server.websocket("/") as ws:
        assert await ws.receive_text() == "bye"
        assert await ws.wait_closed() == 4000
    assert log == []


# -- on_disconnect: exactly once, whatever the end --------------------------------------------------------------------


async def by_client_close(ws: TestWebSocket, server: TestServer) -> None:
    await ws.close(1000, "bye")


async def by_empty_client_close(ws: TestWebSocket, server: TestServer) -> None:
    await ws.close(None)


async def by_server_close(ws: TestWebSocket, server: TestServer) -> None:
    await ws.send_text("close")
    assert await ws.wait_closed() == 4001


async def by_disconnect_error(ws: TestWebSocket, server: TestServer) -> None:
    await ws.send_text("raise")
    assert await ws.wait_closed() == 4002


async def by_reset(ws: TestWebSocket, server: TestServer) -> None:
    reset(ws)


async def by_end_of_stream(ws: TestWebSocket, server: TestServer) -> None:
    ws.connection.abort()


async def by_broken_protocol(ws: TestWebSocket, server: TestServer) -> None:
    ws.connection.send_frame(b"\x81\x01x")  # not masked
    assert await ws.wait_closed() == 1002


async def by_shutdown(ws: TestWebSocket, server: TestServer) -> None:
    server.shutdown()
    assert await ws.wait_closed() == 1012


async def by_refusing_on_connect(ws: TestWebSocket, server: TestServer) -> None:
    assert await ws.wait_closed() == 4009


async def by_a_bug_in_on_connect(ws: TestWebSocket, server: TestServer) -> None:
    assert await ws.wait_closed() == 1011


@pytest.mark.parametrize(
    "end",
    [
        by_client_close,
        by_empty_client_close,
        by_server_close,
        by_disconnect_error,
        by_reset,
        by_end_of_stream,
        by_broken_protocol,
        by_shutdown,
        by_refusing_on_connect,
        by_a_bug_in_on_connect,
    ],
)
async def test_on_disconnect_runs_exactly_once(
    wireloom_server: Any, end: Callable[[TestWebSocket, TestServer], Awaitable[None]]
) -> None:
    app, ended, first = App(), [], asyncio.Event()

    @app.websocket("/")
    async def handler(message: str, connection: Connection) -> str:
        if message == "close":
            connection.close(4001)
        elif message == "raise":
            raise Disconnect(4002)
        return message

    @handler.on_connect
    async def connected() -> None:
        if end is by_refusing_on_connect:
            raise Disconnect(4009)
        if end is by_a_bug_in_on_connect:
            raise ValueError("a bug")

    @handler.on_disconnect
    async def disconnected(connection: Connection) -> None:
        ended.append((connection.is_open, app.hub.count()))
        first.set()

    async with wireloom_server(app) as server:
        async with server.websocket("/") as ws:
            if end not in (by_refusing_on_connect, by_a_bug_in_on_connect):
                await ws.send_text("hello")
                assert await ws.receive_text() == "hello"
            assert ended == []
            await end(ws, server)
            await soon(first.wait())
    assert ended == [(False, 0)]  # once, when the connection is closed and known to nobody


@pytest.mark.parametrize("end", [by_reset, by_end_of_stream])
async def test_on_disconnect_waits_for_a_handler_that_outlives_the_connection(
    wireloom_server: Any, end: Callable[[TestWebSocket, TestServer], Awaitable[None]]
) -> None:
    app, log, started = App(), [], asyncio.Event()
    lost, gate, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    @app.websocket("/")
    async def handler(message: str, connection: Connection) -> None:
        started.set()
        with contextlib.suppress(ConnectionClosed):
            while True:
                await connection.drain()
        lost.set()
        await gate.wait()
        log.append(message)

    @handler.on_disconnect
    async def disconnected() -> None:
        log.append("disconnected")
        ended.set()

    async with wireloom_server(app) as server, server.websocket("/") as ws:
        await ws.send_text("one")
        await soon(started.wait())
        await end(ws, server)
        await soon(lost.wait())
        assert log == []
        gate.set()
        await soon(ended.wait())
    assert log == ["one", "disconnected"]


async def test_what_came_before_a_close_is_handled_before_the_end(wireloom_server: Any) -> None:
    app, log, gate = App(), [], asyncio.Event()

    @app.websocket("/")
    async def handler(message: str) -> str:
        await gate.wait()
        log.append(message)
        return message

    @handler.on_disconnect
    async def disconnected() -> None:
        log.append("disconnected")

    async with wireloom_server(app) as server, server.websocket("/") as ws:
        await ws.send_text("one")
        await ws.send_text("two")
        closing = asyncio.ensure_future(ws.close())
        await ws.expect_nothing(0.1)
        assert log == []
        gate.set()
        await soon(closing)
        assert [await ws.receive_text() for _ in range(2)] == ["one", "two"]
        assert ws.close_code == 1000
    assert log == ["one", "two", "disconnected"]


async def test_on_disconnect_ends_although_the_server_stops(wireloom_server: Any) -> None:
    app, log = App(), []

    @app.websocket("/")
    async def handler(message: str) -> str:
        return message

    @handler.on_disconnect
    async def disconnected() -> None:
        log.append("saving")
        await asyncio.sleep(0.4)
        log.append("saved")

    async with wireloom_server(app) as server:
        ws = server.websocket("/")
        await ws.__aenter__()
        server.shutdown()
        assert await ws.wait_closed() == 1012
    assert log == ["saving", "saved"]


@pytest.mark.parametrize("error", [ValueError("secret"), RequestError("X", "y")])
async def test_a_bug_in_on_disconnect_is_logged_once(
    wireloom_server: Any, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    app, reached = App(), asyncio.Event()

    @app.websocket("/")
    async def handler(message: str) -> str:
        return message

    @handler.on_disconnect
    async def disconnected() -> None:
        reached.set()
        raise error

    async with wireloom_server(app) as server:
        async with server.websocket("/"):
            pass
        await soon(reached.wait())
        async with server.websocket("/") as ws:  # the server goes on
            await ws.send_text("still here")
            assert await ws.receive_text() == "still here"
            assert len(errors(caplog)) == 1
    assert all("on_disconnect of websocket /" in record.getMessage() for record in errors(caplog))


async def test_on_disconnect_runs_for_each_connection(wireloom_server: Any) -> None:
    app, ended = App(), []

    @app.websocket("/{name}")
    async def handler(message: str) -> str:
        return message

    @handler.on_disconnect
    async def disconnected(name: str) -> None:
        ended.append(name)

    async with wireloom_server(app) as server:
        async with server.websocket("/a"), server.websocket("/b"), server.websocket("/c"):
            pass
    assert sorted(ended) == ["a", "b", "c"]


async def test_hooks_may_publish(wireloom_server: Any) -> None:
    app = App()

    @app.websocket("/{name}")
    async def handler(message: str) -> str:
        return message

    @handler.on_connect
    async def connected(name: str, connection: Connection, hub: Hub) -> None:
        connection.join("all")
        await hub.publish("all", f"{name} came")

    @handler.on_disconnect
    async def disconnected(name: str, hub: Hub) -> None:
        await hub.publish("all", f"{name} left")

    async with wireloom_server(app) as server, server.websocket("/a") as a:
        assert await a.receive_text() == "a came"
        async with server.websocket("/b") as b:
            assert await b.receive_text() == "b came"
            assert await a.receive_text() == "b came"
        assert await a.receive_text() == "b left"
