"""By which names requests may come in: every door, both carriers, and the guard of development."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from tests.net.raw import Answer, dial, request_head, upgrade_head
from wireloom import App, Server
from wireloom.testing import TestServer

from .doors import CARRIERS, DOORS, every_door

pytestmark = pytest.mark.anyio

SOCKETS = sorted({door.path for door in DOORS.values()} | {"/nowhere/at/all"})
HTTP = [
    ("GET", "/anything"),
    ("POST", "/anything"),
    ("HEAD", "/anything"),
    ("OPTIONS", "/anything"),
    ("GET", "/direct"),
    ("POST", "/user/login"),
    ("POST", "/notify"),
    ("POST", "/walker/Say"),
    ("GET", "/docs"),
    ("GET", "/openapi.json"),
    ("GET", "/asyncapi.json"),
    ("GET", "/metrics"),
    ("GET", "/files/page.html"),
    ("GET", "/mounted/"),
]
REFUSED = {
    "error": "Misdirected Request",
    "message": "evil.example is not served here; the option allowed_hosts has to name it",
}


@pytest.fixture(params=list(CARRIERS))
def carrier(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Makes a server of every door, of files and of another application."""

    @asynccontextmanager
    async def serve(**options: Any) -> AsyncIterator[TestServer]:
        app = every_door(tmp_path, **options)
        tmp_path.joinpath("page.html").write_text("<p>", encoding="utf-8")
        app.static("/files", tmp_path)
        app.mount("/mounted", Starlette(routes=[Route("/", lambda _request: PlainTextResponse("mounted"))]))
        async with CARRIERS[request.param](app) as server:
            yield server

    return serve


async def asked(server: TestServer, host: str | None, method: str, path: str) -> Answer:
    """The answer to a request that names a host."""
    async with dial(server.port) as peer:
        peer.send(request_head(method, path, {"Host": host, "Content-Length": "0"}))
        return await peer.answer(has_body=method != "HEAD")


async def opened(server: TestServer, host: str | None, path: str, **headers: str) -> Answer:
    """The answer to an upgrade that names a host."""
    async with dial(server.port) as peer:
        peer.send(upgrade_head(path, {"Host": host, **headers}))
        return await peer.answer(has_body=False) if host == "ours.example" else await peer.answer()


@pytest.mark.parametrize("path", SOCKETS)
async def test_a_websocket_by_another_name_is_refused(carrier: Any, path: str) -> None:
    async with carrier(allowed_hosts=["ours.example"]) as server:
        assert (await opened(server, "ours.example", path)).status in (101, 404)
        # a page whose name was bound to our address has an Origin that equals its Host
        answer = await opened(server, "evil.example", path, Origin="http://evil.example")
        assert (answer.status, answer.json) == (421, REFUSED)
        assert server.app.hub.counts.refused[421] == 1


@pytest.mark.parametrize(("method", "path"), HTTP)
async def test_a_request_by_another_name_is_refused(carrier: Any, method: str, path: str) -> None:
    async with carrier(allowed_hosts=["ours.example"]) as server:
        assert (await asked(server, "ours.example:8000", method, path)).status != 421
        answer = await asked(server, "evil.example", method, path)
        assert answer.status == 421
        if method != "HEAD":
            assert answer.json == REFUSED


async def test_later_requests_of_a_connection_are_judged_too(carrier: Any) -> None:
    async with carrier(allowed_hosts=["ours.example"]) as server, dial(server.port) as peer:
        for host, status in (("ours.example", 200), ("evil.example", 421), ("ours.example", 200)):
            peer.send(request_head("GET", "/docs", {"Host": host}))
            assert (await peer.answer()).status == status
        peer.send(upgrade_head("/text", {"Host": "evil.example"}))
        assert (await peer.answer()).status == 421


async def test_a_later_upgrade_by_a_name_of_ours_is_taken(carrier: Any) -> None:
    async with carrier(allowed_hosts=["ours.example"]) as server, dial(server.port) as peer:
        peer.send(request_head("GET", "/docs", {"Host": "evil.example"}))
        assert (await peer.answer()).status == 421
        peer.send(upgrade_head("/text", {"Host": "ours.example"}))
        await peer.switched()


async def test_balancers_ask_for_health_by_any_name(carrier: Any) -> None:
    async with carrier(allowed_hosts=["ours.example"]) as server:
        for path in ("/healthz/live", "/healthz/ready"):
            for host in ("10.1.2.3:8000", "evil.example", "not a name"):
                assert (await asked(server, host, "GET", path)).status == 200
        assert (await asked(server, "10.1.2.3", "GET", "/healthz/live/")).status == 421


async def test_no_list_lets_any_name_in(carrier: Any) -> None:
    async with carrier() as server:
        assert (await asked(server, "evil.example", "GET", "/docs")).status == 200
        assert (await asked(server, "not a name", "GET", "/docs")).status == 200
        assert (await opened(server, "ours.example", "/text", Origin="http://ours.example")).status == 101


async def test_a_request_without_a_host_is_what_it_was(carrier: Any) -> None:
    async with carrier(allowed_hosts=["ours.example"]) as server, dial(server.port) as peer:
        peer.send(b"GET /docs HTTP/1.0\r\n\r\n")
        assert (await peer.answer()).status == 200


async def test_a_host_that_cannot_be_read_is_not_one_of_ours(carrier: Any) -> None:
    async with carrier(allowed_hosts=["*.ours.example"]) as server:
        assert (await asked(server, "a!b.ours.example", "GET", "/docs")).status == 421
        assert (await asked(server, "a.ours.example", "GET", "/docs")).status == 200


# -- the guard of development ------------------------------------------------------------------------------------------


@asynccontextmanager
async def development(host: str = "127.0.0.1", **options: Any) -> AsyncIterator[Server]:
    """A server of our own on an address."""
    app = App(**options)

    @app.websocket("/text")
    async def text(message: str) -> str:
        return message

    server = Server(app)
    await server.start(host=host)
    try:
        yield server
    finally:
        await server.stop()


async def statuses(server: Server, host: str) -> tuple[int, int]:
    """How a page and a WebSocket are answered that are asked for by a name."""
    found = []
    for head in (request_head("GET", "/docs", {"Host": host}), upgrade_head("/text", {"Host": host})):
        async with dial(server.port) as peer:
            peer.send(head)
            found.append((await peer.answer(has_body=False)).status)
    return found[0], found[1]


@pytest.mark.parametrize("mode", ["dev", "reload"])
@pytest.mark.parametrize("address", ["127.0.0.1", "localhost"])
async def test_in_development_on_loopback_only_what_cannot_be_rebound_is_let_in(mode: str, address: str) -> None:
    async with development(address, **{mode: True}) as server:
        for host in ("localhost:8000", "chat.localhost:8000", "127.0.0.1", "192.168.1.5:8000", "[::1]:8000"):
            assert await statuses(server, host) == (200, 101)
        for host in ("evil.example", "localhost.evil.example", "127.0.0.1.evil.example"):
            assert await statuses(server, host) == (421, 421)


@pytest.mark.parametrize(
    ("address", "options"),
    [
        ("127.0.0.1", {"dev": True, "allowed_hosts": ["*"]}),
        ("127.0.0.1", {"dev": True, "allowed_hosts": ["evil.example"]}),
        ("0.0.0.0", {"dev": True}),
        ("127.0.0.1", {}),
    ],
)
async def test_a_list_another_address_and_production_are_without_the_guard(address: str, options: Any) -> None:
    async with development(address, **options) as server:
        assert await statuses(server, "evil.example") == (200, 101)
