"""What may wait for a handler: so many messages on every door and no more are read, and none is lost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.net.raw import eventually, soon
from wireloom import App, CallbackHandler, CallbackRequest, Connection, Root, Walker, entry, spec
from wireloom.errors import ConfigError
from wireloom.testing import TestServer, TestWebSocket

from .doors import CARRIERS
from .sharing import BACKEND, sharing

pytestmark = pytest.mark.anyio

LIMIT = 3
ROUTE = """\
name: Waits
path: /route
ws_hooks:
  on_message:
    - HttpRequest: {url: "{{ message | split(' ') | first }}", output: answer}
    - Return: {value: "{{ message }}"}
"""


class Gate:
    """Where handlers wait until they may go on."""

    def __init__(self) -> None:
        self.begun = 0
        self.opened = asyncio.Event()

    async def wait(self) -> None:
        self.begun += 1
        await self.opened.wait()


class Gates:
    """Has the gate of the test that runs; the walker below can be handed none."""

    now: Gate


def words(number: int, port: int) -> str:
    """A message as it is."""
    return f"number {number}."


def as_json(number: int, port: int) -> str:
    """A message of one member."""
    return json.dumps({"text": f"number {number}."})


def as_event(number: int, port: int) -> str:
    """A message that calls a named event."""
    context = {"text": f"number {number}."}
    return json.dumps({"type": "walker", "walker": "wait", "context": context, "response": True})


@dataclass(frozen=True)
class Door:
    """Where messages go in.

    Args:
        path: of the handshake.
        message: that stands for a number, on a port.
        at_once: how many are handled at the same time.
        greets: whether it says something of its own first.
    """

    path: str
    message: Callable[[int, int], str] = as_json
    at_once: int = 1
    greets: bool = False


DOORS = {
    "typed": Door("/waits"),
    "typed, concurrent": Door("/concurrent", at_once=2),
    "typed, stream": Door("/stream"),
    "text": Door("/text", words),
    "named event": Door("/websocket", as_event, greets=True),
    "walker": Door("/ws/Wait"),
    "route": Door("/route", lambda number, port: f"http://127.0.0.1:{port}/gate number {number}."),
    "callback": Door("/anything", words),
}
every = pytest.mark.parametrize("door", DOORS.values(), ids=list(DOORS))


@dataclass
class Said:
    """What typed handlers take."""

    text: str


@spec(protocol="websocket", public=True)
class Wait(Walker):
    """Waits at the gate."""

    text: str = ""

    @entry(Root)
    async def wait(self, here: Root) -> None:
        await Gates.now.wait()
        self.report(self.text)


async def callback(req: CallbackRequest) -> Any:
    """Waits at the gate, also for the route, which asks for it by HTTP."""
    await Gates.now.wait()
    if req.type == "websocket":
        req.ws.send(req.data)
        return None
    return {"body": "open"}


def waiting_app(folder: Path, **options: Any) -> App:
    """An application in which every handler waits."""
    folder.joinpath("route.yaml").write_text(ROUTE, encoding="utf-8")
    options = {"database": "sqlite://", "routes_database": "sqlite://", **options}
    app = App([Wait, CallbackHandler(callback)], routes_http_hosts=("127.0.0.1",), **options)
    app.add_routes(folder / "route.yaml")
    app.events()

    async def wait(message: Said) -> Said:
        await Gates.now.wait()
        return message

    app.event("wait")(wait)
    app.websocket("/waits")(wait)
    app.websocket("/concurrent", concurrency=2)(wait)

    @app.websocket("/stream")
    async def stream(message: Said) -> AsyncIterator[Said]:
        await Gates.now.wait()
        yield message

    @app.websocket("/text")
    async def text(message: str) -> str:
        await Gates.now.wait()
        return message

    @app.websocket("/direct")
    async def direct(message: str) -> str:
        return message

    @direct.on_connect
    async def connect() -> None:
        await Gates.now.wait()

    return app


@pytest.fixture(scope="module")
def anyio_backend() -> Any:
    """The event loop of this module's servers."""
    return BACKEND


@pytest.fixture(scope="module", params=list(CARRIERS))
async def carrier(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Any]:
    """Serves every door with some options."""
    folder = tmp_path_factory.mktemp("routes")
    async with sharing(lambda **options: CARRIERS[request.param](waiting_app(folder, **options))) as get:
        yield get


