"""Walkers with WebSockets of their own, and an application of them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from wireloom import App, Node, RequestError, Root, Walker, entry, spec
from wireloom.testing import TestServer


class Visits(Node):
    count: int = 0


@spec(protocol="websocket", public=True)
class EchoMessage(Walker):
    message: str
    client_id: str = "anonymous"

    @entry(Root)
    async def echo(self, here: Root) -> None:
        if self.message == "boom":
            raise RuntimeError("a detail that only developers see")
        if self.message == "refuse":
            raise RequestError("NOT_TODAY", "Come back tomorrow")
        self.report({"echo": self.message, "client_id": self.client_id})


@spec(protocol="websocket", public=True)
class EchoWaiting(Walker):
    """The same with an await, which takes another path through the server."""

    message: str
    client_id: str = "anonymous"

    @entry(Root)
    async def echo(self, here: Root) -> None:
        await asyncio.sleep(0)
        if self.message == "boom":
            raise RuntimeError("a detail that only developers see")
        if self.message == "refuse":
            raise RequestError("NOT_TODAY", "Come back tomorrow")
        self.report({"echo": self.message, "client_id": self.client_id})


@spec(protocol="websocket")
class SecureChat(Walker):
    message: str

    @entry(Root)
    async def respond(self, here: Root) -> None:
        assert self.request.user is not None
        self.report([self.message, self.request.user.username])


@spec(protocol="websocket", roles=["admin"])
class ForAdmins(Walker):
    @entry(Root)
    async def act(self, here: Root) -> None:
        self.report("done")


@spec(protocol="websocket", public=True)
class Whose(Walker):
    @entry(Root)
    async def tell(self, here: Root) -> None:
        user = self.request.user
        self.report([here.root_id, None if user is None else user.username])


@spec(protocol="websocket", public=True)
class Slow(Walker):
    number: int

    @entry(Root)
    async def act(self, here: Root) -> None:
        RUNNING.append(self.number)
        assert len(RUNNING) == 1
        await asyncio.sleep(0)
        await here.nodes(Visits)
        RUNNING.remove(self.number)
        self.report(self.number)


@spec(protocol="websocket", public=True, max_message_bytes=40)
class Small(Walker):
    text: str = ""

    @entry(Root)
    async def act(self, here: Root) -> None:
        self.report(len(self.text))


@spec(protocol="websocket", public=True, timeout_seconds=0.05)
class Endless(Walker):
    @entry(Root)
    async def act(self, here: Root) -> None:
        self.report("never told")
        await asyncio.Event().wait()


@spec(protocol="websocket", public=True, path="/live/here")
class Elsewhere(Walker):
    @entry(Root)
    async def act(self, here: Root) -> None:
        self.report("here")


@spec(protocol="websocket", public=True)
class Keeping(Walker):
    """Changes something without waiting for anything."""

    how: str

    @entry(Root)
    async def keep(self, here: Root) -> None:
        self.on_commit(lambda: COMMITTED.append(self.how))
        if self.how != "nothing":
            here.connect(Visits(count=1))
        self.report(self.how)
        if self.how == "disengage":
            self.disengage()
        if self.how == "raise":
            raise RuntimeError("nothing is kept")
        if self.how == "unspeakable":
            self.report(object())
        self.visit([Visits(count=5), Visits(count=6)])

    @entry(Visits)
    async def come(self, here: Visits) -> None:
        self.report(here.count)


@spec(protocol="websocket", public=True)
class Kept(Walker):
    @entry(Root)
    async def count(self, here: Root) -> None:
        self.report(len(await here.nodes(Visits)))


class Posted(Walker):
    @entry(Root)
    async def act(self, here: Root) -> None: ...


@spec(protocol="webhook")
class Hooked(Walker):
    @entry(Root)
    async def act(self, here: Root) -> None: ...


@spec(methods=["websocket"])
class Named(Walker):
    @entry(Root)
    async def act(self, here: Root) -> None: ...


class AWalkerWithANameThatIsLongerThanWhatFitsIntoAReason(Walker):
    @entry(Root)
    async def act(self, here: Root) -> None: ...


RUNNING: list[int] = []
COMMITTED: list[str] = []
SOCKETS = [EchoMessage, EchoWaiting, SecureChat, ForAdmins, Whose, Slow, Small, Endless, Elsewhere, Keeping, Kept]
OTHERS = [Posted, Hooked, Named, AWalkerWithANameThatIsLongerThanWhatFitsIntoAReason]
ECHOES = ["EchoMessage", "EchoWaiting"]


def application(**options: Any) -> App:
    app = App([*SOCKETS, *OTHERS], database="sqlite://", **options)

    @app.websocket("/ws/chat")
    async def chat(message: str) -> str:
        return f"chat: {message}"

    @app.event("placed")
    async def placed() -> None: ...

    return app


async def ask(server: TestServer, path: str, message: Any, **options: Any) -> str:
    """The bytes of the answer to one message."""
    async with server.websocket(path, **options) as ws:
        if isinstance(message, bytes):
            await ws.send_bytes(message)
        else:
            await ws.send_text(message if isinstance(message, str) else json.dumps(message))
        return await ws.receive_text()
