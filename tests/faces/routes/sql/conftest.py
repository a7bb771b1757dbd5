"""Databases and stores: the same tests on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import asyncpg
import pytest
from tests.postgresql import PostgreSQL

from .kit import Store


@pytest.fixture(scope="module")
def postgresql_database(postgresql: PostgreSQL) -> str:
    """One database for all tests: to make many takes long."""
    return postgresql.make_database()


@pytest.fixture
def postgresql_url(postgresql_database: str) -> str:
    """The URL of a PostgreSQL database, empty."""

    async def clear() -> None:
        connection = await asyncpg.connect(postgresql_database)
        await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        await connection.close()

    anyio.run(clear)
    return postgresql_database


@pytest.fixture(params=["memory", "file", "postgresql"])
def database(request: pytest.FixtureRequest, file_url: str) -> str:
    """The URL of an empty database of each kind."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgresql_url"))
    return "sqlite://" if request.param == "memory" else file_url


@pytest.fixture(params=["file", "postgresql"])
def durable(request: pytest.FixtureRequest, file_url: str) -> str:
    """The URL of an empty database that stays when it is closed."""
    return str(request.getfixturevalue("postgresql_url")) if request.param == "postgresql" else file_url


@pytest.fixture
async def make_store() -> AsyncIterator[Callable[..., Store]]:
    made: list[Store] = []

    def make(url: str, **options: Any) -> Store:
        made.append(Store(url, **options))
        return made[-1]

    yield make
    for one in made:
        await one.store.stop()


@pytest.fixture
async def store(database: str, make_store: Callable[..., Store]) -> Store:
    """A store on an empty database of each kind."""
    return make_store(database)


@pytest.fixture
async def users(store: Store) -> Store:
    """A store with a table of two users."""
    await store.make_users()
    return store
