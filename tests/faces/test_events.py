"""The event socket (page 2): every row of the table of events, and of that of errors."""

from __future__ import annotations

import json
import re
import time
from contextlib import AsyncExitStack
from typing import Any

import pytest
from tests.faces.events import application, ask, heard, opened

from wireloom import App, ConfigError
from wireloom.core.topic import PUBLIC_ROOT_ID
from wireloom.identity.login import Login
from wireloom.testing import TestServer

pytestmark = pytest.mark.anyio


CLIENT_ID = r"\d{10}:[0-9a-f]{32}"


async def register(app: App, name: str = "alice") -> Login:
    assert app.identity is not None
    return await app.identity.register({"username": name}, "password1")


# -- the connection frame ----------------------------------------------------------------------------------------------


async def test_the_connection_frame_comes_at_once_in_the_originals_shape_and_bytes() -> None:
    async with TestServer(application()) as server, server.websocket("/websocket?channel_id=anystring") as ws:
        text = await ws.receive_text()
        shape = (
            rf'\{{"type":"connection","data":\{{"client_id":"({CLIENT_ID})","root_id":"{PUBLIC_ROOT_ID}",'
            r'"channel_id":"anystring"\}\}'
        )
        match = re.fullmatch(shape, text)
        assert match, text
        assert abs(int(match[1].partition(":")[0]) - time.time()) < 60
        assert await heard(ws) == []


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", CLIENT_ID),
        ("?channel_id=", CLIENT_ID),
        ("?channel_id=a&channel_id=", CLIENT_ID),
        ("?channel_id=&channel_id=b", "b"),
        ("?channel_id=a&channel_id=b", "b"),
        ("?channel_id=b&other=1&channel_id=a%20%2F%C3%BC", "a /ü"),
        ("?Channel_ID=a", CLIENT_ID),
    ],
)
async def test_the_last_channel_id_wins_and_an_empty_one_counts_as_none(query: str, expected: str) -> None:
    async with TestServer(application()) as server, AsyncExitStack() as stack:
        ws, data = await opened(stack, server, query=query)
        assert re.fullmatch(expected, data["channel_id"])
        assert data["channel_id"] != data["client_id"]
        await ws.send_json({"type": "channel", "channel_ids": [data["channel_id"]], "data": {"n": 1}})
        assert await heard(ws) == ['{"n":1}']


async def test_generated_ids_differ_between_connections() -> None:
    async with TestServer(application()) as server, AsyncExitStack() as stack:
        frames = [(await opened(stack, server))[1] for _ in range(5)]
        ids = [data[name] for data in frames for name in ("client_id", "channel_id")]
        assert len(set(ids)) == 10


async def test_a_connection_event_gives_the_same_frame_again_with_its_id() -> None:
    async with TestServer(application()) as server, AsyncExitStack() as stack:
        ws, data = await opened(stack, server, query="?channel_id=mine")
        assert await ask(ws, {"type": "connection"}) == {"type": "connection", "data": data}
        for event_id in ("x", "", "ü", 0, 7, -(2**60), 2**80):
            await ws.send_json({"type": "connection", "id": event_id})
            assert await ws.receive_json() == {"type": "connection", "data": data, "id": event_id}
        assert await ask(ws, {"type": "connection", "id": None}) == {"type": "connection", "data": data}


async def test_it_listens_where_the_application_says_and_only_once() -> None:
    app = App(database="sqlite://")
    app.events("/elsewhere/socket")
    with pytest.raises(ConfigError, match="already"):
        app.events()
    async with TestServer(app) as server, server.websocket("/elsewhere/socket") as ws:
        assert (await ws.receive_json())["type"] == "connection"
        assert (await server.http.get("/websocket")).status_code == 404


# -- tokens at connect -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_a_token_in_the_header_logs_in(scheme: str) -> None:
    app = application()
    async with TestServer(app) as server:
        login = await register(app)
        async with server.websocket("/websocket", headers={"authorization": f"{scheme} {login.token}"}) as ws:
            data = (await ws.receive_json())["data"]
        assert set(data) == {"client_id", "root_id", "channel_id"}
        assert data["root_id"] == login.user.root_id
        assert re.fullmatch("n::[0-9a-f]{24}", data["root_id"])
        assert data["root_id"] != PUBLIC_ROOT_ID


