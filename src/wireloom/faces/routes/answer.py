"""Answer: the response of an HTTP route, as `Return` gives it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from wireloom.core.http import is_token
from wireloom.faces.routes.expressions.values import a_kind, text_of
from wireloom.faces.routes.failure import Failure

__all__ = ["Answer"]

_NOT_THE_ROUTES = {"content-length", "transfer-encoding", "connection", "upgrade"}


@dataclass(frozen=True, slots=True)
class Answer:
    """The response of an HTTP route.

    Args:
        value: JSON, or the body as it is where `raw`.
        status: 200 to 599.
        headers: by name.
        raw: the body is the value's text.
    """

    value: Any
    status: int
    headers: dict[str, str]
    raw: bool

    @classmethod
    def of(cls, value: Any, status: Any, headers: Any, raw: bool) -> Answer:
        """The response of what a route has computed.

        Raises:
            Failure: ``WRONG_VALUE``: a status or header that cannot be.
        """
        if not isinstance(status, int) or not 200 <= status <= 599:
            raise Failure(f"the status of a response is a number from 200 to 599, not {text_of(status)}", "WRONG_VALUE")
        if headers is not None and not isinstance(headers, dict):
            raise Failure(f"headers are an object, not {a_kind(headers)}", "WRONG_VALUE")
        return cls(value, status, dict(map(_header, (headers or {}).items())), raw)


def _header(pair: tuple[str, Any]) -> tuple[str, str]:
    name, value = pair[0], text_of(pair[1])
    if not is_token(name) or name.lower() in _NOT_THE_ROUTES:
        raise Failure(f"there can be no header {name!r:.60}", "WRONG_VALUE")
    if any((sign < " " and sign != "\t") or sign > "~" for sign in value):
        # RFC 9110 §5.5: a line break would begin another header
        raise Failure(f"the header {name} has a character that no header may have", "WRONG_VALUE")
    return name, value
