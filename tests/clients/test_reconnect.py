"""connect: against scripted servers, and against a real one that goes away and comes back at its port."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any, TypedDict

import msgspec
import pytest

from wireloom import App, ConnectionClosed, HandshakeFailed, QueueFull, RequestError, WebSocketSyntaxError, connect
from wireloom.clients import reconnect as module
from wireloom.clients.reconnect import LastingConnection
from wireloom.testing import TestServer

from ..wire.oracle import frame
from .peer import NotYet, Peer, Script, serving

pytestmark = pytest.mark.anyio
QUICK: dict[str, Any] = {"backoff_base": 0.01, "backoff_cap": 0.02}


@pytest.fixture(autouse=True)
async def within_time() -> AsyncIterator[None]:
    async with asyncio.timeout(20):
        yield


def in_turn(*scripts: Script) -> Script:
    """A server that plays one script a connection."""
    remaining = list(scripts)

    async def script(peer: Peer) -> None:
        await remaining.pop(0)(peer)
        if remaining:  # the last one's end is the end
            peer.writer.close()
            raise NotYet

    return script


def says(*messages: str, close: bytes | None = None) -> Script:
    """Sends messages, then closes, or hangs up."""

    async def script(peer: Peer) -> None:
        await peer.accept(b"".join(frame(0x81, message.encode(), None) for message in messages))
        if close is not None:
            peer.write(frame(0x88, close, None))
            await peer.read_end()

    return script


def refuses(status: int, *headers: str) -> Script:
    async def script(peer: Peer) -> None:
        await peer.read_request()
        lines = (f"HTTP/1.1 {status} No", "Content-Length: 0", *headers, "", "")
        peer.write("\r\n".join(lines).encode())
        await peer.read_end()

    return script


LAST = b"\x03\xe8"


class Restarting:
    """A real server that can be stopped and started again at the same port."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.port = 0
        self.url = ""
        self._stack = AsyncExitStack()

    async def start(self) -> None:
        server = await self._stack.enter_async_context(TestServer(self.app, port=self.port))
        self.port, self.url = server.port, server.websocket_url

    async def stop(self) -> None:
        await self._stack.aclose()

    async def __aenter__(self) -> Restarting:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()


class States(asyncio.Queue[str]):
    async def until(self, wanted: str) -> None:
        while await self.get() != wanted:
            pass


class Order(TypedDict):
    item: str
    count: int


@pytest.fixture
def app() -> App:
    app = App()
    app.events()

    @app.websocket("/echo")
    async def echo(message: str | bytes) -> str | bytes:
        return message

    @app.event("order")
    async def order(message: Order) -> dict[str, Any]:
        if message["count"] < 1:
            raise RequestError("EMPTY", "nothing is ordered")
        return {"item": message["item"], "count": message["count"] + 1}

    @app.event("each")
    async def each(message: dict[str, Any]) -> AsyncIterator[int]:
        for number in range(3):
            yield number

    never = asyncio.Event()

    @app.event("never")
    async def wait(message: dict[str, Any]) -> None:
        await never.wait()

    return app


# -- coming back -------------------------------------------------------------------------------------------------------


async def test_iteration_goes_on_across_connections_and_ends_with_a_normal_close() -> None:
    script = in_turn(says("1"), says("2", close=b"\x03\xf4"), says("3", "4", close=LAST))
    async with serving(script) as url, connect(url, **QUICK) as ws:
        assert [message async for message in ws] == ["1", "2", "3", "4"]
        assert ws.state == "over"
        with pytest.raises(ConnectionClosed) as caught:
            await ws.receive()
        assert caught.value.code == 1000


async def test_a_code_that_forbids_it_ends_it_with_that_code() -> None:
    messages = []
    async with serving(in_turn(says("1"), says("2", close=b"\x03\xf0policy"))) as url, connect(url, **QUICK) as ws:
        with pytest.raises(ConnectionClosed) as caught:
            async for message in ws:
                messages.append(message)
        assert (caught.value.code, caught.value.reason) == (1008, "policy")
        with pytest.raises(ConnectionClosed, match="1008"):
            await ws.send("late")
    assert messages == ["1", "2"]


