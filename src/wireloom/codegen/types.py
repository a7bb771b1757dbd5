"""Types: what JSON values are made of, between JSON Schema and the languages of clients.

Law: a type is a value; two that look alike are the same, so that writers may compare and sort them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = [
    "NEVER",
    "NULL",
    "STRING",
    "UNKNOWN",
    "Constant",
    "Field",
    "Items",
    "Mapped",
    "Members",
    "Named",
    "Plain",
    "Tuple",
    "Type",
    "Union",
    "inner_types",
    "named_within",
    "union_of",
]

PlainName: TypeAlias = Literal["unknown", "never", "null", "boolean", "integer", "number", "string", "bytes", "file"]
ConstantValue: TypeAlias = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Plain:
    """A type without parts; ``bytes`` is a message that is not JSON, ``file`` what only a form can bring."""

    name: PlainName


@dataclass(frozen=True, slots=True)
class Constant:
    """One value. The name of its class tells ``1`` from ``True``, which Python takes for equal."""

    value: ConstantValue
    kind: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", type(self.value).__name__)


@dataclass(frozen=True, slots=True)
class Items:
    """An array of any length."""

    item: Type


@dataclass(frozen=True, slots=True)
class Tuple:
    """An array whose first items have a type each; the first `required` of them are always there."""

    items: tuple[Type, ...]
    required: int
    rest: Type | None = None


@dataclass(frozen=True, slots=True)
class Mapped:
    """An object with any names."""

    value: Type


@dataclass(frozen=True, slots=True)
class Field:
    """One member of an object."""

    name: str
    type: Type
    required: bool
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Members:
    """An object with known names; `is_open` where it says that others may be there too."""

    fields: tuple[Field, ...]
    is_open: bool = False


@dataclass(frozen=True, slots=True)
class Union:
    """One of several, at least two."""

    arms: tuple[Type, ...]


@dataclass(frozen=True, slots=True)
class Named:
    """A type that the contract defines by name."""

    name: str


Type: TypeAlias = Plain | Constant | Items | Tuple | Mapped | Members | Union | Named

UNKNOWN = Plain("unknown")
NEVER = Plain("never")
NULL = Plain("null")
STRING = Plain("string")


def union_of(arms: Iterable[Type]) -> Type:
    """The union of types, as simple as it can be: flat, each arm once, anything wins and nothing does not count."""
    flat: dict[Type, None] = {}
    for arm in arms:
        flat.update(dict.fromkeys(arm.arms if isinstance(arm, Union) else (arm,)))
    flat.pop(NEVER, None)
    if UNKNOWN in flat:
        return UNKNOWN
    if len(flat) < 2:
        return next(iter(flat), NEVER)
    return Union(tuple(flat))


def inner_types(type_: Type) -> Iterator[Type]:
    """The types right within a type."""
    match type_:
        case Items(item):
            yield item
        case Tuple(items, _, rest):
            yield from items
            if rest is not None:
                yield rest
        case Mapped(value):
            yield value
        case Members(fields):
            yield from (field.type for field in fields)
        case Union(arms):
            yield from arms
        case _:
            pass


def named_within(type_: Type) -> Iterator[str]:
    """The names that a type mentions, in their order."""
    if isinstance(type_, Named):
        yield type_.name
    for inner in inner_types(type_):
        yield from named_within(inner)
