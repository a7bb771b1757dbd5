"""Page 5, `create_server`: WebSocket messages, and the one object of each connection."""

from __future__ import annotations

import asyncio
import functools
import json
from typing import Any

import pytest
from tests.faces.callbacks import echo, errors, serve, soon

from wireloom import (
    CallbackConnection,
    CallbackRequest,
    ConfigError,
    ConnectionClosed,
    Disconnect,
    create_server,
    notify,
)
from wireloom.testing import TestServer

pytestmark = pytest.mark.anyio


# -- the programs of the page ------------------------------------------------------------------------------------------


async def test_the_echo_server_of_the_page() -> None:
    async with serve(echo) as server:
        answer = await server.http.get("/")
        assert (answer.status_code, answer.text) == (200, "HTTP server with WebSocket support")
        assert answer.headers["content-type"] == "text/plain"
        async with server.websocket("/") as ws:
            for text in ("one", "two", "three"):
                await ws.send_text(text)
            assert [await ws.receive_text() for _ in range(3)] == ["Echo: one", "Echo: two", "Echo: three"]


async def test_the_broadcast_server_of_the_page() -> None:
    clients: list[CallbackConnection] = []

    def handler(req: CallbackRequest) -> Any:
        if req.type == "websocket":
            if req.ws not in clients:
                clients.append(req.ws)
            for client in clients:
                if client.readyState == 1:
                    client.send(f"Broadcast: {req.data}")
            return None
        return {"status": 200, "body": "Broadcast Server"}

    async with serve(handler) as server, server.websocket("/") as first, server.websocket("/") as second:
        await first.send_text("I am here")
        assert await first.receive_text() == "Broadcast: I am here"
        await second.send_text("me too")
        assert await first.receive_text() == await second.receive_text() == "Broadcast: me too"
        await first.send_text("good")
        assert await first.receive_text() == await second.receive_text() == "Broadcast: good"
        assert len(clients) == 2
        await first.close()
        await second.send_text("alone")
        assert await second.receive_text() == "Broadcast: alone"


async def test_the_program_that_uses_the_request_object() -> None:
    def handler(req: CallbackRequest) -> Any:
        req.ws.send(f"Got your message: {req.data}")
        if req.ws.readyState == 1:
            req.ws.send("Connection is open")
        req.ws.close()

    async with serve(handler) as server, server.websocket("/") as ws:
        await ws.send_text("x")
        assert [await ws.receive_text(), await ws.receive_text()] == ["Got your message: x", "Connection is open"]
        assert await ws.wait_closed() == 1000


# -- how a handler may be written --------------------------------------------------------------------------------------


def plain(req: CallbackRequest) -> None:
    req.ws.send(req.data)


async def never_waiting(req: CallbackRequest) -> None:
    req.ws.send(req.data)


async def waiting(req: CallbackRequest) -> None:
    await asyncio.sleep(0)
    req.ws.send(req.data)


class Object:
    async def method(self, req: CallbackRequest) -> None:
        await waiting(req)

    async def __call__(self, req: CallbackRequest) -> None:
        await waiting(req)


HANDLERS = {
    "plain": plain,
    "async that never waits": never_waiting,
    "async": waiting,
    "method": Object().method,
    "object": Object(),
    "partial": functools.partial(waiting),
    "lambda": lambda req: waiting(req),
}


@pytest.mark.parametrize("handler", HANDLERS.values(), ids=HANDLERS.keys())
async def test_messages_of_a_connection_are_handled_in_order(handler: Any) -> None:
    async with serve(handler) as server, server.websocket("/") as ws:
        sent = [f"{number}" for number in range(200)]
        for text in sent:
            await ws.send_text(text)
        assert [await ws.receive_text() for _ in sent] == sent


@pytest.mark.parametrize(("handler", "tasks"), [(plain, 0), (never_waiting, 0), (waiting, 1)])
async def test_only_a_handler_that_waits_costs_a_task(handler: Any, tasks: int) -> None:
    running: set[Any] = set()

    def counting(req: CallbackRequest) -> Any:
        running.add(asyncio.current_task())
        return handler(req)

    server = create_server(counting if handler is plain else handler)
    async with TestServer(server.app) as served, served.websocket("/") as ws:
        endpoint = next(iter(server.app._doors.websocket))
        assert served.app.listener is not None
        assert (served.app.listener.plan(endpoint).direct is None) == bool(tasks)
        await ws.send_text("x")
        assert await ws.receive_text() == "x"
    assert running <= {None}


