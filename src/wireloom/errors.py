"""Every error of Wireloom, and the one table of close codes.

Law: an error's class says its consequence. Nothing else in the package decides what an error does to a connection.
"""

from __future__ import annotations

import difflib
import itertools
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = [
    "CLOSE_CODES",
    "HTTP_STATUSES",
    "CloseCode",
    "ConfigError",
    "ConfigErrors",
    "ConnectionClosed",
    "Deny",
    "Disconnect",
    "HandshakeFailed",
    "InternalError",
    "InvalidAccessError",
    "InvalidJSON",
    "InvalidStateError",
    "NoAnswer",
    "NoHub",
    "ProtocolError",
    "QueueFull",
    "RequestError",
    "Unauthorized",
    "ValidationFailed",
    "WebSocketSyntaxError",
    "WireloomError",
    "did_you_mean",
    "new_error_id",
    "require_sendable",
    "sendable_close_code",
]

_LONGEST_NAME = 100  # that is compared with others
_MOST_NAMES = 1000


class WireloomError(Exception):
    """Base of all errors that Wireloom raises on purpose."""


class ConfigError(WireloomError):
    """The application does not start. The message names the place, what is wrong and, where known, what to write.

    Args:
        message: what is wrong and what to do.
        source: ``file:line`` of the declaration at fault, put before the message.
    """

    def __init__(self, message: str, source: str = "") -> None:
        super().__init__(f"{source}: {message}" if source else message)
        self.message = message
        self.source = source

    @property
    def problems(self) -> tuple[ConfigError, ...]:
        """All that is wrong, one by one."""
        return (self,)


class ConfigErrors(ConfigError):
    """Several mistakes, told together.

    Args:
        problems: at least one.
    """

    def __init__(self, problems: Iterable[ConfigError]) -> None:
        self._problems = tuple(problems)
        first, *others = self._problems
        super().__init__("\n".join([first.message, *map(str, others)]), first.source)

    @property
    def problems(self) -> tuple[ConfigError, ...]:
        """All of them."""
        return self._problems


