"""What limits messages, at the edge and one past it, on every door and on both carriers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.net.raw import Frame, Peer, dial, soon
from wireloom import App
from wireloom.errors import CLOSE_CODES
from wireloom.testing import TestServer, TestWebSocket
from wireloom.wire.frames import PING

from .doors import CARRIERS, DOORS, Door, every_door, opened, say

pytestmark = pytest.mark.anyio

every = pytest.mark.parametrize("door", DOORS.values(), ids=list(DOORS))


@pytest.fixture(params=list(CARRIERS))
def carrier(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Makes a server of every door with some options."""
    return lambda **options: CARRIERS[request.param](every_door(tmp_path, **options))


@asynccontextmanager
async def client(server: TestServer, door: Door) -> AsyncIterator[TestWebSocket]:
    """A server with one client of one door."""
    async with server, server.websocket(door.path) as ws:
        yield await opened(ws, door)


# -- size --------------------------------------------------------------------------------------------------------------


@every
async def test_a_message_may_be_as_large_as_the_limit_and_one_byte_more_ends_it(carrier: Any, door: Door) -> None:
    async with client(carrier(max_message_bytes=500), door) as ws:
        assert "error" not in str(await say(ws, door, 500))
        await ws.send_text(door.message.ljust(501))
        assert await ws.wait_closed() == 1009


@every
async def test_binary_messages_too(carrier: Any, door: Door) -> None:
    async with client(carrier(max_message_bytes=500), door) as ws:
        await ws.send_bytes(b" " * 500)
        await ws.send_text(door.message)
        while door.path == "/stream" and "error" in await ws.receive_text():
            break
        await ws.send_bytes(b" " * 501)
        assert await ws.wait_closed() == 1009


async def test_the_limit_counts_bytes_and_not_characters(carrier: Any) -> None:
    async with client(carrier(max_message_bytes=500), DOORS["text"]) as ws:
        await ws.send_text("ü" * 250)
        assert await ws.receive_text() == "ü" * 250
        await ws.send_text("ü" * 250 + "x")
        assert await ws.wait_closed() == 1009


@every
async def test_the_default_is_one_mebibyte(carrier: Any, door: Door) -> None:
    async with client(carrier(), door) as ws:
        await say(ws, door, 1024 * 1024)
        await ws.send_text(door.message.ljust(1024 * 1024 + 1))
        assert await ws.wait_closed() == 1009


@every
async def test_zero_is_no_limit_of_size(carrier: Any, door: Door) -> None:
    async with client(carrier(max_message_bytes=0), door) as ws:
        assert await say(ws, door, 3 * 1024 * 1024)


# -- rate --------------------------------------------------------------------------------------------------------------


SLOW: dict[str, Any] = {"messages_per_second": 0.001, "message_burst": 3}  # nothing comes back within a test


@every
async def test_messages_above_the_rate_are_refused_and_end_it_when_that_goes_on(carrier: Any, door: Door) -> None:
    async with client(carrier(**SLOW), door) as ws:
        for _ in range(3):
            assert "RATE_LIMITED" not in str(await say(ws, door))
        for _ in range(3):
            assert door.code(json.loads(await say(ws, door))) == "RATE_LIMITED"
        await ws.send_text(door.message)
        assert await ws.wait_closed() == 1008
        assert ws.close_reason == "Too many messages"


@pytest.mark.parametrize("door", [door for door in DOORS.values() if door.is_ordered], ids=lambda door: door.path)
async def test_messages_of_one_segment_are_counted_one_by_one(carrier: Any, door: Door) -> None:
    async with client(carrier(**SLOW), door) as ws:
        for _ in range(50):
            await ws.send_text(door.message)
        replies = [await ws.receive() for _ in range(6)]
        assert [("RATE_LIMITED" in str(reply)) for reply in replies] == [False] * 3 + [True] * 3
        assert await ws.wait_closed() == 1008


@pytest.mark.parametrize("door", [door for door in DOORS.values() if door.unreadable], ids=lambda door: door.path)
async def test_messages_that_cannot_be_read_count_too(carrier: Any, door: Door) -> None:
    assert door.unreadable is not None
    async with client(carrier(**SLOW), door) as ws:
        for _ in range(3):
            await ws.send_text(door.unreadable)
            assert "RATE_LIMITED" not in str(await ws.receive())
        assert door.code(json.loads(await say(ws, door))) == "RATE_LIMITED"
        for _ in range(3):
            await ws.send_text(door.unreadable)
        assert await ws.wait_closed() == 1008


@every
async def test_pings_count_as_messages_on_our_own_port(tmp_path: Path, door: Door) -> None:
    async with TestServer(every_door(tmp_path, **SLOW)) as server, dial(server.port) as peer:
        await peer.upgrade(door.path)
        if door.greets:
            await peer.frame()
        for number in range(7):
            peer.ping(b"%d" % number)
        frames = [await peer.frame() for _ in range(7)]
        assert [frame.payload for frame in frames[:3]] == [b"0", b"1", b"2"]
        assert [door.code(json.loads(frame.payload)) for frame in frames[3:6]] == ["RATE_LIMITED"] * 3
        assert frames[6].code == 1008


