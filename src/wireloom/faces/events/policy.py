"""Policy: whom a client of the event socket may address."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, TypeAlias

from wireloom.hub.connection import Connection

__all__ = ["Allow", "Kind", "allow_guarded", "allow_open"]

Kind: TypeAlias = Literal["user", "channel", "client", "subscribe"]

Allow: TypeAlias = Callable[[Connection, Kind, Sequence[str]], Awaitable[bool]]
"""Asked once an event: the connection, what kind of ids it names, and the ids, each once. Whether it may."""


async def allow_guarded(connection: Connection, kind: Kind, ids: Sequence[str]) -> bool:
    """The default: whoever is logged in may address anyone; others may address clients and the channels they hear.

    Everyone may subscribe to any channel whose name they know.
    """
    if connection.user is not None or kind in ("client", "subscribe"):
        return True
    return kind == "channel" and connection.channels.issuperset(ids)


async def allow_open(connection: Connection, kind: Kind, ids: Sequence[str]) -> bool:
    """Anyone may address anyone."""
    return True