class Client:
    """A client of a door whose handlers wait."""

    def __init__(self, server: TestServer, door: Door, ws: TestWebSocket, connection: Connection) -> None:
        self._server = server
        self._door = door
        self._ws = ws
        self._counts = connection.outbox.counts
        self._before = self._counts.received
        self.sent = 0

    @property
    def taken(self) -> int:
        """How many messages the server has read."""
        return self._counts.received - self._before

    async def send(self, more: str = "") -> None:
        """Sends the next."""
        await self._ws.send_text(self._door.message(self.sent, self._server.port) + more)
        self.sent += 1

    async def send_and_see_it_taken(self, more: str = "") -> None:
        await self.send(more)
        await eventually(lambda: self.taken == self.sent)

    async def look_around(self) -> None:
        """Gives the server time to read whatever it would read: what came before this has been there for some turns."""
        for _ in range(5):
            assert (await self._server.http.get("/healthz/live")).status_code == 200

    async def hear_all(self) -> None:
        """Every reply, in the order of the messages where that is kept."""
        replies = [str(await self._ws.receive()) for _ in range(self.sent)]
        if self._door.at_once == 1:
            for number, reply in enumerate(replies):
                assert f"number {number}." in reply
        else:
            assert all(any(f"number {number}." in reply for reply in replies) for number in range(self.sent))


@asynccontextmanager
async def busy(server: TestServer, door: Door) -> AsyncIterator[tuple[Client, Gate]]:
    """A client whose handlers wait, as many as there may be."""
    Gates.now = gate = Gate()
    async with server.websocket(door.path) as ws:
        if door.greets:
            await ws.receive()
        await eventually(lambda: server.app.hub.count() == 1)
        [connection] = server.app.hub.connections()
        client = Client(server, door, ws, connection)
        for number in range(door.at_once):
            await client.send()
            await eventually(lambda number=number: gate.begun == number + 1)
        try:
            yield client, gate
        finally:
            gate.opened.set()
    await eventually(lambda: server.app.hub.count() == 0)


@every
async def test_so_many_messages_wait_and_the_next_is_not_read_before_there_is_room(carrier: Any, door: Door) -> None:
    async with busy(await carrier(inbound_queue=LIMIT), door) as (client, gate):
        for _ in range(LIMIT):
            await client.send_and_see_it_taken()
        for _ in range(3 * LIMIT):
            await client.send()
        await client.look_around()
        assert client.taken == door.at_once + LIMIT
        assert gate.begun == door.at_once
        gate.opened.set()
        await client.hear_all()
        assert client.taken == client.sent


@every
async def test_one_may_wait(carrier: Any, door: Door) -> None:
    async with busy(await carrier(inbound_queue=1), door) as (client, gate):
        await client.send_and_see_it_taken()
        await client.send()
        await client.look_around()
        assert client.taken == door.at_once + 1
        gate.opened.set()
        await client.hear_all()


@every
async def test_64_may_wait_where_nothing_else_is_said(carrier: Any, door: Door) -> None:
    async with busy(await carrier(), door) as (client, gate):
        for _ in range(64):
            await client.send_and_see_it_taken()
        await client.send()
        await client.look_around()
        assert client.taken == door.at_once + 64
        gate.opened.set()
        await client.hear_all()


@every
async def test_as_many_bytes_as_one_message_may_have_wait_and_no_more_are_read(carrier: Any, door: Door) -> None:
    async with busy(await carrier(max_message_bytes=1000), door) as (client, gate):
        message = len(door.message(client.sent, client._server.port))
        await client.send_and_see_it_taken(" " * (999 - message))
        await client.send_and_see_it_taken()  # as there was room for a byte
        await client.send()
        await client.look_around()
        assert client.taken == door.at_once + 2
        gate.opened.set()
        await client.hear_all()


async def test_so_many_wait_for_on_connect(tmp_path: Path) -> None:
    Gates.now = gate = Gate()
    async with TestServer(waiting_app(tmp_path, inbound_queue=LIMIT)) as server, server.websocket("/direct") as ws:
        await eventually(lambda: gate.begun == 1)
        [connection] = server.app.hub.connections()
        client = Client(server, Door("/direct", words), ws, connection)
        for _ in range(LIMIT):
            await client.send_and_see_it_taken()
        await client.send()
        await client.look_around()
        assert client.taken == LIMIT
        gate.opened.set()
        await client.hear_all()


async def test_a_connection_that_ends_while_reading_is_paused_is_over_when_its_handler_is(carrier: Any) -> None:
    server = await carrier(inbound_queue=1)
    async with busy(server, DOORS["text"]) as (client, gate):
        for _ in range(5):
            await client.send()
        await client.look_around()
        closing: Awaitable[None] = asyncio.ensure_future(client._ws.close())
        gate.opened.set()
        await soon(closing)
        await eventually(lambda: server.app.hub.count() == 0)
        assert client.taken == 6


@pytest.mark.parametrize("name", ["inbound_queue", "max_fragments"])
def test_none_is_too_few(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} must be 1 or more, not 0"):
        App(**{name: 0})
