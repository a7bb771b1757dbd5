"""A TCP client that says exactly the bytes a test tells it to say; every wait has a time-out."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl as tls
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

import uvicorn

from wireloom import App
from wireloom.net.server import uvicorn_config
from wireloom.wire.frames import BINARY, CLOSE, PING, PONG, TEXT, mask_frame

__all__ = ["KEY", "Answer", "Frame", "Peer", "dial", "eventually", "request_head", "serve", "soon", "upgrade_head"]

T = TypeVar("T")

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455 §1.3
TIMEOUT = 20.0


class Answer(NamedTuple):
    """An HTTP answer; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Frame(NamedTuple):
    """One frame of the server's."""

    opcode: int
    payload: bytes

    @property
    def code(self) -> int | None:
        """Of a close frame: its code, None when it is empty."""
        assert self.opcode == CLOSE, self
        return int.from_bytes(self.payload[:2], "big") if self.payload else None

    @property
    def reason(self) -> str:
        assert self.opcode == CLOSE, self
        return self.payload[2:].decode()


def request_head(method: str, target: str, headers: dict[str, str | None] | None = None) -> bytes:
    """A request head of HTTP/1.1; headers of None are left out."""
    all_headers = {"Host": "localhost", **(headers or {})}
    lines = "".join(f"{name}: {value}\r\n" for name, value in all_headers.items() if value is not None)
    return f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode("latin-1")


def upgrade_head(target: str = "/echo", headers: dict[str, str | None] | None = None, method: str = "GET") -> bytes:
    """A correct upgrade request, with some headers replaced, added, or left out by None."""
    all_headers: dict[str, str | None] = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": KEY,
        "Sec-WebSocket-Version": "13",
        **(headers or {}),
    }
    return request_head(method, target, all_headers)


class Peer:
    """One TCP connection to a server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        """Writes bytes."""
        self.writer.write(data)

    def text(self, text: str) -> None:
        """Sends a masked text frame."""
        self.send(mask_frame(TEXT, text.encode()))

    def binary(self, data: bytes) -> None:
        """Sends a masked binary frame."""
        self.send(mask_frame(BINARY, data))

    def ping(self, payload: bytes = b"") -> None:
        """Sends a masked ping."""
        self.send(mask_frame(PING, payload))

    def pong(self, payload: bytes = b"") -> None:
        """Sends a masked pong."""
        self.send(mask_frame(PONG, payload))

    def close(self, payload: bytes = b"\x03\xe8") -> None:
        """Sends a masked close frame."""
        self.send(mask_frame(CLOSE, payload))

    async def drain(self) -> None:
        """Waits until what was sent is on its way."""
        async with asyncio.timeout(TIMEOUT):
            await self.writer.drain()

    async def send_slowly(self, data: bytes, size: int = 1) -> None:
        """Sends bytes in small pieces that arrive one by one: each turn of the loop lets the server read."""
        for start in range(0, len(data), size):
            self.send(data[start : start + size])
            await asyncio.sleep(0.001)

    async def exactly(self, size: int) -> bytes:
        """So many bytes."""
        async with asyncio.timeout(TIMEOUT):
            return await self.reader.readexactly(size)

    async def once(self, size: int = 1 << 20) -> bytes:
        """What one read gives."""
        async with asyncio.timeout(TIMEOUT):
            return await self.reader.read(size)

    async def rest(self, seconds: float = TIMEOUT) -> bytes:
        """All bytes up to the end of the connection."""
        async with asyncio.timeout(seconds):
            return await self.reader.read()

    async def answer(self, *, has_body: bool = True) -> Answer:
        """An HTTP answer with its body, by its Content-Length."""
        async with asyncio.timeout(TIMEOUT):
            head = await self.reader.readuntil(b"\r\n\r\n")
            status_line, *lines = head[:-4].decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            size = int(headers.get("content-length", 0)) if has_body else 0
            body = await self.reader.readexactly(size)
        assert status_line.startswith("HTTP/1.1 "), status_line
        return Answer(int(status_line.split()[1]), headers, body)

    async def switched(self) -> Answer:
        """The answer to a correct upgrade."""
        answer = await self.answer()
        assert answer.status == 101, answer
        assert answer.headers["upgrade"].lower() == "websocket"
        assert answer.headers["connection"].lower() == "upgrade"
        assert answer.headers["sec-websocket-accept"] == ACCEPT
        return answer

    async def upgrade(self, target: str = "/echo", headers: dict[str, str | None] | None = None) -> Answer:
        """Opens a WebSocket."""
        self.send(upgrade_head(target, headers))
        return await self.switched()

    async def frame(self, seconds: float = TIMEOUT) -> Frame:
        """The next frame, whole and unmasked as servers send it."""
        async with asyncio.timeout(seconds):
            first, length = await self.reader.readexactly(2)
            if length >= 126:
                length = int.from_bytes(await self.reader.readexactly(2 if length == 126 else 8), "big")
            return Frame(first & 0x0F, await self.reader.readexactly(length))

    async def expect_text(self, text: str, seconds: float = TIMEOUT) -> None:
        """The next frame is this text."""
        frame = await self.frame(seconds)
        assert frame == Frame(TEXT, text.encode()), frame

    async def expect_end(self, seconds: float = TIMEOUT) -> None:
        """The server ends the TCP connection and says no more."""
        rest = await self.rest(seconds)
        assert rest == b"", rest

    def abort(self) -> None:
        """Ends the TCP connection without a word."""
        self.writer.transport.abort()

    async def leave(self) -> None:
        """Ends the TCP connection."""
        self.writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(TIMEOUT):
                await self.writer.wait_closed()


@contextlib.asynccontextmanager
async def dial(port: int, ssl: tls.SSLContext | None = None, limit: int = 1 << 20) -> AsyncIterator[Peer]:
    """A TCP connection that ends with the block."""
    async with asyncio.timeout(TIMEOUT):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=ssl, limit=limit)
    peer = Peer(reader, writer)
    try:
        yield peer
    finally:
        await peer.leave()


async def soon(awaitable: Awaitable[T], seconds: float = TIMEOUT) -> T:
    """The result, within the time-out."""
    async with asyncio.timeout(seconds):
        return await awaitable


async def eventually(holds: Callable[[], Any], seconds: float = TIMEOUT) -> None:
    """Waits until something holds that tells nobody when it does: looks again every few milliseconds."""
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def serve(app: App, *, drain_timeout_seconds: float = 1.0) -> AsyncIterator[tuple[uvicorn.Server, int]]:
    """A server with a short drain limit; gives it and its port."""
    app.configure(replace(app.config, port=0, drain_timeout_seconds=drain_timeout_seconds))
    config = uvicorn_config(app, app.config)
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    ticking = asyncio.create_task(server.main_loop())
    try:
        yield server, server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await ticking
        await server.shutdown()
