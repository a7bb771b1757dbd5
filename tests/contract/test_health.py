"""Health and metrics of an application whose backplane goes away and comes back."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.services import Service
from wireloom import EVERYONE, App
from wireloom.testing import TestServer

from .places import SECONDS, until

pytestmark = pytest.mark.anyio


async def value(server: TestServer, name: str) -> float:
    """Of a metric without labels."""
    lines = (await server.http.get("/metrics")).text.splitlines()
    return float(next(line for line in lines if line.startswith(f"{name} ")).split()[1])


async def health(server: TestServer) -> tuple[int, Any]:
    answer = await server.http.get("/healthz/ready")
    return answer.status_code, answer.json()


async def test_an_outage_is_told_and_the_application_stays_ready(own_service: Service) -> None:
    app, other = App(backplane=own_service.url), App(backplane=own_service.url)
    for each in (app, other):

        @each.websocket("/")
        async def nothing(message: str) -> None: ...

    async with TestServer(app) as server, TestServer(other) as another, server.websocket("/") as ws:
        await app.hub.settle()
        await other.hub.publish("everyone", "nobody hears this channel")
        await other.hub.publish(EVERYONE, "from the other")
        assert await ws.receive_text() == "from the other"
        assert await value(server, "wireloom_publications_received_total") == 1
        assert await value(server, "wireloom_deliveries_total") == 1
        assert await value(another, "wireloom_publications_total") == 2
        assert await value(server, "wireloom_backplane_up") == 1
        assert await health(server) == (200, {"status": "ready", "backplane": "ok"})
        own_service.kill()
        await until(lambda: app.hub.degraded)
        await app.hub.publish(EVERYONE, "only here")
        # it goes on for its own clients, so that taking it out of the balance would help nobody
        assert await health(server) == (200, {"status": "ready", "backplane": "degraded"})
        assert await value(server, "wireloom_backplane_up") == 0
        assert await value(server, "wireloom_backplane_dropped_total") == 1
        own_service.start()
        async with asyncio.timeout(SECONDS):
            await app.hub.settle()
        await until(lambda: app.hub.backplane.reconnects == 1)
        assert await value(server, "wireloom_backplane_reconnects_total") == 1
        assert await value(server, "wireloom_backplane_up") == 1
        assert await health(server) == (200, {"status": "ready", "backplane": "ok"})
