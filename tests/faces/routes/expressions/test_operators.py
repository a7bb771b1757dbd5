"""Operators: what each gives of every kind, how strongly it binds, and what is not evaluated."""

from __future__ import annotations

from itertools import product

import pytest

from wireloom.faces.routes.expressions.operators import BINARY, UNARY, WORDS

from .kit import (
    Fails,
    Row,
    fits,
    outcome,
    outcomes,
    problem_of,
    short,
    value_of,
)
from .operator_cases import BINARY_CASES, BINARY_ROWS, UNARY_CASES, UNARY_ROWS


def test_every_operator_has_cases() -> None:
    assert BINARY_CASES.keys() == BINARY.keys()
    assert UNARY_CASES.keys() == UNARY.keys()


@pytest.mark.parametrize(("symbol", "row"), BINARY_ROWS, ids=short)
def test_a_binary_operator(symbol: str, row: Row) -> None:
    for mode, met, expected in outcomes(lambda values: f"({values[0]}) {symbol} ({values[1]})", row):
        assert fits(mode, met, expected), (mode, symbol, short(row), short(met))


@pytest.mark.parametrize(("symbol", "row"), UNARY_ROWS, ids=short)
def test_a_unary_operator(symbol: str, row: Row) -> None:
    for mode, met, expected in outcomes(lambda values: f"{symbol} ({values[0]})", row):
        assert fits(mode, met, expected), (mode, symbol, short(row), short(met))


def test_a_word_is_the_operator_that_it_stands_for() -> None:
    assert WORDS == {"or": "||", "and": "&&", "not": "!"}
    assert value_of("0 or 2") == 2
    assert value_of("1 and 2") == 2
    assert value_of("not 1") is False
    assert value_of("not not 1 and not 0") is True
    assert value_of("{and: 1, or: 2, not: 3}") == {"and": 1, "or": 2, "not": 3}
    assert value_of("a.or", a={"or": 5}) == 5


# -- what is not evaluated ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("true || 1 / zero", True),
        ("1 or 1 / zero", 1),
        ("false && 1 / zero", False),
        ("'' and 1 / zero", ""),
        ("true ? 1 : 1 / zero", 1),
        ("zero ? 1 / zero : 2", 2),
        ("(false && 1 / zero) || 3", 3),
        ("true ? 1 : true ? 1 / zero : 1 / zero", 1),
        ("true || (1 / zero || 1 / zero)", True),
        ("false && 1 / zero && 1 / zero", False),
    ],
)
def test_what_is_not_needed_is_not_evaluated(expression: str, value: object) -> None:
    assert value_of(expression, zero=0) == value


@pytest.mark.parametrize(
    "expression",
    [
        "false || 1 / zero",
        "true && 1 / zero",
        "1 / zero || true",
        "1 / zero && false",
        "true ? 1 / zero : 1",
        "false ? 1 : 1 / zero",
        "1 / zero ? 1 : 1",
    ],
)
def test_what_is_needed_is_evaluated(expression: str) -> None:
    assert outcome("{{ " + expression + " }}", {"zero": 0}) == Fails("DIVISION_BY_ZERO")


def test_branches_give_the_value_of_one() -> None:
    assert value_of("1 ? 'a' : 2") == "a"
    assert value_of("[] ? 'a' : 2") == 2
    assert value_of("0 ? 1 : 0 ? 2 : 3") == 3
    assert value_of("1 ? 0 ? 1 : 2 : 3") == 2
    assert value_of("(1 ? 0 : 1) ? 2 : 3") == 3


# -- precedence ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        # members bind stronger than unary operators
        ("-a.b", -5),
        ("-l[1]", -7),
        ("!a.c", True),
        # unary operators stronger than **
        ("-2 ** 2", 4),
        ("2 ** -1", 0.5),
        ("!0 ** 1 == 1", Fails("WRONG_TYPE")),
        # ** stronger than *, / and %
        ("2 * 3 ** 2", 18),
        ("3 ** 2 * 2", 18),
        ("18 / 3 ** 2", 2),
        ("10 % 3 ** 2", 1),
        # *, / and % stronger than + and -
        ("1 + 2 * 3", 7),
        ("2 * 3 + 1", 7),
        ("7 - 6 / 3", 5),
        ("7 - 5 % 3", 5),
        # + and - stronger than an order
        ("1 + 2 < 4", True),
        ("4 > 1 + 2", True),
        ("1 <= 3 - 2", True),
        ("1 - 2 >= 0", False),
        # the pipe is on the level of + and -
        ("'abcd' | length > 3", True),
        ("3 < 'abcd' | length", True),
        ("1 + '23' | length", Fails("WRONG_TYPE")),  # of the number 24
        ("'1' + '23' | length", 3),
        ("'a' + 'b' | upper", "AB"),
        ("'a' | upper + 'b'", "Ab"),
        ("'a' | upper + 'b' | lower", "ab"),
        ("2 * '3' | number", 6),
        ("2 * [3, 4] | first", Fails("WRONG_TYPE")),
        ("-'12' | string | length", 3),
        ("'abc' | length == 3", True),
        ("'abc' | length - 1", 2),
        ("10 - 'abc' | length", Fails("WRONG_TYPE")),
        ("'abc' | length * 2", 6),  # nothing can be taken from a filter's name
        ("1 + 'abc' | length * 2 + 1", 9),
        # an order stronger than equality
        ("1 < 2 == true", True),
        ("true == 1 < 2", True),
        ("2 != 1 > 0", True),
        # equality stronger than &&
        ("1 == 1 && 2", 2),
        ("0 && 0 == 0", 0),
        ("5 && 0 == 0", True),
        # && stronger than ||
        ("1 || 0 && 0", 1),
        ("0 && 0 || 1", 1),
        ("0 and 0 or 1", 1),
        # || stronger than ? :
        ("0 || 1 ? 2 : 3", 2),
        ("0 ? 1 : 0 || 3", 3),
        ("1 ? 0 || 2 : 3", 2),
        ("!0 && 1", 1),
        ("not 0 == 0", False),  # not binds as !: (not 0) == 0
    ],
)
def test_what_binds_stronger(expression: str, value: object) -> None:
    variables = {"a": {"b": 5, "c": 0}, "l": [6, 7]}
    met = outcome("{{ " + expression + " }}", variables)
    if isinstance(value, Fails):
        assert type(met).__name__ in ("Fails", "Refused"), met
    else:
        assert met == value and type(met) is type(value)


