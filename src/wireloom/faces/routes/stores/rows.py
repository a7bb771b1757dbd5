"""Rows: what a database gives as JSON has it.

Law: every value becomes null, a bool, a number, a text, a list or an object; only one that is too large makes a row
fail, before anything is made of it.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from math import isfinite
from typing import Any

from wireloom.faces.routes.expressions.values import BITS_64, MAX_TEXT, too_large

__all__ = ["as_rows", "plain"]


def as_rows(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[dict[str, Any]]:
    """Rows as objects. Of two columns of one name, the last one counts.

    Args:
        names: of the columns.
        rows: their values.
    """
    return [dict(zip(names, map(plain, row), strict=True)) for row in rows]


def plain(value: Any) -> Any:
    """A value of a column as JSON has it.

    Times are ISO 8601, spans of time seconds, bytes base64; json and jsonb are what they hold; a decimal number is an
    int when it is whole and has 64 bits, else a float; what is no finite number is null. All else becomes text.
    """
    if value is None or value.__class__ is bool:
        return value
    for kind, convert in _CONVERT:
        if isinstance(value, kind):
            return convert(value)
    if hasattr(value, "items"):  # PostgreSQL's composite types
        return {str(name): plain(member) for name, member in value.items()}
    if hasattr(value, "as_string"):  # its strings of bits
        return value.as_string().replace(" ", "")
    return str(value)


def _text(text: str) -> str:
    """The type json may hold half a surrogate pair, which UTF-8 cannot."""
    _require_small(len(text))
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _whole(number: int) -> int | float | None:
    return number if number in BITS_64 else _decimal(Decimal(number))


def _finite(number: float) -> float | None:
    return number if isfinite(number) else None


def _decimal(number: Decimal) -> int | float | None:
    if not number.is_finite():
        return None
    whole = number == number.to_integral_value() and int(number) in BITS_64
    return int(number) if whole else _finite(float(number))


def _iso(moment: date | time) -> str:
    return moment.isoformat()


def _base64(data: bytes) -> str:
    _require_small(len(data))
    return b64encode(data).decode()


def _require_small(size: int) -> None:
    if size > MAX_TEXT:
        raise too_large(f"a value of more than {MAX_TEXT} characters or bytes")


def _items(values: Iterable[Any]) -> list[Any]:
    return [plain(value) for value in values]


_CONVERT: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    (str, _text),
    (int, _whole),
    (float, _finite),
    (Decimal, _decimal),
    (datetime | date | time, _iso),
    (timedelta, timedelta.total_seconds),
    (bytes | bytearray | memoryview, _base64),
    (list | tuple | set | frozenset, _items),
)
