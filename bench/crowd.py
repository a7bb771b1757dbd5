"""Crowd: thousands of light WebSocket clients in one event loop, which note how they were closed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

from wireloom.wire.frames import CLOSE, TEXT, mask_frame

__all__ = ["Crowd", "Member"]

_AT_ONCE = 200  # handshakes under way
_HEAD = (
    "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class Member(asyncio.Protocol):
    """One client. The frames that it gets are short.

    Args:
        crowd: to whom it belongs.

    Attributes:
        code: of the server's close frame; None before one came.
        reason: that came with it.
    """

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        self._data = b""
        self._transport: asyncio.Transport | None = None
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.code: int | None = None
        self.reason = ""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        transport.write(self._crowd.head)

    def data_received(self, data: bytes) -> None:
        self._data += data
        if not self.opened.done():
            head, found, rest = self._data.partition(b"\r\n\r\n")
            if not found:
                return
            assert head.startswith(b"HTTP/1.1 101"), head
            self._data = rest
            self.opened.set_result(None)
        while len(self._data) >= 2 and len(self._data) >= 2 + self._data[1]:
            end = 2 + self._data[1]
            opcode, payload, self._data = self._data[0] & 15, self._data[2:end], self._data[end:]
            self._take(opcode, payload)

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode == TEXT:
            self._crowd.echoes += 1
        if opcode == CLOSE:
            self.code, self.reason = int.from_bytes(payload[:2], "big"), payload[2:].decode()
            self._crowd.told.set()
            if self._crowd.answers:
                self.send(CLOSE, payload[:2])
            self._crowd.has_closed(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._crowd.gone += 1
        if not self.opened.done():
            self.opened.set_exception(ConnectionError("ended before it was open"))
        if self._crowd.gone == len(self._crowd.members):
            self._crowd.over.set()

    def send(self, opcode: int, payload: bytes) -> None:
        """Sends one frame."""
        assert self._transport is not None
        self._transport.write(mask_frame(opcode, payload))

    def leave(self) -> None:
        """Ends without a word."""
        assert self._transport is not None
        self._transport.abort()


class Crowd:
    """Many clients of one endpoint.

    Args:
        answers: whether they answer a close frame.

    Attributes:
        members: those that have connected.
        echoes: how many messages came.
        told: set when one was told to close.
        over: set when all are gone.
    """

    def __init__(self, path: str, *, answers: bool = True) -> None:
        self.head = _HEAD.format(path=path).encode()
        self.answers = answers
        self.members: list[Member] = []
        self.echoes = self.gone = 0
        self.told = asyncio.Event()
        self.over = asyncio.Event()

    async def connect(self, port: int, count: int) -> None:
        """Opens so many connections."""
        loop = asyncio.get_running_loop()
        while len(self.members) < count:
            size = min(_AT_ONCE, count - len(self.members))
            dialled = [loop.create_connection(lambda: Member(self), "127.0.0.1", port) for _ in range(size)]
            members = [member for _, member in await asyncio.gather(*dialled)]
            await asyncio.gather(*(member.opened for member in members))
            self.members += members

    def has_closed(self, member: Member) -> None:
        """One was told to close; for those who want to know."""

    @property
    def open(self) -> Iterator[Member]:
        """Those that were not told to close."""
        return (member for member in self.members if member.code is None)

    def waits(self) -> list[int]:
        """What each was told: 1012, and so many milliseconds."""
        assert {member.code for member in self.members} == {1012}
        told = [json.loads(member.reason) for member in self.members]
        assert all(list(advice) == ["reconnect_in_ms"] for advice in told)
        return [advice["reconnect_in_ms"] for advice in told]

    def leave(self) -> None:
        """All end."""
        for member in self.members:
            member.leave()
