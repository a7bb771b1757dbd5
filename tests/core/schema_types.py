"""The types of the rows of page 1, "Types" and "On the wire", and how they are compiled."""

import dataclasses
import enum
from collections.abc import Callable
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypeVar

import annotated_types
import attrs
import msgspec
import pydantic
import pydantic.dataclasses
from typing_extensions import TypedDict

from wireloom.core.schema import (
    Decoding,
    Encoding,
    compile_message,
    compile_parameter,
    compile_response,
)


class Chat(TypedDict):
    text: str
    user: str


@dataclasses.dataclass
class Point:
    x: int
    y: int = 0


@dataclasses.dataclass
class Positive:
    x: int

    def __post_init__(self) -> None:
        if self.x <= 0:
            raise ValueError("x must be positive")


class Pair(NamedTuple):
    a: int
    b: str = "b"


class Struct(msgspec.Struct):
    n: int


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    n: int


class Circle(msgspec.Struct, tag="circle"):
    r: float


class Square(msgspec.Struct, tag="square"):
    s: float


@attrs.define
class Attrs:
    x: int = attrs.field(validator=attrs.validators.gt(3))


class Colour(enum.Enum):
    RED = "red"


class Tree(TypedDict):
    children: "list[Tree]"


class Model(pydantic.BaseModel):
    a: int
    f: float = 0.0
    free: Any = None


class ModelTree(pydantic.BaseModel):
    children: "list[ModelTree]" = []


@pydantic.dataclasses.dataclass
class PydanticPoint:
    x: Annotated[int, pydantic.Field(ge=0)]


@dataclasses.dataclass
class Bounded:
    """A stdlib dataclass that only pydantic understands, and that contains itself."""

    v: Annotated[int, annotated_types.Ge(3)]
    next: "Bounded | None" = None


class HasModel(TypedDict):
    m: Model


class Cat(pydantic.BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(pydantic.BaseModel):
    kind: Literal["dog"]
    legs: int


T = TypeVar("T")


@dataclasses.dataclass
class Box(Generic[T]):
    item: T


class Plain:
    pass


@dataclasses.dataclass
class Unresolved:
    a: "Nowhere"  # type: ignore[name-defined]  # noqa: F821


CHAT_SCHEMA = {
    "type": "object",
    "properties": {"text": {"type": "string"}, "user": {"type": "string"}},
    "required": ["text", "user"],
}


def message(annotation: Any, schema: Any = None) -> Decoding:
    return compile_message(annotation, schema=schema, owner="chat", source="chat.py:12")


def response(annotation: Any, schema: Any = None) -> Encoding:
    return compile_response(annotation, schema=schema, owner="chat", source="chat.py:12")


def parameter(annotation: Any) -> Callable[[str], Any] | None:
    return compile_parameter(annotation, owner="chat", source="chat.py:12", name="room")
