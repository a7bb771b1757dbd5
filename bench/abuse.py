"""`python -m bench.abuse HOST PORT CONNECTIONS ROUNDS [NICE]`: abusive connections, each of which breaks another limit.

Each goes on until all of them have been dealt with so many times; then it is printed in JSON how, by the kind of abuse
and by what the server did: a close code, an HTTP status, or the end of the connection without a word.

Law: everything that the server may do about a kind of abuse is in the table; anything else is told as it is.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from wireloom.wire.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, mask_frame

__all__ = ["ABUSES", "Abuse", "Peer"]

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
PATIENCE_SECONDS = 30.0  # after which an peer was not dealt with
MIB = 1024 * 1024
MASK = b"\x00\x00\x00\x00"


def _bomb() -> bytes:
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    payload = deflate.compress(bytes(10 * MIB)) + deflate.flush(zlib.Z_SYNC_FLUSH)
    return mask_frame(BINARY, payload[:-4], reserved=0x40)


# made once: who abuses is not to be slower than who is abused
BOMB = _bomb()
LARGE = mask_frame(BINARY, bytes(MIB + 1))
FRAGMENTS = mask_frame(BINARY, b"", fin=False) + mask_frame(CONTINUATION, bytes(64 * 1024), fin=False) * 17
MANY_FRAGMENTS = mask_frame(TEXT, b"", fin=False) + mask_frame(CONTINUATION, b"", fin=False) * 1000
PINGS = mask_frame(PING, b"x" * 125) * 1000
MESSAGES = mask_frame(TEXT, b'{"n":1}') * 1000
UNREADABLE = mask_frame(TEXT, b'{"n":') * 1000
DEEP = mask_frame(TEXT, b"[" * 100_000)
CHUNKS = (b"10000\r\n" + bytes(65536) + b"\r\n") * 17


class _Reader(asyncio.StreamReader):
    """Gives all that came before a reset; asyncio's forgets it, when the reset comes before somebody reads."""

    def set_exception(self, exc: Exception) -> None:
        """The connection was reset."""
        self.feed_eof()


class Peer:
    """One TCP connection after the other, from an address of its own.

    Args:
        host: the server's.
        port: the server's.
        address: where from; of the loopback network any will do.
    """

    def __init__(self, host: str, port: int, address: str) -> None:
        self._target = (host, port)
        self.address = address
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter

    async def dial(self, receive_buffer: int = 0) -> None:
        """Connects.

        Args:
            receive_buffer: bytes that the kernel may keep for us; 0: as it likes.
        """
        connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if receive_buffer:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.setblocking(False)
        connection.bind((self.address, 0))
        loop = asyncio.get_running_loop()
        await loop.sock_connect(connection, self._target)
        self.reader = _Reader(2 * MIB, loop)
        protocol = asyncio.StreamReaderProtocol(self.reader)
        transport, _ = await loop.create_connection(lambda: protocol, sock=connection)
        self.writer = asyncio.StreamWriter(transport, protocol, self.reader, loop)

    async def open(self, path: str = "/echo", *headers: str, receive_buffer: int = 0) -> int:
        """Opens a WebSocket; gives the status of the answer."""
        await self.dial(receive_buffer)
        self.say(upgrade(path, *headers))
        return await self.status()

    def say(self, data: bytes) -> None:
        """Writes bytes; the server may have gone."""
        if not self.writer.is_closing():
            self.writer.write(data)

    def text(self, text: str) -> None:
        """Sends a text message."""
        self.say(mask_frame(TEXT, text.encode()))

    async def drip(self, data: bytes) -> None:
        """Sends bytes one by one, until there is an answer."""
        for byte in data:
            if self.writer.is_closing() or self.reader.at_eof() or self.reader._buffer:  # type: ignore[attr-defined]
                return
            self.say(bytes((byte,)))
            await asyncio.sleep(0.05)

    async def status(self) -> int:
        """The status of an HTTP answer; 0: the connection has ended without one."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return 0
        return int(head.split()[1])

    async def frame(self) -> tuple[int, bytes]:
        """The next frame's opcode and payload."""
        first, length = await self.reader.readexactly(2)
        if length >= 126:
            length = int.from_bytes(await self.reader.readexactly(2 if length == 126 else 8), "big")
        return first & 0x0F, await self.reader.readexactly(length)

    async def message(self) -> tuple[int, bytes]:
        """The next frame that is no ping."""
        while True:
            opcode, payload = await self.frame()
            if opcode != PING:
                return opcode, payload

    async def verdict(self) -> str:
        """How the server ended a WebSocket; what it said before is passed over."""
        try:
            while True:
                opcode, payload = await self.frame()
                if opcode == CLOSE:
                    return f"close {int.from_bytes(payload[:2], 'big')}"
        except (asyncio.IncompleteReadError, ConnectionError):
            return "cut"

    async def refusal(self) -> str:
        """How it answered by HTTP, or ended without a word."""
        status = await self.status()
        return f"status {status}" if status else "cut"

    def abort(self) -> None:
        """Leaves without a word."""
        if hasattr(self, "writer"):
            self.writer.transport.abort()


