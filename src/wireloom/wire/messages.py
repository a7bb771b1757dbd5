"""The reader: whatever bytes arrived go in, whole messages and control events come out (RFC 6455 §5 to §8).

Laws:
- A text message is a `str`, a binary message is `bytes`; control frames are `Ping`, `Pong` and `Close`.
- A broken rule ends the list with one `ProtocolError`, after all that was whole before it; the rest is ignored.
- Bad UTF-8 and broken headers are told at the first byte that proves them, what is wrong in a close frame at its end.
- Compressed messages are inflated as they arrive, never beyond the limit. What one `feed` inflates is bounded too: the
  rest of the bytes is held as it came until the next.
- State for a message exists only while the message is incomplete.
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from wireloom.errors import ProtocolError
from wireloom.wire.deflate import INFLATED_AT_ONCE, Inflater
from wireloom.wire.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    decode_close,
    unmask,
)

__all__ = ["Close", "Event", "MessageReader", "Ping", "Pong", "ReaderRules"]


@dataclass(frozen=True, slots=True)
class Ping:
    """A ping that arrived; answer it with the same payload (RFC 6455 §5.5.2)."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Pong:
    """A pong that arrived, asked for or not (RFC 6455 §5.5.3)."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Close:
    """The peer's close frame; a code of None means it was empty (RFC 6455 §5.5.1)."""

    code: int | None
    reason: str


Event: TypeAlias = str | bytes | Ping | Pong | Close | ProtocolError

_WHOLE_MESSAGE_BYTES = 65535
_AT_ONCE = range(32)  # messages, or other frames, that `feed` reads before it holds what is left


@dataclass(frozen=True, slots=True)
class ReaderRules:
    """What a reader accepts; one record is shared by all connections of an endpoint.

    Args:
        masked: True for a server (its peer must mask), False for a client (its peer must not).
        max_message_bytes: size of a whole message, inflated, 0 for no limit; above it the connection fails with 1009.
        max_fragments: fragments of one message; above it 1009.
    """

    masked: bool = True
    max_message_bytes: int = 1024 * 1024
    max_fragments: int = 100_000
    whole_message_bytes: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # the hot paths read messages up to this size
        limit = min(self.max_message_bytes or _WHOLE_MESSAGE_BYTES, _WHOLE_MESSAGE_BYTES)
        object.__setattr__(self, "whole_message_bytes", limit)


class _Partial:
    """A message of which a part has arrived: fragments, or the beginning of one frame."""

    __slots__ = ("body", "checked", "compressed", "fin", "fragments", "key", "missing", "pending", "text")

    def __init__(self, text: bool, compressed: bool) -> None:
        self.text = text
        self.compressed = compressed
        self.body = bytearray()
        self.checked = 0  # bytes of the body known to be the beginning of valid UTF-8
        self.fragments = 0
        self.fin = False  # of the current frame
        self.key = b""  # of the current frame, turned to its next byte; empty when unmasked
        self.missing = 0  # bytes of the current frame that have not arrived
        self.pending = False  # whether those that have stand for more than was inflated yet


