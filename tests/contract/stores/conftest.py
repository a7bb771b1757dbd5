"""The stores that the contract tests run on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.services import Service, redis_service
from wireloom.faces.routes.stores.choose import make_store
from wireloom.faces.routes.stores.memory import MemoryStore

from .kit import Place


@pytest.fixture(scope="module")
def redis() -> Iterator[Service]:
    """A Redis server that tests share."""
    with redis_service() as service:
        yield service


@pytest.fixture(params=["memory", "redis"])
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    """Every store."""
    now = [1000.0]
    if request.param == "memory":
        made = Place(MemoryStore(clock=lambda: now[0]), lambda seconds: now.insert(0, now[0] + seconds))
    else:
        made = Place(make_store(request.getfixturevalue("redis").url))
    yield made
    await made.store.stop()
