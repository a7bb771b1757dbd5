"""Page 1, "Declaring" and "On the wire": how handlers are called: coroutines, threads, streams, order, concurrency."""

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator, Awaitable
from contextvars import ContextVar
from typing import Any, TypeVar

import pytest

from wireloom import App, Connection, ConnectionClosed, Disconnect, RequestError
from wireloom.wire.frames import TEXT, mask_frame

pytestmark = pytest.mark.anyio

T = TypeVar("T")


def soon(awaitable: Awaitable[T]) -> Awaitable[T]:
    return asyncio.wait_for(awaitable, 5)


def errors(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.levelno >= logging.ERROR]


def burst(*messages: str) -> bytes:
    """Messages that arrive in one read."""
    return b"".join(mask_frame(TEXT, message.encode()) for message in messages)


# -- one at a time, in order ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at_once", [True, False], ids=["in one read", "one by one"])
async def test_messages_are_handled_one_at_a_time_in_order(wireloom_server: Any, at_once: bool) -> None:
    app, log, gate, started = App(), [], asyncio.Event(), asyncio.Event()

    @app.websocket("/")
    async def handler(message: str) -> str:
        log.append(f"begin {message}")
        started.set()
        if message == "1":
            await gate.wait()
        await asyncio.sleep(0)
        log.append(f"end {message}")
        return message

    async with wireloom_server(app) as server, server.websocket("/") as ws:
        if at_once:
            ws.connection.send_frame(burst("1", "2", "3"))
        else:
            for message in "123":
                await ws.send_text(message)
        await soon(started.wait())
        await ws.expect_nothing(0.1)
        assert log == ["begin 1"]
        gate.set()
        assert [await ws.receive_text() for _ in range(3)] == ["1", "2", "3"]
    assert log == ["begin 1", "end 1", "begin 2", "end 2", "begin 3", "end 3"]


async def test_connections_do_not_wait_for_each_other(wireloom_server: Any) -> None:
    app, gate = App(), asyncio.Event()

    @app.websocket("/")
    async def handler(message: str) -> str:
        if message == "wait":
            await gate.wait()
        return message

    async with wireloom_server(app) as server, server.websocket("/") as slow, server.websocket("/") as quick:
        await slow.send_text("wait")
        await quick.send_text("hello")
        assert await quick.receive_text() == "hello"
        gate.set()
        assert await slow.receive_text() == "wait"


@pytest.mark.parametrize("handler_waits", [True, False])
@pytest.mark.parametrize("end", ["raise", "close"])
async def test_nothing_is_handled_after_the_server_has_ended_the_connection(
    wireloom_server: Any, handler_waits: bool, end: str
) -> None:
    """A handler that refuses a client, by its first message for instance, must not be called with the next."""
    app, log = App(), []

    def refuse(message: str, connection: Connection) -> None:
        log.append(message)
        if end == "raise":
            raise Disconnect(4003, "refused")
        connection.close(4003, "refused")

    @app.websocket("/False")
    async def direct(message: str, connection: Connection) -> None:
        refuse(message, connection)

    @app.websocket("/True")
    async def waiting(message: str, connection: Connection) -> None:
        await asyncio.sleep(0)
        refuse(message, connection)

    async with wireloom_server(app) as server, server.websocket(f"/{handler_waits}") as ws:
        ws.connection.send_frame(burst("bad password", "transfer", "transfer"))
        assert (await ws.wait_closed(), ws.close_reason) == (4003, "refused")
    assert log == ["bad password"]


# -- concurrency ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at_once", [True, False], ids=["in one read", "one by one"])
async def test_concurrency_allows_so_many_at_once_and_no_more(wireloom_server: Any, at_once: bool) -> None:
    app, running, log, three = App(), set(), [], asyncio.Event()
    gates = {str(number): asyncio.Event() for number in range(6)}

    @app.websocket("/", concurrency=3)
    async def handler(message: str) -> str:
        running.add(message)
        log.append(len(running))
        if len(running) == 3:
            three.set()
        await gates[message].wait()
        running.discard(message)
        return message

    async with wireloom_server(app) as server, server.websocket("/") as ws:
        if at_once:
            ws.connection.send_frame(burst(*gates))
        else:
            for message in gates:
                await ws.send_text(message)
        await soon(three.wait())
        await ws.expect_nothing(0.1)
        assert running == {"0", "1", "2"}
        gates["1"].set()
        assert await ws.receive_text() == "1"  # unordered
        three.clear()
        gates["4"].set()
        gates["5"].set()
        gates["2"].set()
        gates["3"].set()
        assert sorted([await ws.receive_text() for _ in range(4)]) == ["2", "3", "4", "5"]
        gates["0"].set()
        assert await ws.receive_text() == "0"
    assert max(log) == 3


