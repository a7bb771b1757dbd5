"""What tests of callbacks share."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

from wireloom import (
    CallbackRequest,
    create_server,
)
from wireloom.testing import TestServer

__all__ = ["echo", "errors", "serve", "soon", "vanish"]


def serve(handler: Callable[..., Any], **options: Any) -> TestServer:
    return TestServer(create_server(handler, **options).app)


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


async def vanish(server: TestServer) -> None:
    """Waits until no connection is left, which nothing announces while a handler runs."""
    while server.app.hub.count():  # noqa: ASYNC110
        await asyncio.sleep(0)


async def soon(event: asyncio.Event) -> None:
    await asyncio.wait_for(event.wait(), 3)


def echo(req: CallbackRequest) -> Any:
    if req.type == "websocket":
        req.ws.send("Echo: " + req.data)
        return None
    return {"status": 200, "headers": {"Content-Type": "text/plain"}, "body": "HTTP server with WebSocket support"}