async def test_a_code_that_was_named_brings_it_back() -> None:
    script = in_turn(says(close=b"\x0f\xa1"), says("2", close=LAST))
    async with serving(script) as url, connect(url, come_back=[4001], **QUICK) as ws:
        assert [message async for message in ws] == ["2"]


async def test_the_server_says_when() -> None:
    script = in_turn(says(close=b'\x03\xe8{"reconnect_in_ms": 200}'), says("2", close=LAST))
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with serving(script) as url, connect(url, **QUICK) as ws:
        assert [message async for message in ws] == ["2"]
    assert loop.time() - began >= 0.199


async def test_refusals_that_pass_are_tried_again_after_their_time() -> None:
    script = in_turn(refuses(503, "Retry-After: 1"), refuses(502), refuses(429), says("1", close=LAST))
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with serving(script) as url, connect(url, **QUICK) as ws:
        assert [message async for message in ws] == ["1"]
    assert loop.time() - began >= 0.999


async def test_a_refusal_that_is_final_ends_it_at_the_beginning_and_later() -> None:
    async with serving(refuses(401)) as url:
        with pytest.raises(HandshakeFailed) as caught:
            async with connect(url, **QUICK):
                pass
    assert caught.value.status == 401
    async with serving(in_turn(says("1"), refuses(403))) as url, connect(url, **QUICK) as ws:
        assert await ws.receive() == "1"
        for _ in range(2):
            with pytest.raises(HandshakeFailed):
                await ws.receive()
        with pytest.raises(HandshakeFailed):
            await ws.request({"type": "walker"})


async def test_attempts_are_bounded_in_a_row() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectionRefusedError):
            async with connect(f"ws://127.0.0.1:{taken.getsockname()[1]}/", max_attempts=3, **QUICK):
                pass
    # a message proves a connection, so failures are counted anew; without one they add up
    script = in_turn(refuses(500), says("1"), refuses(500), says("2"), refuses(500), says())
    async with serving(script) as url, connect(url, max_attempts=2, **QUICK) as ws:
        assert await ws.receive() == "1"
        assert await ws.receive() == "2"
        with pytest.raises(ConnectionClosed):
            await ws.receive()


async def test_a_certificate_that_is_not_trusted_ends_it(certificate: tuple[str, str]) -> None:
    async with TestServer(App(), ssl_certfile=certificate[0], ssl_keyfile=certificate[1]) as server:
        with pytest.raises(ssl.SSLCertVerificationError):
            async with connect(server.websocket_url, **QUICK):
                pass


async def test_what_is_wrong_with_the_arguments_is_told_at_once() -> None:
    with pytest.raises(WebSocketSyntaxError):
        connect("ftp://h/")
    with pytest.raises(ValueError, match="line break"):
        async with connect("ws://127.0.0.1:1/", headers={"X": "a\r\nb"}):
            pass


async def test_headers_are_asked_for_at_each_handshake() -> None:
    tokens = iter(("first", "second"))
    seen: list[bytes | None] = []

    def noting(script: Script) -> Script:
        async def play(peer: Peer) -> None:
            try:
                await script(peer)
            finally:
                seen.append(peer.header(b"authorization"))

        return play

    script = in_turn(noting(says(close=b"\x11\x31")), noting(says(close=LAST)))  # 4401: the login has ended
    async with serving(script) as url, connect(url, headers=lambda: {"Authorization": next(tokens)}, **QUICK) as ws:
        assert [message async for message in ws] == []
    assert seen == [b"first", b"second"]


async def test_a_server_that_restarts(app: App) -> None:
    states = States()
    async with Restarting(app) as server:
        async with connect(f"{server.url}/echo", on_state=states.put_nowait, **QUICK) as ws:
            await ws.send("one")
            assert await ws.receive() == "one"
            await states.until("connected")
            await server.stop()
            await states.until("away")
            assert ws.state == "away"
            for number in range(3):
                await ws.send(f"away {number}")
            await ws.send(bytearray(b"bytes"))
            await server.start()
            await ws.wait_connected()
            assert [await ws.receive() for _ in range(4)] == ["away 0", "away 1", "away 2", b"bytes"]
        await states.until("over")
        with pytest.raises(ConnectionClosed):
            await ws.wait_connected()


