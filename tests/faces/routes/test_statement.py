"""SQL statements of routes: what is a placeholder, what is refused, what is bound."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wireloom.faces.routes.failure import Failure
from wireloom.faces.routes.stores.statement import Statement


def written(query: str) -> str:
    return Statement.parse(query).written(lambda number: f"<{number}>")


@pytest.mark.parametrize(
    ("query", "names", "sql"),
    [
        ("SELECT :a", ("a",), "SELECT <1>"),
        ("SELECT :b,:a_1,:b", ("b", "a_1"), "SELECT <1>,<2>,<1>"),
        ("SELECT a FROM t WHERE x=:x AND(y=:größe)", ("x", "größe"), "SELECT a FROM t WHERE x=<1> AND(y=<2>)"),
        ("SELECT :a::int, x::text", ("a",), "SELECT <1>::int, x::text"),
        ("SELECT ':a', 'it''s :b', :c", ("c",), "SELECT ':a', 'it''s :b', <1>"),
        ("SELECT E'it\\'s :a', e'\\\\', :c", ("c",), "SELECT E'it\\'s :a', e'\\\\', <1>"),
        ("SELECT 'C:\\', :c, ':d'", ("c",), "SELECT 'C:\\', <1>, ':d'"),
        ('SELECT ":a""?:b" FROM t WHERE c = :c', ("c",), 'SELECT ":a""?:b" FROM t WHERE c = <1>'),
        ("SELECT 1 -- :a ' ?\n, :c", ("c",), "SELECT 1 -- :a ' ?\n, <1>"),
        ("SELECT /* :a ' ?; */ :c", ("c",), "SELECT /* :a ' ?; */ <1>"),
        ("SELECT /***/ :c /* * / */", ("c",), "SELECT /***/ <1> /* * / */"),
        ("SELECT $$:a '$$, $t$ $$ :b; $t$, :c", ("c",), "SELECT $$:a '$$, $t$ $$ :b; $t$, <1>"),
        ("SELECT a$b$, :c, d$b$ FROM t", ("c",), "SELECT a$b$, <1>, d$b$ FROM t"),
        ("SELECT xs[1 : 2], f(a := :c)", ("c",), "SELECT xs[1 : 2], f(a := <1>)"),
        ("SELECT '\n', :c", ("c",), "SELECT '\n', <1>"),
        ("SELECT 1.5e3, :c", ("c",), "SELECT 1.5e3, <1>"),
        ("SELECT :c ; -- the end\n ; /* :d */ ", ("c",), "SELECT <1>  -- the end\n  /* :d */ "),
        ("SELECT 100 % :c", ("c",), "SELECT 100 % <1>"),
    ],
)
def test_placeholders_by_name(query: str, names: tuple[str, ...], sql: str) -> None:
    statement = Statement.parse(query)
    assert (statement.names, statement.count, statement.places) == (names, 0, len(names))
    assert written(query) == sql


def test_placeholders_by_place() -> None:
    statement = Statement.parse("SELECT ?, '?', \"?\", ? -- ?")
    assert (statement.names, statement.count, statement.places) == ((), 2, 2)
    assert written(statement.query) == "SELECT <1>, '?', \"?\", <2> -- ?"


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("", "no SQL statement"),
        (" -- only\n/* comments */ ; ", "no SQL statement"),
        ("SELECT :a, ?", "not both"),
        ("SELECT ?, :a", "not both"),
        ("SELECT 1; SELECT 2", "a second statement begins at line 1, column 11"),
        ("SELECT 1;\n'x'", "a second statement begins at line 2, column 1"),
        ("SELECT 1; :a", "a second statement"),
        ("SELECT 'x", "at line 1, column 8 begins a string that does not end"),
        ("SELECT\n 'x''", "at line 2, column 2 begins a string"),
        ("SELECT E'x\\'", "at line 1, column 8 begins a string"),
        ('SELECT "x', "begins a string"),
        ("SELECT $t$ $$", "begins a string"),
        ("SELECT /* x", "begins a comment"),
        ("SELECT /* a /* b */ */ 1", "comments in comments are not taken"),
        ("SELECT $1", "$1 at line 1, column 8: placeholders are written :name or ?"),
        ("SELECT ?1", "?1 at line 1, column 8"),
        ("SELECT '{{ name }}'", "values are bound, never pasted"),
    ],
)
def test_what_is_no_statement_is_refused(query: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Statement.parse(query)


@pytest.mark.parametrize(
    "query",
    [
        "BEGIN",
        "commit",
        "/* x */ Rollback",
        "END",
        "SAVEPOINT a",
        "SET ROLE postgres",
        "PRAGMA writable_schema = 1",
        "ATTACH 'other.db' AS other",
        "-- x\nATTACH 'other.db' AS other",
        "DETACH other",
        "VACUUM INTO 'copy.db'",
        "LISTEN a",
        "PREPARE a AS SELECT 1",
    ],
)
def test_what_changes_the_connection_is_refused(query: str) -> None:
    with pytest.raises(ValueError, match=r"a route may not use [A-Z]+: "):
        Statement.parse(query)


@pytest.mark.parametrize(
    ("query", "changes_rows", "only_looks"),
    [
        ("SELECT 'DELETE', update_me FROM t", False, True),
        ("select replace(a, 'b', 'c') from t", False, True),
        ("VALUES (1)", False, True),
        ("WITH a AS (SELECT 1) SELECT * FROM a", False, True),
        ("WITH a AS (SELECT 1) insert INTO t SELECT * FROM a", True, False),
        ("WITH a AS (DELETE FROM t RETURNING *) SELECT * FROM a", True, False),
        ("-- x\n update t SET a = 1", True, False),
        ("INSERT INTO t VALUES (1) RETURNING *", True, False),
        ("REPLACE INTO t VALUES (1)", True, False),
        ("CREATE TABLE t (a)", False, False),
    ],
)
def test_what_a_statement_does(query: str, changes_rows: bool, only_looks: bool) -> None:
    statement = Statement.parse(query)
    assert (statement.changes_rows, statement.only_looks) == (changes_rows, only_looks)


# -- binding -----------------------------------------------------------------------------------------------------------


def test_values_are_bound_by_name() -> None:
    statement = Statement.parse("SELECT :b, :a, :b")
    assert statement.bind({"a": 1, "b": "x"}) == ("x", 1)


def test_values_are_bound_by_place() -> None:
    assert Statement.parse("SELECT ?, ?").bind(["x", None]) == ("x", None)


@pytest.mark.parametrize("values", [None, {}, []])
def test_a_statement_without_placeholders_takes_nothing(values: Any) -> None:
    assert Statement.parse("SELECT 1").bind(values) == ()


@pytest.mark.parametrize(
    ("value", "bound"),
    [
        (None, None),
        (True, True),
        (False, False),
        (0, 0),
        (-(2**63), -(2**63)),
        (1.5, 1.5),
        (2.0, 2),
        ("", ""),
        ("null", "null"),
        ([1, "ü", None], '[1,"ü",null]'),
        ({"a": {"b": [True]}}, '{"a":{"b":[true]}}'),
        ({}, "{}"),
    ],
)
def test_what_is_bound(value: Any, bound: Any) -> None:
    (got,) = Statement.parse("SELECT :a").bind({"a": value})
    assert got == bound and type(got) is type(bound)


@pytest.mark.parametrize(
    ("query", "values", "message"),
    [
        ("SELECT :name, :b", {"nam": 1, "b": 2}, "params lack 'name'; did you mean 'nam'?"),
        ("SELECT :a", {}, "params lack 'a'"),
        ("SELECT :a", {"a": 1, "b": 2}, "params have 'b', which the query has not"),
        ("SELECT :a", [1], "params must be an object, not a list"),
        ("SELECT :a", None, "params must be an object, not null"),
        ("SELECT ?", {"a": 1}, "params must be a list, not an object"),
        ("SELECT ?", "x", "params must be a list, not text"),
        ("SELECT ?", None, "params must be a list, not null"),
        ("SELECT ?, ?", [1], "the query has 2 placeholders ?, but params are 1"),
        ("SELECT ?", [1, 2], "the query has 1 placeholders ?, but params are 2"),
        ("SELECT 1", [1], "no placeholders"),
        ("SELECT 1", {"a": 1}, "no placeholders"),
        ("SELECT ?", ["\ud800"], "half of a surrogate pair"),
        ("SELECT ?", [b"x"], "a bytes cannot be bound"),
    ],
)
def test_values_that_do_not_fit_are_refused(query: str, values: Any, message: str) -> None:
    with pytest.raises(Failure, match=re.escape(message)) as caught:
        Statement.parse(query).bind(values)
    assert caught.value.code == "INVALID_ARGUMENT"


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, float("inf"), float("nan")])
def test_numbers_beyond_64_bits_are_refused(value: float) -> None:
    with pytest.raises(Failure, match="64 bits") as caught:
        Statement.parse("SELECT ?").bind([value])
    assert caught.value.code == "NOT_A_NUMBER"


PIECES = ["'", '"', "''", "$$", "$a$", "/*", "*/", "--", "\n", ":a", ":b", "::", "?", ";", "x", "E'", "\\", "$1", " "]


@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
def test_whatever_is_written_is_read_or_refused(tail: str) -> None:
    try:
        statement = Statement.parse("SELECT " + tail)
    except ValueError:
        return
    assert statement.names == () or statement.count == 0
    names = [f":{name}" for name in statement.names] or ["?"] * statement.count
    again = statement.written(lambda number: names[number - 1])
    assert again == statement.query or ";" in statement.query
    assert Statement.parse(again).written(str) == statement.written(str)
