"""The front: whom it refuses, and with what."""

from __future__ import annotations

import asyncio
import base64
import socket
import ssl
from typing import Any

import pytest

from tests.net.fronts import echo_app
from wireloom import App, Connection, Deny, Request, RequestError
from wireloom.testing import TestServer
from wireloom.wire.frames import TEXT, mask_frame

from .raw import KEY, Peer, dial, eventually, request_head, soon, upgrade_head

pytestmark = pytest.mark.anyio


async def refused(peer: Peer, head: bytes) -> tuple[int, Any, dict[str, str]]:
    """The status, body and headers of a refusal, after which the server ends the connection."""
    peer.send(head)
    answer = await peer.answer()
    await peer.expect_end()
    assert answer.headers["content-type"] == "application/json"
    assert "close" in answer.headers["connection"].split(", ")
    return answer.status, answer.json, answer.headers


# -- refusals --------------------------------------------------------------------------------------------------------


async def test_an_unknown_path_is_404_with_a_json_body() -> None:
    async with TestServer(echo_app()) as server, dial(server.port) as peer:
        status, body, _ = await refused(peer, upgrade_head("/nowhere?x=1"))
        assert status == 404
        assert body == {"error": "Not Found", "message": "No route found for GET /nowhere"}


async def test_another_websocket_version_is_426_and_names_13() -> None:
    async with TestServer(echo_app()) as server:
        for version in ("8", "12", "14", "13, 8", None):
            async with dial(server.port) as peer:
                status, _, headers = await refused(peer, upgrade_head(headers={"Sec-WebSocket-Version": version}))
                assert status == 426, version
                assert headers["sec-websocket-version"] == "13"
                assert headers["upgrade"] == "websocket"  # RFC 9110 §15.5.22


async def test_a_bad_key_is_400() -> None:
    fifteen, seventeen = base64.b64encode(bytes(15)).decode(), base64.b64encode(bytes(17)).decode()
    two = upgrade_head()[:-2] + f"Sec-WebSocket-Key: {KEY}\r\n\r\n".encode()
    heads = [
        upgrade_head(headers={"Sec-WebSocket-Key": key})
        for key in (None, "", "short", "x" * 24, "!" * 24, fifteen, seventeen)
    ]
    async with TestServer(echo_app()) as server:
        for head in (*heads, two):
            async with dial(server.port) as peer:
                status, body, _ = await refused(peer, head)
                assert status == 400, head
                assert "Sec-WebSocket-Key" in body["error"]


async def test_a_malformed_head_is_refused() -> None:
    heads = [
        (upgrade_head(headers={"Host": None}), 400),
        (upgrade_head(method="POST"), 400),
        (upgrade_head().replace(b"HTTP/1.1", b"HTTP/1.0"), 400),
        (upgrade_head().replace(b"HTTP/1.1", b"HTTP/3.0"), 505),
        (upgrade_head().replace(b"GET /echo", b"GET  /echo"), 400),
        (upgrade_head().replace(b"GET /echo", b"GET echo"), 400),
        (upgrade_head().replace(b"Host: ", b"Host : "), 400),
        (upgrade_head().replace(b"Host: localhost", b"Host"), 400),
        (upgrade_head().replace(b"Host: localhost", b"Host: localhost\r\n folded: yes"), 400),
        (upgrade_head().replace(b"Host: localhost", b"Host: local\x00host"), 400),
        (upgrade_head().replace(b"Host: localhost", b"Host: local\nhost"), 400),
    ]
    async with TestServer(echo_app()) as server:
        for head, status in heads:
            async with dial(server.port) as peer:
                assert (await refused(peer, head))[0] == status, head
        assert server.app.hub.count() == 0


