"""Filters: ``value | name(arguments)``. Each is one small function; its annotations are what the compiler checks.

Law: a filter changes nothing that it is given, and what it gives is within the bounds of `values`.
"""

from __future__ import annotations

import base64
import binascii
import html
import math
import re
import unicodedata
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from wireloom.faces.routes.expressions.callables import Table
from wireloom.faces.routes.expressions.values import (
    MAX_ITEMS,
    MAX_TEXT,
    equal,
    extreme,
    json_of,
    kind_of,
    member,
    number_of,
    parse_json,
    sized,
    text_of,
    text_or_fail,
    tidy,
    too_large,
    utf8_of,
    whole,
)
from wireloom.faces.routes.failure import Failure

__all__ = ["FILTERS"]

FILTERS = Table("filter")

_NO_FRACTION = 2**53  # floats beyond it are whole
_EXACT = Context(prec=400)
_WORD = re.compile(r"[^\W\d_]+(?:['’\u0300-\u036f]+[^\W\d_]+)*")  # with its apostrophes and accents
_PLACEHOLDER = re.compile(r"\{(\d{0,4})\}")
_SLICE = 4096
_NOT_A_SLUG = re.compile(r"[^a-z0-9]+")


# -- text ----------------------------------------------------------------------------------------------------------


@FILTERS.add("upper")
def _upper(text: str) -> str:
    """In capitals."""
    return sized(text.upper())


@FILTERS.add("lower")
def _lower(text: str) -> str:
    """In small letters."""
    return sized(text.lower())


@FILTERS.add("trim")
def _trim(text: str) -> str:
    """Without the blanks at both ends."""
    return text.strip()


@FILTERS.add("capitalize")
def _capitalize(text: str) -> str:
    """The first letter a capital, all others small."""
    return sized(text.capitalize())


@FILTERS.add("title", slow=("text",))
def _title(text: str) -> str:
    """The first letter of every word a capital, all others small."""
    return sized(_WORD.sub(lambda word: word[0].capitalize(), text))


@FILTERS.add("replace")
def _replace(text: str, old: str, new: str) -> str:
    """Every occurrence of one text replaced by another."""
    if not old:
        raise Failure("replace takes a text to look for that is not empty", "WRONG_VALUE")
    if len(new) > len(old) and len(text) + text.count(old) * (len(new) - len(old)) > MAX_TEXT:
        raise too_large(f"a text of more than {MAX_TEXT} characters")
    return text.replace(old, new)


@FILTERS.add("split")
def _split(text: str, separator: str = " ") -> list[Any]:
    """The parts between separators; an empty separator gives the characters."""
    if (text.count(separator) + 1 if separator else len(text)) > MAX_ITEMS:
        raise too_large(f"a list of more than {MAX_ITEMS} items")
    return text.split(separator) if separator else list(text)


@FILTERS.add("join", slow=("list",))
def _join(items: list[Any], separator: str = "") -> str:
    """The items as text, with a separator between them."""
    texts, room = [], MAX_TEXT + len(separator)
    for item in items:
        text = text_of(item)
        room -= len(text) + len(separator)
        if room < 0:
            raise too_large(f"a text of more than {MAX_TEXT} characters")
        texts.append(text)
    return separator.join(texts)


@FILTERS.add("substring")
def _substring(text: str, start: int, length: Any = None) -> str:
    """From a place on (0 is the first, -1 the last character), so many characters, or all that follow."""
    first = whole(start, "substring")
    first = max(len(text) + first, 0) if first < 0 else first
    if length is None:
        return text[first:]
    return text[first : first + max(whole(number_of(length, "substring"), "substring"), 0)]


@FILTERS.add("slice")
def _slice(value: str | list[Any], start: int, end: Any = None) -> Any:
    """From one place up to, and without, another, of a text or list; negative places count from the end."""
    last = None if end is None else whole(number_of(end, "slice"), "slice")
    return value[whole(start, "slice") : last]


@FILTERS.add("repeat")
def _repeat(text: str, times: int) -> str:
    """The text so many times."""
    count = max(whole(times, "repeat"), 0)
    if count * len(text) > MAX_TEXT:
        raise too_large(f"a text of more than {MAX_TEXT} characters")
    return text * min(count, MAX_TEXT)


@FILTERS.add("contains", slow=("list",))
def _contains(value: str | list[Any] | dict[str, Any], part: Any) -> bool:
    """Whether a text has a part, a list an item, or an object a member of this name."""
    if isinstance(value, str):
        return text_or_fail(part, "contains") in value
    if isinstance(value, list):
        return any(equal(item, part) for item in value)
    return isinstance(part, str) and part in value


