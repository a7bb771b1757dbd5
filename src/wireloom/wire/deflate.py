"""permessage-deflate (RFC 7692) of both roles: what is offered and agreed, messages deflated and inflated.

Laws:
- A message's inflated size is bounded while it is inflated: above the limit nothing more is produced.
- A deflater without takeover is a pure function of the payload, so one deflated frame can go to any number of peers.
- Between messages only a side with takeover keeps anything.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from wireloom.errors import Deny, HandshakeFailed, ProtocolError
from wireloom.wire.frames import BINARY, TEXT, encode_frame, frame_payload

__all__ = [
    "INFLATED_AT_ONCE",
    "Agreement",
    "DeflateSettings",
    "Deflater",
    "Inflater",
    "ServerDeflate",
    "accept_answer",
    "agree",
    "client_deflater",
    "offer",
    "server_inflater",
]

_NAME = "permessage-deflate"
# What a flush of a DEFLATE stream ends with; RFC 7692 §7.2.1 takes it off, §7.2.2 puts it back.
_TAIL = b"\x00\x00\xff\xff"
_RESERVED_1: Final = 0x40
_WHOLE_MESSAGES = (0x80 | TEXT, 0x80 | BINARY)
INFLATED_AT_ONCE = 64 * 1024  # bytes: 256 KiB, read at once, may stand for a quarter of a GiB
_MAX_FINAL_BLOCKS = 8  # in what arrives of a frame at once; a sender that sets BFINAL does so once a message
# Measured: a window above 4 KiB and more memory for it win nothing on messages of a few KiB, and fit no cache.
_WINDOW_BITS_WITHOUT_TAKEOVER = 12
_MEMORY_LEVEL = 5

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_NAMED = re.compile(rf"({_TOKEN})\Z")
_VALUE = re.compile(rf"(?P<quote>\"?)({_TOKEN})(?P=quote)\Z")
# RFC 7692 §7.1.2: a number from 8 to 15 without leading zeros
_BITS = {str(bits): bits for bits in range(8, 16)}
_FLAGS = ("server_no_context_takeover", "client_no_context_takeover")
_WINDOWS = ("server_max_window_bits", "client_max_window_bits")

Parameters = dict[str, str | None]


@dataclass(frozen=True, slots=True)
class DeflateSettings:
    """What one side wishes.

    Args:
        takeover: whether contexts outlive a message. It compresses small similar messages far better and costs memory
            for each connection: up to 300 KiB for the deflater and 44 KiB for the inflater.
        min_bytes: payloads below are sent as they are.
        level: 1 (fast) to 9 (small).
    """

    takeover: bool = False
    min_bytes: int = 256
    level: int = 6


@dataclass(frozen=True, slots=True)
class Agreement:
    """What two sides agreed on (RFC 7692 §7.1).

    Args:
        server_takeover: whether the server's messages may refer to its earlier ones.
        client_takeover: likewise the client's.
        server_window_bits: base-2 logarithm of the server's window, 8 to 15.
        client_window_bits: of the client's.
    """

    server_takeover: bool = True
    client_takeover: bool = True
    server_window_bits: int = 15
    client_window_bits: int = 15


class Deflater:
    """Deflates the messages of one side.

    Args:
        window_bits: base-2 logarithm of the largest window that the peer expects, 9 to 15.
        takeover: whether messages may refer to earlier ones. Without, one deflater serves any number of connections of
            one thread.
        settings: level and the size from which messages are deflated.
    """

    __slots__ = ("_flush", "_last", "_last_deflated", "_min_bytes", "_stream", "_takeover")

    def __init__(self, window_bits: int, takeover: bool, settings: DeflateSettings) -> None:
        # a smaller window than agreed is always within the agreement
        bits, memory = (
            (window_bits, 8) if takeover else (min(window_bits, _WINDOW_BITS_WITHOUT_TAKEOVER), _MEMORY_LEVEL)
        )
        self._stream = zlib.compressobj(settings.level, zlib.DEFLATED, -bits, memory)
        # a full flush forgets what came before, for a tenth of what a new stream costs
        self._flush = zlib.Z_SYNC_FLUSH if takeover else zlib.Z_FULL_FLUSH
        self._takeover = takeover
        self._min_bytes = max(settings.min_bytes, 1)
        self._last = self._last_deflated = b""

    def deflate(self, payload: bytes) -> bytes | None:
        """The payload of a message with reserved bit 1 (RFC 7692 §7.2.1); None where it is sent as it is."""
        if len(payload) < self._min_bytes:
            return None
        deflated = (self._stream.compress(payload) + self._stream.flush(self._flush))[:-4]
        # with takeover the peer has to see it whatever its size, or its window would not be ours
        return deflated if self._takeover or len(deflated) < len(payload) else None

    def deflate_frame(self, frame: bytes) -> bytes:
        """A server's frame as it leaves for peers of this agreement; the frame itself where nothing is won.

        Without takeover the frame that was given last is deflated once, however often it is asked for.
        """
        if len(frame) < self._min_bytes or frame[0] not in _WHOLE_MESSAGES:
            return frame
        if frame is self._last:
            return self._last_deflated
        deflated = self.deflate(frame_payload(frame))
        sent = frame if deflated is None else encode_frame(frame[0] & 0x0F, deflated, reserved=_RESERVED_1)
        if not self._takeover:
            self._last, self._last_deflated = frame, sent
        return sent


class Inflater:
    """Inflates the messages of one peer, piece by piece as they arrive.

    Args:
        window_bits: base-2 logarithm of the peer's window, 8 to 15.
        takeover: whether its messages may refer to earlier ones.

    Attributes:
        pending: whether what was given stands for more than was taken so far; an empty piece asks for it.
    """

    __slots__ = ("_bits", "_final", "_left", "_stream", "_takeover", "pending")

    def __init__(self, window_bits: int = 15, takeover: bool = True) -> None:
        self._bits = -max(window_bits, 9)  # zlib knows no window of 256 bytes; a larger one reads the same
        self._takeover = takeover
        self._stream: zlib._Decompress | None = None
        self._left = b""  # of what was given: what is not inflated yet
        self._final = False  # whether that ends the message
        self.pending = False

    def inflate(self, piece: bytes, room: int, final: bool = False) -> bytes:
        """What a piece of a message's payload stands for, at most 64 KiB of it; where there is more, it is `pending`.

        Args:
            room: bytes that it may stand for; -1 for any number.
            final: whether the piece ends the message.

        Raises:
            ProtocolError: it is no DEFLATE data (1007), or stands for more than there is room (1009).
        """
        if final:
            piece, self._final = piece + _TAIL, True
        plain = self._inflate(self._left + piece, INFLATED_AT_ONCE if room < 0 else min(INFLATED_AT_ONCE, room + 1))
        if 0 <= room < len(plain):
            raise ProtocolError(1009, "message above the size limit when inflated")
        if self._final and not self.pending:
            self._final = False
            if not self._takeover:
                self._stream = None
        return plain

    def _inflate(self, piece: bytes, most: int) -> bytes:
        plain = self._left = b""
        for _ in range(_MAX_FINAL_BLOCKS):
            if self._stream is None:
                self._stream = zlib.decompressobj(self._bits)
            try:
                plain += self._stream.decompress(piece, most - len(plain))
            except zlib.error:
                raise ProtocolError(1007, "compressed data is broken") from None
            self.pending = len(plain) == most  # there may be more: in what is left, or in the stream itself
            if not self._stream.eof:
                self._left = self._stream.unconsumed_tail
                return plain
            # RFC 7692 §7.2.3.5: a block may have BFINAL set; what follows is another stream
            piece, self._stream = self._stream.unused_data, None
            if not piece or self.pending:
                self._left = piece
                return plain
        raise ProtocolError(1007, "compressed data has too many final blocks")


class ServerDeflate:
    """The server's side of all connections of one event loop.

    Args:
        settings: what the server wishes.
    """

    def __init__(self, settings: DeflateSettings) -> None:
        self._settings = settings
        self._shared: dict[int, Deflater] = {}

    def agree(self, offers: Sequence[str]) -> tuple[str, Deflater, Inflater] | None:
        """The answer to a client's offers and what it means for the connection; None where none can be accepted.

        Args:
            offers: the elements of ``Sec-WebSocket-Extensions``.

        Raises:
            Deny: 400 for what is no list of extensions.
        """
        agreed = agree(tuple(offers), self._settings.takeover)
        if agreed is None:
            return None
        answer, terms = agreed
        return answer, self._deflater(terms), Inflater(terms.client_window_bits, terms.client_takeover)

    def _deflater(self, terms: Agreement) -> Deflater:
        bits = terms.server_window_bits
        if terms.server_takeover:
            return Deflater(bits, True, self._settings)
        bits = min(bits, _WINDOW_BITS_WITHOUT_TAKEOVER)  # equal for most, who thus share their frames
        if bits not in self._shared:
            self._shared[bits] = Deflater(bits, False, self._settings)
        return self._shared[bits]


@lru_cache(maxsize=64)
def agree(offers: tuple[str, ...], takeover: bool) -> tuple[str, Agreement] | None:
    """A server's answer to a client's offers, of which the first that it can keep is taken (RFC 7692 §5.1, §7.1).

    Args:
        offers: the elements of ``Sec-WebSocket-Extensions``.
        takeover: whether the server wishes for it.

    Raises:
        Deny: 400 for what is no list of extensions.
    """
    for text in offers:
        try:
            name, parameters = _parse(text)
        except ValueError as error:
            raise Deny(400, f"Malformed Sec-WebSocket-Extensions: {error}") from None
        if name == _NAME and parameters is not None:
            accepted = _accept(parameters, takeover)
            if accepted is not None:
                return accepted
    return None


def _accept(offered: Parameters, takeover: bool) -> tuple[str, Agreement] | None:
    window, client_window = (offered.get(name) for name in _WINDOWS)
    if window == "8" or not _valid(offered, client_may_be_bare=True):
        return None  # zlib deflates with no window of 256 bytes
    answer = [_NAME]
    server_takeover = takeover and "server_no_context_takeover" not in offered
    client_takeover = takeover and "client_no_context_takeover" not in offered
    if not server_takeover:
        answer.append("server_no_context_takeover")
    if not client_takeover:
        answer.append("client_no_context_takeover")
    if window is not None:
        answer.append(f"server_max_window_bits={window}")
    # RFC 7692 §7.1.2.2: what the client hints at needs no answer; it keeps to it by itself
    bits = _BITS[window or "15"], _BITS[client_window or "15"]
    return "; ".join(answer), Agreement(server_takeover, client_takeover, *bits)


def offer(settings: DeflateSettings) -> str:
    """A client's offer."""
    flags = "" if settings.takeover else "; server_no_context_takeover; client_no_context_takeover"
    return f"{_NAME}; client_max_window_bits{flags}"


