"""The limit of bodies, at the edge and one past it, on every door of HTTP, however the body comes."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.net.raw import dial, request_head
from wireloom import App, CallbackHandler, CallbackRequest, Root, Walker, entry, spec
from wireloom.testing import TestServer

from .doors import CARRIERS

pytestmark = pytest.mark.anyio

LIMIT = 700
_numbers = itertools.count()
PASSWORD = "correct horse"
ROUTE = """\
name: Said
path: /route
route_type: Http
method: POST
logic:
  - Return: {value: said}
"""


@spec(public=True)
class Say(Walker):
    """By REST."""

    text: str = ""

    @entry(Root)
    async def say(self, here: Root) -> None:
        self.report(len(self.text))


@spec(public=True, max_message_bytes=10)
class Small(Walker):
    """Has a size of its own."""

    @entry(Root)
    async def say(self, here: Root) -> None:
        self.report(1)


@spec(public=True, max_message_bytes=10_000)
class Large(Walker):
    """Has a size of its own."""

    @entry(Root)
    async def say(self, here: Root) -> None:
        self.report(1)


@spec(protocol="webhook")
class Hook(Walker):
    """By webhook."""

    text: str = ""

    @entry(Root)
    async def say(self, here: Root) -> None:
        self.report(len(self.text))


def callback(req: CallbackRequest) -> Any:
    """All else."""
    return {"body": str(len(req.body))}


class Site:
    """A server of every door of HTTP, with an administrator."""

    def __init__(self, server: TestServer, token: str, key: Any) -> None:
        self.server = server
        self.token = token
        self.key = key

    def headers(self, door: Door, body: bytes) -> dict[str, str]:
        """What proves who one is."""
        at = str(int(time.time()))
        signed = hmac.new(self.key.key.signing_secret.encode(), f"{at}.".encode() + body, hashlib.sha256)
        return {
            "Content-Type": door.kind,
            "Authorization": f"Bearer {self.token}",
            "X-API-Key": self.key.api_key,
            "X-Webhook-Timestamp": at,
            "X-Webhook-Signature": f"sha256={signed.hexdigest()}",
        }


@dataclass(frozen=True)
class Door:
    """Where bodies go in.

    Args:
        path: of the request.
        status: of the answer to a body within the limit.
        kind: its media type.
        body: that is fine and has so many bytes.
    """

    path: str
    status: int
    kind: str = "application/json"
    body: Callable[[int], bytes] = lambda size: (b'{"text":"%d"}' % next(_numbers)).ljust(size)


def form(size: int) -> bytes:
    """A form of one field."""
    begin, end = b'--b\r\nContent-Disposition: form-data; name="text"\r\n\r\n', b"\r\n--b--\r\n"
    return begin + b"x" * (size - len(begin) - len(end)) + end


def notice(size: int) -> bytes:
    return b'{"channels":["a"],"data":1}'.ljust(size)


def newcomer(size: int) -> bytes:
    return json.dumps({"username": f"bob{next(_numbers)}", "password": PASSWORD}).encode().ljust(size)


DOORS = {
    "walker": Door("/walker/Say", 200),
    "walker by form": Door("/walker/Say", 200, "multipart/form-data; boundary=b", form),
    "webhook": Door("/webhook/Hook", 200),
    "route": Door("/route", 200),
    "callback": Door("/anything", 200, "application/octet-stream", bytes),
    "users": Door("/user/register", 201, body=newcomer),
    "publishing": Door("/notify", 202, body=notice),
    "register of routes": Door(
        "/api/v1/dynamic-routes/register",
        201,
        "application/yaml",
        lambda size: ROUTE.replace("/route", f"/r{next(_numbers)}").encode().ljust(size, b"\n"),
    ),
}
every = pytest.mark.parametrize("door", DOORS.values(), ids=list(DOORS))


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """The event loop of this module's servers."""
    return "asyncio", {"use_uvloop": sys.platform != "win32"}


@pytest.fixture(scope="module", params=list(CARRIERS))
async def carrier(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Any]:
    """Serves all of them with some options; tests with the same options share a server."""
    folder = tmp_path_factory.mktemp("routes")
    folder.joinpath("route.yaml").write_text(ROUTE, encoding="utf-8")
    sites: dict[str, Site] = {}

    async def start(options: dict[str, Any]) -> Site:
        options = {"database": "sqlite://", "dynamic_routes": True, "registrations_per_minute": 0, **options}
        app = App([Say, Small, Large, Hook, CallbackHandler(callback)], **options)
        app.add_routes(folder / "route.yaml")
        app.events()
        server = await stack.enter_async_context(CARRIERS[request.param](app))
        assert app.identity is not None
        admin = await app.identity.issue_token(await app.identity.add_user({"username": "root"}, PASSWORD, "admin"))
        return Site(server, admin.token, await app.identity.create_api_key(admin.user, "ci"))

    async def site(**options: Any) -> Site:
        if str(options) not in sites:
            sites[str(options)] = await start(options)
        return sites[str(options)]

    async with AsyncExitStack() as stack:
        yield site