@FILTERS.add("startsWith")
def _starts_with(text: str, part: str) -> bool:
    """Whether the text begins with another."""
    return text.startswith(part)


@FILTERS.add("endsWith")
def _ends_with(text: str, part: str) -> bool:
    """Whether the text ends with another."""
    return text.endswith(part)


@FILTERS.add("truncate")
def _truncate(text: str, length: int, end: str = "…") -> str:
    """At most so many characters, the end of which says that there were more."""
    most = whole(length, "truncate")
    if len(text) <= most:
        return text
    return text[: max(most - len(end), 0)] + end[: max(most, 0)]


@FILTERS.add("slugify", slow=("text",))
def _slugify(text: str) -> str:
    """As part of an address: small letters and digits of ASCII, with hyphens between words."""
    plain = "".join(_in_ascii(text[at : at + _SLICE]) for at in range(0, len(text), _SLICE))
    return sized(_NOT_A_SLUG.sub("-", plain.lower()).strip("-"))


def _in_ascii(text: str) -> str:
    """What ASCII has of every character; one by one, as a few become very long and are left out at once."""
    plain = {sign: unicodedata.normalize("NFKD", sign).encode("ascii", "ignore").decode() for sign in set(text)}
    return "".join(map(plain.__getitem__, text))


@FILTERS.add("format")
def _format(text: str, *values: Any) -> str:
    """Values in the place of ``{}``, one after the other, or of ``{0}``, ``{1}``."""
    following = iter(range(len(values)))
    texts: dict[int, str] = {}
    room = MAX_TEXT

    def write(match: re.Match[str]) -> str:
        nonlocal room
        index = int(match[1]) if match[1] else next(following, len(values))
        if index >= len(values):
            raise Failure(f"format has {len(values)} values, too few for {match[0]}", "WRONG_VALUE")
        if index not in texts:
            texts[index] = text_of(values[index])
        room -= len(texts[index])
        if room < 0:
            raise too_large(f"a text of more than {MAX_TEXT} characters")
        return texts[index]

    return sized(_PLACEHOLDER.sub(write, text))


# -- text as something else --------------------------------------------------------------------------------------


@FILTERS.add("json", slow=("list", "object"))
def _json(value: Any) -> str:
    """As compact JSON."""
    return json_of(value)


@FILTERS.add("json_parse", slow=("text",))
def _json_parse(text: str) -> Any:
    """The value of a JSON text; `INVALID_JSON`."""
    return parse_json(text)


@FILTERS.add("base64_encode")
def _base64_encode(text: str) -> str:
    """In Base64."""
    return sized(base64.b64encode(utf8_of(text)).decode())


@FILTERS.add("base64_decode")
def _base64_decode(text: str) -> str:
    """The text that was written in Base64; `WRONG_VALUE`."""
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, ValueError):
        raise Failure("base64_decode takes text in UTF-8 that was written in Base64", "WRONG_VALUE") from None


@FILTERS.add("url_encode", slow=("text",))
def _url_encode(text: str) -> str:
    """As part of an address: all but letters, digits and ``_.-~`` percent-encoded."""
    written = utf8_of(text)
    if len(written) > MAX_TEXT:
        raise too_large(f"a text of more than {MAX_TEXT} characters")
    return sized(quote(written, safe=""))


@FILTERS.add("url_decode", slow=("text",))
def _url_decode(text: str) -> str:
    """The text that was percent-encoded."""
    return unquote_to_bytes(utf8_of(text)).decode(errors="replace")


@FILTERS.add("html_escape")
def _html_escape(text: str) -> str:
    """For HTML: ``& < > " '`` as entities."""
    return sized(html.escape(text))


# -- lists and objects -------------------------------------------------------------------------------------------


@FILTERS.add("length")
def _length(value: str | list[Any] | dict[str, Any]) -> int:
    """How many characters, items or members."""
    return len(value)


@FILTERS.add("first")
def _first(value: str | list[Any]) -> Any:
    """The first character or item; null of none."""
    return value[0] if value else None


@FILTERS.add("last")
def _last(value: str | list[Any]) -> Any:
    """The last character or item; null of none."""
    return value[-1] if value else None


@FILTERS.add("reverse")
def _reverse(value: str | list[Any]) -> Any:
    """The characters or items from the last to the first."""
    return value[::-1]


@FILTERS.add("sort", slow=("list",))
def _sort(items: list[Any], key: Any = None) -> list[Any]:
    """From the least to the greatest: numbers or texts, or objects by one of their members."""
    keys = [item if key is None else member(item, key) for item in items]
    kinds = set(map(kind_of, keys))
    if len(kinds) > 1 or not kinds <= {"number", "text"}:
        raise Failure("sort takes numbers only or texts only", "WRONG_TYPE")
    return [items[index] for index in sorted(range(len(items)), key=keys.__getitem__)]