async def test_a_token_beside_the_bearer_subprotocol_logs_in_and_is_not_echoed() -> None:
    app = application()
    async with TestServer(app) as server:
        login = await register(app)
        async with server.websocket("/websocket", subprotocols=["wireloom.bearer", login.token]) as ws:
            assert ws.subprotocol == "wireloom.bearer"
            assert (await ws.receive_json())["data"]["root_id"] == login.user.root_id


@pytest.mark.parametrize("on", [False, True])
async def test_a_token_in_the_query_counts_only_where_that_is_on(on: bool) -> None:
    app = application(allow_token_in_query=on)
    async with TestServer(app) as server, AsyncExitStack() as stack:
        login = await register(app)
        _, data = await opened(stack, server, query=f"?token={login.token}&channel_id=c")
        assert data["root_id"] == (login.user.root_id if on else PUBLIC_ROOT_ID)
        assert "auth_error" not in data


@pytest.mark.parametrize("token", ["nonsense", "a.b.c", "Bearer", "é"])
async def test_a_bad_token_leaves_the_connection_public_and_tells_why(token: str) -> None:
    app = application()
    async with TestServer(app) as server:
        header = f"Bearer {token}".encode().decode("latin-1")
        async with server.websocket("/websocket?channel_id=c", headers={"Authorization": header}) as ws:
            data = (await ws.receive_json())["data"]
            assert data["root_id"] == PUBLIC_ROOT_ID
            assert data["channel_id"] == "c"
            assert isinstance(data["auth_error"], str)
            assert data["auth_error"]
            assert token not in data["auth_error"] or token == "Bearer"
            # told once: the connection frame that is asked for later is an ordinary one
            assert "auth_error" not in (await ask(ws, {"type": "connection"}))["data"]


async def test_an_expired_and_a_revoked_token_are_told_as_such() -> None:
    app = application()
    async with TestServer(app) as server, AsyncExitStack() as stack:
        identity: Any = app.identity
        clock, identity._clock = identity._clock, lambda: time.time() - 30 * 24 * 3600
        expired = await register(app)
        identity._clock = clock
        _, data = await opened(stack, server, expired)
        assert (data["root_id"], data["auth_error"]) == (PUBLIC_ROOT_ID, "Token expired")
        revoked = await register(app, "bob")
        await identity.logout(revoked.user)
        _, data = await opened(stack, server, revoked)
        assert (data["root_id"], data["auth_error"]) == (PUBLIC_ROOT_ID, "Token revoked")


# -- user, channel, client ---------------------------------------------------------------------------------------------


async def test_a_user_event_reaches_every_connection_of_those_users_and_nobody_else() -> None:
    app = application()
    async with TestServer(app) as server, AsyncExitStack() as stack:
        alice, bob, carol = [await register(app, name) for name in ("alice", "bob", "carol")]
        sender, _ = await opened(stack, server, carol)
        theirs = [(await opened(stack, server, login))[0] for login in (alice, alice, bob)]
        public, _ = await opened(stack, server)
        ids = [alice.user.root_id, bob.user.root_id, alice.user.root_id, "n::ffffffffffffffffffffffff"]
        await sender.send_json({"type": "user", "root_ids": ids, "data": {"hi": 1}})
        assert await heard(sender) == []
        assert [await heard(ws) for ws in theirs] == [['{"hi":1}']] * 3
        assert await heard(public) == []
        await sender.send_json({"type": "user", "root_ids": [carol.user.root_id], "data": {"me": 1}})
        assert await heard(sender) == ['{"me":1}']


async def test_the_public_root_reaches_those_who_are_not_logged_in() -> None:
    app = application()
    async with TestServer(app) as server, AsyncExitStack() as stack:
        sender, _ = await opened(stack, server, await register(app))
        public = [(await opened(stack, server))[0] for _ in range(2)]
        await sender.send_json({"type": "user", "root_ids": [PUBLIC_ROOT_ID], "data": {"all": 1}})
        assert await heard(sender) == []
        assert [await heard(ws) for ws in public] == [['{"all":1}']] * 2