async def test_bytes_that_are_not_http_are_refused() -> None:
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"  # a TLS client
    async with TestServer(echo_app()) as server:
        for garbage in (hello, b"HELO there\r\n\r\n", b"\r\n\r\n\r\n\r\nx\r\n\r\n", b"GET\r\n\r\n"):
            async with dial(server.port) as peer:
                peer.send(garbage)
                assert (await peer.answer()).status == 400, garbage
                await peer.expect_end()


async def test_a_head_above_the_limit_is_431() -> None:
    filler: dict[str, str | None] = {"X-Filler": "x" * 2000}
    async with TestServer(echo_app(max_header_bytes=1000)) as server:
        for head in (upgrade_head("/echo", filler), request_head("GET", "/healthz/live", filler)):
            async with dial(server.port) as peer:
                peer.send(head)
                assert (await peer.answer()).status == 431
                await peer.expect_end()
            async with dial(server.port) as peer:
                await peer.send_slowly(head[:1001], 400)
                assert (await peer.answer()).status == 431
                await peer.expect_end()


async def test_a_head_of_just_the_limit_is_taken() -> None:
    padding: dict[str, str | None] = {"X-Filler": "x" * (2000 - len(upgrade_head("/echo", {"X-Filler": ""})))}
    head = upgrade_head("/echo", padding)
    assert len(head) == 2000
    async with TestServer(echo_app(max_header_bytes=2000)) as server:
        async with dial(server.port) as peer:
            peer.send(head + mask_frame(TEXT, b"x" * 4000))  # what follows the head does not count
            await peer.switched()
            await peer.expect_text("x" * 4000)
        async with dial(server.port) as peer:
            peer.send(head.replace(b"X-Filler: ", b"X-Filler: x"))
            assert (await peer.answer()).status == 431


async def test_a_tls_client_is_told_at_once_that_there_is_no_tls() -> None:
    async with TestServer(echo_app()) as server:
        with pytest.raises(ssl.SSLError, match="WRONG_VERSION_NUMBER"):
            await soon(asyncio.open_connection("127.0.0.1", server.port, ssl=ssl.create_default_context()))
        async with dial(server.port) as peer:
            peer.send(b"\x16")
            peer.send(b"\x03\x01\x02\x00\x01")
            answer = await peer.answer()
            assert answer.status == 400 and b"no TLS on this port" in answer.body


async def test_the_431_reaches_a_client_that_is_still_sending() -> None:
    """Closing with unread bytes would reset the connection, and the reset would overtake the answer."""

    def send_all_then_read(port: int) -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as peer:
            peer.sendall(upgrade_head("/echo", {"X-Filler": "x" * 8_000_000}))
            return peer.recv(4096)

    async with TestServer(echo_app()) as server:
        answer = await asyncio.to_thread(send_all_then_read, server.port)
        assert answer.startswith(b"HTTP/1.1 431 ")


async def test_a_browsers_origin_is_the_host_or_one_allowed() -> None:
    origins = [
        ("http://localhost", "localhost", 101),
        ("https://localhost:8443", "localhost:8443", 101),
        ("http://evil.example", "localhost", 403),
        ("null", "localhost", 403),
        ("http://app.example", "localhost", 101),
        ("https://app.example", "localhost", 403),
        ("https://a.b.example", "localhost", 101),
        ("https://b.example.evil", "localhost", 403),
        ("https://evilb.example", "localhost", 403),
    ]
    async with TestServer(echo_app(allowed_origins=("http://app.example", "https://*.b.example"))) as server:
        for origin, host, status in origins:
            async with dial(server.port) as peer:
                peer.send(upgrade_head("/echo", {"Origin": origin, "Host": host}))
                assert (await peer.answer()).status == status, origin
    async with TestServer(echo_app(allowed_origins=("*",))) as server, dial(server.port) as peer:
        await peer.upgrade(headers={"Origin": "http://evil.example"})