@FILTERS.add("unique", slow=("list",))
def _unique(items: list[Any]) -> list[Any]:
    """Every item once, where it stands first."""
    found: dict[Any, Any] = {}
    for item in items:
        found.setdefault(_identity(item), item)
    return list(found.values())


@FILTERS.add("keys")
def _keys(members: dict[str, Any]) -> list[Any]:
    """The names of the members."""
    return list(members)


@FILTERS.add("values")
def _values(members: dict[str, Any]) -> list[Any]:
    """The values of the members."""
    return list(members.values())


@FILTERS.add("has")
def _has(members: dict[str, Any], name: str) -> bool:
    """Whether there is a member of this name, even if it is null."""
    return name in members


@FILTERS.add("get")
def _get(value: Any, key: Any, otherwise: Any = None) -> Any:
    """A member or item; another value where there is none or it is null."""
    found = member(value, key)
    return otherwise if found is None else found


@FILTERS.add("sum", slow=("list",))
def _sum(items: list[Any]) -> int | float:
    """The numbers added up; 0 of none."""
    numbers = [number_of(item, "sum") for item in items]
    if not any(isinstance(number, float) for number in numbers):
        return tidy(sum(numbers))
    try:
        return tidy(math.fsum(numbers))
    except OverflowError:
        return tidy(math.inf)


@FILTERS.add("min", slow=("list",))
def _min(items: list[Any]) -> Any:
    """The least number or text; null of none."""
    return extreme(items, lambda found, item: item < found)


@FILTERS.add("max", slow=("list",))
def _max(items: list[Any]) -> Any:
    """The greatest number or text; null of none."""
    return extreme(items, lambda found, item: item > found)


@FILTERS.add("map", slow=("list",))
def _map(items: list[Any], key: Any) -> list[Any]:
    """The same member of every item; null where there is none."""
    return [member(item, key) for item in items]


@FILTERS.add("filter", slow=("list",))
def _filter(items: list[Any], key: Any, *value: Any) -> list[Any]:
    """The items whose member of this name has a value, or, without one, counts as true."""
    if len(value) > 1:
        raise Failure("filter takes the name of a member and one value", "WRONG_VALUE")
    return [item for item in items if (equal(member(item, key), value[0]) if value else member(item, key))]


# -- kinds and numbers -------------------------------------------------------------------------------------------


@FILTERS.add("string", slow=("list", "object"))
def _string(value: Any) -> str:
    """As it stands in a text."""
    return sized(text_of(value))


@FILTERS.add("number")
def _number(value: Any) -> int | float:
    """The number that a text writes; true is 1, false 0; `WRONG_TYPE`."""
    return int(value) if isinstance(value, bool) else tidy(number_of(value, "number"))


@FILTERS.add("bool")
def _bool(value: Any) -> bool:
    """The texts ``true`` and ``false`` as such, anything else as a condition takes it."""
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "true"
    return bool(value)


@FILTERS.add("default")
def _default(value: Any, otherwise: Any) -> Any:
    """Another value in the place of null, or of a variable that is not set yet."""
    return otherwise if value is None else value


@FILTERS.add("abs")
def _abs(number: float) -> int | float:
    """Without its sign."""
    return tidy(abs(number))


@FILTERS.add("round")
def _round(number: float, digits: int = 0) -> int | float:
    """To so many digits behind the point; a half is rounded away from zero."""
    places = whole(digits, "round")
    if not -20 <= places <= 20:
        raise Failure("round takes from -20 to 20 digits", "WRONG_VALUE")
    if abs(number) >= _NO_FRACTION and places >= 0:
        return number
    rounded = Decimal(repr(number)).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP, _EXACT)
    return tidy(int(rounded) if isinstance(number, int) else float(rounded))


@FILTERS.add("floor")
def _floor(number: float) -> int | float:
    """The next whole number that is not greater."""
    return number if abs(number) >= _NO_FRACTION else math.floor(number)


@FILTERS.add("ceil")
def _ceil(number: float) -> int | float:
    """The next whole number that is not less."""
    return number if abs(number) >= _NO_FRACTION else math.ceil(number)


# -- what several need -------------------------------------------------------------------------------------------


def _identity(value: Any) -> Any:
    """Something that can be hashed, the same for values of one kind that are equal."""
    if isinstance(value, list):
        return ("list", *map(_identity, value))
    if isinstance(value, dict):
        return frozenset((name, _identity(member)) for name, member in value.items())
    return kind_of(value), value
