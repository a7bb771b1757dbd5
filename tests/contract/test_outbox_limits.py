"""What may wait for a client that does not read: to the byte, on every door, and what each policy does one past it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.net.raw import Frame, Peer, dial, eventually
from wireloom import EVERYONE, Connection
from wireloom.testing import TestServer
from wireloom.wire.frames import CLOSE, TEXT

from .doors import CARRIERS, DOORS, Door, every_door
from .sharing import BACKEND, sharing

pytestmark = pytest.mark.anyio

LIMIT = 500_000
EMPTY_FRAME_BYTES = 2
FRAME_HEAD_BYTES = 10  # of a frame above 64 KiB
every = pytest.mark.parametrize("door", DOORS.values(), ids=list(DOORS))


@pytest.fixture(scope="module")
def anyio_backend() -> Any:
    """The event loop of this module's servers."""
    return BACKEND


@pytest.fixture(scope="module", params=list(CARRIERS))
async def stopped(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Any]:
    """Opens a connection whose client does not read; gives its two ends."""
    folder = tmp_path_factory.mktemp("routes")

    @asynccontextmanager
    async def connect(door: Door, **options: Any) -> AsyncIterator[tuple[Peer, Connection]]:
        server: TestServer = await get(**options)
        async with dial(server.port, limit=4096) as peer:
            await peer.upgrade(door.path)
            if door.greets:
                await peer.frame()
            await eventually(lambda: server.app.hub.count() == 1)
            [connection] = server.app.hub.connections()
            await fill(peer, connection)
            yield peer, connection
            peer.abort()
        await eventually(lambda: server.app.hub.count() == 0)

    async with sharing(lambda **options: CARRIERS[request.param](every_door(folder, **options))) as get:
        yield connect


async def fill(peer: Peer, connection: Connection) -> None:
    """Sends until the transport has enough. The operating system's buffers hold some megabytes, which nobody counts."""
    peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
    filler = bytes(64 * 1024)

    def is_full() -> bool:
        if not connection.outbox.paused:
            connection.send_bytes(filler)  # so large that it leaves at once
        return connection.outbox.paused

    await eventually(is_full)


def hold(connection: Connection, *frame_sizes: int) -> None:
    """Sends messages whose frames have so many bytes: more than 64 KiB, or none but the frame's own."""
    for size in frame_sizes:
        connection.send_bytes(b"h" * (size - FRAME_HEAD_BYTES) if size > EMPTY_FRAME_BYTES else b"")
    connection.outbox.flush()


async def until_close(peer: Peer) -> list[Frame]:
    """The client reads again: all that comes to it."""
    peer.writer.transport.resume_reading()  # type: ignore[attr-defined]
    frames = [await peer.frame()]
    while frames[-1].opcode != CLOSE:
        frames.append(await peer.frame())
    return frames


@every
async def test_as_much_waits_as_may_and_with_one_byte_more_it_ends_with_1013(stopped: Any, door: Door) -> None:
    async with stopped(door, outbox_bytes=LIMIT) as (_, connection):
        hold(connection, LIMIT - connection.backlog - EMPTY_FRAME_BYTES, EMPTY_FRAME_BYTES)
        assert connection.backlog == LIMIT
        assert connection.is_open
    async with stopped(door, outbox_bytes=LIMIT) as (peer, connection):
        hold(connection, LIMIT - connection.backlog - EMPTY_FRAME_BYTES + 1, EMPTY_FRAME_BYTES)
        assert not connection.is_open
        *frames, last = await until_close(peer)
        assert (last.code, last.reason) == (1013, "Too slow")
        assert not any(frame.payload.startswith(b"h") for frame in frames)  # what waited is dropped


@every
async def test_the_oldest_is_dropped_for_one_byte_more(stopped: Any, door: Door) -> None:
    for excess in (0, 1):
        async with stopped(door, outbox_bytes=LIMIT, outbox_policy="drop_oldest") as (peer, connection):
            before = connection.outbox.counts.dropped["drop_oldest"]
            room = LIMIT - connection.backlog - EMPTY_FRAME_BYTES + excess
            oldest = room - 100_000
            hold(connection, oldest, 100_000, EMPTY_FRAME_BYTES)
            assert connection.backlog == LIMIT - (oldest - excess if excess else 0)
            assert connection.outbox.counts.dropped["drop_oldest"] - before == excess
            connection.close(4000)
            *frames, last = await until_close(peer)
            kept = [len(frame.payload) for frame in frames if frame.payload != bytes(64 * 1024)]
            assert kept == [*([] if excess else [oldest - FRAME_HEAD_BYTES]), 100_000 - FRAME_HEAD_BYTES, 0]
            assert last.code == 4000


@every
async def test_the_newest_of_a_key_takes_the_place_of_others_and_of_two_keys_there_may_be_too_much(
    stopped: Any, door: Door
) -> None:
    async with stopped(door, outbox_bytes=LIMIT, outbox_policy="conflate") as (peer, connection):
        room = LIMIT - connection.backlog
        hub: Any = connection.registry
        for digit in "123":
            await hub.publish(EVERYONE, digit * (room - FRAME_HEAD_BYTES), key="k")
            connection.outbox.flush()
            assert connection.backlog == LIMIT
            assert connection.is_open
        await hub.publish(EVERYONE, "", key="another")
        connection.outbox.flush()
        assert not connection.is_open
        assert (await until_close(peer))[-1].code == 1013


async def test_what_was_conflated_is_what_comes(stopped: Any) -> None:
    async with stopped(DOORS["text"], outbox_bytes=LIMIT, outbox_policy="conflate") as (peer, connection):
        hub: Any = connection.registry
        room = LIMIT - connection.backlog
        for digit in "123":
            await hub.publish(EVERYONE, digit * (room - FRAME_HEAD_BYTES), key="k")
            connection.outbox.flush()
        connection.close(4000)
        frames = await until_close(peer)
        assert [frame.payload[:1] for frame in frames if frame.opcode == TEXT] == [b"3"]


@every
async def test_the_default_is_one_mebibyte(stopped: Any, door: Door) -> None:
    for excess in (0, 1):
        async with stopped(door) as (_, connection):
            hold(connection, 2**20 - connection.backlog - EMPTY_FRAME_BYTES + excess, EMPTY_FRAME_BYTES)
            assert connection.is_open != bool(excess)


@every
async def test_with_zero_nothing_waits_beside_what_the_transport_has(stopped: Any, door: Door) -> None:
    async with stopped(door, outbox_bytes=0) as (peer, connection):
        assert connection.is_open
        hold(connection, EMPTY_FRAME_BYTES)
        assert not connection.is_open
        assert (await until_close(peer))[-1].code == 1013
