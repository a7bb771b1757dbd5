"""Raw TCP servers that play a script, for clients to be tested against."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from wireloom.wire.handshake import accept_key

TIMEOUT_SECONDS = 20.0


class Peer:
    """The server's end of one TCP connection, without manners."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.request = b""

    async def read_request(self) -> None:
        self.request = await self.reader.readuntil(b"\r\n\r\n")

    def header(self, name: bytes) -> bytes | None:
        for line in self.request.split(b"\r\n")[1:]:
            key, _, value = line.partition(b": ")
            if key.lower() == name:
                return value
        return None

    def answer(self, *lines: str) -> bytes:
        accept = accept_key(self.header(b"sec-websocket-key") or b"")
        head = ("HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade")
        return "\r\n".join((*head, f"Sec-WebSocket-Accept: {accept}", *lines, "", "")).encode()

    async def accept(self, rest: bytes = b"", *lines: str) -> None:
        await self.read_request()
        self.writer.write(self.answer(*lines) + rest)

    def write(self, data: bytes) -> None:
        self.writer.write(data)

    async def read_frame(self) -> tuple[int, bytes]:
        """First byte and unmasked payload of a frame of the client's, which must be masked."""
        first, second = await self.reader.readexactly(2)
        assert second & 0x80, "a client masks"
        length = second & 0x7F
        if length > 125:
            length = int.from_bytes(await self.reader.readexactly(2 if length == 126 else 8), "big")
        key = await self.reader.readexactly(4)
        payload = await self.reader.readexactly(length)
        return first, bytes(byte ^ key[index % 4] for index, byte in enumerate(payload))

    async def read_end(self) -> bytes:
        """What comes before the client's TCP connection ends."""
        try:
            return await self.reader.read()
        except ConnectionError:
            return b""

    def keep_little(self) -> None:
        """Lets the kernel keep little of what is on its way, so that floods are short."""
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, option, 131072)

    def reset(self) -> None:
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


class NotYet(Exception):
    """A script's end that is not the end: more connections are to come."""


Script = Callable[[Peer], Awaitable[None]]


@asynccontextmanager
async def serving(script: Script) -> AsyncIterator[str]:
    """The URL of a server that plays a script for its one client; the script has to end well too."""
    played: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await script(Peer(reader, writer))
        except NotYet:
            pass
        except Exception as error:
            if not played.done():
                played.set_exception(error)
        else:
            if not played.done():
                played.set_result(None)
        finally:
            writer.close()

    async with asyncio.timeout(TIMEOUT_SECONDS):
        server = await asyncio.start_server(play, "127.0.0.1", 0)
        try:
            yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/chat?x=1"
            await played
        finally:
            server.close()
            played.cancel()
