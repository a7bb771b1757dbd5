"""The Connection and the Hub as handlers see them."""

import asyncio
import contextlib
import re
import time
from collections.abc import Awaitable
from typing import Any, TypeVar

import pytest

from wireloom import EVERYONE, App, Connection, ConnectionClosed, Hub
from wireloom.core.topic import client
from wireloom.testing import TestWebSocket

pytestmark = pytest.mark.anyio

T = TypeVar("T")


def soon(awaitable: Awaitable[T]) -> Awaitable[T]:
    return asyncio.wait_for(awaitable, 5)


def application(**options: Any) -> tuple[App, list[Connection]]:
    """An echo whose connections can be laid hands on."""
    app, connections = App(**options), []

    @app.websocket("/{name}", subprotocols=["spoken"])
    async def echo(message: Any, name: str) -> Any:
        return message

    @echo.on_connect
    async def connected(connection: Connection) -> None:
        connections.append(connection)

    return app, connections


async def received_before_echo(ws: TestWebSocket) -> list[str | bytes]:
    """What came before the answer to a message sent now."""
    await ws.send_json("the end")
    got: list[str | bytes] = []
    while (message := await ws.receive()) != '"the end"':
        got.append(message)
    return got


# -- sending ----------------------------------------------------------------------------------------------------------


async def test_send_goes_by_the_type(wireloom_server: Any) -> None:
    app, connections = application()
    async with wireloom_server(app) as server, server.websocket("/a") as ws:
        await received_before_echo(ws)
        (connection,) = connections
        sent = ["é", "", b"\xff", bytearray(b"\x00"), memoryview(b"abc"), {"b": "é", "a": [1, None]}, [], 1, None, True]
        for data in sent:
            connection.send(data)
        connection.send_text('{"text": "as it is"}')
        connection.send_bytes(b"\x01")
        connection.send_bytes(bytearray(b"\x02"))
        got = await received_before_echo(ws)
    wanted = ["é", "", b"\xff", b"\x00", b"abc", '{"b":"é","a":[1,null]}', "[]", "1", "null", "true"]
    assert got == [*wanted, '{"text": "as it is"}', b"\x01", b"\x02"]


async def test_what_was_sent_before_the_close_arrives_and_what_is_sent_after_is_dropped(wireloom_server: Any) -> None:
    app, connections = application()
    async with wireloom_server(app) as server:
        async with server.websocket("/a") as ws:
            await received_before_echo(ws)
            (connection,) = connections
            connection.send("before")
            assert connection.is_open
            connection.close(4000, "done")
            assert not connection.is_open
            for send in (connection.send, connection.send_text):
                send("after")
            connection.send_bytes(b"after")
            await app.hub.publish(EVERYONE, "after")
            connection.close(4001, "again")
            assert await ws.receive_text() == "before"
            with pytest.raises(AssertionError, match="closed: 4000 done"):
                await ws.receive()
        connection.send("long after")
        await asyncio.sleep(0)
        await asyncio.sleep(0)  # one turn of the loop
        assert connection.backlog == 0


async def test_a_code_that_must_not_be_sent_is_a_value_error(wireloom_server: Any) -> None:
    app, connections = application()
    async with wireloom_server(app) as server, server.websocket("/a") as ws:
        await received_before_echo(ws)
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, -1, 70_000):
            with pytest.raises(ValueError, match=str(code)):
                connections[0].close(code)
        assert connections[0].is_open
        assert await received_before_echo(ws) == []


async def test_close_tells_code_and_reason(wireloom_server: Any) -> None:
    app, connections = application()
    async with wireloom_server(app) as server:
        for code, reason in ((1000, ""), (1001, "é"), (3000, "x" * 123), (4999, "é" * 100)):
            async with server.websocket("/a") as ws:
                await received_before_echo(ws)
                connections[-1].close(code, reason)
                assert await ws.wait_closed() == code
                assert ws.close_reason == reason[: 123 if reason.isascii() else 61]  # cut between characters


async def test_drain_returns_when_the_peer_reads_and_raises_when_it_is_gone(wireloom_server: Any) -> None:
    app, connections = application(outbox_bytes=64 * 1024 * 1024)
    async with wireloom_server(app) as server, server.websocket("/a") as ws:
        await received_before_echo(ws)
        (connection,) = connections
        await soon(connection.drain())
        assert connection.backlog == 0
        transport = ws.connection._transport
        assert transport is not None
        transport.pause_reading()
        for _ in range(200):
            connection.send_bytes(bytes(64 * 1024))
        draining = asyncio.ensure_future(connection.drain())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(draining), 0.1)
        assert connection.backlog > 1024 * 1024
        transport.resume_reading()
        for _ in range(200):
            assert len(await ws.receive_bytes()) == 64 * 1024
        await soon(draining)
        transport.pause_reading()
        for _ in range(200):
            connection.send_bytes(bytes(64 * 1024))
        draining = asyncio.ensure_future(connection.drain())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(draining), 0.1)
        ws.connection.abort()
        with pytest.raises(ConnectionClosed) as caught:
            await soon(draining)
        assert caught.value.code == 1006
        with pytest.raises(ConnectionClosed):
            await soon(connection.drain())


