"""The event socket across a live reload: what its open connections keep, and what is new for them."""

from __future__ import annotations

from typing import Any

import pytest

from wireloom import App, Connection
from wireloom.net.listener import Swapped
from wireloom.testing import TestServer, TestWebSocket

pytestmark = pytest.mark.anyio


def application(word: str, *, allow: Any = None, on_disconnect: Any = None, typed: bool = False) -> App:
    app = App(database="sqlite://")
    if typed:

        @app.websocket("/websocket")
        async def plain(message: str) -> str:
            return message

    else:
        app.events(allow=allow, on_disconnect=on_disconnect)

        @app.event("word")
        async def answer() -> str:
            return word

    return app


async def ask(ws: TestWebSocket, event: dict[str, Any]) -> Any:
    await ws.send_json(event)
    return await ws.receive_json()


async def log_in(app: App) -> str:
    assert app.identity is not None
    login = await app.identity.register({"username": "alice"}, "password1")
    return login.token


async def test_a_connection_keeps_who_and_where_it_is() -> None:
    app = application("old")
    async with TestServer(app) as server:
        headers = {"Authorization": f"Bearer {await log_in(app)}"}
        async with server.websocket("/websocket", headers=headers) as ws:
            first = await ws.receive_json()
            assert (await ask(ws, {"type": "walker", "walker": "word", "response": True}))["reports"] == ["old"]
            assert await app.reload(application("new")) == Swapped(kept=1, closed=0)
            assert await ask(ws, {"type": "connection"}) == first
            assert (await ask(ws, {"type": "walker", "walker": "word", "response": True}))["reports"] == ["new"]
            await app.hub.publish(first["data"]["channel_id"], {"still": "heard"})
            assert await ws.receive_json() == {"still": "heard"}


async def test_the_new_policy_and_hooks_apply() -> None:
    left: list[str] = []

    async def nobody(*asked: Any) -> bool:
        return False

    app = application("old")
    async with TestServer(app) as server:
        async with server.websocket("/websocket") as ws:
            await ws.receive_json()
            subscribe = {"type": "subscribe", "channel_ids": ["news"]}
            assert (await ask(ws, subscribe))["type"] == "subscribed"

            async def leaving(connection: Connection) -> None:
                left.append(connection.client_id)

            await app.reload(application("new", allow=nobody, on_disconnect=leaving))
            assert "Not allowed" in str(await ask(ws, subscribe))
            assert app._channels
        async with server.websocket("/websocket") as later:
            await later.receive_json()
    assert len(left) == 2
    assert app._channels == {}


async def test_a_logout_goes_by_the_new_policy() -> None:
    async def anyone(*asked: Any) -> bool:
        return True

    app = application("old")
    async with TestServer(app) as server:
        token = await log_in(app)
        async with server.websocket("/websocket", headers={"Authorization": f"Bearer {token}"}) as ws:
            await ws.receive_json()
            await ask(ws, {"type": "subscribe", "channel_ids": ["news"]})
            await app.reload(application("new", allow=anyone))
            async with server.http as http:
                await http.post("/user/logout", headers={"Authorization": f"Bearer {token}"})
            assert "auth_error" in (await ws.receive_json())["data"]
            assert app.hub.count("news") == 0  # with a policy of its own the socket takes a stranger off its channels


@pytest.mark.parametrize("typed_first", [True, False])
async def test_another_kind_of_endpoint_at_its_path_does_not_go_on(typed_first: bool) -> None:
    app = application("old", typed=typed_first)
    async with TestServer(app) as server, server.websocket("/websocket") as ws:
        assert await app.reload(application("new", typed=not typed_first)) == Swapped(kept=0, closed=1)
        assert await ws.wait_closed() == 1012