async def test_max_connections_is_503_and_ends_when_one_leaves() -> None:
    async with TestServer(echo_app(max_connections=2)) as server:
        async with dial(server.port) as first:
            async with dial(server.port) as second:
                await first.upgrade()
                await second.upgrade()
                async with dial(server.port) as third:
                    status, _, headers = await refused(third, upgrade_head())
                    assert status == 503
                    assert int(headers["retry-after"]) > 0
            await eventually(lambda: server.app.hub.count() == 1)
            async with dial(server.port) as third:
                await third.upgrade()
                assert server.app.hub.count() == 2


async def test_max_connections_counts_those_whose_handshakes_overlap() -> None:
    app, go = echo_app(max_connections=1), asyncio.Event()

    @app.websocket("/slow")
    async def slow(message: str) -> str:
        return message

    @slow.on_handshake
    async def wait() -> None:
        await go.wait()

    async with TestServer(app) as server, dial(server.port) as first, dial(server.port) as second:
        first.send(upgrade_head("/slow"))
        second.send(upgrade_head("/slow"))
        await eventually(lambda: sum("_admit" in repr(task) for task in asyncio.all_tasks()) == 2)
        go.set()
        statuses = {(await first.answer()).status, (await second.answer()).status}
        assert statuses == {101, 503}
        assert app.hub.count() == 1


async def test_zero_max_connections_is_no_limit() -> None:
    async with TestServer(echo_app(max_connections=0)) as server, dial(server.port) as peer:
        await peer.upgrade()


async def test_a_handshake_hook_refuses() -> None:
    refusals: list[tuple[Exception, int, Any]] = [
        (Deny(403, "closed today"), 403, {"error": "closed today"}),
        (Deny(409, {"why": "später"}, {"X-Reason": "late"}), 409, {"why": "später"}),
        (Deny(503), 503, {"error": "Service Unavailable"}),
        (RequestError("BAD_TOKEN", "bad token"), 400, {"error": "bad token", "code": "BAD_TOKEN"}),
    ]
    app = App()

    @app.websocket("/echo")
    async def echo(message: str) -> str:
        return message

    @echo.on_handshake
    async def check(request: Request) -> None:
        raise refusals[int(request.query["number"])][0]

    async with TestServer(app) as server:
        for number, (_, status, body) in enumerate(refusals):
            async with dial(server.port) as peer:
                found_status, found, headers = await refused(peer, upgrade_head(f"/echo?number={number}"))
                assert (found_status, found) == (status, body)
                assert headers.get("x-reason") == ("late" if status == 409 else None)
        assert app.hub.count() == 0


async def test_a_bug_in_a_handshake_hook_is_500_with_the_id_of_the_log_line(caplog: pytest.LogCaptureFixture) -> None:
    app = App()

    async def authorize(request: Request) -> Any:
        raise KeyError("secret")

    @app.websocket("/echo", auth=authorize)
    async def echo(message: str) -> str:
        return message

    async with TestServer(app) as server, dial(server.port) as peer:
        status, body, _ = await refused(peer, upgrade_head())
        assert status == 500
        assert set(body) == {"error", "id"}
        assert "secret" not in str(body)
    [record] = [record for record in caplog.records if record.exc_info]
    assert body["id"] in record.getMessage()


async def test_authorize_gives_the_user_and_runs_before_the_handshake_hook() -> None:
    app, order = App(), []

    async def authorize(request: Request) -> str:
        order.append("authorize")
        await asyncio.sleep(0)
        return request.headers["Authorization"].removeprefix("Bearer ")

    @app.websocket("/echo", auth=authorize)
    async def echo(message: str, connection: Connection) -> str:
        return f"{connection.user}: {message}"

    @echo.on_handshake
    async def look(request: Request) -> None:
        order.append(f"handshake of {request.user}")

    async with TestServer(app) as server, dial(server.port) as peer:
        await peer.upgrade(headers={"Authorization": "Bearer alice"})
        peer.text("hi")
        await peer.expect_text("alice: hi")
    assert order == ["authorize", "handshake of alice"]
