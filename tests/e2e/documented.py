"""An application with every face, for the tests of its page /docs: `wireloom serve documented.py`."""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from wireloom import (
    App,
    CallbackHandler,
    CallbackRequest,
    Connection,
    Disconnect,
    Query,
    Root,
    UploadFile,
    Walker,
    entry,
    spec,
)

HOSTILE = "<img src=x onerror=alert(1)>"


class Mood(enum.Enum):
    CALM = "calm"
    MERRY = "merry"


class Author(msgspec.Struct):
    name: Annotated[str, msgspec.Meta(min_length=1)]
    age: int | None = None


class Say(msgspec.Struct):
    """What somebody says."""

    text: Annotated[str, msgspec.Meta(min_length=1, description=HOSTILE)]
    author: Author | None = None
    mood: Mood = Mood.CALM
    loud: bool = False
    quiet: bool | None = None
    weight: Annotated[float, msgspec.Meta(ge=0, le=10)] = 1.0
    tags: list[str] = []
    answers: list[Say] = []
    extra: dict[str, int] = {}
    pair: tuple[int, str] = (1, "a")
    either: int | str | None = None


class Circle(msgspec.Struct, tag="circle"):
    """A circle by its radius."""

    radius: float


class Square(msgspec.Struct, tag="square"):
    """A square by its side."""

    side: float


class Add(msgspec.Struct, tag="add"):
    """A sum of two."""

    left: Add | Value
    right: Add | Value


class Value(msgspec.Struct, tag="value"):
    """A number."""

    value: int


class Sum(msgspec.Struct):
    tree: Add | Value


app = App(database="sqlite://", routes_database="sqlite://")
app.events()
app.add_routes(str(Path(__file__).with_name("documented.yaml")))


@app.websocket("/chat/{room}/{floor}", subprotocols=["v2.chat", "v1.chat"])
async def chat(
    message: Say,
    room: Literal["attic", "lobby"],
    floor: int,
    connection: Connection,
    limit: Annotated[int, Query()] = 10,
    tag: Annotated[list[str], Query()] = [],  # noqa: B006
) -> dict[str, Any]:
    """Says <b>something</b>."""
    return {"said": message, "room": room, "floor": floor, "limit": limit, "tags": tag}


@app.websocket("/secret", auth=True)
async def secret(message: Circle | Square, connection: Connection) -> dict[str, str]:
    """Only for those who are logged in."""
    return {"user": connection.user.username, "shape": type(message).__name__}


@app.websocket("/sum")
async def add(message: Sum) -> str:
    """Types that contain themselves."""
    return "added"


@app.websocket("/echo", max_message_bytes=4 * 1024 * 1024)
async def echo(message: str | bytes) -> str | bytes:
    return message


@app.websocket("/any")
async def anything(message) -> Any:  # type: ignore[no-untyped-def]
    return message


@app.websocket("/flood")
async def flood(message: int) -> AsyncIterator[dict[str, Any]]:
    """As many messages as it is told."""
    for number in range(message):
        yield {"type": "drop", "number": number, "text": HOSTILE}


@app.websocket("/close")
async def close(message: int) -> None:
    """Closes with the code that it is told."""
    raise Disconnect(message, HOSTILE)


@app.websocket("/a-path/that-has/no-place-on-a-narrow-screen/" + "and-goes-on-" * 8 + "/{parameter}", name="long")
async def long(message: str, parameter: str) -> str:
    return message


@app.event("Count")
async def count(message: Author) -> int:
    """Counts the letters of a name."""
    return len(message.name)


@app.add
@spec(public=True, tags=["walkers"])
class Find(Walker):
    """Finds a text."""

    text: str
    most: int = 3

    @entry(Root)
    async def find(self, here: Root) -> None:
        self.report([self.text] * self.most)


@app.add
@spec(public=True, tags=["walkers"])
class Upload(Walker):
    """Takes a file."""

    title: str
    file: UploadFile

    @entry(Root)
    async def take(self, here: Root) -> None:
        self.report({"title": self.title, "size": len(await self.file.read())})


@app.add
@spec(protocol="websocket", public=True, tags=["walkers"])
class Greet(Walker):
    """Greets somebody."""

    name: str

    @entry(Root)
    async def greet(self, here: Root) -> None:
        self.report(f"hello {self.name}")


@app.add
@spec(protocol="webhook")
class Deploy(Walker):
    """Deploys what was pushed."""

    ref: str

    @entry(Root)
    async def deploy(self, here: Root) -> None:
        self.report(f"deployed {self.ref}")


def handle(request: CallbackRequest) -> Any:
    """Everything else."""
    if request.type == "websocket":
        request.ws.send(request.data)
        return None
    return {"body": "no endpoint"}


app.add(CallbackHandler(handle))