async def test_with_concurrency_on_disconnect_waits_for_all_and_nothing_is_lost(wireloom_server: Any) -> None:
    """As with one at a time: what arrived before the end is handled."""
    app, log, watching = App(), [], []
    lost, ended = asyncio.Event(), asyncio.Event()
    gates = {str(number): asyncio.Event() for number in range(3)}
    begun = {str(number): asyncio.Event() for number in range(3)}

    @app.websocket("/", concurrency=2)
    async def handler(message: str) -> None:
        begun[message].set()
        await gates[message].wait()
        log.append(message)

    @handler.on_disconnect
    async def disconnected() -> None:
        log.append("disconnected")
        ended.set()

    @handler.on_connect
    async def connected(connection: Connection) -> None:
        watching.append(asyncio.ensure_future(watch(connection)))

    async def watch(connection: Connection) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                await connection.drain()
        lost.set()

    async with wireloom_server(app) as server, server.websocket("/") as ws:
        ws.connection.send_frame(burst("0", "1", "2"))
        await soon(begun["1"].wait())
        ws.connection.abort()
        await soon(lost.wait())
        gates["0"].set()
        gates["2"].set()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(ended.wait(), 0.1)
        gates["1"].set()
        await soon(ended.wait())
    assert log == ["0", "2", "1", "disconnected"]


@pytest.mark.parametrize("concurrency", [2, 5], ids=["all busy", "some free"])
async def test_with_concurrency_a_close_is_answered_after_all(wireloom_server: Any, concurrency: int) -> None:
    app, gate = App(), asyncio.Event()

    @app.websocket("/", concurrency=concurrency)
    async def handler(message: str) -> str:
        await gate.wait()
        return message

    async with wireloom_server(app) as server, server.websocket("/") as ws:
        ws.connection.send_frame(burst("0", "1", "2"))
        closing = asyncio.ensure_future(ws.close(4000, "done"))
        await ws.expect_nothing(0.1)
        gate.set()
        await soon(closing)
        assert sorted([await ws.receive_text() for _ in range(3)]) == ["0", "1", "2"]
        assert ws.close_code == 4000


async def test_with_concurrency_a_close_from_both_sides_ends_at_once(wireloom_server: Any) -> None:
    """The client's close waits behind a message when a handler closes; the end must not wait for the time-out."""
    app, begun = App(), asyncio.Event()
    gates = {str(number): asyncio.Event() for number in range(3)}

    @app.websocket("/", concurrency=2)
    async def handler(message: str, connection: Connection) -> None:
        if message == "1":
            begun.set()
        await gates[message].wait()
        connection.close(4000)

    async with wireloom_server(app) as server, server.websocket("/") as ws:
        ws.connection.send_frame(burst("0", "1", "2"))
        await soon(begun.wait())
        closing = asyncio.ensure_future(ws.close())
        await ws.expect_nothing(0.1)
        gates["0"].set()
        await asyncio.wait_for(closing, 20)
        for gate in gates.values():
            gate.set()
        assert ws.close_code == 4000


# -- async def --------------------------------------------------------------------------------------------------------


async def test_context_variables_of_one_message_do_not_reach_the_next(wireloom_server: Any) -> None:
    app = App()
    current: ContextVar[str] = ContextVar("current", default="nobody")

    @app.websocket("/direct")
    async def direct(message: str) -> str:
        before = current.get()
        current.set(message)
        return before

    @app.websocket("/waiting")
    async def waiting(message: str) -> str:
        before = current.get()
        current.set(message)
        await asyncio.sleep(0)
        return before

    async with wireloom_server(app) as server:
        for path in ("/direct", "/waiting"):
            async with server.websocket(path) as ws:
                for message in ("alice", "bob"):
                    await ws.send_text(message)
                    assert await ws.receive_text() == "nobody"


