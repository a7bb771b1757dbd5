"""The port's first bytes: upgrades in every shape, and every way in which one is refused."""

from __future__ import annotations

import asyncio
import os
from typing import Annotated

import pytest

from tests.net.fronts import echo_app
from wireloom import App, Connection, Deny, Query, Request, create_server
from wireloom.net.front import find_listener
from wireloom.testing import TestServer
from wireloom.wire.frames import PONG, TEXT, mask_frame

from .clock import Clock
from .raw import Frame, dial, eventually, request_head, serve, soon, upgrade_head

pytestmark = pytest.mark.anyio


# -- upgrades --------------------------------------------------------------------------------------------------------


async def test_an_upgrade_in_one_read_is_answered_with_101_and_nothing_more() -> None:
    async with TestServer(echo_app()) as server, dial(server.port) as peer:
        answer = await peer.upgrade()
        assert "sec-websocket-protocol" not in answer.headers
        assert "sec-websocket-extensions" not in answer.headers
        peer.text("Grüße")
        await peer.expect_text("Grüße")


async def test_an_upgrade_may_arrive_in_small_pieces() -> None:
    async with TestServer(echo_app()) as server:
        for size in (1, 3, 50):
            async with dial(server.port) as peer:
                await peer.send_slowly(upgrade_head(), size)
                await peer.switched()
                await peer.send_slowly(mask_frame(TEXT, b"slow"))
                await peer.expect_text("slow")


async def test_frames_glued_to_the_head_are_handled() -> None:
    async with TestServer(echo_app()) as server, dial(server.port) as peer:
        peer.send(upgrade_head() + mask_frame(TEXT, b"one") + mask_frame(TEXT, b"two"))
        await peer.switched()
        await peer.expect_text("one")
        await peer.expect_text("two")


async def test_half_a_frame_glued_to_the_head_is_kept() -> None:
    frame = mask_frame(TEXT, b"cut in the middle")
    async with TestServer(echo_app()) as server, dial(server.port) as peer:
        peer.send(upgrade_head() + frame[:9])
        await peer.switched()
        peer.send(frame[9:])
        await peer.expect_text("cut in the middle")


async def test_frames_glued_to_the_head_wait_for_the_handshake_hook() -> None:
    app, go = App(), asyncio.Event()

    @app.websocket("/echo")
    async def echo(message: str) -> str:
        return message

    @echo.on_handshake
    async def wait() -> None:
        await go.wait()

    async with TestServer(app) as server, dial(server.port) as peer:
        peer.send(upgrade_head() + mask_frame(TEXT, b"early"))
        await eventually(lambda: sum(1 for task in asyncio.all_tasks() if "_admit" in repr(task)))
        go.set()
        await peer.switched()
        await peer.expect_text("early")


async def test_connection_and_upgrade_are_tokens_in_any_case() -> None:
    all_headers: list[dict[str, str | None]] = [
        {"Connection": "keep-alive, Upgrade"},  # Firefox
        {"Connection": "keep-alive,upgrade", "Upgrade": "WebSocket"},
        {"Connection": "UPGRADE", "Upgrade": "WEBSOCKET"},
        {"connection": "x", "Upgrade": "websocket", "Connection": "Upgrade"},
        {"Upgrade": "h2c, websocket"},
    ]
    async with TestServer(echo_app()) as server:
        for headers in all_headers:
            async with dial(server.port) as peer:
                await peer.upgrade(headers=headers)
                peer.text("hello")
                await peer.expect_text("hello")


async def test_many_connections_each_get_their_own_accept_key() -> None:
    async with TestServer(echo_app()) as server:
        for number in range(5):
            async with server.websocket("/echo") as ws:  # its client checks Sec-WebSocket-Accept
                await ws.send_text(str(number))
                assert await ws.receive_text() == str(number)


async def test_the_subprotocol_is_the_endpoints_first_choice() -> None:
    choices: list[tuple[str | None, str | None]] = [
        ("chat.v1", "chat.v1"),
        ("chat.v1, chat.v2", "chat.v2"),
        ("other, chat.v1", "chat.v1"),
        ("other", None),
        (None, None),
    ]
    app = App()

    @app.websocket("/chat", subprotocols=["chat.v2", "chat.v1"])
    async def chat(message: str, connection: Connection) -> str:
        return str(connection.subprotocol)

    async with TestServer(app) as server:
        for offered, chosen in choices:
            async with dial(server.port) as peer:
                answer = await peer.upgrade("/chat", {"Sec-WebSocket-Protocol": offered})
                assert answer.headers.get("sec-websocket-protocol") == chosen, offered
                peer.text("which?")
                await peer.expect_text(str(chosen))


