"""Services: what an application has for its routes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wireloom.config import Config
from wireloom.core.endpoint import Authorize
from wireloom.core.rates import Rates
from wireloom.faces.routes.outbound import Outbound

if TYPE_CHECKING:
    from wireloom.faces.routes.stores.commands import KeyValueStore
    from wireloom.faces.routes.stores.sql import SqlStore
    from wireloom.faces.routes.visit import Visit
    from wireloom.hub.connection import Connection
    from wireloom.hub.hub import Hub

__all__ = ["Services"]


@dataclass(frozen=True, slots=True)
class Services:
    """What an application has for its routes.

    Args:
        config: its options.
        hub: reaches connections.
        sql: the database of routes.
        store: the key-value store.
        outbound: reaches other servers.
        log_in: what ``auth: true`` stands for.
        walk: runs walkers.
        visits: the open connections of routes; they outlive a live reload.
        rates: what was counted of callers; it does so too.
    """

    config: Config
    hub: Hub
    sql: SqlStore
    store: KeyValueStore
    outbound: Outbound
    log_in: Authorize
    walk: Callable[[Visit, str, dict[str, Any]], Awaitable[list[Any]]]
    visits: dict[Connection, Visit] = field(default_factory=dict)
    rates: Rates = field(default_factory=Rates)

    async def drain(self) -> None:
        """Waits while the backplane has too much to send."""
        await self.hub.backplane.drain()
