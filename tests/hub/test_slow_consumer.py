"""Real sockets: one reader that stopped among fifty, or a thousand, that read."""

from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack
from typing import Any

import pytest

from wireloom import EVERYONE, App
from wireloom.hub import outbox as outbox_module
from wireloom.hub.connection import Connection
from wireloom.testing import TestServer, TestWebSocket

from ..net.raw import Peer, dial, eventually

pytestmark = pytest.mark.anyio

LIMIT = 300_000
SIZE = 4_000


def quiet_app(**options: Any) -> App:
    app = App(outbox_bytes=LIMIT, **options)

    @app.websocket("/echo")
    async def echo(message: str) -> str:
        return message

    return app


async def stopped_reader(stack: AsyncExitStack, server: TestServer) -> tuple[Peer, Connection]:
    """A client that opens a connection and then reads no more."""
    before = set(server.app.hub.connections())
    peer = await stack.enter_async_context(dial(server.port))
    await peer.upgrade()
    peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
    await eventually(lambda: len(server.app.hub.connections()) > len(before))
    [connection] = set(server.app.hub.connections()) - before
    link: Any = connection._link
    link._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
    return peer, connection


async def live_readers(stack: AsyncExitStack, server: TestServer, count: int) -> list[TestWebSocket]:
    return [await stack.enter_async_context(server.websocket("/echo", timeout=20)) for _ in range(count)]


async def publish_until(app: App, live: list[TestWebSocket], done: Any, most: int = 4000) -> int:
    """Publishes numbered messages as fast as the live ones read, until something holds; gives how many."""
    for number in range(most):
        await app.hub.publish(EVERYONE, f"{number:08d}" + "x" * SIZE)
        if number % 10 == 9:
            for ws in live:
                for expected in range(number - 9, number + 1):
                    assert (await ws.receive_text())[:8] == f"{expected:08d}"
            if done():
                return number + 1
    raise AssertionError(f"not done after {most} publications")


async def test_a_stopped_reader_is_closed_with_1013_and_the_others_hear_everything() -> None:
    app = quiet_app(close_timeout_seconds=30)
    async with TestServer(app) as server, AsyncExitStack() as stack:
        live = await live_readers(stack, server, 50)
        peer, connection = await stopped_reader(stack, server)
        highest = 0

        def closed() -> bool:
            nonlocal highest
            highest = max(highest, connection.backlog)
            return not connection.is_open

        await publish_until(app, live, closed)
        assert 100_000 < highest <= LIMIT + 20 * SIZE
        assert connection.backlog <= LIMIT
        for ws in live:
            await ws.send_text("and on")
            assert await ws.receive_text() == "and on"
        # The slow one reads again: what was on its way, then the reason for the end.
        peer.writer.transport.resume_reading()  # type: ignore[attr-defined]
        expected = 0
        while (frame := await peer.frame()).opcode == 1:
            assert frame.payload[:8] == b"%08d" % expected
            expected += 1
        assert frame.code == 1013
        peer.close(b"\x03\xf5")
        await peer.expect_end()
        assert app.hub.count() == 50


async def test_a_stopped_reader_that_never_reads_again_is_dropped() -> None:
    app = quiet_app(close_timeout_seconds=0.3)
    async with TestServer(app) as server, AsyncExitStack() as stack:
        live = await live_readers(stack, server, 2)
        _, connection = await stopped_reader(stack, server)
        await publish_until(app, live, lambda: not connection.is_open)
        await eventually(lambda: app.hub.count() == 2, 3)
        await eventually(lambda: connection.backlog == 0)


async def test_drop_oldest_keeps_the_newest_in_order() -> None:
    app = quiet_app(outbox_policy="drop_oldest")
    async with TestServer(app) as server, AsyncExitStack() as stack:
        live = await live_readers(stack, server, 5)
        peer, connection = await stopped_reader(stack, server)
        highest = 0

        def dropped() -> bool:
            nonlocal highest
            highest = max(highest, connection.backlog)
            return connection.outbox.counts.dropped["drop_oldest"] > 100

        count = await publish_until(app, live, dropped)
        assert highest <= LIMIT + 20 * SIZE
        assert connection.is_open
        await asyncio.sleep(0)
        assert connection.backlog <= LIMIT
        peer.writer.transport.resume_reading()  # type: ignore[attr-defined]
        await app.hub.publish(EVERYONE, "end")
        numbers = []
        while (frame := await peer.frame()).payload != b"end":
            numbers.append(int(frame.payload[:8]))
        assert numbers == sorted(set(numbers))
        assert numbers[-1] == count - 1
        newest = [number for number in numbers if number > numbers[-1] - 50]
        assert newest == list(range(numbers[-1] - 49, numbers[-1] + 1))
        assert count - len(numbers) == connection.outbox.counts.dropped["drop_oldest"]


