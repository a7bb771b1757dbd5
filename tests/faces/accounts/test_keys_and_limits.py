"""API keys over HTTP, limits of attempts, and what goes wrong: every payload, every refusal."""

from __future__ import annotations

import json
import logging
import re
from typing import Any

import pytest
from tests.identity.kit import PASSWORD, START, WRONG

from wireloom.identity.refusal import Overloaded

from .kit import BOB, Client, Start, moment

pytestmark = pytest.mark.anyio


async def limited(client: Client, method: str, path: str, payload: Any, token: str | None = None) -> None:
    """Every endpoint says it in the same way."""
    answer = await client.raw(method, path, payload, token)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "30")
    message = "Too many failed attempts; try again in 30 s"
    assert answer.json()["error"] == {"code": "RATE_LIMITED", "message": message}


# -- too many wrong passwords ----------------------------------------------------------------------------------------


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
