"""Document: a YAML or JSON file → values that know where they stand. Law: nothing is lost, so nothing is guessed.

Scalars are those of YAML 1.2's core schema, which are JSON's: ``yes`` and ``on`` are texts. A name that occurs twice,
an alias that makes the file large or endless, and tags of any kind but ``!Operation`` are refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import yaml

from wireloom.faces.routes.report import Problem, Spot

__all__ = ["Data", "File", "Value", "read"]

_MAX_CHARACTERS = 1024 * 1024
_MAX_VALUES = 50_000  # those that an alias stands for count every time
_MAX_DEPTH = 100

_NUMBER = re.compile(r"[-+]?(?:0|[1-9]\d*|\d+)(?:\.\d*)?(?:[eE][-+]?\d+)?|[-+]?\.\d+(?:[eE][-+]?\d+)?", re.ASCII)
_WORDS: dict[str, Any] = {
    **dict.fromkeys(("null", "Null", "NULL", "~", ""), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_SURROGATES = re.compile(r"\\(?:u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|.)", re.DOTALL)
_LOADER: Any = getattr(yaml, "CLoader", yaml.Loader)

Data: TypeAlias = "bool | int | float | str | list[Value] | dict[str, tuple[Value, Value]] | None"


@dataclass(frozen=True, slots=True)
class File:
    """The text of a file.

    Args:
        name: its path, as people write it.
        text: all of it.
    """

    name: str
    text: str

    def line(self, number: int) -> str:
        """A line by its number from 1; empty where there is none."""
        lines = self.text.split("\n")
        return lines[number - 1].rstrip("\r") if 0 < number <= len(lines) else ""


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """A value and where it stands.

    Args:
        data: null, a bool, number or text; a list of values; or an object: names with (name, value).
        file: where it was read.
        line: from 1.
        column: from 1.
        raw: how it is written; of a list or object, its first line.
        tag: the name behind ``!``; empty where there is none.
        size: how many values it is made of.
    """

    data: Data
    file: File
    line: int
    column: int
    raw: str
    tag: str = ""
    size: int = 1

    def spot(self) -> Spot:
        """Where it stands, for a report."""
        return self._spot_at(0, len(self.raw.partition("\n")[0]))

    def within(self, start: int, end: int) -> Spot:
        """Where a part of a text stands, as exactly as its way of writing lets us say.

        Args:
            start: in the text's value.
            end: in the text's value.
        """
        text = str(self.data)
        offset = self.raw.find(text)
        if offset < 0:  # with escapes, or indented: look for the part itself
            before, part = text[:start].rpartition("\n")[2], text[start:end].partition("\n")[0]
            offset = self.raw.find(before + part)
            return self.spot() if offset < 0 or not part else self._spot_at(offset + len(before), len(part))
        return self._spot_at(offset + start, len(text[start:end].partition("\n")[0]))

    def _spot_at(self, offset: int, length: int) -> Spot:
        before = self.raw[:offset]
        lines = before.count("\n")
        column = len(before.rpartition("\n")[2]) + (1 if lines else self.column)
        line = self.line + lines
        return Spot(self.file.name, line, column, max(length, 1), self.file.line(line))

    def items(self) -> list[Value]:
        """Its items, where it is a list."""
        return self.data if isinstance(self.data, list) else []

    def members(self) -> dict[str, tuple[Value, Value]]:
        """Its members, where it is an object."""
        return self.data if isinstance(self.data, dict) else {}


def read(file: File) -> list[Value]:
    """The documents of a file.

    Raises:
        Problem: it cannot be read.
    """
    if len(file.text) > _MAX_CHARACTERS:
        raise Problem(Spot(file.name, 1, 1), f"the file has more than {_MAX_CHARACTERS} characters")
    text = file.text.removeprefix("\ufeff")
    if file.name.endswith(".json"):
        _require_json(file, text)
        # YAML has no surrogates, and no tabs where it could take them for indentation
        text = _SURROGATES.sub(_join_surrogates, text).replace("\t", " ")
    return list(_Reader(file, text).documents())


def _require_json(file: File, text: str) -> None:
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        spot = Spot(file.name, error.lineno, error.colno, 1, file.line(error.lineno))
        raise Problem(spot, f"not JSON: {error.msg}") from None
    except RecursionError:
        raise Problem(Spot(file.name, 1, 1), f"nested more than {_MAX_DEPTH} levels deep") from None


def _join_surrogates(match: re.Match[str]) -> str:
    if match[1] is None:
        return match[0]
    high, low = int(match[1], 16), int(match[2], 16)
    return f"\\U{0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00):08X}"


class _Reader:
    """Makes values of YAML's events, without recursion deeper than `_MAX_DEPTH`."""

    def __init__(self, file: File, text: str) -> None:
        self._file = file
        self._lines = text.split("\n")
        self._anchors: dict[str, Value | None] = {}
        self._events = self._read_events(text)
        self._count = 0

    def _read_events(self, text: str) -> Iterator[Any]:
        try:
            yield from yaml.parse(text, Loader=_LOADER)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            message = f"not YAML: {error.problem or error.context or 'it cannot be read'}"
            line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
            raise Problem(Spot(self._file.name, line, column, 1, self._file.line(line)), message) from None
        except yaml.YAMLError as error:
            reason = getattr(error, "reason", "it cannot be read")
            raise Problem(Spot(self._file.name, 1, 1), f"not YAML: {reason}") from None

    def documents(self) -> Iterator[Value]:
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                self._anchors = {}
                yield self._value(next(self._events), 0)

    def _value(self, event: Any, depth: int) -> Value:
        if depth > _MAX_DEPTH:
            raise self._problem(event, f"nested more than {_MAX_DEPTH} levels deep")
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        tag = self._tag(event)
        if event.anchor is not None:
            self._anchors[event.anchor] = None  # not known before its end
        if isinstance(event, yaml.ScalarEvent):
            value = self._made(event, self._scalar(event, tag), tag, 1)
        elif isinstance(event, yaml.SequenceStartEvent):
            value = self._sequence(event, tag, depth)
        else:
            value = self._mapping(event, tag, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = value
        return value

    def _alias(self, event: Any) -> Value:
        value = self._anchors.get(event.anchor)
        if value is None:
            known = event.anchor in self._anchors
            what = "stands for what it is a part of" if known else "stands for nothing"
            raise self._problem(event, f"the alias *{event.anchor} {what}")
        self._spend(event, value.size)
        return value

    def _sequence(self, event: Any, tag: str, depth: int) -> Value:
        items: list[Value] = []
        while not isinstance(inner := next(self._events), yaml.SequenceEndEvent):
            items.append(self._value(inner, depth + 1))
        return self._made(event, items, tag, 1 + sum(item.size for item in items))

    def _mapping(self, event: Any, tag: str, depth: int) -> Value:
        members: dict[str, tuple[Value, Value]] = {}
        while not isinstance(inner := next(self._events), yaml.MappingEndEvent):
            key = self._value(inner, depth + 1)
            value = self._value(next(self._events), depth + 1)
            name = key.raw if isinstance(key.data, int | float) or key.data is None else key.data
            if not isinstance(name, str):
                raise Problem(key.spot(), "the name of a member is a text")
            if name in members:
                raise Problem(key.spot(), f"{name!r} is there already, in line {members[name][0].line}")
            members[name] = key, value
        return self._made(event, members, tag, 1 + sum(value.size for _, value in members.values()))

    def _made(self, event: Any, data: Any, tag: str, size: int) -> Value:
        self._spend(event, 1)
        start, end = event.start_mark, event.end_mark
        first = self._lines[start.line] if start.line < len(self._lines) else ""
        if isinstance(event, yaml.ScalarEvent) and end.line > start.line:
            rest = self._lines[start.line + 1 : end.line] + [self._lines[end.line][: end.column]] * (end.column > 0)
            raw = "\n".join([first[start.column :], *rest])
        else:
            raw = first[start.column : end.column if end.line == start.line and end.column > start.column else None]
        return Value(data, self._file, start.line + 1, start.column + 1, raw.rstrip(), tag, size)

    def _spend(self, event: Any, values: int) -> None:
        self._count += values
        if self._count > _MAX_VALUES:
            raise self._problem(event, f"the file has more than {_MAX_VALUES} values; aliases count as often as used")

    def _tag(self, event: Any) -> str:
        tag = event.tag or ""
        if tag in ("", "!"):
            return ""
        if tag.startswith("!") and tag[1:].isidentifier():
            return str(tag[1:])
        shown = tag.replace("tag:yaml.org,2002:", "!!")
        raise self._problem(event, f"the tag {shown} means nothing here; a tag is the name of an operation")

    def _scalar(self, event: Any, tag: str) -> Any:
        text: str = event.value
        if event.style or event.tag == "!":  # in quotes or a block: a text, whatever it looks like
            return text
        if text in _WORDS:
            return _WORDS[text]
        if not _NUMBER.fullmatch(text) or len(text) > 40:
            return text
        number = float(text)
        if text.lstrip("+-").isdigit():
            return int(text) if abs(number) < 2**63 else number
        return number

    def _problem(self, event: Any, message: str) -> Problem:
        line = event.start_mark.line + 1
        return Problem(Spot(self._file.name, line, event.start_mark.column + 1, 1, self._file.line(line)), message)