def accept_answer(answers: Sequence[str], settings: DeflateSettings | None) -> Agreement | None:
    """What a server's answer to `offer` means.

    Args:
        answers: the elements of ``Sec-WebSocket-Extensions``.
        settings: what was offered; None: nothing.

    Returns:
        None where the server declined.

    Raises:
        HandshakeFailed: it agrees to what was not offered (RFC 6455 §9.1, RFC 7692 §5.1, §7.1).
    """
    if not answers:
        return None
    if settings is None:
        raise HandshakeFailed("the server chose an extension that was not offered")
    try:
        [(name, answered)] = map(_parse, answers)
    except ValueError:
        raise HandshakeFailed("the server's Sec-WebSocket-Extensions is not one extension that was offered") from None
    if name != _NAME:
        raise HandshakeFailed(f"the server chose the extension {name!r}, which was not offered")
    if answered is None or not _valid(answered, client_may_be_bare=False):
        raise HandshakeFailed(f"the server answered with parameters that {_NAME} does not have: {answers[0]!r}")
    if not settings.takeover and "server_no_context_takeover" not in answered:
        # RFC 7692 §7.1.1.1: a server that does not answer this has not accepted the offer
        raise HandshakeFailed("the server does not give up its context takeover, as was asked")
    bits = (_BITS[answered.get(name) or "15"] for name in _WINDOWS)
    client_takeover = settings.takeover and "client_no_context_takeover" not in answered
    return Agreement("server_no_context_takeover" not in answered, client_takeover, *bits)


