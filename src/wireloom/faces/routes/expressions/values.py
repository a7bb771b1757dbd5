"""Values: what expressions work on, JSON's six kinds, and how they are compared, joined and written.

Laws:
- Nothing here gives a value that is not JSON: no NaN, no whole number beyond 64 bits, nothing larger than its bound.
- Every refusal is a `Failure` that says which kind was met and which is wanted.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from math import isfinite
from typing import Any

import msgspec

from wireloom.faces.routes.failure import ErrorText, Failure

__all__ = [
    "BITS_64",
    "MAX_DEPTH",
    "MAX_ITEMS",
    "MAX_TEXT",
    "a_kind",
    "bounded",
    "encode",
    "equal",
    "extreme",
    "joined",
    "json_of",
    "kind_of",
    "member",
    "number_of",
    "order",
    "parse_json",
    "parse_number",
    "sized",
    "text_of",
    "text_or_fail",
    "tidy",
    "too_large",
    "utf8_of",
    "whole",
]

MAX_TEXT = 1024 * 1024  # characters of one text
MAX_ITEMS = 100_000  # values within one value, however they are nested
MAX_DEPTH = 64  # levels of one value

BITS_64 = range(-(2**63), 2**63)  # whole numbers as JSON's readers and databases have them

_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_MAX_DIGITS = 400
_MANY_DIGITS = re.compile(r"\d{19}", re.ASCII)  # as many as a whole number beyond 64 bits has at least
_KINDS: dict[type, str] = {str: "text", int: "number", float: "number", bool: "bool", list: "list", dict: "object"}
_decode = msgspec.json.Decoder().decode


def kind_of(value: Any) -> str:
    """``"null"``, ``"bool"``, ``"number"``, ``"text"``, ``"list"`` or ``"object"``."""
    if value is None:
        return "null"
    return _KINDS.get(value.__class__) or ("text" if isinstance(value, str) else "object")


def a_kind(value: Any) -> str:
    """A value's kind as it stands in a sentence: ``a list``, ``null``."""
    kind = kind_of(value)
    return kind if kind in ("null", "text") else f"an {kind}" if kind == "object" else f"a {kind}"


# -- bounds --------------------------------------------------------------------------------------------------------


def sized(text: str) -> str:
    """A text, if it is not too long."""
    if len(text) > MAX_TEXT:
        raise too_large(f"a text of more than {MAX_TEXT} characters")
    return text


def joined(*texts: str) -> str:
    """Texts one after the other, if they are not too long together."""
    if sum(map(len, texts)) > MAX_TEXT:
        raise too_large(f"a text of more than {MAX_TEXT} characters")
    return "".join(texts)


def bounded(value: Any) -> Any:
    """A value that is to be kept, if it is not too large. What it shares with others counts as often as it occurs."""
    if value.__class__ is str:
        return sized(value)
    if isinstance(value, list | dict):
        _measure(value)
    return value


def _measure(value: Any) -> None:
    level, items, characters = [value], 0, 0
    for _ in range(MAX_DEPTH):
        inner: list[Any] = []
        for one in level:
            members = one if isinstance(one, list) else [*one, *one.values()]
            items += len(members)
            if items > MAX_ITEMS:
                raise too_large(f"a value of more than {MAX_ITEMS} items")
            characters += sum(len(member) for member in members if isinstance(member, str))
            inner += [member for member in members if isinstance(member, list | dict)]
        if characters > MAX_TEXT:
            raise too_large(f"a value of more than {MAX_TEXT} characters")
        level = inner
        if not level:
            return
    raise too_large(f"a value of more than {MAX_DEPTH} levels")


def too_large(what: str) -> Failure:
    """What is raised for a value beyond its bound."""
    return Failure(f"the result would be {what}", "TOO_LARGE")


def tidy(number: int | float) -> int | float:
    """A number as it is kept: a whole one is an int.

    Raises:
        Failure: ``NOT_A_NUMBER``: it is beyond 64 bits, or infinite.
    """
    if isinstance(number, int):
        if number in BITS_64:
            return number
    elif isfinite(number):
        return int(number) if number.is_integer() and abs(number) < 2**53 else number
    raise Failure("the result is no number of 64 bits", "NOT_A_NUMBER")


# -- from one kind to another --------------------------------------------------------------------------------------


def text_of(value: Any) -> str:
    """A value as it stands in a text: null is empty, lists and objects are compact JSON."""
    if value.__class__ is str:
        return str(value)
    if value is None:
        return ""
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
    return json_of(value) if isinstance(value, list | dict) else str(value)


def json_of(value: Any) -> str:
    """Compact JSON."""
    if isinstance(value, list | dict):
        _measure(value)
    return sized(encode(value).decode())


def _as_json(value: Any) -> Any:
    if isinstance(value, ErrorText):
        return str(value)
    raise Failure(f"a {value.__class__.__name__} cannot be written as JSON", "WRONG_TYPE")


_encode = msgspec.json.Encoder(enc_hook=_as_json).encode


