"""The application that the contract of servers is tested with.

Servers import it by name: ``uvicorn serving:app``, ``hypercorn serving:app``, ``uvicorn hosting:host``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any, TypedDict

from wireloom import App, Connection, Deny, Disconnect, Hub, Query, Request, RequestError

__all__ = ["app", "make_app"]


class ChatMessage(TypedDict):
    """What ``/chat`` takes."""

    text: str
    user: str


def make_app() -> App:
    """A fresh application."""
    app = App(max_message_bytes=100_000, outbox_bytes=50_000_000)

    @app.websocket("/chat/{room}/{number}", subprotocols=["chat.v2", "chat.v1"])
    async def chat(
        message: ChatMessage, room: str, number: int, connection: Connection, limit: Annotated[int, Query()] = 10
    ) -> dict[str, Any]:
        """Echoes with everything that it was told."""
        if message["text"] == "bug":
            raise KeyError("secret")
        if message["text"] == "refuse":
            raise RequestError("NOT_NOW", "not now")
        return {
            "echo": message["text"],
            "from": message["user"],
            "room": room,
            "number": number + 1,
            "limit": limit + 1,
            "subprotocol": connection.subprotocol,
            "marker": connection.headers.get("X-Marker"),
            "has_client": connection.client is not None,
        }

    @app.websocket("/text")
    async def text(message: str) -> str:
        return message

    @app.websocket("/bytes")
    async def binary(message: bytes) -> bytes:
        return message[::-1]

    @app.websocket("/guarded")
    async def guarded(message: str) -> str:
        return message

    @guarded.on_handshake
    async def guard(request: Request) -> None:
        await asyncio.sleep(0)
        if request.query.get("let") != "me":
            raise Deny(451, {"error": "not for you", "name": "Ünal"}, {"X-Reason": "law"})

    @app.websocket("/lobby/{name}")
    async def lobby(message: str, name: str, hub: Hub) -> None:
        await hub.publish("lobby", {"from": name, "text": message})

    @lobby.on_connect
    async def joined(connection: Connection, name: str, hub: Hub) -> None:
        await asyncio.sleep(0.01)
        connection.join("lobby")
        await hub.publish("lobby", {"joined": name})

    @lobby.on_disconnect
    async def left(connection: Connection, name: str, hub: Hub) -> None:
        await hub.publish("lobby", {"left": name, "open": connection.is_open})

    @app.websocket("/stream/{name}")
    async def stream(message: int, name: str, hub: Hub) -> AsyncIterator[int]:
        try:
            for number in range(message):
                yield number
            await asyncio.sleep(1000 if message == 3 else 0)
        finally:
            await hub.publish("lobby", {"stream ended": name})

    @app.websocket("/slow")
    async def slow(message: float) -> float:
        await asyncio.sleep(message)
        return message

    @app.websocket("/leave/{name}")
    async def leave(message: str, name: str, connection: Connection, hub: Hub) -> None:
        await hub.publish("lobby", {"handled": message})
        if message == "burst":
            for number in range(100):
                connection.send(f"{number} {'x' * 10_000}")
        else:
            await asyncio.sleep(0)
        raise Disconnect(4321, "good bye ü")

    @app.websocket("/unwelcome")
    async def unwelcome(message: str, hub: Hub) -> None:
        await hub.publish("lobby", {"handled": message})

    @unwelcome.on_connect
    async def refuse() -> None:
        await asyncio.sleep(0.05)
        raise Disconnect(4001, "not you")

    return app


app = make_app()
