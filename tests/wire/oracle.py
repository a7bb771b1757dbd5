"""The oracle: RFC 6455 read naively, byte after byte, with the place at which each event is first known.

It shares no code with `wireloom.wire`: what both say is taken for the truth.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from wireloom.errors import ProtocolError
from wireloom.wire.deflate import Inflater
from wireloom.wire.messages import Close, Event, MessageReader, Ping, Pong, ReaderRules

# RFC 3629 §4: first byte's range, and the ranges of the bytes after it.
_TAIL = (0x80, 0xBF)
_SEQUENCES = (
    ((0x00, 0x7F), ()),
    ((0xC2, 0xDF), (_TAIL,)),
    ((0xE0, 0xE0), ((0xA0, 0xBF), _TAIL)),
    ((0xE1, 0xEC), (_TAIL, _TAIL)),
    ((0xED, 0xED), ((0x80, 0x9F), _TAIL)),
    ((0xEE, 0xEF), (_TAIL, _TAIL)),
    ((0xF0, 0xF0), ((0x90, 0xBF), _TAIL, _TAIL)),
    ((0xF1, 0xF3), (_TAIL, _TAIL, _TAIL)),
    ((0xF4, 0xF4), ((0x80, 0x8F), _TAIL, _TAIL)),
)
SENDABLE_CODES = frozenset((*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)))


class _Broken(Exception):
    """A rule is broken; its argument is the close code."""


class UTF8:
    """Says of a text, byte after byte, whether it is still the beginning of valid UTF-8."""

    def __init__(self) -> None:
        self.expected: tuple[tuple[int, int], ...] = ()

    def take(self, byte: int) -> None:
        if self.expected:
            (low, high), self.expected = self.expected[0], self.expected[1:]
            if not low <= byte <= high:
                raise _Broken(1007)
            return
        for (low, high), rest in _SEQUENCES:
            if low <= byte <= high:
                self.expected = rest
                return
        raise _Broken(1007)


class _Message:
    """A message of which the first frame's header has arrived."""

    def __init__(self, text: bool, compressed: bool) -> None:
        self.text, self.compressed = text, compressed
        self.body = bytearray()
        self.fragments = 0
        self.utf8 = UTF8()


class Doubling(Inflater):
    """Stands for what permessage-deflate does, so simply that the oracle can do it too: every byte stands for two."""

    def inflate(self, piece: bytes, room: int, final: bool = False) -> bytes:
        if 0 <= room < 2 * len(piece):
            raise ProtocolError(1009, "message above the limit")
        return bytes(byte for byte in piece for _ in range(2))


class Oracle:
    """Reads one whole stream.

    Args:
        rules: the same record as the reader's.
        doubling: whether reserved bit 1 was agreed on, with `Doubling`.
    """

    def __init__(self, rules: ReaderRules, doubling: bool = False) -> None:
        self.rules = rules
        self.doubling = doubling
        self.events: list[tuple[int, Any]] = []  # with the number of bytes it takes to know the event
        self.message: _Message | None = None
        self.data = b""
        self.at = 0

    def read(self, data: bytes) -> list[tuple[int, Any]]:
        self.data = data
        try:
            while True:
                self.frame()
        except EOFError:
            pass
        except _Broken as broken:
            self.tell(("failed", broken.args[0]))
        return self.events

    def byte(self) -> int:
        if self.at == len(self.data):
            raise EOFError
        self.at += 1
        return self.data[self.at - 1]

    def number(self, width: int) -> int:
        return int.from_bytes(bytes(self.byte() for _ in range(width)), "big")

    def tell(self, event: Any) -> None:
        self.events.append((self.at, event))

    def demand(self, rule: bool, code: int = 1002) -> None:
        if not rule:
            raise _Broken(code)

    def frame(self) -> None:
        first = self.byte()
        final, reserved, opcode = first >= 0x80, first & 0x70, first & 0x0F
        compressed = reserved == 0x40 and opcode in (1, 2) and self.doubling
        self.demand(not reserved or compressed)
        self.demand(opcode in (0, 1, 2, 8, 9, 10))
        self.demand(opcode != 0 or self.message is not None)
        self.demand(opcode not in (1, 2) or self.message is None)
        second = self.byte()
        masked, length = second >= 0x80, second & 0x7F
        self.demand(masked == self.rules.masked)
        self.demand(opcode < 8 or (final and length <= 125))
        if length == 126:
            length = self.number(2)
            self.demand(length > 125)
        elif length == 127:
            length = self.number(8)
            self.demand(0xFFFF < length < 2**63)
        inflated = compressed or (self.message is not None and self.message.compressed)
        if opcode < 8 and not inflated and self.rules.max_message_bytes:
            before = len(self.message.body) if self.message else 0
            self.demand(before + length <= self.rules.max_message_bytes, 1009)
        key = bytes(self.byte() for _ in range(4)) if masked else bytes(4)
        payload = (self.byte() ^ key[index % 4] for index in range(length))
        if opcode < 8:
            self.data_frame(opcode, final, compressed, payload)
        else:
            self.control_frame(opcode, bytes(payload))

    def data_frame(self, opcode: int, final: bool, compressed: bool, payload: Iterable[int]) -> None:
        message = self.message = self.message or _Message(opcode == 1, compressed)
        message.fragments += 1
        self.demand(message.fragments <= self.rules.max_fragments, 1009)
        for byte in payload:
            if message.compressed and self.rules.max_message_bytes:
                self.demand(len(message.body) + 2 <= self.rules.max_message_bytes, 1009)
            for _ in range(2 if message.compressed else 1):
                message.body.append(byte)
                if message.text:
                    message.utf8.take(byte)
        if final:
            self.message = None
            self.finish(message)

    def finish(self, message: _Message) -> None:
        body = bytes(message.body)
        self.demand(not message.utf8.expected, 1007)
        self.tell(body.decode() if message.text else body)

    def control_frame(self, opcode: int, payload: bytes) -> None:
        if opcode != 8:
            self.tell(Ping(payload) if opcode == 9 else Pong(payload))
            return
        self.tell(_close(payload))
        raise EOFError


