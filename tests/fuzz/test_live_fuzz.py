"""Random bytes at a live server: whatever some clients do, the others notice nothing and nothing is left of it."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import random
import socket
import struct
from collections.abc import AsyncIterator, Callable
from typing import Any, TypedDict

import pytest

from wireloom import App, Connection, Deny, Disconnect, Request, RequestError
from wireloom.testing import TestServer, TestWebSocket

from ..wire.oracle import frame, head

pytestmark = pytest.mark.anyio
STREAMS, AT_ONCE, TIMEOUT_SECONDS = 2500, 16, 10.0
PATHS = [
    "/typed/lobby",
    "/raw",
    "/limited",
    "/slow",
    "/many",
    "/stream",
    "/gate?open=1",
    "/gate",
    "/typed/",
    "/nowhere",
]


class ChatMessage(TypedDict):
    text: str
    user: str


def make_app() -> App:
    """An endpoint for every way through the server, with limits that are soon reached."""
    app = App(
        inbound_queue=4, max_fragments=20, outbox_bytes=16 * 1024, max_header_bytes=4096, close_timeout_seconds=1.0
    )

    @app.websocket("/typed/{room}")
    async def typed(message: ChatMessage, room: str) -> dict[str, str]:
        return {"echo": message["text"], "room": room}

    @app.websocket("/raw")
    async def raw(message: str | bytes) -> str | bytes:
        return message

    @app.websocket("/limited", max_message_bytes=50)
    async def limited(message: bytes, connection: Connection) -> bytes:
        connection.join("limited")
        if message == b"enough":
            raise Disconnect(4000, "as you wish")
        return message

    @app.websocket("/slow")
    async def slow(message: Any) -> Any:
        for _ in range(5):
            await asyncio.sleep(0)
        if message == "no":
            raise RequestError("NO", "no")
        return message

    @app.websocket("/many", concurrency=3)
    async def many(message: str) -> str:
        await asyncio.sleep(0)
        return message

    @app.websocket("/stream")
    async def stream(message: str) -> AsyncIterator[str]:
        for _ in range(20):
            yield message

    @app.websocket("/gate")
    async def gate(message: str) -> str:
        return message

    @gate.on_handshake
    async def guard(request: Request) -> None:
        await asyncio.sleep(0)
        if not request.query:
            raise Deny(403, "closed", {"X-Gate": "closed"})

    @typed.on_connect
    async def joined(room: str, connection: Connection) -> None:
        await asyncio.sleep(0)
        connection.join(room)

    return app


# -- what is thrown ----------------------------------------------------------------------------------------------------


def noise(rng: random.Random) -> bytes:
    """Bytes that are nothing."""
    return rng.randbytes(rng.choice((0, 1, 3, 40, 500, 6000)))


def http(rng: random.Random) -> bytes:
    """A request head with something wrong, or an ordinary request."""
    method = rng.choice(("GET", "GET", "GET", "POST", "get", "G\0T", "", "PRI"))
    target = rng.choice(
        (*PATHS, "/healthz/live", "*", "http://h/raw", "/%00", "/" + "a" * rng.choice((10, 5000)), "//", "/\xff")
    )
    version = rng.choice(("HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/1.1 ", ""))
    lines = [
        "Host: h",
        "Host: h",
        "Upgrade: websocket",
        "Connection: keep-alive, Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Version: 8",
        "Sec-WebSocket-Key: short",
        "Origin: http://evil.org",
        "Origin: http://[::1",
        "Upgrade: h2c",
        "Content-Length: 5",
        "Content-Length: -1",
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: chunked, websocket",
        "X: \0",
        " folded",
        "no colon",
        "X-Forwarded-For: 1.2.3.4, \xff",
        "Expect: 100-continue",
        "",
    ]
    chosen = [f"{method} {target} {version}", *rng.sample(lines, rng.randrange(len(lines)))]
    end = rng.choice(("\r\n\r\n", "\r\n\r\n", "\r\n\r\n", "\n\n", "\r\n", ""))
    return rng.choice(("\r\n", "\r\n", "\r\n", "\n")).join(chosen).encode("latin-1") + end.encode() + noise(rng)


def upgrade(rng: random.Random) -> bytes:
    """A good handshake."""
    return (
        f"GET {rng.choice(PATHS)} HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


def payload(rng: random.Random) -> bytes:
    return rng.choice(
        (
            b"",
            b"hello",
            b'{"text":"hi","user":"u"}',
            b'{"text":1}',
            b'{"text":"\\ud800","user":"u"}',
            b"[" * 3000,
            b'"no"',
            b"enough",
            b"\xff",
            "€".encode(),
            b"\x03\xe8",
            b"\x03\xed",
            b"x" * 126,
            b"y" * 20_000,
            rng.randbytes(rng.randrange(80)),
        )
    )


def sound_frames(rng: random.Random) -> bytes:
    """Whole messages and pings, perhaps a close."""
    frames = [frame(rng.choice((0x81, 0x81, 0x82, 0x89, 0x8A)), payload(rng)[:125]) for _ in range(rng.randrange(40))]
    if rng.random() < 0.3:
        frames.append(frame(0x88, rng.choice((b"", b"\x03\xe8", b"\x0f\xa0bye"))))
    return b"".join(frames)


def odd_frames(rng: random.Random) -> bytes:
    """Frames of any kind and order, some without a mask, some that promise more than comes."""
    frames = []
    for _ in range(rng.randrange(12)):
        first = rng.choice((0x81, 0x82, 0x01, 0x00, 0x80, 0x89, 0x88, rng.randrange(256)))
        if rng.random() < 0.1:
            frames.append(head(first, rng.choice((10, 126, 2**20, 2**21, 2**63))) + rng.randbytes(8))
        else:
            frames.append(frame(first, payload(rng), None if rng.random() < 0.1 else rng.randbytes(4)))
    return b"".join(frames)


KINDS: list[Callable[[random.Random], bytes]] = [
    noise,
    http,
    lambda rng: upgrade(rng) + noise(rng),
    lambda rng: upgrade(rng) + sound_frames(rng),
    lambda rng: upgrade(rng) + odd_frames(rng),
    lambda rng: upgrade(rng) + sound_frames(rng) + odd_frames(rng),
    lambda rng: b"GET /healthz/live HTTP/1.1\r\nHost: h\r\n\r\n" + upgrade(rng) + odd_frames(rng),
]


async def throw(port: int, seed: int) -> None:
    """One client: sends one stream in some pieces and ends in some way."""
    rng = random.Random(seed)
    data = KINDS[seed % len(KINDS)](rng)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        cuts = sorted(rng.randrange(len(data) + 1) for _ in range(rng.randrange(5)))
        for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True):
            writer.write(data[start:stop])
            await writer.drain()
            await asyncio.sleep(0)
        end = rng.choice(("close", "reset", "half", "half"))
        if end == "reset":
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
        elif end == "half" and not writer.is_closing():
            # the server ends what its client has half closed
            writer.write_eof()
            await reader.read()
    except ConnectionError:
        pass  # the server has hung up first
    finally:
        writer.close()


# -- who must notice nothing -------------------------------------------------------------------------------------------


async def talk(ws: TestWebSocket, number: int) -> None:
    await ws.send_json({"text": f"Grüße {number}", "user": "u"})
    assert await ws.receive_json() == {"echo": f"Grüße {number}", "room": "lobby"}


async def keep_talking(ws: TestWebSocket, stop: asyncio.Event) -> int:
    count = 0
    while not stop.is_set():
        await talk(ws, count)
        count += 1
    return count


async def attack(port: int, seeds: range) -> None:
    """All streams, some of them at a time; the failing one names its seed."""
    waiting = iter(seeds)

    async def one_after_the_other() -> None:
        for seed in waiting:
            try:
                async with asyncio.timeout(TIMEOUT_SECONDS):
                    await throw(port, seed)
            except Exception as error:
                error.add_note(f"seed {seed}")
                raise

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(one_after_the_other())


async def test_a_server_under_fire(caplog: pytest.LogCaptureFixture) -> None:
    app = make_app()
    async with TestServer(app, timeout=TIMEOUT_SECONDS) as server, server.websocket("/typed/lobby") as ws:
        stop = asyncio.Event()
        talking = asyncio.create_task(keep_talking(ws, stop))
        try:
            await attack(server.port, range(STREAMS))
        finally:
            stop.set()
            said = await talking
        assert said > STREAMS / AT_ONCE
        # every attacker has hung up; what is left of them goes within some turns of the loop
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while app.hub.count() > 1 or app.hub.count("limited"):
                await talk(ws, said)
        assert app.hub.count() == app.hub.count("lobby") == 1
        async with server.websocket("/typed/lobby") as other:
            await talk(other, 0)
            assert app.hub.count() == 2
        reply = await server.http.get("/healthz/live")
        assert (reply.status_code, json.loads(reply.content)) == (200, {"status": "ok"})
        assert ws.close_code is None
    gc.collect()
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert [f"{record.name}: {record.getMessage()}" for record in errors] == []