class MessageReader:
    """Turns one peer's byte stream into events.

    Args:
        rules: what to accept.
        inflater: for messages with reserved bit 1, where permessage-deflate was agreed on.

    Attributes:
        holds: whether `feed` has left bytes for later, as what came before them is much: many frames, or compressed
            ones that stand for many bytes. Feed it nothing to go on, and let others have their turn before.
    """

    __slots__ = ("_inflated", "_inflater", "_partial", "_rest", "_rules", "holds")

    def __init__(self, rules: ReaderRules, inflater: Inflater | None = None) -> None:
        self._rules = rules
        self._inflater = inflater
        self._rest: bytes | None = b""  # the beginning of a frame header; None once the connection failed or closed
        self._partial: _Partial | None = None
        self._inflated = 0  # bytes that compressed messages stood for since `feed` was called
        self.holds = False

    def obey(self, rules: ReaderRules) -> None:
        """Goes by other rules from now on."""
        self._rules = rules

    def end(self) -> None:
        """Reads no more, and holds nothing any longer."""
        self._rest = self._partial = self._inflater = None
        self.holds = False

    def hold(self, data: bytes) -> None:
        """Takes bytes that the next `feed` goes on with."""
        if self._rest is not None:
            self._rest, self.holds = self._rest + data, True

    def feed(self, data: bytes) -> list[Event]:
        """The events that these bytes, and those held before, complete, in order of arrival."""
        rest = self._rest
        if rest is None:
            return []
        if rest or self.holds:
            data = rest + data
            self._rest, self.holds = b"", False
        events: list[Event] = []
        position, size = 0, len(data)
        try:
            # The hot path: messages that are masked, unfragmented, below 64 KiB and all there.
            limit = self._rules.whole_message_bytes if self._partial is None else -1
            if not self._rules.masked:
                position, limit = self._unmasked(data, limit, events), -1
            for _ in _AT_ONCE:
                if size - position < 6:
                    break
                length = data[position + 1] - 0x80
                start = position + 6
                if length > 125:
                    if length != 126 or size - position < 8:
                        break
                    length = data[position + 2] << 8 | data[position + 3]
                    start += 2
                    if length < 126:
                        break
                stop = start + length
                if not 0 <= length <= limit or stop > size:
                    break
                first = data[position]
                if first == 0x81:
                    events.append(unmask(data[start:stop], data[start - 4 : start]).decode())
                elif first == 0x82:
                    events.append(unmask(data[start:stop], data[start - 4 : start]))
                else:
                    break
                position = stop
            else:
                if position < size:
                    self._rest, self.holds = data[position:], True
                return events
            if position < size or self._partial is not None:
                self._inflated = 0
                self._frames(data, position, events)
        except UnicodeDecodeError:
            self._fail(ProtocolError(1007, "text is not UTF-8"), events)
        except ProtocolError as error:
            self._fail(error, events)
        return events

    def _unmasked(self, data: bytes, limit: int, events: list[Event]) -> int:
        """The same hot path for clients; returns where it stopped."""
        position, size = 0, len(data)
        while size - position >= 2:
            length, start = data[position + 1], position + 2
            if length > 125:
                if length != 126 or size - position < 4:
                    break
                length = data[position + 2] << 8 | data[position + 3]
                start += 2
                if length < 126:
                    break
            stop = start + length
            if length > limit or stop > size:
                break
            first = data[position]
            if first == 0x81:
                events.append(data[start:stop].decode())
            elif first == 0x82:
                events.append(data[start:stop])
            else:
                break
            position = stop
        return position

    def _fail(self, error: ProtocolError, events: list[Event]) -> None:
        events.append(error)
        self._rest = self._partial = None

    def _frames(self, data: bytes, position: int, events: list[Event]) -> None:
        """Any frame, whole or not, from a position on."""
        for _ in _AT_ONCE:
            partial = self._partial
            pending = partial is not None and partial.pending
            if position >= len(data) and not pending:
                return
            if self._inflated >= INFLATED_AT_ONCE:
                break
            if partial is not None and (pending or partial.missing):
                position = self._payload(partial, data, position, events)
                continue
            header = self._header(data, position)
            if header is None:
                self._rest = data[position:]
                return
            if data[position] & 8:
                position = self._control(data, position, header, events)
                if position < 0:
                    return
                continue
            position = header[0]
            if self._partial is not None and not self._partial.missing:  # a frame without payload
                self._payload(self._partial, data, position, events)
        partial = self._partial
        if position < len(data) or (partial is not None and partial.pending):
            self._rest, self.holds = data[position:], True

    def _header(self, data: bytes, position: int) -> tuple[int, int, bytes] | None:
        """Checks one frame header: (start of the payload, its length, the key), or None until all of it is there.

        A data frame's header opens or continues the partial message.
        """
        size = len(data)
        first = data[position]
        self._check_first_byte(first)
        if size - position < 2:
            return None
        second = data[position + 1]
        masked, length = second & 0x80, second & 0x7F
        # RFC 6455 §5.1: a server MUST close on an unmasked frame, a client on a masked one
        if bool(masked) != self._rules.masked:
            raise ProtocolError(1002, "unmasked frame from a client" if self._rules.masked else "masked frame")
        # RFC 6455 §5.5: control frames MUST have a payload of 125 bytes or less and MUST NOT be fragmented
        if first & 8 and (length > 125 or not first & 0x80):
            raise ProtocolError(1002, "control frame that is too long or fragmented")
        start = position + 2
        if length >= 126:
            width = 2 if length == 126 else 8
            if size - start < width:
                return None
            length = _extended_length(data[start : start + width])
            start += width
        if not first & 8:
            self._check_size(first, length)
        key = b""
        if masked:
            if size - start < 4:
                return None
            key = data[start : start + 4]
            start += 4
        if not first & 8:
            self._open_frame(first, length, key)
        return start, length, key

    def _check_first_byte(self, first: int) -> None:
        opcode = first & 0x0F
        reserved = first & 0x70
        # RFC 6455 §5.2: reserved bits MUST be 0 unless an extension defines them; RFC 7692 §6 defines bit 1
        if reserved and not (reserved == 0x40 and self._inflater is not None and opcode in (TEXT, BINARY)):
            raise ProtocolError(1002, "reserved bits are set")
        if opcode not in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG):
            raise ProtocolError(1002, f"reserved opcode {opcode:#x}")
        # RFC 6455 §5.4: fragments of one message MUST NOT be interleaved with those of another
        if opcode == CONTINUATION and self._partial is None:
            raise ProtocolError(1002, "continuation frame without a message to continue")
        if opcode in (TEXT, BINARY) and self._partial is not None:
            raise ProtocolError(1002, "new message before the last one was finished")

    def _check_size(self, first: int, length: int) -> None:
        limit, partial = self._rules.max_message_bytes, self._partial
        if first & 0x40 or (partial is not None and partial.compressed):
            return  # what counts is how much it stands for; the inflater counts that
        if limit and length + (len(partial.body) if partial else 0) > limit:
            raise ProtocolError(1009, f"message above {limit} bytes")

    def _open_frame(self, first: int, length: int, key: bytes) -> None:
        partial = self._partial
        if partial is None:
            partial = self._partial = _Partial(first & 0x0F == TEXT, bool(first & 0x40))
        partial.fragments += 1
        if partial.fragments > self._rules.max_fragments:
            raise ProtocolError(1009, f"message of more than {self._rules.max_fragments} fragments")
        partial.fin = bool(first & 0x80)
        partial.missing = length
        partial.key = key

    def _control(self, data: bytes, position: int, header: tuple[int, int, bytes], events: list[Event]) -> int:
        """One control frame; returns where it ends, or -1 when its payload is not all there or it closes the stream."""
        start, length, key = header
        stop = start + length
        if stop > len(data):
            self._rest = data[position:]
            return -1
        payload = unmask(data[start:stop], key) if key else data[start:stop]
        opcode = data[position] & 0x0F
        if opcode == CLOSE:
            events.append(Close(*decode_close(payload)))
            # RFC 6455 §5.5.1: no frame may follow a close frame
            self._rest = self._partial = None
            return -1
        events.append(Ping(payload) if opcode == PING else Pong(payload))
        return stop

    def _payload(self, partial: _Partial, data: bytes, position: int, events: list[Event]) -> int:
        """Takes what arrived of the current frame's payload, or what is pending of it; returns where it stopped."""
        stop = position if partial.pending else min(position + partial.missing, len(data))
        piece = data[position:stop]
        if partial.key:
            piece = unmask(piece, partial.key)
            turn = len(piece) & 3
            partial.key = partial.key[turn:] + partial.key[:turn]
        partial.missing -= len(piece)
        partial.body += self._inflate(partial, piece) if partial.compressed else piece
        if partial.missing or partial.pending or not partial.fin:
            _check_utf8(partial)
        else:
            self._partial = None
            events.append(partial.body.decode() if partial.text else bytes(partial.body))
        return stop

    def _inflate(self, partial: _Partial, piece: bytes) -> bytes:
        """What a piece of a compressed message stands for, or the next of what is pending."""
        inflater = self._inflater
        assert inflater is not None  # reserved bit 1 was refused otherwise
        limit = self._rules.max_message_bytes
        # a live reload may have lowered the limit below what is there
        room = max(limit - len(partial.body), 0) if limit else -1
        plain = inflater.inflate(piece, room, partial.fin and not partial.missing and not partial.pending)
        partial.pending = inflater.pending
        self._inflated += len(plain)
        return plain


_LENGTH_FLOORS: Final = {2: 126, 8: 65536}


def _extended_length(field: bytes) -> int:
    length = int.from_bytes(field, "big")
    # RFC 6455 §5.2: minimal encoding, and the most significant bit of 64 MUST be 0
    if length < _LENGTH_FLOORS[len(field)] or length >> 63:
        raise ProtocolError(1002, "payload length is not minimally encoded")
    return length


def _check_utf8(partial: _Partial) -> None:
    """Fails fast on the part of a text that has arrived (RFC 6455 §8.1)."""
    if not partial.text:
        return
    with memoryview(partial.body) as body:
        partial.checked += codecs.utf_8_decode(body[partial.checked :], "strict", False)[1]
        # The decoder takes the first two bytes of a surrogate for the beginning of something.
        if len(body) - partial.checked >= 2 and body[partial.checked] == 0xED and body[partial.checked + 1] > 0x9F:
            raise ProtocolError(1007, "text is not UTF-8")
