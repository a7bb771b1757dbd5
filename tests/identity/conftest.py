"""Fixtures: an identity on each kind of database."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from wireloom.identity.identity import Identity

from .kit import Clock, Make, PostgreSQL, config, find_postgresql, make_passwords_cheap


@pytest.fixture(autouse=True)
def cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    make_passwords_cheap(monkeypatch)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """A PostgreSQL server for all tests."""
    binaries = find_postgresql()
    if binaries is None:
        if os.environ.get("CI"):
            pytest.fail("PostgreSQL is not installed: apt-get install postgresql")
        pytest.skip("PostgreSQL is not installed")
    server = PostgreSQL(binaries)
    yield server
    server.stop()


@pytest.fixture
def file_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/.wireloom/wireloom.db"


@pytest.fixture(params=["memory", "file", "postgresql"])
def database(request: pytest.FixtureRequest, file_url: str) -> str:
    """The URL of an empty database of each kind."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgresql").make_database())
    return "sqlite://" if request.param == "memory" else file_url


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def make(clock: Clock) -> AsyncIterator[Make]:
    """Starts identities, and stops them in the end."""
    started: list[Identity] = []

    async def start(database: str = "sqlite://", **options: Any) -> Identity:
        identity = Identity(config(database, **options), clock)
        await identity.start()
        started.append(identity)
        return identity

    yield start
    for identity in started:
        await identity.stop()


@pytest.fixture
async def identity(make: Make, database: str) -> Identity:
    """An identity on each kind of database."""
    return await make(database)
