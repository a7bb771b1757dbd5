"""An application with an endpoint of every face, for typed clients. `python -m wireloom serve` takes it, too."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import msgspec

from wireloom import (
    App,
    Connection,
    Disconnect,
    Query,
    RequestError,
    Root,
    UploadFile,
    Walker,
    entry,
    notify,
    spec,
)

__all__ = ["make_app"]

ROUTES = Path(__file__).with_name("routes")


class Mood(Enum):
    CALM = "calm"
    MERRY = "merry"


Said = TypedDict("Said", {"text": str, "mood": NotRequired[Mood], "reply-to": NotRequired[int | None]})


class Heard(TypedDict):
    """What everybody in a room hears. */ Not the end of a comment."""

    room: str
    text: str
    at: datetime
    loud: bool


class Draw(msgspec.Struct, tag="draw"):
    """A line from point to point."""

    points: list[tuple[float, float]]


class Wipe(msgspec.Struct, tag="wipe"):
    """Nothing is left."""

    confirm: Literal[True]


class Folder(msgspec.Struct):
    """What holds others of its kind."""

    name: str
    size: int = 0
    folders: list[Folder] = []


class Rename(msgspec.Struct):
    """Another name."""

    old: str
    new: Annotated[str, msgspec.Meta(min_length=1, description="At least one character.")]


class Renamed(msgspec.Struct):
    name: str


@spec(protocol="websocket", public=True)
class Echo(Walker):
    """Says what it hears."""

    message: str

    @entry(Root)
    async def echo(self, here: Root) -> None:
        if self.message == "fail":
            raise RequestError("NOT_TODAY", "It fails on purpose")
        self.report({"echo": self.message})


@spec(methods=["post", "get", "websocket"], public=True)
class Sum(Walker):
    """Adds numbers."""

    numbers: tuple[int, ...] = ()
    start: int = 0

    @entry(Root)
    async def add(self, here: Root) -> None:
        self.report(sum(self.numbers, self.start))


@spec(methods=["post"], path="/files/{folder}", public=True)
class Upload(Walker):
    folder: str
    label: str
    file: UploadFile

    @entry(Root)
    async def keep(self, here: Root) -> None:
        content = await self.file.read()
        self.report([self.folder, self.label, self.file.filename, content.decode()])


def make_app(**options: Any) -> App:
    """A new one, with its own database in memory."""
    app = App([Echo, Sum, Upload], database="sqlite://", routes_database="sqlite://", **options)

    @app.websocket("/chat/{room}")
    async def chat(message: Said, room: str, loud: Annotated[bool, Query()] = False) -> Heard:
        """Says something in a room."""
        if message["text"] == "refuse":
            raise RequestError("REFUSED_HERE", "No such words")
        if message["text"] == "leave":
            raise Disconnect(1012, '{"reconnect_in_ms": 1}')
        return {"room": room, "text": message["text"], "at": datetime(2030, 1, 2), "loud": loud}

    @app.websocket("/secret", auth=True)
    async def secret(message: dict[str, int], connection: Connection) -> dict[str, str]:
        return {"user": connection.user.username, "count": str(len(message))}

    @app.websocket("/board")
    async def board(message: Draw | Wipe) -> AsyncIterator[Draw | Wipe]:
        """Everything twice."""
        yield message
        yield message

    @app.websocket("/folders")
    async def folders(message: Folder) -> Folder | None:
        return message if message.folders else None

    @app.websocket("/raw")
    async def raw(message: str | bytes) -> str | bytes:
        return message

    @app.event("rename")
    async def rename(message: Rename) -> Renamed:
        """Gives something another name."""
        if message.new == message.old:
            raise RequestError("SAME_NAME", "It is called so already")
        return Renamed(message.new)

    @app.event("delete-all", auth=True)
    async def delete_all(connection: Connection) -> None:
        notify.self({"deleted": connection.user.username})

    @app.event("class")
    async def class_(message: dict[str, Any]) -> list[str]:
        return sorted(message)

    app.events()
    app.add_routes(ROUTES)
    return app


app = make_app()
