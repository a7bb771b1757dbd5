"""WebSocket, case by case against the WebSockets Standard (https://websockets.spec.whatwg.org)."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Any

import pytest

from tests.clients.browsing import FAILED, ended, nobody, play, record
from wireloom import App, WebSocket, connect, open_connection
from wireloom.errors import (
    ConnectionClosed,
    HandshakeFailed,
    InvalidStateError,
    WebSocketSyntaxError,
)
from wireloom.testing import TestServer

from ..wire.oracle import frame
from .peer import Peer, serving

pytestmark = pytest.mark.anyio


# -- the constructor ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["", "/relative", "ftp://h/", "ws://h/#", "ws://h/#x", "ws://a b/", "ws://h:99999/"])
async def test_a_url_that_does_not_parse_or_has_a_fragment_is_a_syntax_error(url: str) -> None:
    with pytest.raises(WebSocketSyntaxError):
        WebSocket(url)


@pytest.mark.parametrize(
    "protocols", ["", "a b", "a,b", "ü", "a\n", ["a", "a"], ["a", "b", "a"], ["a", ""], ["x/y"], ["\x7f"]]
)
async def test_a_subprotocol_that_is_repeated_or_no_token_is_a_syntax_error(protocols: str | list[str]) -> None:
    with pytest.raises(WebSocketSyntaxError, match="subprotocol"):
        WebSocket("ws://h/", protocols)
    for client in (connect, open_connection):
        with pytest.raises(WebSocketSyntaxError, match="subprotocol"):
            client("ws://h/", subprotocols=protocols)


async def test_the_url_is_judged_first() -> None:
    with pytest.raises(WebSocketSyntaxError, match="fragment"):
        WebSocket("ws://h/#", ["a", "a"])


def test_without_a_running_loop_it_says_so_but_judges_before() -> None:
    with pytest.raises(RuntimeError, match="running event loop"):
        WebSocket("ws://h/")
    with pytest.raises(WebSocketSyntaxError):
        WebSocket("ws://h/#")


async def test_it_is_connecting_and_has_a_serialized_url() -> None:
    async with serving(nobody) as url:
        host = url.removeprefix("ws://").partition("/")[0]
        ws = WebSocket(f"HTTP://{host}/a b?c")
        assert ws.url == f"ws://{host}/a%20b?c"
        assert ws.readyState == ws.ready_state == ws.CONNECTING == WebSocket.CONNECTING == 0
        assert (WebSocket.OPEN, WebSocket.CLOSING, WebSocket.CLOSED) == (ws.OPEN, ws.CLOSING, ws.CLOSED) == (1, 2, 3)
        assert (ws.bufferedAmount, ws.extensions, ws.protocol, ws.binaryType) == (0, "", "", "bytes")
        await ended(ws)


async def test_its_repr_hides_the_password() -> None:
    async with serving(nobody) as url:
        ws = WebSocket(url.replace("ws://", "ws://ada:secret@"))
        assert repr(ws) == f"<WebSocket {url}>"
        await ended(ws)


async def test_a_server_that_chooses_none_of_the_subprotocols_fails_the_handshake() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.read_end()

    async with serving(script) as url:
        ws = WebSocket(url, ["chat.v2", "chat.v1"])
        seen = record(ws)
        await ended(ws)
        assert seen == FAILED
        assert str(ws.failure) == "the server chose none of the subprotocols that were offered"
        async with open_connection(
            url, subprotocols=["chat.v2"]
        ) as connection:  # RFC 6455 alone leaves it to the client
            assert connection.subprotocol is None
            connection.abort()


async def test_one_subprotocol_may_be_given_as_text() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept(frame(0x88, b"", None), "Sec-WebSocket-Protocol: chat.v2")
        assert peer.header(b"sec-websocket-protocol") == b"chat.v2"
        await peer.read_end()

    async with serving(script) as url:
        ws = WebSocket(url, "chat.v2")
        await ended(ws)
        assert ws.protocol == "chat.v2"
        async with open_connection(url, subprotocols="chat.v2") as connection:
            assert connection.subprotocol == "chat.v2"


# -- opening -----------------------------------------------------------------------------------------------------------


async def test_open_then_the_messages_that_came_with_the_answer_then_close() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept(frame(0x81, b"a", None) + frame(0x82, b"b", None) + frame(0x88, b"\x03\xe8bye", None))
        await peer.read_end()

    assert await play(script) == [
        ("open", 1),
        ("message", "a"),
        ("message", b"b"),
        ("close", 3, 1000, "bye", True),
    ]


REFUSALS: dict[str, bytes] = {
    "404": b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
    "redirect": b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n",
    "wrong accept": b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n",
    "garbage": b"SSH-2.0-OpenSSH_9.6\r\n",
    "nothing": b"",
}


@pytest.mark.parametrize("answer", REFUSALS.values(), ids=REFUSALS)
async def test_a_failed_handshake_is_error_then_close_1006(answer: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.read_request()
        peer.write(answer)

    assert await play(script) == FAILED


async def test_nobody_there_or_no_answer_in_time_is_error_then_close_1006() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        ws = WebSocket(f"ws://127.0.0.1:{taken.getsockname()[1]}/")
        seen = record(ws)
        await ended(ws)
        assert seen == FAILED
        assert isinstance(ws.failure, OSError)

    async def stall(peer: Peer) -> None:
        await peer.read_request()
        assert await peer.read_end() == b""

    assert await play(stall, open_timeout=0.05) == FAILED


async def test_events_begin_after_the_constructor_has_returned() -> None:
    async with serving(nobody) as url:
        ws = WebSocket(url, open_timeout=0.0)
        seen = record(ws)
        assert seen == []
        await ended(ws)
        assert seen == FAILED


async def test_a_function_for_headers_that_fails_is_a_failed_handshake() -> None:
    def headers() -> dict[str, str]:
        raise LookupError("no token")

    ws = WebSocket("ws://127.0.0.1:1/", headers=headers)
    seen = record(ws)
    await ended(ws)
    assert seen == FAILED
    assert isinstance(ws.failure, LookupError)


# -- send --------------------------------------------------------------------------------------------------------------


async def test_send_while_connecting_is_an_invalid_state() -> None:
    async with serving(nobody) as url:
        ws = WebSocket(url)
        with pytest.raises(InvalidStateError):
            ws.send("early")
        with pytest.raises(TypeError):  # arguments are converted before anything else
            ws.send(5)  # type: ignore[arg-type]
        assert ws.bufferedAmount == 0
        await ended(ws)


@pytest.mark.parametrize(
    ("data", "sent"),
    [
        ("Grüße", (0x81, "Grüße".encode())),
        ("", (0x81, b"")),
        ("a\ud800b\udc00", (0x81, "a\ufffdb\ufffd".encode())),
        ("\ud83d\ude00", (0x81, "😀".encode())),
        (b"\x00\xff", (0x82, b"\x00\xff")),
        (bytearray(b"x"), (0x82, b"x")),
        (memoryview(b"abcdef")[::2], (0x82, b"ace")),
        (memoryview(b"abcd").cast("H"), (0x82, b"abcd")),
    ],
)
async def test_text_is_sent_as_text_with_replaced_surrogates_and_bytes_as_binary(data: Any, sent: Any) -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        assert await peer.read_frame() == sent
        peer.write(frame(0x88, b"", None))
        await peer.read_end()

    def act(ws: WebSocket) -> None:
        def send(event: Any) -> None:
            ws.send(data)
            assert ws.bufferedAmount == len(sent[1])

        ws.addEventListener("open", send)

    assert await play(script, act) == [("open", 1), ("close", 3, 1005, "", True)]


async def test_the_buffered_amount_is_what_the_network_has_not_taken() -> None:
    read_on, size = asyncio.Event(), 20_000_000

    async def script(peer: Peer) -> None:
        await peer.accept()
        await read_on.wait()
        assert len((await peer.read_frame())[1]) == size
        peer.write(frame(0x81, b"got it", None))
        await peer.read_frame()
        peer.write(frame(0x88, b"", None))

    async with serving(script) as url, WebSocket(url) as ws:
        ws.send(bytes(size))
        assert ws.bufferedAmount == size  # all of it until the loop's next turn
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert 0 < ws.bufferedAmount <= size
        read_on.set()
        async for message in ws:
            assert message == "got it"
            break
        assert ws.buffered_amount == 0


async def test_the_buffered_amount_is_nothing_after_a_clean_end() -> None:
    size = 20_000_000

    async def script(peer: Peer) -> None:
        await peer.accept()
        assert len((await peer.read_frame())[1]) == size
        peer.write(frame(0x88, b"", None))
        await peer.read_end()

    async with serving(script) as url, WebSocket(url) as ws:
        ws.send(bytes(size))
        await ended(ws)
        assert ws.bufferedAmount == 0


async def test_after_the_close_send_is_silent_and_the_buffered_amount_grows_for_good() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        assert await peer.read_frame() == (0x81, b"sent")
        assert await peer.read_frame() == (0x88, b"")
        peer.write(frame(0x88, b"", None))
        assert await peer.read_end() == b""

    async with serving(script) as url:
        async with WebSocket(url) as ws:
            ws.send("sent")
            ws.close()
            assert ws.readyState == WebSocket.CLOSING
            ws.send("größer")
            assert ws.bufferedAmount == 4 + 8
            await ended(ws)
        assert ws.bufferedAmount == 8
        ws.send(b"123")
        assert ws.bufferedAmount == 11


# -- messages ----------------------------------------------------------------------------------------------------------


async def test_a_message_event_has_data_and_origin() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept(frame(0x81, b"x", None) + frame(0x88, b"", None))
        await peer.read_end()

    async with serving(script) as url:
        ws = WebSocket(url)
        events: list[Any] = []
        ws.addEventListener("message", events.append)
        await ended(ws)
        (event,) = events
        assert (event.data, event.origin, event.target) == ("x", url.partition("/chat")[0], ws)


async def test_the_binary_type_may_change_and_other_values_are_ignored() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept(frame(0x82, b"1", None) + frame(0x82, b"2", None) + frame(0x81, b"3", None))
        peer.write(frame(0x88, b"", None))
        await peer.read_end()

    async with serving(script) as url:
        ws = WebSocket(url)
        data: list[Any] = []

        def listen(event: Any) -> None:
            data.append(event.data)
            ws.binaryType = "memoryview"
            ws.binary_type = "blob"  # type: ignore[assignment]
            assert ws.binaryType == ws.binary_type == "memoryview"

        ws.onmessage = listen
        await ended(ws)
    assert [type(each) for each in data] == [bytes, memoryview, str]
    assert bytes(data[1]) == b"2"


async def test_messages_are_dropped_once_the_state_is_not_open() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept(frame(0x81, b"1", None) + frame(0x81, b"2", None))
        await peer.read_frame()
        peer.write(frame(0x81, b"3", None) + frame(0x88, b"", None))
        await peer.read_end()

    def act(ws: WebSocket) -> None:
        ws.addEventListener("message", lambda event: ws.close())

    assert await play(script, act) == [("open", 1), ("message", "1"), ("close", 3, 1005, "", True)]


async def test_a_listener_that_raises_stops_neither_the_others_nor_the_connection() -> None:
    told: list[Any] = []

    async def script(peer: Peer) -> None:
        await peer.accept(frame(0x81, b"1", None) + frame(0x88, b"", None))
        await peer.read_end()

    def act(ws: WebSocket) -> None:
        def fail(event: Any) -> None:
            raise LookupError(event.type)

        for name in ("open", "message", "close"):
            ws.addEventListener(name, fail)

    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: told.append(str(context["exception"])))
    try:
        assert await play(script, act) == [("open", 1), ("message", "1"), ("close", 3, 1005, "", True)]
    finally:
        loop.set_exception_handler(None)
    assert told == ["open", "message", "close"]


# -- beyond the Standard -----------------------------------------------------------------------------------------------


async def test_async_with_raises_what_failed() -> None:
    async def refuse(peer: Peer) -> None:
        await peer.read_request()
        peer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")

    async with serving(refuse) as url:
        with pytest.raises(HandshakeFailed) as caught:
            async with WebSocket(url):
                pass
    assert (caught.value.status, caught.value.body) == (403, b"no")


async def test_a_cancelled_enter_gives_up() -> None:
    asked = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.read_request()
        asked.set()
        assert await peer.read_end() == b""

    async with serving(script) as url:
        ws = WebSocket(url)
        entering = asyncio.create_task(ws.__aenter__())
        await asked.wait()
        entering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await entering
        await ended(ws)


@pytest.mark.parametrize(("payload", "code"), [(b"\x03\xe8", None), (b"", None), (b"\x03\xf0no", 1008), (None, 1006)])
async def test_iteration_gives_all_messages_and_ends_as_the_connection_did(payload: Any, code: int | None) -> None:
    async def script(peer: Peer) -> None:
        await peer.accept(b"".join(frame(0x81, b"%d" % n, None) for n in range(3000)))
        if payload is not None:
            peer.write(frame(0x88, payload, None))
            await peer.read_end()

    messages = []
    async with serving(script) as url, WebSocket(url) as ws:
        try:
            async for message in ws:
                messages.append(int(message))
        except ConnectionClosed as error:
            assert error.code == code
        else:
            assert code is None
    assert messages == list(range(3000))


async def test_listeners_and_iteration_both_hear() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.read_frame()
        peer.write(frame(0x81, b"both", None) + frame(0x88, b"", None))
        await peer.read_end()

    async with serving(script) as url, WebSocket(url) as ws:
        seen = record(ws)
        messages = aiter(ws)
        ws.send("go")
        assert await anext(messages) == "both"
        with pytest.raises(StopAsyncIteration):
            await anext(messages)
    assert ("message", "both") in seen


async def test_listeners_alone_hear_any_number_of_messages() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.read_frame()
        for _ in range(30):
            peer.write(frame(0x81, b"x", None) * 1000)
            await peer.writer.drain()
        peer.write(frame(0x88, b"", None))
        await peer.read_end()

    async with serving(script) as url, WebSocket(url) as ws:
        seen = record(ws)
        ws.send("go")
        await ended(ws)
    assert len(seen) == 30_001


async def test_a_real_server_by_tls(certificate: tuple[str, str], trusting: ssl.SSLContext) -> None:
    app = App()

    @app.websocket("/echo", subprotocols=["chat"])
    async def echo(message: str | bytes) -> str | bytes:
        return message

    async with TestServer(app, ssl_certfile=certificate[0], ssl_keyfile=certificate[1]) as server:
        async with WebSocket(f"{server.url}/echo", "chat", ssl=trusting) as ws:
            assert ws.url == f"{server.websocket_url}/echo"
            for data in ("Grüße", bytes(100_000)):
                ws.send(data)
                assert await anext(aiter(ws)) == data
        with pytest.raises(ssl.SSLCertVerificationError):
            async with WebSocket(f"{server.url}/echo"):
                pass
