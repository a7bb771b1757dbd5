"""Users and API keys over HTTP: every endpoint, every form of payload, every refusal."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import jsonschema_rs
import pytest
from starlette.applications import Starlette
from tests.identity.kit import PASSWORD, START, WRONG, Clock, Told, config, make_passwords_cheap

from wireloom.faces.accounts import account_operations, account_routes
from wireloom.identity.identity import GRACE_SECONDS, Identity
from wireloom.identity.refusal import Overloaded

pytestmark = pytest.mark.anyio

Start = Callable[..., Awaitable["Client"]]
BOB = {"username": "Bob", "password": PASSWORD}
ENDPOINTS = {
    ("POST", "/user/register"): False,
    ("POST", "/user/login"): False,
    ("GET", "/user/me"): True,
    ("POST", "/user/refresh-token"): True,
    ("PUT", "/user/password"): True,
    ("POST", "/user/logout"): True,
    ("DELETE", "/user"): True,
    ("POST", "/api-key/create"): True,
    ("GET", "/api-key/list"): True,
    ("DELETE", "/api-key/x"): True,
}
GUARDED = [endpoint for endpoint, guarded in ENDPOINTS.items() if guarded]


class Client:
    """Asks the endpoints of an identity; every answer has to be in the envelope."""

    def __init__(self, identity: Identity, clock: Clock, **options: Any) -> None:
        self.identity, self.clock = identity, clock
        self._app = Starlette(routes=account_routes(identity, config("sqlite://", **options)))
        self.from_address("127.0.0.1")

    def from_address(self, host: str | None) -> None:
        """Asks from another address, or from one that the server does not know."""
        transport = httpx.ASGITransport(self._app, client=None if host is None else (host, 1))  # type: ignore[arg-type]
        self.http = httpx.AsyncClient(transport=transport, base_url="http://test")

    async def ask(self, method: str, path: str, payload: Any = None, token: str | None = None, **more: Any) -> Any:
        """The data of an answer that went well."""
        answer = await self.raw(method, path, payload, token, **more)
        assert answer.json()["ok"], answer.text
        return answer.json()["data"]

    async def refused(self, method: str, path: str, payload: Any = None, token: str | None = None, **more: Any) -> Any:
        """Status and error of an answer that did not."""
        answer = await self.raw(method, path, payload, token, **more)
        assert not answer.json()["ok"], answer.text
        return answer.status_code, answer.json()["error"]

    async def raw(self, method: str, path: str, payload: Any = None, token: str | None = None, **more: Any) -> Any:
        headers = {**({"Authorization": f"Bearer {token}"} if token is not None else {}), **more.pop("headers", {})}
        if payload is not None:
            more["json"] = payload
        answer = await self.http.request(method, path, headers=headers, **more)
        _require_envelope(answer)
        return answer

    async def register(self, **payload: Any) -> Any:
        return await self.ask("POST", "/user/register", payload or BOB)


def _require_envelope(answer: httpx.Response) -> None:
    body = answer.json()
    assert list(body) == ["ok", "type", "data", "error", "meta"]
    assert body["meta"] == {"extra": {"http_status": answer.status_code}}
    assert answer.headers["content-type"] == "application/json" and answer.headers["cache-control"] == "no-store"
    if answer.status_code < 400:
        assert (body["ok"], body["type"], body["error"]) == (True, "response", None)
    else:
        assert (body["ok"], body["type"], body["data"]) == (False, "error", None)
        further = {"path"} if answer.status_code == 422 else {"id"} if answer.status_code == 500 else set()
        assert {"code", "message"} <= set(body["error"]) <= {"code", "message", *further}
    assert (answer.headers.get("www-authenticate") == "Bearer") == (answer.status_code == 401)


def moment(seconds: float) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.fixture
async def start(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Start]:
    make_passwords_cheap(monkeypatch)
    clients: list[Client] = []

    async def begin(**options: Any) -> Client:
        clock = Clock()
        identity = Identity(config("sqlite://", **options), clock)
        await identity.start()
        clients.append(Client(identity, clock, **options))
        return clients[-1]

    yield begin
    for client in clients:
        await client.http.aclose()
        await client.identity.stop()


@pytest.fixture
async def client(start: Start) -> Client:
    return await start()


# -- registering and logging in --------------------------------------------------------------------------------------

FORMS = [
    ({"username": "Bob", "password": PASSWORD}, {"username": "bob", "password": PASSWORD}, "Bob"),
    ({"email": "Bob@b.de", "password": PASSWORD}, {"email": "bob@b.de", "password": PASSWORD}, "Bob@b.de"),
    (
        {
            "identities": [{"type": "username", "value": "Bob"}],
            "credential": {"type": "password", "password": PASSWORD},
        },
        {
            "identity": {"type": "username", "value": "bob"},
            "credential": {"type": "password", "password": PASSWORD},
        },
        "Bob",
    ),
    (
        {
            "identities": [{"type": "email", "value": "b@b.de"}, {"type": "username", "value": "Bob"}],
            "credential": {"type": "password", "password": PASSWORD},
        },
        {
            "identity": {"type": "email", "value": "B@B.DE"},
            "credential": {"type": "password", "password": PASSWORD},
        },
        "Bob",
    ),
]


@pytest.mark.parametrize(("registering", "logging_in", "username"), FORMS)
async def test_the_forms_of_registering_and_logging_in(
    client: Client, registering: Any, logging_in: Any, username: str
) -> None:
    answer = await client.raw("POST", "/user/register", registering)
    registered = answer.json()["data"]
    assert answer.status_code == 201
    assert list(registered) == ["user_id", "root_id", "username", "role", "expires_at", "token"]
    assert registered["username"] == username and registered["role"] == "user"
    assert re.fullmatch(r"n::[0-9a-f]{24}", registered["root_id"])
    assert registered["expires_at"] == moment(START + 7 * 24 * 3600)
    client.clock.now += 1
    answer = await client.raw("POST", "/user/login", logging_in)
    logged_in = answer.json()["data"]
    assert answer.status_code == 200
    changed = {"token": logged_in["token"], "expires_at": moment(client.clock.now + 7 * 24 * 3600)}
    assert logged_in == {**registered, **changed} and logged_in["token"] != registered["token"]
    for login in (registered, logged_in):
        me = await client.ask("GET", "/user/me", token=login["token"])
        assert {**me, "token": login["token"]} == login


async def test_a_name_that_is_taken(client: Client) -> None:
    await client.register(**BOB)
    status, error = await client.refused("POST", "/user/register", {"username": "BOB", "password": WRONG})
    assert (status, error["code"]) == (400, "IDENTITY_TAKEN")


async def test_a_wrong_password_and_an_unknown_user_get_one_answer(client: Client) -> None:
    await client.register(**BOB)
    answers = [
        (await client.raw("POST", "/user/login", {"username": name, "password": WRONG})) for name in ("bob", "eve")
    ]
    assert answers[0].content == answers[1].content and answers[0].headers == answers[1].headers
    assert answers[0].status_code == 401
    assert answers[0].json()["error"] == {"code": "UNAUTHORIZED", "message": "Invalid credentials"}


@pytest.mark.parametrize(
    ("payload", "path"),
    [
        ([], "$"),
        ("text", "$"),
        (None, "$"),
        ({}, "$"),
        ({"username": "bob"}, "$.password"),
        ({"password": PASSWORD}, "$"),
        ({"username": 1, "password": PASSWORD}, "$.username"),
        ({"username": "bob", "password": 12345678}, "$.password"),
        ({"username": "bob", "password": PASSWORD, "role": "admin"}, "$.role"),
        ({"username": "", "password": PASSWORD}, "$.username"),
        ({"username": "a\0", "password": PASSWORD}, "$.username"),
        ({"username": "x" * 151, "password": PASSWORD}, "$.username"),
        ({"email": "bob", "password": PASSWORD}, "$.email"),
        ({"username": "bob", "password": ""}, "$.password"),
        ({"username": "bob", "password": "seven77"}, "$.password"),
        ({"username": "bob", "password": "x" * 1025}, "$.password"),
        ({"username": "bob", "email": "b@b.de", "password": PASSWORD}, "$.email"),
        ({"identities": [], "credential": {"type": "password", "password": PASSWORD}}, "$"),
        ({"identities": [{"type": "username", "value": "b"}]}, "$.credential"),
        ({"identities": [{"type": "username", "value": "b"}], "password": PASSWORD}, "$.identities"),
        ({"username": "b", "credential": {"type": "password", "password": PASSWORD}}, "$.credential"),
        ({"identities": [{"type": "username"}], "credential": {}}, "$.identities[0].value"),
        (
            {"identities": [{"type": "phone", "value": "1"}], "credential": {"type": "password", "password": PASSWORD}},
            "$.identities[0].type",
        ),
        (
            {"identities": [{"type": "email", "value": "b"}], "credential": {"type": "password", "password": PASSWORD}},
            "$.identities[0].value",
        ),
        (
            {
                "identities": [{"type": "username", "value": "b"}] * 2,
                "credential": {"type": "password", "password": "x"},
            },
            "$.identities[1].value",
        ),
        (
            {"identities": [{"type": "username", "value": "b"}], "credential": {"type": "key", "password": PASSWORD}},
            "$.credential.type",
        ),
        (
            {"identities": [{"type": "username", "value": "b"}], "credential": {"type": "password", "password": "x"}},
            "$.credential.password",
        ),
        (
            {"identity": {"type": "username", "value": "b"}, "credential": {"type": "password", "password": PASSWORD}},
            "$.identity",
        ),
    ],
)
async def test_payloads_that_register_nobody(client: Client, payload: Any, path: str) -> None:
    status, error = await client.refused("POST", "/user/register", content=json.dumps(payload).encode())
    assert (status, error["code"], error["path"]) == (422, "VALIDATION_ERROR", path)
    assert await client.identity.users() == []


@pytest.mark.parametrize(
    ("payload", "path"),
    [
        ({}, "$"),
        ({"username": "bob"}, "$.password"),
        ({"username": "bob", "password": ""}, "$.password"),
        ({"username": "bob", "password": "x" * 1025}, "$.password"),
        ({"username": "bob", "email": "b@b.de", "password": PASSWORD}, "$.email"),
        ({"identity": {"type": "username", "value": "bob"}, "password": PASSWORD}, "$.identity"),
        ({"identities": [], "credential": {"type": "password", "password": PASSWORD}}, "$.identities"),
    ],
)
async def test_payloads_that_log_nobody_in(client: Client, payload: Any, path: str) -> None:
    await client.register(**BOB)
    status, error = await client.refused("POST", "/user/login", payload)
    assert (status, error["code"], error["path"]) == (422, "VALIDATION_ERROR", path)


async def test_an_old_password_that_is_too_short_by_now_is_wrong_not_invalid(client: Client) -> None:
    assert (await client.refused("POST", "/user/login", {"username": "bob", "password": "short"}))[0] == 401


async def test_registration_that_is_turned_off(start: Start) -> None:
    client = await start(registration=False)
    status, error = await client.refused("POST", "/user/register", BOB)
    assert (status, error["code"]) == (403, "FORBIDDEN")


async def test_an_external_issuer_leaves_no_local_door_open(start: Start) -> None:
    client = await start(token_jwks_url="https://issuer.invalid/jwks", token_issuer="https://issuer.invalid/")
    for path in ("/user/register", "/user/login"):
        status, error = await client.refused("POST", path, BOB)
        assert (status, error["code"]) == (403, "FORBIDDEN")


# -- bodies and methods ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"", b"{", b"{}x", b"\xff", b'{"username": NaN}', b'{"username":"\\ud800"}'])
async def test_what_is_not_json(client: Client, body: bytes) -> None:
    status, error = await client.refused("POST", "/user/register", content=body)
    assert (status, error) == (400, {"code": "INVALID_JSON", "message": "Invalid JSON"})


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data", "json"])
async def test_another_media_type(client: Client, kind: str) -> None:
    more = {"content": json.dumps(BOB).encode(), "headers": {"Content-Type": kind}}
    status, error = await client.refused("POST", "/user/register", **more)
    assert (status, error["code"]) == (415, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON"])
async def test_the_media_type_may_be_written_otherwise(client: Client, kind: str) -> None:
    await client.ask("POST", "/user/register", content=json.dumps(BOB).encode(), headers={"Content-Type": kind})


async def test_a_body_that_is_too_large_is_not_read_to_its_end(client: Client) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(1000):
            sent += 64 * 1024
            yield b" " * 64 * 1024

    receive = endless()
    scope = {"type": "http", "method": "POST", "path": "/user/register", "headers": [], "query_string": b""}
    answers: list[Any] = []

    async def next_part() -> Any:
        return {"type": "http.request", "body": await anext(receive), "more_body": True}

    async def send(message: Any) -> None:
        answers.append(message)

    [route] = [route for route in account_routes(client.identity, config("")) if route.path == "/user/register"]
    await route.app(scope, next_part, send)
    assert answers[0]["status"] == 413 and json.loads(answers[1]["body"])["error"]["code"] == "TOO_LARGE"
    assert sent <= 1024 * 1024 + 64 * 1024


@pytest.mark.parametrize(("method", "path"), list(ENDPOINTS))
async def test_other_methods(client: Client, method: str, path: str) -> None:
    for other in {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} - {method}:
        answer = await client.raw(other, path)
        if other == "DELETE" and path.startswith("/api-key/"):
            continue
        assert answer.status_code == 405 and answer.headers["allow"] == method
        assert answer.json()["error"]["code"] == "METHOD_NOT_ALLOWED"


# -- tokens ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "path"), GUARDED)
async def test_who_needs_a_login(client: Client, method: str, path: str) -> None:
    token = (await client.register())["token"]
    header, payload, _ = token.split(".")
    refusals = {
        None: "Invalid or missing token",
        "nonsense": "Token invalid",
        f"{token}x": "Token invalid",
        f"{header}.{payload}.": "Token invalid",
    }
    for bad, message in refusals.items():  # and the body is not looked at first
        status, error = await client.refused(method, path, token=bad, content=b"{")
        assert (status, error) == (401, {"code": "UNAUTHORIZED", "message": message})
    status, _ = await client.refused(method, f"{path}?token={token}")
    assert status == 401
    client.clock.now += 8 * 24 * 3600
    status, error = await client.refused(method, path, token=token)
    assert (status, error["message"]) == (401, "Token expired")
    await client.identity.remove_user(await client.identity.find_user("bob"))
    client.clock.now = START
    status, error = await client.refused(method, path, token=token)
    assert (status, error["message"]) == (401, "Token revoked")


async def test_a_token_in_the_query_if_that_is_allowed(start: Start) -> None:
    client = await start(allow_token_in_query=True)
    token = (await client.register())["token"]
    assert (await client.ask("GET", f"/user/me?token={token}"))["username"] == "Bob"


async def test_me(client: Client) -> None:
    registered = await client.register()
    token = registered.pop("token")
    assert await client.ask("GET", "/user/me", token=token) == registered
    for scheme in ("bearer", "BEARER"):
        assert await client.ask("GET", "/user/me", headers={"Authorization": f"{scheme} {token}"}) == registered


async def test_refreshing(client: Client) -> None:
    old = (await client.register())["token"]
    client.clock.now += 3600
    answer = await client.raw("POST", "/user/refresh-token", token=old)
    data = answer.json()["data"]
    assert answer.status_code == 200 and data["token"] != old
    assert data["expires_at"] == moment(client.clock.now + 7 * 24 * 3600)
    client.clock.now += GRACE_SECONDS - 1
    await client.ask("GET", "/user/me", token=old)
    client.clock.now += 1
    assert (await client.refused("GET", "/user/me", token=old))[0] == 401
    await client.ask("GET", "/user/me", token=data["token"])


async def test_changing_the_password(client: Client) -> None:
    first = await client.register()
    second = await client.ask("POST", "/user/login", BOB)
    payload = {"old_password": PASSWORD, "new_password": "a new password"}
    told = Told(client.identity)
    third = await client.ask("PUT", "/user/password", payload, first["token"])
    assert set(third) == {"user_id", "root_id", "username", "role", "expires_at", "token"}
    assert told.calls == [(first["user_id"], "")]
    for login in (first, second):
        status, error = await client.refused("GET", "/user/me", token=login["token"])
        assert (status, error["message"]) == (401, "Token revoked")
    await client.ask("GET", "/user/me", token=third["token"])
    assert (await client.refused("POST", "/user/login", BOB))[0] == 401
    await client.ask("POST", "/user/login", {"username": "bob", "password": "a new password"})


@pytest.mark.parametrize(
    ("payload", "status", "path"),
    [
        ({"old_password": WRONG, "new_password": "a new password"}, 401, None),
        ({"old_password": PASSWORD, "new_password": "short"}, 422, "$.new_password"),
        ({"old_password": "", "new_password": "a new password"}, 422, "$.old_password"),
        ({"old_password": PASSWORD}, 422, "$.new_password"),
        ({"old_password": PASSWORD, "new_password": "a new password", "user": "eve"}, 422, "$.user"),
    ],
)
async def test_a_password_that_is_not_changed(client: Client, payload: Any, status: int, path: str | None) -> None:
    token = (await client.register())["token"]
    found, error = await client.refused("PUT", "/user/password", payload, token)
    assert (found, error.get("path")) == (status, path)
    await client.ask("POST", "/user/login", BOB)
    await client.ask("GET", "/user/me", token=token)


async def test_logging_out(client: Client) -> None:
    first, second = await client.register(), await client.ask("POST", "/user/login", BOB)
    told = Told(client.identity)
    assert await client.ask("POST", "/user/logout", token=first["token"]) == {}
    assert len(told.calls) == 1 and told.calls[0][0] == "" and told.calls[0][1]
    status, error = await client.refused("GET", "/user/me", token=first["token"])
    assert (status, error["message"]) == (401, "Token revoked")
    await client.ask("GET", "/user/me", token=second["token"])


async def test_deleting_oneself(client: Client) -> None:
    first, second = await client.register(), await client.ask("POST", "/user/login", BOB)
    assert (await client.refused("DELETE", "/user", {"password": WRONG}, first["token"]))[0] == 401
    status, error = await client.refused("DELETE", "/user", {}, first["token"])
    assert (status, error["path"]) == (422, "$.password")
    assert await client.ask("DELETE", "/user", {"password": PASSWORD}, first["token"]) == {}
    for login in (first, second):
        assert (await client.refused("GET", "/user/me", token=login["token"]))[0] == 401
    assert (await client.refused("POST", "/user/login", BOB))[0] == 401
    assert (await client.register())["root_id"] != first["root_id"]


# -- too many wrong passwords ----------------------------------------------------------------------------------------


async def limited(client: Client, method: str, path: str, payload: Any, token: str | None = None) -> None:
    """Every endpoint says it in the same way."""
    answer = await client.raw(method, path, payload, token)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "30")
    message = "Too many failed attempts; try again in 30 s"
    assert answer.json()["error"] == {"code": "RATE_LIMITED", "message": message}


@pytest.mark.parametrize("name", ["Bob", "nobody"])
async def test_logins_have_to_wait_whether_or_not_there_is_such_a_user(start: Start, name: str) -> None:
    client = await start(login_attempts_per_minute=2)
    await client.register()
    wrong = {"username": name, "password": WRONG}
    for _ in range(2):
        assert (await client.refused("POST", "/user/login", wrong))[0] == 401
    await limited(client, "POST", "/user/login", wrong)
    await limited(client, "POST", "/user/login", {"username": name.upper(), "password": PASSWORD})
    client.clock.now += 30
    assert (await client.raw("POST", "/user/login", {"username": name, "password": PASSWORD})).status_code in (200, 401)


@pytest.mark.parametrize(
    ("method", "path", "payload"),
    [
        ("PUT", "/user/password", {"old_password": WRONG, "new_password": "a new password"}),
        ("DELETE", "/user", {"password": WRONG}),
    ],
)
async def test_other_passwords_have_to_wait_too(start: Start, method: str, path: str, payload: Any) -> None:
    client = await start(login_attempts_per_minute=2)
    token = (await client.register())["token"]
    for _ in range(2):
        assert (await client.refused(method, path, payload, token))[0] == 401
    await limited(client, method, path, payload, token)
    await client.ask("POST", "/user/login", BOB)


async def test_addresses_are_apart_and_ipv6_is_counted_by_its_network(start: Start) -> None:
    client = await start(login_attempts_per_minute=2)
    await client.register()
    wrong = {"username": "bob", "password": WRONG}
    for host, status in (
        ("2001:db8::1", 401),
        ("2001:db8::2", 401),
        ("2001:db8::3", 429),
        ("2001:db8:0:1::1", 401),
        ("192.0.2.1", 401),
    ):
        client.from_address(host)
        assert (await client.refused("POST", "/user/login", wrong))[0] == status


async def test_a_server_without_addresses_counts_names(start: Start) -> None:
    client = await start(login_attempts_per_minute=2)
    client.from_address(None)
    for status in (401, 401, 429):
        assert (await client.refused("POST", "/user/login", {"username": "bob", "password": WRONG}))[0] == status


async def test_no_limit(start: Start) -> None:
    client = await start(login_attempts_per_minute=0)
    for _ in range(15):
        assert (await client.refused("POST", "/user/login", {"username": "bob", "password": WRONG}))[0] == 401


async def test_so_many_register_from_one_address_and_the_next_is_told_when(start: Start) -> None:
    client = await start(registrations_per_minute=2)
    taken = {"username": "bob", "password": PASSWORD}
    assert (await client.raw("POST", "/user/register", taken)).status_code == 201
    assert (await client.refused("POST", "/user/register", taken))[0] == 400  # the name is taken; it counts too
    answer = await client.raw("POST", "/user/register", {"username": "eve", "password": PASSWORD})
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "RATE_LIMITED")
    assert answer.headers["retry-after"] == "30"
    client.from_address("192.0.2.7")
    assert (await client.raw("POST", "/user/register", {"username": "eve", "password": PASSWORD})).status_code == 201
    client.from_address("127.0.0.1")
    client.clock.now += 30
    assert (await client.raw("POST", "/user/register", {"username": "ann", "password": PASSWORD})).status_code == 201


async def test_registrations_from_nowhere_are_counted_together(start: Start) -> None:
    client = await start(registrations_per_minute=1)
    client.from_address(None)
    statuses = [
        (await client.raw("POST", "/user/register", {"username": name, "password": PASSWORD})).status_code
        for name in ("ann", "bob")
    ]
    assert statuses == [201, 429]


# -- API keys --------------------------------------------------------------------------------------------------------


async def test_a_key_is_made_listed_and_revoked(client: Client) -> None:
    token = (await client.register())["token"]
    wanted = {"name": "ci", "expiry_days": 30, "allowed_walkers": ["A"], "legacy_signature": True}
    answer = await client.raw("POST", "/api-key/create", wanted, token)
    made = answer.json()["data"]
    assert answer.status_code == 201
    shown = {
        "api_key_id": made["api_key_id"],
        "name": "ci",
        "created_at": moment(START),
        "expires_at": moment(START + 30 * 24 * 3600),
        "allowed_walkers": ["A"],
        "legacy_signature": True,
    }
    assert made == {**shown, "api_key": made["api_key"], "signing_secret": made["signing_secret"]}
    key = await client.identity.check_api_key(made["api_key"])
    assert (key.signing_secret, key.user.username) == (made["signing_secret"], "Bob")
    assert await client.ask("GET", "/api-key/list", token=token) == {"api_keys": [shown]}
    assert await client.ask("DELETE", f"/api-key/{made['api_key_id']}", token=token) == {}
    assert await client.ask("GET", "/api-key/list", token=token) == {"api_keys": []}


async def test_what_a_key_is_if_nothing_is_said(client: Client) -> None:
    token = (await client.register())["token"]
    made = await client.ask("POST", "/api-key/create", {"name": "ci"}, token)
    assert (made["expires_at"], made["allowed_walkers"], made["legacy_signature"]) == (None, None, False)


@pytest.mark.parametrize(
    ("payload", "path"),
    [
        ({}, "$.name"),
        ({"name": ""}, "$.name"),
        ({"name": "ci", "expiry_days": 0}, "$.expiry_days"),
        ({"name": "ci", "expiry_days": 1.5}, "$.expiry_days"),
        ({"name": "ci", "expiry_days": 10**40}, "$.expiry_days"),
        ({"name": "ci", "allowed_walkers": "A"}, "$.allowed_walkers"),
        ({"name": "ci", "allowed_walkers": [1]}, "$.allowed_walkers[0]"),
        ({"name": "ci", "legacy_signature": "yes"}, "$.legacy_signature"),
        ({"name": "ci", "user_id": "somebody"}, "$.user_id"),
    ],
)
async def test_keys_that_cannot_be(client: Client, payload: Any, path: str) -> None:
    token = (await client.register())["token"]
    status, error = await client.refused("POST", "/api-key/create", payload, token)
    assert (status, error["code"], error["path"]) == (422, "VALIDATION_ERROR", path)


async def test_keys_of_others_are_as_if_they_were_not(client: Client) -> None:
    bob, eve = (await client.register())["token"], (await client.register(username="eve", password=PASSWORD))["token"]
    made = await client.ask("POST", "/api-key/create", {"name": "ci"}, bob)
    theirs = await client.raw("DELETE", f"/api-key/{made['api_key_id']}", token=eve)
    none = await client.raw("DELETE", "/api-key/nothing", token=eve)
    assert theirs.status_code == none.status_code == 404 and theirs.content == none.content
    assert await client.ask("GET", "/api-key/list", token=eve) == {"api_keys": []}
    await client.identity.check_api_key(made["api_key"])


# -- when things go wrong --------------------------------------------------------------------------------------------


async def test_a_bug_is_told_by_an_id_only(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: Any) -> None:
        raise RuntimeError("SELECT secret FROM table")

    monkeypatch.setattr(client.identity, "login", fail)
    with caplog.at_level(logging.ERROR):
        status, error = await client.refused("POST", "/user/login", BOB)
    assert (status, error["code"]) == (500, "INTERNAL_ERROR")
    assert error == {"code": "INTERNAL_ERROR", "message": "Internal error", "id": error["id"]}
    assert re.fullmatch("[0-9a-f]{12}", error["id"])
    assert error["id"] in caplog.text and "SELECT secret" in caplog.text
    assert PASSWORD not in caplog.text


async def test_too_many_at_once(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(*_: Any) -> None:
        raise Overloaded

    monkeypatch.setattr(client.identity, "login", full)
    answer = await client.raw("POST", "/user/login", BOB)
    assert answer.status_code == 503 and answer.headers["retry-after"]
    assert answer.json()["error"]["code"] == "OVERLOADED"


async def test_no_request_is_logged_with_its_secrets(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("", "sqlalchemy.engine", "aiosqlite", "wireloom"):
        caplog.set_level(logging.DEBUG, logger=name)
    token = (await client.register())["token"]
    made = await client.ask("POST", "/api-key/create", {"name": "ci"}, token)
    await client.refused("POST", "/user/login", {"username": "bob", "password": WRONG})
    await client.refused("GET", "/user/me", token=f"{token}x")
    await client.refused("POST", "/user/login", content=json.dumps({"username": "b", "password": [WRONG]}).encode())
    for secret in (token, made["api_key"], made["signing_secret"], PASSWORD, WRONG):
        assert secret not in caplog.text


# -- documents ---------------------------------------------------------------------------------------------------------


def test_the_documents_tell_of_every_endpoint() -> None:
    told = {(each.method, each.path.replace("{key_id}", "x")): each.auth is not None for each in account_operations()}
    assert told == ENDPOINTS


async def test_answers_and_payloads_are_as_documented(start: Start) -> None:
    client = await start()
    told = {(each.method, each.path): each for each in account_operations()}

    async def ask(method: str, path: str, template: str = "", payload: Any = None, token: str | None = None) -> Any:
        operation = told[method, template or path]
        assert (operation.body is None) == (payload is None)
        if operation.body is not None:
            jsonschema_rs.validate(operation.body, payload)
        answer = await client.raw(method, path, payload, token)
        assert answer.status_code == operation.status
        data = answer.json()["data"]
        check = {**operation.response, "unevaluatedProperties": False} if operation.response else {}
        jsonschema_rs.validate(check, data)
        return data

    token = (await ask("POST", "/user/register", payload=BOB))["token"]
    await ask("POST", "/user/login", payload={"identity": {"type": "username", "value": "Bob"}, "credential": {"type": "password", "password": PASSWORD}})  # fmt: skip  # noqa: E501
    await ask("GET", "/user/me", token=token)
    key = await ask("POST", "/api-key/create", payload={"name": "k", "expiry_days": 3}, token=token)
    assert (await ask("GET", "/api-key/list", token=token))["api_keys"] != []
    await ask("DELETE", f"/api-key/{key['api_key_id']}", "/api-key/{key_id}", token=token)
    token = (await ask("POST", "/user/refresh-token", token=token))["token"]
    passwords = {"old_password": PASSWORD, "new_password": PASSWORD + "!"}
    token = (await ask("PUT", "/user/password", payload=passwords, token=token))["token"]
    await ask("POST", "/user/logout", token=token)
    token = (await ask("POST", "/user/login", payload={"username": "Bob", "password": PASSWORD + "!"}))["token"]
    await ask("DELETE", "/user", payload={"password": PASSWORD + "!"}, token=token)