async def test_path_and_query_reach_the_handler_converted() -> None:
    app = App()

    @app.websocket("/rooms/{room}/{number}")
    async def where(message: str, room: str, number: int, limit: Annotated[int, Query()] = 10) -> str:
        return f"{room!r} {number + 1} {limit + 1}"

    async with TestServer(app) as server:
        async with dial(server.port) as peer:
            await peer.upgrade("/rooms/a%20b%2Fc/41?limit=6")
            peer.text("")
            await peer.expect_text("'a b/c' 42 7")
        async with dial(server.port) as peer:
            peer.send(upgrade_head("/rooms/a/x"))
            assert (await peer.answer()).status == 404
        async with dial(server.port) as peer:
            peer.send(upgrade_head("/rooms/a/1?limit=x"))
            assert (await peer.answer()).status == 400


# -- later on a connection that began as HTTP ------------------------------------------------------------------------


async def test_an_upgrade_may_be_the_second_request_of_a_connection() -> None:
    async with TestServer(echo_app()) as server, dial(server.port) as peer:
        peer.send(request_head("GET", "/healthz/live"))
        assert (await peer.answer()).json == {"status": "ok"}
        await peer.upgrade()
        peer.text("after http")
        await peer.expect_text("after http")
        assert server.app.hub.count() == 1
        assert len(server._server.server_state.connections) == 1  # type: ignore[union-attr]


async def test_a_late_upgrade_is_refused_as_an_early_one_is() -> None:
    async with TestServer(echo_app()) as server:
        for head, status in ((upgrade_head("/nowhere"), 404), (upgrade_head(headers={"Origin": "http://evil"}), 403)):
            async with dial(server.port) as peer:
                peer.send(request_head("GET", "/healthz/live"))
                await peer.answer()
                peer.send(head)
                assert (await peer.answer()).status == status
                await peer.expect_end()
        assert not server._server.server_state.connections  # type: ignore[union-attr]


async def test_a_late_upgrade_waits_for_the_handshake_hook() -> None:
    app = App()

    @app.websocket("/echo")
    async def echo(message: str, request: Request) -> str:
        return f"{message} {request.user}"

    @echo.on_handshake
    async def wait(request: Request) -> None:
        await asyncio.sleep(0)
        if request.query.get("deny"):
            raise Deny(418, "no tea")

    async with TestServer(app) as server:
        async with dial(server.port) as peer:
            peer.send(request_head("GET", "/healthz/live"))
            await peer.answer()
            await peer.upgrade()
            peer.text("hi")
            await peer.expect_text("hi None")
        async with dial(server.port) as peer:
            peer.send(request_head("GET", "/healthz/live"))
            await peer.answer()
            peer.send(upgrade_head("/echo?deny=1"))
            assert (await peer.answer()).status == 418


# -- time and rude clients -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("begun", [b"", b"G", b"GET /echo HTTP/1.1\r\nHost: x\r\n"])
async def test_a_silent_client_is_cut(begun: bytes) -> None:
    async with TestServer(echo_app(handshake_timeout_seconds=0.3)) as server, dial(server.port) as peer:
        peer.send(begun)
        if begun:  # browsers open connections ahead: one that was never used needs no answer
            assert (await peer.answer()).status == 408, begun
        await peer.expect_end()
        await eventually(lambda: not server._server.server_state.connections)  # type: ignore[union-attr]


@pytest.mark.parametrize("begun", [b"P", b"POST /x HTTP/1.1\r\nHost: x\r\n"])
async def test_a_slow_head_of_another_method_is_cut_as_well(begun: bytes) -> None:
    async with TestServer(echo_app(handshake_timeout_seconds=0.3)) as server, dial(server.port) as peer:
        peer.send(begun)
        await peer.rest()


@pytest.mark.parametrize("lines", [b"\r\n", b"\r\n\r\n", b"\n\n\r\n\r\n" * 100])
async def test_empty_lines_are_no_head_and_a_request_may_follow_them(lines: bytes) -> None:
    async with TestServer(echo_app(handshake_timeout_seconds=0.3)) as server:
        async with dial(server.port) as silent, dial(server.port) as upgraded, dial(server.port) as asked:
            silent.send(lines)
            upgraded.send(lines + upgrade_head())
            await upgraded.switched()
            asked.send(lines + request_head("GET", "/healthz/live"))
            assert (await asked.answer()).status == 200
            await silent.expect_end()


