"""The client connection against raw TCP servers that do as they like, most of them badly."""

from __future__ import annotations

import asyncio
import socket
import tracemalloc
import zlib

import pytest

from tests.clients.opening import end_of, failure, opened
from wireloom.clients import protocol as module
from wireloom.clients.connection import open_connection
from wireloom.errors import ConnectionClosed

from ..wire.oracle import frame
from .peer import Peer, serving

pytestmark = pytest.mark.anyio


# -- messages ----------------------------------------------------------------------------------------------------------


async def test_messages_both_ways() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        for _ in range(5):
            first, payload = await peer.read_frame()
            peer.write(frame(first, payload, None))
        assert (await peer.read_frame())[0] == 0x88
        peer.write(frame(0x88, b"\x03\xe8", None))

    async with serving(script) as url, open_connection(url) as connection:
        messages = ["Grüße", "", b"\x00\xff", bytearray(b"array"), memoryview(b"x" * 70_000)]
        for message in messages:
            connection.send(message)  # type: ignore[arg-type]
        for message in messages:
            assert await connection.receive() == (message if isinstance(message, str) else bytes(message))
        with pytest.raises(TypeError, match="int"):
            connection.send(1)  # type: ignore[arg-type]


async def test_messages_before_the_end_are_all_received() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept(frame(0x81, b"1", None) + frame(0x82, b"2", None))
        peer.write(frame(0x01, b"3", None) + frame(0x80, b"4", None) + frame(0x88, b"\x03\xe9gone", None))
        assert await peer.read_frame() == (0x88, b"\x03\xe9")

    async with serving(script) as url:
        connection = await open_connection(url)
        await connection.wait_closed()
        assert await end_of(connection) == (["1", b"2", "34"], 1001, "gone")
        assert await end_of(connection) == ([], 1001, "gone")


async def test_a_receive_that_is_given_up_loses_nothing() -> None:
    given_up = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.accept()
        await given_up.wait()
        peer.write(frame(0x81, b"a", None) + frame(0x81, b"b", None) + frame(0x88, b"", None))
        await peer.read_end()

    async with serving(script) as url:
        connection = await open_connection(url)
        waiting = asyncio.create_task(connection.receive())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        given_up.set()
        assert (await end_of(connection))[0] == ["a", "b"]


