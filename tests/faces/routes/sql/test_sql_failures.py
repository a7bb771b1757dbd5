"""The SQL database of routes when something goes wrong: what is told, when it is opened, and what it must not reach."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from tests.postgresql import POSTGRESQL_PASSWORD, PostgreSQL
from tests.services import free_port

from wireloom.database.database import Database
from wireloom.errors import ConfigError
from wireloom.faces.routes.failure import Failure
from wireloom.faces.routes.stores import sql as sql_module
from wireloom.faces.routes.stores.refusals import failure_of
from wireloom.faces.routes.stores.sql import SqlStore
from wireloom.faces.routes.stores.statement import Statement

from .kit import Store

pytestmark = pytest.mark.anyio

# -- what goes wrong ---------------------------------------------------------------------------------------------------

SECRET = "pass-phrase"


async def test_constraints(users: Store) -> None:
    await users.execute("CREATE TABLE pets (owner integer NOT NULL REFERENCES users (id), age integer CHECK (age > 0))")
    broken = [
        await users.refused("INSERT INTO users (name) VALUES (?)", "ann"),
        await users.refused("INSERT INTO users (name) VALUES (?)", None),
        await users.refused("INSERT INTO pets VALUES (?, 1)", 99),
        await users.refused("INSERT INTO pets VALUES (1, ?)", -4),
    ]
    assert {code for code, _ in broken} == {"CONSTRAINT"}
    names = ["unique constraint", "name", "constraint", "constraint"]
    assert all(name.lower() in message.lower() for name, (_, message) in zip(names, broken, strict=True))
    assert not any("ann" in message or "99" in message or "-4" in message for _, message in broken)
    assert await users.query("SELECT * FROM pets") == []


async def test_a_deferred_constraint_is_told_too(users: Store) -> None:
    await users.execute("CREATE TABLE a (b integer REFERENCES users (id) DEFERRABLE INITIALLY DEFERRED)")
    assert (await users.refused("INSERT INTO a VALUES (77)"))[0] == "CONSTRAINT"
    assert await users.query("SELECT * FROM a") == []


async def test_the_database_says_what_is_wrong(store: Store) -> None:
    name = 'relation "nowhere" does not exist' if store.is_postgresql else "no such table: nowhere"
    for value in (SECRET, "", "nowhere", "to nowhere"):
        said = await store.refused("SELECT * FROM nowhere WHERE a = ?", value)
        assert said == ("SQL_ERROR", name)
    code, message = await store.refused("SELEC 1")
    assert code == "SQL_ERROR" and "syntax error" in message and "SELEC" in message


@pytest.mark.parametrize(
    ("query", "value"),
    [
        ("SELECT CAST(? AS integer)", SECRET),
        ("SELECT CAST(? AS smallint)", "99999"),
        ("SELECT CAST(? AS smallint)", 99999),
        ("SELECT CAST(CAST(? AS text) AS date)", SECRET),
        ("SELECT CAST(CAST(? AS text) AS regclass)", SECRET),
        ("INSERT INTO a VALUES (?)", f'{SECRET}"quoted"'),
        ("INSERT INTO a VALUES (?)", "x\x00" + SECRET),
    ],
)
async def test_no_message_of_postgresql_holds_a_value(
    postgresql_url: str, make_store: Callable[..., Store], query: str, value: Any
) -> None:
    store = make_store(postgresql_url)
    await store.execute("CREATE TABLE a (b integer)")
    code, message = await store.refused(query, value)
    assert code == "SQL_ERROR" and SECRET not in message and "99999" not in message


@pytest.mark.parametrize(
    "query", ["SELECT * FROM notes WHERE notes MATCH ?", "SELECT json_extract('{}', ?)", "SELECT json(?)"]
)
async def test_no_message_of_sqlite_holds_a_value(make_store: Callable[..., Store], query: str) -> None:
    store = make_store("sqlite://")
    await store.execute("CREATE VIRTUAL TABLE notes USING fts5(note)")
    for value in (f"^{SECRET}", f"({SECRET}", f"'{SECRET}'"):
        code, message = await store.refused(query, value)
        assert code == "SQL_ERROR" and SECRET not in message and "phrase" not in message


async def test_no_log_holds_a_value(users: Store, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    await users.execute("INSERT INTO users (name) VALUES (?)", SECRET)
    await users.query("SELECT * FROM users WHERE name = ?", SECRET)
    await users.refused("INSERT INTO users (name) VALUES (?)", SECRET)
    assert SECRET not in caplog.text


async def test_what_failed_is_undone_and_the_next_works(users: Store) -> None:
    await users.refused("INSERT INTO users (name) VALUES ('x'), ('ann')")
    assert await users.query_one("SELECT count(*) AS n FROM users") == {"n": 2}
    await users.execute("INSERT INTO users (name) VALUES ('x')")


async def test_a_bug_is_no_failure(users: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql_module, "as_rows", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        await users.query("SELECT 1 AS one")


class Lost(Exception):
    connection_invalidated = True


class InterfaceError(Exception):
    """As asyncpg's, of a connection that is closed."""


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (PoolTimeout("no room"), "UNAVAILABLE", "cannot reach the database: no room"),
        (ConnectionRefusedError(), "UNAVAILABLE", "cannot reach the database: ConnectionRefusedError"),
        (InterfaceError("it is closed"), "UNAVAILABLE", "cannot reach the database: it is closed"),
        (Lost("gone\nfor good"), "UNAVAILABLE", "cannot reach the database: gone"),
        (SQLAlchemyError(f"{SECRET} is wrong"), "SQL_ERROR", "… is wrong"),
    ],
)
def test_what_is_told_of_errors(error: Exception, code: str, message: str) -> None:
    failure = failure_of(error, "database", "SELECT 1", (), SECRET)
    assert (failure.code, failure.message) == (code, message)


