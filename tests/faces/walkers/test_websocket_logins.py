"""Page 3, Door 1: who a message is for, which is found out for every message anew."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from wireloom import App, Root, Walker, entry, spec
from wireloom.faces.walkers import callers
from wireloom.testing import TestServer

from .kit import PASSWORD, PUBLIC_ROOT, REFUSED, bearer, register, register_as
from .sockets import ECHOES, application, ask

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[TestServer]:
    async with TestServer(application()) as server:
        yield server


# -- who it is for -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("message", [{"message": "a"}, {}, {"message": 1}, {"unknown": 1}, [], 5])
async def test_who_is_unknown_is_refused_before_the_fields_are_looked_at(server: TestServer, message: Any) -> None:
    assert await ask(server, "/ws/SecureChat", message) == REFUSED


@pytest.mark.parametrize("bad", ["not json", '{"message":', b"\xff", '{"token":"x"'])
async def test_what_is_not_json_is_told_to_anybody(server: TestServer, bad: Any) -> None:
    assert '"code":"INVALID_JSON"' in await ask(server, "/ws/SecureChat", bad)


async def test_a_rejected_client_tries_again_on_the_same_connection(server: TestServer) -> None:
    login = await register(server.app, "retries")
    async with server.websocket("/ws/SecureChat") as ws:
        for token in (None, "", "wrong", login.token + "x", 5, None, ["x"], {"a": 1}, True):
            await ws.send_json({"message": "a", "token": token})
            assert await ws.receive_text() == REFUSED
        for token in (login.token, f"Bearer {login.token}", f"bearer {login.token}"):
            await ws.send_json({"message": "a", "token": token})
            assert await ws.receive_text() == '{"ok":true,"data":{"reports":[["a","retries"]]}}'
        await ws.send_json({"message": "a"})
        assert await ws.receive_text() == REFUSED  # a message's token is that message's


async def test_with_a_good_token_the_fields_are_looked_at(server: TestServer) -> None:
    login = await register(server.app, "fields")
    answer = json.loads(await ask(server, "/ws/SecureChat", {"token": login.token, "mesage": "b"}))
    assert answer["error"]["code"] == "VALIDATION_ERROR"
    answer = json.loads(await ask(server, "/ws/SecureChat", [login.token], headers=bearer(login)))
    assert answer["error"] == {"code": "VALIDATION_ERROR", "message": "Expected `object`, got `array`", "path": "$"}


@pytest.mark.parametrize("way", ["message", "query", "Bearer in the query", "header", "subprotocol"])
async def test_the_token_comes_by_any_of_four_ways(server: TestServer, way: str) -> None:
    login = await register(server.app, f"way of {way}".replace(" ", "-"))
    path, message, options = "/ws/SecureChat", {"message": "a"}, dict[str, Any]()
    if way == "message":
        message["token"] = login.token
    elif way == "header":
        options["headers"] = bearer(login)
    elif way == "subprotocol":
        options["subprotocols"] = ["wireloom.bearer", login.token]
    else:
        path += f"?token={login.token}" if way == "query" else f"?token=Bearer%20{login.token}"
    async with server.websocket(path, **options) as ws:
        assert ws.subprotocol == ("wireloom.bearer" if way == "subprotocol" else None)
        for _ in range(1 if way == "message" else 3):
            await ws.send_json(message)
            assert (await ws.receive_json())["data"]["reports"] == [["a", login.user.username]]


async def test_the_token_of_the_message_wins(server: TestServer) -> None:
    one, two = await register(server.app, "one"), await register(server.app, "two")
    async with server.websocket("/ws/SecureChat", headers=bearer(one)) as ws:
        for token, expected in ((two.token, "two"), (None, None), ("wrong", None), (..., "one")):
            await ws.send_json({"message": "a", **({} if token is ... else {"token": token})})
            answer = await ws.receive_json()
            assert answer.get("data") == (None if expected is None else {"reports": [["a", expected]]})


@pytest.mark.parametrize("name", ECHOES)
@pytest.mark.parametrize("token", ["whatever", "", None, 5, {"a": ["b"]}])
@pytest.mark.parametrize("kind", [str, bytes])
async def test_the_token_is_stripped_on_public_walkers_too(
    server: TestServer, name: str, token: Any, kind: Any
) -> None:
    text = json.dumps({"message": "a", "token": token})
    answer = await ask(server, f"/ws/{name}", text if kind is str else text.encode())
    assert json.loads(answer)["data"] == {"reports": [{"echo": "a", "client_id": "anonymous"}]}


async def test_a_token_whose_key_is_written_with_escapes_is_stripped_as_well(server: TestServer) -> None:
    login = await register(server.app, "escapes")
    text = f'{{"message":"a","t\\u006fken":"{login.token}"}}'
    assert json.loads(await ask(server, "/ws/SecureChat", text))["ok"] is True
    assert json.loads(await ask(server, "/ws/EchoMessage", text))["ok"] is True
    text = f'{{"\\u0074oken":"{login.token}"}}'
    assert json.loads(await ask(server, "/ws/Whose", text))["data"]["reports"] == [[login.user.root_id, "escapes"]]


async def test_the_word_token_in_a_field_is_no_token(server: TestServer) -> None:
    answer = json.loads(await ask(server, "/ws/EchoMessage", '{"message":"\\"token\\"","client_id":"token"}'))
    assert answer["data"]["reports"] == [{"echo": '"token"', "client_id": "token"}]


async def test_a_public_walker_runs_on_the_root_of_who_shows_a_token_else_on_the_shared_one(server: TestServer) -> None:
    login = await register(server.app, "shows")
    own, shared = [[login.user.root_id, "shows"]], [[PUBLIC_ROOT, None]]
    for token, expected in ((login.token, own), ("wrong", shared), (None, shared)):
        answer = json.loads(await ask(server, "/ws/Whose", {"token": token}))
        assert answer["data"]["reports"] == expected
    for header, expected in ((login, own), ("wrong", shared), (None, shared)):
        answer = json.loads(await ask(server, "/ws/Whose", {}, headers=bearer(header)))
        assert answer["data"]["reports"] == expected


async def test_roles_decide_where_they_are_named(server: TestServer) -> None:
    user, admin = await register(server.app, "nobody"), await register_as(server.app, "boss", "admin")
    assert await ask(server, "/ws/ForAdmins", {}) == REFUSED
    forbidden = '{"ok":false,"error":{"code":"FORBIDDEN","message":"Not allowed"}}'
    assert await ask(server, "/ws/ForAdmins", {}, headers=bearer(user)) == forbidden
    assert await ask(server, "/ws/ForAdmins", {}, headers=bearer(admin)) == '{"ok":true,"data":{"reports":["done"]}}'


async def test_the_subprotocol_of_a_browser_alone_is_no_login(server: TestServer) -> None:
    async with AsyncExitStack() as stack:
        for offered in (["wireloom.bearer"], ["wireloom.bearer", "wrong"]):
            ws = await stack.enter_async_context(server.websocket("/ws/SecureChat", subprotocols=offered))
            await ws.send_json({"message": "a"})
            assert await ws.receive_text() == REFUSED


# -- logins that end ---------------------------------------------------------------------------------------------------


async def end(server: TestServer, login: Any, how: str) -> None:
    """Ends a login by HTTP, as its user does, or as an administrator does."""
    identity = server.app.identity
    assert identity is not None
    if how == "logout":
        answer = await server.http.post("/user/logout", headers=bearer(login))
    elif how == "password":
        passwords = {"old_password": PASSWORD, "new_password": PASSWORD + "!"}
        answer = await server.http.put("/user/password", json=passwords, headers=bearer(login))
    elif how == "delete":
        answer = await server.http.request("DELETE", "/user", json={"password": PASSWORD}, headers=bearer(login))
    elif how == "removed":
        await identity.remove_user(await identity.find_user(login.user.username))
        return
    else:
        await identity.set_password(await identity.find_user(login.user.username), "another password")
        return
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("how", ["logout", "password", "delete", "removed", "reset"])
@pytest.mark.parametrize("way", ["message", "connection"])
async def test_a_login_that_is_ended_ends_at_once_on_open_connections(server: TestServer, how: str, way: str) -> None:
    login = await register(server.app, f"{how}-{way}")
    message = {"message": "a", **({"token": login.token} if way == "message" else {})}
    async with AsyncExitStack() as stack:
        headers = bearer(login) if way == "connection" else {}
        ws = await stack.enter_async_context(server.websocket("/ws/SecureChat", headers=headers))
        whose = await stack.enter_async_context(server.websocket("/ws/Whose", headers=bearer(login)))
        for _ in range(2):
            await ws.send_json(message)
            assert (await ws.receive_json())["ok"] is True
        await end(server, login, how)
        await ws.send_json(message)
        assert await ws.receive_text() == REFUSED
        await whose.send_text("{}")  # public: but what was meant for this user's root must not go to the public's
        assert await whose.receive_text() == REFUSED
        await whose.send_json({"token": "no token at all"})
        assert (await whose.receive_json())["data"]["reports"] == [[PUBLIC_ROOT, None]]
        again = await register(server.app, f"{how}-{way}-again")
        await ws.send_json({"message": "a", "token": again.token})
        assert (await ws.receive_json())["ok"] is True


async def test_the_logout_of_one_token_leaves_the_others(server: TestServer) -> None:
    first = await register(server.app, "twice")
    assert server.app.identity is not None
    second = await server.app.identity.login("twice", PASSWORD)
    async with server.websocket("/ws/SecureChat", headers=bearer(first)) as ws:
        await end(server, second, "logout")
        await ws.send_json({"message": "a"})
        assert (await ws.receive_json())["ok"] is True


@pytest.mark.parametrize("way", ["message", "connection"])
async def test_a_token_expires_on_an_open_connection(
    server: TestServer, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    login = await register(server.app, f"expires-{way}")
    assert login.user.expires_at is not None and server.app.identity is not None
    message = {"message": "a", **({"token": login.token} if way == "message" else {})}
    async with server.websocket("/ws/SecureChat", headers=bearer(login) if way == "connection" else {}) as ws:
        await ws.send_json(message)
        assert (await ws.receive_json())["ok"] is True
        for past, expected in ((-0.01, True), (0.0, False), (1.0, False)):
            now = login.user.expires_at + past
            monkeypatch.setattr(callers.time, "time", lambda now=now: now)
            monkeypatch.setattr(server.app.identity, "_clock", lambda now=now: now)
            await ws.send_json(message)
            assert (await ws.receive_json())["ok"] is expected
        monkeypatch.undo()
        await ws.send_json(message)
        assert (await ws.receive_json())["ok"] is True


async def test_a_token_is_not_looked_up_again_within_a_moment(
    server: TestServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    login, looked_up = await register(server.app, "often"), list[str]()
    identity = server.app.identity
    assert identity is not None
    real = identity.authenticate

    async def authenticate(token: str) -> Any:
        looked_up.append(token)
        return await real(token)

    monkeypatch.setattr(identity, "authenticate", authenticate)
    async with server.websocket("/ws/SecureChat") as ws:
        for _ in range(5):
            await ws.send_json({"message": "a", "token": login.token})
            assert (await ws.receive_json())["ok"] is True
        assert len(looked_up) == 1
        later = callers.time.monotonic() + 2
        monkeypatch.setattr(callers.time, "monotonic", lambda: later)
        await ws.send_json({"message": "a", "token": login.token})
        assert (await ws.receive_json())["ok"] is True
        assert len(looked_up) == 2


# -- broadcast ---------------------------------------------------------------------------------------------------------


@spec(protocol="websocket", broadcast=True)
class Shout(Walker):
    text: str

    @entry(Root)
    async def shout(self, here: Root) -> None:
        if self.text == "boom":
            raise RuntimeError
        assert self.request.user is not None
        self.report([self.request.user.username, self.text])


@spec(protocol="websocket", broadcast=True, public=True)
class Sing(Walker):
    text: str

    @entry(Root)
    async def sing(self, here: Root) -> None:
        self.report(self.text)


async def test_a_broadcast_reaches_every_connection_of_the_walker_exactly_once() -> None:
    async with TestServer(App([Shout, Sing], database="sqlite://")) as server, AsyncExitStack() as stack:
        users = [await register(server.app, name) for name in ("ann", "bob", "cid")]
        opening = [server.websocket("/ws/Shout", headers=bearer(user)) for user in users]
        sockets = [await stack.enter_async_context(each) for each in opening]
        singers = [await stack.enter_async_context(server.websocket("/ws/Sing")) for _ in range(2)]
        for ws in (*sockets, *singers):  # an error is for whoever caused it, and says that the connection is there
            await ws.send_text("{}")
            assert (await ws.receive_json())["error"]["path"] == "$.text"
        await sockets[0].send_json({"text": "boom"})
        assert (await sockets[0].receive_json())["error"]["code"] == "EXECUTION_ERROR"
        for index, name in enumerate(("ann", "bob")):
            await sockets[index].send_json({"text": f"by {name}"})
            for ws in sockets:
                expected = '{"ok":true,"data":{"reports":[["%s","by %s"]]}}'
                assert await ws.receive_text() == expected.replace("%s", name)
        await singers[1].send_json({"text": "la"})
        for ws in singers:
            assert await ws.receive_text() == '{"ok":true,"data":{"reports":["la"]}}'
        for ws in (*sockets, *singers):  # and nothing more came to anybody
            await ws.send_json({"text": 1})
            assert (await ws.receive_json())["error"]["path"] == "$.text"
