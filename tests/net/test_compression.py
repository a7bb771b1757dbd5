"""permessage-deflate on the server's port: off unless asked for, shared where it can be, bounded."""

from __future__ import annotations

import asyncio
import json
import ssl
import tracemalloc
import zlib
from typing import Any

import pytest
import websockets
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

from wireloom import App, Connection
from wireloom.core.topic import channel
from wireloom.errors import ConfigError
from wireloom.hub.outbox import KeyedFrame
from wireloom.net.websocket import WebSocketShell
from wireloom.testing import TestServer
from wireloom.wire.frames import mask_frame

from .raw import Peer, dial, eventually, soon, upgrade_head

pytestmark = pytest.mark.anyio

TEXT = "a text that says the same the same the same " * 20
TAIL = b"\x00\x00\xff\xff"
OFFER = {"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits"}


def echo_app(**options: Any) -> App:
    app = App(**{"compression": True, **options})

    @app.websocket("/echo")
    async def echo(message: str | bytes) -> str | bytes:
        return message

    @app.websocket("/news")
    async def news(message: str, connection: Connection) -> None:
        connection.join(message)
        connection.send("joined")

    return app


def deflated(text: str) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return (stream.compress(text.encode()) + stream.flush(zlib.Z_SYNC_FLUSH)).removesuffix(TAIL)


async def compressed_frame(peer: Peer) -> bytes:
    """A whole short frame with reserved bit 1, as it came."""
    frame = await peer.exactly(2)
    assert frame[0] == 0xC1
    size = int.from_bytes(more := await peer.exactly(2), "big") if frame[1] == 126 else frame[1]
    return frame + (more if frame[1] == 126 else b"") + await peer.exactly(size)


def text_of(frame: bytes) -> str:
    payload = frame[4:] if frame[1] == 126 else frame[2:]
    return zlib.decompressobj(-15).decompress(payload + TAIL).decode()


# -- agreeing ----------------------------------------------------------------------------------------------------------


async def test_it_is_off_unless_asked_for() -> None:
    async with TestServer(echo_app(compression=False)) as server, dial(server.port) as peer:
        answer = await peer.upgrade(headers=OFFER)
        assert "sec-websocket-extensions" not in answer.headers
        peer.send(mask_frame(1, deflated(TEXT), reserved=0x40))
        assert (await peer.frame()).code == 1002


async def test_a_client_that_does_not_offer_it_is_served_without() -> None:
    async with TestServer(echo_app()) as server, dial(server.port) as peer:
        answer = await peer.upgrade()
        assert "sec-websocket-extensions" not in answer.headers
        peer.text(TEXT)
        await peer.expect_text(TEXT)


@pytest.mark.parametrize(
    ("options", "answered"),
    [
        ({}, "permessage-deflate; server_no_context_takeover; client_no_context_takeover"),
        ({"compression_takeover": True}, "permessage-deflate"),
        (
            {"compression_takeover": True, "outbox_policy": "drop_oldest"},  # what is dropped would be missing
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
        ),
    ],
)
async def test_what_is_agreed_on(options: dict[str, Any], answered: str) -> None:
    async with TestServer(echo_app(**options)) as server, dial(server.port) as peer:
        answer = await peer.upgrade(headers=OFFER)
        assert answer.headers["sec-websocket-extensions"] == answered


async def test_a_malformed_offer_is_400_and_says_what_is_wrong() -> None:
    async with TestServer(echo_app()) as server, dial(server.port) as peer:
        peer.send(upgrade_head("/echo", {"Sec-WebSocket-Extensions": "permessage deflate"}))
        answer = await peer.answer()
        assert answer.status == 400
        assert answer.json["error"].startswith("Malformed Sec-WebSocket-Extensions: 'permessage deflate'")


@pytest.mark.parametrize("level", [0, 10])
def test_a_level_that_does_not_exist(level: int) -> None:
    with pytest.raises(ConfigError, match=f"compression_level must be from 1 to 9, not {level}"):
        echo_app(compression_level=level)


