"""Heads and handshakes: their size to the byte and their time to the tick, on every door, first or later.

Size and time of heads are our own port's. On another server they are its own; what the application is asked before a
WebSocket opens has its time there, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.net.clock import TICK, Clock
from tests.net.raw import KEY, Peer, dial, eventually, request_head, soon
from wireloom import App, Request, Root, Walker, entry, spec
from wireloom.errors import HandshakeFailed
from wireloom.testing import TestServer
from wireloom.wire.frames import TEXT, mask_frame

from .doors import CARRIERS, DOORS, every_door
from .sharing import BACKEND, sharing

pytestmark = pytest.mark.anyio

LIMIT = 800
SECONDS = 5.0
OPTIONS: dict[str, Any] = {"max_header_bytes": LIMIT, "handshake_timeout_seconds": SECONDS}
UPGRADE: dict[str, str | None] = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
}
ROUTE = """\
name: Posted
path: /posted
route_type: Http
method: POST
logic:
  - Return: {value: said}
"""


@spec(public=True)
class Posted(Walker):
    """By REST."""

    @entry(Root)
    async def say(self, here: Root) -> None:
        self.report("said")


@spec(protocol="webhook")
class Hook(Walker):
    """By webhook."""

    @entry(Root)
    async def say(self, here: Root) -> None:
        self.report("said")


@dataclass(frozen=True)
class Door:
    """Where requests go in.

    Args:
        path: of the request.
        status: of the answer where the head is taken.
        method: None: it is an upgrade.
    """

    path: str
    status: int
    method: str | None = None

    def head(self, size: int = 0) -> bytes:
        """The head of a request; as large as is wanted."""
        headers = UPGRADE if self.method is None else {"Content-Length": "0"}
        least = len(request_head(self.method or "GET", self.path, {**headers, "X-Filler": ""}))
        return request_head(self.method or "GET", self.path, {**headers, "X-Filler": "x" * (size - least)})


ALL = {
    **{name: Door(door.path, 101) for name, door in DOORS.items()},
    "walker by REST": Door("/walker/Posted", 200, "POST"),
    "webhook": Door("/webhook/Hook", 401, "POST"),  # which has read what it has to know of the head
    "route of HTTP": Door("/posted", 200, "POST"),
    "callback of HTTP": Door("/anything", 200, "POST"),
    "users": Door("/user/me", 401, "GET"),
    "publishing": Door("/notify", 401, "POST"),
    "documents": Door("/openapi.json", 200, "GET"),
    "health": Door("/healthz/live", 200, "GET"),
}
every = pytest.mark.parametrize("door", ALL.values(), ids=list(ALL))
first_and_later = pytest.mark.parametrize("later", [False, True], ids=["first", "later"])


@pytest.fixture(scope="module")
def anyio_backend() -> Any:
    """The event loop of this module's servers."""
    return BACKEND


def site(folder: Path, **options: Any) -> App:
    """An application with every door of both kinds."""
    folder.joinpath("posted.yaml").write_text(ROUTE, encoding="utf-8")
    app = every_door(folder, Posted, Hook, **options)
    app.add_routes(folder / "posted.yaml")
    return app


class Client(Peer):
    """A raw client, and what the server has of it."""

    def __init__(self, peer: Peer, server: TestServer) -> None:
        super().__init__(peer.reader, peer.writer)
        self._server: Any = server._server

    @property
    def protocol(self) -> Any:
        """What reads its bytes on the server; None: nothing any more, or a WebSocket."""
        protocols = [each for each in self._server.server_state.connections if hasattr(each, "_listener")]
        return protocols[0] if protocols else None

    async def make_it_later(self) -> None:
        """A first request comes and is answered."""
        self.send(request_head("GET", "/healthz/live"))
        assert (await self.answer()).status == 200
        await eventually(lambda: self.protocol.cycle.response_complete)

    async def begin(self, data: bytes) -> None:
        """Sends the beginning of a head, and waits until it was read."""
        self.send(data)
        if hasattr(self.protocol, "_in_head"):
            await eventually(lambda: self.protocol._in_head)
        else:
            await eventually(lambda: self.protocol._received == data)


