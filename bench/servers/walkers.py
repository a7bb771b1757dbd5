"""Walkers beside typed handlers: the same echo by either face, and runs among few or many stored nodes."""

from __future__ import annotations

import asyncio
import os
from typing import TypedDict

from wireloom import App, Node, Root, Walker, entry

RESIDENT = int(os.environ.get("BENCH_RESIDENT_NODES", "10"))

app = App()


class Message(TypedDict):
    """What both echoes take."""

    text: str
    user: str


class Visits(Node):
    """What a run reads and changes."""

    count: int = 0


class Resident(Node):
    """What is stored beside it, at the same root."""

    title: str


@app.websocket("/typed")
async def typed(message: Message) -> dict[str, str]:
    """A typed echo that never waits."""
    return {"echo": message["text"], "from": message["user"]}


@app.websocket("/typed-waits")
async def typed_waits(message: Message) -> dict[str, str]:
    """A typed echo that might wait."""
    if message["text"] == "wait":
        await asyncio.sleep(0)
    return {"echo": message["text"], "from": message["user"]}


@app.walker(protocol="websocket", public=True)
class Echo(Walker):
    """A walker's echo that never waits."""

    text: str
    user: str

    @entry(Root)
    async def echo(self, here: Root) -> None:
        """Reports what came."""
        self.report({"echo": self.text, "from": self.user})


@app.walker(protocol="websocket", public=True)
class EchoWaits(Walker):
    """A walker's echo that might wait."""

    text: str
    user: str

    @entry(Root)
    async def echo(self, here: Root) -> None:
        """Reports what came."""
        if self.text == "wait":
            await asyncio.sleep(0)
        self.report({"echo": self.text, "from": self.user})


@app.walker(protocol="websocket", public=True)
class Fill(Walker):
    """Stores the resident nodes."""

    @entry(Root)
    async def fill(self, here: Root) -> None:
        """Connects them all to the root that runs read too."""
        here.connect(Visits())
        for number in range(RESIDENT):
            here.connect(Resident(title=f"node {number}"))


@app.walker(protocol="websocket", public=True)
class Look(Walker):
    """A run that reads one node."""

    @entry(Root)
    async def look(self, here: Root) -> None:
        """Reports it."""
        self.report(await here.nodes(Visits))


@app.walker(protocol="websocket", public=True)
class Count(Walker):
    """A run that reads one node and changes it."""

    @entry(Root)
    async def count(self, here: Root) -> None:
        """Counts on."""
        [visits] = await here.nodes(Visits)
        visits.count += 1
        self.report(visits.count)
