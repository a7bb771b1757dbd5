"""Mutations: the tables of cases tell every operator, filter and function from all others of its kind.

Each is given the implementation of another; a case of its table must then give something else.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable

import pytest
from tests.identity.kit import make_passwords_cheap

from wireloom.faces.routes.expressions.callables import Table
from wireloom.faces.routes.expressions.filters import FILTERS
from wireloom.faces.routes.expressions.functions import FUNCTIONS
from wireloom.faces.routes.expressions.operators import BINARY, UNARY

from .filter_cases import FILTER_CASES
from .function_cases import FUNCTION_CASES
from .kit import Row, fits, outcome
from .operator_cases import BINARY_CASES, UNARY_CASES

OPERATORS = [(BINARY_CASES, BINARY, symbol) for symbol in BINARY] + [(UNARY_CASES, UNARY, symbol) for symbol in UNARY]

SAME_OF_AN_OBJECT = {"keys": ["unique"], "has": ["contains"]}  # which is all that they are given


@pytest.fixture(autouse=True)
def cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    make_passwords_cheap(monkeypatch)


def is_told(rows: Iterable[Row], write: Callable[[list[str]], str]) -> bool:
    """Whether a row of the table does not hold, or ends with an exception that no expression may end with."""
    for row in rows:
        names = [f"v{index}" for index in range(len(row.values))]
        try:
            met = outcome("{{ " + write(names) + " }}", dict(zip(names, row.values, strict=True)))
        except (TypeError, AttributeError, ValueError, KeyError, OverflowError, AssertionError):
            return True
        if not fits("unknown", met, row.expected):
            return True
    return False


@pytest.mark.parametrize(("cases", "table", "symbol"), OPERATORS, ids=[one[2] for one in OPERATORS[:-1]] + ["minus"])
def test_an_operator_is_told_from_every_other(
    cases: dict[str, list[Row]], table: dict[str, object], symbol: str
) -> None:
    """By its symbol, as `&&`, `||` and `!` have no function that is called."""

    def write(of: str) -> Callable[[list[str]], str]:
        return lambda values: f"{values[0]} {of} {values[1]}" if len(values) == 2 else f"{of} {values[0]}"

    assert not is_told(cases[symbol], write(symbol))
    assert [other for other in table if other != symbol and not is_told(cases[symbol], write(other))] == []


@pytest.mark.parametrize("symbol", [symbol for symbol, operator in BINARY.items() if operator.function is not None])
def test_the_function_of_an_operator_is_told_from_every_other(symbol: str, monkeypatch: pytest.MonkeyPatch) -> None:
    not_told = []
    for other, operator in BINARY.items():
        if other != symbol and operator.function is not None:
            monkeypatch.setitem(BINARY, symbol, dataclasses.replace(BINARY[symbol], function=operator.function))
            if not is_told(BINARY_CASES[symbol], lambda values: f"{values[0]} {symbol} {values[1]}"):
                not_told.append(other)
            monkeypatch.undo()
    assert not_told == []


def not_told(table: Table, name: str, rows: list[Row], write: Callable[[list[str]], str]) -> list[str]:
    """The others whose implementation, in the place of its own, no row tells."""
    assert not is_told(rows, write)
    found = []
    for other, row in table.rows.items():
        mutant = dataclasses.replace(table.rows[name], function=row.function, waits=row.waits)
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(table._spellings, name, mutant)
            if other != name and not is_told(rows, write):
                found.append(other)
    return found


@pytest.mark.parametrize("name", FILTERS.rows)
def test_a_filter_is_told_from_every_other(name: str) -> None:
    def write(values: list[str]) -> str:
        return f"{values[0]} | {name}" + (f"({', '.join(values[1:])})" if values[1:] else "")

    assert not_told(FILTERS, name, FILTER_CASES[name], write) == SAME_OF_AN_OBJECT.get(name, [])


@pytest.mark.parametrize("name", FUNCTIONS.rows)
def test_a_function_is_told_from_every_other(name: str) -> None:
    assert not_told(FUNCTIONS, name, FUNCTION_CASES[name], lambda values: f"{name}({', '.join(values)})") == []