async def test_a_channel_event_reaches_every_subscriber_once_the_sender_included() -> None:
    app = application()
    async with TestServer(app) as server, AsyncExitStack() as stack:
        sender, _ = await opened(stack, server, await register(app), query="?channel_id=a")
        both, _ = await opened(stack, server, query="?channel_id=a")
        await ask(both, {"type": "subscribe", "channel_ids": ["b"]})
        other, _ = await opened(stack, server, query="?channel_id=c")
        await sender.send_json({"type": "channel", "channel_ids": ["a", "a", "a"], "data": {"n": 1}})
        assert [await heard(ws) for ws in (sender, both, other)] == [['{"n":1}'], ['{"n":1}'], []]
        # two channels are two publications: who hears both gets both
        await sender.send_json({"type": "channel", "channel_ids": ["a", "b", "nobody"], "data": {"n": 2}})
        assert [await heard(ws) for ws in (sender, both, other)] == [['{"n":2}'], ['{"n":2}'] * 2, []]


async def test_a_client_event_reaches_those_connections_once_each_also_the_sender() -> None:
    async with TestServer(application()) as server, AsyncExitStack() as stack:
        sender, mine = await opened(stack, server)
        other, data = await opened(stack, server)
        third, _ = await opened(stack, server)
        ids = [data["client_id"], mine["client_id"], data["client_id"], "1730887348:" + "0" * 32]
        await sender.send_json({"type": "client", "client_ids": ids, "data": {"n": 1}})
        assert [await heard(ws) for ws in (sender, other, third)] == [['{"n":1}'], ['{"n":1}'], []]


async def test_kinds_are_kept_apart_whatever_a_channel_is_called() -> None:
    app = application()
    async with TestServer(app) as server, AsyncExitStack() as stack:
        login = await register(app)
        victim, data = await opened(stack, server, login)
        spy, _ = await opened(stack, server, query=f"?channel_id={login.user.root_id}")
        names = [
            data["client_id"],
            f"user:{login.user.root_id}",
            f"client:{data['client_id']}",
            "everyone:",
            "control:",
        ]
        await ask(spy, {"type": "subscribe", "channel_ids": names})
        sender, _ = await opened(stack, server, await register(app, "bob"))
        root, own = login.user.root_id, data["client_id"]
        await sender.send_json({"type": "user", "root_ids": [root], "data": {"to": "user"}})
        await sender.send_json({"type": "client", "client_ids": [own], "data": {"to": "client"}})
        await heard(sender)
        assert await heard(victim) == ['{"to":"user"}', '{"to":"client"}']
        assert await heard(spy) == []
        tries = ["everyone:", "control:", f"channel:{root}", f"user:{root}", f"client:{own}", own]
        await sender.send_json({"type": "user", "root_ids": tries, "data": {"n": 1}})
        await sender.send_json({"type": "client", "client_ids": [*tries[:-1], root], "data": {"n": 1}})
        assert await heard(sender) == []
        assert await heard(victim) == await heard(spy) == []
        await sender.send_json({"type": "channel", "channel_ids": [root, own], "data": {"n": 2}})
        assert await heard(sender) == await heard(victim) == []
        assert await heard(spy) == ['{"n":2}'] * 2


async def test_nobody_hears_what_was_for_a_connection_that_has_gone() -> None:
    async with TestServer(application()) as server, AsyncExitStack() as stack:
        sender, _ = await opened(stack, server)
        async with AsyncExitStack() as inner:
            _, gone = await opened(inner, server)
        await sender.send_json({"type": "client", "client_ids": [gone["client_id"]], "data": {"n": 1}})
        assert await heard(sender) == []


