"""Contract: an application's endpoints as generated clients tell of them; their targets, bodies and errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias
from urllib.parse import quote, urlencode

from wireloom.errors import NoAnswer, RequestError

__all__ = [
    "EndpointOf",
    "File",
    "OperationOf",
    "Query",
    "body_of",
    "failure_in",
    "failure_of",
    "no_answer",
    "refusal_of",
    "target_of",
]

File: TypeAlias = bytes | tuple[str, bytes]
"""The content of a file, with its name before it or without."""

Query: TypeAlias = Mapping[str, Any]
"""Query parameters of an endpoint that does not say which it takes."""

_ERROR_MEMBERS = {"error", "code", "id", "details"}


@dataclass(frozen=True, slots=True)
class EndpointOf:
    """A WebSocket endpoint as generated code tells of it.

    Args:
        path: the template.
        json: messages are JSON; else text or bytes as they are.
        errors: how it tells errors; ``"none"``: nothing tells them from messages.
        bearer: whether it takes a token.
        subprotocols: those that it speaks.
    """

    path: str
    json: bool = True
    errors: Literal["typed", "walker", "none"] = "typed"
    bearer: bool = False
    subprotocols: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class OperationOf:
    """One method of one path as generated code tells of it.

    Args:
        auth: ``"bearer"``, ``"api_key"``, or empty where anybody may.
        enveloped: the answer is in the REST envelope.
    """

    method: str
    path: str
    auth: str = ""
    enveloped: bool = True


def target_of(template: str, path: Query | None, query: Query | None) -> str:
    """A path and query with their parameters in it.

    Raises:
        ValueError: a value that no segment of a path can be.
    """
    filled = template
    for name, value in (path or {}).items():
        text = str(value)
        if text in ("", ".", ".."):
            raise ValueError(f"{name}: a segment of a path cannot be {text!r}")
        filled = filled.replace(f"{{{name}}}", quote(text, safe=""))
    pairs = [
        (name, str(each).lower() if isinstance(each, bool) else str(each))
        for name, value in (query or {}).items()
        for each in (value if isinstance(value, list | tuple) else (value,))
        if each is not None
    ]
    return f"{filled}?{urlencode(pairs)}" if pairs else filled


def body_of(body: Any) -> dict[str, Any]:
    """JSON; or a form, where there is a file in it."""
    if not isinstance(body, Mapping):
        return {"json": body}
    pairs = [(name, each) for name, value in body.items() for each in (value if isinstance(value, list) else [value])]
    if not any(isinstance(each, bytes | tuple) for _, each in pairs):
        return {"json": body}
    fields = [(name, (None, _text_of(each))) for name, each in pairs if not isinstance(each, bytes | tuple | None)]
    files = [(name, each if isinstance(each, tuple) else (name, each)) for name, each in pairs if _is_file(each)]
    return {"files": [*fields, *files]}


def _is_file(value: Any) -> bool:
    return isinstance(value, bytes | tuple)


def _text_of(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def no_answer(error: Exception, method: str, url: str, timeout: float | None) -> NoAnswer:
    """What a request of httpx's that got no answer is told as.

    Args:
        error: httpx's.
        method: of the request.
        url: of the request.
        timeout: seconds that it might take.
    """
    import httpx

    url = url.partition("?")[0]
    reason = str(error) or type(error).__name__
    if "SSL" in reason:
        told = f"TLS failed ({reason}); does it speak TLS, and is its certificate trusted here?"
    elif isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        told = f"nobody answers there ({reason}); start the server, or correct the URL"
    elif isinstance(error, httpx.ProxyError):
        told = f"the proxy does not let it through ({reason}); the variable NO_PROXY names hosts that need none"
    elif isinstance(error, httpx.TimeoutException):
        told = f"no answer within {timeout or 0:g} s; it may have been done; look there, or give a longer timeout"
    else:
        told = f"no whole answer came ({reason}); it may have been done; look before it is sent again"
    return NoAnswer(f"{method} {url}: {told}", url)


def failure_in(message: Any, shape: str) -> RequestError | None:
    """The error that a message of an endpoint is."""
    if not isinstance(message, dict) or shape == "none":
        return None
    if shape == "walker":
        return refusal_of(message["error"]) if message.get("ok") is False and "error" in message else None
    if message.keys() == {"type", "message"} and message["type"] == "error":
        return RequestError("INVALID_JSON", str(message["message"]))
    if not isinstance(message.get("error"), str) or message.keys() - _ERROR_MEMBERS:
        return None
    fallback = "INTERNAL_ERROR" if "id" in message else "VALIDATION_ERROR"
    return refusal_of(message["error"], str(message.get("code", fallback)))


def refusal_of(error: Any, code: str = "REFUSED", status: int | None = None) -> RequestError:
    """An error as the server words it: text, or an object with code, message and perhaps a path."""
    if not isinstance(error, dict):
        return RequestError(code, str(error), status=status)
    path = f" (at {error['path']})" if "path" in error else ""
    return RequestError(str(error.get("code", code)), f"{error.get('message', '')}{path}", status=status)


def failure_of(status: int, told: Any) -> RequestError:
    """An HTTP answer that is none of those that succeed, by the error in its body where it has one."""
    error = told.get("error") if isinstance(told, dict) else None
    code = f"HTTP_{status}"
    if error is None:
        return RequestError(code, f"HTTP status {status}", status=status)
    return refusal_of(error, str(told.get("code", code)), status)
