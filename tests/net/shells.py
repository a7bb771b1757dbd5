"""An application of echoes, some of which wait."""

from __future__ import annotations

import asyncio
from typing import Any

from wireloom import App, Connection
from wireloom.wire.frames import TEXT, mask_frame

from .raw import eventually


def echo_app(**options: Any) -> App:
    """``/echo`` never waits, ``/slow`` does, ``/gate/{n}`` waits for `app.gate`."""
    app = App(**options)
    app.gate = asyncio.Event()  # type: ignore[attr-defined]
    app.events = []  # type: ignore[attr-defined]

    @app.websocket("/echo")
    async def echo(message: str | bytes) -> str | bytes:
        return message

    @app.websocket("/slow")
    async def slow(message: str) -> str:
        await asyncio.sleep(0)
        return message

    @app.websocket("/gate")
    async def gated(message: str) -> str:
        app.events.append(f"begin {message}")  # type: ignore[attr-defined]
        await app.gate.wait()  # type: ignore[attr-defined]
        app.events.append(f"end {message}")  # type: ignore[attr-defined]
        return message

    @gated.on_connect
    async def joined() -> None:
        app.events.append("connect")  # type: ignore[attr-defined]

    @gated.on_disconnect
    async def left() -> None:
        await asyncio.sleep(0)
        app.events.append("disconnect")  # type: ignore[attr-defined]

    return app


def texts(*messages: str) -> bytes:
    return b"".join(mask_frame(TEXT, message.encode()) for message in messages)


async def only_connection(app: App) -> Connection:
    await eventually(lambda: app.hub.count() == 1)
    return app.hub.connections()[0]