@pytest.mark.parametrize(
    "data",
    [
        "{}",
        '{ "a" :\t1 ,\n "b":[ 1,2 ] }',
        '{"ü":"€😀","e":"\\u00fc\\/\\ud83d\\ude00"}',
        '{"big":123456789012345678901234567890123456789,"float":1.10e+2,"neg":-0,"huge":1e999}',
        '{"same":1,"same":2}',
        '{"type":"user","error":"Not allowed","id":1}',
        '{"nested":' + "[" * 100 + "]" * 100 + "}",
        '{"control":"\\u0000\\b"}',
        '{"long":"' + "x" * 100_000 + '"}',
    ],
    ids=["empty", "spaces", "unicode", "numbers", "same key", "like an answer", "nested", "escapes", "long"],
)
async def test_data_is_delivered_verbatim(data: str) -> None:
    async with TestServer(application()) as server, AsyncExitStack() as stack:
        sender, mine = await opened(stack, server, query="?channel_id=c")
        text = f'{{ "data" :  {data}  , "client_ids":["{mine["client_id"]}"], "type":"client"}}'
        await sender.send_text(text)
        assert await heard(sender) == [data]
        await sender.send_bytes(f'{{"type":"channel","data":{data},"channel_ids":["c"]}}'.encode())
        assert await heard(sender) == [data]


async def test_data_that_is_missing_is_an_empty_object() -> None:
    async with TestServer(application()) as server, AsyncExitStack() as stack:
        sender, mine = await opened(stack, server)
        await sender.send_json({"type": "client", "client_ids": [mine["client_id"]]})
        assert await heard(sender) == ["{}"]


async def test_unknown_extra_keys_are_ignored() -> None:
    async with TestServer(application()) as server, AsyncExitStack() as stack:
        ws, data = await opened(stack, server)
        extra = {"more": [1], "Type": "x", "client_id": 5, "root_ids": 3}
        await ws.send_json({**extra, "type": "client", "client_ids": [data["client_id"]], "data": {"n": 1}})
        assert await heard(ws) == ['{"n":1}']
        assert (await ask(ws, {**extra, "type": "connection"}))["data"] == data
        walker = {**extra, "type": "walker", "walker": "double", "context": {"val": 2}, "response": True}
        assert await ask(ws, walker) == {"status": 200, "reports": [4]}


# -- change_user -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["{}", "Bearer {}", "bearer {}", "BEARER   {}", "  {} "])
async def test_change_user_regroups_the_connection_under_that_user(form: str) -> None:
    app = application()
    async with TestServer(app) as server, AsyncExitStack() as stack:
        login = await register(app)
        ws, data = await opened(stack, server, query="?channel_id=c")
        sender, _ = await opened(stack, server, await register(app, "bob"))
        answer = await ask(ws, {"type": "change_user", "token": form.format(login.token), "id": 1})
        assert answer == {"type": "connection", "data": {**data, "root_id": login.user.root_id}, "id": 1}
        for root_id in (login.user.root_id, PUBLIC_ROOT_ID):
            await sender.send_json({"type": "user", "root_ids": [root_id], "data": {"root": root_id}})
        await heard(sender)
        assert [json.loads(text)["root"] for text in await heard(ws)] == [login.user.root_id]
        assert app.hub.users().count(login.user.root_id) == 1


@pytest.mark.parametrize("token", [None, "", "nonsense", "Bearer nonsense", "Bearer ", " "])
async def test_change_user_without_a_good_token_regroups_under_the_public(token: str | None) -> None:
    app = application()
    async with TestServer(app) as server, AsyncExitStack() as stack:
        login = await register(app)
        ws, data = await opened(stack, server, login, query="?channel_id=c")
        await ask(ws, {"type": "subscribe", "channel_ids": ["d"]})
        sender, _ = await opened(stack, server, await register(app, "bob"))
        event = {"type": "change_user"} if token is None else {"type": "change_user", "token": token}
        answer = await ask(ws, event)
        told = answer["data"].pop("auth_error", None)
        assert answer == {"type": "connection", "data": {**data, "root_id": PUBLIC_ROOT_ID}}
        if token in (None, "", "nonsense", "Bearer nonsense"):
            assert bool(told) == bool(token)  # why it is not that user's; nothing where none was asked for
        for root_id in (login.user.root_id, PUBLIC_ROOT_ID):
            await sender.send_json({"type": "user", "root_ids": [root_id], "data": {"root": root_id}})
        await sender.send_json({"type": "channel", "channel_ids": ["c", "d"], "data": {"root": "channels"}})
        await heard(sender)
        assert [json.loads(text)["root"] for text in await heard(ws)] == [PUBLIC_ROOT_ID, "channels", "channels"]
        assert login.user.root_id not in app.hub.users()
        # and it may now do no more than the public may
        assert await ask(ws, {"type": "user", "root_ids": ["x"]}) == {"type": "user", "error": "Not allowed"}


