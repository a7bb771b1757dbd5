"""Page 1, "On the wire": every row, to the byte."""

import asyncio
import contextlib
import json
from typing import Any

import pytest
from tests.faces.wires import Closed, application, opened, soon

from wireloom import App, Connection, ConnectionClosed
from wireloom.testing import HandshakeFailed
from wireloom.wire.frames import PING, mask_frame

pytestmark = pytest.mark.anyio


VALID = [
    ("/chat", '{ "user": "é☃𝄞" , "text": "a\\/b" }', (0x81, '{"user":"é☃𝄞","text":"a/b"}'.encode())),
    ("/chat", '{"text":"1","user":"2","more":[1, 2]}', (0x81, b'{"text":"1","user":"2"}')),
    ("/any", '{"z":1, "a":{"y":null, "b":[1.5, true]}}', (0x81, b'{"z":1,"a":{"y":null,"b":[1.5,true]}}')),
    ("/any", '"\\u00e9\\n\\""', (0x81, '"é\\n\\""'.encode())),
    ("/any", " [] ", (0x81, b"[]")),
    ("/any", "0", (0x81, b"0")),
    ("/any", "false", (0x81, b"false")),
    ("/any", '""', (0x81, b'""')),
    ("/text", "as it is: é {", (0x81, "as it is: é {".encode())),
    ("/text", "", (0x81, b"")),
    ("/binary", b"\x00\xff as it is", (0x82, b"\x00\xff as it is")),
    ("/binary", b"", (0x82, b"")),
    ("/either", "text", (0x81, b"text")),
    ("/either", b"\x00\xff", (0x82, b"\x00\xff")),
    ("/any", json.dumps("x" * 200), (0x81, json.dumps("x" * 200).encode())),
    ("/any", json.dumps("x" * 70_000), (0x81, json.dumps("x" * 70_000).encode())),
]


# -- a valid message --------------------------------------------------------------------------------------------------


async def test_a_valid_message_is_answered_in_one_frame(wireloom_server: Any) -> None:
    app, got = application()
    async with wireloom_server(app) as server:
        for count, (path, sent, frame) in enumerate(VALID, 1):
            async with opened(server, path) as wire:
                wire.send(sent)
                assert await wire.frame() == frame, (path, sent)
            assert len(got) == count


async def test_none_sends_nothing(wireloom_server: Any) -> None:
    app, got = application()
    async with wireloom_server(app) as server, opened(server, "/any") as wire:
        wire.send("null", "1")
        assert await wire.frame() == (0x81, b"1")
    assert got == [None, 1]


async def test_replies_of_every_json_form(wireloom_server: Any) -> None:
    app = App()
    replies = [{"b": 1, "a": 2}, ["é", None], "text", 0, False, 1.5, Closed("x"), {}, [], {1: 2}]

    @app.websocket("/")
    async def handler(message: int) -> Any:
        return replies[message]

    wanted = [
        '{"b":1,"a":2}', '["é",null]', '"text"', "0", "false", "1.5", '{"text":"x"}', "{}", "[]", '{"1":2}',
    ]  # fmt: skip
    async with wireloom_server(app) as server, opened(server, "/") as wire:
        wire.send(*(str(number) for number in range(len(replies))))
        assert [await wire.frame() for _ in replies] == [(0x81, text.encode()) for text in wanted]


@pytest.mark.parametrize(("path", "reply", "first"), [("/text", b"\xff", 0x82), ("/binary", "é", 0x81)])
async def test_a_raw_reply_leaves_by_its_own_kind(
    wireloom_server: Any, path: str, reply: str | bytes, first: int
) -> None:
    app = App()

    @app.websocket("/text")
    async def text(message: str) -> Any:
        return reply

    @app.websocket("/binary")
    async def binary(message: bytes) -> Any:
        return reply

    async with wireloom_server(app) as server, opened(server, path) as wire:
        wire.send("x" if path == "/text" else b"x")
        assert await wire.frame() == (first, reply.encode() if isinstance(reply, str) else reply)


# -- paths ------------------------------------------------------------------------------------------------------------


async def test_an_unknown_path_is_404_in_json_before_any_upgrade(wireloom_server: Any) -> None:
    app, _ = application()
    async with wireloom_server(app) as server:
        with pytest.raises(HandshakeFailed) as caught:
            await server.websocket("/nowhere?a=b").__aenter__()
        error = caught.value
        assert (error.status, error.headers["content-type"]) == (404, "application/json")
        assert json.loads(error.body) == {"error": "Not Found", "message": "No route found for GET /nowhere"}
        reply = await server.http.get("/nowhere?a=b")
        assert (reply.status_code, reply.headers["content-type"]) == (404, "application/json")
        assert reply.json() == {"error": "Not Found", "message": "No route found for GET /nowhere"}


