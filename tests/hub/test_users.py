"""Users on connections: reached by their topic, listed by the hub, and out when their login ends."""

from __future__ import annotations

import json
import time
from contextlib import AsyncExitStack
from types import SimpleNamespace
from typing import Any

import pytest

from wireloom import App, Connection, Hub, RequestError, user
from wireloom.core.topic import EVERYONE, PUBLIC_ROOT_ID
from wireloom.hub import logins as logins_module
from wireloom.identity.login import Login
from wireloom.identity.user import User
from wireloom.testing import TestServer, TestWebSocket

from .fakes import member

pytestmark = pytest.mark.anyio


async def register(app: App, name: str = "alice") -> Login:
    assert app.identity is not None
    return await app.identity.register({"username": name}, "password1")


def bearer(login: Login) -> dict[str, str]:
    return {"Authorization": f"Bearer {login.token}"}


def application(**options: Any) -> tuple[App, list[Connection]]:
    """A typed endpoint that only users get into, and its connections."""
    app, connections = App(database="sqlite://", **options), []
    app.events()

    @app.websocket("/mine", auth=True)
    async def mine(message: str) -> str:
        return message

    @mine.on_connect
    async def came(connection: Connection) -> None:
        connections.append(connection)

    return app, connections


async def heard(ws: TestWebSocket) -> list[str]:
    """Everything that came before the answer to a message sent now, at the typed endpoint."""
    await ws.send_text("so far")
    texts: list[str] = []
    while (text := await ws.receive_text()) != "so far":
        texts.append(text)
    return texts


# -- topics ------------------------------------------------------------------------------------------------------------


async def test_a_users_typed_connections_are_reached_by_the_users_topic() -> None:
    app, connections = application()
    async with TestServer(app) as server, AsyncExitStack() as stack:
        alice, bob = await register(app), await register(app, "bob")
        sockets = [
            await stack.enter_async_context(server.websocket("/mine", headers=bearer(login)))
            for login in (alice, alice, bob)
        ]
        assert [await heard(ws) for ws in sockets] == [[]] * 3
        assert [connection.user.username for connection in connections] == ["alice", "alice", "bob"]
        assert connections[0].root_id == alice.user.root_id
        await app.hub.publish(user(alice.user.root_id), {"n": 1})
        assert [await heard(ws) for ws in sockets] == [['{"n":1}'], ['{"n":1}'], []]
        assert app.hub.count(user(alice.user.root_id)) == 2
        # peers reach them as well, over the event socket
        events = await stack.enter_async_context(server.websocket("/websocket", headers=bearer(bob)))
        await events.receive_json()
        await events.send_json({"type": "user", "root_ids": [alice.user.root_id, bob.user.root_id], "data": {"n": 2}})
        assert await events.receive_text() == '{"n":2}'
        assert [await heard(ws) for ws in sockets] == [['{"n":2}']] * 3


async def test_the_hub_lists_the_users_that_are_here_once_each() -> None:
    app, _ = application()
    async with TestServer(app) as server:
        assert app.hub.users() == []
        alice, bob = await register(app), await register(app, "bob")
        async with AsyncExitStack() as stack:
            for login, path in ((alice, "/mine"), (alice, "/mine"), (bob, "/websocket"), (None, "/websocket")):
                headers = bearer(login) if login is not None else {}
                ws = await stack.enter_async_context(server.websocket(path, headers=headers))
                await (heard(ws) if path == "/mine" else ws.receive_json())
            assert sorted(app.hub.users()) == sorted([alice.user.root_id, bob.user.root_id])
            assert app.hub.count(user(PUBLIC_ROOT_ID)) == 1
            assert all(type(root_id) is str for root_id in app.hub.users())
        async with server.websocket("/websocket") as ws:
            await ws.receive_json()
            assert app.hub.users() == []
            assert len(app.hub.logins) == 0


async def test_typed_connections_of_the_public_are_in_no_users_topic() -> None:
    app = App()

    @app.websocket("/open")
    async def open_to_all(message: str, connection: Connection) -> str:
        return connection.root_id

    async with TestServer(app) as server, server.websocket("/open") as ws:
        await ws.send_text("x")
        assert await ws.receive_text() == PUBLIC_ROOT_ID
        assert app.hub.count(user(PUBLIC_ROOT_ID)) == 0
        assert app.hub.users() == []


@pytest.mark.parametrize("found", ["alice", {"name": "alice"}, 5, SimpleNamespace(name="alice")])
async def test_a_user_of_the_applications_own_kind_has_no_topic_and_does_no_harm(found: Any) -> None:
    app, seen = App(), []

    async def gate(request: Any) -> Any:
        return found

    @app.websocket("/own", auth=gate)
    async def own(message: str, connection: Connection) -> str:
        seen.append((connection.user, connection.root_id))
        return "ok"

    async with TestServer(app) as server, server.websocket("/own") as ws:
        await ws.send_text("x")
        assert await ws.receive_text() == "ok"
        assert seen == [(found, PUBLIC_ROOT_ID)]
        assert app.hub.users() == []
        app.hub.revoke(user_id="u", token_id="t")
        await app.hub.publish(EVERYONE, "still here")
        assert await ws.receive_text() == "still here"


async def test_change_user_leaves_one_topic_for_the_other() -> None:
    hub = Hub()
    await hub.start()
    one = member(hub)
    one.connection.join("room")
    for number in (1, 2, 2, 3):
        one.connection.change_user(User("u", f"n::{number:024x}" if number > 1 else PUBLIC_ROOT_ID, "x"))
    assert hub.users() == ["n::000000000000000000000003"]
    one.connection.change_user(None)
    assert hub.users() == []
    assert hub.connections(user(PUBLIC_ROOT_ID)) == [one.connection]
    assert one.connection.channels == {"room"}
    hub.unregister(one.connection)
    assert [hub.count(topic) for topic in (user(PUBLIC_ROOT_ID), EVERYONE)] == [0, 0]
    assert hub.count("room") == 0
    await hub.stop()