async def test_change_user_from_one_user_to_another_takes_the_rights_of_the_other() -> None:
    app = application()
    async with TestServer(app) as server, AsyncExitStack() as stack:
        alice, bob = await register(app), await register(app, "bob")
        ws, _ = await opened(stack, server, alice)
        await ask(ws, {"type": "change_user", "token": bob.token})
        await ws.send_json({"type": "user", "root_ids": [alice.user.root_id], "data": {"to": "alice"}})
        await ws.send_json({"type": "user", "root_ids": [bob.user.root_id], "data": {"to": "bob"}})
        assert await heard(ws) == ['{"to":"bob"}']
        # the end of the login that was left does nothing any more
        assert app.identity is not None
        await app.identity.logout(alice.user)
        assert await heard(ws) == []
        await app.identity.logout(bob.user)
        told = json.loads((await heard(ws))[0])
        assert (told["data"]["root_id"], told["data"]["auth_error"]) == (PUBLIC_ROOT_ID, "Token revoked")


# -- subscribe, unsubscribe --------------------------------------------------------------------------------------------


async def test_subscribe_and_unsubscribe_are_acknowledged_and_in_force() -> None:
    app = application()
    async with TestServer(app) as server, AsyncExitStack() as stack:
        ws, data = await opened(stack, server, query="?channel_id=own")
        sender, _ = await opened(stack, server, await register(app))
        answer = await ask(ws, {"type": "subscribe", "channel_ids": ["b", "a", "b"], "id": "s"})
        assert answer == {"type": "subscribed", "channel_ids": ["b", "a"], "id": "s"}
        answer = await ask(ws, {"type": "unsubscribe", "channel_ids": ["b", "never heard"], "id": "u"})
        assert (answer["channel_ids"], answer["id"]) == (["b", "never heard"], "u")
        for name in ("a", "b", "own"):
            await sender.send_json({"type": "channel", "channel_ids": [name], "data": {"in": name}})
        await heard(sender)
        assert await heard(ws) == ['{"in":"a"}', '{"in":"own"}']
        assert (await ask(ws, {"type": "connection"}))["data"] == data


async def test_channels_are_left_with_the_connection() -> None:
    app = application()
    async with TestServer(app) as server:
        async with AsyncExitStack() as stack:
            ws, _ = await opened(stack, server, await register(app), query="?channel_id=own")
            await ask(ws, {"type": "subscribe", "channel_ids": ["a"]})
            assert [app.hub.count(name) for name in ("own", "a")] == [1, 1]
        async with AsyncExitStack() as stack:
            await opened(stack, server)
            assert [app.hub.count(name) for name in ("own", "a")] == [0, 0]
            assert app.hub.users() == []
            assert len(app.hub.logins) == 0


async def test_one_channel_too_many_is_refused_and_joins_none_of_them() -> None:
    app = application(max_channels=3)
    async with TestServer(app) as server, AsyncExitStack() as stack:
        ws, _ = await opened(stack, server, query="?channel_id=own")
        assert (await ask(ws, {"type": "subscribe", "channel_ids": ["a", "b"]}))["type"] == "subscribed"
        assert (await ask(ws, {"type": "subscribe", "channel_ids": ["own", "a"]}))["type"] == "subscribed"
        answer = await ask(ws, {"type": "subscribe", "channel_ids": ["a", "c"], "id": 5})
        assert (answer["type"], answer["error"]["code"], answer["id"]) == ("error", "TOO_MANY_CHANNELS", 5)
        assert [app.hub.count(name) for name in ("own", "a", "b", "c")] == [1, 1, 1, 0]
        await ask(ws, {"type": "unsubscribe", "channel_ids": ["a", "b"]})
        answer = await ask(ws, {"type": "subscribe", "channel_ids": ["c", "d", "e"]})
        assert answer["error"]["code"] == "TOO_MANY_CHANNELS"
        assert [app.hub.count(name) for name in ("own", "c", "d", "e")] == [1, 0, 0, 0]
