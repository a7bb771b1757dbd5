"""Envelopes: the bytes of a publication between processes.

Laws:
- Reading an envelope never raises: garbage, another version and what we sent ourselves give nothing.
- Parts of a large envelope wait in bounded memory for the rest, and are forgotten when it does not come.

An envelope: mark, version, flags (1 byte each), origin (8 bytes), length of the key (4), key, payload. A part of one:
mark, version, flags, origin, number of the envelope (8), index of the part (4), count of parts (4), bytes.
All big-endian.
"""

from __future__ import annotations

import logging
import secrets
import struct
import time

from wireloom.core.topic import Topic
from wireloom.hub.backplane.base import Publication

__all__ = ["VERSION", "EnvelopeReader", "encode_envelope", "new_origin", "split_envelope"]

_HEAD = struct.Struct("!BBB8sI")
_PART = struct.Struct("!BBB8sQII")
_MARK, VERSION = 0xB7, 1
_TEXT, _IS_PART = 1, 2
_KNOWN_FLAGS = _TEXT | _IS_PART
_LENGTH_START = 3 + 8

MAX_JOINING_BYTES = 64 * 1024 * 1024

_logger = logging.getLogger(__name__)


def new_origin() -> bytes:
    """Eight random bytes that tell one hub's envelopes from all others'."""
    return secrets.token_bytes(8)


def encode_envelope(publication: Publication, origin: bytes) -> bytes:
    """The bytes of a publication; its topic is not among them: it is the name that they are sent to."""
    key = publication.key.encode("utf-8", "surrogatepass")
    head = _HEAD.pack(_MARK, VERSION, _TEXT if publication.text else 0, origin, len(key))
    return b"".join((head, key, publication.payload))


def split_envelope(envelope: bytes, number: int, limit_bytes: int) -> list[bytes]:
    """An envelope as messages of at most `limit_bytes` each, in order; `number` tells it from its origin's others."""
    if len(envelope) <= limit_bytes:
        return [envelope]
    size = limit_bytes - _PART.size
    origin = envelope[3:_LENGTH_START]
    count = -(-len(envelope) // size)
    return [
        _PART.pack(_MARK, VERSION, _IS_PART, origin, number, index, count) + envelope[index * size : (index + 1) * size]
        for index in range(count)
    ]


class _Joining:
    """The parts of one envelope that have come so far."""

    __slots__ = ("count", "number", "parts", "since", "size")

    def __init__(self, number: int, count: int) -> None:
        self.number = number
        self.count = count
        self.parts: list[bytes] = []
        self.size = 0
        self.since = time.monotonic()


class _Garbage(Exception):
    """What came is no envelope, or cannot be put together."""


class EnvelopeReader:
    """Makes publications of envelopes, and envelopes of parts.

    Args:
        origin: our own; what has it is an echo.
    """

    def __init__(self, origin: bytes) -> None:
        self._origin = origin
        self._joining: dict[tuple[bytes, str], _Joining] = {}  # the one that waits longest comes first
        self.joining_bytes = 0
        self.ignored = 0

    def read(self, topic: Topic, data: bytes) -> Publication | None:
        """The publication that has now come, if one has.

        Args:
            topic: what `data` was sent to.
            data: an envelope, a part of one, or anything else.
        """
        try:
            return self._read(topic, data)
        except _Garbage:
            self.ignored += 1
            return None

    def _read(self, topic: Topic, data: bytes) -> Publication | None:
        if len(data) < _HEAD.size or data[0] != _MARK or data[1] != VERSION or data[2] & ~_KNOWN_FLAGS:
            raise _Garbage
        if data[3:_LENGTH_START] == self._origin:
            return None
        if not data[2] & _IS_PART:
            return self._open(topic, data)
        envelope = self._join(topic, data)
        return self._open(topic, envelope) if envelope is not None else None

    def forget_parts(self, older_than_seconds: float = 0.0) -> None:
        """Gives up envelopes whose parts have not all come."""
        before = time.monotonic() - older_than_seconds
        for place in [place for place, joining in self._joining.items() if joining.since <= before]:
            self._forget(place)

    def _open(self, topic: Topic, data: bytes) -> Publication | None:
        _, _, flags, _, key_bytes = _HEAD.unpack_from(data)
        start = _HEAD.size + key_bytes
        if start > len(data) or flags & _IS_PART:
            raise _Garbage
        try:
            key = data[_HEAD.size : start].decode("utf-8", "surrogatepass") if key_bytes else ""
        except UnicodeDecodeError:
            raise _Garbage from None
        return Publication(topic, data[start:], bool(flags & _TEXT), key)

    def _join(self, topic: Topic, data: bytes) -> bytes | None:
        if len(data) <= _PART.size:
            raise _Garbage
        _, _, _, origin, number, index, count = _PART.unpack_from(data)
        if index >= count:
            raise _Garbage
        place = (origin, str(topic))
        if index == 0:
            self._forget(place)
            self._joining[place] = _Joining(number, count)
        joining = self._joining.get(place)
        if joining is None or (number, index, count) != (joining.number, len(joining.parts), joining.count):
            self._forget(place)
            raise _Garbage
        joining.parts.append(data[_PART.size :])
        joining.size += len(data) - _PART.size
        self.joining_bytes += len(data) - _PART.size
        if len(joining.parts) == count:
            self._forget(place)
            return self._whole(joining.parts)
        while self.joining_bytes > MAX_JOINING_BYTES:
            self._forget(next(iter(self._joining)))
        return None

    def _whole(self, parts: list[bytes]) -> bytes | None:
        envelope = b"".join(parts)
        if len(envelope) < _HEAD.size or envelope[0] != _MARK or envelope[1] != VERSION:
            raise _Garbage
        return envelope

    def _forget(self, place: tuple[bytes, str]) -> None:
        joining = self._joining.pop(place, None)
        if joining is not None:
            self.joining_bytes -= joining.size
