"""Rendering: what an expression leaves of its value in a text, and that nothing put in is looked at again."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wireloom.faces.routes.expressions.values import MAX_TEXT, encode, text_of
from wireloom.faces.routes.failure import ErrorText, Failure

from .kit import Fails, evaluate, outcome, short

LARGE = "x" * MAX_TEXT


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "a"),
        ("", ""),
        ('"', '"'),
        (None, ""),
        (True, "true"),
        (False, "false"),
        (0, "0"),
        (-5, "-5"),
        (1.0, "1"),
        (-0.0, "0"),
        (1.5, "1.5"),
        (1e15, "1000000000000000"),
        (1e21, "1e+21"),
        (0.1 + 0.2, "0.30000000000000004"),
        (2**63 - 1, "9223372036854775807"),
        ([], "[]"),
        ({}, "{}"),
        ([1, "a", None, True, [2.5]], '[1,"a",null,true,[2.5]]'),
        ({"a": {"b": "é\n"}}, '{"a":{"b":"é\\n"}}'),
        ([1.0], "[1.0]"),
    ],
)
def test_a_value_alone_keeps_its_kind_and_in_a_text_is_written(value: Any, text: str) -> None:
    for known in (False, True):
        alone = evaluate("{{ x }}", {"x": value}, known=known)
        assert alone is value
        assert evaluate("<{{ x }}>", {"x": value}, known=known) == f"<{text}>"
        assert evaluate(" {{x}}", {"x": value}, known=known) == f" {text}"
        assert evaluate("{{x}}{{ x }}", {"x": value}, known=known) == text * 2
        assert evaluate("{{ x | string }}", {"x": value}, known=known) == text


def test_a_text_without_expressions_is_itself() -> None:
    for text in ("", "a", "{ }", "}}", "{ {a} }", "{% a %}", "{#", "$x ${x}"):
        assert evaluate(text) == text


def test_the_texts_of_the_reference() -> None:
    variables = {"connection_id": "c1", "message": "hi", "score": 1.0, "query": {}, "player_id": "p"}
    for text, rendered in {
        "Welcome! You are connected as {{ connection_id }}": "Welcome! You are connected as c1",
        "Echo: {{ message }}": "Echo: hi",
        "{{connection_id}}: {{ message }}": "c1: hi",
        "{{ player_id }} scored! Total: {{ score }}": "p scored! Total: 1",
        "Welcome {{ query.name }}!": "Welcome !",
    }.items():
        assert evaluate(text, variables) == rendered


def test_what_was_put_in_is_never_scanned_again() -> None:
    variables = {"message": "{{ secret }} {{", "secret": "no", "inner": "secret"}
    assert evaluate("Echo: {{ message }}", variables) == "Echo: {{ secret }} {{"
    assert evaluate("{{ message }}", variables) == "{{ secret }} {{"
    assert evaluate("{{ '{{' }} secret }}", variables) == "{{ secret }}"
    assert evaluate("{{ '{{ secret }}' }}", variables) == "{{ secret }}"
    assert evaluate("{{ '{' }}{{ '{ secret }}' }}", variables) == "{{ secret }}"
    assert evaluate("{{ '{}' | format(message) }}", variables) == "{{ secret }} {{"
    assert evaluate("a{{ {a: message} }}", variables) == 'a{"a":"{{ secret }} {{"}'


def test_a_text_is_within_its_bound() -> None:
    assert evaluate("{{ x }}{{ y }}", {"x": LARGE, "y": ""}) == LARGE
    for text in ("a{{ x }}", "{{ x }}a{{ y }}", "{{ x }}{{ x }}", "{{ [x] }}{{ y }}"):
        for known in (False, True):
            assert outcome(text, {"x": LARGE, "y": ""}, known=known) == Fails("TOO_LARGE"), text


# -- the error that `Try` caught ---------------------------------------------------------------------------------


def test_an_error_is_its_message_with_members() -> None:
    error = ErrorText.of(Failure("it {{ failed }}", "MINE"))
    for text, value in {
        "{{ error }}": "it {{ failed }}",
        "Broadcast failed: {{ error }}": "Broadcast failed: it {{ failed }}",
        "{{ error.message }}": "it {{ failed }}",
        "{{ error.code }}": "MINE",
        "{{ error['code'] }}": "MINE",
        "{{ error.other }}": None,
        "{{ error == 'it {{ failed }}' }}": True,
        "{{ error | contains('failed') }}": True,
        "{{ error + '!' }}": "it {{ failed }}!",
        "{{ [error] | join }}": "it {{ failed }}",
        "a{{ {e: error} }}": 'a{"e":"it {{ failed }}"}',
    }.items():
        for known in (False, True):
            assert evaluate(text, {"error": error}, known=known) == value, text


def test_an_error_is_encoded_as_its_message() -> None:
    error = ErrorText.of(Failure("it failed", "MINE"))
    assert encode(error) == b'"it failed"'
    assert encode({"a": [error, 1]}) == b'{"a":["it failed",1]}'
    assert type(text_of(error)) is str


def test_what_is_not_json_is_a_failure() -> None:
    for value in (object(), [object()], "\ud800", ["\ud800"]):
        with pytest.raises(Failure):
            encode(value)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)  # fmt: skip


@given(VALUES)
def test_any_value_alone_is_kept_and_its_json_gives_it_back(value: Any) -> None:
    assert evaluate("{{ x }}", {"x": value}) is value
    assert json.loads(evaluate("{{ x | json }}", {"x": value})) == value
    assert evaluate("{{ x | json | json_parse == x }}", {"x": value}) is True
    assert msgspec.json.decode(encode(value)) == value


@pytest.mark.parametrize("value", ["x", 1, [1]], ids=short)
def test_a_list_in_an_expression_is_a_new_one_every_time(value: Any) -> None:
    first, second = (evaluate("{{ [x] }}", {"x": value}) for _ in range(2))
    assert first == second == [value]
    assert first is not second
