"""Every door of messages in one application, on our own port and on another server's WebSockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import uvicorn

from wireloom import App, CallbackHandler, CallbackRequest, Connection, Root, Walker, entry, spec
from wireloom.net.server import LoopServer, bind
from wireloom.testing import TestServer, TestWebSocket

CARRIERS: dict[str, type[TestServer]] = {}
ROUTE = """\
name: Said
path: /route
ws_hooks:
  on_message:
    - If:
        condition: message == 'join'
        then: [{WsOp: {command: join, channel: "{{ uuid() }}"}}]
    - Return: {value: said}
"""


@dataclass(frozen=True)
class Door:
    """Where messages go in.

    Args:
        path: of the handshake.
        message: that is answered; spaces may follow it.
        unreadable: a message that this door cannot read; None: it reads all.
        refusal: the members around the error's code in its envelope, outermost first.
        greets: whether it says something of its own first.
        is_ordered: whether replies come in the order of the messages.
    """

    path: str
    message: str
    unreadable: str | None = None
    refusal: tuple[str, ...] = ("code",)
    greets: bool = False
    is_ordered: bool = True

    def code(self, reply: Any) -> Any:
        """The code of an error that was told here."""
        for member in self.refusal:
            reply = reply[member]
        return reply


DOORS = {
    "typed, direct": Door("/direct", '{"text":"x"}', '{"text":'),
    "typed, waits": Door("/waits", '{"text":"x"}', "[]"),
    "typed, concurrent": Door("/concurrent", '{"text":"x"}', "nothing", is_ordered=False),
    "typed, stream": Door("/stream", '{"text":"x"}', "{}"),
    "text": Door("/text", "x"),
    "event socket": Door("/websocket", '{"type":"connection"}', '{"type":', ("error", "code"), greets=True),
    "named event": Door(
        "/websocket",
        '{"type":"walker","walker":"say","context":{"text":"x"},"response":true}',
        '{"type":"walker"}',
        ("error", "code"),
        greets=True,
    ),
    "walker": Door("/ws/Say", '{"text":"x"}', '{"text":1}', ("error", "code")),
    "route": Door("/route", "x"),
    "callback": Door("/anything", "x"),
}


@spec(protocol="websocket", public=True)
class Say(Walker):
    """Says what it was told."""

    text: str = ""

    @entry(Root)
    async def say(self, here: Root) -> None:
        self.report(self.text)


@dataclass
class Said:
    """What typed handlers take."""

    text: str


def callback(req: CallbackRequest) -> Any:
    """Answers everything that nothing else does."""
    if req.type == "websocket":
        req.ws.send("said")
        return None
    return {"body": str(len(req.body))}


def every_door(folder: Path, *more: Any, **options: Any) -> App:
    """An application with all of them, and with more."""
    folder.joinpath("route.yaml").write_text(ROUTE, encoding="utf-8")
    options = {"database": "sqlite://", "routes_database": "sqlite://", **options}
    app = App([Say, *more, CallbackHandler(callback)], **options)
    app.add_routes(folder / "route.yaml")
    app.events()

    @app.event("say")
    async def say(message: Said) -> Said:
        return message

    @app.websocket("/direct")
    async def direct(message: Said, connection: Connection) -> Said:
        if message.text == "join":
            connection.join(f"channel {len(connection.channels)}")
        return message

    @app.websocket("/waits")
    async def waits(message: Said) -> Said:
        await asyncio.sleep(0)
        return message

    @app.websocket("/concurrent", concurrency=3)
    async def concurrent(message: Said) -> Said:
        await asyncio.sleep(0)
        return message

    @app.websocket("/stream")
    async def stream(message: Said) -> AsyncIterator[Said]:
        yield message

    @app.websocket("/text")
    async def text(message: str) -> str:
        return message

    return app


class ForeignServer(TestServer):
    """The same on uvicorn's own HTTP and WebSockets."""

    __test__ = False

    async def __aenter__(self) -> Self:
        sockets = bind(self.app.config.__class__(host="127.0.0.1", port=0))
        self.port = sockets[0].getsockname()[1]
        config = uvicorn.Config(self.app, lifespan="on", log_config=None, access_log=False, ws_max_size=2**30)
        server = self._server = LoopServer(config, sockets)
        await server.start()
        self._stack.push_async_callback(server.stop)
        return self


CARRIERS.update({"own port": TestServer, "another server": ForeignServer})


async def opened(ws: TestWebSocket, door: Door) -> TestWebSocket:
    """An open connection that has said what it says by itself."""
    if door.greets:
        await ws.receive_json()
    return ws


async def say(ws: TestWebSocket, door: Door, size: int = 0) -> Any:
    """The answer to a message of so many bytes at least."""
    await ws.send_text(door.message.ljust(size))
    return await ws.receive()