async def test_one_byte_at_a_time_is_cut_as_well() -> None:
    async with TestServer(echo_app(handshake_timeout_seconds=3)) as server:
        clock = Clock.of(server)
        async with dial(server.port) as peer:
            for byte in upgrade_head("/echo")[:20]:
                await peer.send_slowly(bytes((byte,)))
                clock.go_on(0.2)
            assert (await peer.answer()).status == 408


@pytest.mark.parametrize("hook", ["on_handshake", "authorize"])
async def test_a_hook_that_hangs_is_cancelled(hook: str) -> None:
    app, cancelled = App(handshake_timeout_seconds=0.3), asyncio.Event()

    async def hang(request: Request) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    @app.websocket("/echo", auth=hang if hook == "authorize" else False)
    async def echo(message: str) -> str:
        return message

    if hook == "on_handshake":
        echo.on_handshake(hang)
    async with TestServer(app) as server, dial(server.port) as peer:
        peer.send(upgrade_head())
        assert (await peer.answer()).status == 408
        await soon(cancelled.wait())
        await peer.expect_end()
        assert app.hub.count() == 0
        assert not server._server.server_state.connections  # type: ignore[union-attr]


async def test_a_hook_that_survives_its_cancellation_opens_nothing() -> None:
    app, ended = App(handshake_timeout_seconds=0.3), asyncio.Event()

    @app.websocket("/echo")
    async def echo(message: str) -> str:
        return message

    @echo.on_handshake
    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.set()

    async with TestServer(app) as server, dial(server.port) as peer:
        peer.send(upgrade_head())
        assert (await peer.answer()).status == 408
        await peer.expect_end()
        await soon(ended.wait())
        await eventually(lambda: not any("_admit" in repr(task) for task in asyncio.all_tasks()))
        assert app.listener is not None
        assert app.hub.count() == 0
        assert not app.listener.shells


async def test_the_handshake_time_does_not_count_for_open_connections() -> None:
    async with TestServer(echo_app(handshake_timeout_seconds=0.3)) as server, dial(server.port) as peer:
        await peer.upgrade()
        with pytest.raises(TimeoutError):
            await peer.frame(seconds=0.8)
        peer.text("still here")
        await peer.expect_text("still here")


@pytest.mark.parametrize("abruptly", [False, True])
async def test_a_client_that_goes_during_the_handshake_leaves_nothing(abruptly: bool) -> None:
    app, begun, go = App(), asyncio.Event(), asyncio.Event()
    events: list[str] = []

    @app.websocket("/echo")
    async def echo(message: str) -> str:
        return message

    @echo.on_handshake
    async def wait() -> None:
        begun.set()
        await go.wait()

    @echo.on_connect
    async def joined() -> None:
        events.append("connect")

    @echo.on_disconnect
    async def left() -> None:
        events.append("disconnect")

    async with serve(app) as (server, port):
        async with dial(port) as peer:
            peer.send(upgrade_head())
            await soon(begun.wait())
            if abruptly:
                peer.abort()
        go.set()
        await eventually(lambda: not server.server_state.connections)
        assert app.listener is not None
        await eventually(lambda: not app.listener.tasks and not app.listener.shells)
        assert app.hub.count() == 0
        assert events in ([], ["connect", "disconnect"])


async def test_a_client_that_goes_cancels_its_handshake_hook() -> None:
    app, begun, cancelled = App(handshake_timeout_seconds=30), asyncio.Event(), asyncio.Event()

    @app.websocket("/echo")
    async def echo(message: str) -> str:
        return message

    @echo.on_handshake
    async def wait() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async with serve(app) as (_, port):
        async with dial(port) as peer:
            peer.send(upgrade_head())
            await soon(begun.wait())
        await soon(cancelled.wait())


async def test_stopping_ends_connections_that_have_decided_nothing() -> None:
    app, begun = App(), asyncio.Event()

    @app.websocket("/echo")
    async def echo(message: str) -> str:
        return message

    @echo.on_handshake
    async def hang() -> None:
        begun.set()
        await asyncio.Event().wait()

    async with TestServer(app) as server, dial(server.port) as silent, dial(server.port) as hanging:
        hanging.send(upgrade_head())
        await soon(begun.wait())
        await eventually(lambda: len(server._server.server_state.connections) == 2)  # type: ignore[union-attr]
        server.shutdown()
        await silent.expect_end()
        refusal = await hanging.answer()
        assert (refusal.status, refusal.headers["retry-after"]) == (503, "1")
        await hanging.expect_end()


