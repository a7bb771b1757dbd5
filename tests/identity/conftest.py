"""Fixtures: an identity on each kind of database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from wireloom.identity.identity import Identity
from wireloom.identity.users import Erase

from .kit import Clock, Make, config, make_passwords_cheap


@pytest.fixture(autouse=True)
def cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    make_passwords_cheap(monkeypatch)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def make(clock: Clock) -> AsyncIterator[Make]:
    """Starts identities, and stops them in the end."""
    started: list[Identity] = []

    async def start(database: str = "sqlite://", erase: Erase | None = None, **options: Any) -> Identity:
        identity = Identity(config(database, **options), clock, erase=erase)
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
