"""Clients that take their time over a head, one or hundreds at once: they are cut, and nobody else notices."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress
from typing import Any

import pytest

from wireloom import App
from wireloom.net import http_protocol as module
from wireloom.testing import TestServer

from .raw import Peer, dial, eventually, request_head, serve, soon, upgrade_head

pytestmark = pytest.mark.anyio


def echo_app(**options: Any) -> App:
    app = App(**options)

    @app.websocket("/echo")
    async def echo(message: str) -> str:
        return message

    return app


async def test_300_half_open_connections_keep_nobody_from_being_served_and_are_cut() -> None:
    begun = upgrade_head("/echo")
    beginnings = [b"", b"GET /echo HT", begun[:-2], begun[:40]]
    async with TestServer(echo_app(handshake_timeout_seconds=2)) as server, AsyncExitStack() as stack:
        peers = [await stack.enter_async_context(dial(server.port)) for _ in range(300)]
        for number, peer in enumerate(peers):
            peer.send(beginnings[number % len(beginnings)])
        async with server.websocket("/echo") as ws:
            await ws.send_text("served")
            assert await ws.receive_text() == "served"
            assert (await server.http.get("/healthz/live")).status_code == 200
        answers = await asyncio.gather(*(peer.rest() for peer in peers))
        assert [answer[:12] for answer in answers] == [b"", *[b"HTTP/1.1 408"] * 3] * 75
        listener = server.app.listener
        assert listener is not None
        assert not listener.shells


@pytest.mark.parametrize("first_byte", [1, 20])
async def test_a_slow_head_after_a_first_request_is_cut_as_well(first_byte: int) -> None:
    async with TestServer(echo_app(handshake_timeout_seconds=0.5)) as server, dial(server.port) as peer:
        peer.send(request_head("GET", "/healthz/live"))
        assert (await peer.answer()).status == 200
        peer.send(request_head("GET", "/healthz/live")[:first_byte])
        answer = await peer.answer()
        assert (answer.status, answer.json["error"]) == (408, "The request head took too long")
        await peer.expect_end()


async def test_a_head_without_end_after_a_first_request_is_431() -> None:
    async with TestServer(echo_app(max_header_bytes=1000)) as server, dial(server.port) as peer:
        peer.send(request_head("GET", "/healthz/live"))
        assert (await peer.answer()).status == 200
        peer.send(b"GET /healthz/live HTTP/1.1\r\nHost: a\r\n")
        await peer.send_slowly(b"X-Long: " + b"x" * 5000, 500)
        assert (await peer.answer()).status == 431


async def test_a_head_that_waits_behind_a_slow_answer_is_not_cut_for_that() -> None:
    app, asked, answer = echo_app(handshake_timeout_seconds=0.5), asyncio.Event(), asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        asked.set()
        await answer.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})

    app.mount("/slow", slow)
    async with TestServer(app) as server, dial(server.port) as peer:
        peer.send(request_head("GET", "/slow/") + request_head("GET", "/healthz/live")[:20])
        await soon(asked.wait())
        listener = server.app.listener
        assert listener is not None
        begun = listener.wheel.now
        await eventually(lambda: listener.wheel.now > begun + 1.5)  # the time of a head is over thrice
        answer.set()
        assert (await peer.answer()).status == 200
        peer.send(request_head("GET", "/healthz/live")[20:])
        assert (await peer.answer()).status == 200


async def test_keep_alive_requests_leave_no_time_out_behind() -> None:
    async with TestServer(echo_app(handshake_timeout_seconds=0.5)) as server, dial(server.port) as peer:
        for _ in range(3):
            peer.send(request_head("GET", "/healthz/live"))
            assert (await peer.answer()).status == 200
        listener = server.app.listener
        assert listener is not None
        assert not any(listener.wheel._buckets.values())


# -- bodies ------------------------------------------------------------------------------------------------------------


async def send_until_the_end(peer: Peer, data: bytes, times: int, pause: float = 0.001) -> None:
    """Sends the same again and again; fails where the server takes all of it."""
    for _ in range(times):
        if peer.reader.at_eof() or peer.writer.transport.is_closing():
            return
        peer.send(data)
        with suppress(ConnectionError):
            await peer.drain()
        await asyncio.sleep(pause)
    pytest.fail("the server has taken everything")


@pytest.mark.parametrize("reads", [True, False], ids=["answered", "waited for"])
@pytest.mark.parametrize(
    ("begin", "more"),
    [
        (b"1\r\na\r\n0\r\n", b"X-Trailer: some\r\n" * 50),
        (b"1\r\na\r\n0\r\nX-Trailer: ", b"x" * 900),
        (b"1;extension=", b"x" * 900),
    ],
    ids=["trailers", "one trailer", "extension of a chunk"],
)
async def test_what_has_no_end_and_is_no_body_ends_the_connection(reads: bool, begin: bytes, more: bytes) -> None:
    app = echo_app(max_header_bytes=2000)

    async def reader(scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass

    app.mount("/body", reader)
    target = "/body/" if reads else "/nowhere"
    async with TestServer(app) as server, dial(server.port) as peer:
        peer.send(request_head("POST", target, {"Transfer-Encoding": "chunked"}) + begin)
        if not reads:
            assert (await peer.answer()).status == 404
        await send_until_the_end(peer, more, 1000)


async def test_trailers_are_no_headers() -> None:
    app = echo_app()

    async def names(scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        body = b" ".join(name for name, _ in scope["headers"])
        head = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": body})

    app.mount("/names", names)
    async with TestServer(app) as server, dial(server.port) as peer:
        for _ in range(2):
            peer.send(request_head("POST", "/names/", {"Transfer-Encoding": "chunked"}))
            peer.send(b"1\r\na\r\n0\r\nX-Trailer: some\r\n\r\n")
            assert (await peer.answer()).body == b"host transfer-encoding"


async def test_a_body_that_nobody_waits_for_has_its_time_however_it_comes() -> None:
    async with TestServer(echo_app(handshake_timeout_seconds=0.5)) as server, dial(server.port) as peer:
        peer.send(request_head("POST", "/nowhere", {"Content-Length": "100000"}))
        assert (await peer.answer()).status == 404
        await send_until_the_end(peer, b"x", 500, 0.01)


async def test_a_body_that_comes_after_its_answer_leaves_the_connection_as_it_was() -> None:
    async with TestServer(echo_app()) as server, dial(server.port) as peer:
        peer.send(request_head("POST", "/nowhere", {"Content-Length": "10"}))
        assert (await peer.answer()).status == 404
        peer.send(b"x" * 10 + request_head("GET", "/healthz/live"))
        assert (await peer.answer()).status == 200
        listener = server.app.listener
        assert listener is not None
        assert not any(listener.wheel._buckets.values())


@pytest.mark.parametrize("more", [b"x" * 10, b"x" * 10 + b"\r\n"], ids=["a late body", "a line's end too many"])
async def test_keep_alive_has_an_end_after_bytes_that_begin_no_request(more: bytes) -> None:
    async with serve(echo_app()) as (server, port), dial(port) as peer:
        server.config.timeout_keep_alive = 1
        peer.send(request_head("POST", "/nowhere", {"Content-Length": "10"}))
        assert (await peer.answer()).status == 404
        peer.send(more)
        await peer.expect_end()


async def test_an_upgrade_on_a_kept_connection_outlives_the_time_of_keep_alive() -> None:
    async with serve(echo_app()) as (server, port), dial(port) as peer:
        server.config.timeout_keep_alive = 1
        peer.send(request_head("POST", "/nowhere", {"Content-Length": "10"}))
        assert (await peer.answer()).status == 404
        peer.send(b"x" * 10 + upgrade_head("/echo"))
        await peer.switched()
        over = asyncio.get_running_loop().time() + 1.2
        await eventually(lambda: asyncio.get_running_loop().time() > over)
        peer.text("still here")
        await peer.expect_text("still here")


# -- answers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [64 << 20, 6 << 20], ids=["while it is made", "after the time of keep-alive"])
async def test_a_client_that_takes_nothing_of_its_answer_is_left(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_STALL_SECONDS", 0.5)
    app = echo_app()

    async def large(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if size > 10 << 20:
            for _ in range(size >> 20):
                await send({"type": "http.response.body", "body": bytes(1 << 20), "more_body": True})
        await send({"type": "http.response.body", "body": bytes(size)})

    app.mount("/large", large)
    async with serve(app) as (server, port), dial(port, limit=1024) as peer:
        server.config.timeout_keep_alive = 1
        peer.send(request_head("GET", "/large/"))
        await eventually(lambda: server.server_state.connections)
        await eventually(lambda: not server.server_state.connections)


async def test_a_client_that_takes_its_answer_slowly_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_STALL_SECONDS", 0.5)
    app = echo_app()

    async def large(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"16777216")]})
        await send({"type": "http.response.body", "body": bytes(16 << 20)})

    app.mount("/large", large)
    async with serve(app) as (server, port), dial(port, limit=1024) as peer:
        server.config.timeout_keep_alive = 1
        peer.send(request_head("GET", "/large/", {"Connection": "close"}))
        taken = 0
        while taken < 16 << 20:
            data = await peer.once(65536)
            assert data, "the server has given up"
            taken += len(data)
            await asyncio.sleep(0.005)
