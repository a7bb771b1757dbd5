"""Page 1, "Testing": TestServer and its clients, as users of the package meet them."""

import asyncio
import gc
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypedDict

import pytest

from wireloom import EVERYONE, App, Connection, Disconnect
from wireloom.clients.connection import open_connection
from wireloom.testing import HandshakeFailed, TestServer, TestWebSocket

pytestmark = pytest.mark.anyio


class ChatMessage(TypedDict):
    text: str
    user: str


def application() -> App:
    app = App()

    @app.websocket("/chat/{room}")
    async def chat(message: ChatMessage, room: str, connection: Connection) -> dict:
        return {"echo": message["text"], "from": message["user"], "room": room}

    @app.websocket("/raw", subprotocols=["a", "b"])
    async def raw(message: str | bytes, connection: Connection) -> Any:
        if message == "headers":
            return ",".join(connection.headers.getlist("x-test"))
        if message == "close":
            raise Disconnect(4000, "as you wish")
        return message

    return app


async def test_the_page_verbatim() -> None:
    app = application()

    from wireloom.testing import TestServer

    async with TestServer(app) as server:  # a real listener on a free loopback port  # fmt: skip
        async with server.websocket("/chat/lobby") as ws:
            await ws.send_json({"text": "Hello", "user": "Alice"})
            assert await ws.receive_json() == {"echo": "Hello", "from": "Alice", "room": "lobby"}
        reply = await server.http.get("/openapi.json")
    assert reply.status_code in (200, 404)  # the document comes with page 6


async def test_the_server_listens_where_it_says() -> None:
    async with TestServer(application()) as server, TestServer(application()) as other:
        assert server.port != other.port
        assert server.url == f"http://127.0.0.1:{server.port}"
        assert server.websocket_url == f"ws://127.0.0.1:{server.port}"
        assert (await server.http.get("/healthz/live")).json() == {"status": "ok"}
        assert server.http is server.http
        async with open_connection(server.websocket_url + "/raw") as connection:
            connection.send("any client")
            assert await connection.receive() == "any client"
    with pytest.raises(OSError):
        await asyncio.open_connection("127.0.0.1", server.port)


async def test_send_and_receive_by_kind(wireloom_server: Any) -> None:
    async with wireloom_server(application()) as server, server.websocket("/raw") as ws:
        await ws.send_text("é")
        assert await ws.receive_text() == "é"
        await ws.send_bytes(b"\xff")
        assert await ws.receive_bytes() == b"\xff"
        await ws.send_bytes(bytearray(b"\x00"))
        assert await ws.receive() == b"\x00"
        await ws.send_json({"é": [1, None]})
        assert await ws.receive() == '{"é":[1,null]}'
        await ws.send_bytes(b'{"a":1}')
        assert await ws.receive_json() == {"a": 1}


Receive = Callable[[TestWebSocket], Awaitable[Any]]
RECEIVES: dict[str, Receive] = {
    "a message": lambda ws: ws.receive(0.05),
    "a text message": lambda ws: ws.receive_text(0.05),
    "a binary message": lambda ws: ws.receive_bytes(0.05),
    "a JSON message": lambda ws: ws.receive_json(0.05),
}


async def test_every_wait_ends_and_says_what_was_awaited(wireloom_server: Any) -> None:
    async with wireloom_server(application()) as server, server.websocket("/raw") as ws:
        for what, receive in RECEIVES.items():
            with pytest.raises(AssertionError) as caught:
                await receive(ws)
            assert str(caught.value) == f"/raw: awaited {what} for 0.05 s, nothing came"
        with pytest.raises(AssertionError, match=r"^/raw: awaited the end for 0.05 s, the connection is open"):
            await ws.wait_closed(0.05)
        await ws.send_text("close")
        for what, receive in RECEIVES.items():
            with pytest.raises(AssertionError) as caught:
                await asyncio.wait_for(ws.receive_text(), 5) if what == "a message" else await receive(ws)
            expected = "a text message" if what == "a message" else what
            assert str(caught.value) == f"/raw: awaited {expected}, but the connection closed: 4000 as you wish"
        assert (ws.close_code, ws.close_reason) == (4000, "as you wish")


async def test_what_arrived_instead_is_said(wireloom_server: Any) -> None:
    async with wireloom_server(application()) as server, server.websocket("/raw") as ws:
        await ws.send_bytes(b"\xff" * 200)
        with pytest.raises(
            AssertionError, match=r"^/raw: awaited a text message, got 200 bytes: b'\\xff\\xff"
        ) as caught:
            await ws.receive_text()
        assert len(str(caught.value)) < 500
        await ws.send_text("words")
        with pytest.raises(AssertionError, match=r"^/raw: awaited a binary message, got text: 'words'"):
            await ws.receive_bytes()
        await ws.send_text("words")
        with pytest.raises(AssertionError, match=r"^/raw: awaited JSON, got 'words'"):
            await ws.receive_json()
        await ws.send_bytes(b"\xff")
        with pytest.raises(AssertionError, match=r"^/raw: awaited JSON, got"):
            await ws.receive_json()


async def test_time_outs_can_be_chosen_for_a_server_a_client_and_a_wait() -> None:
    async with TestServer(application(), timeout=0.05) as server:
        async with server.websocket("/raw") as ws:
            with pytest.raises(AssertionError, match=r"for 0.05 s"):
                await ws.receive()
            with pytest.raises(AssertionError, match=r"for 0.06 s"):
                await ws.receive(0.06)
        async with server.websocket("/raw", timeout=0.07) as ws:
            with pytest.raises(AssertionError, match=r"for 0.07 s"):
                await ws.receive()
    assert TestServer(application()).timeout == 10.0


