"""Users, logins and tokens, on each kind of database."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

import anyio
import pytest

from tests.identity.tokens import WEEK_SECONDS, refused
from wireloom.core.topic import PUBLIC_ROOT_ID
from wireloom.identity import identity as module
from wireloom.identity import passwords, users
from wireloom.identity.identity import Identity
from wireloom.identity.refusal import (
    CredentialsInvalid,
    FieldInvalid,
    Forbidden,
    IdentityTaken,
    NotFound,
    Overloaded,
    RateLimited,
    TokenInvalid,
)

from .kit import BOB, PASSWORD, START, WRONG, Clock, Make, Told

pytestmark = pytest.mark.anyio


# -- registering and logging in --------------------------------------------------------------------------------------


async def test_a_registered_user_is_who_its_token_says(identity: Identity) -> None:
    login = await identity.register(BOB, PASSWORD)
    user = login.user
    assert await identity.authenticate(login.token) == user
    assert re.fullmatch(r"n::[0-9a-f]{24}", user.root_id) and user.root_id != PUBLIC_ROOT_ID
    assert (user.username, user.role, user.expires_at) == ("Bob", "user", int(START) + WEEK_SECONDS)
    assert user.token_id and user.user_id


async def test_the_root_of_the_public_is_never_given(identity: Identity, monkeypatch: pytest.MonkeyPatch) -> None:
    # user id and token id ask too; the root's id is the second
    drawn = iter(["a" * 24, PUBLIC_ROOT_ID.removeprefix("n::"), "b" * 24, *(f"{n:024}" for n in range(9))])
    monkeypatch.setattr(users.secrets, "token_hex", lambda size: next(drawn))
    assert (await identity.register(BOB, PASSWORD)).user.root_id == "n::" + "b" * 24


@pytest.mark.parametrize("scheme", ["", "Bearer ", "bearer ", "BEARER  ", " bearer "])
async def test_a_token_may_have_a_scheme(identity: Identity, scheme: str) -> None:
    login = await identity.register(BOB, PASSWORD)
    assert await identity.authenticate(scheme + login.token) == login.user


@pytest.mark.parametrize("name", ["Bob", "bob", "BOB", "ＢＯＢ", "bob@example.org", "BOB@Example.org"])
async def test_every_name_logs_in_in_any_case(identity: Identity, name: str) -> None:
    registered = await identity.register({"username": "Bob", "email": "Bob@example.org"}, PASSWORD)
    login = await identity.login(name, PASSWORD)
    assert await identity.authenticate(login.token) == login.user
    assert (login.user.user_id, login.user.root_id) == (registered.user.user_id, registered.user.root_id)
    assert login.user.token_id != registered.user.token_id


async def test_who_has_no_username_is_called_by_the_address(identity: Identity) -> None:
    assert (await identity.register({"email": "bob@example.org"}, PASSWORD)).user.username == "bob@example.org"


@pytest.mark.parametrize(
    "names",
    [
        {"username": "Bob"},
        {"username": " bob "},
        {"username": "bob@example.org"},
        {"email": "BOB@example.org"},
        {"username": "new", "email": "bob@example.org"},
        {"username": "BOB", "email": "new@example.org"},
    ],
)
async def test_a_name_belongs_to_one_user(identity: Identity, names: dict[str, str]) -> None:
    await identity.register({"username": "bob", "email": "bob@example.org"}, PASSWORD)
    with pytest.raises(IdentityTaken):
        await identity.register(names, WRONG)
    assert len(await identity.users()) == 1
    with pytest.raises(CredentialsInvalid):
        await identity.login("new", WRONG)


async def test_of_many_who_want_a_name_at_once_one_gets_it(identity: Identity) -> None:
    outcomes: list[str] = []

    async def register() -> None:
        try:
            await identity.register(BOB, PASSWORD)
            outcomes.append("registered")
        except IdentityTaken:
            outcomes.append("taken")

    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(register)
    assert sorted(outcomes) == ["registered", *["taken"] * 7]


@pytest.mark.parametrize(
    ("names", "password", "field"),
    [
        ({"username": ""}, PASSWORD, "username"),
        ({"email": "bob"}, PASSWORD, "email"),
        ({"phone": "1"}, PASSWORD, "type"),
        ({}, PASSWORD, "identities"),
        (BOB, "", "password"),
        (BOB, "seven77", "password"),
        (BOB, "x" * 1025, "password"),
    ],
)
async def test_absurd_values_are_refused(make: Make, names: dict[str, str], password: str, field: str) -> None:
    identity = await make()
    with pytest.raises(FieldInvalid) as caught:
        await identity.register(names, password)
    assert caught.value.field == field
    assert await identity.users() == []


async def test_a_wrong_password_and_an_unknown_user_get_the_same_answer_for_the_same_work(
    identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    await identity.register(BOB, PASSWORD)
    verified: list[tuple[str, str]] = []
    verify = passwords.Passwords._verify

    def watch(self: passwords.Passwords, stored: str, password: str) -> bool:
        verified.append((stored.rpartition("$")[0].rpartition("$")[0], password))  # all but salt and hash
        return verify(self, stored, password)

    monkeypatch.setattr(passwords.Passwords, "_verify", watch)
    messages = []
    for name in ("bob", "nobody"):
        with pytest.raises(CredentialsInvalid) as caught:
            await identity.login(name, WRONG)
        messages.append((caught.value.code, caught.value.message))
    assert messages == [("UNAUTHORIZED", "Invalid credentials")] * 2
    assert verified == [("$argon2id$v=19$m=8,t=1,p=1", WRONG)] * 2


async def test_a_password_is_one_however_its_letters_are_composed(make: Make) -> None:
    identity = await make()
    await identity.register(BOB, "caf\u00e9 au lait")
    await identity.login("bob", "cafe\u0301 au lait")


async def test_an_old_hash_is_renewed_at_login(identity: Identity, monkeypatch: pytest.MonkeyPatch) -> None:
    await identity.register(BOB, PASSWORD)
    old = (await identity.find_user("bob")).password_hash
    await identity.login("bob", PASSWORD)
    assert (await identity.find_user("bob")).password_hash == old
    identity._passwords._hasher = passwords.PasswordHasher(2, 16, 1)
    await identity.login("bob", PASSWORD)
    new = (await identity.find_user("bob")).password_hash
    assert new is not None and new.startswith("$argon2id$v=19$m=16,t=2,p=1$")
    await identity.login("bob", PASSWORD)


async def test_registration_can_be_turned_off(make: Make) -> None:
    identity = await make(registration=False)
    with pytest.raises(Forbidden):
        await identity.register(BOB, PASSWORD)
    await identity.add_user(BOB, PASSWORD)
    await identity.login("bob", PASSWORD)


# -- tokens ----------------------------------------------------------------------------------------------------------


async def test_a_token_expires(make: Make, clock: Clock) -> None:
    identity = await make(token_lifetime_seconds=100)
    login = await identity.register(BOB, PASSWORD)
    clock.now = START + 99.7
    await identity.authenticate(login.token)
    clock.now = int(START) + 100
    assert await refused(identity, login.token) == "Token expired"


async def test_tokens_survive_a_restart(make: Make, file_url: str) -> None:
    first = await make(file_url)
    login = await first.register(BOB, PASSWORD)
    await first.stop()
    assert await (await make(file_url)).authenticate(login.token) == login.user


async def test_databases_in_memory_are_apart(make: Make) -> None:
    login = await (await make()).register(BOB, PASSWORD)
    assert await refused(await make(), login.token) == "Token invalid"


async def test_a_token_of_a_database_that_was_thrown_away_lets_nobody_in(make: Make) -> None:
    secret = "s" * 32
    login = await (await make(token_secret=secret)).register(BOB, PASSWORD)
    assert await refused(await make(token_secret=secret), login.token) == "Token revoked"


async def test_logout_ends_one_token(identity: Identity) -> None:
    first, second = await identity.register(BOB, PASSWORD), await identity.login("bob", PASSWORD)
    told = Told(identity)
    await identity.logout(first.user)
    assert await refused(identity, first.token) == "Token revoked"
    assert await identity.authenticate(second.token) == second.user
    assert told.calls == [("", first.user.token_id)]


async def test_another_password_ends_all_tokens_but_the_new_one(identity: Identity) -> None:
    first, second = await identity.register(BOB, PASSWORD), await identity.login("bob", PASSWORD)
    other = await identity.register({"username": "Eve"}, PASSWORD)
    told = Told(identity)
    third = await identity.change_password(second.user, PASSWORD, WRONG)
    for token in (first.token, second.token):
        assert await refused(identity, token) == "Token revoked"
    assert await identity.authenticate(third.token) == third.user
    assert await identity.authenticate(other.token) == other.user
    assert told.calls == [(first.user.user_id, "")]
    await identity.login("bob", WRONG)
    with pytest.raises(CredentialsInvalid):
        await identity.login("bob", PASSWORD)


async def test_another_password_needs_the_old_one(identity: Identity) -> None:
    login = await identity.register(BOB, PASSWORD)
    told = Told(identity)
    with pytest.raises(CredentialsInvalid):
        await identity.change_password(login.user, WRONG, "new password")
    for old, new, field in ((PASSWORD, "short", "new_password"), ("", "new password", "old_password")):
        with pytest.raises(FieldInvalid) as caught:
            await identity.change_password(login.user, old, new)
        assert caught.value.field == field
    assert await identity.authenticate(login.token) == login.user
    assert told.calls == []


async def test_tokens_of_a_deleted_user_fail_at_once(identity: Identity) -> None:
    first, second = await identity.register(BOB, PASSWORD), await identity.login("bob", PASSWORD)
    key = await identity.create_api_key(first.user, "ci")
    told = Told(identity)
    with pytest.raises(CredentialsInvalid):
        await identity.delete(first.user, WRONG)
    await identity.authenticate(second.token)
    await identity.delete(first.user, PASSWORD)
    for token in (first.token, second.token):
        assert await refused(identity, token) == "Token revoked"
    with pytest.raises(module.NotFound):
        await identity.find_user("bob")
    assert await identity.api_keys(None) == [] and key
    assert told.calls == [(first.user.user_id, "")]
    assert (await identity.register(BOB, WRONG)).user.root_id != first.user.root_id


async def test_nothing_can_be_done_for_a_user_that_is_gone(identity: Identity) -> None:
    login = await identity.register(BOB, PASSWORD)
    await identity.remove_user(await identity.find_user("bob"))
    with pytest.raises(TokenInvalid):
        await identity.refresh(login.user)
    with pytest.raises(CredentialsInvalid):
        await identity.change_password(login.user, PASSWORD, WRONG)
    with pytest.raises(CredentialsInvalid):
        await identity.delete(login.user, PASSWORD)
    with pytest.raises(NotFound):
        await identity.create_api_key(login.user, "ci")


# -- too many wrong passwords ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["bob", "nobody"])
async def test_beyond_the_limit_no_password_is_looked_at(
    identity: Identity, clock: Clock, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    await identity.register(BOB, PASSWORD)
    for _ in range(10):
        with pytest.raises(CredentialsInvalid):
            await identity.login(name, WRONG, "192.0.2.1")
    with monkeypatch.context() as patched:
        patched.setattr(identity._passwords, "verify", None)
        patched.setattr(identity._users, "by_name", None)
        with pytest.raises(RateLimited) as caught:
            await identity.login(name, PASSWORD, "192.0.2.1")
    assert (caught.value.code, caught.value.message) == (
        "RATE_LIMITED",
        "Too many failed attempts; try again in 6 s",
    )
    if name == "bob":
        await identity.login(name, PASSWORD, "192.0.2.2")
        clock.now += 6
        await identity.login(name, PASSWORD, "192.0.2.1")


async def test_guesses_at_once_do_not_slip_past_the_limit(make: Make) -> None:
    identity = await make(login_attempts_per_minute=3)
    await identity.register(BOB, PASSWORD)
    outcomes = []

    async def guess() -> None:
        try:
            await identity.login("bob", WRONG, "192.0.2.1")
        except (CredentialsInvalid, RateLimited) as refusal:
            outcomes.append(type(refusal))

    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(guess)
    assert (outcomes.count(CredentialsInvalid), outcomes.count(RateLimited)) == (3, 17)


async def test_a_new_password_and_a_removal_are_limited_by_the_users_id(make: Make) -> None:
    identity = await make(login_attempts_per_minute=2)
    user = (await identity.register(BOB, PASSWORD)).user
    for _ in range(2):
        with pytest.raises(CredentialsInvalid):
            await identity.change_password(user, WRONG, "new password", "192.0.2.1")
    with pytest.raises(RateLimited):
        await identity.change_password(user, PASSWORD, "new password", "192.0.2.1")
    with pytest.raises(RateLimited):
        await identity.delete(user, PASSWORD, "192.0.2.1")
    await identity.login("bob", PASSWORD, "192.0.2.1")
    for _ in range(2):
        with pytest.raises(CredentialsInvalid):
            await identity.delete(user, WRONG, "192.0.2.2")
    with pytest.raises(RateLimited):
        await identity.delete(user, PASSWORD, "192.0.2.2")
    await identity.delete(user, PASSWORD, "192.0.2.3")


async def test_an_overloaded_server_counts_nothing(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    identity = await make(login_attempts_per_minute=1)
    await identity.register(BOB, PASSWORD)

    async def verify(stored: str | None, password: str) -> bool:
        raise Overloaded

    with monkeypatch.context() as patched:
        patched.setattr(identity._passwords, "verify", verify)
        for _ in range(3):
            with pytest.raises(Overloaded):
                await identity.login("bob", PASSWORD, "192.0.2.1")
    await identity.login("bob", PASSWORD, "192.0.2.1")


# -- refreshing ------------------------------------------------------------------------------------------------------


async def test_a_refreshed_token_has_a_grace(identity: Identity, clock: Clock) -> None:
    first = await identity.register(BOB, PASSWORD)
    clock.now += 1000
    told = Told(identity)
    second = await identity.refresh(first.user)
    assert second.user.expires_at == int(clock.now) + WEEK_SECONDS
    clock.now += module.GRACE_SECONDS - 1
    assert await identity.authenticate(first.token) == first.user
    clock.now += 1
    assert await refused(identity, first.token) == "Token revoked"
    assert await identity.authenticate(second.token) == second.user
    with pytest.raises(TokenInvalid):
        await identity.refresh(first.user)
    assert told.calls == []  # living connections are told by a timer, not by this clock


async def test_refreshing_again_prolongs_no_grace(identity: Identity, clock: Clock) -> None:
    first = await identity.register(BOB, PASSWORD)
    await identity.refresh(first.user)
    clock.now += module.GRACE_SECONDS / 2
    await identity.refresh(first.user)
    clock.now += module.GRACE_SECONDS / 2
    assert await refused(identity, first.token) == "Token revoked"


async def test_a_grace_is_no_longer_than_the_token(make: Make, clock: Clock) -> None:
    identity = await make(token_lifetime_seconds=10)
    first = await identity.register(BOB, PASSWORD)
    await identity.refresh(first.user)
    clock.now += 10
    assert await refused(identity, first.token) == "Token expired"


async def test_living_connections_are_told_when_the_grace_is_over(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GRACE_SECONDS", 0.0)
    identity = await make()
    first = await identity.register(BOB, PASSWORD)
    told, calls = anyio.Event(), []

    def tell(user_id: str, token_id: str) -> None:
        calls.append((user_id, token_id))
        told.set()

    identity.on_revoked = tell
    await identity.refresh(first.user)
    with anyio.fail_after(10):
        await told.wait()
    assert calls == [("", first.user.token_id)]


async def test_a_stop_ends_the_grace(make: Make) -> None:
    identity = await make()
    first, second = await identity.register(BOB, PASSWORD), await identity.login("bob", PASSWORD)
    told = Told(identity)
    for login in (first, first, second):
        await identity.refresh(login.user)
    await identity.stop()
    assert told.calls == [("", first.user.token_id), ("", second.user.token_id)]


Change = Callable[[Identity], Awaitable[object]]


async def remove(identity: Identity) -> None:
    await identity.remove_user(await identity.find_user("bob"))


async def set_password(identity: Identity) -> None:
    await identity.set_password(await identity.find_user("bob"), "new password")


# -- races -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", [remove, set_password])
@pytest.mark.parametrize("action", ["login", "change_password", "delete"])
async def test_what_a_password_allowed_is_not_done_once_it_is_another(
    identity: Identity, monkeypatch: pytest.MonkeyPatch, change: Change, action: str
) -> None:
    """The password changes, or the user goes, after it was verified and before that has its effect."""
    user = (await identity.register(BOB, PASSWORD)).user
    verify = identity._passwords.verify

    async def verify_late(stored: str | None, password: str) -> bool:
        fits = await verify(stored, password)
        await change(identity)
        return fits

    monkeypatch.setattr(identity._passwords, "verify", verify_late)
    doing = {
        "login": lambda: identity.login("bob", PASSWORD),
        "change_password": lambda: identity.change_password(user, PASSWORD, "third password"),
        "delete": lambda: identity.delete(user, PASSWORD),
    }
    with pytest.raises(CredentialsInvalid):
        await doing[action]()
    monkeypatch.undo()
    if change is set_password:
        await identity.login("bob", "new password")


async def test_a_waiting_request_that_is_cancelled_harms_nothing(identity: Identity) -> None:
    login = await identity.register(BOB, PASSWORD)
    for _ in range(20):
        with anyio.move_on_after(0.0005):
            await identity.login("bob", PASSWORD)
    assert await identity.authenticate(login.token) == login.user