async def test_drain_raises_the_code_of_a_close(wireloom_server: Any) -> None:
    app, connections = application()
    async with wireloom_server(app) as server, server.websocket("/a") as ws:
        await received_before_echo(ws)
        connections[0].close(4000, "done")
        with pytest.raises(ConnectionClosed, match="4000 done") as caught:
            await soon(connections[0].drain())
        assert (caught.value.code, caught.value.reason) == (4000, "done")


# -- who it is --------------------------------------------------------------------------------------------------------


async def test_a_connection_knows_its_request(wireloom_server: Any) -> None:
    app, connections = application()
    headers = [("X-Token", "secret"), ("x-many", "1"), ("X-Many", "2")]
    async with wireloom_server(app) as server:
        async with server.websocket("/a?b=1&b=2&c=%C3%A9", headers=headers, subprotocols=["spoken"]) as ws:
            await received_before_echo(ws)
            (connection,) = connections
            assert connection.headers["x-TOKEN"] == "secret"
            assert connection.headers.getlist("X-Many") == ["1", "2"]
            assert connection.query.getlist("b") == ["1", "2"]
            assert connection.query["c"] == "é"
            assert connection.path_params == {"name": "a"}
            assert connection.subprotocol == "spoken"
            assert connection.client is not None
            assert connection.client[0] == "127.0.0.1"
            transport = ws.connection._transport
            assert transport is not None
            assert connection.client[1] == transport.get_extra_info("sockname")[1]
            assert connection.user is None
            assert repr(connection) == "<Connection /a open>"
        assert connection.headers["x-token"] == "secret"
        assert repr(connection) == "<Connection /a closed>"


async def test_state_is_the_connections_own(wireloom_server: Any) -> None:
    app = App()

    @app.websocket("/")
    async def count(message: Any, connection: Connection) -> int:
        connection.state["count"] = connection.state.get("count", 0) + 1
        return connection.state["count"]

    async with wireloom_server(app) as server, server.websocket("/") as a, server.websocket("/") as b:
        for ws, wanted in ((a, 1), (a, 2), (b, 1), (a, 3), (b, 2)):
            await ws.send_json(0)
            assert await ws.receive_json() == wanted


async def test_client_ids_are_unguessable_unique_and_stay(wireloom_server: Any) -> None:
    app, connections = application()
    async with wireloom_server(app) as server, contextlib.AsyncExitStack() as stack:
        for _ in range(20):
            ws = await stack.enter_async_context(server.websocket("/a"))
            await received_before_echo(ws)
        ids = [connection.client_id for connection in connections]
        assert ids == [connection.client_id for connection in connections]
        assert len(set(ids)) == 20
        for client_id in ids:
            assert re.fullmatch(r"\d+:[0-9a-f]{32}", client_id)
            assert abs(int(client_id.partition(":")[0]) - time.time()) < 60


# -- channels and publications ----------------------------------------------------------------------------------------


async def test_join_leave_and_channels(wireloom_server: Any) -> None:
    app, connections = application()
    async with wireloom_server(app) as server, server.websocket("/a") as ws:
        await received_before_echo(ws)
        (connection,) = connections
        assert connection.channels == frozenset()
        connection.join("one")
        connection.join("one")
        connection.join("two:é/ ")
        assert connection.channels == {"one", "two:é/ "}
        assert app.hub.count("one") == 1
        await app.hub.publish("one", 1)
        await app.hub.publish("two:é/ ", 2)
        await app.hub.publish("two", 3)
        await app.hub.publish("", 4)
        assert await received_before_echo(ws) == ["1", "2"]
        connection.leave("one")
        connection.leave("one")
        connection.leave("never joined")
        assert connection.channels == {"two:é/ "}
        assert app.hub.count("one") == 0
        await app.hub.publish("one", 1)
        await app.hub.publish("two:é/ ", 2)
        assert await received_before_echo(ws) == ["2"]


async def test_publish_reaches_subscribers_only_in_order_and_by_type(wireloom_server: Any) -> None:
    app, connections = application()
    async with (
        wireloom_server(app) as server,
        server.websocket("/a") as a,
        server.websocket("/b") as b,
        server.websocket("/c") as c,
    ):
        for ws in (a, b, c):
            await received_before_echo(ws)
        for connection in connections[:2]:
            connection.join("news")
        for data in ("text", b"\xff", {"é": 1}, None, [1]):
            await app.hub.publish("news", data)
        for ws in (a, b):
            assert await received_before_echo(ws) == ["text", b"\xff", '{"é":1}', "null", "[1]"]
        assert await received_before_echo(c) == []
        await app.hub.publish(EVERYONE, "all")
        for ws in (a, b, c):
            assert await received_before_echo(ws) == ["all"]
        await app.hub.publish(client(connections[1].client_id), "you")
        await app.hub.publish(client("1:" + "0" * 32), "nobody")
        assert [await received_before_echo(ws) for ws in (a, b, c)] == [[], ["you"], []]