@pytest.mark.parametrize("payload", [b"", b"are you there?", b"\x00" * 125])
async def test_a_ping_is_answered_with_its_payload(payload: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.accept(frame(0x01, b"half ", None) + frame(0x89, payload, None))
        assert await peer.read_frame() == (0x8A, payload)
        peer.write(frame(0x8A, b"unasked for", None) + frame(0x80, b"whole", None) + frame(0x88, b"", None))
        assert await peer.read_frame() == (0x88, b"")

    async with serving(script) as url:
        assert await end_of(await open_connection(url)) == (["half whole"], 1005, "")


# -- how it ends -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stream", "code", "answer"),
    [
        (frame(0x81, b"masked", b"abcd"), 1002, b"\x03\xea"),
        (b"\x83", 1002, b"\x03\xea"),
        (b"\xc1", 1002, b"\x03\xea"),
        (b"\x80", 1002, b"\x03\xea"),
        (b"\x89\x7e", 1002, b"\x03\xea"),
        (b"\x88\x01\x03", 1002, b"\x03\xea"),
        (frame(0x88, b"\x03\xed", None), 1002, b"\x03\xea"),
        (frame(0x88, b"\x03\xe8\xff", None), 1007, b"\x03\xef"),
        (frame(0x81, b"\xff", None), 1007, b"\x03\xef"),
        (b"\x82\x7e\x03\xe9", 1009, b"\x03\xf1"),  # 1,001 bytes are announced
        (frame(0x02, bytes(600), None) + b"\x80\x7e\x01\x91", 1009, b"\x03\xf1"),
    ],
)
async def test_a_server_that_breaks_the_protocol(stream: bytes, code: int, answer: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.accept(frame(0x82, bytes(1000), None))
        peer.write(stream)
        assert await peer.read_frame() == (0x88, answer)
        assert await peer.read_end() == b""

    async with serving(script) as url:
        messages, ended, reason = await end_of(await open_connection(url, max_size=1000))
    assert (messages, ended) == ([bytes(1000)], code)
    assert reason


@pytest.mark.parametrize(
    ("payload", "code", "reason", "answer"),
    [
        (b"", 1005, "", b""),
        (b"\x03\xe8", 1000, "", b"\x03\xe8"),
        (b"\x03\xe9going away", 1001, "going away", b"\x03\xe9"),
        ("\x0f\xa0".encode("latin-1") + "größer".encode(), 4000, "größer", b"\x0f\xa0"),
        (b"\x03\xf3" + b"x" * 123, 1011, "x" * 123, b"\x03\xf3"),
    ],
)
async def test_a_close_by_the_server(payload: bytes, code: int, reason: str, answer: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.accept(frame(0x88, payload, None) + frame(0x81, b"late", None))
        assert await peer.read_frame() == (0x88, answer)
        assert await peer.read_end() == b""

    async with serving(script) as url:
        connection = await open_connection(url)
        assert await end_of(connection) == ([], code, reason)
        connection.send("dropped")
        await connection.close(1000)  # has ended already


@pytest.mark.parametrize("end", ["reset", "eof"])
async def test_an_end_without_a_close_frame_is_1006(end: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.accept(frame(0x81, b"last words", None) + b"\x81")
        assert await peer.read_frame() == (0x81, b"heard")
        if end == "reset":
            peer.reset()

    async with serving(script) as url:
        connection = await open_connection(url)
        assert await connection.receive() == "last words"
        connection.send("heard")
        assert await end_of(connection) == ([], 1006, "")


@pytest.mark.parametrize(
    ("code", "reason", "sent"),
    [(1000, "", b"\x03\xe8"), (4001, "schluß", b"\x0f\xa1" + "schluß".encode()), (None, "", b"")],
)
async def test_a_close_by_the_client(code: int | None, reason: str, sent: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        assert await peer.read_frame() == (0x88, sent)
        # what the server had on its way still arrives; a ping is no longer answered
        peer.write(frame(0x81, b"on its way", None) + frame(0x89, b"?", None) + frame(0x88, b"\x0f\xa2yes", None))
        assert await peer.read_end() == b""

    async with serving(script) as url:
        connection = await open_connection(url)
        closing = [asyncio.create_task(connection.close(code, reason)) for _ in range(2)]
        await asyncio.gather(*closing)
        connection.send("dropped")
        assert (connection.close_code, connection.close_reason) == (4002, "yes")
        assert await end_of(connection) == (["on its way"], 4002, "yes")


async def test_a_server_that_hangs_up_instead_of_answering_a_close() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.read_frame()

    async with serving(script) as url:
        connection = await open_connection(url)
        await connection.close(4000)
        assert connection.close_code == 1006


async def test_a_server_that_never_answers_a_close_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CLOSE_SECONDS", 0.05)

    async def script(peer: Peer) -> None:
        await peer.accept()
        assert await peer.read_frame() == (0x88, b"\x03\xe8")
        assert await peer.read_end() == b""

    async with serving(script) as url:
        connection = await open_connection(url)
        await connection.close()
        assert connection.close_code == 1006
        assert (await end_of(connection))[1] == 1006


async def test_an_abort_is_seen_by_both_sides() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        assert await peer.read_end() == b""

    async with serving(script) as url:
        connection = await open_connection(url)
        connection.abort()
        assert await end_of(connection) == ([], 1006, "")


# -- what a server could cost ------------------------------------------------------------------------------------------


async def test_a_flood_of_pings_by_a_server_that_does_not_read_is_answered_for_the_newest() -> None:
    ready, flooded = asyncio.Event(), asyncio.Event()
    rounds = 20_000

    async def script(peer: Peer) -> None:
        await peer.accept()
        peer.keep_little()
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await ready.wait()
        for start in range(0, rounds, 1000):
            peer.write(b"".join(frame(0x89, b"%6d" % n + bytes(100), None) for n in range(start, start + 1000)))
            await peer.writer.drain()
        peer.write(frame(0x81, b"done", None))
        await flooded.wait()
        peer.writer.transport.resume_reading()  # type: ignore[attr-defined]
        while (await peer.read_frame())[1][:6] != b"%6d" % (rounds - 1):
            pass
        peer.write(frame(0x88, b"", None))
        await peer.read_end()

    async with serving(script) as url:
        connection = await open_connection(url)
        assert connection._transport is not None
        kernel = connection._transport.get_extra_info("socket")
        kernel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        ready.set()
        assert await connection.receive() == "done"
        # one read may bring some 256 KiB of pings before the transport says that it is full
        assert connection.backlog_bytes < 1024 * 1024
        assert len(connection._pongs) <= 1
        flooded.set()
        assert (await end_of(connection))[1] == 1005


@pytest.mark.parametrize("size", [0, 20_000])
async def test_messages_that_nobody_takes_wait_at_the_server(size: int) -> None:
    stuck = asyncio.Event()
    sent = 0

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.accept()
        peer.keep_little()
        flood = frame(0x82, bytes(size), None) * (200_000 // (size + 4))
        while True:
            peer.write(flood)
            sent += len(flood)
            try:
                await asyncio.wait_for(peer.writer.drain(), 0.3)
            except TimeoutError:
                stuck.set()
                break
        peer.write(frame(0x81, b"on", None) + flood * 3)
        assert await peer.read_frame() == (0x88, b"\x03\xe8")
        peer.write(frame(0x88, b"", None))
        await peer.read_end()

    async with serving(script) as url:
        connection = await open_connection(url)
        await stuck.wait()
        assert len(connection._inbox._messages) * size < 6 * 1024 * 1024
        assert len(connection._inbox._messages) < 300_000
        # reading goes on where messages are taken
        while await connection.receive() != "on":
            pass
        # and the closing handshake goes through what nobody takes
        await connection.close()
        assert connection.close_code == 1005
    assert sent < 64 * 1024 * 1024


async def test_drain_waits_for_a_server_that_does_not_read() -> None:
    read_on = asyncio.Event()
    total = 0

    async def script(peer: Peer) -> None:
        nonlocal total
        await peer.accept()
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await read_on.wait()
        peer.writer.transport.resume_reading()  # type: ignore[attr-defined]
        for _ in range(10):
            total += len((await peer.read_frame())[1])
        peer.write(frame(0x88, b"", None))
        await peer.read_end()

    async with serving(script) as url:
        connection = await open_connection(url)
        await connection.drain()  # nothing to wait for
        for _ in range(10):
            connection.send(bytes(1_000_000))
        draining = asyncio.create_task(connection.drain())
        await asyncio.sleep(0)
        assert not draining.done()
        assert connection.backlog_bytes > 0
        read_on.set()
        await draining
        assert (await end_of(connection))[1] == 1005
        assert total == 10_000_000
        with pytest.raises(ConnectionClosed):
            await connection.drain()


async def test_drain_ends_with_the_connection() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        assert peer.header(b"host")

    async with serving(script) as url:
        connection = await open_connection(url)
        for _ in range(40):
            connection.send(bytes(1_000_000))
        with pytest.raises(ConnectionClosed):
            await connection.drain()


# -- silence -----------------------------------------------------------------------------------------------------------


async def test_a_silent_server_is_pinged_and_stays_while_it_answers() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        for _ in range(3):
            assert await peer.read_frame() == (0x89, b"")
            peer.write(frame(0x8A, b"", None))
        peer.write(frame(0x88, b"", None))
        await peer.read_end()

    async with serving(script) as url:
        assert await end_of(await open_connection(url, ping_interval=0.02)) == ([], 1005, "")


async def test_a_server_that_does_not_answer_pings_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PONG_SECONDS", 0.05)

    async def script(peer: Peer) -> None:
        await peer.accept()
        assert await peer.read_frame() == (0x89, b"")
        assert await peer.read_frame() == (0x88, b"\x03\xf3no answer to a ping")
        assert await peer.read_end() == b""

    async with serving(script) as url:
        connection = await open_connection(url, ping_interval=0.02)
        assert await end_of(connection) == ([], 1006, "")
        assert connection.ending is not None
        assert not connection.ending.was_clean


async def test_without_an_interval_there_are_no_pings() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(peer.read_frame(), 0.1)
        peer.write(frame(0x88, b"", None))

    async with serving(script) as url:
        assert (await end_of(await open_connection(url, ping_interval=None)))[1] == 1005


# -- what comes by iteration, and options ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "normal"), [(b"\x03\xe8", True), (b"", True), (b"\x03\xe9", True), (b"\x03\xf0", False)]
)
async def test_iteration_ends_with_a_normal_close_and_raises_another(payload: bytes, normal: bool) -> None:
    async def script(peer: Peer) -> None:
        await peer.accept(frame(0x81, b"1", None) + frame(0x81, b"2", None) + frame(0x88, payload, None))
        await peer.read_end()

    seen = []
    async with serving(script) as url, open_connection(url) as connection:
        try:
            async for message in connection:
                seen.append(message)
        except ConnectionClosed as error:
            assert error.code == 1008
            assert not normal
        else:
            assert normal
    assert seen == ["1", "2"]


async def test_headers_by_a_function_are_asked_for_at_the_handshake() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept(frame(0x88, b"", None))
        assert peer.header(b"authorization") == b"Bearer fresh"

    async def headers() -> dict[str, str]:
        return {"Authorization": "Bearer fresh"}

    async with serving(script) as url:
        assert (await end_of(await open_connection(url, headers=headers)))[1] == 1005


async def test_user_and_password_of_the_url_are_sent() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept(frame(0x88, b"", None))
        assert peer.header(b"authorization") == b"Basic YWRhOnA6dw=="

    async with serving(script) as url:
        await end_of(await open_connection(url.replace("://", "://ada:p%3Aw@")))


def test_an_option_that_is_none_is_refused() -> None:
    with pytest.raises(TypeError, match="max_message_bytes"):
        open_connection("ws://h/", max_message_bytes=1)  # type: ignore[call-arg]


async def test_what_comes_after_our_close_is_kept_within_bounds() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        assert (await peer.read_frame())[0] == 0x88
        peer.write(frame(0x81, b"late", None) * 50_000 + frame(0x88, b"", None))
        assert await peer.read_end() == b""

    async with serving(script) as url:
        connection = await open_connection(url)
        await connection.close()
        messages, code, _ = await end_of(connection)
    assert code == 1005
    assert 1000 < len(messages) < 2000


async def test_a_server_that_takes_long_to_take_all_is_neither_given_up_nor_cut_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_CLOSE_SECONDS", 0.6)
    monkeypatch.setattr(module, "_PONG_SECONDS", 0.5)
    size, taken = 45_000_000, 0

    async def script(peer: Peer) -> None:
        nonlocal taken
        await peer.accept()
        while taken < size:
            taken += len(await peer.reader.read(65536))
            await asyncio.sleep(0.003)
        peer.write(frame(0x88, b"\x03\xe8", None))
        await peer.read_end()

    async with serving(script) as url:
        connection = await open_connection(url, ping_interval=0.05)
        connection.send(bytes(size))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(connection.receive(), 0.8)
        await connection.close()
        assert connection.close_code == 1000


async def test_what_is_no_http_is_told_at_its_first_bytes() -> None:
    async def script(peer: Peer) -> None:
        await peer.read_request()
        peer.write(b"SSH-2.0-OpenSSH_9.6\r\n")
        await peer.read_end()

    assert "HTTP" in (await failure(script)).reason


async def test_a_refusal_whose_body_does_not_end_is_told_when_the_time_is_over() -> None:
    async def script(peer: Peer) -> None:
        await peer.read_request()
        peer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 100\r\n\r\nno")
        await peer.read_end()

    error = await failure(script, open_timeout=0.1)
    assert (error.status, error.body) == (403, b"no")


async def test_a_header_wins_over_the_user_of_the_url() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept(frame(0x88, b"", None))
        assert peer.request.lower().count(b"authorization") == 1

    async with serving(script) as url:
        await end_of(await open_connection(url.replace("://", "://a:b@"), headers=[("authorization", "x")]))


async def test_what_is_sent_without_a_pause_leaves_in_its_order_and_does_not_pile_up() -> None:
    messages = [str(number).encode() * 500 for number in range(200)]
    received: list[bytes] = []

    async def script(peer: Peer) -> None:
        await peer.accept()
        for _ in messages:
            received.append((await peer.read_frame())[1])
        peer.write(frame(0x88, b"", None))

    async with serving(script) as url:
        connection = await opened(url)
        for message in messages:
            connection.send(message)
            assert connection._unflushed_bytes < 20_000  # the rest is the transport's, whose bound `drain` waits for
        assert await end_of(connection) == ([], 1005, "")
    assert received == messages


async def test_bombs_that_arrive_at_once_wait_as_they_came_for_someone_to_take_them() -> None:
    stream = zlib.compressobj(wbits=-15)
    deflated = (stream.compress(bytes(1 << 20)) + stream.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\x00\x00\xff\xff")
    extension = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover"

    async def script(peer: Peer) -> None:
        await peer.accept(frame(0xC2, deflated, None) * 60 + frame(0x88, b"\x03\xe8", None), extension)
        await peer.read_end()

    async with serving(script) as url:
        tracemalloc.start()
        try:
            connection = await open_connection(url, compression=True)
            messages: list[str | bytes] = [await connection.receive()]
            assert tracemalloc.get_traced_memory()[1] < 12 << 20
        finally:
            tracemalloc.stop()
        more, code, _ = await end_of(connection)
    assert (list(map(len, messages + more)), code) == ([1 << 20] * 60, 1000)
