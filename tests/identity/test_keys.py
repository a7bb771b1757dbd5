"""API keys: made, checked, listed, revoked; what the database holds of them."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select, update

from wireloom.identity.identity import Identity
from wireloom.identity.refusal import FieldInvalid, KeyInvalid, NotFound
from wireloom.identity.tables import api_keys
from wireloom.identity.user import User

from .kit import BOB, PASSWORD, START, Clock

pytestmark = pytest.mark.anyio
DAY_SECONDS = 24 * 3600


async def refused(identity: Identity, key: str) -> str:
    with pytest.raises(KeyInvalid) as caught:
        await identity.check_api_key(key)
    return caught.value.reason


async def test_a_key_comes_back_as_it_was_made(identity: Identity) -> None:
    user = (await identity.register(BOB, PASSWORD)).user
    made = await identity.create_api_key(
        user, " ci ", expiry_days=2, allowed_walkers=["A", "B", "A"], legacy_signature=True
    )
    key = await identity.check_api_key(made.api_key)
    assert key == made.key
    assert key.user == User(user.user_id, user.root_id, "Bob", "user")
    assert (key.name, key.created_at, key.expires_at) == ("ci", START, START + 2 * DAY_SECONDS)
    assert (key.allowed_walkers, key.legacy_signature) == (("A", "B"), True)
    assert (key.allows("A"), key.allows("C")) == (True, False)
    assert len(key.signing_secret) >= 40 and len(made.api_key) >= 40


async def test_what_is_not_said(identity: Identity) -> None:
    made = await identity.create_api_key((await identity.register(BOB, PASSWORD)).user, "ci")
    key = await identity.check_api_key(made.api_key)
    assert (key.expires_at, key.allowed_walkers, key.legacy_signature, key.allows("any")) == (None, None, False, True)


async def test_no_two_keys_are_alike(identity: Identity) -> None:
    user = (await identity.register(BOB, PASSWORD)).user
    one, other = [await identity.create_api_key(user, "ci") for _ in range(2)]
    assert one.api_key != other.api_key
    assert one.key.signing_secret != other.key.signing_secret
    assert one.key.key_id != other.key.key_id


@pytest.mark.parametrize("change", ["", "{}x", "x{}", "wlk_", "{0[0]}", "é", "\ud800", "' OR 1=1 --"])
async def test_another_text_is_no_key(identity: Identity, change: str) -> None:
    made = await identity.create_api_key((await identity.register(BOB, PASSWORD)).user, "ci")
    assert await refused(identity, change.format(made.api_key)) == "API key invalid"


async def test_a_key_expires(identity: Identity, clock: Clock) -> None:
    made = await identity.create_api_key((await identity.register(BOB, PASSWORD)).user, "ci", expiry_days=1)
    clock.now += DAY_SECONDS - 1
    await identity.check_api_key(made.api_key)
    clock.now += 1
    assert await refused(identity, made.api_key) == "API key expired"


async def test_keys_are_listed_without_their_secrets(identity: Identity, clock: Clock) -> None:
    bob, eve = [(await identity.register({"username": name}, PASSWORD)).user for name in ("bob", "eve")]
    for user, name in ((bob, "first"), (eve, "hers"), (bob, "second")):
        await identity.create_api_key(user, name)
        clock.now += 1
    assert [key.name for key in await identity.api_keys(bob.user_id)] == ["first", "second"]
    keys = await identity.api_keys(None)
    assert [(key.name, key.user.username) for key in keys] == [("first", "bob"), ("hers", "eve"), ("second", "bob")]
    assert {key.signing_secret for key in keys} == {""}


async def test_a_key_is_revoked_by_its_owner(identity: Identity) -> None:
    bob, eve = [(await identity.register({"username": name}, PASSWORD)).user for name in ("bob", "eve")]
    made = await identity.create_api_key(bob, "ci")
    for key_id, user_id in ((made.key.key_id, eve.user_id), ("nothing", bob.user_id)):
        with pytest.raises(NotFound):
            await identity.revoke_api_key(key_id, user_id)
    await identity.check_api_key(made.api_key)
    await identity.revoke_api_key(made.key.key_id, bob.user_id)
    assert await refused(identity, made.api_key) == "API key invalid"
    with pytest.raises(NotFound):
        await identity.revoke_api_key(made.key.key_id, bob.user_id)
    other = await identity.create_api_key(bob, "ci")
    await identity.revoke_api_key(other.key.key_id, None)  # an administrator
    assert await refused(identity, other.api_key) == "API key invalid"


async def test_keys_outlive_a_password_but_not_their_user(identity: Identity) -> None:
    login = await identity.register(BOB, PASSWORD)
    made = await identity.create_api_key(login.user, "ci")
    login = await identity.change_password(login.user, PASSWORD, "new password")
    await identity.check_api_key(made.api_key)
    await identity.delete(login.user, "new password")
    assert await refused(identity, made.api_key) == "API key invalid"


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"name": " "}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "a\0"}, "name"),
        ({"expiry_days": 0}, "expiry_days"),
        ({"expiry_days": -1}, "expiry_days"),
        ({"expiry_days": 10**30}, "expiry_days"),
        ({"allowed_walkers": [""]}, "allowed_walkers"),
        ({"allowed_walkers": ["x" * 201]}, "allowed_walkers"),
        ({"allowed_walkers": ["a\0"]}, "allowed_walkers"),
        ({"allowed_walkers": [str(number) for number in range(1001)]}, "allowed_walkers"),
    ],
)
async def test_absurd_values(make: Any, values: dict[str, Any], field: str) -> None:
    identity = await make()
    user = (await identity.register(BOB, PASSWORD)).user
    with pytest.raises(FieldInvalid) as caught:
        await identity.create_api_key(user, **{"name": "ci", **values})
    assert caught.value.field == field
    assert await identity.api_keys(None) == []


async def test_the_database_holds_no_secret_in_the_clear(identity: Identity) -> None:
    made = await identity.create_api_key((await identity.register(BOB, PASSWORD)).user, "ci")
    async with identity._keys._database.reading() as connection:
        row = (await connection.execute(select(api_keys))).one()
    text = repr(tuple(row)).encode("unicode_escape") + row.signing_secret
    assert made.api_key.encode() not in text and made.key.signing_secret.encode() not in text
    assert made.api_key not in repr(made) and made.key.signing_secret not in repr(made)


async def test_a_signing_secret_fits_its_own_row_only(identity: Identity) -> None:
    user = (await identity.register(BOB, PASSWORD)).user
    one, other = [await identity.create_api_key(user, "ci") for _ in range(2)]
    async with identity._keys._database.writing() as connection:
        query = select(api_keys.c.signing_secret).where(api_keys.c.key_id == one.key.key_id)
        moved = update(api_keys).values(signing_secret=await connection.scalar(query))
        await connection.execute(moved.where(api_keys.c.key_id == other.key.key_id))
    await identity.check_api_key(one.api_key)
    assert "unusable" in await refused(identity, other.api_key)