async def test_stopping_refuses_new_connections_with_503() -> None:
    app, go, begun = App(), asyncio.Event(), asyncio.Event()

    @app.websocket("/echo")
    async def echo(message: str) -> str:
        begun.set()
        await go.wait()
        return message

    async with TestServer(app) as server, dial(server.port) as peer:
        await peer.upgrade()
        peer.text("busy")
        await soon(begun.wait())
        server.shutdown()
        async with dial(server.port) as other:
            other.send(upgrade_head())
            assert (await other.answer()).status == 503
        async with dial(server.port) as other:
            other.send(request_head("GET", "/healthz/ready"))
            assert (await other.answer()).status == 503
        go.set()
        await peer.expect_text("busy")
        assert (await peer.frame()).code == 1012


# -- who is there ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trusted", "forwarded", "seen"),
    [
        ("127.0.0.1,10.0.0.0/8", "203.0.113.7, 10.1.2.3", "203.0.113.7"),
        ("*", "203.0.113.7", "203.0.113.7"),
        ("10.0.0.1", "203.0.113.7", "127.0.0.1"),
    ],
)
async def test_forwarded_for_is_believed_of_trusted_proxies_only(trusted: str, forwarded: str, seen: str) -> None:
    app = App(forwarded_allow_ips=trusted)

    @app.websocket("/who")
    async def who(message: str, connection: Connection) -> str:
        assert connection.client is not None
        return connection.client[0]

    async with TestServer(app) as server:
        for header, expected in ((forwarded, seen), (None, "127.0.0.1")):
            async with dial(server.port) as peer:
                await peer.upgrade("/who", {"X-Forwarded-For": header})
                peer.text("who am I?")
                await peer.expect_text(expected)


async def test_the_clients_port_is_its_own() -> None:
    app = App()

    @app.websocket("/who")
    async def who(message: str, connection: Connection) -> str:
        assert connection.client is not None
        return str(connection.client[1])

    async with TestServer(app) as server, dial(server.port) as peer:
        await peer.upgrade("/who")
        peer.text("?")
        await peer.expect_text(str(peer.writer.get_extra_info("sockname")[1]))


async def test_pings_are_answered_at_once_with_their_payload() -> None:
    async with TestServer(echo_app()) as server, dial(server.port) as peer:
        payload = os.urandom(125)
        peer.send(upgrade_head() + mask_frame(9, payload))
        await peer.switched()
        assert await peer.frame() == Frame(PONG, payload)


def test_the_front_serves_wireloom_only() -> None:
    with pytest.raises(TypeError, match="Wireloom"):
        find_listener(object())


OTHER = {"Upgrade": "h2c", "Connection": "Upgrade"}


HIDDEN = request_head("GET", "/hidden")


def posted(headers: dict[str, str | None]) -> bytes:
    """The head of a request whose body is a request's head."""
    return request_head("POST", "/sized", {"Content-Length": str(len(HIDDEN)), **headers})


def sizing_app() -> App:
    return create_server(lambda request: {"body": f"{len(request.body)} bytes"}).app


# -- other upgrades ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("glued", [True, False])
async def test_an_upgrade_to_something_else_is_ignored_and_its_body_is_no_request(glued: bool) -> None:
    async with TestServer(sizing_app()) as server, dial(server.port) as peer:
        peer.send(posted({**OTHER}) + (HIDDEN if glued else b""))
        if not glued:
            await peer.drain()
            await server.http.get("/healthz/live")  # by now the head was read
            peer.send(HIDDEN)
        peer.send(request_head("GET", "/next", {"Connection": "close"}))
        assert [(await peer.answer()).body for _ in range(2)] == [b"%d bytes" % len(HIDDEN), b"0 bytes"]
        await peer.expect_end()


@pytest.mark.parametrize("upgrade", ["h2c", "websocket", "websocket, h2c"])
async def test_a_later_request_with_a_body_cannot_be_upgraded(upgrade: str) -> None:
    async with TestServer(sizing_app()) as server, dial(server.port) as peer:
        peer.send(request_head("GET", "/first"))
        assert (await peer.answer()).body == b"0 bytes"
        peer.send(posted({**OTHER, "Upgrade": upgrade}))
        assert (await peer.answer()).status == 400
        peer.send(HIDDEN)
        await peer.expect_end()