# -- opening and closing -----------------------------------------------------------------------------------------------


async def test_no_file_before_the_first_statement(tmp_path: Path, make_store: Callable[..., Store]) -> None:
    file = tmp_path / "data" / "routes.db"
    store = make_store(f"sqlite:///{file}")
    assert not file.parent.exists()
    await store.execute("CREATE TABLE a (b integer)")
    assert file.exists()
    assert store.store.shown == f"SQLite file {file}"


async def test_a_store_can_be_stopped_and_used_again(durable: str, make_store: Callable[..., Store]) -> None:
    store = make_store(durable)
    await store.make_users()
    await store.store.stop()
    assert await store.query_one("SELECT count(*) AS n FROM users") == {"n": 2}


async def test_a_statement_is_done_though_its_caller_is_cancelled(
    durable: str, make_store: Callable[..., Store]
) -> None:
    store = make_store(durable)
    await store.make_users()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(store.execute, "INSERT INTO users (name) VALUES ('eve')")
        while not store.store._database._at_work:
            await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    await store.store.stop()
    assert await store.query_one("SELECT name FROM users WHERE name = 'eve'") == {"name": "eve"}


async def test_many_at_once_open_one_database(store: Store) -> None:
    await store.execute("CREATE TABLE counter (n integer)")
    await store.execute("INSERT INTO counter VALUES (0)")
    async with anyio.create_task_group() as tasks:
        for _ in range(30):
            tasks.start_soon(store.execute, "UPDATE counter SET n = n + 1")
            tasks.start_soon(store.query, "SELECT n FROM counter")
    assert await store.query("SELECT n FROM counter") == [{"n": 30}]


async def test_a_file_that_cannot_be_opened(tmp_path: Path, make_store: Callable[..., Store]) -> None:
    (tmp_path / "routes.db").mkdir()
    store = make_store(f"sqlite:///{tmp_path}/routes.db")
    code, message = await store.refused("SELECT 1")
    assert code == "UNAVAILABLE" and message.startswith("cannot open the SQLite file")
    (tmp_path / "routes.db").rmdir()
    assert await store.query("SELECT 1 AS one") == [{"one": 1}]


async def test_a_file_that_is_no_database(tmp_path: Path, make_store: Callable[..., Store]) -> None:
    (tmp_path / "routes.db").write_text("this is no database " * 100)
    code, message = await make_store(f"sqlite:///{tmp_path}/routes.db").refused("SELECT 1")
    assert (code, "not a database" in message) == ("UNAVAILABLE", True)