@pytest.mark.parametrize("path", ["/chat", "/rooms/7"])
async def test_a_plain_get_on_a_websocket_path_is_426(wireloom_server: Any, path: str) -> None:
    app, got = application()

    @app.websocket("/rooms/{number}")
    async def rooms(message: Any, number: int) -> None:
        """Nothing."""

    async with wireloom_server(app) as server:
        reply = await server.http.get(path)
        assert reply.status_code == 426
        assert reply.headers["upgrade"] == "websocket"
        assert "upgrade" in reply.headers["connection"].lower()
        assert reply.headers["content-type"] == "application/json"
        assert reply.json()["error"] == "Upgrade Required"
        assert path in reply.json()["message"]
    assert got == []


async def test_a_plain_get_on_a_path_that_does_not_fit_is_404(wireloom_server: Any) -> None:
    """No upgrade would help: with one, this path is 404."""
    app = App()

    @app.websocket("/rooms/{number}")
    async def rooms(message: Any, number: int) -> None:
        """Nothing."""

    async with wireloom_server(app) as server:
        assert (await server.http.get("/rooms/seven")).status_code == 404


# -- the inbound queue ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("concurrency", [1, 2])
async def test_reading_pauses_while_the_inbound_queue_is_full(wireloom_server: Any, concurrency: int) -> None:
    """Pings tell: they are answered while a handler is slow, but only when they are read."""
    app, gate, begun = App(inbound_queue=3), asyncio.Event(), asyncio.Semaphore(0)

    @app.websocket("/", concurrency=concurrency)
    async def handler(message: str) -> str:
        begun.release()
        await gate.wait()
        return message

    async with wireloom_server(app) as server, opened(server, "/") as wire:
        running = [f"r{number}" for number in range(concurrency)]
        wire.send(*running)
        for _ in running:
            await soon(begun.acquire())
        wire.send("1", "2")
        wire.writer.write(mask_frame(PING, b"two wait"))
        assert await wire.frame() == (0x8A, b"two wait")
        wire.send("3")
        await wire.nothing()
        wire.writer.write(mask_frame(PING, b"not read"))
        await wire.nothing()
        gate.set()
        frames = [await wire.frame() for _ in range(3 + concurrency + 1)]
        replies = [payload.decode() for first, payload in frames if first == 0x81]
        assert sorted(replies) == sorted([*running, "1", "2", "3"])
        if concurrency == 1:
            assert replies == ["r0", "1", "2", "3"]
        assert (0x8A, b"not read") in frames


async def test_a_flood_is_taken_in_by_a_bounded_part_and_handled_in_order(wireloom_server: Any) -> None:
    app, gate, begun, got = App(inbound_queue=8), asyncio.Event(), asyncio.Event(), []
    count, size = 400, 64 * 1024

    @app.websocket("/")
    async def handler(message: bytes) -> None:
        begun.set()
        got.append(int.from_bytes(message[:4], "big"))
        await gate.wait()

    async with wireloom_server(app) as server, server.websocket("/") as ws:
        transport = ws.connection._transport
        assert transport is not None
        for number in range(count):
            await ws.send_bytes(number.to_bytes(4, "big") + bytes(size))
        await soon(begun.wait())
        await ws.expect_nothing(0.4)
        waiting = transport.get_write_buffer_size()
        assert waiting > 0.5 * count * size  # the client keeps most: it could not be written
        await ws.expect_nothing(0.1)
        assert transport.get_write_buffer_size() == waiting
        assert got == [0]
        gate.set()
        await soon(ws.close())
    assert got == list(range(count))


async def test_the_end_is_seen_while_reading_is_paused_and_the_server_closes(wireloom_server: Any) -> None:
    app, begun, connections = App(inbound_queue=1), asyncio.Event(), []

    @app.websocket("/")
    async def handler(message: str, connection: Connection) -> None:
        connections.append(connection)
        begun.set()
        with contextlib.suppress(ConnectionClosed):
            while True:
                await connection.drain()

    async with wireloom_server(app) as server, server.websocket("/") as ws:
        for _ in range(3):
            await ws.send_text("x")
        await soon(begun.wait())
        await ws.expect_nothing(0.05)
        connections[0].close(4000, "enough")
        assert await ws.wait_closed() == 4000
