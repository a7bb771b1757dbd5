"""Endpoints of every door with types of every kind, for the tests of documents."""

from __future__ import annotations

import enum
from typing import Annotated, Any

import msgspec
import pydantic

from wireloom.core.codec import Codec
from wireloom.core.endpoint import Door, Endpoint
from wireloom.errors import InvalidJSON

__all__ = ["Circle", "Order", "Say", "Square", "Tree", "action", "handle", "rest", "schema", "websocket"]

schema = msgspec.json.schema


class Mood(enum.Enum):
    CALM = "calm"
    MERRY = "merry"


class Author(msgspec.Struct):
    name: str


class Say(msgspec.Struct):
    """What somebody says."""

    author: Author
    text: Annotated[str, msgspec.Meta(min_length=1, description="What is said.")]
    mood: Mood = Mood.CALM
    pair: tuple[int, str] = (1, "a")


class Tree(msgspec.Struct):
    value: int
    children: list[Tree] = []


class Circle(msgspec.Struct, tag="circle"):
    """A circle by its radius."""

    radius: float


class Square(msgspec.Struct, tag="square"):
    """A square by its side."""

    side: float


class Order(pydantic.BaseModel):
    sku: str = pydantic.Field(min_length=3)
    gift: Order | None = None


async def handle(request: Any) -> None:
    """Nothing."""


def _decode(data: str | bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except ValueError as error:
        raise InvalidJSON(str(error)) from error


def _codec(message: Any, response: Any, json: bool = True) -> Codec:
    return Codec(_decode, msgspec.json.encode, lambda error: b'{"error":"no"}', json, message, response)


def rest(name: str, path: str, *methods: str, message: Any = None, response: Any = None, **more: Any) -> Endpoint:
    """An endpoint of the REST door."""
    return Endpoint(name, path, Door.REST, _codec(message, response), handle, methods=methods, **more)


def websocket(name: str, path: str, message: Any = None, response: Any = None, **more: Any) -> Endpoint:
    """An endpoint of the WebSocket door."""
    codec = _codec(message, response, more.pop("json", True))
    return Endpoint(name, path, Door.WEBSOCKET, codec, handle, **more)


def action(name: str, message: Any = None, response: Any = None, **more: Any) -> Endpoint:
    """An endpoint of the event door."""
    return Endpoint(name, "", Door.EVENT, _codec(message, response), handle, **more)