@every
async def test_pongs_that_nobody_asked_for_count_too(tmp_path: Path, door: Door) -> None:
    async with TestServer(every_door(tmp_path, **SLOW)) as server, dial(server.port) as peer:
        await peer.upgrade(door.path)
        if door.greets:
            await peer.frame()
        for _ in range(7):
            peer.pong(b"here")
        frames = [await peer.frame() for _ in range(4)]
        assert [door.code(json.loads(frame.payload)) for frame in frames[:3]] == ["RATE_LIMITED"] * 3
        assert frames[3].code == 1008


@pytest.mark.parametrize("name", ["text", "typed, waits"])
async def test_answers_to_our_own_pings_cost_nothing_and_no_more_than_those(tmp_path: Path, name: str) -> None:
    door, options = DOORS[name], {"ping_interval_seconds": 0.01, "ping_timeout_seconds": 1, **SLOW}
    async with TestServer(every_door(tmp_path, **options)) as server, dial(server.port) as peer:
        await peer.upgrade(door.path)
        for _ in range(2):
            assert (await peer.frame()).opcode == PING
            peer.pong()
        peer.pong()  # the one that is counted
        for _ in range(3):
            peer.text(door.message)
        replies = [await frame_but_pings(peer) for _ in range(3)]
        assert [b"RATE_LIMITED" in reply.payload for reply in replies] == [False, False, True]


async def test_nor_do_those_that_gathered_while_nothing_was_read() -> None:
    app = App(inbound_queue=1, ping_interval_seconds=0.01, ping_timeout_seconds=20, **SLOW)
    begun, go = asyncio.Event(), asyncio.Event()

    @app.websocket("/slow")
    async def slow(message: str) -> str:
        begun.set()
        await go.wait()
        return message

    async with TestServer(app) as server, dial(server.port) as peer:
        await peer.upgrade("/slow")
        peer.text("one")
        await soon(begun.wait())
        peer.text("two")  # fills the queue
        for _ in range(4):
            assert (await peer.frame()).opcode == PING
        for _ in range(4):
            peer.pong()
        peer.text("three")
        go.set()
        assert [(await frame_but_pings(peer)).payload for _ in range(3)] == [b"one", b"two", b"three"]


async def frame_but_pings(peer: Peer) -> Frame:
    """The next frame that is no ping."""
    while (frame := await peer.frame()).opcode == PING:
        pass
    return frame


@every
async def test_every_connection_has_a_rate_of_its_own(carrier: Any, door: Door) -> None:
    async with carrier(**SLOW) as server, server.websocket(door.path) as first, server.websocket(door.path) as second:
        for ws in (await opened(first, door), await opened(second, door)):
            for _ in range(3):
                assert "RATE_LIMITED" not in str(await say(ws, door))


@every
async def test_without_the_option_nothing_is_counted(carrier: Any, door: Door) -> None:
    async with client(carrier(message_burst=1), door) as ws:
        for _ in range(100):
            await ws.send_text(door.message)
        assert "RATE_LIMITED" not in str([await ws.receive() for _ in range(100)])


# -- channels ----------------------------------------------------------------------------------------------------------


async def test_channels_of_the_event_socket(carrier: Any) -> None:
    async with client(carrier(), DOORS["event socket"]) as ws:
        names = [f"c{number}" for number in range(128)]
        for name in names[:127]:  # and the one that is its own
            await ws.send_json({"type": "subscribe", "channel_ids": [name]})
            assert (await ws.receive_json())["type"] == "subscribed"
        await ws.send_json({"type": "subscribe", "channel_ids": names[127:]})
        assert (await ws.receive_json())["error"]["code"] == "TOO_MANY_CHANNELS"
        await ws.send_json({"type": "unsubscribe", "channel_ids": names[:1]})
        await ws.receive_json()
        await ws.send_json({"type": "subscribe", "channel_ids": names[127:]})
        assert (await ws.receive_json())["type"] == "subscribed"


async def test_channels_of_a_typed_handler(carrier: Any) -> None:
    async with client(carrier(), DOORS["typed, direct"]) as ws:
        for _ in range(128):
            await ws.send_text('{"text":"join"}')
            assert await ws.receive_json() == {"text": "join"}
        await ws.send_text('{"text":"join"}')
        assert (await ws.receive_json())["code"] == "TOO_MANY_CHANNELS"


async def test_channels_of_a_route(carrier: Any, caplog: pytest.LogCaptureFixture) -> None:
    server = carrier()
    async with client(server, DOORS["route"]) as ws:
        for _ in range(128):
            await ws.send_text("join")
            assert await ws.receive_text() == "said"
        await ws.send_text("join")  # a hook that fails ends, and the log tells why
        assert await say(ws, DOORS["route"]) == "said"
        [connection] = server.app.hub.connections()
        assert len(connection.channels) == 128
        assert "TOO_MANY_CHANNELS" in caplog.text


# -- what a client is told of it ---------------------------------------------------------------------------------------


def test_no_client_comes_back_by_itself_after_any_of_these() -> None:
    assert [CLOSE_CODES[code].come_back for code in (1008, 1009)] == [False, False]