@pytest.mark.parametrize("path", ["/direct", "/waiting"])
async def test_a_cancelled_error_of_the_handlers_own_is_a_bug_like_any_other(
    wireloom_server: Any, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    """``await task`` of a task that somebody cancelled; nobody has cancelled the handler."""
    app = App()

    @app.websocket("/direct")
    async def direct(message: str) -> str:
        if message == "cancelled":
            raise asyncio.CancelledError
        return message

    @app.websocket("/waiting")
    async def waiting(message: str) -> str:
        if message == "cancelled":
            task = asyncio.ensure_future(asyncio.sleep(10))
            asyncio.get_running_loop().call_soon(task.cancel)
            await task
        return message

    async with wireloom_server(app) as server, server.websocket(path) as ws:
        ws.connection.send_frame(burst("cancelled", "next"))
        assert (await ws.receive_json())["error"] == "Internal error"
        assert await ws.receive_text() == "next"
    assert len(errors(caplog)) == 1


# -- plain def --------------------------------------------------------------------------------------------------------


async def test_a_plain_handler_runs_in_a_worker_thread_and_the_loop_goes_on(wireloom_server: Any) -> None:
    app, both, threads = App(), threading.Barrier(2, timeout=5), []

    @app.websocket("/")
    def handler(message: str, connection: Connection) -> str:
        threads.append(threading.get_ident())
        both.wait()  # until the other connection's handler runs too
        connection.send("from the thread")
        return message

    async with wireloom_server(app) as server, server.websocket("/") as a, server.websocket("/") as b:
        await a.send_text("a")
        await b.send_text("b")
        assert [await a.receive_text(), await a.receive_text()] == ["from the thread", "a"]
        assert [await b.receive_text(), await b.receive_text()] == ["from the thread", "b"]
    assert len(set(threads)) == 2
    assert threading.get_ident() not in threads


async def test_messages_of_a_plain_handler_stay_in_order(wireloom_server: Any) -> None:
    app, gate, log = App(), threading.Event(), []

    @app.websocket("/")
    def handler(message: str) -> str:
        log.append(message)
        assert gate.wait(5)
        return message

    async with wireloom_server(app) as server, server.websocket("/") as ws:
        ws.connection.send_frame(burst("1", "2", "3"))
        await ws.expect_nothing(0.1)  # the loop is not blocked, or this would not end
        assert log == ["1"]
        gate.set()
        assert [await ws.receive_text() for _ in range(3)] == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("error", "reply"),
    [
        (RequestError("NO", "no"), '{"error":"no","code":"NO"}'),
        (ValueError("secret"), '{"error":"Internal error","id":"'),
        (StopIteration(), '{"error":"Internal error","id":"'),
    ],
    ids=repr,
)
async def test_errors_of_a_plain_handler_are_those_of_any(wireloom_server: Any, error: Exception, reply: str) -> None:
    app = App()

    @app.websocket("/")
    def handler(message: str) -> str:
        raise error

    async with wireloom_server(app) as server, server.websocket("/") as ws:
        await ws.send_text("x")
        assert (await ws.receive_text()).startswith(reply)


async def test_a_plain_handler_may_disconnect_and_may_send_nothing(wireloom_server: Any) -> None:
    app = App()

    @app.websocket("/")
    def handler(message: str) -> None:
        if message == "end":
            raise Disconnect(4007, "ended in a thread")

    async with wireloom_server(app) as server, server.websocket("/") as ws:
        await ws.send_text("x")
        await ws.expect_nothing(0.1)
        await ws.send_text("end")
        assert (await ws.wait_closed(), ws.close_reason) == (4007, "ended in a thread")


# -- streams ----------------------------------------------------------------------------------------------------------


async def test_every_value_that_a_stream_yields_is_one_message_at_once(wireloom_server: Any) -> None:
    app, gate = App(), asyncio.Event()

    @app.websocket("/")
    async def handler(message: int) -> AsyncIterator[dict[str, int]]:
        for number in range(message):
            yield {"n": number}
            await gate.wait()

    async with wireloom_server(app) as server, server.websocket("/") as ws:
        await ws.send_json(3)
        assert await ws.receive_text() == '{"n":0}'  # before the stream goes on
        gate.set()
        assert [await ws.receive_text() for _ in range(2)] == ['{"n":1}', '{"n":2}']
        await ws.send_json(0)
        await ws.send_json(1)
        assert await ws.receive_text() == '{"n":0}'
        await ws.expect_nothing(0.05)


@pytest.mark.parametrize(("path", "values"), [("/text", ["a", "", "é"]), ("/binary", [b"a", b"", b"\xff"])])
async def test_a_stream_of_a_raw_endpoint_sends_as_it_is(wireloom_server: Any, path: str, values: list[Any]) -> None:
    app = App()

    @app.websocket("/text")
    async def text(message: str) -> AsyncIterator[str]:
        for value in ("a", "", "é"):
            yield value

    @app.websocket("/binary")
    async def binary(message: bytes) -> AsyncIterator[bytes]:
        for value in (b"a", b"", b"\xff"):
            yield value

    async with wireloom_server(app) as server, server.websocket(path) as ws:
        await (ws.send_text("x") if path == "/text" else ws.send_bytes(b"x"))
        assert [await ws.receive() for _ in range(3)] == values


async def test_streams_of_one_connection_come_one_after_the_other(wireloom_server: Any) -> None:
    app = App()

    @app.websocket("/")
    async def handler(message: str) -> AsyncIterator[str]:
        for number in range(3):
            yield f"{message}{number}"
            await asyncio.sleep(0)

    async with wireloom_server(app) as server, server.websocket("/") as ws:
        ws.connection.send_frame(burst("a", "b"))
        assert [await ws.receive_text() for _ in range(6)] == ["a0", "a1", "a2", "b0", "b1", "b2"]