def upgrade(path: str, *headers: str) -> bytes:
    """The head of a handshake."""
    lines = (
        f"GET {path} HTTP/1.1",
        "Host: localhost",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {KEY}",
        "Sec-WebSocket-Version: 13",
        *headers,
    )
    return "\r\n".join((*lines, "", "")).encode()


def post(*headers: str) -> bytes:
    """The head of a request with a body."""
    return "\r\n".join(("POST /body HTTP/1.1", "Host: localhost", *headers, "", "")).encode()


# -- handshakes --------------------------------------------------------------------------------------------------------


async def silent(peer: Peer) -> str:
    """Connects and says nothing."""
    await peer.dial()
    return await peer.refusal()


async def half_a_head(peer: Peer) -> str:
    """Begins a handshake and never ends it."""
    await peer.dial()
    peer.say(upgrade("/echo")[:-2])
    return await peer.refusal()


async def slow_head(peer: Peer) -> str:
    """Says a head byte by byte."""
    await peer.dial()
    await peer.drip(upgrade("/echo", f"X-Filler: {'x' * 200}"))
    return await peer.refusal()


async def large_head(peer: Peer) -> str:
    """Says a head that is too large."""
    await peer.dial()
    peer.say(upgrade("/echo", f"X-Filler: {'x' * 20_000}"))
    return await peer.refusal()


async def many_of_one_address(peer: Peer) -> str:
    """Opens connections until it is refused."""
    others: list[Peer] = []
    try:
        while len(others) < 200:
            others.append(Peer(*peer._target, "127.0.0.99"))
            status = await others[-1].open()
            if status != 101:
                return f"status {status}"
        return "let in"
    finally:
        for other in others:
            other.abort()


async def reconnects(peer: Peer) -> str:
    """Comes and goes, as fast as it can."""
    for _ in range(20):
        if await peer.open() != 101:
            return "refused"
        peer.abort()
    return "let in"


# -- frames ------------------------------------------------------------------------------------------------------------


async def large_message(peer: Peer) -> str:
    """Sends a message of one byte too many."""
    await peer.open()
    peer.say(LARGE)
    return await peer.verdict()


async def large_claim(peer: Peer) -> str:
    """Claims to send more than there is."""
    await peer.open()
    peer.say(b"\x82\xff" + (2**62).to_bytes(8, "big") + MASK)
    return await peer.verdict()


async def large_in_fragments(peer: Peer) -> str:
    """Sends a message of too many bytes piece by piece."""
    await peer.open()
    peer.say(FRAGMENTS)
    return await peer.verdict()


async def many_fragments(peer: Peer) -> str:
    """Sends a message of too many pieces."""
    await peer.open()
    peer.say(MANY_FRAGMENTS)
    return await peer.verdict()