async def test_expect_nothing(wireloom_server: Any) -> None:
    async with wireloom_server(application()) as server, server.websocket("/raw") as ws:
        await ws.expect_nothing(0.05)
        await ws.send_text("something")
        with pytest.raises(AssertionError, match=r"^/raw: awaited nothing, got 'something'"):
            await ws.expect_nothing(5)
        await ws.send_text("after it")
        assert await ws.receive() == "after it"
        await ws.send_text("close")
        with pytest.raises(AssertionError, match=r"^/raw: awaited nothing, but the connection closed: 4000"):
            await ws.expect_nothing(5)


async def test_a_wait_that_timed_out_loses_no_message(wireloom_server: Any) -> None:
    app = application()
    async with wireloom_server(app) as server, server.websocket("/raw") as ws:
        for number in range(3):
            await ws.expect_nothing(0.01)
            await ws.send_text(str(number))
            assert await ws.receive_text() == str(number)
            await app.hub.publish(EVERYONE, "publication")
            assert await ws.receive_text() == "publication"


async def test_headers_and_subprotocols_are_sent(wireloom_server: Any) -> None:
    async with wireloom_server(application()) as server:
        async with server.websocket("/raw", headers={"X-Test": "one"}, subprotocols=["b", "z"]) as ws:
            assert ws.subprotocol == "b"
            await ws.send_text("headers")
            assert await ws.receive_text() == "one"
        async with server.websocket("/raw", headers=[("X-Test", "one"), ("X-Test", "two")]) as ws:
            assert ws.subprotocol is None
            await ws.send_text("headers")
            assert await ws.receive_text() == "one,two"


async def test_a_refused_handshake_is_told_in_full(wireloom_server: Any) -> None:
    async with wireloom_server(application()) as server:
        with pytest.raises(HandshakeFailed) as caught:
            async with server.websocket("/nowhere"):
                pass
        error = caught.value
        assert "404" in str(error)
        assert (error.status, error.headers["content-type"]) == (404, "application/json")
        assert error.body.startswith(b"{")


async def test_leaving_closes_with_1000_and_close_with_what_is_asked(wireloom_server: Any) -> None:
    async with wireloom_server(application()) as server:
        async with server.websocket("/raw") as ws:
            assert ws.close_code is None
            assert ws.close_reason == ""
        assert ws.close_code == 1000
        async with server.websocket("/raw") as ws:
            await ws.close(4321, "é")
            assert (ws.close_code, await ws.wait_closed()) == (4321, 4321)
        async with server.websocket("/raw") as ws:
            await ws.close(None)
            assert ws.close_code == 1005


def test_a_client_is_used_with_async_with() -> None:
    ws = TestServer(application()).websocket("/raw")
    with pytest.raises(AssertionError, match="async with"):
        _ = ws.connection


async def test_the_lifespan_surrounds_the_server() -> None:
    log = []

    @asynccontextmanager
    async def lifespan(app: App) -> AsyncIterator[None]:
        log.append("start")
        yield
        log.append("stop")

    app = App(lifespan=lifespan)
    async with TestServer(app):
        assert log == ["start"]
    assert log == ["start", "stop"]
    async with TestServer(app):  # an application can be served again
        assert log == ["start", "stop", "start"]


async def test_an_application_that_does_not_start_is_told() -> None:
    @asynccontextmanager
    async def lifespan(app: App) -> AsyncIterator[None]:
        raise ValueError("no database")
        yield

    server = TestServer(App(lifespan=lifespan))
    with pytest.raises(RuntimeError, match="did not start"):
        await server.__aenter__()
    with pytest.raises(OSError):
        await asyncio.open_connection("127.0.0.1", server.port)
    gc.collect()  # a socket left open would warn


async def test_shutdown_closes_as_a_restart_does(wireloom_server: Any) -> None:
    async with wireloom_server(application()) as server, server.websocket("/raw") as ws:
        server.shutdown()
        assert await ws.wait_closed() == 1012
        assert "reconnect_in_ms" in ws.close_reason


async def test_clients_that_are_still_open_do_not_keep_the_server() -> None:
    async with asyncio.timeout(20):
        async with TestServer(application()) as server:
            ws = await server.websocket("/raw").__aenter__()
        assert await ws.wait_closed() == 1012


# -- TLS --------------------------------------------------------------------------------------------------------------


async def test_tls(certificate: tuple[str, str]) -> None:
    chain, key = certificate
    async with TestServer(application(), ssl_certfile=chain, ssl_keyfile=key) as server:
        assert server.url == f"https://127.0.0.1:{server.port}"
        assert server.websocket_url == f"wss://127.0.0.1:{server.port}"
        async with server.websocket("/raw") as ws:
            transport = ws.connection._transport
            assert transport is not None
            assert transport.get_extra_info("ssl_object").version() >= "TLSv1.2"
            for size in (1, 200, 70_000, 700_000):
                await ws.send_bytes(b"\xff" * size)
                assert await ws.receive_bytes() == b"\xff" * size
            await ws.send_text("close")
            assert await ws.wait_closed() == 4000
            assert ws.close_reason == "as you wish"
        assert (await server.http.get("/healthz/live")).status_code == 200
        with pytest.raises(HandshakeFailed) as caught:
            await server.websocket("/nowhere").__aenter__()
        assert caught.value.status == 404
        with pytest.raises(ssl.SSLError):  # a client that does not know the certificate
            await open_connection(server.websocket_url + "/raw", ssl=ssl.create_default_context())