async def test_a_file_that_others_hold_locked(
    file_url: str, make_store: Callable[..., Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wireloom.database.database._BUSY_SECONDS", 0.05)
    store = make_store(file_url)
    await store.make_users()
    other = sqlite3.connect(file_url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert (await store.refused("DELETE FROM users"))[0] == "UNAVAILABLE"
    assert len(await store.query("WITH a AS (SELECT name FROM users) SELECT name FROM a")) == 2  # reading goes on
    other.close()
    assert (await store.execute("DELETE FROM users"))["rows_affected"] == 2


async def test_a_server_that_is_not_there(make_store: Callable[..., Store]) -> None:
    store = make_store(f"postgresql://someone:{SECRET}@127.0.0.1:{free_port()}/routes")
    code, message = await store.refused("SELECT 1")
    assert code == "UNAVAILABLE" and "PostgreSQL database routes on 127.0.0.1" in message and SECRET not in message


@pytest.mark.parametrize("name", ["nowhere", "postgres"])
async def test_a_server_that_refuses(postgresql: PostgreSQL, make_store: Callable[..., Store], name: str) -> None:
    password = SECRET if name == "postgres" else POSTGRESQL_PASSWORD
    code, message = await make_store(postgresql.url(name, password)).refused("SELECT 1")
    assert code == "UNAVAILABLE" and password not in message


async def test_a_server_that_ends_connections(postgresql_url: str, make_store: Callable[..., Store]) -> None:
    store, other = make_store(postgresql_url), make_store(postgresql_url)
    assert await store.query("SELECT 1 AS one") == [{"one": 1}]
    (mine,) = await store.query("SELECT pg_backend_pid() AS pid")
    await other.query("SELECT pg_terminate_backend(:pid)", pid=mine["pid"])
    assert await store.query("SELECT 1 AS one") == [{"one": 1}]
    code, _ = await store.refused("SELECT pg_terminate_backend(pg_backend_pid())")
    assert code == "UNAVAILABLE"
    assert await store.query("SELECT 1 AS one") == [{"one": 1}]


async def test_those_who_wait_while_it_cannot_be_opened_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store("postgresql://127.0.0.1/routes")
    tries, go_on = [], anyio.Event()

    async def refuse(_database: Database) -> None:
        tries.append(1)
        await go_on.wait()
        raise ConfigError("nobody is there")

    monkeypatch.setattr(Database, "open", refuse)
    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(store.refused, "SELECT 1")
        await anyio.wait_all_tasks_blocked()
        go_on.set()
    assert len(tries) == 1
    assert await store.refused("SELECT 1") == ("UNAVAILABLE", "nobody is there")
    assert len(tries) == 2


async def test_opening_goes_on_though_its_caller_is_cancelled(
    durable: str, make_store: Callable[..., Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, tries, go_on, real_open = make_store(durable), [], anyio.Event(), Database.open

    async def open_slowly(database: Database) -> None:
        tries.append(1)
        await go_on.wait()
        await real_open(database)

    monkeypatch.setattr(Database, "open", open_slowly)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(store.query, "SELECT 1")
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
        go_on.set()
    assert await store.query("SELECT 1 AS one") == [{"one": 1}]
    assert len(tries) == 1


def test_the_package_of_postgresql(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    SqlStore("sqlite://")
    with pytest.raises(ConfigError, match=r"pip install 'wireloom\[postgres\]'"):
        SqlStore("postgresql://host/name")


def test_an_address_that_is_none() -> None:
    with pytest.raises(ConfigError, match="database must be sqlite:///FILE"):
        SqlStore("mysql://host/name")


# -- what a route must not reach ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query",
    [
        "ATTACH '{other}' AS other",
        "DETACH main",
        "EXPLAIN ATTACH '{other}' AS other",
        "PRAGMA writable_schema = 1",
        "PRAGMA page_size = 512",
        "PRAGMA database_list",
        "SELECT * FROM pragma_database_list",
        "SELECT load_extension('{other}')",
        "VACUUM INTO '{other}'",
        "VACUUM",
        "CREATE TEMP TABLE users (a)",
        "CREATE TEMPORARY VIEW users AS SELECT 1 AS a",
    ],
)
@pytest.mark.parametrize("operation", ["query", "execute"])
async def test_sqlite_reaches_no_other_file(
    file_url: str, make_store: Callable[..., Store], tmp_path: Path, query: str, operation: str
) -> None:
    """Also if a statement were not refused when it is read."""
    other = tmp_path / "other.db"
    sqlite3.connect(other).execute("CREATE TABLE secrets (a)").connection.close()
    before = sorted(os.listdir(tmp_path))
    text = query.format(other=other if "INTO" not in query else tmp_path / "copy.db")
    for keyword in ("SELECT", "UPDATE"):  # on a connection that reads, on one that writes
        store = make_store(file_url)
        statement = Statement(text, keyword=keyword, _pieces=(text,))
        with pytest.raises(Failure, match=r"not authorized|authorization denied|cannot VACUUM from within") as caught:
            await store.store.run(operation, statement, None)
        assert caught.value.code == "SQL_ERROR"
        await store.store.stop()
    assert sorted({*os.listdir(tmp_path)} - {".wireloom"}) == before


async def test_full_text_search_of_sqlite_works(make_store: Callable[..., Store], file_url: str) -> None:
    store = make_store(file_url)
    await store.execute("CREATE VIRTUAL TABLE notes USING fts5(note)")
    await store.execute("INSERT INTO notes VALUES (:note)", note="buy milk")
    assert await store.query("SELECT note FROM notes WHERE notes MATCH :word", word="milk") == [{"note": "buy milk"}]


async def test_a_value_that_is_too_large_fails_before_anything_is_made_of_it(store: Store) -> None:
    text = "repeat('x', 1048577)" if store.is_postgresql else "printf('%.*c', 1048577, 'x')"
    data = f"convert_to({text}, 'UTF8')" if store.is_postgresql else "zeroblob(1048577)"
    for value in (text, data):
        with pytest.raises(Failure, match="more than 1048576") as caught:
            await store.query(f"SELECT {value} AS large")
        assert caught.value.code == "TOO_LARGE"
