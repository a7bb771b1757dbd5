"""The SQL database of routes: the same on SQLite and PostgreSQL, where they do not say otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from wireloom.faces.routes.failure import Failure
from wireloom.faces.routes.stores.rows import plain
from wireloom.faces.routes.stores.statement import Statement

from .kit import ENDLESS, SECONDS, Store

pytestmark = pytest.mark.anyio

# -- what operations give ----------------------------------------------------------------------------------------------


async def test_query_gives_all_rows(users: Store) -> None:
    rows = await users.query("SELECT name, age FROM users ORDER BY name")
    assert rows == [{"name": "ann", "age": 30}, {"name": "bob", "age": None}]
    assert await users.query("SELECT name FROM users WHERE age > :age", age=30) == []


async def test_query_one_gives_the_first_row(users: Store) -> None:
    assert await users.query_one("SELECT name FROM users ORDER BY name DESC") == {"name": "bob"}
    assert await users.query_one("SELECT name FROM users WHERE name = :name", name="nobody") is None


async def test_execute_counts_rows(users: Store) -> None:
    assert await users.execute("UPDATE users SET online = false") == {"rows_affected": 2, "last_id": None}
    assert await users.execute("UPDATE users SET age = 1 WHERE id = :id", id=99) == {
        "rows_affected": 0,
        "last_id": None,
    }
    assert (await users.execute("DELETE FROM users WHERE name = ?", "bob"))["rows_affected"] == 1
    assert [row["name"] for row in await users.query("SELECT name FROM users")] == ["ann"]


@pytest.mark.parametrize("query", ["CREATE TABLE a (b integer)", "SELECT id FROM users", "DROP TABLE users"])
async def test_execute_counts_only_changed_rows(users: Store, query: str) -> None:
    assert await users.execute(query) == {"rows_affected": 0, "last_id": None}


async def test_operations_without_rows(users: Store) -> None:
    assert await users.query("UPDATE users SET age = 5") == []
    assert await users.query_one("UPDATE users SET age = age + 1") is None
    assert await users.query("SELECT DISTINCT age FROM users") == [{"age": 6}]


async def test_the_last_id_is_what_is_returned(users: Store) -> None:
    done = await users.execute("INSERT INTO users (name) VALUES ('eve') RETURNING id")
    assert done == {"rows_affected": 1, "last_id": 3}
    done = await users.execute("INSERT INTO users (name) VALUES ('x'), ('y') RETURNING name")
    assert done == {"rows_affected": 2, "last_id": "y"}
    done = await users.execute("INSERT INTO users (name) VALUES ('z') RETURNING id, name")
    assert done["last_id"] is None


async def test_the_last_id_without_returning(users: Store) -> None:
    last = None if users.is_postgresql else 3
    assert await users.execute("INSERT INTO users (name) VALUES ('eve')") == {"rows_affected": 1, "last_id": last}
    assert (await users.execute("DELETE FROM users WHERE id = 1"))["last_id"] is None


async def test_no_last_id_of_rows_that_were_not_inserted(users: Store) -> None:
    both = "INSERT INTO users (name) VALUES ('ann') ON CONFLICT (name) DO"
    assert await users.execute(f"{both} NOTHING") == {"rows_affected": 0, "last_id": None}
    assert await users.execute(f"{both} UPDATE SET age = 7") == {"rows_affected": 1, "last_id": None}
    assert await users.execute(f"{both} UPDATE SET age = 7 RETURNING id") == {"rows_affected": 1, "last_id": 1}


async def test_no_last_id_of_a_row_that_sqlite_ignored(make_store: Callable[..., Store]) -> None:
    store = make_store("sqlite://")
    await store.make_users()
    assert (await store.execute("INSERT OR IGNORE INTO users (name) VALUES ('ann')"))["last_id"] is None
    assert (await store.execute("REPLACE INTO users (id, name) VALUES (9, 'ann')"))["last_id"] == 9


@pytest.mark.parametrize(
    "query",
    [
        "INSERT INTO users (name) VALUES ('eve') RETURNING name",
        "WITH a AS (SELECT 'eve' AS name) INSERT INTO users (name) SELECT name FROM a RETURNING name",
    ],
)
@pytest.mark.parametrize("operation", ["query", "query_one"])
async def test_a_query_that_writes_is_committed(users: Store, database: str, query: str, operation: str) -> None:
    given = await getattr(users, operation)(query)
    assert given == ({"name": "eve"} if operation == "query_one" else [{"name": "eve"}])
    assert await users.query_one("SELECT count(*) AS n FROM users") == {"n": 3}
    await users.execute("UPDATE users SET age = 1")  # nothing holds a lock


async def test_what_functions_change_is_committed(postgresql_url: str, make_store: Callable[..., Store]) -> None:
    store = make_store(postgresql_url)
    await store.make_users()
    body = "$$ INSERT INTO users (name) VALUES ($1) RETURNING id $$"
    await store.execute(f"CREATE FUNCTION add_user(text) RETURNS integer LANGUAGE sql AS {body}")
    assert await store.query("SELECT add_user(:name) AS id", name="eve") == [{"id": 3}]
    assert await store.query_one("SELECT name FROM users WHERE id = 3") == {"name": "eve"}


async def test_an_operation_that_is_none(users: Store) -> None:
    with pytest.raises(Failure, match="no SQL operation 'querys'; did you mean 'query'") as caught:
        await users.store.run("querys", Statement.parse("SELECT 1"), None)
    assert caught.value.code == "INVALID_ARGUMENT"


# -- what is bound -----------------------------------------------------------------------------------------------------


async def check_text(database: Store, number: int, value: str) -> None:
    await database.execute("INSERT INTO notes VALUES (:id, :note)", id=number, note=value)
    row = await database.query_one("SELECT id, note FROM notes WHERE note = :note AND id = :id", note=value, id=number)
    assert row == {"id": number, "note": value}
    assert await database.execute("UPDATE notes SET note = :n WHERE note = :n", n=value) != 0
    assert await database.query("SELECT note FROM notes WHERE id < 0") == [{"note": "untouched"}]


def texts(is_postgresql: bool) -> SearchStrategy[str]:
    """Every text of Unicode; PostgreSQL has none with NUL."""
    characters = st.characters(exclude_categories=["Cs"], exclude_characters="\x00" if is_postgresql else "")
    nasty = st.sampled_from(["'", "';", '"', "--", "/*", "\\", "$$", ":note", "?", "%s", "{{ x }}", "OR 1=1", "null"])
    return st.lists(st.text(characters, max_size=5) | nasty, max_size=6).map("".join)


def test_every_text_comes_back_and_changes_no_other_row(database: str) -> None:
    is_postgresql = database.startswith("postgresql")

    @settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(texts(is_postgresql), min_size=1, max_size=20))
    def check(values: list[str]) -> None:
        anyio.run(check_all, values)

    async def check_all(values: list[str]) -> None:
        store = Store(database)
        await store.execute("DROP TABLE IF EXISTS notes")
        await store.execute("CREATE TABLE notes (id integer, note text)")
        await store.execute("INSERT INTO notes VALUES (-1, 'untouched')")
        for number, value in enumerate(values):
            await check_text(store, number, value)
        count = await store.query_one("SELECT count(*) AS n FROM notes")
        await store.store.stop()
        assert count == {"n": len(values) + 1}

    check()


async def test_placeholders_in_strings_are_none(users: Store) -> None:
    row = await users.query_one("SELECT ':a' AS a, '?' AS b, 100 % 7 AS c, :name AS name", name="x")
    assert row == {"a": ":a", "b": "?", "c": 2, "name": "x"}


async def test_a_name_that_occurs_twice_is_one_value(users: Store) -> None:
    query = "SELECT name FROM users WHERE age = :age OR (:age IS NULL AND age IS NULL)"
    assert await users.query(query, age=30) == [{"name": "ann"}]
    assert await users.query(query, age=None) == [{"name": "bob"}]


async def test_values_of_many_places_keep_their_order(store: Store) -> None:
    marks = ", ".join(f"CAST(? AS integer) AS c{number}" for number in range(12))
    row = await store.query_one(f"SELECT {marks}", *range(12))
    assert row == {f"c{number}": number for number in range(12)}


async def test_lists_and_objects_are_json(store: Store) -> None:
    await store.execute("CREATE TABLE a (b text)")
    await store.execute("INSERT INTO a VALUES (?)", {"x": [1, None, "ü"]})
    await store.execute("INSERT INTO a VALUES (?)", [1.5, True])
    assert [row["b"] for row in await store.query("SELECT b FROM a ORDER BY b")] == ["[1.5,true]", '{"x":[1,null,"ü"]}']


async def test_a_number_given_as_text_is_a_number(users: Store) -> None:
    assert await users.query("SELECT name FROM users WHERE age = :age", age="30") == [{"name": "ann"}]
    await users.execute("UPDATE users SET age = :age WHERE id = :id", age="41", id="2")
    assert await users.query_one("SELECT age + 1 AS age FROM users WHERE id = 2") == {"age": 42}
    assert len(await users.query("SELECT name FROM users LIMIT ?", "1")) == 1


async def test_a_text_given_as_number_is_text(users: Store) -> None:
    for name in (5, 5.5, 6.0):
        await users.execute("INSERT INTO users (name) VALUES (:name)", name=name)
    rows = await users.query("SELECT name FROM users WHERE id > 2 ORDER BY id")
    assert [row["name"] for row in rows] == ["5", "5.5", "6"]
    assert await users.query_one("SELECT id FROM users WHERE name = :name", name=6) == {"id": 5}


async def test_bools(users: Store) -> None:
    await users.execute("UPDATE users SET online = :online WHERE name = 'bob'", online=False)
    rows = await users.query("SELECT name FROM users WHERE online = :online", online=True)
    assert rows == [{"name": "ann"}]
    online = (await users.query_one("SELECT online FROM users WHERE name = 'bob'"))["online"]
    assert online is (False if users.is_postgresql else 0) or online == 0
    await users.execute("UPDATE users SET age = :yes", yes=True)
    assert await users.query("SELECT DISTINCT age FROM users") == [{"age": 1}]


@pytest.mark.parametrize(
    ("column", "value", "back"),
    [
        ("boolean", "true", True),
        ("boolean", 0, False),
        ("smallint", "7", 7),
        ("bigint", 2**63 - 1, 2**63 - 1),
        ("integer", True, 1),
        ("numeric(5,2)", "1.50", 1.5),
        ("numeric", 2.0, 2),
        ("numeric", "1e30", 1e30),
        ("numeric", "NaN", None),
        ("numeric", "1e1000", None),
        ("real", 1, 1.0),
        ("double precision", "0.1", 0.1),
        ("double precision", "Infinity", None),
        ("varchar(3)", 123, "123"),
        ("char(5)", "abc", "abc  "),
        ("bit(3)", "101", "101"),
        ("timestamp", "2024-05-01T12:30:00", "2024-05-01T12:30:00"),
        ("timestamptz", "2024-05-01T12:30:00Z", "2024-05-01T12:30:00+00:00"),
        ("date", "2024-05-01", "2024-05-01"),
        ("time", "12:30", "12:30:00"),
        ("interval", "1 hour 1 second", 3601.0),
        ("uuid", "6F2D5E80-0000-4000-8000-000000000001", "6f2d5e80-0000-4000-8000-000000000001"),
        ("bytea", "\\x00ff", "AP8="),
        ("inet", "10.0.0.1", "10.0.0.1"),
        ("jsonb", {"a": [1, None, {"b": 2.5}]}, {"a": [1, None, {"b": 2.5}]}),
        ("json", "[1, 2]", [1, 2]),
        ("json", '["5", "\\ud800"]', ["5", "?"]),
        ("jsonb", '"5"', "5"),
        ("jsonb", "12345678901234567890", 12345678901234567890.0),
        ("integer[]", [1, 2, None], [1, 2, None]),
        ("text[]", ['a"b\\', "null", "", "{,}"], ['a"b\\', "null", "", "{,}"]),
        ("integer[]", "{3,4}", [3, 4]),
        ("mood", "happy", "happy"),
        ("pair", "(1,x)", {"a": 1, "b": "x"}),
        ("integer", None, None),
        ("integer[]", None, None),
    ],
)
async def test_types_of_postgresql(
    postgresql_url: str, make_store: Callable[..., Store], column: str, value: Any, back: Any
) -> None:
    store = make_store(postgresql_url)
    await store.execute("CREATE TYPE mood AS ENUM ('happy', 'sad')")
    await store.execute("CREATE TYPE pair AS (a integer, b text)")
    await store.execute(f"CREATE TABLE a (b {column})")
    await store.execute("INSERT INTO a VALUES (:value)", value=value)
    (row,) = await store.query("SELECT b FROM a")
    assert row == {"b": back} and type(row["b"]) is type(back)
    if value is not None and column not in ("json", "pair"):
        assert len(await store.query("SELECT 1 AS one FROM a WHERE b = :value", value=value)) == 1


async def test_a_list_for_any(postgresql_url: str, make_store: Callable[..., Store]) -> None:
    store = make_store(postgresql_url)
    await store.make_users()
    assert await store.query("SELECT name FROM users WHERE id = ANY(:ids)", ids=["2", 7]) == [{"name": "bob"}]


async def test_types_are_learnt_anew_when_tables_change(postgresql_url: str, make_store: Callable[..., Store]) -> None:
    store = make_store(postgresql_url)
    await store.make_users()
    query = "INSERT INTO users (name, age) VALUES (:name, :age)"
    await store.execute(query, name="eve", age="1")
    await store.execute("ALTER TABLE users ALTER COLUMN age TYPE text")
    with pytest.raises(Failure):
        await store.execute(query, name="zoe", age="young")
    await store.execute(query, name="zoe", age="young")
    assert await store.query_one("SELECT age FROM users WHERE name = 'zoe'") == {"age": "young"}


@pytest.mark.parametrize(
    ("value", "back"),
    [
        ("x'00ff'", "AP8="),
        ("9e999", None),
        ("-9e999", None),
        ("1.5", 1.5),
        ("9223372036854775807", 2**63 - 1),
        ("'a' || char(0) || 'b'", "a\0b"),
        ("null", None),
        ("1 = 1", 1),
    ],
)
async def test_values_of_sqlite(make_store: Callable[..., Store], value: str, back: Any) -> None:
    assert await make_store("sqlite://").query(f"SELECT {value} AS a") == [{"a": back}]


async def test_of_two_columns_of_one_name_the_last_counts(store: Store) -> None:
    assert await store.query("SELECT 1 AS a, 2 AS b, 3 AS a") == [{"a": 3, "b": 2}]


def test_values_that_only_drivers_give() -> None:
    assert plain({"a": (1, {2})}) == {"a": [1, [2]]}
    assert plain(memoryview(b"x")) == "eA=="


async def test_a_text_that_is_no_utf8_is_told_without_it(make_store: Callable[..., Store]) -> None:
    code, message = await make_store("sqlite://").refused("SELECT CAST(x'534543ff' AS text) AS a")
    assert code == "SQL_ERROR" and message.startswith("Could not decode") and "SEC" not in message


# -- bounds ------------------------------------------------------------------------------------------------------------


async def test_rows_are_bounded(database: str, make_store: Callable[..., Store]) -> None:
    store = make_store(database, max_rows=3)
    await store.execute("CREATE TABLE a (b integer)")
    for number in range(3):
        await store.execute("INSERT INTO a VALUES (?)", number)
    assert len(await store.query("SELECT * FROM a")) == 3
    await store.execute("INSERT INTO a VALUES (4)")
    with pytest.raises(Failure, match="more than 3 rows") as caught:
        await store.query("SELECT * FROM a")
    assert caught.value.code == "TOO_MANY_ROWS"
    assert await store.query_one("SELECT * FROM a ORDER BY b DESC") == {"b": 4}
    with pytest.raises(Failure, match="more than 3 rows"):
        await store.query("UPDATE a SET b = 9 RETURNING b")
    assert await store.query("SELECT count(*) AS n FROM a WHERE b = 9") == [{"n": 0}]


async def test_no_more_rows_are_fetched_than_needed(database: str, make_store: Callable[..., Store]) -> None:
    store = make_store(database, max_rows=3, max_seconds=1.0)
    endless = ENDLESS.replace("count(*)", "i")
    with pytest.raises(Failure, match="more than 3 rows"):
        await store.query(endless)
    assert await store.query_one(endless) == {"n": 1}


async def test_a_statement_that_runs_too_long_is_interrupted(database: str, make_store: Callable[..., Store]) -> None:
    store = make_store(database, max_seconds=1.0)
    with anyio.fail_after(SECONDS):
        with pytest.raises(Failure, match="took too long") as caught:
            await store.query(ENDLESS)
        assert caught.value.code == "SQL_ERROR"
        assert await store.query("SELECT 1 AS one") == [{"one": 1}]


async def test_the_server_too_ends_a_statement_that_runs_too_long(
    postgresql_url: str, make_store: Callable[..., Store]
) -> None:
    store = make_store(postgresql_url, max_seconds=0.5)
    with pytest.raises(Failure, match="took too long"):
        await store.query(ENDLESS)
    running = "SELECT count(*) AS n FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%RECURSIVE n(i)%'"
    with anyio.fail_after(SECONDS):
        while await store.query_one(running) != {"n": 1}:  # noqa: ASYNC110 – the one that asks
            await anyio.sleep(0.05)
