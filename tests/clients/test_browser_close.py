"""WebSocket: close and how it ends, case by case against the WebSockets Standard (https://websockets.spec.whatwg.org)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.clients.browsing import FAILED, ended, nobody, play, record
from wireloom import WebSocket
from wireloom.clients import protocol as module
from wireloom.errors import (
    InvalidAccessError,
    WebSocketSyntaxError,
)

from ..wire.oracle import frame
from .peer import Peer, serving

pytestmark = pytest.mark.anyio


# -- close -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [0, 999, 1001, 1005, 1006, 1011, 2999, 5000, -1])
async def test_another_code_than_1000_and_3000_to_4999_is_an_invalid_access(code: int) -> None:
    async with serving(nobody) as url:
        ws = WebSocket(url)
        with pytest.raises(InvalidAccessError):
            ws.close(code, "x" * 200)  # the code is judged first
        assert ws.readyState == 0
        await ended(ws)


async def test_a_reason_above_123_bytes_is_a_syntax_error() -> None:
    async with serving(nobody) as url:
        ws = WebSocket(url)
        for reason in ("x" * 124, "ü" * 62):
            with pytest.raises(WebSocketSyntaxError, match="123"):
                ws.close(1000, reason)
        assert ws.readyState == 0
        await ended(ws)


@pytest.mark.parametrize(
    ("arguments", "payload"),
    [
        ((), b""),
        ((None, ""), b""),
        ((1000,), b"\x03\xe8"),
        ((3000, ""), b"\x0b\xb8"),
        ((4999, "x" * 123), b"\x13\x87" + b"x" * 123),
        ((None, "why"), b"\x03\xe8why"),
        ((1000, "\ud800"), b"\x03\xe8\xef\xbf\xbd"),
    ],
)
async def test_close_sends_what_was_given_and_is_closing_at_once(arguments: tuple[Any, ...], payload: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        assert await peer.read_frame() == (0x88, payload)
        peer.write(frame(0x81, b"dropped", None) + frame(0x88, b"\x0f\xa0yes", None))
        assert await peer.read_end() == b""

    def act(ws: WebSocket) -> None:
        def close(event: Any) -> None:
            ws.close(*arguments)
            assert ws.readyState == WebSocket.CLOSING
            ws.close(1000, "again means nothing")

        ws.addEventListener("open", close)

    assert await play(script, act) == [("open", 1), ("close", 3, 4000, "yes", True)]


async def test_close_while_connecting_fails_it_and_does_so_later() -> None:
    async with serving(nobody) as url:
        ws = WebSocket(url)
        seen = record(ws)
        ws.close()
        assert (ws.readyState, seen) == (WebSocket.CLOSING, [])
        ws.send("silent")
        assert ws.bufferedAmount == 6
        await ended(ws)
        assert seen == FAILED
        # the server's script is to end
        WebSocket(url).close()
        reader, writer = await asyncio.open_connection(*url.removeprefix("ws://").partition("/")[0].split(":"))
        assert await reader.read() == b""
        writer.close()


async def test_close_while_the_answer_is_awaited_fails_it() -> None:
    asked = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.read_request()
        asked.set()
        assert await peer.read_end() == b""

    async with serving(script) as url:
        ws = WebSocket(url)
        seen = record(ws)
        await asked.wait()
        ws.close(3000, "no matter")
        await ended(ws)
    assert seen == FAILED


async def test_closed_stays_closed() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept(frame(0x88, b"\x03\xe8", None))
        await peer.read_end()

    async with serving(script) as url:
        ws = WebSocket(url)
        await ended(ws)
        seen = record(ws)
        ws.close()
        ws.close(3000, "x")
        assert (ws.readyState, seen) == (3, [])


@pytest.mark.parametrize(
    ("payload", "code", "reason"),
    [(b"", 1005, ""), (b"\x03\xe8", 1000, ""), (b"\x03\xf4soon", 1012, "soon"), (b"\x0f\xa0no", 4000, "no")],
)
async def test_a_close_by_the_server_is_clean(payload: bytes, code: int, reason: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.accept(frame(0x88, payload, None) + frame(0x81, b"late", None))
        assert await peer.read_frame() == (0x88, payload[:2])
        assert await peer.read_end() == b""

    assert await play(script) == [("open", 1), ("close", 3, code, reason, True)]


async def test_the_state_is_closing_once_the_server_has_closed() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept(frame(0x81, b"m", None) + frame(0x88, b"", None))
        await peer.read_end()

    async with serving(script) as url:
        ws = WebSocket(url)
        states: list[int] = []
        ws.onmessage = lambda event: asyncio.get_running_loop().call_soon(lambda: states.append(ws.readyState))
        await ended(ws)
    assert states == [WebSocket.CLOSING]


BROKEN: dict[str, bytes] = {
    "masked": frame(0x81, b"masked", b"abcd"),
    "reserved bit": b"\xc1\x00",
    "reserved opcode": b"\x83\x00",
    "bad UTF-8": frame(0x81, b"\xff", None),
    "too large": frame(0x82, bytes(1001), None),
    "one byte of code": b"\x88\x01\x03",
}


@pytest.mark.parametrize("stream", BROKEN.values(), ids=BROKEN)
async def test_a_server_that_breaks_the_protocol_is_failed(stream: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.accept(stream)
        assert (await peer.read_frame())[0] == 0x88
        assert await peer.read_end() == b""

    assert await play(script, max_size=1000) == [("open", 1), *FAILED]


@pytest.mark.parametrize("end", ["reset", "eof"])
async def test_a_connection_that_is_lost_is_failed(end: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.read_frame()
        if end == "reset":
            peer.reset()

    def act(ws: WebSocket) -> None:
        ws.addEventListener("open", lambda event: ws.send("x"))

    assert await play(script, act) == [("open", 1), *FAILED]


async def test_a_server_that_never_answers_the_close_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CLOSE_SECONDS", 0.05)

    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.read_frame()
        assert await peer.read_end() == b""

    def act(ws: WebSocket) -> None:
        ws.addEventListener("open", lambda event: ws.close(1000))

    assert await play(script, act) == [("open", 1), *FAILED]