def client_deflater(terms: Agreement, settings: DeflateSettings) -> Deflater | None:
    """What deflates a client's messages; None where all are sent as they are, because zlib has no window so small."""
    if terms.client_window_bits == 8:
        return None
    return Deflater(terms.client_window_bits, terms.client_takeover, settings)


def server_inflater(terms: Agreement) -> Inflater:
    """What inflates a server's messages for a client."""
    return Inflater(terms.server_window_bits, terms.server_takeover)


def _parse(text: str) -> tuple[str, Parameters | None]:
    """Name and parameters of one extension (RFC 6455 §9.1); the parameters are None where one comes twice.

    Raises:
        ValueError: it is not of that form.
    """
    name, *pairs = (part.strip() for part in text.split(";"))
    parameters: Parameters = {}
    for pair in pairs:
        key, equals, value = (part.strip() for part in pair.partition("="))
        found = _VALUE.match(value)
        if not _NAMED.match(key) or (equals and found is None):
            raise ValueError(f"{text[:100]!r} is no extension")
        parameters[key] = found[2] if found is not None else None
    if not _NAMED.match(name):
        raise ValueError(f"{text[:100]!r} is no extension")
    return name, parameters if len(parameters) == len(pairs) else None


def _valid(parameters: Parameters, *, client_may_be_bare: bool) -> bool:
    """Whether all parameters are known and have values that they may have (RFC 7692 §7.1)."""
    for name, value in parameters.items():
        if name in _FLAGS:
            good = value is None
        elif name in _WINDOWS:
            bare = value is None and client_may_be_bare and name == "client_max_window_bits"
            good = bare or value in _BITS
        else:
            good = False
        if not good:
            return False
    return True
