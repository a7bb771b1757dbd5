"""Page 4, "Operations": SqlOp on real databases; RedisOp on a real Redis and on the store within the process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.services import redis_service

from .kit import failures, load_problem, serving, socket_route

pytestmark = pytest.mark.anyio

CREATE = "- SqlOp: {operation: execute, query: 'CREATE TABLE notes (id integer PRIMARY KEY, text text, n integer)'}\n"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: Any, tmp_path: Path) -> str:
    """The URL of an empty database of each kind."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgresql").make_database())
    return f"sqlite:///{tmp_path}/notes.db"


async def test_the_three_operations(tmp_path: Path, url: str) -> None:
    operations = """
    - SqlOp:
        operation: execute
        query: INSERT INTO notes (id, text, n) VALUES (:id, :text, :n)
        params: {id: "{{ json.id }}", text: "{{ json.text }}", n: "{{ json.n }}"}
        output: written
    - SqlOp: {operation: query, query: "SELECT id, text, n FROM notes ORDER BY id", output: rows}
    - SqlOp: {operation: query_one, query: "SELECT text FROM notes WHERE id = ?", params: [1], output: one}
    - SqlOp: {operation: query_one, query: "SELECT text FROM notes WHERE id = -1", output: none}
    - Return: {value: ["{{ written.rows_affected }}", "{{ rows }}", "{{ one.text }}", "{{ none }}"]}
    """
    route = socket_route(operations, on_connect=CREATE + "- Return: {value: ready}")
    async with serving(tmp_path, route, routes_database=url) as served:
        client = await served.connect()
        assert await client.receive_text() == "ready"
        await client.send_json({"id": 1, "text": "'); DROP TABLE notes; --", "n": None})
        rows = [{"id": 1, "text": "'); DROP TABLE notes; --", "n": None}]
        assert await client.receive_json() == [1, rows, "'); DROP TABLE notes; --", None]
        await client.send_json({"id": 2, "text": "{{ connection_id }} :id ?", "n": 5})
        rows.append({"id": 2, "text": "{{ connection_id }} :id ?", "n": 5})
        assert await client.receive_json() == [1, rows, "'); DROP TABLE notes; --", None]


async def test_an_insert_gives_its_id(tmp_path: Path) -> None:
    operations = """
    - SqlOp: {operation: execute, query: "INSERT INTO notes (text) VALUES (?)", params: ["{{ message }}"], output: o}
    - Return: {value: "{{ o }}"}
    """
    async with serving(tmp_path, socket_route(operations, on_connect=CREATE + "- Return: {value: ready}")) as served:
        client = await served.connect()
        assert await client.receive_text() == "ready"
        for number in (1, 2):
            await client.send_text("a")
            assert await client.receive_json() == {"rows_affected": 1, "last_id": number}


async def test_what_the_database_refuses_can_be_caught(tmp_path: Path, url: str, caplog: Any) -> None:
    operations = """
    - If: {condition: message == 'bare', then: [{SqlOp: {operation: query, query: "SELECT * FROM nowhere"}}]}
    - SqlOp: {operation: execute, query: "INSERT INTO notes (id) VALUES (7) ON CONFLICT DO NOTHING"}
    - Try:
        operations: [{SqlOp: {operation: execute, query: "INSERT INTO notes (id) VALUES (7)"}}]
        catch: [{WsOp: {command: send, message: "{{ error.code }}"}}]
    - Try:
        operations: [{SqlOp: {operation: query, query: "SELECT * FROM nowhere"}}]
        catch: [{WsOp: {command: send, message: "{{ error.code }}"}}]
    """
    route = socket_route(operations, on_connect=CREATE + "- Return: {value: ready}")
    async with serving(tmp_path, route, routes_database=url) as served:
        client = await served.connect()
        assert await client.receive_text() == "ready"
        await client.send_text("bare")
        await client.send_text("caught")
        assert [await client.receive_text(), await client.receive_text()] == ["CONSTRAINT", "SQL_ERROR"]
        (failure,) = failures(caplog)
        assert "on_message[0].then[0]" in failure.getMessage()


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ("query: \"SELECT '{{ message }}'\"", "no expression stands in a query; write :name here"),
        ("query: 'SELECT :a'", ":a has no value below 'params'"),
        ("query: 'SELECT :name', params: {nam: 1}", "the query has no :nam; did you mean 'name'?"),
        ("query: 'SELECT ?', params: []", "the query has 1 times '?', and here are 0 values"),
        ("query: 'SELECT ?', params: {a: 1}", "the query has no :a"),
        ("query: 'SELECT 1', params: 5", "must be an object of names and values, or a list"),
        ("query: 'SELECT 1; SELECT 2'", "SqlOp.query: "),
        ("query: 5", "must be a text"),
        ("query: 'BEGIN'", "a route may not use BEGIN"),
    ],
)
def test_statements_that_do_not_fit_are_told(tmp_path: Path, fields: str, problem: str) -> None:
    assert problem in load_problem(tmp_path, socket_route(f"- SqlOp: {{operation: query, {fields}}}"))