def _close(payload: bytes) -> Close:
    if not payload:
        return Close(None, "")
    code = int.from_bytes(payload[:2], "big")
    if len(payload) == 1 or code not in SENDABLE_CODES:
        raise _Broken(1002)
    utf8 = UTF8()
    for byte in payload[2:]:
        utf8.take(byte)
    if utf8.expected:
        raise _Broken(1007)
    return Close(code, payload[2:].decode())


def expected(data: bytes, rules: ReaderRules) -> list[Any]:
    """What comes out of a whole stream."""
    return [event for _, event in Oracle(rules).read(data)]


def plain(events: Iterable[Any]) -> list[Any]:
    """A reader's events in a form that compares: errors by their code."""
    return [("failed", event.code) if isinstance(event, ProtocolError) else event for event in events]


def read(data: bytes, rules: ReaderRules, cuts: Iterable[int] = (), doubling: bool = False) -> list[Any]:
    """What a fresh reader makes of a stream that arrives cut at these places."""
    reader = MessageReader(rules, Doubling() if doubling else None)
    places = [0, *sorted(cuts), len(data)]
    return plain(event for start, stop in pairwise(places) for event in _feed(reader, data[start:stop]))


def _feed(reader: MessageReader, data: bytes) -> list[Event]:
    events = reader.feed(data)
    while reader.holds:
        events += reader.feed(b"")
    return events


def read_bytewise(data: bytes, rules: ReaderRules, doubling: bool = False) -> list[tuple[int, Any]]:
    """What a fresh reader makes of a stream that arrives byte by byte: each event with the byte that brought it."""
    reader = MessageReader(rules, Doubling() if doubling else None)
    return [(at, event) for at in range(1, len(data) + 1) for event in plain(reader.feed(data[at - 1 : at]))]


def head(first: int, length: int, *, mask_bit: int = 0x80, form: int | None = None) -> bytes:
    """A frame header without key, whose length has the form asked for: 7, 16 or 64 bits, minimal or not."""
    form = form or (7 if length < 126 else 16 if length < 65536 else 64)
    if form == 7:
        return bytes((first, mask_bit | length))
    if form == 16:
        return bytes((first, mask_bit | 126)) + length.to_bytes(2, "big")
    return bytes((first, mask_bit | 127)) + length.to_bytes(8, "big")


def frame(first: int, payload: bytes = b"", key: bytes | None = b"\x37\xfa\x21\x3d", **form: int) -> bytes:
    """A frame made without `wireloom.wire`: masked with a key, unmasked without."""
    if key is None:
        return head(first, len(payload), mask_bit=0, **form) + payload
    masked = bytes(byte ^ key[index % 4] for index, byte in enumerate(payload))
    return head(first, len(payload), **form) + key + masked