# -- speaking ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("takeover", [False, True])
@pytest.mark.parametrize("client_takeover", [False, True])
async def test_a_client_we_did_not_write(takeover: bool, client_takeover: bool) -> None:
    extension = ClientPerMessageDeflateFactory(
        server_no_context_takeover=not client_takeover,
        client_no_context_takeover=not client_takeover,
        server_max_window_bits=11,
        client_max_window_bits=10,
    )
    async with TestServer(echo_app(compression_takeover=takeover)) as server:
        url = f"{server.websocket_url}/echo"
        async with websockets.connect(url, compression=None, extensions=[extension]) as ws:
            for message in (TEXT, b"\x00" * 70_000, "", TEXT, "ä" * 300, TEXT):
                await ws.send(message)
                assert await soon(ws.recv()) == message
            await ws.send([TEXT, "", TEXT])
            assert await soon(ws.recv()) == TEXT * 2


async def test_small_replies_and_control_frames_leave_as_they_are() -> None:
    async with TestServer(echo_app(compression_min_bytes=50)) as server, dial(server.port) as peer:
        await peer.upgrade(headers=OFFER)
        peer.text("x" * 49)
        await peer.expect_text("x" * 49)
        peer.ping(b"y" * 125)
        assert (await peer.frame()).payload == b"y" * 125
        peer.text("x" * 50)
        assert text_of(await compressed_frame(peer)) == "x" * 50


async def test_the_limit_is_of_the_inflated_size() -> None:
    async with TestServer(echo_app(max_message_bytes=len(TEXT))) as server:
        async with dial(server.port) as peer:
            await peer.upgrade(headers=OFFER)
            peer.send(mask_frame(1, deflated(TEXT), reserved=0x40))
            assert text_of(await compressed_frame(peer)) == TEXT
            peer.send(mask_frame(1, deflated(TEXT + "x"), reserved=0x40))
            assert (await peer.frame()).code == 1009


async def test_bombs_that_arrive_at_once_wait_as_they_came_while_a_handler_is_slow() -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()
    app = App(compression=True)

    @app.websocket("/slow")
    async def slow(message: bytes) -> str:
        begun.set()
        await go_on.wait()
        return str(len(message))

    bomb = mask_frame(2, deflated("\0" * (1 << 20)), reserved=0x40)
    async with TestServer(app) as server, dial(server.port) as peer:
        await peer.upgrade("/slow", headers=OFFER)
        tracemalloc.start()
        try:
            peer.send(bomb * 60)
            peer.close()
            await soon(begun.wait())
            assert tracemalloc.get_traced_memory()[1] < 10 << 20
        finally:
            tracemalloc.stop()
        go_on.set()
        for _ in range(60):
            assert (await peer.frame()).payload == b"1048576"
        assert (await peer.frame()).code == 1000


async def test_broken_data_is_1007() -> None:
    async with TestServer(echo_app()) as server, dial(server.port) as peer:
        await peer.upgrade(headers=OFFER)
        peer.send(mask_frame(1, b"\xff" * 20, reserved=0x40))
        assert (await peer.frame()).code == 1007


async def test_compression_over_tls_is_in_the_shell_that_reads_into_a_shared_buffer(
    certificate: tuple[str, str],
) -> None:
    tls = ssl.create_default_context(cafile=certificate[0])
    async with TestServer(echo_app(), ssl_certfile=certificate[0], ssl_keyfile=certificate[1]) as server:
        async with websockets.connect(f"{server.websocket_url}/echo", ssl=tls) as ws:
            assert ws.response is not None
            assert "permessage-deflate" in ws.response.headers["Sec-WebSocket-Extensions"]
            await ws.send(TEXT)
            assert await soon(ws.recv()) == TEXT


async def test_contexts_go_with_the_connection_not_with_the_garbage_collector() -> None:
    app = echo_app(compression_takeover=True)
    async with TestServer(app) as server:
        async with websockets.connect(f"{server.websocket_url}/echo") as ws:
            await ws.send(TEXT)
            assert await soon(ws.recv()) == TEXT
            assert app.listener is not None
            [shell] = app.listener.shells
            assert isinstance(shell, WebSocketShell)
            assert shell._outbox.deflater is not None
            assert shell._reader._inflater is not None
        await eventually(lambda: not shell.connection.is_open and shell._outbox.deflater is None)
        assert shell._reader._inflater is None


# -- publications ------------------------------------------------------------------------------------------------------


async def hear(peer: Peer, name: str = "news", offer: str = "permessage-deflate") -> None:
    await peer.upgrade("/news", {"Sec-WebSocket-Extensions": offer or None})
    peer.text(name)
    await peer.expect_text("joined")