async def pieces(body: bytes) -> AsyncIterator[bytes]:
    """A body that does not say how long it is."""
    size = max(100, len(body) // 50)
    for start in range(0, len(body), size):
        yield body[start : start + size]


async def post(site: Site, door: Door, body: bytes, *, chunked: bool) -> httpx.Response:
    """The answer to a body."""
    content = pieces(body) if chunked else body
    return await site.server.http.post(door.path, content=content, headers=site.headers(door, body))


@every
@pytest.mark.parametrize("chunked", [False, True], ids=["with its length", "chunked"])
async def test_a_body_may_be_as_large_as_the_limit_and_no_larger(carrier: Any, door: Door, chunked: bool) -> None:
    site = await carrier(max_body_bytes=LIMIT)
    answer = await post(site, door, door.body(LIMIT + 1), chunked=chunked)
    assert answer.status_code == 413, answer.text
    answer = await post(site, door, door.body(LIMIT), chunked=chunked)
    assert answer.status_code == door.status, answer.text


@every
async def test_the_default_is_one_mebibyte(carrier: Any, door: Door) -> None:
    site = await carrier()
    assert (await post(site, door, door.body(2**20 + 1), chunked=True)).status_code == 413
    assert (await post(site, door, door.body(2**20), chunked=True)).status_code == door.status


@every
async def test_zero_is_no_limit(carrier: Any, door: Door) -> None:
    site = await carrier(max_body_bytes=0)
    if door.kind == "application/yaml":  # a file of routes has a bound of its own, by characters
        assert "characters" in (await post(site, door, door.body(2**20 + 1), chunked=False)).text
        return
    assert (await post(site, door, door.body(2**20 + 1), chunked=False)).status_code == door.status


@every
async def test_a_size_that_is_announced_is_refused_before_the_body_comes(carrier: Any, door: Door) -> None:
    site = await carrier(max_body_bytes=LIMIT)
    async with dial(site.server.port) as peer:
        size = {"Content-Length": str(LIMIT + 1), "Expect": "100-continue"}
        peer.send(request_head("POST", door.path, {**site.headers(door, b""), **size}))
        assert (await peer.answer()).status == 413  # and not 100 before it


@every
async def test_a_body_without_end_is_refused_while_it_comes(carrier: Any, door: Door) -> None:
    site = await carrier(max_body_bytes=LIMIT)
    async with dial(site.server.port) as peer:
        peer.send(request_head("POST", door.path, {**site.headers(door, b""), "Transfer-Encoding": "chunked"}))
        for _ in range(8):
            peer.send(b"64\r\n" + b" " * 100 + b"\r\n")
        assert (await peer.answer()).status == 413  # though there is no end of it


@every
async def test_a_body_that_does_not_come_is_answered_with_408(carrier: Any, door: Door) -> None:
    site = await carrier(body_timeout_seconds=0.05)
    async with dial(site.server.port) as peer:
        peer.send(request_head("POST", door.path, {**site.headers(door, b""), "Content-Length": "10"}) + b"{")
        assert (await peer.answer()).status == 408


@every
async def test_no_limit_of_its_time_is_time_enough(carrier: Any, door: Door) -> None:
    site = await carrier(body_timeout_seconds=0)
    body = door.body(LIMIT)
    async with dial(site.server.port) as peer:
        size = {"Content-Length": str(LIMIT), "Expect": "100-continue"}
        peer.send(request_head("POST", door.path, {**site.headers(door, body), **size}))
        assert (await peer.answer()).status == 100  # it is waited for
        peer.send(body)
        assert (await peer.answer()).status == door.status


@pytest.mark.parametrize(("walker", "own"), [("Small", 10), ("Large", 10_000)])
async def test_a_walker_has_a_size_of_its_own_whatever_the_option_says(carrier: Any, walker: str, own: int) -> None:
    site = await carrier(max_body_bytes=LIMIT)
    door = Door(f"/walker/{walker}", 200, body=lambda size: b"{}".ljust(size))
    assert (await post(site, door, door.body(own), chunked=True)).status_code == 200
    assert (await post(site, door, door.body(own + 1), chunked=True)).status_code == 413