async def test_a_channels_name_never_reaches_a_client_or_everyone(wireloom_server: Any) -> None:
    """Names come from outside; only `client()` and its kin make other topics."""
    app, connections = application()
    async with wireloom_server(app) as server, server.websocket("/a") as ws:
        await received_before_echo(ws)
        client_id = connections[0].client_id
        for prefix in ("", "client:", "user:", "everyone:", "channel:"):
            for name in (prefix + client_id, prefix):
                await app.hub.publish(name, "to a channel of that name")
                assert app.hub.count(name) == 0
            assert await received_before_echo(ws) == []
            connections[0].join(prefix + client_id)
            await app.hub.publish(client(client_id), "to the client")
            await app.hub.publish(prefix + client_id, "to the channel")
            assert await received_before_echo(ws) == ["to the client", "to the channel"]


async def test_count_and_connections_follow_who_is_there(wireloom_server: Any) -> None:
    app, connections = application()
    left = asyncio.Event()
    hub = app.hub
    assert (hub.count(), hub.connections(), hub.count("news")) == (0, [], 0)

    @app.websocket("/leaving")
    async def leaving(message: Any) -> Any:
        return message

    @leaving.on_disconnect
    async def disconnected() -> None:
        left.set()

    @leaving.on_connect
    async def connected(connection: Connection) -> None:
        connection.join("news")

    async with wireloom_server(app) as server, server.websocket("/a") as a:
        await received_before_echo(a)
        connections[0].join("news")
        assert hub.connections() == connections
        async with server.websocket("/leaving") as b:
            await received_before_echo(b)
            assert (hub.count(), hub.count(EVERYONE), hub.count("news")) == (2, 2, 2)
            assert hub.connections("news")[0] is connections[0]
        await soon(left.wait())
        assert (hub.count(), hub.count("news"), hub.connections("news")) == (1, 1, connections)
        await hub.publish("news", "to who is left")
        assert await received_before_echo(a) == ["to who is left"]


async def test_a_connection_that_has_ended_joins_nothing(wireloom_server: Any) -> None:
    app, connections = application()
    async with wireloom_server(app) as server:
        async with server.websocket("/a") as ws:
            await received_before_echo(ws)
            connections[0].join("before")
        connections[0].join("after")
        assert app.hub.count("after") == 0
        assert app.hub.count("before") == 0
        assert app.hub.count() == 0


async def test_an_id_asked_for_after_the_end_is_not_kept(wireloom_server: Any) -> None:
    """The hub would remember a connection that nobody will ever unregister."""
    app, connections = application()
    async with wireloom_server(app) as server:
        async with server.websocket("/a") as ws:
            await received_before_echo(ws)
        assert connections[0].client_id
        assert app.hub._clients == {}


async def test_publications_and_messages_of_a_connection_keep_their_order(wireloom_server: Any) -> None:
    app = App()

    @app.websocket("/direct")
    async def direct(message: int, connection: Connection, hub: Hub) -> Any:
        connection.send(f"send {message}")
        return f"reply {message}"

    @app.websocket("/publishing")
    async def publishing(message: int, connection: Connection, hub: Hub) -> Any:
        connection.join("news")
        await hub.publish("news", f"channel {message}")
        connection.send(f"send {message}")
        await hub.publish(EVERYONE, f"everyone {message}")
        await hub.publish(client(connection.client_id), f"client {message}")
        await asyncio.sleep(0)
        connection.send(f"late {message}")
        await hub.publish("news", f"last {message}")
        return f"reply {message}"

    async with wireloom_server(app) as server:
        async with server.websocket("/publishing") as ws:
            for number in range(50):
                await ws.send_json(number)
            for number in range(50):
                kinds = ("channel", "send", "everyone", "client", "late", "last")
                assert [await ws.receive_text() for _ in kinds] == [f"{kind} {number}" for kind in kinds]
                assert await ws.receive_json() == f"reply {number}"
        async with server.websocket("/direct") as ws:
            await ws.send_json(1)
            assert [await ws.receive_text() for _ in range(2)] == ["send 1", '"reply 1"']


async def test_a_publication_without_a_json_form_is_the_publishers_error(wireloom_server: Any) -> None:
    app, connections = application()
    async with wireloom_server(app) as server, server.websocket("/a") as ws:
        await received_before_echo(ws)
        with pytest.raises(TypeError):
            await app.hub.publish(EVERYONE, object())
        with pytest.raises(TypeError):
            connections[0].send(object())
        assert await received_before_echo(ws) == []


def test_the_public_client_is_the_topic_of_a_client() -> None:
    """Not the package of that name, which `wireloom.testing` imports."""
    import wireloom
    import wireloom.testing

    assert wireloom.client("1:2") == "client:1:2"
    assert wireloom.user("1") == "user:1"
