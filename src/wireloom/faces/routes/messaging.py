"""Messaging: what the operations of WebSocket routes do at run time with channels, connections and the log."""

from __future__ import annotations

import logging
from typing import Any

from wireloom.core.topic import Topic, channel
from wireloom.errors import sendable_close_code
from wireloom.faces.routes.expressions.values import a_kind, text_of
from wireloom.faces.routes.failure import Failure
from wireloom.faces.routes.failures import one_line
from wireloom.faces.routes.visit import Visit

__all__ = [
    "EVERY_ROUTE",
    "MAX_CHANNEL",
    "broadcast",
    "channel_name",
    "close",
    "join_channel",
    "leave_channel",
    "log",
    "topic_of",
]

EVERY_ROUTE = Topic("routes:")  # every connection of declarative routes
MAX_CHANNEL = 255  # characters of a channel's name

_logger = logging.getLogger("wireloom.routes")
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def channel_name(value: Any) -> str:
    """A value as the name of a channel.

    Raises:
        Failure: ``NO_CHANNEL``: it cannot be one.
    """
    if value is None or isinstance(value, bool | list | dict):
        raise Failure(f"the name of a channel is a text, not {a_kind(value)}", "NO_CHANNEL")
    name = text_of(value)
    if not 0 < len(name) <= MAX_CHANNEL:
        raise Failure(f"the name of a channel has from 1 to {MAX_CHANNEL} characters", "NO_CHANNEL")
    return name


def topic_of(value: Any) -> Topic:
    """The topic of a channel whose name was computed."""
    return channel(channel_name(value))


def broadcast(visit: Visit, value: Any) -> Topic:
    """The topic of a channel whose name was computed; the connection hears it before anything is delivered."""
    name = channel_name(value)
    visit.meet(name)
    return channel(name)


def join_channel(visit: Visit, value: Any, explicit: bool = False) -> None:
    """Joins a channel.

    Args:
        explicit: by `join`; else by setting the variable, which may be to nothing.
    """
    if explicit or (value is not None and value != ""):
        visit.join(channel_name(value))


def leave_channel(visit: Visit, value: Any) -> None:
    """Leaves a channel."""
    visit.leave(channel_name(value))


def close(visit: Visit, code: int | float, reason: str) -> None:
    """Closes the connection.

    Raises:
        Failure: ``WRONG_VALUE``: a code that must not be sent.
    """
    if isinstance(code, float) or not sendable_close_code(code):
        raise Failure(f"{code} must not be sent in a close frame (RFC 6455 §7.4)", "WRONG_VALUE")
    visit.connection.close(code, reason)


def log(visit: Visit, route: str, level: str, message: str) -> None:
    """One line of the log."""
    number = _LEVELS[level]
    if _logger.isEnabledFor(number):
        connection, line = visit.connection_id, one_line(message)
        extra = {"route": route, "connection": connection}
        _logger.log(number, "route %r, %s: %s", route, connection, line, extra=extra)