async def bad_utf8(peer: Peer) -> str:
    """Sends text that is none."""
    await peer.open()
    peer.say(mask_frame(TEXT, b"\xed\xa0\x80"))
    return await peer.verdict()


async def invalid_frame(peer: Peer) -> str:
    """Sends a frame with reserved bits."""
    await peer.open()
    peer.say(b"\xf1\x80" + MASK)
    return await peer.verdict()


async def unmasked(peer: Peer) -> str:
    """Sends a frame without a mask."""
    await peer.open()
    peer.say(b"\x81\x02{}")
    return await peer.verdict()


async def never_closes(peer: Peer) -> str:
    """Breaks the protocol and does not go when it is told to."""
    await peer.open()
    peer.say(b"\xf1\x80" + MASK)
    said = await peer.verdict()
    with suppress(ConnectionError, asyncio.IncompleteReadError):
        while not peer.reader.at_eof():
            await peer.reader.read(MIB)
        while True:  # what is written to a connection that has ended fails in the end
            peer.writer.write(mask_frame(PING, b""))
            await peer.writer.drain()
            await asyncio.sleep(0.1)
    return said


async def bomb(peer: Peer) -> str:
    """Sends 10 KiB that stand for 10 MiB."""
    await peer.open("/echo", "Sec-WebSocket-Extensions: permessage-deflate")
    peer.say(BOMB)
    return await peer.verdict()


async def ping_flood(peer: Peer) -> str:
    """Sends more pings than it may."""
    await peer.open()
    peer.say(PINGS)
    return await peer.verdict()


# -- messages ----------------------------------------------------------------------------------------------------------


async def message_flood(peer: Peer) -> str:
    """Sends more messages than it may."""
    await peer.open()
    peer.say(MESSAGES)
    return await peer.verdict()


async def bad_json_flood(peer: Peer) -> str:
    """Sends more messages than it may, and none is JSON."""
    await peer.open()
    peer.say(UNREADABLE)
    return await peer.verdict()


async def deep_json(peer: Peer) -> str:
    """Sends JSON that is all brackets."""
    await peer.open()
    peer.say(DEEP)
    _, payload = await peer.message()
    return "error" if b'"error"' in payload else "answered"


async def channels(peer: Peer) -> str:
    """Wants to hear more channels than it may."""
    await peer.open("/websocket")
    for number in range(0, 200, 10):
        names = [f"{number}/{each}" for each in range(10)]
        peer.text(json.dumps({"type": "subscribe", "channel_ids": names}))
    while True:
        opcode, payload = await peer.message()
        if opcode == CLOSE:
            return f"close {int.from_bytes(payload[:2], 'big')}"
        if b"TOO_MANY_CHANNELS" in payload:
            return "error"


# -- time --------------------------------------------------------------------------------------------------------------


async def never_reads(peer: Peer) -> str:
    """Hears what is published and reads nothing of it, as long as the server does not give up."""
    await peer.open("/news", receive_buffer=4096)
    peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
    connection = peer.writer.get_extra_info("socket")
    while connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == 1:  # ESTABLISHED
        peer.say(mask_frame(PONG, b""))  # what is sent to a socket that was closed is answered by a reset
        await asyncio.sleep(0.1)
    return "cut"


async def no_pong(peer: Peer) -> str:
    """Answers no ping."""
    await peer.open()
    return await peer.verdict()


async def half_closed(peer: Peer) -> str:
    """Sends no more and waits."""
    await peer.open()
    peer.writer.write_eof()
    return await peer.verdict()


# -- bodies ------------------------------------------------------------------------------------------------------------


async def large_body(peer: Peer) -> str:
    """Announces a body that is too large."""
    await peer.dial()
    peer.say(post(f"Content-Length: {MIB + 1}") + bytes(64 * 1024))
    return await peer.refusal()


async def endless_body(peer: Peer) -> str:
    """Sends a body without saying how large it is."""
    await peer.dial()
    peer.say(post("Transfer-Encoding: chunked") + CHUNKS)
    return await peer.refusal()


