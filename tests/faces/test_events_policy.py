"""Whom a client of the event socket may address: guarded, open, and an application's own policy."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

import pytest

from wireloom import App, Connection
from wireloom.core.topic import PUBLIC_ROOT_ID
from wireloom.identity.login import Login
from wireloom.testing import TestServer, TestWebSocket

pytestmark = pytest.mark.anyio


async def register(app: App, name: str = "alice") -> Login:
    assert app.identity is not None
    return await app.identity.register({"username": name}, "password1")


async def heard(ws: TestWebSocket) -> list[Any]:
    """Everything that came before the answer to an event sent now."""
    await ws.send_json({"type": "connection", "id": "so far"})
    values: list[Any] = []
    while (value := await ws.receive_json()).get("id") != "so far":
        values.append(value)
    return values


async def opened(stack: AsyncExitStack, server: TestServer, login: Login | None = None, query: str = "") -> Any:
    """A connection and the data of its first frame."""
    headers = {"Authorization": f"Bearer {login.token}"} if login is not None else {}
    ws = await stack.enter_async_context(server.websocket(f"/websocket{query}", headers=headers))
    return ws, (await ws.receive_json())["data"]


class Asked:
    """A policy that notes what it is asked."""

    def __init__(self, *refused: str) -> None:
        self.calls: list[tuple[str, list[str]]] = []
        self.connections: list[Connection] = []
        self.refused = refused

    async def __call__(self, connection: Connection, kind: str, ids: Sequence[str]) -> bool:
        assert isinstance(connection, Connection)
        self.connections.append(connection)
        self.calls.append((kind, list(ids)))
        return kind not in self.refused


def application(allow: Any = None, **options: Any) -> App:
    app = App(database="sqlite://", **options)
    app.events(allow=allow)
    return app


EVENTS = {
    "user": lambda ids: {"type": "user", "root_ids": ids},
    "channel": lambda ids: {"type": "channel", "channel_ids": ids},
    "client": lambda ids: {"type": "client", "client_ids": ids},
    "subscribe": lambda ids: {"type": "subscribe", "channel_ids": ids},
}


# -- guarded -----------------------------------------------------------------------------------------------------------


async def test_guarded_lets_the_public_address_clients_and_the_channels_it_hears() -> None:
    app = application()
    async with TestServer(app) as server, AsyncExitStack() as stack:
        ws, data = await opened(stack, server, query="?channel_id=own")
        other, theirs = await opened(stack, server, query="?channel_id=theirs")
        await ws.send_json({"type": "client", "client_ids": [theirs["client_id"]], "data": {"to": "client"}})
        await ws.send_json({"type": "channel", "channel_ids": ["own"], "data": {"to": "own"}})
        assert await heard(ws) == [{"to": "own"}]
        assert await heard(other) == [{"to": "client"}]
        for ids in (["theirs"], ["own", "theirs"], ["theirs", "own"], ["nobody's"], ["Own"], ["own "]):
            await ws.send_json({"type": "channel", "channel_ids": ids, "data": {"n": 1}})
            assert await heard(ws) == [{"type": "channel", "error": "Not allowed"}]  # the whole event, also for its own
        for ids in ([PUBLIC_ROOT_ID], ["n::ffffffffffffffffffffffff"], [data["client_id"]]):
            await ws.send_json({"type": "user", "root_ids": ids, "data": {"n": 1}})
            assert await heard(ws) == [{"type": "user", "error": "Not allowed"}]
        assert await heard(other) == []


async def test_guarded_lets_the_public_address_a_channel_from_when_it_joins_until_it_leaves() -> None:
    async with TestServer(application()) as server, AsyncExitStack() as stack:
        ws, _ = await opened(stack, server)
        event = {"type": "channel", "channel_ids": ["room"], "data": {"n": 1}}
        refusal = {"type": "channel", "error": "Not allowed"}
        await ws.send_json(event)
        assert await heard(ws) == [refusal]
        await ws.send_json({"type": "subscribe", "channel_ids": ["room"]})
        await ws.send_json(event)
        assert await heard(ws) == [{"type": "subscribed", "channel_ids": ["room"]}, {"n": 1}]
        await ws.send_json({"type": "unsubscribe", "channel_ids": ["room"]})
        await ws.send_json(event)
        assert (await heard(ws))[1:] == [refusal]


async def test_guarded_lets_those_who_are_logged_in_address_anyone() -> None:
    app = application()
    async with TestServer(app) as server, AsyncExitStack() as stack:
        alice, bob = await register(app), await register(app, "bob")
        ws, _ = await opened(stack, server, alice)
        other, theirs = await opened(stack, server, bob, query="?channel_id=theirs")
        await ws.send_json({"type": "channel", "channel_ids": ["theirs"], "data": {"n": 1}})
        await ws.send_json({"type": "user", "root_ids": [bob.user.root_id], "data": {"n": 2}})
        await ws.send_json({"type": "client", "client_ids": [theirs["client_id"]], "data": {"n": 3}})
        assert await heard(ws) == []
        assert await heard(other) == [{"n": 1}, {"n": 2}, {"n": 3}]
        # ... for as long as they are
        assert app.identity is not None
        await app.identity.logout(alice.user)
        await ws.send_json({"type": "user", "root_ids": [bob.user.root_id], "data": {"n": 4}})
        assert (await heard(ws))[1:] == [{"type": "user", "error": "Not allowed"}]
        assert await heard(other) == []


# -- open --------------------------------------------------------------------------------------------------------------


async def test_open_restores_anyone_to_anyone() -> None:
    app = application(peer_events="open")
    async with TestServer(app) as server, AsyncExitStack() as stack:
        login = await register(app)
        other, theirs = await opened(stack, server, login, query="?channel_id=theirs")
        ws, _ = await opened(stack, server)
        await ws.send_json({"type": "channel", "channel_ids": ["theirs"], "data": {"n": 1}})
        await ws.send_json({"type": "user", "root_ids": [login.user.root_id], "data": {"n": 2}})
        await ws.send_json({"type": "client", "client_ids": [theirs["client_id"]], "data": {"n": 3}})
        await ws.send_json({"type": "user", "root_ids": [PUBLIC_ROOT_ID], "data": {"n": 4}})
        assert await heard(ws) == [{"n": 4}]
        assert await heard(other) == [{"n": 1}, {"n": 2}, {"n": 3}]


async def test_the_option_comes_from_the_environment_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WIRELOOM_PEER_EVENTS", "open")
    async with TestServer(application()) as server, AsyncExitStack() as stack:
        ws, _ = await opened(stack, server)
        await ws.send_json({"type": "user", "root_ids": [PUBLIC_ROOT_ID], "data": {"n": 4}})
        assert await heard(ws) == [{"n": 4}]


# -- an application's own ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", EVENTS)
async def test_a_policy_is_asked_once_an_event_with_each_id_once_in_order(kind: str) -> None:
    allow = Asked()
    async with TestServer(application(allow)) as server, AsyncExitStack() as stack:
        ws, data = await opened(stack, server)
        allow.calls.clear()
        await ws.send_json(EVENTS[kind](["b", "a", "b", "c", "a"]))
        await heard(ws)
        assert allow.calls == [(kind, ["b", "a", "c"])]
        assert {connection.client_id for connection in allow.connections} == {data["client_id"]}


@pytest.mark.parametrize("peer_events", ["guarded", "open"])
@pytest.mark.parametrize("kind", EVENTS)
async def test_what_a_policy_refuses_is_told_and_reaches_nobody(kind: str, peer_events: str) -> None:
    allow = Asked(kind)
    app = application(allow, peer_events=peer_events)
    async with TestServer(app) as server, AsyncExitStack() as stack:
        login = await register(app)
        ws, data = await opened(stack, server, login)
        before = app.hub.publications
        ids = [data["client_id"], data["channel_id"], login.user.root_id, "room"]
        await ws.send_json({**EVENTS[kind](ids), "id": 3})
        assert await heard(ws) == [{"type": kind, "error": "Not allowed", "id": 3}]
        assert app.hub.publications == before
        assert app.hub.count("room") == 0


async def test_a_policy_stands_in_place_of_the_option() -> None:
    app = application(Asked(), peer_events="guarded")
    async with TestServer(app) as server, AsyncExitStack() as stack:
        ws, _ = await opened(stack, server)
        await ws.send_json({"type": "user", "root_ids": [PUBLIC_ROOT_ID], "data": {"n": 1}})
        assert await heard(ws) == [{"n": 1}]


async def test_a_policy_is_not_asked_about_what_addresses_nobody() -> None:
    allow = Asked()
    app = application(allow)

    @app.event("run")
    async def run() -> int:
        return 1

    async with TestServer(app) as server, AsyncExitStack() as stack:
        ws, _ = await opened(stack, server)
        allow.calls.clear()
        for event in (
            {"type": "connection"},
            {"type": "walker", "walker": "run"},
            {"type": "change_user"},
            {"type": "unsubscribe", "channel_ids": ["a"]},
            {"type": "user", "root_ids": []},
            {"type": "user", "root_ids": ["a"], "data": 5},
        ):
            await ws.send_json(event)
        await heard(ws)
        assert allow.calls == []


async def test_the_channel_of_the_query_is_subscribed_to_only_where_the_policy_lets_it() -> None:
    allow = Asked()
    async with TestServer(application(allow)) as server, AsyncExitStack() as stack:
        await opened(stack, server, query="?channel_id=a&channel_id=b")
        assert allow.calls == [("subscribe", ["b"])]
        allow.calls.clear()
        await opened(stack, server)  # its own channel is nobody else's business
        assert allow.calls == []


async def test_a_refusal_at_connect_gives_another_channel_and_says_so() -> None:
    allow = Asked("subscribe")
    app = application(allow)
    async with TestServer(app) as server, AsyncExitStack() as stack:
        ws, data = await opened(stack, server, query="?channel_id=secret")
        assert data["channel_error"] == "Not allowed"
        assert data["channel_id"] != "secret"
        assert app.hub.count("secret") == 0
        assert app.hub.count(data["channel_id"]) == 1
        await app.hub.publish("secret", {"n": 1})
        assert await heard(ws) == []
        await ws.send_json({"type": "connection"})
        assert [value["data"] for value in await heard(ws)] == [
            {name: data[name] for name in ("client_id", "root_id", "channel_id")}
        ]


async def test_the_user_is_known_when_the_policy_is_asked_at_connect() -> None:
    users: list[Any] = []

    async def allow(connection: Connection, kind: str, ids: Sequence[str]) -> bool:
        users.append(connection.user.username if connection.user is not None else None)
        return connection.user is not None

    app = application(allow)
    async with TestServer(app) as server, AsyncExitStack() as stack:
        _, data = await opened(stack, server, await register(app), query="?channel_id=a")
        assert (users, data["channel_id"]) == (["alice"], "a")
        assert "channel_error" not in data


async def test_a_policy_that_raises_refuses_with_an_id_and_the_connection_lives(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def allow(connection: Connection, kind: str, ids: Sequence[str]) -> bool:
        raise ValueError("secret")

    app = application(allow)
    async with TestServer(app) as server, AsyncExitStack() as stack:
        ws, data = await opened(stack, server)
        before = app.hub.publications
        await ws.send_json({"type": "client", "client_ids": [data["client_id"]], "data": {"n": 1}})
        [answer] = await heard(ws)
        assert answer["type"] == "error"
        assert "secret" not in json.dumps(answer)
        assert answer["error"]["id"] in caplog.text
        assert app.hub.publications == before


async def test_a_login_that_ends_while_the_policy_thinks_at_connect_harms_nobody() -> None:
    """The token is revoked between the login and the connection's first frame."""
    logins: dict[str, Login] = {}

    async def allow(connection: Connection, kind: str, ids: Sequence[str]) -> bool:
        if "now" in ids:
            assert app.identity is not None
            await app.identity.logout(logins["alice"].user)
        return True

    app = application(allow)
    async with TestServer(app) as server, AsyncExitStack() as stack:
        alice = logins["alice"] = await register(app)
        first, _ = await opened(stack, server, alice)
        ws, data = await opened(stack, server, alice, query="?channel_id=now")
        later, _ = await opened(stack, server, await register(app, "bob"))
        assert data["channel_id"] == "now"
        assert [value["data"]["auth_error"] for value in await heard(first)] == ["Token revoked"]
        for each in (first, ws):
            await each.send_json({"type": "connection"})
            assert (await heard(each))[-1]["data"]["root_id"] == PUBLIC_ROOT_ID
        assert await heard(later) == []
        assert len(app.hub.logins) == 1


