"""REST: what came in by HTTP, the one envelope around what goes out, and reading a body within its bound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import anyio
import msgspec
from starlette.requests import Request as HTTPRequest
from starlette.responses import Response

from wireloom.config import Limits
from wireloom.core.codec import error_object
from wireloom.errors import InternalError, RequestError

__all__ = ["Incoming", "answer", "headers_of", "read_body", "refuse"]

# RFC 9110 §11.6.1 and §10.2.3, RFC 6585 §4
_HEADERS = {401: {"WWW-Authenticate": "Bearer"}, 429: {"Retry-After": "1"}, 503: {"Retry-After": "2"}}

_encode = msgspec.json.Encoder().encode


class Incoming(NamedTuple):
    """What an endpoint of the REST door decodes.

    Args:
        method: in capitals.
        query: names and values, in order.
        path: the path's parameters.
        body: as it came; empty where there is a form.
        form: the fields of a form, texts and files; None where the body is no form.
    """

    method: str
    query: Sequence[tuple[str, str]]
    path: Mapping[str, str]
    body: bytes
    form: Sequence[tuple[str, Any]] | None = None


def answer(data: Any, status: int = 200) -> Response:
    """What went well: ``{"ok": true, "type": "response", "data": …}``."""
    return _response({"ok": True, "type": "response", "data": data, "error": None}, status)


def refuse(error: RequestError, status: int, headers: Mapping[str, str] | None = None) -> Response:
    """What did not: ``{"ok": false, "type": "error", "error": {"code", "message"}}``; of a bug with its ``id``."""
    told = error_object(error)
    if isinstance(error, InternalError):
        told |= {"code": error.code, "message": error.message}  # no walker has run here
    return _response({"ok": False, "type": "error", "data": None, "error": told}, status, headers)


def headers_of(refusal: RequestError) -> Mapping[str, str]:
    """The headers that come with a refusal: how to log in, or when to try again."""
    after = getattr(refusal, "retry_after_seconds", None)
    return _HEADERS.get(refusal.http_status, {}) if after is None else {"Retry-After": str(after)}


async def read_body(request: HTTPRequest, limits: Limits) -> bytes:
    """The body of a request.

    Args:
        limits: with `max_body_bytes` and `body_timeout_seconds`. What is longer is not read to its end, and not at all
            where its head says so.

    Raises:
        RequestError: ``TOO_LARGE``, or ``TIMEOUT`` when it does not come in time.
    """
    body, limit, seconds = bytearray(), limits.max_body_bytes, limits.body_timeout_seconds
    announced = request.headers.get("content-length", "")
    if limit and announced.isascii() and announced.isdecimal() and int(announced) > limit:
        raise _too_large(limit)
    try:
        with anyio.fail_after(seconds or None):
            async for part in request.stream():
                body += part
                if limit and len(body) > limit:
                    raise _too_large(limit)
    except TimeoutError:
        raise RequestError("TIMEOUT", f"The body did not come within {seconds:g} s") from None
    return bytes(body)


def _too_large(limit: int) -> RequestError:
    return RequestError("TOO_LARGE", f"The body is larger than {limit} bytes")


def _response(members: dict[str, Any], status: int, headers: Mapping[str, str] | None = None) -> Response:
    body = _encode({**members, "meta": {"extra": {"http_status": status}}})
    return Response(body, status, dict(headers or {}), "application/json")
