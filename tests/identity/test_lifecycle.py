"""What lasts: administration, what others keep of a user, pruning, start and stop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.identity.tokens import WEEK_SECONDS, refused
from wireloom.errors import ConfigError
from wireloom.identity import identity as module
from wireloom.identity.identity import Identity
from wireloom.identity.refusal import (
    CredentialsInvalid,
    FieldInvalid,
    NotFound,
)
from wireloom.identity.user import User

from .kit import BOB, PASSWORD, WRONG, Clock, Make, Told

pytestmark = pytest.mark.anyio


# -- administration --------------------------------------------------------------------------------------------------


async def test_users_are_administered(identity: Identity, clock: Clock) -> None:
    admin = await identity.add_user({"username": "ann"}, PASSWORD, "admin")
    clock.now += 1
    await identity.register(BOB, PASSWORD)
    assert [(user.username, user.role) for user in await identity.users()] == [("ann", "admin"), ("Bob", "user")]
    login = await identity.issue_token(admin)
    assert login.user == User(
        admin.user_id, admin.root_id, "ann", "admin", login.user.token_id, int(clock.now) + WEEK_SECONDS
    )
    assert await identity.authenticate(login.token) == login.user
    told = Told(identity)
    await identity.set_password(admin, "new password")
    assert await refused(identity, login.token) == "Token revoked"
    await identity.login("ann", "new password")
    await identity.remove_user(admin)
    assert told.calls == [(admin.user_id, "")] * 2
    with pytest.raises(NotFound):
        await identity.find_user("ann")
    with pytest.raises(FieldInvalid):
        await identity.add_user({"username": "new"}, PASSWORD, " ")


async def test_a_user_is_found_by_each_of_its_names(identity: Identity) -> None:
    user = (await identity.register({"username": "Bob", "email": "bob@example.org"}, PASSWORD)).user
    for name in ("bob", "BOB", "Bob@Example.org"):
        assert await identity.find_root(name) == User(user.user_id, user.root_id, "Bob", "user")
    assert await identity.find_root("eve") is None


async def remove_by_admin(identity: Identity, user: User) -> None:
    await identity.remove_user(await identity.find_user(user.username))


async def remove_oneself(identity: Identity, user: User) -> None:
    await identity.delete(user, PASSWORD)


Removal = Callable[[Identity, User], Awaitable[None]]


# -- what others keep ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("removal", [remove_by_admin, remove_oneself])
async def test_what_others_keep_of_a_user_goes_with_it(make: Make, database: str, removal: Removal) -> None:
    async def erase(connection: AsyncConnection, root_id: str) -> None:
        await connection.execute(text("DELETE FROM kept WHERE root_id = :root_id"), {"root_id": root_id})

    identity = await make(database, erase)
    bob, eve = [(await identity.register({"username": name}, PASSWORD)).user for name in ("bob", "eve")]
    await keep(identity, bob, eve)
    await removal(identity, bob)
    assert await kept(identity) == [eve.root_id]
    assert [account.username for account in await identity.users()] == ["eve"]


@pytest.mark.parametrize("removal", [remove_by_admin, remove_oneself])
async def test_what_others_cannot_remove_keeps_the_user(make: Make, database: str, removal: Removal) -> None:
    async def erase(connection: AsyncConnection, root_id: str) -> None:
        await connection.execute(text("DELETE FROM kept"))
        raise RuntimeError("cannot erase")

    identity = await make(database, erase)
    login = await identity.register(BOB, PASSWORD)
    made = await identity.create_api_key(login.user, "ci")
    await keep(identity, login.user)
    told = Told(identity)
    with pytest.raises(RuntimeError, match="cannot erase"):
        await removal(identity, login.user)
    assert await kept(identity) == [login.user.root_id]
    assert await identity.authenticate(login.token) == login.user
    assert await identity.check_api_key(made.api_key) == made.key
    assert told.calls == []


async def test_nothing_is_erased_of_who_stays(identity: Identity) -> None:
    """A wrong password, a password that changed since, and a user that is gone already."""
    erased = []

    async def erase(connection: AsyncConnection, root_id: str) -> None:
        erased.append(root_id)

    identity._users._erase = erase
    user = (await identity.register(BOB, PASSWORD)).user
    account = await identity.find_user("bob")
    with pytest.raises(CredentialsInvalid):
        await identity.delete(user, WRONG)
    assert not await identity._users.remove(user.user_id, "another hash")
    assert erased == []
    await identity.remove_user(account)
    await identity.remove_user(account)
    assert erased == [user.root_id]


async def keep(identity: Identity, *owners: User) -> None:
    async with identity._users._database.writing() as connection:
        await connection.execute(text("CREATE TABLE kept (root_id VARCHAR NOT NULL)"))
        for user in owners:
            await connection.execute(text("INSERT INTO kept VALUES (:root_id)"), {"root_id": user.root_id})


async def kept(identity: Identity) -> list[str]:
    async with identity._users._database.reading() as connection:
        return list((await connection.execute(text("SELECT root_id FROM kept"))).scalars())


# -- pruning ---------------------------------------------------------------------------------------------------------


async def test_expired_tokens_are_pruned_now_and_then(identity: Identity, clock: Clock) -> None:
    await identity.register(BOB, PASSWORD)
    await identity.login("bob", PASSWORD)
    clock.now += WEEK_SECONDS + 1
    await identity.login("bob", PASSWORD)  # prunes
    assert await identity._users.prune(clock.now) == 0
    await identity.login("bob", PASSWORD)  # does not: the last time was a moment ago
    assert await identity._users.prune(clock.now + WEEK_SECONDS) == 2


@pytest.mark.parametrize("seconds", [0.0, 0.5, 1e12])
async def test_an_absurd_lifetime_is_refused(seconds: float, file_url: str) -> None:
    with pytest.raises(ConfigError, match="token_lifetime_seconds"):
        await Identity(module.Config(database=file_url, token_lifetime_seconds=seconds)).start()


async def test_an_identity_may_stop_without_a_start_and_start_again(make: Make, file_url: str) -> None:
    identity = Identity(module.Config(database=file_url))
    await identity.stop()
    await identity.start()
    await identity.register(BOB, PASSWORD)
    await identity.stop()
    await identity.stop()
    await identity.start()
    await identity.login("bob", PASSWORD)
    await identity.stop()
