"""How many channels a connection may hear: so many, and one more is an error, on every door where it can join one."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.net.raw import eventually
from wireloom import App, CallbackHandler, CallbackRequest, Connection, Root, Walker, entry, spec
from wireloom.hub.connection import Connection as ServerEnd
from wireloom.testing import TestServer, TestWebSocket

from .doors import CARRIERS
from .sharing import BACKEND, sharing

pytestmark = pytest.mark.anyio

LIMIT = 3
ROUTE = """\
name: Joins
path: /route
ws_hooks:
  on_message:
    - Try:
        operations:
          - If:
              condition: message | starts_with('join')
              then: [{WsOp: {command: join, channel: "{{ message | split(' ') | last }}"}}]
              else: [{WsOp: {command: leave, channel: "{{ message | split(' ') | last }}"}}]
        catch: [{Return: {value: "{{ error.code }}"}}]
    - Return: {value: done}
"""


@dataclass
class Order:
    """What typed handlers take: a text such as ``join a``."""

    text: str


def obey(connection: Any, order: str) -> None:
    """Joins or leaves."""
    command, _, name = order.partition(" ")
    (connection.join if command == "join" else connection.leave)(name)


def words(order: str) -> str:
    """An order as it is."""
    return order


def as_json(order: str) -> str:
    """An order in a member."""
    return json.dumps({"text": order})


def as_event(order: str) -> str:
    """An order to the event socket itself."""
    command, _, name = order.partition(" ")
    return json.dumps({"type": "subscribe" if command == "join" else "unsubscribe", "channel_ids": [name]})


def as_named_event(order: str) -> str:
    """An order to a handler behind the event socket."""
    return json.dumps({"type": "walker", "walker": "obey", "context": {"text": order}, "response": True})


@dataclass(frozen=True)
class Door:
    """Where orders go in.

    Args:
        path: of the handshake.
        message: an order as it is sent.
        own: channels that a connection hears by itself.
    """

    path: str
    message: Callable[[str], str] = as_json
    own: int = 0


DOORS = {
    "typed, direct": Door("/direct"),
    "typed, waits": Door("/waits"),
    "typed, concurrent": Door("/concurrent"),
    "typed, stream": Door("/stream"),
    "text": Door("/text", words),
    "event socket": Door("/websocket", as_event, own=1),
    "named event": Door("/websocket", as_named_event, own=1),
    "walker": Door("/ws/Joining"),
    "route": Door("/route", words),
    "callback": Door("/anything", words),
}
every = pytest.mark.parametrize("door", DOORS.values(), ids=list(DOORS))


@spec(protocol="websocket", public=True)
class Joining(Walker):
    """Obeys."""

    text: str

    @entry(Root)
    async def obey(self, here: Root) -> None:
        obey(self.request.connection, self.text)
        self.report("done")


def callback(req: CallbackRequest) -> Any:
    """Obeys, too."""
    if req.type == "websocket":
        obey(req.ws, req.data)
        req.ws.send("done")
        return None
    return {"body": ""}


def joining_app(folder: Path, **options: Any) -> App:
    """An application in which every door obeys."""
    folder.joinpath("route.yaml").write_text(ROUTE, encoding="utf-8")
    options = {"database": "sqlite://", "routes_database": "sqlite://", **options}
    app = App([Joining, CallbackHandler(callback)], **options)
    app.add_routes(folder / "route.yaml")
    app.events()

    def typed(message: Order, connection: Connection) -> Order:
        obey(connection, message.text)
        return message

    async def direct(message: Order, connection: Connection) -> Order:
        return typed(message, connection)

    async def waits(message: Order, connection: Connection) -> Order:
        await connection.drain()
        return typed(message, connection)

    app.event("obey")(direct)
    app.websocket("/direct")(direct)
    app.websocket("/waits")(waits)
    app.websocket("/concurrent", concurrency=3)(waits)

    @app.websocket("/stream")
    async def stream(message: Order, connection: Connection) -> AsyncIterator[Order]:
        yield typed(message, connection)

    @app.websocket("/text")
    async def text(message: str, connection: Connection) -> str:
        obey(connection, message)
        return "done"

    return app


@pytest.fixture(scope="module")
def anyio_backend() -> Any:
    """The event loop of this module's servers."""
    return BACKEND


class Client:
    """A client that gives orders."""

    def __init__(self, ws: TestWebSocket, door: Door, connection: ServerEnd) -> None:
        self._ws = ws
        self._door = door
        self.connection = connection

    async def order(self, *orders: str) -> bool:
        """Whether the last of them was obeyed; those before were. One that was not is told that there are too many."""
        reply = ""
        for each in orders:
            assert "TOO_MANY_CHANNELS" not in reply
            await self._ws.send_text(self._door.message(each))
            reply = await self._ws.receive_text()
            assert "rror" not in reply or "TOO_MANY_CHANNELS" in reply
        return "TOO_MANY_CHANNELS" not in reply


@pytest.fixture(scope="module", params=list(CARRIERS))
async def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Any]:
    """Opens a connection of a door."""
    folder = tmp_path_factory.mktemp("routes")

    @asynccontextmanager
    async def connect(door: Door, **options: Any) -> AsyncIterator[Client]:
        server: TestServer = await get(**options)
        async with server.websocket(door.path) as ws:
            if door.own:
                await ws.receive()
            await eventually(lambda: server.app.hub.count() == 1)
            [connection] = server.app.hub.connections()
            yield Client(ws, door, connection)
        await eventually(lambda: server.app.hub.count() == 0)

    async with sharing(lambda **options: CARRIERS[request.param](joining_app(folder, **options))) as get:
        yield connect


@every
async def test_so_many_channels_and_one_more_is_refused_until_another_is_left(client: Any, door: Door) -> None:
    async with client(door, max_channels=LIMIT) as it:
        names = [f"c{number}" for number in range(LIMIT - door.own)]
        assert await it.order(*(f"join {name}" for name in names))
        assert len(it.connection.channels) == LIMIT
        assert not await it.order("join another")
        assert "another" not in it.connection.channels
        assert len(it.connection.channels) == LIMIT
        assert await it.order("join c0")  # which it hears already
        assert await it.order("leave c0", "join another")
        assert not await it.order("join c0")


@every
async def test_a_single_channel(client: Any, door: Door) -> None:
    async with client(door, max_channels=1) as it:
        assert await it.order("join a") != bool(door.own)
        assert not await it.order("join b")
        assert len(it.connection.channels) == 1


@every
async def test_the_default_is_128(client: Any, door: Door) -> None:
    async with client(door) as it:
        assert await it.order(*(f"join c{number}" for number in range(128 - door.own)))
        assert not await it.order("join one more")


@every
async def test_zero_is_no_limit(client: Any, door: Door) -> None:
    async with client(door, max_channels=0) as it:
        assert await it.order(*(f"join c{number}" for number in range(200)))
        assert len(it.connection.channels) == 200 + door.own


async def test_a_user_is_no_channel(client: Any) -> None:
    async with client(DOORS["text"], max_channels=LIMIT) as it:
        it.connection.change_user(None)  # the public's topic
        assert len(list(it.connection.topics)) == 1
        assert await it.order(*(f"join c{number}" for number in range(LIMIT)))
        assert not await it.order("join another")
