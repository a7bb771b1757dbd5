"""Filters: what each gives of every kind, what it takes, and that it changes nothing that it is given."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest

from wireloom.faces.routes.expressions.filters import FILTERS

from .filter_cases import FILTER_CASES, FILTER_ROWS
from .kit import UNSET, Fails, Row, evaluate, fits, outcome, outcomes, problem_of, short


def written(name: str) -> Callable[[list[str]], str]:
    def write(values: list[str]) -> str:
        of, *arguments = values
        return f"({of}) | {name}" + (f"({', '.join(arguments)})" if arguments else "")

    return write


def test_every_filter_has_cases() -> None:
    assert FILTER_CASES.keys() == FILTERS.rows.keys()


@pytest.mark.parametrize(("name", "row"), FILTER_ROWS, ids=short)
def test_a_filter(name: str, row: Row) -> None:
    before = copy.deepcopy(row.values)
    for mode, met, expected in outcomes(written(name), row):
        assert fits(mode, met, expected), (mode, name, short(row), short(met))
    assert repr(row.values) == repr(before)


@pytest.mark.parametrize(
    "names",
    [
        "starts_with startsWith",
        "ends_with endsWith",
        "json_parse jsonParse",
        "base64_encode base64Encode",
        "base64_decode base64Decode",
        "url_encode urlEncode",
        "url_decode urlDecode",
        "html_escape htmlEscape",
    ],
)
def test_both_spellings_are_one_filter(names: str) -> None:
    snake, camel = map(FILTERS.find, names.split())
    assert snake is camel
    assert snake is not None


def test_all_others_have_one_spelling() -> None:
    for name in FILTERS.rows:
        assert FILTERS.find(name) is FILTERS.rows[name]
    assert FILTERS.find("Upper") is None
    assert FILTERS.find("starts-with") is None


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("x | uper", "there is no filter 'uper'; did you mean 'upper'?"),
        ("x | startswith('a')", "there is no filter 'startswith'; did you mean 'starts_with'?"),
        ("x | sha256", "'sha256' is a function; write sha256(…)"),
        ("x | qqqq", "there is no filter 'qqqq'"),
        ("x | upper(1)", "upper takes 0 arguments, not 1"),
        ("x | replace('a')", "replace takes 2 arguments, not 1"),
        ("x | repeat", "repeat takes 1 argument, not 0"),
        ("x | substring(1, 2, 3)", "substring takes 1 to 2 arguments, not 3"),
        ("x | filter", "filter takes 1 or more arguments, not 0"),
    ],
)
def test_what_there_is_not_is_refused_at_its_name(expression: str, message: str) -> None:
    name = expression.split("| ")[1].split("(")[0]
    start = expression.index(name) + 3
    assert problem_of("{{ " + expression + " }}", "x") == (message, start, start + len(name))


@pytest.mark.parametrize(
    ("expression", "message", "place"),
    [
        ("1 | first", "first takes text or a list, not a number", "1"),
        ("null | upper", "upper takes text, a number or a bool, not null", "null"),
        ("x | upper | keys", "keys takes an object, not text", "upper"),
        ("x | repeat('y')", "repeat takes a number, not the text 'y'", "'y'"),
        ("x | replace([], 'a')", "replace takes text, a number or a bool, not a list", "[]"),
        ("x | round({})", "round takes a number or text, not an object", "{}"),
        ("'x' | number | length", "length takes text, a list or an object, not a number", "number"),
    ],
)
def test_what_a_filter_cannot_take_is_refused_at_its_place(expression: str, message: str, place: str) -> None:
    start = expression.index(place) + 3
    assert problem_of("{{ " + expression + " }}", "x") == (message, start, start + len(place))


def test_a_default_stands_for_a_variable_that_is_not_set() -> None:
    variables = {"x": UNSET, "y": 1}
    assert evaluate("{{ x | default(5) }}", variables) == 5
    assert evaluate("{{ x | default(y) + 1 }}", variables) == 2
    assert outcome("{{ x }}", variables) == Fails("NOT_SET")
    assert outcome("{{ x | upper | default(5) }}", variables) == Fails("NOT_SET")
    assert outcome("{{ y | default(x) }}", variables) == Fails("NOT_SET")


def test_a_failure_says_what_was_met_and_what_is_wanted() -> None:
    with pytest.raises(Exception, match="length takes text, a list or an object, not null") as caught:
        evaluate("{{ x | length }}", {"x": None})
    assert type(caught.value).__name__ == "Failure"


def test_every_filter_has_a_line_for_the_documents() -> None:
    assert [row.name for row in FILTERS.rows.values() if not row.help.endswith((".", "`."))] == []


def test_json_of_a_short_text_is_bounded_as_that_of_a_long_one() -> None:
    for levels, gives in ((64, 1), (65, Fails("TOO_LARGE"))):
        assert outcome("{{ deep | json_parse | length }}", {"deep": "[" * levels + "]" * levels}) == gives
    for items, gives in ((100_000, 100_000), (100_001, Fails("TOO_LARGE"))):
        assert outcome("{{ long | json_parse | length }}", {"long": f"[{','.join(['1'] * items)}]"}) == gives
