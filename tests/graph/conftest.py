"""Fixtures: a graph on each kind of database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import text

from tests.postgresql import PostgreSQL
from wireloom.database.database import Database
from wireloom.graph.graph import Graph

from .kit import CLASSES

Open = Callable[..., Awaitable[Graph]]


@pytest.fixture(scope="session")
def shared_url(postgresql: PostgreSQL) -> str:
    """The URL of a PostgreSQL database that is emptied after every test: making one takes longer than most tests."""
    return postgresql.make_database()


@pytest.fixture(params=["memory", "file", "postgresql"])
def database(request: pytest.FixtureRequest, file_url: str) -> str:
    """The URL of an empty database of each kind."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("shared_url"))
    return "sqlite://" if request.param == "memory" else file_url


@pytest.fixture
async def open_graph() -> AsyncIterator[Open]:
    """Starts graphs, each with connections of its own as another process has them; closes them in the end."""
    opened: list[Database] = []

    async def start(url: str, classes: Any = CLASSES) -> Graph:
        database = Database(url)
        await database.open()
        opened.append(database)
        graph = Graph(database)
        await graph.start()
        graph.types.declare(classes)
        return graph

    yield start
    if opened and opened[0].is_postgresql:
        async with opened[0].writing() as connection:
            await connection.execute(text("TRUNCATE wireloom_nodes CASCADE"))
    for database in opened:
        await database.close()


@pytest.fixture
async def graph(open_graph: Open, database: str) -> Graph:
    """A graph on each kind of database."""
    return await open_graph(database)


@pytest.fixture
def other(graph: Graph) -> Graph:
    """A second graph of the same nodes, which takes no turns with the first, as another process does not."""
    second = Graph(graph.database)
    second.types = graph.types
    return second


@pytest.fixture(params=["file", "postgresql"])
def shared(request: pytest.FixtureRequest, file_url: str) -> str:
    """The URL of an empty database of each kind that several processes can share."""
    return str(request.getfixturevalue("shared_url")) if request.param == "postgresql" else file_url
