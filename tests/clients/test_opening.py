"""How a client opens a connection, against servers that answer as they like."""

from __future__ import annotations

import asyncio
import socket

import pytest

from tests.clients.opening import end_of, failure, opened
from wireloom import App, connect
from wireloom.clients.connection import open_connection
from wireloom.errors import WebSocketSyntaxError
from wireloom.testing import TestServer

from ..wire.oracle import frame
from .peer import TIMEOUT_SECONDS, Peer, serving

pytestmark = pytest.mark.anyio


# -- opening -----------------------------------------------------------------------------------------------------------


async def test_the_request_and_what_comes_with_the_answer() -> None:
    peers: list[Peer] = []

    async def script(peer: Peer) -> None:
        peers.append(peer)
        await peer.accept(frame(0x81, b"at once", None), "Sec-WebSocket-Protocol: b")
        assert await peer.read_frame() == (0x88, b"\x03\xe8")
        peer.write(frame(0x88, b"\x03\xe8", None))

    async with serving(script) as url:
        async with open_connection(url, headers={"X-A": "1"}, subprotocols=["a", "b"]) as connection:
            assert connection.subprotocol == "b"
            assert connection.close_code is None
            assert await connection.receive() == "at once"
        assert connection.close_code == 1000
        host = url.removeprefix("ws://").partition("/")[0]
    request = peers[0]
    assert request.request.startswith(b"GET /chat?x=1 HTTP/1.1\r\n")
    assert request.header(b"host") == host.encode()
    assert request.header(b"x-a") == b"1"
    assert request.header(b"sec-websocket-protocol") == b"a, b"
    assert request.header(b"sec-websocket-version") == b"13"


async def test_an_answer_that_comes_byte_by_byte() -> None:
    async def script(peer: Peer) -> None:
        peer.writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await peer.read_request()
        for byte in peer.answer() + frame(0x81, "Grüße".encode(), None):
            peer.write(bytes((byte,)))
            await asyncio.sleep(0)
        peer.write(frame(0x88, b"", None))
        await peer.read_end()

    async with serving(script) as url:
        assert await end_of(await open_connection(url)) == (["Grüße"], 1005, "")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\r\n\r\n",
        b"garbage\r\n\r\n",
        b"\x15\x03\x03\x00\x02\x02\x50",
        b"HTTP/1.1",
        b"HTTP/1.1 101 Switching Protocols\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConn",
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nno colon\r\n\r\n",
    ],
)
async def test_garbage_for_an_answer(answer: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.read_request()
        peer.write(answer)

    assert (await failure(script)).status in (0, 101)


async def test_a_server_that_closes_after_a_good_looking_half() -> None:
    async def script(peer: Peer) -> None:
        await peer.read_request()
        peer.write(peer.answer()[:-2])

    assert "closed the connection during the handshake" in (await failure(script)).reason


async def test_a_server_that_resets_during_the_handshake() -> None:
    async def script(peer: Peer) -> None:
        await peer.read_request()
        peer.reset()

    assert (await failure(script)).status == 0


async def test_a_refusal_has_status_headers_and_body() -> None:
    async def script(peer: Peer) -> None:
        await peer.read_request()
        peer.write(b"HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\n\r\n")
        peer.write(b'{"error":"Not Found"}')

    error = await failure(script)
    assert (error.status, error.body) == (404, b'{"error":"Not Found"}')
    assert error.headers == {"content-type": "application/json"}


async def test_a_refusal_on_a_connection_that_stays_open() -> None:
    # HTTP/1.1 servers keep a connection open after an error whose length they told
    async def script(peer: Peer) -> None:
        await peer.read_request()
        peer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
        await peer.read_end()

    error = await failure(script, open_timeout=10.0)
    assert (error.status, error.body) == (403, b"no")


async def test_a_refusal_with_a_large_body_keeps_its_status() -> None:
    async def script(peer: Peer) -> None:
        await peer.read_request()
        peer.write(b"HTTP/1.1 502 Bad Gateway\r\n\r\n" + b"x" * 200_000)
        await peer.read_end()

    error = await failure(script)
    assert error.status == 502
    assert error.body.startswith(b"xxxx")
    assert len(error.body) <= 200_000


@pytest.mark.parametrize(
    ("wrong", "right", "why"),
    [
        (b"Sec-WebSocket-Accept: ", b"Sec-WebSocket-Accept: x", "accept"),
        (b"Upgrade: websocket\r\n", b"", "accept"),
        (b"\r\n\r\n", b"\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n", "extension"),
        (b"\r\n\r\n", b"\r\nSec-WebSocket-Protocol: other\r\n\r\n", "'other'"),
    ],
)
async def test_an_answer_that_is_not_ours(wrong: bytes, right: bytes, why: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.read_request()
        peer.write(peer.answer().replace(wrong, right))
        await peer.read_end()  # the client hangs up

    error = await failure(script, subprotocols=["mine"])
    assert error.status == 101
    assert why in error.reason


async def test_a_server_that_never_answers() -> None:
    async def script(peer: Peer) -> None:
        await peer.read_request()
        assert await peer.read_end() == b""  # the client hangs up

    async with serving(script) as url:
        with pytest.raises(TimeoutError):
            await open_connection(url, open_timeout=0.05)


async def test_an_answer_without_end() -> None:
    async def script(peer: Peer) -> None:
        await peer.read_request()
        peer.write(b"HTTP/1.1 101 Switching Protocols\r\n" + b"X: y\r\n" * 20_000)
        await peer.read_end()

    assert "does not end" in (await failure(script)).reason


@pytest.mark.parametrize("url", ["ftp://h/", "wss:/h", "ws://", "ws:///path", "h/path", ""])
async def test_urls_that_are_none(url: str) -> None:
    with pytest.raises(ValueError, match="is not a WebSocket URL"):
        open_connection(url)


async def test_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(OSError, match=r"\d"):
            await open_connection(f"ws://127.0.0.1:{taken.getsockname()[1]}/")


async def test_a_header_with_a_line_break_is_refused_and_leaves_nothing_behind() -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    async with server, asyncio.timeout(TIMEOUT_SECONDS):
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ValueError, match="line break"):
            await open_connection(f"ws://127.0.0.1:{port}/", headers=[("X", "a\r\nY: b")])
        # by the time another connection has come and gone, that one has as well
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await reader.read() == b""
        writer.close()


async def test_an_opening_that_is_cancelled_hangs_up_and_leaves_nothing_behind() -> None:
    asked = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.read_request()
        asked.set()
        assert await peer.read_end() == b""

    async with serving(script) as url:
        opening = asyncio.create_task(opened(url))
        await asked.wait()
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening


# -- what other servers do before their answer, or in place of it ------------------------------------------------------


async def test_interim_answers_before_the_101_are_passed_over() -> None:
    async def script(peer: Peer) -> None:
        await peer.read_request()
        peer.write(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + peer.answer())
        peer.write(frame(0x81, b"hello", None) + frame(0x88, b"\x03\xe8", None))
        await peer.read_end()

    async with serving(script) as url:
        assert (await end_of(await open_connection(url)))[:2] == (["hello"], 1000)


async def test_interim_answers_without_end_are_a_failure() -> None:
    async def script(peer: Peer) -> None:
        await peer.read_request()
        peer.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000)
        await peer.read_end()

    assert (await failure(script)).reason == "the server's answer does not end"