async def slow_body(peer: Peer) -> str:
    """Sends a body byte by byte."""
    await peer.dial()
    peer.say(post("Content-Length: 1000"))
    await peer.drip(bytes(1000))
    return await peer.refusal()


# -- all of them -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Abuse:
    """One kind of abuse.

    Args:
        act: does it once, and says what the server did.
        dealt: all that the server may do.
    """

    act: Callable[[Peer], Awaitable[str]]
    dealt: tuple[str, ...]


ABUSES = {
    abuse.act.__name__: abuse
    for abuse in (
        Abuse(silent, ("cut",)),
        Abuse(half_a_head, ("status 408",)),
        Abuse(slow_head, ("status 408",)),
        Abuse(large_head, ("status 431",)),
        Abuse(many_of_one_address, ("status 429",)),
        Abuse(reconnects, ("let in",)),
        Abuse(large_message, ("close 1009",)),
        Abuse(large_claim, ("close 1009",)),
        Abuse(large_in_fragments, ("close 1009",)),
        Abuse(many_fragments, ("close 1009",)),
        Abuse(bad_utf8, ("close 1007",)),
        Abuse(invalid_frame, ("close 1002",)),
        Abuse(unmasked, ("close 1002",)),
        Abuse(never_closes, ("close 1002",)),
        Abuse(bomb, ("close 1009",)),
        Abuse(ping_flood, ("close 1008",)),
        Abuse(message_flood, ("close 1008",)),
        Abuse(bad_json_flood, ("close 1008",)),
        Abuse(deep_json, ("error",)),
        Abuse(channels, ("error",)),
        Abuse(never_reads, ("cut",)),
        Abuse(no_pong, ("close 1011",)),
        Abuse(half_closed, ("cut",)),
        Abuse(large_body, ("status 413",)),
        Abuse(endless_body, ("status 413",)),
        Abuse(slow_body, ("status 408",)),
    )
}


class Flood:
    """Many abusers at once.

    Args:
        host: the server's.
        port: the server's.
        count: of connections; the kinds take turns.
        rounds: how many times each is dealt with before all end.
    """

    def __init__(self, host: str, port: int, count: int, rounds: int) -> None:
        self._target = (host, port)
        self._rounds = rounds
        self._left = count
        self._over = asyncio.Event()
        self._kinds = [list(ABUSES)[number % len(ABUSES)] for number in range(count)]
        self.outcomes: dict[str, Counter[str]] = {kind: Counter() for kind in ABUSES}

    async def run(self) -> None:
        """Goes on until everybody was dealt with often enough."""
        tasks = [asyncio.create_task(self._abuse(number, kind)) for number, kind in enumerate(self._kinds)]
        await self._over.wait()
        for task in tasks:
            task.cancel()
        for error in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(error, Exception):
                raise error

    async def _abuse(self, number: int, kind: str) -> None:
        address = f"127.0.{1 + number // 200}.{1 + number % 200}"
        done = 0
        while True:
            peer = Peer(*self._target, address)
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    outcome = await ABUSES[kind].act(peer)
            except TimeoutError:
                outcome = "not dealt with"
            except (OSError, asyncio.IncompleteReadError) as error:
                outcome = f"failed: {type(error).__name__}"
            finally:
                peer.abort()
            self.outcomes[kind][outcome] += 1
            done += 1
            if done == self._rounds:
                self._left -= 1
                if not self._left:
                    self._over.set()


def main() -> int:
    """Floods a server, and prints what it did about it."""
    host, port, count, rounds = sys.argv[1], *map(int, sys.argv[2:5])
    os.nice(int(sys.argv[5]) if len(sys.argv) > 5 else 0)

    async def run() -> Flood:
        flood = Flood(host, port, count, rounds)
        await flood.run()
        return flood

    print(json.dumps({kind: dict(outcomes) for kind, outcomes in asyncio.run(run()).outcomes.items()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