async def test_what_is_kept_is_bounded(app: App) -> None:
    states = States()
    async with Restarting(app) as server:
        limits: dict[str, Any] = {"max_queue": 3, "max_queue_bytes": 100}
        async with connect(f"{server.url}/echo", on_state=states.put_nowait, **limits, **QUICK) as ws:
            await server.stop()
            await states.until("away")
            await ws.send("ü" * 45)
            with pytest.raises(QueueFull, match="1 messages of 90 bytes"):
                await ws.send("x" * 11)
            await ws.send("2")
            await ws.send(b"3")
            with pytest.raises(QueueFull, match="3 messages"):
                await ws.send("4")
            with pytest.raises(TypeError):
                await ws.send(4)  # type: ignore[arg-type]
            await server.start()
            assert [await ws.receive() for _ in range(3)] == ["ü" * 45, "2", b"3"]
            await states.until("connected")
            await server.stop()
            await states.until("away")
            await ws.send("x" * 100)  # there is room again


@pytest.mark.parametrize("when", ["connected", "away", "in the beginning"])
async def test_close_ends_it_whenever_it_comes(app: App, when: str) -> None:
    states = States()
    async with Restarting(app) as server:
        url = f"{server.url}/echo"
        if when == "in the beginning":
            await server.stop()
            opening = asyncio.create_task(connect(url, **QUICK).__aenter__())
            await asyncio.sleep(0)
            opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await opening
            return
        async with connect(url, on_state=states.put_nowait, **QUICK) as ws:
            if when == "away":
                await server.stop()
                await states.until("away")
                await ws.send("dropped")
            waiting = asyncio.create_task(anext(ws, "the end"))
            await ws.close(3000, "enough")
            assert await waiting == "the end"
            assert ws.state == "over"
            await ws.close()
            with pytest.raises(ConnectionClosed):
                await ws.send("late")


async def test_a_connection_that_has_lasted_begins_a_new_row_of_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PROVEN_SECONDS", 0.0)
    script = in_turn(says(), says(), says(close=LAST))
    async with serving(script) as url, connect(url, max_attempts=1, **QUICK) as ws:
        assert [message async for message in ws] == []


async def test_awaited_it_is_the_callers_to_close(app: App) -> None:
    async with TestServer(app) as server:
        states: list[str] = []
        ws = await connect(f"ws://ada:secret@127.0.0.1:{server.port}/echo", on_state=states.append)
        assert repr(ws) == f"<LastingConnection {server.websocket_url}/echo connected>"
        await ws.send("hello")
        assert await ws.receive() == "hello"
        assert (ws.close_code, ws.close_reason) == (None, "")
        await ws.close(3001, "enough")
        assert (ws.close_code, ws.close_reason) == (3001, "enough")
        assert repr(ws) == f"<LastingConnection {server.websocket_url}/echo over>"
        await asyncio.sleep(0)  # a state is told in the loop's next turn
        assert states == ["connected", "over"]


# -- one by one --------------------------------------------------------------------------------------------------------


async def test_each_connection_in_turn() -> None:
    script = in_turn(says("1"), says("2", "3", close=b"\x03\xf4"), says("4", close=LAST))
    seen: list[list[Any]] = []
    same: set[int] = set()
    async with serving(script) as url:
        async for ws in connect(url, **QUICK):
            same.add(id(ws))
            seen.append([message async for message in ws])
    assert seen == [["1"], ["2", "3"], ["4"]]
    assert len(same) == 1


async def test_a_body_that_ends_early_wants_the_next_connection(app: App) -> None:
    count = 0
    async with TestServer(app) as server:
        async for ws in connect(f"{server.websocket_url}/echo", **QUICK):
            count += 1
            await ws.send(str(count))
            assert await ws.receive() == str(count)
            if count == 2:
                await ws.close()
        assert count == 2
        assert app.hub.count() == 0


async def test_a_final_end_is_raised_by_the_outer_iteration() -> None:
    count = 0
    async with serving(in_turn(says("1"), says("2", close=b"\x03\xf0"))) as url:
        with pytest.raises(ConnectionClosed, match="1008"):
            async for ws in connect(url, **QUICK):
                async for _ in ws:
                    count += 1
    assert count == 2