def encode(value: Any) -> bytes:
    """The compact JSON of whatever an expression gives, an `ErrorText` in it too, in UTF-8 and however large.

    Raises:
        Failure: it is not JSON.
    """
    try:
        return _encode(value)
    except UnicodeEncodeError:
        raise _half_a_pair() from None


def utf8_of(text: str) -> bytes:
    """A text in UTF-8.

    Raises:
        Failure: ``WRONG_VALUE``: half of a surrogate pair is in it.
    """
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise _half_a_pair() from None


def _half_a_pair() -> Failure:
    return Failure("the text has half of a surrogate pair, which is no character", "WRONG_VALUE")


def parse_json(text: str) -> Any:
    """The value of a JSON text. A whole number beyond 64 bits becomes a float, as in an expression.

    Raises:
        Failure: ``INVALID_JSON``, or it is too large.
    """
    try:
        value = _decode(text)
        if len(text) > MAX_ITEMS or text.count("[") + text.count("{") > MAX_DEPTH:
            bounded(value)  # a shorter text has nothing to measure: an item, a level and a character each take one
        return _narrow(value) if _MANY_DIGITS.search(text) else value
    except (msgspec.DecodeError, UnicodeError, RecursionError, OverflowError):
        raise Failure("the text is not JSON", "INVALID_JSON") from None


def _narrow(value: Any) -> Any:
    if isinstance(value, list):
        return [_narrow(item) for item in value]
    if isinstance(value, dict):
        return {name: _narrow(item) for name, item in value.items()}
    return value if not isinstance(value, int) or value in BITS_64 else float(value)


def parse_number(text: str) -> int | float | None:
    """The number that a text writes, blanks around it allowed; None where it writes none."""
    bare = text.strip()
    if len(bare) > _MAX_DIGITS or not _NUMBER.fullmatch(bare):
        return None
    number = float(bare)
    if bare.lstrip("+-").isdigit():
        whole_number = int(bare)
        if whole_number in BITS_64:
            return whole_number
    return number if isfinite(number) else None


def number_of(value: Any, wanting: str) -> int | float:
    """A number, or the number that a text writes.

    Args:
        wanting: what asks, for the message.

    Raises:
        Failure: ``WRONG_TYPE``.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    number = parse_number(value) if isinstance(value, str) else None
    if number is None:
        met = f"the text {_short(value)}" if isinstance(value, str) else a_kind(value)
        raise Failure(f"{wanting} takes a number, not {met}", "WRONG_TYPE")
    return number


def whole(number: float, wanting: str) -> int:
    """A number as an int.

    Raises:
        Failure: ``WRONG_VALUE``: it has a fraction.
    """
    if isinstance(number, float) and not number.is_integer():
        raise Failure(f"{wanting} takes whole numbers, not {number}", "WRONG_VALUE")
    return int(number)


def text_or_fail(value: Any, wanting: str) -> str:
    """A text, or a number or bool as text.

    Raises:
        Failure: ``WRONG_TYPE``.
    """
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, list | dict):
        raise Failure(f"{wanting} takes text, not {a_kind(value)}", "WRONG_TYPE")
    return text_of(value)


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:39] + "…")


# -- within ----------------------------------------------------------------------------------------------------------


def member(value: Any, key: Any) -> Any:
    """``value.key`` and ``value[key]``; null where there is no such member or item."""
    if isinstance(value, dict):
        return value.get(key if key.__class__ is str else text_of(key))
    if isinstance(value, list | str) and key.__class__ is int:
        return value[key] if -len(value) <= key < len(value) else None
    if isinstance(value, ErrorText):
        return {"message": str(value), "code": value.code}.get(key) if isinstance(key, str) else None
    return None


# -- comparing -----------------------------------------------------------------------------------------------------


def equal(left: Any, right: Any) -> bool:
    """``==``: a numeric text equals its number; else values of different kinds are never equal."""
    first, second = kind_of(left), kind_of(right)
    if first != second:
        if first == "number" and second == "text":
            return bool(parse_number(right) == left)
        return first == "text" and second == "number" and bool(parse_number(left) == right)
    if first == "list":
        return len(left) == len(right) and all(map(equal, left, right))
    if first == "object":
        return left.keys() == right.keys() and all(equal(value, right[name]) for name, value in left.items())
    return bool(left == right)


def order(left: Any, right: Any) -> tuple[Any, Any]:
    """Both sides as Python compares them: two numbers, a number and a numeric text, or two texts.

    Raises:
        Failure: ``WRONG_TYPE``: they have no order.
    """
    first, second = kind_of(left), kind_of(right)
    if first == second and first in ("number", "text"):
        return left, right
    if first in ("number", "text") and second in ("number", "text"):
        numbers = parse_number(left) if first == "text" else left, parse_number(right) if second == "text" else right
        if None not in numbers:
            return numbers
    raise Failure(f"{a_kind(left)} and {a_kind(right)} have no order", "WRONG_TYPE")


def extreme(values: list[Any], better: Callable[[Any, Any], bool]) -> Any:
    """The value that no other is better than; null of none.

    Raises:
        Failure: ``WRONG_TYPE``: two have no order.
    """
    found = values[0] if values else None
    for value in values[1:]:
        if better(*order(found, value)):
            found = value
    return found