async def test_one_compressed_frame_goes_to_all_of_equal_parameters() -> None:
    app = echo_app()
    async with TestServer(app) as server, dial(server.port) as one, dial(server.port) as two:
        async with dial(server.port) as narrow, dial(server.port) as plain:
            await hear(one)
            await hear(two, offer="permessage-deflate; server_max_window_bits=12")
            await hear(narrow, offer="permessage-deflate; server_max_window_bits=9")
            await hear(plain, offer="")
            boxes = [connection.outbox for connection in app.hub.connections("news")]
            assert app.hub.count("news") == 4
            app.hub.publish_nowait("news", TEXT)
            sent = [box.frames[-1] for box in boxes]  # before the loop's turn ends they wait there
            assert len({id(frame) for frame in sent}) == 3
            assert await compressed_frame(one) == await compressed_frame(two)
            assert text_of(await compressed_frame(narrow)) == TEXT
            await plain.expect_text(TEXT)


async def test_topics_of_one_publication_share_the_compressed_frame() -> None:
    app = echo_app()
    async with TestServer(app) as server, dial(server.port) as one, dial(server.port) as two:
        await hear(one, "a")
        await hear(two, "b")
        boxes = [connection.outbox for name in ("a", "b") for connection in app.hub.connections(name)]
        app.hub.publish_payload([channel("a"), channel("b")], json.dumps({"text": TEXT}).encode())
        assert boxes[0].frames[-1] is boxes[1].frames[-1]
        assert json.loads(text_of(await compressed_frame(one))) == {"text": TEXT}
        assert text_of(await compressed_frame(two))


async def test_with_takeover_replies_and_publications_share_one_context_in_order() -> None:
    app = echo_app(compression_takeover=True)
    async with TestServer(app) as server:
        async with websockets.connect(f"{server.websocket_url}/news") as ws:
            await ws.send("news")
            assert await soon(ws.recv()) == "joined"
            [connection] = app.hub.connections("news")
            for number in range(20):
                connection.send(f"{number} {TEXT}")
                app.hub.publish_nowait("news", f"{TEXT} {number}")
            for number in range(20):
                assert await soon(ws.recv()) == f"{number} {TEXT}"
                assert await soon(ws.recv()) == f"{TEXT} {number}"


async def test_who_leaves_hears_no_more_and_the_last_takes_its_group_along() -> None:
    app = echo_app()
    async with TestServer(app) as server, dial(server.port) as one, dial(server.port) as two:
        await hear(one)
        await hear(two, offer="permessage-deflate; server_max_window_bits=9")
        first, _ = app.hub.connections("news")
        app.hub.publish_nowait("news", TEXT)
        first.leave("news")
        app.hub.publish_nowait("news", "second " + TEXT)
        assert app.hub.count("news") == 1
        assert len(app.hub._topics["channel:news"]._deflated or {}) == 1  # type: ignore[index]
        for peer in (one, two):
            assert text_of(await compressed_frame(peer)) == TEXT
        assert text_of(await compressed_frame(two)).startswith("second")


async def test_a_compressed_frame_keeps_its_key() -> None:
    app = echo_app(outbox_policy="conflate")
    async with TestServer(app) as server, dial(server.port) as peer:
        await hear(peer)
        [connection] = app.hub.connections("news")
        connection.outbox.pause()
        for number in range(3):
            app.hub.publish_nowait("news", f"{number} {TEXT}", key="newest")
        assert all(isinstance(frame, KeyedFrame) for frame in connection.outbox.frames)
        connection.outbox.flush()
        assert len(connection.outbox.frames) == 1
        connection.outbox.resume()
        assert text_of(await compressed_frame(peer)) == f"2 {TEXT}"


async def test_many_clients_at_once_with_different_offers() -> None:
    app = echo_app(compression_takeover=True)

    async def talk(server: TestServer, number: int) -> None:
        offers = ["", "; server_no_context_takeover", "; server_max_window_bits=9", "; client_no_context_takeover"]
        extension = f"permessage-deflate{offers[number % 4]}"
        async with dial(server.port) as peer:
            await peer.upgrade(headers={"Sec-WebSocket-Extensions": extension})
            for _ in range(5):
                peer.send(mask_frame(1, deflated(f"{number} {TEXT}"), reserved=0x40))
                assert (await compressed_frame(peer))[0] == 0xC1

    async with TestServer(app) as server:
        await asyncio.gather(*(talk(server, number) for number in range(40)))