@pytest.mark.parametrize("way", ["close", "abort", "broken protocol", "after the queue was full"])
@pytest.mark.parametrize("busy", [True, False], ids=["sending", "waiting"])
async def test_leaving_cancels_the_stream(wireloom_server: Any, way: str, busy: bool) -> None:
    # a peer that left while reading was paused is found out by a ping
    app, ended, never, log = App(inbound_queue=4, ping_interval_seconds=0.3), asyncio.Event(), asyncio.Event(), []

    @app.websocket("/")
    async def handler(message: str) -> AsyncIterator[str]:
        log.append("begin")
        try:
            yield "first"
            while busy:
                yield "more"
                await asyncio.sleep(0.001)
            await never.wait()
        finally:
            log.append("end")
            await asyncio.sleep(0)  # clean-up may wait
            ended.set()

    @handler.on_disconnect
    async def disconnected() -> None:
        log.append("disconnected")

    async with wireloom_server(app) as server, server.websocket("/") as ws:
        await ws.send_text("go")
        assert await ws.receive_text() == "first"
        if way == "close":
            await soon(ws.close())
            assert ws.close_code == 1000
        elif way == "abort":
            ws.connection.abort()
        elif way == "broken protocol":
            ws.connection.send_frame(b"\x81\x01x")  # not masked
            assert await ws.wait_closed() == 1002
        else:
            ws.connection.send_frame(burst(*["x"] * 9))
            ws.connection.abort()
        await asyncio.wait_for(ended.wait(), 2)
    assert log == ["begin", "end", "disconnected"]


async def test_a_bug_in_a_stream_is_told_once_and_the_connection_lives(
    wireloom_server: Any, caplog: pytest.LogCaptureFixture
) -> None:
    app = App()

    @app.websocket("/")
    async def handler(message: str) -> AsyncIterator[str]:
        yield message
        if message == "bug":
            raise ValueError("secret")
        if message == "error":
            raise RequestError("NO", "no")
        if message == "end":
            raise Disconnect(4000, "end of stream")

    async with wireloom_server(app) as server, server.websocket("/") as ws:
        await ws.send_text("bug")
        assert await ws.receive_text() == "bug"
        told = await ws.receive_json()
        assert told == {"error": "Internal error", "id": told["id"]}
        (record,) = errors(caplog)
        assert told["id"] in record.getMessage()
        await ws.send_text("error")
        assert [await ws.receive_text() for _ in range(2)] == ["error", '{"error":"no","code":"NO"}']
        await ws.send_text("end")
        assert await ws.receive_text() == "end"
        assert (await ws.wait_closed(), ws.close_reason) == (4000, "end of stream")
    assert len(errors(caplog)) == 1


async def test_a_value_that_breaks_the_response_schema_ends_the_stream_unsent(
    wireloom_server: Any, caplog: pytest.LogCaptureFixture
) -> None:
    app, released = App(), asyncio.Event()

    @app.websocket("/")
    async def handler(message: str | int) -> AsyncIterator[int]:
        try:
            yield 1
            yield "two"  # type: ignore[misc]
            yield 3
        finally:
            released.set()

    async with wireloom_server(app) as server, server.websocket("/") as ws:
        await ws.send_json(1)
        assert await ws.receive_text() == "1"
        await soon(released.wait())
        await ws.send_json(1)
        assert await ws.receive_text() == "1"
    assert "reply of websocket / dropped" in errors(caplog)[0].getMessage()


async def test_a_stream_to_a_client_that_does_not_read_waits(wireloom_server: Any) -> None:
    """Bounded memory: the stream runs no further than the buffers of the two ends reach."""
    app, state, slow = App(), {"sent": 0, "most": 0}, asyncio.Event()
    total, size = 400, 64 * 1024

    @app.websocket("/")
    async def handler(message: str, connection: Connection) -> AsyncIterator[bytes | str]:
        for _ in range(total):
            state["sent"] += 1
            yield "x" * size
            state["most"] = max(state["most"], connection.backlog)
        slow.set()

    async with wireloom_server(app) as server, server.websocket("/") as ws:
        transport = ws.connection._transport
        assert transport is not None
        transport.pause_reading()
        await ws.send_text("go")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(slow.wait(), 0.7)
        assert 0 < state["sent"] < total
        assert state["most"] < 1024 * 1024
        transport.resume_reading()
        for _ in range(total):
            assert len(await ws.receive_text()) == size
        await soon(slow.wait())
    assert state["most"] < 1024 * 1024
