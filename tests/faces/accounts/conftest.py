"""Fixtures: clients of identities that the test makes as it likes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.identity.kit import Clock, config, make_passwords_cheap

from wireloom.identity.identity import Identity

from .kit import Client, Start


@pytest.fixture
async def start(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Start]:
    make_passwords_cheap(monkeypatch)
    clients: list[Client] = []

    async def begin(**options: Any) -> Client:
        clock = Clock()
        identity = Identity(config("sqlite://", **options), clock)
        await identity.start()
        clients.append(Client(identity, clock, **options))
        return clients[-1]

    yield begin
    for client in clients:
        await client.http.aclose()
        await client.identity.stop()


@pytest.fixture
async def client(start: Start) -> Client:
    return await start()
