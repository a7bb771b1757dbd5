"""POST /notify: publications for services in any language, with an API key."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from wireloom import App
from wireloom.faces import notify as notify_module
from wireloom.faces.notify import notify_operation
from wireloom.identity.login import Login
from wireloom.testing import TestServer, TestWebSocket

pytestmark = pytest.mark.anyio


async def heard(ws: TestWebSocket) -> list[str]:
    """Everything that came before the answer to an event sent now."""
    await ws.send_json({"type": "connection", "id": "so far"})
    texts: list[str] = []
    while not (text := await ws.receive_text()).endswith('"id":"so far"}'):
        texts.append(text)
    return texts


class Service:
    """A server with a key, a logged-in listener, and what it is known by."""

    def __init__(self, server: TestServer, login: Login, key: Any, ws: TestWebSocket, data: Any) -> None:
        self.server = server
        self.login = login
        self.key = key
        self.ws = ws
        self.client_id: str = data["client_id"]
        self.root_id: str = data["root_id"]

    async def post(self, body: Any, key: str | None = None) -> Any:
        headers = {"X-API-Key": (self.key.api_key if key is None else key).encode("latin-1")}
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.server.http.post("/notify", content=content, headers=headers)


async def started(stack: AsyncExitStack) -> Service:
    app = App(database="sqlite://")
    app.events()
    server = await stack.enter_async_context(TestServer(app))
    assert app.identity is not None
    login = await app.identity.register({"username": "alice"}, "password1")
    key = await app.identity.create_api_key(login.user, "service")
    headers = {"Authorization": f"Bearer {login.token}"}
    ws = await stack.enter_async_context(server.websocket("/websocket?channel_id=room", headers=headers))
    return Service(server, login, key, ws, (await ws.receive_json())["data"])


def require_refusal(reply: Any, status: int, code: str) -> Any:
    """The REST envelope of an error; gives the error."""
    body = reply.json()
    assert reply.status_code == status, reply.text
    assert reply.headers["content-type"] == "application/json"
    error = body.pop("error")
    assert body == {"ok": False, "type": "error", "data": None, "meta": {"extra": {"http_status": status}}}
    assert error["code"] == code
    assert error["message"]
    return error


def require_count(reply: Any, count: int) -> None:
    """202 and how many publications were made."""
    assert reply.status_code == 202, reply.text
    assert reply.json() == {
        "ok": True,
        "type": "response",
        "data": {"publications": count},
        "error": None,
        "meta": {"extra": {"http_status": 202}},
    }


# -- the key -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["", "nonsense", "x" * 10_000, "ü\x80"])
async def test_without_a_good_key_it_is_401_and_the_body_is_not_looked_at(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Any] = []

    async def read_body(request: Any, limits: Any) -> bytes:
        read.append(request)
        return b""

    monkeypatch.setattr(notify_module, "read_body", read_body)
    async with AsyncExitStack() as stack:
        service = await started(stack)
        before = service.server.app.hub.publications
        for body in ({"channels": ["room"], "data": {}}, b"{", b""):
            require_refusal(await service.post(body, key), 401, "UNAUTHORIZED")
        assert read == []
        assert service.server.app.hub.publications == before


async def test_without_the_header_it_is_401() -> None:
    async with AsyncExitStack() as stack:
        service = await started(stack)
        body = {"channels": ["room"], "data": {}}
        require_refusal(await service.server.http.post("/notify", json=body), 401, "UNAUTHORIZED")
        token = {"Authorization": f"Bearer {service.login.token}"}  # a user's token is no key
        require_refusal(await service.server.http.post("/notify", json=body, headers=token), 401, "UNAUTHORIZED")
        assert await heard(service.ws) == []


async def test_a_revoked_an_expired_and_an_altered_key_are_401() -> None:
    async with AsyncExitStack() as stack:
        service = await started(stack)
        identity: Any = service.server.app.identity
        body = {"channels": ["room"], "data": {}}
        good = service.key.api_key
        altered = good[:-1] + ("a" if good[-1] != "a" else "b")
        require_refusal(await service.post(body, altered), 401, "UNAUTHORIZED")
        require_refusal(await service.post(body, good + "x"), 401, "UNAUTHORIZED")
        short = await identity.create_api_key(service.login.user, "short", expiry_days=1)
        require_count(await service.post(body, short.api_key), 1)
        clock, identity._clock = identity._clock, lambda: clock() + 2 * 24 * 3600
        require_refusal(await service.post(body, short.api_key), 401, "UNAUTHORIZED")
        identity._clock = clock
        require_count(await service.post(body), 1)
        await identity.revoke_api_key(service.key.key.key_id, service.login.user.user_id)
        require_refusal(await service.post(body), 401, "UNAUTHORIZED")
        assert await heard(service.ws) == ["{}"] * 2


async def test_a_refusal_does_not_wait_for_the_body() -> None:
    async with AsyncExitStack() as stack:
        service = await started(stack)
        reader, writer = await asyncio.open_connection("127.0.0.1", service.server.port)
        head = "POST /notify HTTP/1.1\r\nHost: x\r\nX-API-Key: no\r\nContent-Length: 1000\r\nConnection: close\r\n\r\n"
        writer.write(head.encode())
        async with asyncio.timeout(5):
            assert (await reader.readline()).split()[1] == b"401"
        writer.close()
        await writer.wait_closed()


# -- what it publishes -------------------------------------------------------------------------------------------------


async def test_one_object_reaches_users_channels_and_clients() -> None:
    async with AsyncExitStack() as stack:
        service = await started(stack)
        require_count(await service.post({"users": [service.root_id], "data": {"to": "user"}}), 1)
        require_count(await service.post({"channels": ["room"], "data": {"to": "channel"}}), 1)
        require_count(await service.post({"clients": [service.client_id], "data": {"to": "client"}}), 1)
        assert await heard(service.ws) == ['{"to": "user"}', '{"to": "channel"}', '{"to": "client"}']


async def test_a_repeated_id_is_one_publication_and_unknown_ones_count_the_same() -> None:
    async with AsyncExitStack() as stack:
        service = await started(stack)
        require_count(await service.post({"channels": ["room", "room", "nobody's"], "data": {"n": 1}}), 2)
        assert await heard(service.ws) == ['{"n": 1}']
        mixed = {"users": [service.root_id], "channels": ["room"], "clients": [service.client_id], "data": {"n": 2}}
        require_count(await service.post(mixed), 3)
        assert await heard(service.ws) == ['{"n": 2}'] * 3


async def test_a_batch_is_published_in_order() -> None:
    async with AsyncExitStack() as stack:
        service = await started(stack)
        batch = [{"channels": ["room"], "data": {"n": number}} for number in range(50)]
        batch.append({"users": [service.root_id], "clients": [service.client_id], "data": {"n": 50}})
        require_count(await service.post(batch), 52)
        numbers = [json.loads(text)["n"] for text in await heard(service.ws)]
        assert numbers == [*range(51), 50]


async def test_an_empty_batch_publishes_nothing() -> None:
    async with AsyncExitStack() as stack:
        service = await started(stack)
        require_count(await service.post([]), 0)


async def test_data_is_delivered_verbatim() -> None:
    async with AsyncExitStack() as stack:
        service = await started(stack)
        data = '{ "ü" : "\\u00fc", "big":123456789012345678901234567890, "f": 1.10e+2,\n"a":1,"a":2 }'
        require_count(await service.post(f' \n{{"data": {data} ,"channels":["room"]}}'.encode()), 1)
        require_count(await service.post(f'\t[{{"channels":["room"],"data":{data}}}]'.encode()), 1)
        assert await heard(service.ws) == [data, data]


async def test_it_is_there_only_with_the_event_socket(wireloom_server: Any) -> None:
    app = App(database="sqlite://")

    @app.websocket("/typed", auth=True)
    async def typed(message: str) -> str:
        return message

    async with wireloom_server(app) as server:
        assert (await server.http.post("/notify", json={})).status_code == 404


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"channels": [str(number) for number in range(1001)], "data": {}}, "$.channels"),
        ({"channels": ["x" * 1001], "data": {}}, "$.channels[0]"),
        ([{"channels": [f"{entry}-{number}" for number in range(500)], "data": {}} for entry in range(3)], "$"),
        ({"channels": [str(number) for number in range(1000)], "data": {"x": "y" * 20_000}}, "$"),
    ],
    ids=["targets of an entry", "a name", "targets of a batch", "bytes in all"],
)
async def test_one_request_sends_only_so_much(body: Any, path: str) -> None:
    async with AsyncExitStack() as stack:
        service = await started(stack)
        error = require_refusal(await service.post(json.dumps(body).encode()), 422, "VALIDATION_ERROR")
        assert error["path"] == path
        assert await heard(service.ws) == []


async def test_where_the_application_has_a_policy_only_administrators_keys_publish(tmp_path: Path) -> None:
    async def allow(connection: Any, kind: str, ids: Any) -> bool:
        return False

    app = App(database=f"sqlite:///{tmp_path / 'users.db'}")
    app.events(allow=allow)
    async with TestServer(app) as server:
        assert app.identity is not None
        answers = []
        for role in ("user", "admin"):
            await app.identity.add_user({"username": f"the {role}"}, "correct horse", role)
            login = await app.identity.login(f"the {role}", "correct horse")
            key = await app.identity.create_api_key(login.user, "ci")
            body = {"channels": ["news"], "data": {}}
            answers.append(await server.http.post("/notify", json=body, headers={"X-API-Key": key.api_key}))
    assert [answer.status_code for answer in answers] == [403, 202]
    assert answers[0].json()["error"]["code"] == "FORBIDDEN"


async def test_a_key_for_walkers_publishes_nothing(tmp_path: Path) -> None:
    app = App(database=f"sqlite:///{tmp_path / 'users.db'}")
    app.events()
    async with TestServer(app) as server:
        assert app.identity is not None
        login = await app.identity.register({"username": "alice"}, "correct horse")
        key = await app.identity.create_api_key(login.user, "ci", allowed_walkers=["Deploy"])
        body = {"channels": ["news"], "data": {}}
        answer = await server.http.post("/notify", json=body, headers={"X-API-Key": key.api_key})
        require_refusal(answer, 403, "FORBIDDEN")


async def test_a_body_that_does_not_come_is_not_waited_for_for_ever() -> None:
    app = App(database="sqlite://", body_timeout_seconds=0.05)
    app.events()
    async with TestServer(app) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(
            b"POST /user/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
        )
        assert b" 408 " in await asyncio.wait_for(reader.readline(), 5)
        writer.close()


async def test_another_method_is_told_which_there_is() -> None:
    async with AsyncExitStack() as stack:
        service = await started(stack)
        for method in ("GET", "PATCH"):
            answer = await service.server.http.request(method, "/notify")
            told = require_refusal(answer, 405, "METHOD_NOT_ALLOWED")
            assert (told["message"], answer.headers["allow"]) == (f"{method} is not allowed here; POST is", "POST")


@pytest.mark.parametrize(("key", "why"), [(None, "API key missing"), ("", "API key missing"), ("x", "API key invalid")])
async def test_without_a_key_it_says_what_is_wrong_with_it(key: str | None, why: str) -> None:
    async with AsyncExitStack() as stack:
        service = await started(stack)
        headers = {} if key is None else {"X-API-Key": key}
        answer = await service.server.http.post("/notify", json={}, headers=headers)
        assert require_refusal(answer, 401, "UNAUTHORIZED")["message"] == why
        assert answer.headers["cache-control"] == "no-store"


async def test_a_service_that_goes_away_amid_its_body_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    async with AsyncExitStack() as stack:
        service = await started(stack)
        _, writer = await asyncio.open_connection("127.0.0.1", service.server.port)
        head = f"POST /notify HTTP/1.1\r\nHost: x\r\nX-API-Key: {service.key.api_key}\r\nContent-Length: 9\r\n\r\n"
        writer.write(head.encode() + b"{")
        await writer.drain()
        writer.close()
        require_count(await service.post({"channels": ["room"], "data": {}}), 1)
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


async def test_payloads_and_answers_are_as_documented() -> None:
    told = notify_operation()
    assert told.body is not None and told.response is not None
    one = {"data": [1], "channels": ["room"]}
    async with AsyncExitStack() as stack:
        service = await started(stack)
        for payload in (one, [one, one]):
            jsonschema_rs.validate(told.body, payload)
            answer = await service.post(payload)
            assert answer.status_code == told.status
            jsonschema_rs.validate({**told.response, "unevaluatedProperties": False}, answer.json()["data"])
        assert not jsonschema_rs.is_valid(told.body, {**one, "extra": 1})
        refused = [await service.post({}), await service.post(b"{"), await service.post(one, key="no")]
        assert {answer.status_code for answer in refused} == {400, 401, 422} <= set(told.errors)
