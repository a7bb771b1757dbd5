"""Document: a YAML or JSON file → values that know where they stand. Law: nothing is lost, so nothing is guessed.

Scalars are those of YAML 1.2's core schema, as far as JSON has them: ``yes`` and ``on`` are texts, as dates are. A name
that occurs twice, an alias that makes the file large or endless, a number that would lose digits, and tags of any kind
but ``!Operation`` are refused.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from json.decoder import scanstring  # type: ignore[attr-defined]  # typeshed leaves it out
from typing import Any, TypeAlias

import yaml

from wireloom.faces.routes.report import Problem, Spot

__all__ = ["MAX_CHARACTERS", "Data", "File", "Value", "read"]

MAX_CHARACTERS = 1024 * 1024
_MAX_VALUES = 50_000  # those that an alias stands for count every time
_MAX_DEPTH = 200  # 32 operations within each other, and what stands in the last, are 170

_DECIMAL = re.compile(r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?", re.ASCII)
_OTHER_BASES = re.compile(r"0x[0-9a-fA-F]+|0o[0-7]+")
_NO_NUMBER = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_WORDS: dict[str, Any] = {
    **dict.fromkeys(("null", "Null", "NULL", "~", ""), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_JSON_WORDS: dict[str, Any] = {"null": None, "true": True, "false": False}
_JSON_WORD = re.compile(r"[^\s,:\[\]{}]+")
_JSON_BLANKS = re.compile(r"[ \t\n]*")
_QUOTED = re.compile(r"\"[^\"\n]*\"|'[^'\n]*'")
_SURROGATE = re.compile("[\ud800-\udfff]")
_UNPRINTABLE = re.compile("[^\\t\\n\\x20-\\x7e\\x85\\xa0-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]|\\ufeff")
_PROPERTIES = re.compile(r"(?:[&!]\S*\s+)*")  # an anchor and a tag before a value
_LOADER: Any = getattr(yaml, "CLoader", yaml.Loader)

# The pieces of a text as it is written, of which every one stands for a character, or for blanks.
_PIECES = {
    '"': re.compile(
        r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}"
        r"|U[0-9a-fA-F]{8}|.)|.",
        re.DOTALL,
    ),
    "'": re.compile(r"''|.", re.DOTALL),
}
_PIECE = re.compile(r".", re.DOTALL)
_BLANK_ESCAPES = "nrtvfNLP_ \t\n"

# What helps where YAML's own words do not.
_HINTS = {
    "mapping values are not allowed": "; a text with ': ' in it stands in quotes",
    "cannot start any token": "; a text that begins with this character stands in quotes",
}

Data: TypeAlias = "bool | int | float | str | list[Value] | dict[str, tuple[Value, Value]] | None"


@dataclass(frozen=True, slots=True)
class File:
    """The text of a file.

    Args:
        name: its path, as people write it.
        text: all of it.
        problem: why it could not be read; empty where it could.
    """

    name: str
    text: str
    problem: str = ""

    def line(self, number: int) -> str:
        """A line by its number from 1; empty where there is none."""
        lines = self.text.split("\n")
        return lines[number - 1] if 0 < number <= len(lines) else ""


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

    data: Data = field(repr=False)
    file: File = field(repr=False)
    line: int
    column: int
    raw: str
    tag: str = ""
    size: int = 1

    def spot(self) -> Spot:
        """Where it stands, for a report."""
        return self._spot_at(0, len(self.raw.partition("\n")[0]))

    def spot_of_tag(self) -> Spot:
        """Where its tag stands."""
        return self._spot_at(max(self.raw.find(f"!{self.tag}"), 0), len(self.tag) + 1)

    def within(self, start: int, end: int) -> Spot:
        """Where a part of a text stands: in quotes, with escapes, folded or indented.

        Args:
            start: in the text's value.
            end: in the text's value.
        """
        text = str(self.data)
        begin, places = _written(self.raw)
        if not isinstance(self.data, str) or len(places) != _visible(text):
            return self.spot()
        first, last = _visible(text[:start]), _visible(text[:end])
        if first == last:  # blanks, or the end of the text
            return self._spot_at(places[first - 1][1] if first else begin, 1)
        begin, stop = places[first][0], places[last - 1][1]
        return self._spot_at(begin, len(self.raw[begin:stop].partition("\n")[0]))

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


def _visible(text: str) -> int:
    return sum(not character.isspace() for character in text)


def _written(raw: str) -> tuple[int, list[tuple[int, int]]]:
    """Where the value of a text begins in its writing, and where each of its characters stands that is no blank."""
    properties = _PROPERTIES.match(raw)
    begin, end = properties.end() if properties else 0, len(raw)
    style = raw[begin : begin + 1]
    if style in ("|", ">"):
        begin = raw.find("\n", begin) + 1 or end
    elif style in _PIECES:
        begin, end = begin + 1, max(end - 1, begin + 1)
    pieces = _PIECES.get(style, _PIECE).finditer(raw, begin, end)
    return begin, [piece.span() for piece in pieces if not _is_blank(piece[0])]


def _is_blank(piece: str) -> bool:
    if piece[0] != "\\" or len(piece) == 1:
        return piece.isspace()
    if len(piece) > 2:
        return len(piece) < 12 and chr(int(piece[2:], 16)).isspace()
    return piece[1] in _BLANK_ESCAPES


def read(file: File) -> list[Value]:
    """The documents of a file; those of which nothing is written are left out.

    Raises:
        Problem: it cannot be read.
    """
    if file.problem:
        raise Problem(Spot(file.name, 1, 1), file.problem)
    if len(file.text) > MAX_CHARACTERS:
        raise Problem(Spot(file.name, 1, 1), f"the file has more than {MAX_CHARACTERS} characters")
    text = file.text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    clean = File(file.name, text)
    if file.name.endswith(".json"):
        return _JsonReader(clean).documents()
    return list(_YamlReader(clean).documents())


class _Reader:
    """Makes values, and knows where in the text they are."""

    def __init__(self, file: File) -> None:
        self._file = file
        self._text = file.text
        self._starts = [0, *(match.end() for match in re.finditer("\n", file.text))]  # of lines
        self._count = 0

    def _place(self, at: int) -> tuple[int, int]:
        line = bisect_right(self._starts, at)
        return line, at - self._starts[line - 1] + 1

    def _problem(self, at: int, message: str, length: int = 1) -> Problem:
        line, column = self._place(at)
        return Problem(Spot(self._file.name, line, column, length, self._file.line(line)), message)

    def _made(self, data: Any, start: int, end: int, tag: str = "", size: int = 1) -> Value:
        self._spend(start, 1)
        line, column = self._place(start)
        raw = self._text[start:end].rstrip()
        if isinstance(data, list | dict):
            raw = raw.partition("\n")[0].rstrip()
        return Value(data, self._file, line, column, raw, tag, size)

    def _spend(self, at: int, values: int) -> None:
        self._count += values
        if self._count > _MAX_VALUES:
            raise self._problem(at, f"the file has more than {_MAX_VALUES} values; aliases count as often as used")

    def _deep(self, at: int, depth: int) -> None:
        if depth > _MAX_DEPTH:
            raise self._problem(at, f"nested more than {_MAX_DEPTH} levels deep")

    def _add(self, members: dict[str, tuple[Value, Value]], name: str, key: Value, value: Value) -> None:
        if name in members:
            raise Problem(key.spot(), f"{name!r} is there already, in line {members[name][0].line}")
        members[name] = key, value

    def _number(self, text: str, at: int) -> int | float:
        number: int | float = float(text)
        whole = text.lstrip("+-").isdigit()
        if whole and abs(number) < 1e20:
            number = int(text)
        fits = -(2**63) <= number < 2**63 if isinstance(number, int) else not whole and abs(number) != float("inf")
        if not fits:
            raise self._problem(at, "no number of 64 bits; a text stands in quotes", len(text))
        return number


class _JsonReader(_Reader):
    """Makes values of JSON, which Python's own reader has found to be such."""

    def documents(self) -> list[Value]:
        if not self._text.strip():
            return []
        try:
            json.loads(self._text, parse_int=len, parse_float=len)
        except json.JSONDecodeError as error:
            at, message = self._explain(error)
            raise self._problem(at, f"not JSON: {message}") from None
        except RecursionError:
            raise self._problem(0, f"nested more than {_MAX_DEPTH} levels deep") from None
        return [self._value(self._skip(0), 0)[0]]

    def _explain(self, error: json.JSONDecodeError) -> tuple[int, str]:
        """Where a mistake is, and what it is; Python's versions differ in what they say of a comma."""
        before = len(self._text[: error.pos].rstrip()) - 1
        comma = error.pos if self._text.startswith(",", error.pos) else before
        if self._text.startswith(",", comma) and self._text.startswith(("]", "}"), self._skip(comma + 1)):
            return comma, "a comma stands between two, not behind the last"
        if self._text.startswith(("//", "/*", "#"), error.pos):
            return error.pos, "there are no comments in JSON"
        return error.pos, error.msg

    def _skip(self, at: int) -> int:
        blanks = _JSON_BLANKS.match(self._text, at)
        return blanks.end() if blanks else at

    def _value(self, at: int, depth: int) -> tuple[Value, int]:
        """A value, and where it ends."""
        self._deep(at, depth)
        first = self._text[at]
        if first == "[":
            return self._items(at, depth)
        if first == "{":
            return self._members(at, depth)
        if first == '"':
            return self._string(at)
        word = _JSON_WORD.match(self._text, at)
        assert word is not None
        if word[0] in _JSON_WORDS:
            return self._made(_JSON_WORDS[word[0]], at, word.end()), word.end()
        if not _DECIMAL.fullmatch(word[0]):
            raise self._problem(at, f"not JSON: there is no {word[0]}", len(word[0]))
        return self._made(self._number(word[0], at), at, word.end()), word.end()

    def _string(self, at: int) -> tuple[Value, int]:
        text, end = scanstring(self._text, at + 1, True)
        if _SURROGATE.search(text):
            raise self._problem(at, "half of a surrogate pair is no text", end - at)
        return self._made(text, at, end), end

    def _items(self, start: int, depth: int) -> tuple[Value, int]:
        items: list[Value] = []
        at = self._skip(start + 1)
        while self._text[at] != "]":
            item, at = self._value(at, depth + 1)
            items.append(item)
            at = self._next(at)
        return self._made(items, start, at + 1, size=1 + sum(item.size for item in items)), at + 1

    def _members(self, start: int, depth: int) -> tuple[Value, int]:
        members: dict[str, tuple[Value, Value]] = {}
        at = self._skip(start + 1)
        while self._text[at] != "}":
            key, at = self._string(at)
            value, at = self._value(self._skip(self._skip(at) + 1), depth + 1)
            self._add(members, str(key.data), key, value)
            at = self._next(at)
        size = 1 + sum(value.size for _, value in members.values())
        return self._made(members, start, at + 1, size=size), at + 1

    def _next(self, at: int) -> int:
        """What follows an item and its comma."""
        at = self._skip(at)
        return self._skip(at + 1) if self._text[at] == "," else at


