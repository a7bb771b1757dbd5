"""Graph: where nodes are kept; begins the unit of work of every run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from wireloom.core.topic import PUBLIC_ROOT_ID
from wireloom.database.database import Database
from wireloom.errors import RequestError
from wireloom.graph import statements
from wireloom.graph.access import Level, level_of
from wireloom.graph.node import NodeState, Root, root_id_of
from wireloom.graph.tables import GRAPH, edges, nodes
from wireloom.graph.types import Types
from wireloom.graph.unit import Unit

__all__ = ["Graph", "erase"]

_TURN_SECONDS = 30.0  # that a run waits for the runs of the same root before it


class _Turns:
    """The lock of one root, while anybody has it or waits for it."""

    __slots__ = ("count", "lock")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.count = 0


class Graph:
    """Where nodes are kept.

    Args:
        database: opened.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.types = Types()
        self._turns: dict[str, _Turns] = {}

    async def start(self) -> None:
        """Makes the tables that lack.

        Raises:
            ConfigError: the tables are another version's.
        """
        await self.database.prepare(GRAPH)

    def begin(self, root_id: str, *, exclusive: bool = False) -> Unit:
        """The unit of work of a run; reads nothing yet.

        Args:
            root_id: of the user whose run it is.
            exclusive: what is read is locked until the end, so that the commit cannot be overtaken. For a second try.
        """
        root = Root()
        # Whoever holds the one connection of a database in memory could not even look up a user
        unit = Unit(self, root_id, root, exclusive and not self.database.in_memory)
        root.__dict__["_state"] = NodeState(root_id, unit, root_id)
        return unit

    @asynccontextmanager
    async def turn(self, root_id: str) -> AsyncIterator[None]:
        """Waits until the runs of a root that came before have ended.

        Raises:
            RequestError: ``CONFLICT``: they do not end.
        """
        turns = self._turns.setdefault(root_id, _Turns())
        turns.count += 1
        try:
            try:
                async with asyncio.timeout(_TURN_SECONDS):
                    await turns.lock.acquire()
            except TimeoutError:  # no `Conflict`: there is nothing to be gained by waiting as long once more
                raise RequestError("CONFLICT", "Too many runs of the same user wait for each other") from None
            try:
                yield
            finally:
                turns.lock.release()
        finally:
            turns.count -= 1
            if not turns.count:
                del self._turns[root_id]

    async def count(self) -> tuple[int, int]:
        """How many nodes and edges are kept."""
        async with self.database.reading() as connection:
            # What belongs to nobody is the root of somebody who was removed
            kept = await connection.scalar(select(func.count()).select_from(nodes).where(nodes.c.owner != ""))
            return kept or 0, await connection.scalar(select(func.count()).select_from(edges)) or 0

    async def may(self, user: Any, node_id: str, level: Level = "read") -> bool:
        """Whether a user may read or write a node, as its owner or by a grant of its own; for policies outside of runs.
        It waits for no run.

        Args:
            user: a user, a root or a root's id; None is the public.
            node_id: the node's.
            level: ``"read"`` or ``"write"``.
        """
        root_id = PUBLIC_ROOT_ID if user is None else root_id_of(user)
        async with self.database.reading() as connection:
            found = await connection.execute(statements.find_node(False), {"id": node_id, "me": root_id})
            row = found.one_or_none()
        if row is None:
            return False
        return bool(row.owner == root_id or (row.level is not None and row.level >= level_of(level)))


async def erase(connection: AsyncConnection, root_id: str) -> None:
    """Removes all that a user keeps, in the transaction that removes the user."""
    root = {"root": root_id}
    await connection.execute(statements.add_root(connection.dialect.name == "postgresql"), {"id": root_id})
    for statement in (statements.erase_grants, statements.erase_edges, statements.erase_nodes, statements.erase_root):
        await connection.execute(statement, root)
