"""Clients that take their time over a head, one or hundreds at once: they are cut, and nobody else notices."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest

from wireloom import App
from wireloom.testing import TestServer

from .raw import dial, eventually, request_head, soon, upgrade_head

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
