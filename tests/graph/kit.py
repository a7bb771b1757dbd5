"""What tests of the graph share: classes of nodes and edges, users, runs as `with` blocks, and a look at the SQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from sqlalchemy import event, select

from wireloom.database.database import Database
from wireloom.graph.edge import Edge
from wireloom.graph.graph import Graph
from wireloom.graph.node import Node, Root, node_state
from wireloom.graph.tables import nodes
from wireloom.graph.unit import Unit

__all__ = [
    "ALICE",
    "BOB",
    "CAROL",
    "CLASSES",
    "TIMEOUT_SECONDS",
    "Also",
    "Folder",
    "Item",
    "Link",
    "Special",
    "StrongLink",
    "begin",
    "hook",
    "names",
    "run",
    "statements",
    "versions",
]

ALICE, BOB, CAROL = (f"n::{letter * 24}" for letter in "abc")
TIMEOUT_SECONDS = 20.0


class Folder(Node):
    name: str = ""


class Item(Node):
    name: str = ""
    count: int = 0
    tags: list[str] = []  # noqa: RUF012 (copied for each)


class Special(Item):
    stars: int = 0


class Link(Edge):
    weight: int = 0


class StrongLink(Link):
    pass


class Also(Edge):
    note: str = ""


CLASSES = (Folder, Item, Special, Link, StrongLink, Also)


def begin(graph: Graph, who: str = ALICE, *, exclusive: bool = False) -> Unit:
    """A unit that the test ends by itself."""
    return graph.begin(who, exclusive=exclusive)


@asynccontextmanager
async def run(graph: Graph, who: str = ALICE, *, exclusive: bool = False) -> AsyncIterator[Root]:
    """A run of a user, as a Runner does it: kept at the end, undone by an exception."""
    unit = graph.begin(who, exclusive=exclusive)
    try:
        yield unit.root
        await unit.commit()
    except BaseException as error:
        await unit.close(error)
        raise
    await unit.close()


def names(found: Iterable[Any]) -> list[str]:
    """The names of nodes."""
    return [one.name for one in found]


@contextmanager
def hook(database: Database, call: Callable[[str], None]) -> Iterator[None]:
    """Calls a function with every statement before it is executed; what it raises is the statement's error."""
    assert database._engine is not None
    engine = database._engine.sync_engine

    def listen(connection: Any, cursor: Any, statement: str, *further: Any) -> None:
        call(statement)

    event.listen(engine, "before_cursor_execute", listen)
    try:
        yield
    finally:
        event.remove(engine, "before_cursor_execute", listen)


@contextmanager
def statements(database: Database) -> Iterator[list[str]]:
    """The statements that are executed meanwhile."""
    found: list[str] = []
    with hook(database, found.append):
        yield found


async def versions(graph: Graph, node: Node | str) -> tuple[int, int]:
    """The versions of a node's fields and edges in the store."""
    node_id = node if isinstance(node, str) else node_state(node).node_id
    query = select(nodes.c.version, nodes.c.edges_version).where(nodes.c.node_id == node_id)
    async with graph.database.reading() as connection:
        row = (await connection.execute(query)).one()
    return row.version, row.edges_version
