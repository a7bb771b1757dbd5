"""Walkers that several tests of the REST door ask."""

from __future__ import annotations

import datetime
from typing import Annotated

import msgspec

from wireloom import Node, RequestError, Root, Walker, entry, spec

__all__ = ["METHODS", "Any5", "Book", "Mine", "Note", "Small"]

METHODS = ("get", "post", "put", "patch", "delete")


class Note(Node):
    text: str


@spec(methods=METHODS, public=True)
class Any5(Walker):
    count: int = 0
    tags: list[str] = msgspec.field(default_factory=list)
    numbers: set[int] | None = None
    ratio: float | None = None
    flag: bool = False

    @entry(Root)
    async def tell(self, here: Root) -> None:
        self.report([self.request.method, self.count, self.tags, sorted(self.numbers or ()), self.ratio, self.flag])


@spec(methods=["get", "post"], public=True, path="/shelves/{shelf}/books/{number}", as_query=["day", "few"])
class Book(Walker):
    shelf: str
    number: int
    strict: int = 0
    more: dict[int, str] = msgspec.field(default_factory=dict)
    day: datetime.date | None = None
    few: Annotated[list[int], msgspec.Meta(max_length=2)] = msgspec.field(default_factory=list)

    @entry(Root)
    async def tell(self, here: Root) -> None:
        assert self.day in (None, datetime.date(2026, 2, 3))
        assert self.few in ([], [1, 2])
        self.report([self.shelf, self.number, self.strict, {str(key): value for key, value in self.more.items()}])


@spec(methods=["post"])
class Mine(Walker):
    text: str = "x"

    @entry(Root)
    async def tell(self, here: Root) -> None:
        if self.text == "boom":
            raise RuntimeError("a detail for developers")
        if self.text == "busy":
            raise RequestError("CONFLICT", "Somebody else was faster")
        if self.text == "own":
            raise RequestError("OUT_OF_STOCK", "None is left")
        if self.text == "limited":
            raise RequestError("RATE_LIMITED", "Slower")
        self.report([here.root_id, self.request.user.username])


@spec(public=True, max_message_bytes=40)
class Small(Walker):
    text: str = ""

    @entry(Root)
    async def act(self, here: Root) -> None:
        self.report(len(self.text))
