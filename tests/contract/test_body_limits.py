"""The limit of bodies, at the edge and one past it, on every door of HTTP, however the body comes."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.net.raw import dial, request_head
from wireloom import App, CallbackHandler, CallbackRequest, Root, Walker, entry, spec
from wireloom.testing import TestServer

from .doors import CARRIERS

pytestmark = pytest.mark.anyio

LIMIT = 700
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
    body: Callable[[int], bytes] = lambda size: b'{"text":"x"}'.ljust(size)


def form(size: int) -> bytes:
    """A form of one field."""
    begin, end = b'--b\r\nContent-Disposition: form-data; name="text"\r\n\r\n', b"\r\n--b--\r\n"
    return begin + b"x" * (size - len(begin) - len(end)) + end


def notice(size: int) -> bytes:
    return b'{"channels":["a"],"data":1}'.ljust(size)


def newcomer(size: int) -> bytes:
    return json.dumps({"username": "bob", "password": PASSWORD}).encode().ljust(size)


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
        lambda size: ROUTE.replace("/route", "/r").encode().ljust(size, b"\n"),
    ),
}
every = pytest.mark.parametrize("door", DOORS.values(), ids=list(DOORS))


@pytest.fixture(params=list(CARRIERS))
def carrier(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Serves all of them with some options."""

    @asynccontextmanager
    async def site(**options: Any) -> AsyncIterator[Site]:
        tmp_path.joinpath("route.yaml").write_text(ROUTE, encoding="utf-8")
        app = App([Say, Hook, CallbackHandler(callback)], database="sqlite://", dynamic_routes=True, **options)
        app.add_routes(tmp_path / "route.yaml")
        app.events()
        async with CARRIERS[request.param](app) as server:
            assert app.identity is not None
            admin = await app.identity.issue_token(await app.identity.add_user({"username": "root"}, PASSWORD, "admin"))
            yield Site(server, admin.token, await app.identity.create_api_key(admin.user, "ci"))

    return site


async def pieces(body: bytes) -> AsyncIterator[bytes]:
    """A body that does not say how long it is."""
    for start in range(0, len(body), 100):
        yield body[start : start + 100]


async def post(site: Site, door: Door, body: bytes, *, chunked: bool) -> httpx.Response:
    """The answer to a body."""
    content = pieces(body) if chunked else body
    return await site.server.http.post(door.path, content=content, headers=site.headers(door, body))


@every
@pytest.mark.parametrize("chunked", [False, True], ids=["with its length", "chunked"])
async def test_a_body_may_be_as_large_as_the_limit_and_no_larger(carrier: Any, door: Door, chunked: bool) -> None:
    async with carrier(max_body_bytes=LIMIT) as site:
        answer = await post(site, door, door.body(LIMIT + 1), chunked=chunked)
        assert answer.status_code == 413, answer.text
        answer = await post(site, door, door.body(LIMIT), chunked=chunked)
        assert answer.status_code == door.status, answer.text


@every
async def test_the_default_is_one_mebibyte(carrier: Any, door: Door) -> None:
    async with carrier() as site:
        assert (await post(site, door, door.body(2**20 + 1), chunked=True)).status_code == 413
        assert (await post(site, door, door.body(2**20), chunked=True)).status_code == door.status


@every
async def test_zero_is_no_limit(carrier: Any, door: Door) -> None:
    async with carrier(max_body_bytes=0) as site:
        if door.kind == "application/yaml":  # a file of routes has a bound of its own, by characters
            assert "characters" in (await post(site, door, door.body(2**20 + 1), chunked=False)).text
            return
        assert (await post(site, door, door.body(2**20 + 1), chunked=False)).status_code == door.status


@every
async def test_a_size_that_is_announced_is_refused_before_the_body_comes(carrier: Any, door: Door) -> None:
    async with carrier(max_body_bytes=LIMIT) as site, dial(site.server.port) as peer:
        size = {"Content-Length": str(LIMIT + 1), "Expect": "100-continue"}
        peer.send(request_head("POST", door.path, {**site.headers(door, b""), **size}))
        assert (await peer.answer()).status == 413  # and not 100 before it


@every
async def test_a_body_without_end_is_refused_while_it_comes(carrier: Any, door: Door) -> None:
    async with carrier(max_body_bytes=LIMIT) as site, dial(site.server.port) as peer:
        peer.send(request_head("POST", door.path, {**site.headers(door, b""), "Transfer-Encoding": "chunked"}))
        for _ in range(8):
            peer.send(b"64\r\n" + b" " * 100 + b"\r\n")
        assert (await peer.answer()).status == 413  # though there is no end of it


@every
async def test_a_body_that_does_not_come_is_answered_with_408(carrier: Any, door: Door) -> None:
    async with carrier(body_timeout_seconds=0.05) as site, dial(site.server.port) as peer:
        peer.send(request_head("POST", door.path, {**site.headers(door, b""), "Content-Length": "10"}) + b"{")
        assert (await peer.answer()).status == 408


@pytest.mark.parametrize("own", [10, 10_000])
async def test_a_walker_has_a_size_of_its_own_whatever_the_option_says(carrier: Any, own: int) -> None:
    @spec(public=True, max_message_bytes=own)
    class Own(Walker):
        @entry(Root)
        async def say(self, here: Root) -> None:
            self.report(1)

    async with carrier(max_body_bytes=LIMIT) as site:
        site.server.app.add(Own)
        site.server.app._http.replace(site.server.app._http, site.server.app._doors.rest, site.server.app._routes())
        door = Door("/walker/Own", 200, body=lambda size: b"{}".ljust(size))
        assert (await post(site, door, door.body(own), chunked=True)).status_code == 200
        assert (await post(site, door, door.body(own + 1), chunked=True)).status_code == 413
