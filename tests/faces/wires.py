"""A client that sees the bytes of frames, and an application with an endpoint of each kind."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable
from typing import Any, TypedDict, TypeVar

import msgspec
import pytest

from wireloom import App
from wireloom.testing import TestServer
from wireloom.wire.frames import BINARY, TEXT, mask_frame

T = TypeVar("T")


HANDSHAKE = (
    "GET {} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class Chat(TypedDict):
    text: str
    user: str


class Closed(msgspec.Struct, forbid_unknown_fields=True):
    text: str


def soon(awaitable: Awaitable[T]) -> Awaitable[T]:
    return asyncio.wait_for(awaitable, 5)


class Wire:
    """A client that sees the very bytes of the server's frames."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, *payloads: str | bytes) -> None:
        """Whole messages in one write."""
        self.writer.write(
            b"".join(mask_frame(TEXT, p.encode()) if isinstance(p, str) else mask_frame(BINARY, p) for p in payloads)
        )

    async def frame(self) -> tuple[int, bytes]:
        """The next frame: its first byte and its payload."""
        first, second = await soon(self.reader.readexactly(2))
        width = {126: 2, 127: 8}.get(second, 0)
        length = int.from_bytes(await soon(self.reader.readexactly(width)), "big") if width else second
        return first, await soon(self.reader.readexactly(length))

    async def nothing(self, seconds: float = 0.1) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(self.reader.read(1), seconds)


@contextlib.asynccontextmanager
async def opened(server: TestServer, target: str) -> AsyncIterator[Wire]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        writer.write(HANDSHAKE.format(target).encode())
        head = await soon(reader.readuntil(b"\r\n\r\n"))
        assert head.startswith(b"HTTP/1.1 101 "), head
        yield Wire(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def application(**options: Any) -> tuple[App, list[Any]]:
    """One endpoint of each kind, and a log of what their handlers got."""
    app, got = App(**options), []

    @app.websocket("/chat")
    async def chat(message: Chat) -> Any:
        got.append(message)
        return message

    @app.websocket("/closed")
    async def closed(message: Closed) -> Any:
        got.append(message)
        return message

    @app.websocket("/schema", message_schema={"type": "object", "required": ["user"], "properties": {"user": {}}})
    async def schema(message: Any) -> Any:
        got.append(message)
        return message

    @app.websocket("/any")
    async def anything(message) -> Any:
        got.append(message)
        return message

    @app.websocket("/text")
    async def text(message: str) -> Any:
        got.append(message)
        return message

    @app.websocket("/binary")
    async def binary(message: bytes) -> Any:
        got.append(message)
        return message

    @app.websocket("/either")
    async def either(message: str | bytes) -> Any:
        got.append(message)
        return message

    return app, got