def test_every_pair_of_levels_binds_by_its_level() -> None:
    """``2 f 3 g 4`` is read as its levels say, for every two operators."""
    for (first, one), (second, other) in product(BINARY.items(), repeat=2):
        text = f"{{{{ 2 {first} 3 {second} 4 }}}}"
        left_first = one.level > other.level or (one.level == other.level and not one.from_right)
        brackets = f"(2 {first} 3) {second} 4" if left_first else f"2 {first} (3 {second} 4)"
        assert repr(outcome(text)) == repr(outcome(f"{{{{ {brackets} }}}}")), text


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("10 - 3 - 2", 5),
        ("10 - 3 + 2", 9),
        ("100 / 10 / 2", 5),
        ("100 / 10 * 2", 20),
        ("7 % 4 % 2", 1),
        ("2 ** 3 ** 2", 512),
        ("(2 ** 3) ** 2", 64),
        ("3 == 3 == true", True),
        ("1 < 2 == 2 > 1", True),
        ("'a' + 1 + 2", "a12"),
        ("1 + 2 + 'a'", "3a"),
        ("1 + (2 + 'a')", "12a"),
        ("- - 1", 1),
        ("!!1", True),
        ("-(-1)", 1),
    ],
)
def test_from_which_side_a_row_is_read(expression: str, value: object) -> None:
    met = value_of(expression)
    assert met == value and type(met) is type(value)


def test_a_row_of_orders_has_no_order() -> None:
    assert outcome("{{ 1 < 2 < 3 }}") == outcome("{{ (1 < 2) < 3 }}")
    assert "< takes a number or text, not a bool" in problem_of("{{ 1 < 2 < 3 }}")[0]


# -- what is refused when it is loaded -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message", "place"),
    [
        ("{{ 1 - 'a' }}", "- takes a number, not the text 'a'", "'a'"),
        ("{{ 'a' * 2 }}", "* takes a number, not the text 'a'", "'a'"),
        ("{{ x / null }}", "/ takes a number or text, not null", "null"),
        ("{{ x % true }}", "% takes a number or text, not a bool", "true"),
        ("{{ [1] ** 2 }}", "** takes a number or text, not a list", "[1]"),
        ("{{ -'a' }}", "- takes a number, not the text 'a'", "'a'"),
        ("{{ -[] }}", "- takes a number or text, not a list", "[]"),
        ("{{ {a: 1} < 2 }}", "< takes a number or text, not an object", "{a: 1}"),
        ("{{ 2 >= {} }}", ">= takes a number or text, not an object", "{}"),
        ("{{ 1 + null }}", "+ takes numbers, texts or lists, not a number and null", "1 + null"),
        ("{{ [] + 1 }}", "+ takes numbers, texts or lists, not a list and a number", "[] + 1"),
        ("{{ {} + {} }}", "+ takes numbers, texts or lists, not an object and an object", "{} + {}"),
        ("{{ (x == 1) + true }}", "+ takes numbers, texts or lists, not a bool and a bool", "x == 1) + true"),
        ("{{ 1 - (x == 1) }}", "- takes a number or text, not a bool", "x == 1"),
        ("{{ 1 - !x }}", "- takes a number or text, not a bool", "!x"),
        ("{{ (1).a }}", "a number has no members", "1).a"),
        ("{{ null.a }}", "null has no members", "null.a"),
        ("{{ (1 == 2)['a'] }}", "a bool has no members", "1 == 2)['a']"),
    ],
)
def test_what_cannot_fit_is_refused_with_its_place(text: str, message: str, place: str) -> None:
    start = text.index(place, 3)
    assert problem_of(text, "x") == (message, start, start + len(place))
