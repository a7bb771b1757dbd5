"""Frames: the encoder of both roles, masking, and close payloads (RFC 6455 §5).

Law: a server's frame is a pure function of opcode and payload, so one encoded frame can go to any number of peers.
"""

from __future__ import annotations

import os

from wireloom.errors import ProtocolError, sendable_close_code

__all__ = [
    "BINARY",
    "CLOSE",
    "CONTINUATION",
    "PING",
    "PONG",
    "TEXT",
    "binary_frame",
    "close_frame",
    "close_payload",
    "decode_close",
    "encode_frame",
    "frame_payload",
    "is_text_frame",
    "mask_frame",
    "text_frame",
    "unmask",
]

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA

_FIN = 0x80
_MAX_CONTROL_BYTES = 125
# Ready-made two-byte headers of the unmasked short frames, by payload length.
_TEXT_HEADERS = tuple(bytes((_FIN | TEXT, length)) for length in range(126))
_BINARY_HEADERS = tuple(bytes((_FIN | BINARY, length)) for length in range(126))
# For every key byte, the table that XORs it into a byte string by bytes.translate.
_XOR_TABLES = tuple(bytes(value ^ key for value in range(256)) for key in range(256))
# Measured: below this, XOR of two big integers is faster than four strided translations.
_INTEGER_XOR_BYTES = 512
# A key as an integer times one of these is the key repeated so many times.
_REPEAT = tuple(sum(1 << 32 * word for word in range(words)) for words in range(_INTEGER_XOR_BYTES // 4 + 1))
_from_bytes = int.from_bytes


def encode_frame(opcode: int, payload: bytes, *, fin: bool = True, reserved: int = 0) -> bytes:
    """An unmasked frame, as servers send it (RFC 6455 §5.2).

    Args:
        opcode: one of the six opcodes.
        payload: application data.
        fin: whether this is the last fragment of its message.
        reserved: reserved bits 1 to 3 as 0x40, 0x20, 0x10, set by a negotiated extension.
    """
    return _header(opcode, len(payload), fin, reserved, 0) + payload


def text_frame(payload: bytes) -> bytes:
    """One whole text message; the caller vouches that the payload is UTF-8."""
    length = len(payload)
    if length < 126:
        return _TEXT_HEADERS[length] + payload
    return _header(TEXT, length, True, 0, 0) + payload


def binary_frame(payload: bytes) -> bytes:
    """One whole binary message."""
    length = len(payload)
    if length < 126:
        return _BINARY_HEADERS[length] + payload
    return _header(BINARY, length, True, 0, 0) + payload


def mask_frame(opcode: int, payload: bytes, *, fin: bool = True, reserved: int = 0, key: bytes | None = None) -> bytes:
    """A masked frame, as clients send it (RFC 6455 §5.3).

    Args:
        key: four bytes; by default fresh from the system's random source, as the section demands.
    """
    key = os.urandom(4) if key is None else key
    return _header(opcode, len(payload), fin, reserved, 0x80) + key + unmask(payload, key)


def _header(opcode: int, length: int, fin: bool, reserved: int, mask_bit: int) -> bytes:
    first = (_FIN if fin else 0) | reserved | opcode
    # RFC 6455 §5.2: the minimal number of bytes MUST be used for the length
    if length < 126:
        return bytes((first, mask_bit | length))
    if length < 65536:
        return bytes((first, mask_bit | 126)) + length.to_bytes(2, "big")
    return bytes((first, mask_bit | 127)) + length.to_bytes(8, "big")


def unmask(payload: bytes, key: bytes) -> bytes:
    """The payload XORed with the repeated four-byte key; masking and unmasking are the same (RFC 6455 §5.3)."""
    length = len(payload)
    if length < _INTEGER_XOR_BYTES:
        words = (length + 3) >> 2
        # the key goes up to three bytes too far; the slice cuts off what that mixes in
        mixed = _from_bytes(payload, "little") ^ _from_bytes(key, "little") * _REPEAT[words]
        return mixed.to_bytes(words << 2, "little")[:length]
    mixed_bytes = bytearray(payload)
    for lane in range(4):
        mixed_bytes[lane::4] = mixed_bytes[lane::4].translate(_XOR_TABLES[key[lane]])
    return bytes(mixed_bytes)


def frame_payload(frame: bytes) -> bytes:
    """The payload of an unmasked whole frame that this module encoded."""
    length = frame[1]
    return frame[2:] if length < 126 else frame[4:] if length == 126 else frame[10:]


def is_text_frame(frame: bytes) -> bool:
    """Whether a frame carries text."""
    return frame[0] & 0x0F == TEXT


def close_frame(code: int | None, reason: str = "") -> bytes:
    """An unmasked close frame (RFC 6455 §5.5.1).

    Args:
        code: the close code, or None for an empty close.
        reason: cut to the 123 bytes that fit, at a character's edge.
    """
    return encode_frame(CLOSE, close_payload(code, reason))


def close_payload(code: int | None, reason: str = "") -> bytes:
    """The body of a close frame; see `close_frame`."""
    if code is None:
        return b""
    text = reason.encode(errors="replace")[: _MAX_CONTROL_BYTES - 2].decode("utf-8", "ignore").encode()
    return code.to_bytes(2, "big") + text


def decode_close(payload: bytes) -> tuple[int | None, str]:
    """Code and reason of a received close frame's payload.

    Raises:
        ProtocolError: one byte of payload or a code that must not be sent (1002), a reason that is not UTF-8 (1007).
    """
    if not payload:
        return None, ""
    # RFC 6455 §5.5.1: if there is a body, the first two bytes MUST be a code
    if len(payload) == 1:
        raise ProtocolError(1002, "close frame with one byte of payload")
    code = int.from_bytes(payload[:2], "big")
    if not sendable_close_code(code):
        raise ProtocolError(1002, f"close code {code} must not be sent")
    try:
        return code, payload[2:].decode()
    except UnicodeDecodeError:
        raise ProtocolError(1007, "close reason is not UTF-8") from None
