"""Failures: hooks that ended by one are told of in the log and counted. Law: the connection stays."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from wireloom.errors import RequestError, new_error_id
from wireloom.faces.routes.failure import Failure

if TYPE_CHECKING:
    from wireloom.faces.routes.compiler import Compiled
    from wireloom.faces.routes.visit import Visit

__all__ = ["Failures", "one_line"]

_logger = logging.getLogger("wireloom.routes")
_LONGEST = 10_000  # characters of one line of the log; clients choose what many routes write there
_ESCAPES = {
    **{code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))},
    **{code: f"\\u{code:04x}" for code in (0x2028, 0x2029)},
}


def one_line(text: str) -> str:
    """A text as a line of the log; what could begin another, or speak to a terminal, is escaped. A long one is cut."""
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]}… ({len(text)} characters)"
    return text.translate(_ESCAPES)


class Failures:
    """The failures of one route.

    Args:
        route: its name.
        compiled: knows which operation failed.
    """

    def __init__(self, route: str, compiled: Compiled) -> None:
        self._route = route
        self._compiled = compiled

    def tell(self, hook: str, visit: Visit, error: Failure | RequestError) -> str:
        """Logs and counts the failure of a hook; gives the id of the line."""
        endpoint = visit.connection.endpoint
        endpoint.counts.failures[hook] += 1
        place = self._compiled.place_of(error)
        path, source = (place.path, f" ({place.source})") if place is not None else (hook, "")
        error_id = new_error_id()
        line = "error %s: route %r, %s%s failed on %s: %s (%s)"
        extra = {
            "error_id": error_id,
            "door": endpoint.door.value,
            "endpoint": endpoint.label,
            "route": self._route,
            "hook": hook,
            "operation": path,
            "connection": visit.connection_id,
        }
        why = one_line(error.message), one_line(error.code)
        told = (error_id, self._route, path, source, visit.connection_id, *why)
        _logger.warning(line, *told, extra=extra)
        return error_id
