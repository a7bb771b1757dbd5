"""The servers that the contract tests run over."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.services import Service

from .places import SERVERS, Place, placed


@pytest.fixture(scope="module")
def services() -> Iterator[Callable[[str], Service]]:
    """The servers that tests share which leave them in peace."""
    with ExitStack() as stack:
        running: dict[str, Service] = {}

        def service(name: str) -> Service:
            if name not in running:
                running[name] = stack.enter_context(SERVERS[name]())
            return running[name]

        yield service


@pytest.fixture(params=["memory", *SERVERS])
async def anywhere(request: pytest.FixtureRequest, services: Callable[[str], Service]) -> AsyncIterator[Place]:
    """Every backplane."""
    url = "memory" if request.param == "memory" else services(request.param).url
    async with placed(request.param, url) as place:
        yield place


@pytest.fixture(params=SERVERS)
async def place(request: pytest.FixtureRequest, services: Callable[[str], Service]) -> AsyncIterator[Place]:
    """Every backplane that spans processes."""
    async with placed(request.param, services(request.param).url) as place:
        yield place


@pytest.fixture(params=SERVERS)
def own_service(request: pytest.FixtureRequest) -> Iterator[Service]:
    """A server of the test's own, for it to kill."""
    with SERVERS[request.param]() as service:
        yield service


@pytest.fixture
async def own_place(own_service: Service) -> AsyncIterator[Place]:
    async with placed(own_service.url.partition(":")[0], own_service.url) as place:
        yield place
