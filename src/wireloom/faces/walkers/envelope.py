"""Envelopes: how each door of a walker words its answers. Law: nothing else knows these shapes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from wireloom.core.codec import error_object
from wireloom.errors import InternalError, RequestError

__all__ = ["SOCKET_REPLY_SCHEMA", "event_errors", "http_errors", "http_reply", "socket_errors", "socket_reply"]

_encode = msgspec.json.Encoder().encode

_HTTP_REPLY = b'{"ok":true,"type":"response","data":{"reports":%b},"error":null,"meta":{"extra":{"http_status":200}}}'

SOCKET_REPLY_SCHEMA: dict[str, Any] = {
    "oneOf": [
        {
            "title": "Reports",
            "type": "object",
            "required": ["ok", "data"],
            "properties": {
                "ok": {"const": True},
                "data": {"type": "object", "required": ["reports"], "properties": {"reports": {"type": "array"}}},
            },
        },
        {
            "title": "Error",
            "type": "object",
            "required": ["ok", "error"],
            "properties": {
                "ok": {"const": False},
                "error": {
                    "type": "object",
                    "required": ["code", "message"],
                    "properties": {name: {"type": "string"} for name in ("code", "message", "path", "id", "detail")},
                },
            },
        },
    ]
}

EncodeError = Callable[[RequestError], bytes]


def socket_reply(reports: bytes) -> bytes:
    """A run that went well, on the WebSocket door."""
    return b'{"ok":true,"data":{"reports":%b}}' % reports


def http_reply(reports: bytes) -> bytes:
    """A run that went well, on the REST and webhook doors."""
    return _HTTP_REPLY % reports


def socket_errors(dev: bool) -> EncodeError:
    """What went wrong, on the WebSocket door."""
    return lambda error: _encode({"ok": False, "error": _told(error, dev)})


def http_errors(dev: bool) -> EncodeError:
    """What went wrong, on the REST and webhook doors."""

    def encode(error: RequestError) -> bytes:
        meta = {"extra": {"http_status": error.http_status}}
        return _encode({"ok": False, "type": "error", "data": None, "error": _told(error, dev), "meta": meta})

    return encode


def event_errors(dev: bool) -> EncodeError:
    """What went wrong, on the event socket."""
    return lambda error: _encode(_told(error, dev))


def _told(error: RequestError, dev: bool) -> dict[str, Any]:
    told: dict[str, Any] = error_object(error)
    if dev and isinstance(error, InternalError) and error.cause is not None:
        told["detail"] = f"{type(error.cause).__name__}: {error.cause}"
    return told
