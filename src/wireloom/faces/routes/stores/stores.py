"""Stores: what routes reach beside the hub: their SQL database, their key-value store, other servers."""

from __future__ import annotations

from wireloom.config import Config
from wireloom.faces.routes.outbound import Outbound
from wireloom.faces.routes.stores.choose import make_store
from wireloom.faces.routes.stores.sql import SqlStore

__all__ = ["Stores"]


class Stores:
    """Opened when they are first used.

    Args:
        config: says where they are.

    Raises:
        ConfigError: an address that there cannot be.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.sql = SqlStore(config.routes_database)
        self.store = make_store(config.routes_redis)
        self.outbound = Outbound(config.routes_http_hosts)

    async def stop(self) -> None:
        """Closes what was opened."""
        await self.sql.stop()
        await self.store.stop()
        await self.outbound.stop()
