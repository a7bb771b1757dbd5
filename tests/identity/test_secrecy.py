"""Nothing that was told in confidence is in any log at any level, nor in what objects show of themselves."""

from __future__ import annotations

import hashlib
import hmac
import logging
import subprocess
import sys
from typing import Any

import pytest

from tests.postgresql import POSTGRESQL_PASSWORD
from wireloom.config import Config
from wireloom.identity.api_key import NewApiKey
from wireloom.identity.identity import Identity
from wireloom.identity.refusal import CredentialsInvalid, IdentityTaken, KeyInvalid, TokenInvalid
from wireloom.identity.secret import keep_secret

from .kit import BOB, START, Make

pytestmark = pytest.mark.anyio
LOGGERS = ("", "sqlalchemy", "sqlalchemy.engine", "sqlalchemy.engine.Engine", "sqlalchemy.pool", "aiosqlite", "asyncpg")


async def use_a_webhook(identity: Identity, made: NewApiKey) -> str:
    """Sends one twice, and one with another body; gives the signature."""
    timestamp = str(int(START))
    signature = hmac.new(made.key.signing_secret.encode(), f"{timestamp}.".encode(), hashlib.sha256).hexdigest()
    headers = {"x-api-key": made.api_key, "x-webhook-timestamp": timestamp, "x-webhook-signature": signature}
    check = await identity.begin_webhook(headers, "Deploy")
    await check.verify(b"")
    for body in (b"", b"another"):
        with pytest.raises(KeyInvalid):
            await check.verify(body)
    await check.forget()
    return signature


async def use_everything(identity: Identity) -> set[str]:
    """Does all that can be done with users; gives all that must not be told."""
    first, second, wrong = "the first password", "the second password", "a wrong password"
    login = await identity.register(BOB, first)
    logins = [login, await identity.login("bob", first)]
    with pytest.raises(CredentialsInvalid):
        await identity.login("bob", wrong)
    with pytest.raises(IdentityTaken):
        await identity.register(BOB, first)
    logins.append(await identity.change_password(login.user, first, second))
    logins.append(await identity.refresh(logins[-1].user))
    await identity.authenticate(logins[-1].token)
    for token in (login.token, login.token + "x"):
        with pytest.raises(TokenInvalid):
            await identity.authenticate(token)
    made = await identity.create_api_key(logins[-1].user, "ci")
    await identity.check_api_key(made.api_key)
    with pytest.raises(KeyInvalid):
        await identity.check_api_key("wlk_not-a-key")
    signature = await use_a_webhook(identity, made)
    account = await identity.find_user("bob")
    await identity.users()
    await identity.api_keys(None)
    for shown in (login, made, made.key, account, identity, vars(identity), identity._config):
        assert not any(each.token in repr(shown) for each in logins)
        assert made.api_key not in repr(shown) and made.key.signing_secret not in repr(shown)
        assert str(account.password_hash) not in repr(shown)
    await identity.delete(logins[-1].user, second)
    store = identity._users._database
    told = {
        first,
        second,
        wrong,
        made.api_key,
        made.key.signing_secret,
        str(account.password_hash),
        "wlk_not-a-key",
        signature,
    }
    return (
        told
        | {signature}
        | {each.token for each in logins}
        | {await keep_secret(store, name) for name in ("token_secret", "key_secret")}
    )


async def test_no_log_has_a_secret(
    make: Make, database: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in LOGGERS:
        caplog.set_level(logging.DEBUG, logger=name)
    secrets = await use_everything(await make(database))
    lines = [record.getMessage() + repr(record.args) for record in caplog.records]
    # hashes of keys as well: SQL is logged by nobody, so no value that was bound is
    assert [line for line in lines if any(secret in line for secret in {*secrets, POSTGRESQL_PASSWORD})] == []
    assert not any("argon2id" in line or "wireloom_users" in line for line in lines)
    assert lines or database.startswith("postgresql"), "nothing was logged at all; is logging captured?"


async def test_an_error_of_the_database_has_no_values(make: Make, database: str) -> None:
    from sqlalchemy import insert
    from sqlalchemy.exc import IntegrityError

    from wireloom.identity.tables import settings

    identity = await make(database)
    with pytest.raises(IntegrityError) as caught:
        async with identity._users._database.writing() as connection:
            await connection.execute(insert(settings).values(name="token_secret", value="a hidden value"))
    assert "a hidden value" not in str(caught.value)


def test_the_configuration_does_not_show_the_database_and_secrets() -> None:
    shown = repr(Config(database="postgresql://u:hunter2@h/n", token_secret="hunter2" * 5))
    assert "hunter2" not in shown


@pytest.mark.parametrize(
    "module",
    ["wireloom", "wireloom.identity.identity", "wireloom.faces.accounts", "wireloom.cli.accounts", "wireloom.cli.main"],
)
def test_who_does_not_start_an_identity_does_not_pay_for_it(module: str) -> None:
    heavy = ("sqlalchemy", "jwt", "argon2", "cryptography", "aiosqlite", "asyncpg")
    code = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    done: Any = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == "[]\n"
