"""An application with an event socket, and connections to it."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from typing import Any, TypedDict

from wireloom import App
from wireloom.identity.login import Login
from wireloom.testing import TestServer, TestWebSocket

MARK = '"id":"so far"}'


class Double(TypedDict):
    val: int


def application(**options: Any) -> App:
    app = App(database="sqlite://", **options)
    app.events()

    @app.event("double")
    async def double(context: Double) -> int:
        return context["val"] * 2

    @app.event("mine", auth=True)
    async def mine() -> str:
        return "yours"

    @app.event("boom")
    async def boom() -> None:
        raise ValueError("secret")

    return app


def bearer(login: Login) -> dict[str, str]:
    return {"Authorization": f"Bearer {login.token}"}


async def heard(ws: TestWebSocket) -> list[str]:
    """Everything that came before the answer to an event sent now."""
    await ws.send_json({"type": "connection", "id": "so far"})
    texts: list[str] = []
    while not (text := await ws.receive_text()).endswith(MARK):
        texts.append(text)
    return texts


async def ask(ws: TestWebSocket, event: Any) -> Any:
    """The answer to an event, which has exactly one."""
    await (ws.send_text(event) if isinstance(event, str) else ws.send_json(event))
    [text] = await heard(ws)
    return json.loads(text)


async def opened(stack: AsyncExitStack, server: TestServer, login: Login | None = None, query: str = "") -> Any:
    """A connection and the data of its first frame."""
    ws = await stack.enter_async_context(
        server.websocket(f"/websocket{query}", headers=bearer(login) if login is not None else {})
    )
    frame = await ws.receive_json()
    assert frame["type"] == "connection"
    return ws, frame["data"]