@pytest.fixture(scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Any]:
    """Connects to our own port; gives the client and the server's clock."""
    folder = tmp_path_factory.mktemp("routes")

    @asynccontextmanager
    async def timed(**options: Any) -> AsyncIterator[tuple[TestServer, Clock]]:
        async with TestServer(site(folder, **options)) as server:
            yield server, Clock.of(server)

    @asynccontextmanager
    async def connect(*, later: bool = False, **options: Any) -> AsyncIterator[tuple[Client, Clock]]:
        server, clock = await get(**(options or OPTIONS))
        async with dial(server.port) as peer:
            it = Client(peer, server)
            await eventually(lambda: it.protocol)
            if later:
                await it.make_it_later()
            yield it, clock
        await eventually(lambda: not it._server.server_state.connections)

    async with sharing(timed) as get:
        yield connect


# -- size --------------------------------------------------------------------------------------------------------------


@every
@first_and_later
@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "in two parts"])
async def test_a_head_may_be_as_large_as_the_limit_and_no_larger(
    client: Any, door: Door, later: bool, at_once: bool
) -> None:
    for size, status in ((LIMIT, door.status), (LIMIT + 1, 431)):
        async with client(later=later) as (it, _):
            head = door.head(size)
            assert len(head) == size
            if not at_once:
                await it.begin(head[: LIMIT // 2])
                head = head[LIMIT // 2 :]
            it.send(head)
            assert (await it.answer()).status == status
            if status == 431:
                await it.expect_end()


@every
async def test_the_first_head_is_refused_with_the_byte_too_many_before_its_end(client: Any, door: Door) -> None:
    async with client() as (it, _):
        head = door.head(2 * LIMIT)
        await it.begin(head[:LIMIT])
        it.send(head[LIMIT : LIMIT + 1])
        assert (await it.answer()).status == 431


@every
async def test_a_later_one_is_refused_with_the_byte_too_many_after_its_beginning(client: Any, door: Door) -> None:
    async with client(later=True) as (it, _):
        head = door.head(3 * LIMIT)
        await it.begin(head[:200])
        it.send(head[200 : 200 + LIMIT])
        await eventually(lambda: it.protocol._barren_bytes == LIMIT)
        assert not it.protocol._refused
        it.send(head[200 + LIMIT :][:1])
        assert (await it.answer()).status == 431


async def test_what_follows_a_head_is_no_part_of_it(client: Any) -> None:
    async with client() as (it, _):
        it.send(Door("/text", 101).head(LIMIT) + mask_frame(TEXT, b"x" * 2 * LIMIT))
        assert (await it.answer()).status == 101
        await it.expect_text("x" * 2 * LIMIT)


async def test_trailers_may_be_as_large_as_a_head(client: Any) -> None:
    for size in (LIMIT, LIMIT + 1):
        async with client() as (it, _):
            it.send(request_head("POST", "/anything", {"Transfer-Encoding": "chunked"}) + b"1\r\na\r\n0\r\n")
            await eventually(lambda it=it: getattr(it.protocol, "_in_body", False))
            it.send(b"X-Trailer: ".ljust(size, b"x"))
            if size == LIMIT:
                await eventually(lambda it=it: it.protocol._barren_bytes == LIMIT)
                it.send(b"\r\n\r\n")
                assert (await it.answer()).status == 200
            else:
                assert (await it.answer()).status == 431
                await it.expect_end()


# -- time --------------------------------------------------------------------------------------------------------------


@every
@first_and_later
async def test_a_head_that_ends_in_time_is_taken(client: Any, door: Door, later: bool) -> None:
    async with client(later=later) as (it, clock):
        head = door.head()
        await it.begin(head[:-3])
        clock.go_on(SECONDS)
        it.send(head[-3:])
        assert (await it.answer()).status == door.status


@every
@first_and_later
async def test_a_head_that_does_not_is_408(client: Any, door: Door, later: bool) -> None:
    async with client(later=later) as (it, clock):
        await it.begin(door.head()[:-3])
        clock.go_on(SECONDS + TICK)
        assert (await it.answer()).status == 408
        await it.expect_end()


@every
async def test_a_connection_may_be_used_until_its_time_is_over(client: Any, door: Door) -> None:
    async with client() as (it, clock):
        clock.go_on(SECONDS)
        it.send(door.head())
        assert (await it.answer()).status == door.status
    async with client() as (it, clock):
        clock.go_on(SECONDS + TICK)
        await it.expect_end()  # nothing was said, so nothing is answered


async def test_the_time_of_a_head_begins_with_its_first_byte_on_a_connection_that_was_used(client: Any) -> None:
    async with client(later=True) as (it, clock):
        clock.go_on(SECONDS + TICK)
        await it.begin(b"GET")
        clock.go_on(SECONDS)
        it.send(request_head("GET", "/healthz/live")[3:])
        assert (await it.answer()).status == 200


async def test_a_body_that_nobody_waits_for_has_the_time_of_a_head(client: Any) -> None:
    for late in (False, True):
        async with client() as (it, clock):
            it.send(request_head("POST", "/webhook/Hook", {"Content-Length": "2", "Expect": "100-continue"}))
            assert (await it.answer()).status == 401
            await eventually(lambda it=it: it.protocol.bucket)
            clock.go_on(SECONDS + late * TICK)
            if late:
                await it.expect_end()
            else:
                it.send(b"{}" + request_head("GET", "/healthz/live"))
                assert (await it.answer()).status == 200


# -- what the application is asked -------------------------------------------------------------------------------------


class Asked:
    """An application that takes its time over a handshake."""

    def __init__(self, hook: str, **options: Any) -> None:
        self.app = App(**options)
        self.begun, self.go, self.cancelled = asyncio.Event(), asyncio.Event(), asyncio.Event()

        @self.app.websocket("/asked", auth=self.who if hook == "auth" else False)
        async def asked(message: str) -> str:
            return message

        if hook == "on_handshake":
            asked.on_handshake(self.wait)

    async def who(self, request: Request) -> str:
        """The one hook."""
        await self.wait()
        return "somebody"

    async def wait(self) -> None:
        """The other."""
        self.begun.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


hooks = pytest.mark.parametrize("hook", ["on_handshake", "auth"])


@hooks
@pytest.mark.parametrize("late", [False, True])
async def test_an_answer_when_the_time_ends_opens_it_and_none_by_then_is_408(hook: str, late: bool) -> None:
    asked = Asked(hook, **OPTIONS)
    async with TestServer(asked.app) as server:
        clock = Clock.of(server)
        async with dial(server.port) as peer:
            peer.send(Door("/asked", 101).head())
            await soon(asked.begun.wait())
            clock.go_on(SECONDS + late * TICK)
            if late:
                assert (await peer.answer()).status == 408
                await soon(asked.cancelled.wait())
            else:
                asked.go.set()
                assert (await peer.answer()).status == 101


@hooks
@pytest.mark.parametrize("carrier", CARRIERS.values(), ids=list(CARRIERS))
async def test_it_is_408_on_both_carriers_and_leaves_nothing(hook: str, carrier: Any) -> None:
    asked = Asked(hook, handshake_timeout_seconds=0.05)
    async with carrier(asked.app) as server:
        with pytest.raises(HandshakeFailed) as caught:
            async with server.websocket("/asked"):
                pass
        assert caught.value.status == 408
        assert b"The handshake took too long" in caught.value.body
        await soon(asked.cancelled.wait())
        assert asked.app.listener is not None
        assert not asked.app.listener.shells
        asked.go.set()
        async with server.websocket("/asked") as ws:
            await ws.send_text("open")
            assert await ws.receive_text() == "open"


async def test_a_hook_that_survives_its_cancellation_opens_nothing_on_another_server() -> None:
    app, survived = App(handshake_timeout_seconds=0.05), asyncio.Event()

    @app.websocket("/asked")
    async def asked(message: str) -> str:
        return message

    @asked.on_handshake
    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            survived.set()

    async with CARRIERS["another server"](app) as server:
        with pytest.raises(HandshakeFailed) as caught:
            async with server.websocket("/asked"):
                pass
        assert caught.value.status == 408
        assert survived.is_set()


async def test_what_comes_while_the_application_is_asked_is_read_up_to_the_size_of_a_head() -> None:
    asked = Asked("on_handshake", **OPTIONS)
    async with TestServer(asked.app) as server, dial(server.port) as peer:
        it = Client(peer, server)
        it.send(Door("/asked", 101).head())
        await soon(asked.begun.wait())
        front = it.protocol
        frames = mask_frame(TEXT, b"x" * (LIMIT - 8))
        assert len(frames) == LIMIT
        it.send(frames)
        await eventually(lambda: len(front._received) == LIMIT)
        assert front._transport.is_reading()
        more = mask_frame(TEXT, b"more")
        it.send(more[:1])
        await eventually(lambda: not front._transport.is_reading())
        it.send(more[1:])
        asked.go.set()
        assert (await it.answer()).status == 101
        await it.expect_text("x" * (LIMIT - 8))
        await it.expect_text("more")
