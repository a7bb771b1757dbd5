"""Operators: one table, from which the parser takes their precedence, the compiler their functions and the docs a row.

Law: what an operator does with each kind of value stands in its function, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from wireloom.faces.routes.expressions.values import (
    MAX_ITEMS,
    a_kind,
    equal,
    number_of,
    order,
    parse_number,
    sized,
    text_of,
    tidy,
    too_large,
)
from wireloom.faces.routes.failure import Failure

__all__ = ["BINARY", "UNARY", "WORDS", "Operator", "divide"]

_MAX_POWER = 1024


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator.

    Args:
        symbol: as it is written.
        level: how strongly it binds; higher is stronger.
        function: what it does; None where not all operands are evaluated, which the compiler sees to.
        takes: the kinds of its operands.
        gives: the kind of its result; ``any`` where that depends.
        help: for the documents.
        word: how else it may be written.
        from_right: ``a ** b ** c`` is ``a ** (b ** c)``.
    """

    symbol: str
    level: int
    function: Callable[..., Any] | None
    takes: tuple[str, ...]
    gives: str
    help: str
    word: str = ""
    from_right: bool = False


def add(left: Any, right: Any) -> Any:
    """The sum of numbers; a number and a numeric text are added too. Else a text is joined; two lists are joined."""
    if isinstance(left, str) or isinstance(right, str):
        return _add_text(left, right)
    if isinstance(left, list) and isinstance(right, list):
        if len(left) + len(right) > MAX_ITEMS:
            raise too_large(f"a list of more than {MAX_ITEMS} items")
        return left + right
    if _is_number(left) and _is_number(right):
        return tidy(left + right)
    raise Failure(f"+ takes numbers, texts or lists, not {a_kind(left)} and {a_kind(right)}", "WRONG_TYPE")


def _add_text(left: Any, right: Any) -> Any:
    numbers = (left if _is_number(left) else None, right if _is_number(right) else None)
    if numbers[0] is not None and (second := parse_number(right)) is not None:
        return tidy(numbers[0] + second)
    if numbers[1] is not None and (first := parse_number(left)) is not None:
        return tidy(first + numbers[1])
    return sized(text_of(left) + text_of(right))


def _is_number(value: Any) -> bool:
    return value.__class__ is int or value.__class__ is float


def subtract(left: Any, right: Any) -> int | float:
    """The difference."""
    return tidy(number_of(left, "-") - number_of(right, "-"))


def multiply(left: Any, right: Any) -> int | float:
    """The product."""
    return tidy(number_of(left, "*") * number_of(right, "*"))


def divide(left: Any, right: Any) -> int | float:
    """The quotient; a whole one is a whole number."""
    dividend, divisor = number_of(left, "/"), number_of(right, "/")
    _refuse_zero(divisor)
    if isinstance(dividend, int) and isinstance(divisor, int) and dividend % divisor == 0:
        return tidy(dividend // divisor)
    return tidy(dividend / divisor)


def remainder(left: Any, right: Any) -> int | float:
    """The remainder of a division, which has the sign of the divisor."""
    dividend, divisor = number_of(left, "%"), number_of(right, "%")
    _refuse_zero(divisor)
    return tidy(dividend % divisor)


def _refuse_zero(divisor: float) -> None:
    if divisor == 0:
        raise Failure("division by zero", "DIVISION_BY_ZERO")


def power(left: Any, right: Any) -> int | float:
    """One number to the power of another."""
    base, exponent = number_of(left, "**"), number_of(right, "**")
    if base == 0 and exponent < 0:
        raise Failure("division by zero", "DIVISION_BY_ZERO")
    try:
        result = base**exponent if abs(exponent) <= _MAX_POWER else float(base) ** exponent
    except OverflowError:
        result = float("inf")
    if isinstance(result, complex):
        raise Failure("a root of a negative number is no number", "NOT_A_NUMBER")
    return tidy(result)


def negate(value: Any) -> int | float:
    """The number with the other sign."""
    return tidy(-number_of(value, "-"))


def negation(value: Any) -> bool:
    """Whether the value is null, false, 0, or an empty text, list or object."""
    return not value


def unequal(left: Any, right: Any) -> bool:
    """The contrary of ``==``."""
    return not equal(left, right)


def less(left: Any, right: Any) -> bool:
    """Whether a number or text comes before another."""
    first, second = order(left, right)
    return bool(first < second)


def at_most(left: Any, right: Any) -> bool:
    """Whether a number or text comes before another, or is the same."""
    first, second = order(left, right)
    return bool(first <= second)


def greater(left: Any, right: Any) -> bool:
    """Whether a number or text comes after another."""
    first, second = order(left, right)
    return bool(first > second)


def at_least(left: Any, right: Any) -> bool:
    """Whether a number or text comes after another, or is the same."""
    first, second = order(left, right)
    return bool(first >= second)


_NUMBERS = ("number", "text")
_ORDERED = ("number", "text")
_ANYTHING = ("null", "bool", "number", "text", "list", "object")

_BINARY = (
    Operator("||", 1, None, _ANYTHING, "any", "the left value if it counts as true, else the right one", "or"),
    Operator("&&", 2, None, _ANYTHING, "any", "the left value if it counts as false, else the right one", "and"),
    Operator("==", 3, equal, _ANYTHING, "bool", "the same value; a numeric text is the same as its number"),
    Operator("!=", 3, unequal, _ANYTHING, "bool", "not the same value"),
    Operator("<", 4, less, _ORDERED, "bool", "less, of two numbers or two texts"),
    Operator("<=", 4, at_most, _ORDERED, "bool", "less or equal"),
    Operator(">", 4, greater, _ORDERED, "bool", "greater"),
    Operator(">=", 4, at_least, _ORDERED, "bool", "greater or equal"),
    Operator("+", 5, add, _ANYTHING, "any", "the sum; joins texts, and lists"),
    Operator("-", 5, subtract, _NUMBERS, "number", "the difference"),
    Operator("*", 6, multiply, _NUMBERS, "number", "the product"),
    Operator("/", 6, divide, _NUMBERS, "number", "the quotient; `DIVISION_BY_ZERO`"),
    Operator("%", 6, remainder, _NUMBERS, "number", "the remainder, with the sign of the divisor"),
    Operator("**", 7, power, _NUMBERS, "number", "to the power of", from_right=True),
)
_UNARY = (
    Operator("!", 8, negation, _ANYTHING, "bool", "true for null, false, 0, and an empty text, list or object", "not"),
    Operator("-", 8, negate, _NUMBERS, "number", "the number with the other sign"),
)

BINARY = {operator.symbol: operator for operator in _BINARY}
UNARY = {operator.symbol: operator for operator in _UNARY}
WORDS = {operator.word: operator.symbol for operator in (*_BINARY, *_UNARY) if operator.word}
