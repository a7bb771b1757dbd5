"""Users and API keys over HTTP: every endpoint, every form of payload, every refusal."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import jsonschema_rs
import pytest
from tests.identity.kit import PASSWORD, START, WRONG, Told, config

from wireloom.faces.accounts import account_operations, account_routes
from wireloom.identity.identity import GRACE_SECONDS

from .kit import BOB, Client, Start, moment

pytestmark = pytest.mark.anyio


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


# -- registering and logging in --------------------------------------------------------------------------------------


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


# -- documents ---------------------------------------------------------------------------------------------------------


def test_the_documents_tell_of_every_endpoint() -> None:
    told = {
        (each.method, each.path.replace("{api_key_id}", "x")): each.auth is not None for each in account_operations()
    }
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
    await ask("DELETE", f"/api-key/{key['api_key_id']}", "/api-key/{api_key_id}", token=token)
    token = (await ask("POST", "/user/refresh-token", token=token))["token"]
    passwords = {"old_password": PASSWORD, "new_password": PASSWORD + "!"}
    token = (await ask("PUT", "/user/password", payload=passwords, token=token))["token"]
    await ask("POST", "/user/logout", token=token)
    token = (await ask("POST", "/user/login", payload={"username": "Bob", "password": PASSWORD + "!"}))["token"]
    await ask("DELETE", "/user", payload={"password": PASSWORD + "!"}, token=token)
