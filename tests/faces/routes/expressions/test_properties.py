"""Properties: no message is ever read as an expression, and no expression ends but with a value or a refusal."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.identity.kit import make_passwords_cheap

from wireloom.faces.routes.expressions.filters import FILTERS
from wireloom.faces.routes.expressions.functions import FUNCTIONS
from wireloom.faces.routes.expressions.operators import BINARY
from wireloom.faces.routes.expressions.parser import parse
from wireloom.faces.routes.expressions.problem import ExpressionProblem
from wireloom.faces.routes.expressions.template import parse_condition, split
from wireloom.faces.routes.expressions.tree import (
    Binary,
    Call,
    Choice,
    Constant,
    Filtered,
    Items,
    Member,
    Name,
    Node,
    Pairs,
    Unary,
)

from .kit import Fails, Refused, evaluate, holds, is_json, outcome


@pytest.fixture(autouse=True, scope="module")
def cheap_passwords() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        make_passwords_cheap(patch)
        yield


# -- messages ------------------------------------------------------------------------------------------------------

MESSAGES = st.one_of(
    st.text(),
    st.lists(
        st.sampled_from(["{{", "}}", "{", "}", " secret ", "message", "1 / 0", "'", '"', "\\", "|", "{0}", "%s", "\0"])
        | st.text(max_size=2),
        max_size=12,
    ).map("".join),
)
IDENTITIES = (
    "string",
    "default('x')",
    "reverse | reverse",
    "json | json_parse",
    "base64_encode | base64_decode",
    "url_encode | url_decode",
    "split('') | join",
    "split(',') | join(',')",
    "slice(0)",
    "substring(0)",
    "repeat(1)",
    "truncate(1000000)",
    "replace('\\0\\0\\0', 'x')",
    "get('x', message)",
)


@given(MESSAGES)
def test_an_echo_is_verbatim(message: str) -> None:
    variables = {"message": message, "secret": "SECRET"}
    for known in (False, True):
        assert evaluate("Echo: {{ message }}", variables, known=known) == f"Echo: {message}"
        assert evaluate("{{ message }}", variables, known=known) == message
        assert evaluate("{{ message }}{{ message }}!", variables, known=known) == f"{message}{message}!"
    assert evaluate("{{ {echo: [message]} }}", variables) == {"echo": [message]}
    assert evaluate("Echo: {{ [message] }}", variables) == "Echo: " + evaluate("{{ [message] | json }}", variables)


@given(MESSAGES, st.lists(st.sampled_from(IDENTITIES), min_size=1, max_size=4))
def test_an_echo_through_filters_is_verbatim(message: str, filters: list[str]) -> None:
    text = "Echo: {{ message | " + " | ".join(filters) + " }}"
    assert evaluate(text, {"message": message}) == f"Echo: {message}"


@given(MESSAGES)
def test_a_message_as_a_literal_is_verbatim(message: str) -> None:
    assert evaluate("{{ " + json.dumps(message) + " }}") == message
    assert evaluate("{{ " + json.dumps(message, ensure_ascii=False) + " }}") == message


@given(st.text(), st.text())
def test_a_condition_holds_as_python_says(message: str, other: str) -> None:
    variables = {"message": message, "other": other}
    assert holds("message == other", variables) is (message == other)
    assert holds("message | contains(other)", variables) is (other in message)
    assert holds("message | startsWith(other)", variables) is message.startswith(other)
    assert holds("message < other", variables) is (message < other)
    assert holds("message | length > 3", variables) is (len(message) > 3)


# -- expressions ---------------------------------------------------------------------------------------------------

VARIABLES: dict[str, Any] = {
    "text": "a😀,b",
    "digits": "12",
    "zero": 0,
    "big": 2**63 - 1,
    "half": -0.5,
    "huge": 1e308,
    "nothing": None,
    "yes": True,
    "items": [3, 1, "2", None],
    "rows": [{"n": 1}, {"n": 2}],
    "user": {"id": "u", "n": {"deep": [1]}},
    "long": "x" * 700_000,
    "many": [0] * 60_000,
}
LEAVES = st.sampled_from(
    [*VARIABLES, "0", "1", "-1", "2.5", "1e308", "9223372036854775807", "true", "false", "null", "''", "'n'", "'%Y'",
     "\"{}\"", "[]", "{}", "'\\ud83d\\ude00'", "64"]
)  # fmt: skip


def _filter(row: Any) -> st.SearchStrategy[str]:
    return st.sampled_from([one for one in row.rows if one not in ("hash_password", "verify_password")])


def _grow(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    arguments = st.lists(inner, max_size=3).map(", ".join)
    symbols = st.sampled_from([*BINARY, "and", "or"])
    return st.one_of(
        st.tuples(inner, symbols, inner).map(" ".join),
        st.tuples(inner, symbols, inner).map(lambda parts: f"({' '.join(parts)})"),
        st.tuples(st.sampled_from(["!", "-", "not "]), inner).map("".join),
        st.tuples(inner, inner, inner).map(lambda parts: "{} ? {} : {}".format(*parts)),
        st.tuples(inner, _filter(FILTERS), arguments).map(lambda parts: "{} | {}({})".format(*parts)),
        st.tuples(inner, _filter(FILTERS)).map(" | ".join),
        st.tuples(_filter(FUNCTIONS), arguments).map(lambda parts: "{}({})".format(*parts)),
        arguments.map(lambda text: f"[{text}]"),
        st.tuples(inner, inner).map(lambda parts: "{{a: {}, 'n': {}}}".format(*parts)),
        st.tuples(inner, inner).map(lambda parts: "{}[{}]".format(*parts)),
        st.tuples(inner, st.sampled_from(["n", "id", "a"])).map(".".join),
    )


EXPRESSIONS = st.recursive(LEAVES, _grow, max_leaves=12)


@settings(max_examples=1000, deadline=2000)
@given(EXPRESSIONS)
def test_an_expression_gives_json_or_a_refusal(expression: str) -> None:
    met = outcome("{{ " + expression + " }}", VARIABLES)
    assert isinstance(met, Fails | Refused) or is_json(met)
    known = outcome("{{ " + expression + " }}", VARIABLES, known=True)
    assert isinstance(known, Refused) or type(known) is type(met)
    text = outcome("= {{ " + expression + " }}", VARIABLES)
    assert isinstance(text, str | Fails | Refused)


CHARACTERS = st.lists(
    st.sampled_from([*"{}()[]|&=!<>+-*/%.,:?'\"\\ \n0159aexy_é😀\0\ud800\u2028", "{{", "}}", "**", "&&", "not "])
    | st.characters(),
    max_size=40,
).map("".join)


@settings(max_examples=1000)
@given(CHARACTERS)
def test_any_characters_are_an_expression_or_are_refused_with_their_place(text: str) -> None:
    for read in (lambda: split("{{ " + text + " }}"), lambda: split(text), lambda: parse_condition(text)):
        try:
            assert read()
        except ExpressionProblem as problem:
            assert problem.message.isprintable() or "\n" in text or not text.isprintable()
            assert 0 <= problem.start <= problem.end <= len(text) + 6
    met = outcome("a {{ " + text + " }}", {"x": 1, "y": "2"})
    assert isinstance(met, str | Fails | Refused)


# -- print and parse -----------------------------------------------------------------------------------------------


def printed(node: Node) -> str:
    """A tree as text, with all its brackets."""
    match node:
        case Constant(value=value):
            return json.dumps(value)
        case Name(name=name):
            return name
        case Items(items=items):
            return f"[{', '.join(map(printed, items))}]"
        case Pairs(pairs=pairs):
            return "{" + ", ".join(f"{json.dumps(name)}: {printed(value)}" for name, value in pairs) + "}"
        case Member(of=of, key=key):
            return f"({printed(of)})[{printed(key)}]"
        case Unary(symbol=symbol, of=of):
            return f"{symbol}({printed(of)})"
        case Binary(symbol=symbol, left=left, right=right):
            return f"({printed(left)}) {symbol} ({printed(right)})"
        case Choice(condition=condition, then=then, otherwise=otherwise):
            return f"({printed(condition)}) ? ({printed(then)}) : ({printed(otherwise)})"
        case Filtered(of=of, name=name, arguments=arguments):
            return f"({printed(of)}) | {name}({', '.join(map(printed, arguments))})"
        case Call(name=name, arguments=arguments):
            return f"{name}({', '.join(map(printed, arguments))})"


@given(EXPRESSIONS)
def test_what_is_printed_is_parsed_to_the_same(expression: str) -> None:
    try:
        once = printed(parse(expression)[0])
        twice = printed(parse(once)[0])
    except ExpressionProblem as problem:
        assert "levels" in problem.message or "left over" in problem.message or "missing" in problem.message
        return
    assert once == twice