async def test_conflate_keeps_the_newest_of_every_key_and_the_connection() -> None:
    app = quiet_app(outbox_policy="conflate")
    async with TestServer(app) as server, AsyncExitStack() as stack:
        live = await live_readers(stack, server, 3)
        peer, connection = await stopped_reader(stack, server)
        count = 0
        while connection.outbox.counts.dropped["conflate"] < 200:
            assert count < 4000
            for key in "abc":
                await app.hub.publish(EVERYONE, f"{key}{count:08d}" + "x" * SIZE, key=key)
            for ws in live:
                assert [(await ws.receive_text())[:9] for _ in "abc"] == [f"{key}{count:08d}" for key in "abc"]
            assert connection.backlog <= LIMIT
            count += 1
        assert connection.is_open
        peer.writer.transport.resume_reading()  # type: ignore[attr-defined]
        await app.hub.publish(EVERYONE, "end")
        heard: dict[str, list[int]] = {"a": [], "b": [], "c": []}
        while (frame := await peer.frame()).payload != b"end":
            heard[chr(frame.payload[0])].append(int(frame.payload[1:9]))
        for numbers in heard.values():
            assert numbers == sorted(set(numbers))
            assert numbers[-1] == count - 1
            assert len(numbers) < count


async def test_a_thousand_live_readers_hear_everything_while_a_stopped_one_is_dealt_with() -> None:
    app = quiet_app(close_timeout_seconds=30)
    async with TestServer(app, timeout=30) as server, AsyncExitStack() as stack:
        live = await live_readers(stack, server, 1000)
        peer, connection = await stopped_reader(stack, server)
        published, highest = 0, 0
        while connection.is_open:
            assert published < 2000
            for _ in range(20):
                await app.hub.publish(EVERYONE, f"{published:08d}" + "x" * SIZE)
                published += 1
                if connection.is_open:
                    highest = max(highest, connection.backlog)
            for ws in live:
                for number in range(published - 20, published):
                    assert (await ws.receive_text())[:8] == f"{number:08d}"
        assert highest <= LIMIT + 20 * SIZE  # what a turn adds is judged at its end
        assert connection.backlog <= LIMIT
        await app.hub.publish(EVERYONE, "and on")
        for ws in live:
            assert await ws.receive_text() == "and on"
        assert all(connection.backlog == 0 for connection in app.hub.connections() if connection.is_open)
        peer.abort()
        await eventually(lambda: app.hub.count() == 1000)


async def test_a_channel_and_a_client_are_bounded_as_a_broadcast_is() -> None:
    app = App(outbox_bytes=LIMIT, database="sqlite://", close_timeout_seconds=30)
    app.events()
    async with TestServer(app) as server, AsyncExitStack() as stack:
        peer = await stack.enter_async_context(dial(server.port))
        await peer.upgrade("/websocket?channel_id=room")
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await eventually(lambda: app.hub.count("room") == 1)
        [connection] = app.hub.connections("room")
        sender = await stack.enter_async_context(server.websocket("/websocket?channel_id=room"))
        await sender.receive_json()
        data = {"x": "x" * SIZE}
        events = [
            {"type": "client", "client_ids": [connection.client_id], "data": data},
            {"type": "channel", "channel_ids": ["room"], "data": data},
        ]
        sent = 0
        while connection.is_open:
            assert sent < 20_000
            for event in events:
                await sender.send_json(event)
            assert await sender.receive_json() == data
            assert connection.backlog <= LIMIT + 4 * SIZE
            sent += 1
        await sender.send_json({"type": "connection", "id": 1})
        assert (await sender.receive_json())["id"] == 1
        peer.abort()


@pytest.mark.parametrize("tls", [False, True])
async def test_nothing_is_written_past_the_transport_over_tls(
    tls: bool,
    certificate: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    past: list[bytes] = []
    real = outbox_module._write
    monkeypatch.setattr(outbox_module, "_write", lambda fd, data: past.append(data) or real(fd, data))  # type: ignore[func-returns-value]
    files = {"ssl_certfile": certificate[0], "ssl_keyfile": certificate[1]} if tls else {}
    app = quiet_app()
    async with TestServer(app, **files) as server, server.websocket("/echo") as ws:  # type: ignore[arg-type]
        for number in range(5):
            await app.hub.publish(EVERYONE, f"{number}")
            assert await ws.receive_text() == f"{number}"
            await ws.send_text("echo")
            assert await ws.receive_text() == "echo"
    assert bool(past) != tls