# -- RedisOp -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    with redis_service() as service:
        yield service.url


@pytest.fixture(params=["memory", "redis"])
def store(request: Any) -> str:
    """The option `routes_redis` for each kind of store."""
    return "memory" if request.param == "memory" else str(request.getfixturevalue("redis_url"))


CALLS: list[tuple[str, Any]] = [
    ("command: DEL, key: '{{ key }}'", 0),
    ("command: GET, key: '{{ key }}'", None),
    ("command: SET, key: '{{ key }}', value: '{{ key }}'", True),
    ("command: EXISTS, key: '{{ key }}'", 1),
    ("command: GET, key: '{{ key }}'", "KEY"),
    ("command: SET, key: '{{ key }}', value: {a: [1, true]}, ttl_seconds: 100", True),
    ("command: GET, key: '{{ key }}'", '{"a":[1,true]}'),
    ("command: EXPIRE, key: '{{ key }}', ttl_seconds: 0", True),
    ("command: EXISTS, key: '{{ key }}'", 0),
    ("command: EXPIRE, key: '{{ key }}', ttl_seconds: 5", False),
    ("command: INCR, key: '{{ key }}'", 1),
    ("command: INCR, key: '{{ key }}'", 2),
    ("command: decr, key: '{{ key }}'", 1),
    ("command: LPUSH, key: '{{ key }}', value: 1", "WRONG_TYPE"),
    ("command: DEL, key: '{{ key }}'", 1),
    ("command: HSET, key: '{{ key }}', field: f, value: 1", 1),
    ("command: HSET, key: '{{ key }}', value: {f: 2, g: x}", 1),
    ("command: HGET, key: '{{ key }}', field: f", "2"),
    ("command: HGET, key: '{{ key }}', field: none", None),
    ("command: HGETALL, key: '{{ key }}'", {"f": "2", "g": "x"}),
    ("command: INCR, key: '{{ key }}'", "WRONG_TYPE"),
    ("command: DEL, key: '{{ key }}'", 1),
    ("command: LPUSH, key: '{{ key }}', value: a", 1),
    ("command: LPUSH, key: '{{ key }}', value: [b, c]", 3),
    ("command: LRANGE, key: '{{ key }}'", ["c", "b", "a"]),
    ("command: LRANGE, key: '{{ key }}', start: 1, stop: '{{ 0 - 2 }}'", ["b"]),
    ("command: DEL, key: '{{ key }}'", 1),
    ("command: SADD, key: '{{ key }}', value: [b, a, b]", 2),
    ("command: SADD, key: '{{ key }}', value: a", 0),
    ("command: SMEMBERS, key: '{{ key }}'", ["a", "b"]),
    ("command: PUBLISH, key: nobody-hears, value: a", 0),
]


async def test_both_stores_give_the_same(tmp_path: Path, store: str) -> None:
    lines = ["- SetVar: {name: key, value: '{{ message }}'}", "- SetVar: {name: o, value: null}"]
    for call, _ in CALLS:
        lines.append(
            f"- Try: {{operations: [{{RedisOp: {{{call}, output: o}}}}], "
            "catch: [{SetVar: {name: o, value: '{{ error.code }}'}}]}\n"
            "- WsOp: {command: send, message: '{{ o | json }}'}"
        )
    async with serving(tmp_path, socket_route("\n".join(lines)), routes_redis=store) as served:
        client = await served.connect()
        await client.send_text("KEY")
        results = [json.loads(await client.receive_text()) for _ in CALLS]
        assert results == [result for _, result in CALLS]


async def test_a_store_is_shared_by_all_connections(tmp_path: Path, store: str) -> None:
    count = "- RedisOp: {command: INCR, key: shared, output: n}\n- Return: {value: '{{ n }}'}"
    async with serving(tmp_path, socket_route(count), socket_route(count, path="/b"), routes_redis=store) as served:
        assert [await served.ask(path=path) for path in ("/ws", "/b", "/ws")] == ["1", "2", "3"]


async def test_a_redis_that_is_not_there_can_be_caught(tmp_path: Path) -> None:
    operations = """
    - Try: {operations: [{RedisOp: {command: GET, key: a}}], catch: [{Return: {value: "{{ error.code }}"}}]}
    """
    from tests.services import free_port

    url = f"redis://:s3cret@127.0.0.1:{free_port()}"
    async with serving(tmp_path, socket_route(operations), routes_redis=url) as served:
        assert await served.ask() == "UNAVAILABLE"


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ("command: GTE, key: a", "did you mean 'GET'?"),
        ("command: GET", "GET needs 'key'"),
        ("command: SET, key: a", "SET needs 'value'"),
        ("command: GET, key: a, value: b", "GET has none"),
        ("command: SET, key: a, value: b, start: 1", "SET has none"),
    ],
)
def test_commands_that_do_not_fit_are_told(tmp_path: Path, fields: str, problem: str) -> None:
    assert problem in load_problem(tmp_path, socket_route(f"- RedisOp: {{{fields}}}"))
