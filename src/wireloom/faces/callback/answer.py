"""Answer: what a callback returns for an HTTP request becomes a response.

Law: what cannot be sent as it was meant is an error, told with the key at fault, and never sent in part.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from starlette.responses import Response

from wireloom.core.http import WITHOUT_BODY, is_token
from wireloom.core.plain import encode_plain
from wireloom.errors import did_you_mean

__all__ = ["response_of"]

_KEYS = ("status", "headers", "body", "type")
_FORBIDDEN_IN_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")  # RFC 9110 §5.5
_OF_THE_SERVER = ("connection", "keep-alive", "transfer-encoding", "upgrade")


def response_of(answer: Any, method: str) -> Response:
    """The response of an answer.

    Args:
        answer: a dict with ``status`` = 200, ``headers``, ``body`` and ``type``; or a Starlette `Response`.
        method: of the request.

    Raises:
        TypeError, ValueError: it is no such thing.
    """
    if isinstance(answer, Response):
        return _checked(answer)
    if not isinstance(answer, dict):
        wanted = "a dict such as {'status': 200, 'body': 'Hello'} or a Starlette Response"
        raise TypeError(f"an HTTP request is answered with {wanted}, not {answer!r:.100}")
    for key in answer:
        if key not in _KEYS:
            raise ValueError(f"an answer has no {key!r:.60}{did_you_mean(str(key), _KEYS)}; it has {', '.join(_KEYS)}")
    status = _status(answer.get("status", 200))
    headers = list(_headers(answer.get("headers")))
    body, media_type = _body(answer.get("body"))
    response = Response(None if status in WITHOUT_BODY else body, status)
    _head(response, headers, answer.get("type", media_type), "" if method == "HEAD" else str(len(response.body)))
    return response


def _checked(response: Response) -> Response:
    """A response whose head can be written; uvicorn finds out when it is too late for an answer."""
    _status(response.status_code)
    for name, value in response.raw_headers:
        text = name.decode("latin-1")
        if not is_token(text) or _FORBIDDEN_IN_VALUE.search(value.decode("latin-1")):
            raise ValueError(f"there can be no header {text!r:.60} with the value {value!r:.60}")
    return response


def _status(status: Any) -> int:
    if not isinstance(status, int) or isinstance(status, bool) or not 200 <= status <= 599:
        raise ValueError(f"the status of an answer is a number from 200 to 599, not {status!r:.60}")
    return int(status)


def _body(body: Any) -> tuple[bytes, str | None]:
    """The bytes of a body, and what they are."""
    if body is None:
        return b"", None
    if isinstance(body, str):
        return body.encode(), "text/plain; charset=utf-8"
    if isinstance(body, (bytes, bytearray, memoryview)):
        return bytes(body), "application/octet-stream"
    if isinstance(body, (dict, list, tuple)):
        return encode_plain(body), "application/json"
    raise TypeError(f"the body of an answer is str, bytes, dict or list, not {type(body).__name__}")


def _headers(headers: Any) -> Iterator[tuple[str, str]]:
    if headers is None:
        return
    if not isinstance(headers, dict):
        raise TypeError(f"the headers of an answer are a dict, not {type(headers).__name__}")
    for name, value in headers.items():
        for each in value if isinstance(value, (list, tuple)) else (value,):
            yield _header(name, each)


def _header(name: Any, value: Any) -> tuple[str, str]:
    """One header line, as it may be written (RFC 9110 §5.5)."""
    if not isinstance(name, str) or not is_token(name):
        raise ValueError(f"there can be no header {name!r:.60}")
    if name.lower() in _OF_THE_SERVER:
        raise ValueError(f"the header {name} is the server's own")
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise TypeError(f"the header {name} is str or a list of str, not {type(value).__name__}")
    text = str(value)
    if _FORBIDDEN_IN_VALUE.search(text) or not _fits_latin_1(text):
        raise ValueError(f"the header {name} has a character that no header may have")
    return name, text


def _fits_latin_1(text: str) -> bool:
    return text.isascii() or max(text) <= "\xff"


def _head(response: Response, headers: list[tuple[str, str]], kind: Any, length: str) -> None:
    """Puts headers on a response that has none yet but its length.

    Args:
        kind: the content type where no header has it.
        length: what a Content-Length must be; empty: anything, as the body of the answer to a HEAD does not leave.
    """
    named = {name.lower(): value for name, value in headers}
    if kind is not None and "content-type" not in named:
        headers.append(_header("Content-Type", _with_charset(kind)))
    given = named.get("content-length")
    if given is not None:
        if length not in ("", given):
            raise ValueError(f"the header Content-Length is {given}, but the body has {length} bytes")
        del response.headers["content-length"]
    response.raw_headers += [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]


def _with_charset(kind: Any) -> str:
    """Text is UTF-8 here, which browsers have to be told."""
    if not isinstance(kind, str):
        raise TypeError(f"the type of an answer is str, such as 'text/html', not {type(kind).__name__}")
    is_bare_text = kind.lower().startswith("text/") and "charset=" not in kind.lower()
    return f"{kind}; charset=utf-8" if is_bare_text else kind
