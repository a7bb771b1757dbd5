"""Messages in fragments and compressed ones: their number of fragments, and their size when whole and inflated."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.net.raw import Peer, dial, eventually
from wireloom.testing import TestServer
from wireloom.wire.frames import CONTINUATION, PING, PONG, TEXT, mask_frame

from .doors import CARRIERS, DOORS, Door, every_door
from .sharing import BACKEND, sharing

pytestmark = pytest.mark.anyio

SIZE = 500
COMPRESSED = 0x40  # reserved bit 1 (RFC 7692 §6)
OFFER: dict[str, str | None] = {
    "Sec-WebSocket-Extensions": "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
}
every = pytest.mark.parametrize("door", DOORS.values(), ids=list(DOORS))


@pytest.fixture(scope="module")
def anyio_backend() -> Any:
    """The event loop of this module's servers."""
    return BACKEND


@pytest.fixture(scope="module", params=list(CARRIERS))
async def carrier(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Any]:
    """Opens a raw client of a door."""
    folder = tmp_path_factory.mktemp("routes")
    async with sharing(lambda **options: CARRIERS[request.param](every_door(folder, **options))) as get:
        yield lambda door, headers=None, **options: client(get(**options), door, headers)


@pytest.fixture(scope="module")
async def own_port(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Any]:
    """Opens a raw client of a door on our own port."""
    folder = tmp_path_factory.mktemp("routes")
    async with sharing(lambda **options: TestServer(every_door(folder, **options))) as get:
        yield lambda door, headers=None, **options: client(get(**options), door, headers)


@asynccontextmanager
async def client(getting: Any, door: Door, headers: dict[str, str | None] | None) -> AsyncIterator[Peer]:
    server = await getting
    async with dial(server.port) as peer:
        answer = await peer.upgrade(door.path, headers)
        assert ("sec-websocket-extensions" in answer.headers) == bool(headers)
        if door.greets:
            await peer.frame()
        yield peer
    await eventually(lambda: server.app.hub.count() == 0)


def fragments(payload: bytes, count: int, reserved: int = 0) -> list[bytes]:
    """The frames of a message; where there are more than bytes, the first are empty."""
    pieces = [b""] * (count - len(payload)) + [payload[i : i + 1] for i in range(min(len(payload), count) - 1)]
    pieces = pieces[: count - 1]
    pieces.append(payload[sum(map(len, pieces)) :])
    return [
        mask_frame(CONTINUATION if number else TEXT, piece, fin=number == count - 1, reserved=0 if number else reserved)
        for number, piece in enumerate(pieces)
    ]


