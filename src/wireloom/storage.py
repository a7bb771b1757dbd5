"""Storage: what an application keeps in its database, between its start and its stop: users, nodes, registered routes.

Law: what was revoked ends on open connections also where nobody could tell this process.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from wireloom.config import Config
from wireloom.database.database import Database
from wireloom.graph.graph import Graph, erase
from wireloom.hub.hub import Hub
from wireloom.identity.identity import Identity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wireloom.faces.routes.dynamic import DynamicRoutes
    from wireloom.faces.routes.loading import RouteFiles

__all__ = ["Storage"]

logger = logging.getLogger(__name__)

_CHECK_SECONDS = 30.0  # between looks at the tokens in use


class Storage:
    """The open database of one running application, and what reads and writes it.

    Args:
        config: the options in force.
        hub: learns of revocations.

    Attributes:
        dynamic: only with the option `dynamic_routes`, once `start_dynamic` was called.
    """

    def __init__(self, config: Config, hub: Hub) -> None:
        self._hub = hub
        self._tasks: list[asyncio.Task[None]] = []
        self.database = Database(config.database)
        self.graph = Graph(self.database)
        self.identity = Identity(config, database=self.database, erase=erase)
        self.identity.on_revoked = lambda user_id, token_id: hub.revoke(user_id=user_id, token_id=token_id)
        self.dynamic: DynamicRoutes | None = None

    async def start(self) -> None:
        """Opens the database. All or nothing.

        Raises:
            ConfigError: it cannot be opened, or is of another version.
        """
        async with AsyncExitStack() as undo:
            undo.push_async_callback(self.database.close)
            await self.database.open()
            await self.graph.start()
            await self.identity.start()
            undo.pop_all()
        self._tasks.append(asyncio.create_task(self._watch_logins()))

    async def start_dynamic(self, compile_registered: Callable[[Sequence[RouteFiles]], Callable[[], None]]) -> None:
        """Reads the routes that were registered, and takes in what others register.

        Args:
            compile_registered: compiles declarations beside all others and gives what serves them; raises
                `ConfigError`.
        """
        from wireloom.faces.routes.dynamic import DynamicRoutes

        self.dynamic = DynamicRoutes(self.database, compile_registered)
        await self.dynamic.start()
        self._tasks.append(asyncio.create_task(self.dynamic.watch()))

    async def stop(self) -> None:
        """Ends what goes on by itself; to be called before the hub stops, which carries the last revocations."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self.identity.stop()

    async def close(self) -> None:
        """Closes the database, after the last handler."""
        await self.database.close()

    async def _watch_logins(self) -> None:
        """Ends what was revoked while nobody could tell this process: a backplane was away, a process was killed."""
        while True:
            await asyncio.sleep(_CHECK_SECONDS)
            try:
                await self._hub.logins.check(self.identity.standing)
            except Exception:
                logger.exception("the tokens in use could not be checked; it is tried again in %d s", _CHECK_SECONDS)