async def test_between_connections_a_request_fails_and_a_message_waits() -> None:
    heard: list[Any] = []

    async def last(peer: Peer) -> None:
        await peer.accept()
        heard.append(await peer.read_frame())
        peer.write(frame(0x88, LAST, None))
        await peer.read_end()

    async with serving(in_turn(says("1"), last)) as url:
        async for ws in connect(url, **QUICK):
            async for _ in ws:
                pass
            if ws.state == "away" and not heard:
                with pytest.raises(ConnectionClosed):
                    await ws.request({"type": "connection"})
                await ws.send("kept")
    assert heard == [(0x81, b"kept")]


# -- the event socket --------------------------------------------------------------------------------------------------


async def hello(ws: LastingConnection) -> dict[str, Any]:
    """What the event socket says first."""
    first: dict[str, Any] = json.loads(await ws.receive())
    assert first["type"] == "connection"
    return first["data"]  # type: ignore[no-any-return]


async def test_a_request_gets_its_reply_and_others_go_on_to_iteration(app: App) -> None:
    async with TestServer(app) as server, connect(f"{server.websocket_url}/websocket?channel_id=room") as ws:
        await hello(ws)
        await ws.send_json({"type": "channel", "channel_ids": ["room"], "data": {"id": "x", "text": "Grüße"}})
        order = {"type": "walker", "walker": "order", "context": {"item": "tea", "count": 1}}
        first, second = await asyncio.gather(ws.request(order), ws.request({**order, "id": 7}))
        assert first["reports"] == second["reports"] == [{"item": "tea", "count": 2}]
        assert second["id"] == 7
        assert await ws.request(order, type=Order) == [{"item": "tea", "count": 2}]
        assert await ws.request({"type": "walker", "walker": "each"}, type=int) == [0, 1, 2]
        with pytest.raises(msgspec.ValidationError):
            await ws.request(order, type=int)
        assert json.loads(await ws.receive()) == {"id": "x", "text": "Grüße"}


@pytest.mark.parametrize(
    ("event", "code"),
    [
        ({"type": "walker", "walker": "order", "context": {"item": "tea", "count": 0}}, "EMPTY"),
        ({"type": "walker", "walker": "order", "context": {"item": 5, "count": 0}}, "VALIDATION_ERROR"),
        ({"type": "walker", "walker": "nobody"}, "REFUSED"),
        ({"type": "user", "root_ids": ["n::1"]}, "REFUSED"),
        ({"type": "nothing"}, "INVALID_EVENT"),
    ],
)
async def test_a_reply_that_is_an_error_is_raised(app: App, event: dict[str, Any], code: str) -> None:
    async with TestServer(app) as server, connect(f"{server.websocket_url}/websocket") as ws:
        with pytest.raises(RequestError) as caught:
            await ws.request(event)
        assert caught.value.code == code


async def test_a_request_that_gets_no_reply_times_out_and_is_forgotten(app: App) -> None:
    async with TestServer(app) as server, connect(f"{server.websocket_url}/websocket") as ws:
        with pytest.raises(TimeoutError):
            await ws.request({"type": "client", "client_ids": ["nobody"]}, timeout=0.05)
        with pytest.raises(ValueError, match="neither text nor a number"):
            await ws.request({"type": "connection", "id": [1]})
        assert not ws._calls._waiting


async def test_a_request_whose_connection_is_lost_fails_and_is_not_sent_again() -> None:
    requests: list[Any] = []

    async def lost(peer: Peer) -> None:
        await peer.accept()
        requests.append(await peer.read_frame())

    async def last(peer: Peer) -> None:
        await peer.accept()
        requests.append(await peer.read_frame())
        peer.write(frame(0x88, LAST, None))
        await peer.read_end()

    async with serving(in_turn(lost, last)) as url, connect(url, **QUICK) as ws:
        with pytest.raises(ConnectionClosed) as caught:
            await ws.request({"type": "walker", "walker": "order"})
        assert caught.value.code == 1006
        await ws.send("something else")
        assert [message async for message in ws] == []
    assert [payload.startswith(b"{") for _, payload in requests] == [True, False]


async def test_a_request_at_the_moment_of_a_loss_waits_for_the_next_connection(app: App) -> None:
    async with TestServer(app) as server, connect(f"{server.websocket_url}/websocket", **QUICK) as ws:
        await hello(ws)
        assert ws._connection is not None
        ws._connection.abort()
        await ws.send_json({"type": "connection", "id": "kept"})
        assert (await ws.request({"type": "connection"}))["type"] == "connection"
        await hello(ws)
        assert json.loads(await ws.receive())["id"] == "kept"