# -- the end of a login ------------------------------------------------------------------------------------------------


def pass_to(moment: float, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is then, as far as logins know, and their timer has come."""
    monkeypatch.setattr(logins_module, "time", SimpleNamespace(time=lambda: moment))
    app.hub.logins._look()


async def test_a_typed_connection_is_closed_with_4401_when_its_token_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    app, _ = application()
    async with TestServer(app) as server, AsyncExitStack() as stack:
        login = await register(app)
        identity: Any = app.identity
        monkeypatch.setattr(identity, "_clock", lambda: time.time() + 100)
        other = await stack.enter_async_context(server.websocket("/mine", headers=bearer(await register(app, "bob"))))
        ws = await stack.enter_async_context(server.websocket("/mine", headers=bearer(login)))
        await heard(ws)
        end = login.user.expires_at
        assert end is not None
        pass_to(end - 1, app, monkeypatch)  # nobody warns where nobody can log in anew
        assert await heard(ws) == []
        pass_to(end, app, monkeypatch)
        assert await ws.wait_closed() == 4401
        assert ws.close_reason == "Token expired"
        assert await heard(other) == []


async def test_an_event_socket_is_warned_and_becomes_the_publics_when_its_token_expires(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app, _ = application()
    async with TestServer(app) as server:
        login = await register(app)
        end = login.user.expires_at
        assert end is not None
        async with server.websocket("/websocket?channel_id=c", headers=bearer(login)) as ws:
            first = await ws.receive_json()
            assert first["data"]["root_id"] == login.user.root_id
            pass_to(end - 30, app, monkeypatch)
            assert await ws.receive_json() == {"type": "token_expiring", "expires_in": 30}
            pass_to(end, app, monkeypatch)
            told = await ws.receive_json()
            assert told["type"] == "connection"
            assert told["data"] == {**first["data"], "root_id": PUBLIC_ROOT_ID, "auth_error": "Token expired"}
            await ws.send_json({"type": "user", "root_ids": [login.user.root_id]})
            assert await ws.receive_json() == {"type": "user", "error": "Not allowed"}
            assert app.hub.users() == []


@pytest.mark.parametrize("how", ["logout", "password", "removal", "http logout", "http password"])
async def test_a_revoked_login_closes_typed_connections_with_4401_and_makes_event_sockets_public(how: str) -> None:
    app, _ = application()
    async with TestServer(app) as server, AsyncExitStack() as stack:
        login = await register(app)
        assert app.identity is not None
        again = await app.identity.login("alice", "password1")
        bob = await register(app, "bob")
        typed = [
            await stack.enter_async_context(server.websocket("/mine", headers=bearer(each)))
            for each in (login, again, bob)
        ]
        events = await stack.enter_async_context(server.websocket("/websocket", headers=bearer(login)))
        await events.receive_json()
        assert [await heard(ws) for ws in typed] == [[]] * 3
        everywhere = "logout" not in how
        if how == "logout":
            await app.identity.logout(login.user)
        elif how == "password":
            await app.identity.change_password(login.user, "password1", "password2")
        elif how == "removal":
            await app.identity.remove_user(await app.identity.find_user("alice"))
        elif how == "http logout":
            assert (await server.http.post("/user/logout", headers=bearer(login))).status_code == 200
        else:
            body = {"old_password": "password1", "new_password": "password2"}
            assert (await server.http.put("/user/password", json=body, headers=bearer(login))).status_code == 200
        assert await typed[0].wait_closed() == 4401
        assert typed[0].close_reason == "Token revoked"
        told = await events.receive_json()
        assert (told["data"]["root_id"], told["data"]["auth_error"]) == (PUBLIC_ROOT_ID, "Token revoked")
        if everywhere:
            assert await typed[1].wait_closed() == 4401
        else:
            assert await heard(typed[1]) == []
        assert await heard(typed[2]) == []
        reply = await server.http.get("/user/me", headers=bearer(login))
        assert reply.status_code == 401


# -- how many channels -------------------------------------------------------------------------------------------------


async def test_a_connection_hears_as_many_channels_as_it_may_and_not_one_more() -> None:
    hub = Hub()
    await hub.start()
    one = member(hub)
    endpoint: Any = one.connection.endpoint
    limit = endpoint.limits.max_channels
    assert limit == 128
    one.connection.change_user(User("u", "n::aaaaaaaaaaaaaaaaaaaaaaaa", "x"))  # a user's topic is no channel
    for number in range(limit):
        one.connection.join(f"{number}")
    one.connection.join("0")  # which it hears already
    with pytest.raises(RequestError) as caught:
        one.connection.join("one more")
    assert caught.value.code == "TOO_MANY_CHANNELS"
    assert (len(one.connection.channels), hub.count("one more")) == (limit, 0)
    one.connection.leave("0")
    one.connection.join("one more")
    assert hub.count("one more") == 1
    await hub.stop()


async def test_no_limit_of_channels_is_no_limit() -> None:
    app = App(database="sqlite://", max_channels=0)
    app.events()
    async with TestServer(app) as server, server.websocket("/websocket") as ws:
        await ws.receive_json()
        names = [f"{number}" for number in range(1000)]
        await ws.send_text(json.dumps({"type": "subscribe", "channel_ids": names}))
        assert await ws.receive_json() == {"type": "subscribed", "channel_ids": names}
