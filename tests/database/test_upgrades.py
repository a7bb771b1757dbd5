"""Upgrades: from a database that version 1 made to today's, on each kind of database."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, inspect, text
from starlette.datastructures import Headers

from tests.identity.kit import PASSWORD, START, Make
from wireloom.database.database import Database
from wireloom.errors import ConfigError
from wireloom.identity.identity import Identity
from wireloom.identity.tables import IDENTITY

from .version_1 import API_KEY, SIGNING_SECRET, TOKEN, USER_ID, make_postgresql, make_sqlite

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["file", "postgresql"])
async def old(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database of version 1."""
    if request.param == "postgresql":
        return await make_postgresql(request.getfixturevalue("postgresql").make_database())
    return make_sqlite(tmp_path / "w.db")


async def upgrade(url: str, part: Any = IDENTITY) -> None:
    database = Database(url)
    await database.open()
    await database.prepare(part, upgrade=True)
    await database.close()


async def look(url: str) -> tuple[Any, ...]:
    """Version, names of tables, and the columns and indexes of each."""

    def inspected(connection: Connection) -> dict[str, Any]:
        inspector = inspect(connection)
        return {
            name: (
                [(column["name"], str(column["type"]), column["nullable"]) for column in inspector.get_columns(name)],
                inspector.get_pk_constraint(name)["constrained_columns"],
                sorted((index["name"] or "", index["column_names"]) for index in inspector.get_indexes(name)),
            )
            for name in inspector.get_table_names()
        }

    database = Database(url)
    await database.open()
    version = await database.version(IDENTITY)
    async with database.reading() as connection:
        tables = await connection.run_sync(inspected)
    await database.close()
    return version, tables


async def require_all_works(identity: Identity) -> None:
    user = await identity.authenticate(TOKEN)
    assert (user.user_id, user.username) == (USER_ID, "Bob")
    await identity.login("bob@example.org", PASSWORD)
    key = await identity.check_api_key(API_KEY)
    assert (key.user.user_id, key.allowed_walkers, key.signing_secret) == (USER_ID, ("Deploy",), SIGNING_SECRET)
    timestamp = str(int(START))
    signature = hmac.new(SIGNING_SECRET.encode(), f"{timestamp}.".encode(), hashlib.sha256).hexdigest()
    headers = Headers(
        {"X-API-Key": API_KEY, "X-Webhook-Timestamp": timestamp, "X-Webhook-Signature": f"sha256={signature}"}
    )
    await (await identity.begin_webhook(headers, "Deploy")).verify(b"")
    await identity.delete(user, PASSWORD)
    assert await identity.api_keys(None) == []


async def test_sqlite_is_upgraded_at_the_start(make: Make, tmp_path: Path) -> None:
    await require_all_works(await make(make_sqlite(tmp_path / "w.db")))


async def test_postgresql_is_upgraded_when_somebody_says_so(make: Make, postgresql: Any) -> None:
    url = await make_postgresql(postgresql.make_database())
    before = await look(url)
    with pytest.raises(ConfigError, match=r"has schema 1 of 'identity', this Wireloom needs 2: .*wireloom db upgrade"):
        await make(url)
    assert await look(url) == before and before[0] == 1
    await upgrade(url)
    await require_all_works(await make(url))


async def test_an_upgraded_database_is_as_a_new_one(old: str, make: Make, file_url: str, postgresql: Any) -> None:
    new = file_url if old.startswith("sqlite") else postgresql.make_database()
    await make(new)
    await upgrade(old)
    assert await look(old) == await look(new)


async def test_a_step_that_fails_changes_nothing(old: str, make: Make) -> None:
    def fail(connection: Connection) -> None:
        IDENTITY.steps[1](connection)
        connection.execute(text("DELETE FROM wireloom_users"))
        connection.execute(text("DELETE FROM there_is_no_such_table"))

    before = await look(old)
    with pytest.raises(ConfigError, match="there_is_no_such_table"):
        await upgrade(old, replace(IDENTITY, steps={1: fail}))
    assert await look(old) == before and before[0] == 1
    await upgrade(old)
    await require_all_works(await make(old))


async def test_steps_are_taken_one_after_another(old: str) -> None:
    taken = []
    part = replace(IDENTITY, version=4, steps={number: lambda _, n=number: taken.append(n) for number in (3, 1, 2, 4)})
    await upgrade(old, part)
    assert taken == [1, 2, 3]
    assert (await look(old))[0] == 4
    await upgrade(old, part)
    assert taken == [1, 2, 3]