async def test_another_user_hears_only_the_channels_that_the_policy_lets_it_hear() -> None:
    async def members_only(connection: Connection, kind: str, ids: Any) -> bool:
        return kind == "subscribe" and (connection.user is not None or not any("secret" in name for name in ids))

    app = application(members_only)
    async with TestServer(app) as server:
        login = await register(app)
        bearer = {"Authorization": f"Bearer {login.token}"}
        async with server.websocket("/websocket?channel_id=secret-own", headers=bearer) as ws:
            assert (await ws.receive_json())["data"]["channel_id"] == "secret-own"
            await ws.send_json({"type": "subscribe", "channel_ids": ["secret", "open"]})
            await ws.receive_json()
            await ws.send_json({"type": "change_user"})
            data = (await ws.receive_json())["data"]
            assert data["channel_error"] == "Not allowed"
            assert data["channel_id"] != "secret-own"
            [connection] = app.hub.connections()
            assert connection.channels == {"open", data["channel_id"]}


async def test_the_end_of_a_login_ends_what_a_policy_let_it_hear() -> None:
    async def members_only(connection: Connection, kind: str, ids: Any) -> bool:
        return connection.user is not None

    app = application(members_only)
    async with TestServer(app) as server:
        login = await register(app)
        bearer = {"Authorization": f"Bearer {login.token}"}
        async with server.websocket("/websocket?channel_id=secret", headers=bearer) as ws:
            await ws.receive_json()
            await server.http.post("/user/logout", headers=bearer)
            data = (await ws.receive_json())["data"]
            assert data["auth_error"] == "Token revoked"
            await app.hub.publish("secret", {"for": "members"})
            await app.hub.publish(data["channel_id"], {"for": "everyone"})
            assert await ws.receive_json() == {"for": "everyone"}


