"""Requests that come before the answer to the one before: answers in order, then the refusal, then the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from wireloom import App
from wireloom.testing import TestServer

from .raw import Peer, dial, request_head, soon, upgrade_head

pytestmark = pytest.mark.anyio

LARGE = request_head("GET", "/now/large", {"X-Long": "x" * 2000})
WITH_BODY = upgrade_head("/echo", {"Content-Length": "5"}) + b"12345"
REFUSED = {
    "a head that is none": (b"no request at all\r\n\r\n", 400),
    "a target that is none": (b"CONNECT localhost:1 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    "a URL without a path": (b"GET http://localhost HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    "a header that is none": (b"GET /now/bad HTTP/1.1\r\nHost: x\r\nno header\r\n\r\n", 400),
    "a head that is too large": (LARGE, 431),
    "an upgrade with a body": (WITH_BODY, 400),
    "an upgrade": (upgrade_head("/echo"), 400),
    "a chunk that is none": (request_head("POST", "/now/bad", {"Transfer-Encoding": "chunked"}) + b"none\r\n", 400),
}

refusals = pytest.mark.parametrize(("bad", "status"), REFUSED.values(), ids=list(REFUSED))


class Site:
    """What answers at once, and what answers when it is told to.

    Attributes:
        asked: the paths that were, in order.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.begun, self.go = asyncio.Event(), asyncio.Event()
        self.peer: Peer

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked.append(scope["path"])
        self.begun.set()
        if scope["path"].startswith("/later"):
            await self.go.wait()
        while (message := await receive()).get("more_body"):
            pass
        if message["type"] == "http.disconnect":
            return
        body = scope["path"].encode()
        head = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def served() -> AsyncIterator[Site]:
    site, app = Site(), App(max_header_bytes=1000)
    app.mount("/now", site)
    app.mount("/later", site)
    async with TestServer(app) as server, dial(server.port) as peer:
        site.peer = peer
        yield site


async def answers(peer: Peer, *paths: str) -> None:
    """These have answered, in this order."""
    for path in paths:
        answer = await peer.answer()
        assert (answer.status, answer.body) == (200, path.encode())


async def refused(peer: Peer, status: int) -> None:
    """The refusal, and the end."""
    answer = await peer.answer()
    assert (answer.status, answer.headers["connection"]) == (status, "close")
    assert "error" in answer.json
    await peer.expect_end()


@refusals
@pytest.mark.parametrize("before", [("/now/1",), ("/now/1", "/now/2", "/now/3"), ("/later/1", "/now/2")])
async def test_the_answers_to_earlier_requests_come_before_the_refusal(
    before: tuple[str, ...], bad: bytes, status: int
) -> None:
    async with served() as site:
        site.go.set()
        site.peer.send(b"".join(request_head("GET", path) for path in before) + bad)
        await answers(site.peer, *before)
        await refused(site.peer, status)
        assert site.asked == list(before)


@refusals
async def test_a_refusal_waits_for_an_answer_that_is_being_made(bad: bytes, status: int) -> None:
    async with served() as site:
        site.peer.send(request_head("GET", "/later/1"))
        await soon(site.begun.wait())
        site.peer.send(bad + request_head("GET", "/now/never"))
        site.peer.send(request_head("GET", "/now/never"))
        await site.peer.drain()
        await dialled_again(site)
        site.go.set()
        await answers(site.peer, "/later/1")
        await refused(site.peer, status)
        assert "/now/never" not in site.asked


async def dialled_again(site: Site) -> None:
    """By now the server has read what was sent before."""
    port = site.peer.writer.get_extra_info("peername")[1]
    async with dial(port) as other:
        other.send(request_head("GET", "/now/other"))
        await answers(other, "/now/other")


@pytest.mark.parametrize(("bad", "status"), [REFUSED[name] for name in REFUSED if name != "an upgrade"])
async def test_without_an_earlier_request_the_refusal_comes_at_once(bad: bytes, status: int) -> None:
    async with served() as site:
        site.peer.send(request_head("GET", "/now/1"))
        await answers(site.peer, "/now/1")
        site.peer.send(bad)
        await refused(site.peer, status)


async def test_a_head_without_end_behind_a_request_is_refused_after_its_answer() -> None:
    async with served() as site:
        site.peer.send(request_head("GET", "/later/1") + b"GET /now/bad HTTP/1.1\r\nX-Long: ")
        await soon(site.begun.wait())
        site.peer.send(b"x" * 2000)
        await dialled_again(site)
        site.go.set()
        await answers(site.peer, "/later/1")
        await refused(site.peer, 431)


async def test_a_body_that_is_none_is_refused_while_the_application_waits_for_it() -> None:
    async with served() as site:
        site.peer.send(request_head("POST", "/now/1", {"Transfer-Encoding": "chunked"}))
        await soon(site.begun.wait())
        site.peer.send(b"none\r\n")
        await refused(site.peer, 400)


async def test_a_client_that_goes_before_the_answer_leaves_nothing() -> None:
    async with served() as site:
        site.peer.send(request_head("GET", "/later/1") + LARGE)
        await soon(site.begun.wait())
        site.peer.abort()
        site.go.set()