class _YamlReader(_Reader):
    """Makes values of YAML's events, without recursion deeper than `_MAX_DEPTH`."""

    def __init__(self, file: File) -> None:
        super().__init__(file)
        self._anchors: dict[str, Value | None] = {}
        self._events: Iterator[Any] = self._read_events()

    def _read_events(self) -> Iterator[Any]:
        strange = _UNPRINTABLE.search(self._text)
        if strange is not None:
            raise self._problem(strange.start(), f"not YAML: the character U+{ord(strange[0]):04X} cannot stand here")
        try:
            yield from yaml.parse(self._text, Loader=_LOADER)
        except yaml.MarkedYAMLError as error:
            reason = str(error.problem or error.context or "it cannot be read")
            marks = [mark.index for mark in (error.problem_mark, error.context_mark) if mark is not None]
            within = [index for index in marks if index < len(self._text.rstrip())]
            at = (within or [max(len(self._text.rstrip()) - 1, 0)])[0]
            raise self._problem(at, f"not YAML: {reason}{self._hint(reason, at)}") from None
        except yaml.YAMLError as error:
            raise self._problem(0, f"not YAML: {getattr(error, 'reason', 'it cannot be read')}") from None

    def _hint(self, reason: str, at: int) -> str:
        """What an error of YAML's grammar often comes from."""
        line, _ = self._place(at)
        before = self._text[self._starts[line - 1] : at]
        if self._text.startswith("\t", at) or (before.endswith("\t") and not before.strip()):
            return "; indent with spaces, not with tabs"
        known = next((hint for words, hint in _HINTS.items() if words in reason), "")
        if known:
            return known
        around = _QUOTED.sub("", "\n".join(self._text.split("\n")[max(line - 2, 0) : line]))
        if re.search(r"(?:[:\[,]|- )\s*\{\{", around):
            return "; a text that begins with {{ stands in quotes"
        return ""

    def documents(self) -> Iterator[Value]:
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                self._anchors = {}
                value = self._value(next(self._events), 0)
                if value.raw or value.data is not None:
                    yield value

    def _value(self, event: Any, depth: int, *, is_item: bool = False) -> Value:
        start = event.start_mark.index
        self._deep(start, depth)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        tag = self._tag(event, is_item)
        if event.anchor is not None:
            self._anchors[event.anchor] = None  # not known before its end
        end: int = event.end_mark.index
        if isinstance(event, yaml.ScalarEvent):
            value = self._made(self._scalar(event), start, end, tag)
        elif isinstance(event, yaml.SequenceStartEvent):
            value = self._sequence(start, tag, depth)
        else:
            value = self._mapping(start, tag, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = value
        return value

    def _alias(self, event: Any) -> Value:
        value = self._anchors.get(event.anchor)
        if value is None:
            known = event.anchor in self._anchors
            what = "stands for what it is a part of" if known else "stands for nothing"
            message = f"the alias *{event.anchor:.100} {what}"
            raise self._problem(event.start_mark.index, message, len(event.anchor) + 1)
        self._spend(event.start_mark.index, value.size)
        return value

    def _sequence(self, start: int, tag: str, depth: int) -> Value:
        items: list[Value] = []
        while not isinstance(inner := next(self._events), yaml.SequenceEndEvent):
            items.append(self._value(inner, depth + 1, is_item=True))
        end: Any = inner
        return self._made(items, start, end.end_mark.index, tag, 1 + sum(item.size for item in items))

    def _mapping(self, start: int, tag: str, depth: int) -> Value:
        members: dict[str, tuple[Value, Value]] = {}
        while not isinstance(inner := next(self._events), yaml.MappingEndEvent):
            key = self._value(inner, depth + 1)
            value = self._value(next(self._events), depth + 1)
            name = key.raw if isinstance(key.data, int | float) or key.data is None else key.data
            if not isinstance(name, str):
                raise Problem(key.spot(), f"the name of a member is a text{self._hint_of_key(key, start)}")
            if name == "<<" and not isinstance(inner, yaml.AliasEvent) and not inner.style:
                raise Problem(key.spot(), "YAML 1.2 has no '<<'; write the members out, or use an alias as a value")
            self._add(members, name, key, value)
        size = 1 + sum(value.size for _, value in members.values())
        end: Any = inner
        return self._made(members, start, end.end_mark.index, tag, size)

    def _hint_of_key(self, key: Value, start: int) -> str:
        return "; a text that begins with {{ stands in quotes" if self._text.startswith("{{", start) else ""

    def _tag(self, event: Any, is_item: bool) -> str:
        tag = event.tag or ""
        if tag in ("", "!"):
            return ""
        shown, start = tag.replace("tag:yaml.org,2002:", "!!")[:100], event.start_mark.index
        at = max(self._text.find("!", start), start)
        if not tag.startswith("!") or not tag[1:].isidentifier():
            raise self._problem(
                at, f"the tag {shown} means nothing here; a tag is the name of an operation", len(shown)
            )
        if not is_item:
            message = f"the tag {shown} stands before no item of a list; a tag is the name of an operation"
            raise self._problem(at, message, len(shown))
        return str(tag[1:])

    def _scalar(self, event: Any) -> Any:
        text: str = event.value
        if event.style or event.tag == "!":  # in quotes or a block: a text, whatever it looks like
            return text
        if text in _WORDS:
            return _WORDS[text]
        start = event.start_mark.index
        if _DECIMAL.fullmatch(text):
            return self._number(text, start)
        if _OTHER_BASES.fullmatch(text):
            return self._number(str(int(text, 0)), start) if len(text) < 40 else text
        if _NO_NUMBER.fullmatch(text):
            raise self._problem(start, f"JSON has no {text}; a text stands in quotes", len(text))
        return text
