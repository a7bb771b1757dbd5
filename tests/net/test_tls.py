"""The same over TLS, where the shell reads through the shared buffer."""

from __future__ import annotations

import asyncio
import hashlib
import os
import ssl
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from wireloom import App, Connection
from wireloom.net.websocket import BufferedWebSocketShell
from wireloom.testing import TestServer
from wireloom.wire.frames import BINARY, TEXT, mask_frame

from .raw import Frame, dial, eventually, request_head, soon, upgrade_head

pytestmark = pytest.mark.anyio


@pytest.fixture
def server(certificate: tuple[str, str]) -> TestServer:
    app = App(max_message_bytes=3_000_000)

    @app.websocket("/echo")
    async def echo(message: str | bytes) -> str | bytes:
        return message

    @app.websocket("/slow")
    async def slow(message: str) -> str:
        await asyncio.sleep(0)
        return message

    @app.websocket("/join")
    async def join(message: str, connection: Connection) -> str:
        connection.join("news")
        return "joined"

    return TestServer(app, ssl_certfile=certificate[0], ssl_keyfile=certificate[1])


def trusting(certificate: tuple[str, str]) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certificate[0])


async def test_wss_echo_and_https_share_the_port(server: TestServer) -> None:
    async with server:
        assert server.url.startswith("https://")
        async with server.websocket("/echo") as ws:
            await ws.send_text("Grüße")
            assert await ws.receive_text() == "Grüße"
            assert server.app.listener is not None
            assert all(isinstance(shell, BufferedWebSocketShell) for shell in server.app.listener.shells)
            await ws.send_bytes(b"\x00\xff")
            assert await ws.receive_bytes() == b"\x00\xff"
        reply = await server.http.get("/healthz/live")
        assert reply.json() == {"status": "ok"}
        assert (await server.http.post("/nowhere", content=b"x" * 500_000)).status_code == 404


async def test_an_untrusting_client_does_not_connect(server: TestServer) -> None:
    async with server:
        with pytest.raises(ssl.SSLCertVerificationError):
            async with dial(server.port, ssl.create_default_context()):
                pass


async def test_many_messages_keep_their_order(server: TestServer, certificate: tuple[str, str]) -> None:
    async with server:
        for path in ("/echo", "/slow"):
            async with dial(server.port, trusting(certificate)) as peer:
                await peer.upgrade(path)
                for start in range(0, 3000, 300):
                    peer.send(b"".join(mask_frame(TEXT, b"%d" % number) for number in range(start, start + 300)))
                for number in range(3000):
                    assert await peer.frame() == Frame(TEXT, b"%d" % number)


async def test_connections_do_not_mix_in_the_shared_buffer(server: TestServer, certificate: tuple[str, str]) -> None:
    async def talk(name: int) -> None:
        async with dial(server.port, trusting(certificate)) as peer:
            await peer.upgrade()
            for number in range(30):
                payload = bytes((name,)) * (1000 + 100 * number)
                frame = mask_frame(BINARY, payload)
                peer.send(frame[:500])
                await asyncio.sleep(0)
                peer.send(frame[500:])
                assert await peer.frame() == Frame(BINARY, payload)

    async with server:
        await asyncio.gather(*map(talk, range(8)))


async def test_a_message_larger_than_the_buffer(server: TestServer, certificate: tuple[str, str]) -> None:
    payload = os.urandom(2_500_000)
    async with server, dial(server.port, trusting(certificate)) as peer:
        await peer.upgrade()
        peer.binary(payload)
        frame = await peer.frame()
        assert hashlib.sha256(frame.payload).digest() == hashlib.sha256(payload).digest()


async def test_frames_glued_to_the_head(server: TestServer, certificate: tuple[str, str]) -> None:
    async with server, dial(server.port, trusting(certificate)) as peer:
        peer.send(upgrade_head() + mask_frame(TEXT, b"one") + mask_frame(TEXT, b"two"))
        await peer.switched()
        await peer.expect_text("one")
        await peer.expect_text("two")


async def test_an_upgrade_after_https(server: TestServer, certificate: tuple[str, str]) -> None:
    async with server, dial(server.port, trusting(certificate)) as peer:
        peer.send(request_head("GET", "/healthz/live"))
        assert (await peer.answer()).status == 200
        await peer.upgrade()
        peer.text("later")
        await peer.expect_text("later")


async def test_publications_and_close_handshake(server: TestServer, certificate: tuple[str, str]) -> None:
    async with server, dial(server.port, trusting(certificate)) as peer:
        await peer.upgrade("/join")
        peer.text("")
        await peer.expect_text("joined")
        await server.app.hub.publish("news", {"n": 1})
        await peer.expect_text('{"n":1}')
        peer.close(b"\x0b\xb8bye")
        frame = await peer.frame()
        assert (frame.code, frame.reason) == (3000, "bye")
        await peer.expect_end()
        await eventually(lambda: server.app.hub.count() == 0)


async def test_a_stop_tells_also_those_whose_handlers_hang(certificate: tuple[str, str]) -> None:
    app, begun = App(drain_timeout_seconds=0.5), asyncio.Event()

    @app.websocket("/echo")
    async def echo(message: str) -> None:
        begun.set()
        await asyncio.Event().wait()

    async with AsyncExitStack() as stack:
        async with TestServer(app, ssl_certfile=certificate[0], ssl_keyfile=certificate[1]) as server:
            peers = [await stack.enter_async_context(dial(server.port, trusting(certificate))) for _ in range(2)]
            for peer in peers:
                await peer.upgrade()
            peers[0].text("hang")
            await soon(begun.wait())
        assert [(await peer.frame()).code for peer in peers] == [1001, 1012]


async def test_a_protocol_error_ends_it_with_its_code(server: TestServer, certificate: tuple[str, str]) -> None:
    async with server, dial(server.port, trusting(certificate)) as peer:
        await peer.upgrade()
        peer.send(b"\x81\x01x")  # not masked
        assert (await peer.frame()).code == 1002


async def test_plain_bytes_on_the_tls_port_harm_nobody(server: TestServer, certificate: tuple[str, str]) -> None:
    async with server:
        async with dial(server.port) as peer:
            peer.send(upgrade_head())
            await peer.rest()
        async with dial(server.port, trusting(certificate)) as peer:
            await peer.upgrade()


def test_the_key_is_there(certificate: tuple[str, str]) -> None:
    assert Path(certificate[1]).read_text().startswith("-----BEGIN")