async def test_a_plain_handler_runs_on_the_loop_and_never_beside_itself() -> None:
    loops: set[Any] = set()

    def handler(req: CallbackRequest) -> None:
        loops.add(asyncio.get_running_loop())
        req.ws.send(req.data)

    async with serve(handler) as server, server.websocket("/") as ws:
        await ws.send_text("x")
        await ws.receive_text()
    assert loops == {asyncio.get_running_loop()}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"handler": 5}, "handler is a function, not 5"),
        ({"handler": lambda: None}, "handler is called with one argument, the request"),
        ({"handler": lambda a, b: None}, "handler is called with one argument, the request"),
        ({"handler": echo, "on_open": lambda: None}, "on_open is called with one argument, the WebSocket"),
        ({"handler": echo, "on_close": "no"}, "on_close is a function, not 'no'"),
        ({"handler": echo, "subprotocols": "chat"}, "subprotocols is a list of texts"),
        ({"handler": echo, "max_mesage_bytes": 5}, "did you mean 'max_message_bytes'?"),
        ({"handler": echo, "ssl": "cert.pem"}, "ssl is an ssl.SSLContext or (certfile, keyfile), not 'cert.pem'"),
    ],
)
def test_what_cannot_be_is_told_where_it_is_written(arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as error:
        create_server(**arguments)
    assert told in str(error.value)


def test_a_generator_is_no_handler() -> None:
    def handler(req: CallbackRequest) -> Any:
        yield req

    with pytest.raises(ConfigError, match="handler is a function, not a generator"):
        create_server(handler)


# -- req ---------------------------------------------------------------------------------------------------------------


async def ask(server: TestServer, path: str, payload: str | bytes, **options: Any) -> Any:
    async with server.websocket(path, **options) as ws:
        await (ws.send_text(payload) if isinstance(payload, str) else ws.send_bytes(payload))
        return await ws.receive_json()


async def test_what_a_request_of_a_websocket_has() -> None:
    def handler(req: CallbackRequest) -> None:
        told = {name: getattr(req, name) for name in ("type", "data", "body", "method", "url", "pathname", "cookies")}
        rest = {"query": dict(req.query), "headers": req.headers, "client": req.client, "json": req.json}
        same = [(req.pathname, req.url, req.headers), (req.ws.pathname, req.ws.url, req.ws.headers)]
        assert same[0] == same[1] and dict(req.query) == dict(req.ws.query) and req.client == req.ws.client
        req.ws.send(json.dumps({**told, **rest}))

    headers = [("X-Twice", "a"), ("X-Twice", "b"), ("Cookie", "c=1"), ("Cookie", "d=2")]
    async with serve(handler) as server:
        told = await ask(server, "/a%20b/%C3%A4?x=1&y=%20", "[1]", headers=headers)
    assert told["type"] == "websocket" and told["method"] == "GET"
    assert told["data"] == told["body"] == "[1]" and told["json"] == [1]
    assert told["pathname"] == "/a%20b/%C3%A4"
    assert told["url"] == "/a%20b/%C3%A4?x=1&y=%20"
    assert told["query"] == {"x": "1", "y": " "}
    assert told["headers"]["upgrade"] == "websocket" and "sec-websocket-key" in told["headers"]
    assert told["headers"]["x-twice"] == "a, b"
    assert told["headers"]["cookie"] == "c=1; d=2" and told["cookies"] == {"c": "1", "d": "2"}
    assert told["client"][0] == "127.0.0.1"


async def test_text_is_str_and_binary_is_bytes_both_ways() -> None:
    def handler(req: CallbackRequest) -> None:
        assert req.data == req.body
        req.ws.send(req.data)

    async with serve(handler) as server, server.websocket("/") as ws:
        await ws.send_text("ä")
        assert await ws.receive_text() == "ä"
        await ws.send_bytes(b"\x00\xff")
        assert await ws.receive_bytes() == b"\x00\xff"


@pytest.mark.parametrize("path", ["/", "/any", "/any/path/at/all", "/%2F", "//", "/docs", "/healthz/live"])
async def test_every_path_takes_a_websocket(path: str) -> None:
    async with serve(lambda req: req.ws.send(req.pathname)) as server, server.websocket(path) as ws:
        await ws.send_text("?")
        assert await ws.receive_text() == path


# -- req.ws ------------------------------------------------------------------------------------------------------------


async def test_it_is_one_hashable_object_for_the_connection_s_life() -> None:
    seen: dict[CallbackConnection, list[str]] = {}
    closed = asyncio.Event()

    def note(moment: str, ws: CallbackConnection) -> None:
        seen.setdefault(ws, []).append(moment)
        if moment == "close":
            closed.set()

    on_open, on_close = functools.partial(note, "open"), functools.partial(note, "close")
    async with serve(lambda req: note(req.data, req.ws), on_open=on_open, on_close=on_close) as server:
        async with server.websocket("/") as other:
            async with server.websocket("/") as ws:
                await ws.send_text("1")
                await ws.send_text("2")
            await soon(closed)
            first, second = seen
            assert sorted(seen.values()) == [["open"], ["open", "1", "2", "close"]]
            assert first in [first] and first not in {second} and first != second
            await other.close()


async def test_sends_leave_in_order_and_are_not_awaited() -> None:
    def handler(req: CallbackRequest) -> None:
        for number in range(1000):
            assert req.ws.send(str(number)) is None
        req.ws.send(b"end")

    async with serve(handler) as server, server.websocket("/") as ws:
        await ws.send_text("go")
        assert [await ws.receive_text() for _ in range(1000)] == [str(number) for number in range(1000)]
        assert await ws.receive_bytes() == b"end"


@pytest.mark.parametrize("data", [bytearray(b"ab"), memoryview(b"ab")], ids=["bytearray", "memoryview"])
async def test_whatever_holds_bytes_leaves_as_binary(data: Any) -> None:
    async with serve(lambda req: req.ws.send(data)) as server, server.websocket("/") as ws:
        await ws.send_text("?")
        assert await ws.receive_bytes() == b"ab"


@pytest.mark.parametrize("data", [None, 5, {"a": 1}, ["a"]])
async def test_anything_else_is_a_type_error(data: Any) -> None:
    def handler(req: CallbackRequest) -> None:
        try:
            req.ws.send(data)
        except TypeError as error:
            req.ws.send(str(error))

    async with serve(handler) as server, server.websocket("/") as ws:
        await ws.send_text("?")
        assert (
            await ws.receive_text()
            == f"send takes str or bytes, not {type(data).__name__}; JSON is send(json.dumps(value))"
        )


async def test_states_go_from_open_by_closing_to_closed() -> None:
    states: list[tuple[str, int, int, int | None, str]] = []
    closed = asyncio.Event()

    def note(moment: str, ws: CallbackConnection) -> None:
        states.append((moment, ws.ready_state, ws.readyState, ws.close_code, ws.close_reason))

    def handler(req: CallbackRequest) -> None:
        note("message", req.ws)
        req.ws.close(4001, "enough")
        note("after close", req.ws)
        req.ws.close(4002, "again")

    def on_close(ws: CallbackConnection) -> None:
        note("closed", ws)
        closed.set()

    async with serve(handler, on_open=lambda ws: note("open", ws), on_close=on_close) as server:
        async with server.websocket("/") as ws:
            await ws.send_text("x")
            assert (await ws.wait_closed(), ws.close_reason) == (4001, "enough")
        await soon(closed)
    assert states == [
        ("open", 1, 1, None, ""),
        ("message", 1, 1, None, ""),
        ("after close", 2, 2, 4001, "enough"),
        ("closed", 3, 3, 4001, "enough"),
    ]


@pytest.mark.parametrize(("code", "reason", "seen"), [(4000, "bye", 4000), (1000, "", 1000), (None, "", 1005)])
async def test_on_close_knows_how_the_peer_closed(code: int | None, reason: str, seen: int) -> None:
    told: asyncio.Queue[tuple[int | None, str]] = asyncio.Queue()
    hook = lambda ws: told.put_nowait((ws.close_code, ws.close_reason))  # noqa: E731
    async with serve(echo, on_close=hook) as server:
        async with server.websocket("/") as ws:
            await ws.close(code, reason)
        assert await asyncio.wait_for(told.get(), 3) == (seen, reason)


async def test_a_peer_that_vanishes_is_1006() -> None:
    told: asyncio.Queue[int | None] = asyncio.Queue()
    async with serve(echo, on_close=lambda ws: told.put_nowait(ws.close_code)) as server, server.websocket("/") as ws:
        assert ws.connection._transport is not None
        ws.connection._transport.abort()
        assert await asyncio.wait_for(told.get(), 3) == 1006


async def test_a_send_after_the_end_raises() -> None:
    raised: asyncio.Queue[ConnectionClosed] = asyncio.Queue()

    def attempt(ws: CallbackConnection) -> None:
        with pytest.raises(ConnectionClosed) as error:
            ws.send("too late")
        raised.put_nowait(error.value)

    def handler(req: CallbackRequest) -> None:
        req.ws.close(4001, "enough")
        attempt(req.ws)

    async with serve(handler, on_close=attempt) as server:
        async with server.websocket("/") as ws:
            await ws.send_text("x")
            assert await ws.wait_closed() == 4001
        for _ in range(2):
            error = await asyncio.wait_for(raised.get(), 3)
            assert (error.code, error.reason) == (4001, "enough")


@pytest.mark.parametrize("code", [0, 999, 1005, 1006, 1015, 2999, 5000])
async def test_a_code_that_must_not_be_sent(code: int) -> None:
    def handler(req: CallbackRequest) -> None:
        with pytest.raises(ValueError, match=f"{code} must not be sent"):
            req.ws.close(code)
        req.ws.send(str(req.ws.ready_state))

    async with serve(handler) as server, server.websocket("/") as ws:
        await ws.send_text("x")
        assert await ws.receive_text() == "1"


async def test_what_else_it_offers() -> None:
    def handler(req: CallbackRequest) -> None:
        ws = req.ws
        if req.data == "leave":
            ws.leave("news")
            ws.send("left")
            return
        ws.join("news")
        ws.state["seen"] = ws.state.get("seen", 0) + 1
        ws.send(f"{ws.subprotocol} {ws.state} {ws.buffered_amount == ws.bufferedAmount} {ws!r}")

    async with serve(handler, subprotocols=["chat.v2", "chat.v1"]) as server:
        async with server.websocket("/x", subprotocols=["chat.v1", "chat.v2"]) as ws:
            assert ws.subprotocol == "chat.v2"
            await ws.send_text("a")
            await ws.send_text("b")
            assert await ws.receive_text() == "chat.v2 {'seen': 1} True <CallbackConnection /x open>"
            assert await ws.receive_text() == "chat.v2 {'seen': 2} True <CallbackConnection /x open>"
            notify.channels(["news"], "hear, hear")
            assert await ws.receive_text() == "hear, hear"
            await ws.send_text("leave")
            assert await ws.receive_text() == "left"
            notify.channels(["news"], "nobody")
            await ws.send_text("leave")
            assert await ws.receive_text() == "left"


async def test_drain_waits_for_the_peer_and_raises_after_its_end() -> None:
    ended = asyncio.Event()

    async def handler(req: CallbackRequest) -> None:
        await req.ws.drain()
        req.ws.send("drained")
        req.ws.close()
        with pytest.raises(ConnectionClosed):
            await req.ws.drain()
        ended.set()

    async with serve(handler) as server, server.websocket("/") as ws:
        await ws.send_text("x")
        assert await ws.receive_text() == "drained"
        await soon(ended)


# -- on_open and on_close ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
async def test_hooks_run_once_before_the_first_and_after_the_last_message(is_async: bool) -> None:
    log: list[str] = []
    closed = asyncio.Event()

    def opened(ws: CallbackConnection) -> None:
        log.append("open")
        ws.send("welcome")

    def ended(ws: CallbackConnection) -> None:
        log.append("close")
        closed.set()

    async def opened_later(ws: CallbackConnection) -> None:
        await asyncio.sleep(0)
        opened(ws)

    async def ended_later(ws: CallbackConnection) -> None:
        await asyncio.sleep(0)
        ended(ws)

    on_open, on_close = (opened_later, ended_later) if is_async else (opened, ended)
    async with serve(lambda req: log.append(req.data), on_open=on_open, on_close=on_close) as server:
        async with server.websocket("/") as ws:
            await ws.send_text("1")
            await ws.send_text("2")
            assert await ws.receive_text() == "welcome"
        await soon(closed)
    assert log == ["open", "1", "2", "close"]


async def test_an_on_open_that_fails_ends_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    def on_open(ws: CallbackConnection) -> None:
        raise KeyError("secret")

    async with serve(echo, on_open=on_open) as server, server.websocket("/") as ws:
        assert await ws.wait_closed() == 1011
        assert ws.close_reason == "Internal error"
    [told] = errors(caplog)
    assert " in on_open of websocket * " in told  # by the name that its author gave it


async def test_an_on_close_that_fails_is_logged_by_its_name(caplog: pytest.LogCaptureFixture) -> None:
    gone = asyncio.Event()

    async def on_close(ws: CallbackConnection) -> None:
        gone.set()
        raise KeyError("secret")

    async with serve(echo, on_close=on_close) as server:
        async with server.websocket("/"):
            pass
        await soon(gone)
    [told] = errors(caplog)
    assert " in on_close of websocket * " in told


async def test_an_on_open_may_end_its_connection_by_an_exception(caplog: pytest.LogCaptureFixture) -> None:
    def on_open(ws: CallbackConnection) -> None:
        raise Disconnect(4001, "not now")

    async with serve(echo, on_open=on_open) as server, server.websocket("/") as ws:
        assert (await ws.wait_closed(), ws.close_reason) == (4001, "not now")
    assert not errors(caplog)


async def test_an_on_open_may_refuse() -> None:
    def on_open(ws: CallbackConnection) -> None:
        if ws.query.get("key") != "right":
            ws.close(1008, "no key")

    async with serve(echo, on_open=on_open) as server:
        async with server.websocket("/") as ws:
            assert (await ws.wait_closed(), ws.close_reason) == (1008, "no key")
        async with server.websocket("/?key=right") as ws:
            await ws.send_text("x")
            assert await ws.receive_text() == "Echo: x"