async def test_a_request_while_away_waits_for_the_connection(app: App) -> None:
    states = States()
    async with Restarting(app) as server, connect(f"{server.url}/websocket", on_state=states.put_nowait, **QUICK) as ws:
        await server.stop()
        await states.until("away")
        with pytest.raises(TimeoutError):
            await ws.request({"type": "connection"}, timeout=0.05)
        asking = asyncio.create_task(ws.request({"type": "connection"}))
        await asyncio.sleep(0)
        await server.start()
        assert (await asking)["type"] == "connection"


async def test_subscriptions_are_renewed_before_what_was_kept(app: App) -> None:
    states = States()
    async with Restarting(app) as server, connect(f"{server.url}/websocket", on_state=states.put_nowait, **QUICK) as ws:
        await hello(ws)
        await ws.subscribe("room-1", "room-2")
        await ws.subscribe("room-3")
        await ws.unsubscribe("room-2")
        assert app.hub.count("room-1") == app.hub.count("room-3") == 1
        assert app.hub.count("room-2") == 0
        await server.stop()
        await states.until("away")
        await ws.send_json({"type": "channel", "channel_ids": ["room-3"], "data": {"kept": True}})
        await server.start()
        await hello(ws)
        assert json.loads(await ws.receive()) == {"kept": True}
        assert app.hub.count("room-2") == 0
        await app.hub.publish("room-1", {"n": 1})
        assert json.loads(await ws.receive()) == {"n": 1}


async def test_a_subscription_while_away_is_acknowledged_when_back(app: App) -> None:
    states = States()
    async with Restarting(app) as server, connect(f"{server.url}/websocket", on_state=states.put_nowait, **QUICK) as ws:
        await server.stop()
        await states.until("away")
        subscribing = asyncio.create_task(ws.subscribe("room"))
        await asyncio.sleep(0)
        await server.start()
        await subscribing
        assert app.hub.count("room") == 1


async def test_a_subscription_that_is_refused_is_not_remembered() -> None:
    async def allow(connection: Any, kind: str, ids: Any) -> bool:
        return "secret" not in ids

    app = App()
    app.events(allow=allow)
    async with TestServer(app) as server, connect(f"{server.websocket_url}/websocket") as ws:
        with pytest.raises(RequestError, match="Not allowed"):
            await ws.subscribe("secret")
        await ws.subscribe("open")
        assert list(ws._channels) == ["open"]


async def test_many_subscriptions_are_renewed_in_several_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHANNELS_IN_ONE_EVENT", 2)
    events: list[Any] = []

    async def first(peer: Peer) -> None:
        await peer.accept()
        event = json.loads((await peer.read_frame())[1])
        peer.write(frame(0x81, json.dumps({"type": "subscribed", "id": event["id"]}).encode(), None))

    async def last(peer: Peer) -> None:
        await peer.accept()
        for _ in range(3):
            events.append(json.loads((await peer.read_frame())[1]))
        error = {"type": "subscribe", "error": "Not allowed", "id": events[0]["id"]}
        peer.write(frame(0x81, json.dumps(error).encode(), None) + frame(0x88, LAST, None))
        await peer.read_end()

    async with serving(in_turn(first, last)) as url, connect(url, **QUICK) as ws:
        await ws.subscribe("a", "b", "c", "d", "e")
        assert [message async for message in ws] == []
    assert [event["channel_ids"] for event in events] == [["a", "b"], ["c", "d"], ["e"]]


async def test_a_log_has_neither_the_password_nor_lines_that_the_server_wrote(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "wireloom.clients")
    bad = says(close=b"\x03\xf5no\r\nERROR wireloom: all is lost \x1b[2J")
    async with serving(in_turn(bad, says(close=LAST))) as url:
        async with connect(url.replace("://", "://ada:hunter2@"), **QUICK) as ws:
            assert [message async for message in ws] == []
    [line] = [record.getMessage() for record in caplog.records if record.name == "wireloom.clients"]
    assert "hunter2" not in line
    assert "all is lost" in line
    assert line.isprintable()
