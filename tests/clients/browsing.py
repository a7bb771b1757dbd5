"""What happens to a WebSocket whose server plays a script."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from wireloom import WebSocket

from .peer import TIMEOUT_SECONDS, Peer, Script, serving


def record(ws: WebSocket) -> list[Any]:
    """What happens from now on: events by type, with the state at that time."""
    seen: list[Any] = []
    ws.onopen = lambda event: seen.append(("open", ws.readyState))
    ws.onmessage = lambda event: seen.append(("message", event.data))
    ws.onerror = lambda event: seen.append(("error", ws.readyState))
    ws.onclose = lambda event: seen.append(("close", ws.readyState, event.code, event.reason, event.wasClean))
    return seen


async def ended(ws: WebSocket) -> None:
    async with asyncio.timeout(TIMEOUT_SECONDS):
        await ws.wait_closed()


async def nobody(peer: Peer) -> None:
    """A server that nobody comes to."""


async def play(script: Script, act: Callable[[WebSocket], None] | None = None, **options: Any) -> list[Any]:
    """The events of a WebSocket whose server plays a script."""
    async with serving(script) as url:
        ws = WebSocket(url, **options)
        seen = record(ws)
        if act is not None:
            act(ws)
        await ended(ws)
    return seen


FAILED = [("error", 3), ("close", 3, 1006, "", False)]
