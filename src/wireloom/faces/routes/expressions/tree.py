"""The tree of an expression: what the parser makes and `emit` reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

__all__ = ["Binary", "Call", "Choice", "Constant", "Filtered", "Items", "Member", "Name", "Node", "Pairs", "Unary"]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in the text it stands."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Constant(_Place):
    """A number, a text, true, false or null."""

    value: Any


@dataclass(frozen=True, slots=True)
class Name(_Place):
    """A variable."""

    name: str


@dataclass(frozen=True, slots=True)
class Items(_Place):
    """``[a, b]``."""

    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Pairs(_Place):
    """``{k: v}``."""

    pairs: tuple[tuple[str, Node], ...]


@dataclass(frozen=True, slots=True)
class Member(_Place):
    """``of.key`` and ``of[key]``."""

    of: Node
    key: Node


@dataclass(frozen=True, slots=True)
class Unary(_Place):
    """``!a`` and ``-a``."""

    symbol: str
    of: Node


@dataclass(frozen=True, slots=True)
class Binary(_Place):
    """``left symbol right``; synonyms of a symbol are the symbol by now."""

    symbol: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Choice(_Place):
    """``condition ? then : otherwise``."""

    condition: Node
    then: Node
    otherwise: Node


@dataclass(frozen=True, slots=True)
class Filtered(_Place):
    """``of | name(arguments)``; the place is the name's."""

    of: Node
    name: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Call(_Place):
    """``name(arguments)``; the place is the name's."""

    name: str
    arguments: tuple[Node, ...]


Node: TypeAlias = Constant | Name | Items | Pairs | Member | Unary | Binary | Choice | Filtered | Call