async def test_the_end_of_a_refusal_in_chunks_is_known() -> None:
    async def script(peer: Peer) -> None:
        await peer.read_request()
        peer.write(b"HTTP/1.1 401 Unauthorized\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n")
        await asyncio.sleep(0)
        peer.write(b"0\r\n\r\n")
        await peer.read_end()

    assert (await failure(script, open_timeout=None)).status == 401


async def test_a_length_of_thousands_of_digits_is_none() -> None:
    async def script(peer: Peer) -> None:
        await peer.read_request()
        peer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\nno")

    error = await failure(script)
    assert (error.status, error.body) == (403, b"no")


@pytest.mark.parametrize("names", [["a\r\nX-Injected: 1"], ["a, b"], [""], ["a", "a"]])
def test_a_subprotocol_is_a_token_and_there_once(names: list[str]) -> None:
    with pytest.raises(WebSocketSyntaxError, match="no token"):
        open_connection("ws://h/", subprotocols=names)


@pytest.mark.parametrize("code", [0, 99, 999, 1004, 1005, 1006, 1015, 2999, 5000])
async def test_a_code_that_must_not_be_sent_is_refused_and_closes_nothing(code: int) -> None:
    app = App()

    @app.websocket("/echo")
    async def echo(message: str) -> str:
        return message

    async with TestServer(app) as server:
        url = f"{server.websocket_url}/echo"
        async with open_connection(url) as one, connect(url) as lasting:
            for connection in (one, lasting):
                with pytest.raises(ValueError, match=f"^{code} must not be sent"):
                    await connection.close(code)
            one.send("still here")
            await lasting.send("still here")
            assert await one.receive() == await lasting.receive() == "still here"
