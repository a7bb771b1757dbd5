"""REST: what came in by HTTP, the one envelope around what goes out, and reading a body within its bound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import anyio
import msgspec
from starlette.requests import Request as HTTPRequest
from starlette.responses import Response

from wireloom.core.codec import error_object
from wireloom.errors import InternalError, RequestError

__all__ = ["BODY_SECONDS", "MAX_BODY_BYTES", "Incoming", "answer", "read_body", "refuse"]

MAX_BODY_BYTES = 1024 * 1024
BODY_SECONDS = 30.0

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


async def read_body(request: HTTPRequest, limit: int = MAX_BODY_BYTES) -> bytes:
    """The body of a request.

    Args:
        limit: bytes; what is longer is not read to its end.

    Raises:
        RequestError: ``TOO_LARGE``, or ``TIMEOUT`` when it does not come within `BODY_SECONDS`.
    """
    body = bytearray()
    try:
        with anyio.fail_after(BODY_SECONDS):
            async for part in request.stream():
                body += part
                if len(body) > limit:
                    raise RequestError("TOO_LARGE", f"The body is larger than {limit} bytes")
    except TimeoutError:
        raise RequestError("TIMEOUT", f"The body did not come within {BODY_SECONDS:.0f} s") from None
    return bytes(body)


def _response(members: dict[str, Any], status: int, headers: Mapping[str, str] | None = None) -> Response:
    body = _encode({**members, "meta": {"extra": {"http_status": status}}})
    return Response(body, status, dict(headers or {}), "application/json")