class RequestError(WireloomError):
    """The caller is told; the connection stays.

    Args:
        code: a stable name for programs, such as ``"NOT_FOUND"``.
        message: what the caller reads.
        status: of the answer by HTTP; None: what `HTTP_STATUSES` has for the code, else 400.
    """

    def __init__(self, code: str, message: str, *, status: int | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self._status = status

    @property
    def http_status(self) -> int:
        """The status of the answer by HTTP."""
        return HTTP_STATUSES.get(self.code, 400) if self._status is None else self._status


class InvalidJSON(RequestError):
    """The payload is not JSON (RFC 8259): empty, truncated, trailing characters, ``NaN``."""

    def __init__(self, reason: str = "") -> None:
        super().__init__("INVALID_JSON", "Invalid JSON")
        self.reason = reason


class ValidationFailed(RequestError):
    """The payload is JSON but not of the declared shape.

    Args:
        details: ``[{"path": "$.user", "message": "…"}]``, one entry a problem.
    """

    def __init__(self, details: list[dict[str, str]]) -> None:
        super().__init__("VALIDATION_ERROR", "Message validation failed")
        self.details = details


class Unauthorized(RequestError):
    """Nobody is logged in where somebody has to be."""

    def __init__(self, message: str = "Invalid or missing token") -> None:
        super().__init__("UNAUTHORIZED", message)


class InternalError(RequestError):
    """What a caller is told of a bug: nothing but an id that is in the log beside the traceback.

    Args:
        error_id: from `new_error_id`.
        cause: the bug; told in development mode only.
    """

    def __init__(self, error_id: str, cause: BaseException | None = None) -> None:
        super().__init__("INTERNAL_ERROR", "Internal error")
        self.error_id = error_id
        self.cause = cause


class Disconnect(WireloomError):
    """Raised in a handler to end its connection with a close frame.

    Args:
        code: a close code that may be sent (RFC 6455 §7.4).
        reason: at most 123 bytes of UTF-8.

    Raises:
        ValueError: a code that must not be sent.
    """

    def __init__(self, code: int = 1000, reason: str = "") -> None:
        require_sendable(code)
        super().__init__(f"{code} {reason}".rstrip())
        self.code = code
        self.reason = reason


class Deny(WireloomError):
    """Raised before the upgrade to refuse a handshake with an HTTP answer.

    Args:
        status: HTTP status, 400–599.
        body: text, or a value written as JSON.
        headers: further response headers.
    """

    def __init__(self, status: int, body: Any = "", headers: Mapping[str, str] | None = None) -> None:
        if not 400 <= status <= 599:
            raise ValueError(f"Deny answers with an HTTP error status, 400 to 599, not {status}")
        super().__init__(f"{status} {body}")
        self.status = status
        self.body = body
        self.headers = dict(headers or {})


class ProtocolError(WireloomError):
    """The peer broke RFC 6455; the connection fails with this close code (§7.1.7).

    Args:
        code: 1002, 1007 or 1009.
        reason: what was broken.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason


class ConnectionClosed(WireloomError):
    """Something was asked of a connection that has ended.

    Args:
        code: the close code that ended it, 1006 when there was none.
        reason: the close reason, possibly empty.
    """

    def __init__(self, code: int = 1006, reason: str = "") -> None:
        super().__init__(f"connection closed: {code} {reason}".rstrip())
        self.code = code
        self.reason = reason


class HandshakeFailed(WireloomError):
    """A client's handshake was not answered with a valid 101.

    Args:
        reason: what was wrong.
        status: the HTTP status of the answer, 0 when there was none.
        headers: the answer's headers, names in lower case.
        body: the answer's body, as far as it came.
    """

    def __init__(
        self, reason: str, status: int = 0, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status
        self.headers = dict(headers or {})
        self.body = body


class NoAnswer(WireloomError, OSError):
    """A client's HTTP request got no answer: nobody listens there, TLS failed, the connection was lost or time ran out.

    Args:
        message: what happened, where, and what to do.
        url: what was asked, without its query.
    """

    def __init__(self, message: str, url: str) -> None:
        super().__init__(message)
        self.message = message
        self.url = url


class NoHub(WireloomError):
    """Nothing in this process can publish: no application runs, and no backplane is configured."""


class WebSocketSyntaxError(WireloomError, ValueError):
    """A WebSocket's URL, subprotocol or close reason is malformed; WHATWG's ``SyntaxError``."""


class InvalidStateError(WireloomError):
    """A WebSocket was told to send before it was open; WHATWG's ``InvalidStateError``."""


class InvalidAccessError(WireloomError, ValueError):
    """A WebSocket was told to close with a code that is the protocol's own; WHATWG's ``InvalidAccessError``."""


class QueueFull(WireloomError):
    """A client is away from its server and holds as much as it may for when it is back."""


@dataclass(frozen=True, slots=True)
class CloseCode:
    """One close code that Wireloom sends: what it means, whether a client should come back, and how it is logged."""

    code: int
    meaning: str
    come_back: bool
    log_level: str


CLOSE_CODES: dict[int, CloseCode] = {
    entry.code: entry
    for entry in (
        CloseCode(1000, "normal end", False, "DEBUG"),
        CloseCode(1001, "the server goes away", True, "DEBUG"),
        CloseCode(1002, "the peer broke the protocol", False, "INFO"),
        CloseCode(1007, "text that is not UTF-8", False, "INFO"),
        CloseCode(1008, "a policy was broken: too many messages, or connections of one user", False, "INFO"),
        CloseCode(1009, "a message above the size limit, or in too many fragments", False, "INFO"),
        CloseCode(1011, "an error in the application, or a peer that stopped answering pings", True, "WARNING"),
        CloseCode(1012, "the server restarts, or the endpoint was removed", True, "DEBUG"),
        CloseCode(1013, "the client reads too slowly, or the server is overloaded", True, "INFO"),
        CloseCode(4000, "the walker is not a WebSocket walker", False, "DEBUG"),
        CloseCode(4004, "there is no such walker", False, "DEBUG"),
        CloseCode(4401, "the login has ended: the token expired or was revoked", True, "DEBUG"),
    )
}


HTTP_STATUSES: dict[str, int] = {
    "INVALID_JSON": 400,
    "IDENTITY_TAKEN": 400,
    "UNAUTHORIZED": 401,
    "FORBIDDEN": 403,
    "NOT_FOUND": 404,
    "METHOD_NOT_ALLOWED": 405,
    "TIMEOUT": 408,
    "CONFLICT": 409,
    "TOO_LARGE": 413,
    "UNSUPPORTED_MEDIA_TYPE": 415,
    "VALIDATION_ERROR": 422,
    "RATE_LIMITED": 429,
    "TOO_MANY_CONNECTIONS": 429,
    "INTERNAL_ERROR": 500,
    "OVERLOADED": 503,
    "RUN_TIMEOUT": 503,
}
"""The HTTP status of a `RequestError` by its code; 400 for any other code."""


def sendable_close_code(code: int) -> bool:
    """Whether a close frame may carry this code (RFC 6455 §7.4 and the IANA registry)."""
    return (1000 <= code <= 1014 and code not in (1004, 1005, 1006)) or 3000 <= code <= 4999


def require_sendable(code: int) -> None:
    """Refuses a close code that must not be sent.

    Raises:
        ValueError: it must not.
    """
    if not sendable_close_code(code):
        raise ValueError(f"{code} must not be sent in a close frame (RFC 6455 §7.4)")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``"; did you mean 'x'?"`` for the nearest known name, or the empty string when none is near."""
    if len(name) > _LONGEST_NAME:
        return ""
    nearest = difflib.get_close_matches(name, list(itertools.islice(known, _MOST_NAMES)), n=1)
    return f"; did you mean {nearest[0]!r}?" if nearest else ""


def new_error_id() -> str:
    """An id that ties what a client saw to the log line with the traceback: 12 hexadecimal digits."""
    return secrets.token_hex(6)