async def test_a_policy_that_had_another_user_before_it_is_asked_again() -> None:
    asked: list[bool] = []
    logged_out = asyncio.Event()

    async def slow(connection: Connection, kind: str, ids: Any) -> bool:
        was_logged_in = connection.user is not None
        asked.append(was_logged_in)
        if len(asked) == 1:
            await logged_out.wait()
        return was_logged_in

    app = application(slow)
    async with TestServer(app) as server:
        login = await register(app)
        bearer = {"Authorization": f"Bearer {login.token}"}
        async with server.websocket("/websocket", headers=bearer) as ws:
            await ws.receive_json()
            await ws.send_json({"type": "subscribe", "channel_ids": ["staff"]})
            await server.http.post("/user/logout", headers=bearer)
            assert (await ws.receive_json())["data"]["auth_error"] == "Token revoked"
            logged_out.set()
            assert await ws.receive_json() == {"type": "subscribe", "error": "Not allowed"}
            [connection] = app.hub.connections()
            assert "staff" not in connection.channels
            assert asked == [True, False]


async def test_a_policy_that_fails_lets_another_user_hear_nothing_and_is_told_with_the_events_id() -> None:
    async def failing(connection: Connection, kind: str, ids: Any) -> bool:
        if connection.user is None:
            raise ValueError("the database is away")
        return True

    app = application(failing)
    async with TestServer(app) as server:
        login = await register(app)
        async with server.websocket("/websocket", headers={"Authorization": f"Bearer {login.token}"}) as ws:
            await ws.receive_json()
            await ws.send_json({"type": "subscribe", "channel_ids": ["staff"]})
            await ws.receive_json()
            await ws.send_json({"type": "change_user", "id": 7})
            answer = await ws.receive_json()
            assert (answer["error"]["code"], answer["id"]) == ("INTERNAL_ERROR", 7)
            [connection] = app.hub.connections()
            assert "staff" not in connection.channels