def deflated(payload: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return (stream.compress(payload) + stream.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\x00\x00\xff\xff")


async def answered(peer: Peer) -> None:
    """The message that was sent is answered; it was no error."""
    frame = await peer.frame()
    assert frame.opcode & 0x0F == TEXT
    assert b'"code"' not in frame.payload


# -- how many ----------------------------------------------------------------------------------------------------------


@every
@pytest.mark.parametrize("limit", [1, 5, 300])
async def test_a_message_may_have_so_many_fragments_and_one_more_ends_it(own_port: Any, door: Door, limit: int) -> None:
    async with own_port(door, max_fragments=limit) as peer:
        for _ in range(2):  # each message has all of them
            peer.send(b"".join(fragments(door.message.encode(), limit)))
            await answered(peer)
        peer.send(b"".join(fragments(door.message.encode(), limit + 1)))
        assert (await peer.frame()).code == 1009


@every
async def test_fragments_that_come_one_by_one_with_pings_between(own_port: Any, door: Door) -> None:
    async with own_port(door, max_fragments=5) as peer:
        *first, last = fragments(door.message.encode(), 5)
        for frame in first:
            peer.send(frame)
            peer.ping()
            assert (await peer.frame()).opcode == PONG
        peer.send(last)
        await answered(peer)
        *first, last = fragments(door.message.encode(), 6)
        for frame in first:
            peer.send(frame)
            peer.ping()
            assert (await peer.frame()).opcode == PONG
        peer.send(last)
        assert (await peer.frame()).code == 1009


@every
async def test_the_one_too_many_is_refused_before_the_message_ends(own_port: Any, door: Door) -> None:
    async with own_port(door, max_fragments=5) as peer:
        peer.send(b"".join(fragments(door.message.encode(), 100)[:6]))
        assert (await peer.frame()).code == 1009


async def test_the_default_is_100_000_fragments(own_port: Any) -> None:
    async with own_port(DOORS["text"]) as peer:
        peer.send(b"".join(fragments(b"x", 100_000)))
        await answered(peer)
        peer.send(b"".join(fragments(b"x", 100_001)))
        assert (await peer.frame()).code == 1009


# -- how large ---------------------------------------------------------------------------------------------------------


@every
@pytest.mark.parametrize("count", [2, 7])
async def test_fragments_together_may_be_as_large_as_one_message(carrier: Any, door: Door, count: int) -> None:
    async with carrier(door, max_message_bytes=SIZE) as peer:
        peer.send(b"".join(fragments(door.message.encode().ljust(SIZE), count)))
        await answered(peer)
        peer.send(b"".join(fragments(door.message.encode().ljust(SIZE + 1), count)))
        assert (await peer.frame()).code == 1009


@every
async def test_fragments_above_it_are_refused_when_the_frame_s_head_is_there(own_port: Any, door: Door) -> None:
    async with own_port(door, max_message_bytes=SIZE) as peer:
        first, last = fragments(door.message.encode().ljust(SIZE + 1), 2)
        peer.send(first + last[: 8 - SIZE])
        assert (await peer.frame()).code == 1009


@every
@pytest.mark.parametrize("count", [1, 3])
async def test_a_compressed_message_may_be_as_large_as_another_when_it_is_inflated(
    carrier: Any, door: Door, count: int
) -> None:
    async with carrier(door, OFFER, max_message_bytes=SIZE, compression=True) as peer:
        small, large = (deflated(door.message.encode().ljust(size)) for size in (SIZE, SIZE + 1))
        assert len(large) < SIZE / 5
        peer.send(b"".join(fragments(small, count, COMPRESSED)))
        await answered(peer)
        peer.send(b"".join(fragments(large, count, COMPRESSED)))
        assert (await peer.frame()).code == 1009


@every
async def test_of_a_compressed_message_the_inflated_mebibyte_is_the_default(carrier: Any, door: Door) -> None:
    async with carrier(door, OFFER, compression=True, compression_min_bytes=2**21) as peer:
        peer.send(mask_frame(TEXT, deflated(door.message.encode().ljust(2**20)), reserved=COMPRESSED))
        assert (await peer.exactly(2))[0] & 0x0F == TEXT
    async with carrier(door, OFFER, compression=True, compression_min_bytes=2**21) as peer:
        peer.send(mask_frame(TEXT, deflated(door.message.encode().ljust(2**20 + 1)), reserved=COMPRESSED))
        assert (await peer.frame()).code == 1009


@every
async def test_fragments_of_a_compressed_message_count_as_those_of_another(own_port: Any, door: Door) -> None:
    async with own_port(door, OFFER, max_fragments=5, compression=True) as peer:
        payload = deflated(door.message.encode())
        peer.send(b"".join(fragments(payload, 5, COMPRESSED)))
        await answered(peer)
        peer.send(b"".join(fragments(payload, 6, COMPRESSED)))
        assert (await peer.frame()).code == 1009


@every
async def test_pings_are_no_fragments_and_have_no_size(own_port: Any, door: Door) -> None:
    async with own_port(door, max_message_bytes=SIZE, max_fragments=2) as peer:
        for frame in fragments(door.message.encode().ljust(SIZE), 2):
            peer.send(b"".join(mask_frame(PING, b"p" * 125) for _ in range(10)) + frame)
        for _ in range(20):
            assert (await peer.frame()).opcode == PONG
        await answered(peer)