async def test_who_leaves_its_own_channel_gets_another_and_nobody_is_told_of_a_refusal() -> None:
    async with TestServer(application()) as server, server.websocket("/websocket?channel_id=lobby") as ws:
        await ws.receive_json()
        await ws.send_json({"type": "unsubscribe", "channel_ids": ["lobby"]})
        assert await ws.receive_json() == {"type": "unsubscribed", "channel_ids": ["lobby"]}
        await ws.send_json({"type": "change_user"})
        data = (await ws.receive_json())["data"]
        assert data["channel_id"] != "lobby"
        assert "channel_error" not in data


async def test_a_login_whose_end_nobody_told_is_found_to_have_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wireloom.storage._CHECK_SECONDS", 0.05)
    app = application()
    async with TestServer(app) as server:
        login = await register(app)
        bearer = {"Authorization": f"Bearer {login.token}"}
        async with server.websocket("/websocket", headers=bearer) as ws:
            await ws.receive_json()
            assert app.identity is not None
            monkeypatch.setattr(app.identity, "on_revoked", lambda user_id, token_id: None)
            await server.http.post("/user/logout", headers=bearer)
            assert (await ws.receive_json())["data"]["auth_error"] == "Token revoked"


async def test_a_client_id_is_known_to_other_processes_before_the_client_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app, calls = application(), []
    async with TestServer(app) as server:

        async def settle() -> None:
            calls.append("settle")

        monkeypatch.setattr(app.hub.backplane, "subscribe", lambda topic: calls.append(topic.partition(":")[0]))
        monkeypatch.setattr(app.hub.backplane, "settle", settle)
        async with server.websocket("/websocket") as ws:
            await ws.receive_json()
            assert {"client", "channel", "user"} <= set(calls[: calls.index("settle")])


async def test_one_event_sends_only_so_much_in_all() -> None:
    async with TestServer(application()) as server, server.websocket("/websocket") as ws:
        await ws.receive_json()
        ids = [f"nobody {number}" for number in range(1000)]
        await ws.send_json({"type": "client", "client_ids": ids, "data": {"x": "y" * 20_000}, "id": 1})
        answer = await ws.receive_json()
        assert (answer["error"]["code"], answer["error"]["path"], answer["id"]) == ("INVALID_EVENT", "$.data", 1)
        await ws.send_json({"type": "client", "client_ids": ids[:100], "data": {"x": "y" * 20_000}})
        assert await heard(ws) == []
