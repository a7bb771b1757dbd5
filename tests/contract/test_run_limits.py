"""What one run may use: operations and time of hooks of routes, time of walkers, on every door that runs them."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from wireloom import App, CallbackHandler, CallbackRequest, Root, Walker, entry, spec
from wireloom.faces.routes import fuel
from wireloom.testing import TestServer

from .doors import CARRIERS
from .sharing import BACKEND, sharing

pytestmark = pytest.mark.anyio

OPERATIONS = 20
SECONDS = 30.0
RUN = """
      - Try:
          operations:
            - If: {condition: "%(url)s", then: [{HttpRequest: {url: "{{ %(url)s }}", output: answer}}]}
            - Loop:
                collection: "{{ %(items)s | split('') }}"
                body: [{SetVar: {name: seen, value: "{{ item }}"}}]
          catch: [{Return: {value: "{{ error.code }}"}}]
      - Return: {value: done}
"""
BY_QUERY = RUN % {"items": "query.items", "url": "query.url"}
SOCKET = f"""\
name: Socket
path: /socket
ws_hooks:
  on_connect:
{BY_QUERY}
  on_message:
{RUN % {"items": "message | split(' ') | first", "url": "message | split(' ') | last"}}
"""
HTTP = f"""\
name: Http
path: /http
route_type: Http
method: GET
logic:
{BY_QUERY}
"""


@pytest.fixture(scope="module")
def anyio_backend() -> Any:
    """The event loop of this module's servers."""
    return BACKEND


# -- hooks of routes ---------------------------------------------------------------------------------------------------


class Time:
    """What the fuel of hooks takes for the module `time`."""

    now = 1000.0

    def monotonic(self) -> float:
        """Seconds."""
        return self.now


def pass_time(req: CallbackRequest) -> Any:
    """So many seconds are over."""
    if req.type == "http":
        Time.now += float(req.query["seconds"])
    return {"body": ""} if req.type == "http" else None


@pytest.fixture(scope="module", params=list(CARRIERS))
async def routes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Any]:
    """Serves both routes, and a place that they ask, with some options."""
    folder = tmp_path_factory.mktemp("routes")
    for name, text in (("socket", SOCKET), ("http", HTTP)):
        folder.joinpath(f"{name}.yaml").write_text(text, encoding="utf-8")

    def serve(**options: Any) -> TestServer:
        app = App([CallbackHandler(pass_time)], database="sqlite://", routes_database="sqlite://", **options)
        app.add_routes(folder)
        return CARRIERS[request.param](app)

    async with sharing(lambda **options: serve(routes_http_hosts=("127.0.0.1",), **options)) as get:
        yield get


async def run(server: TestServer, hook: str, items: int, seconds: float | None = None) -> str:
    """What a hook tells that goes through a loop of some items, after some seconds."""
    url = "" if seconds is None else f"{server.url}/pass?seconds={seconds}"
    query = f"items={'x' * items}&url={url.replace('?', '%3F').replace('=', '%3D')}"
    if hook == "HTTP":
        return str((await server.http.get(f"/http?{query}")).json())
    async with server.websocket("/socket?items=x&url=" if hook == "on_message" else f"/socket?{query}") as ws:
        told = await ws.receive_text()
        if hook == "on_message":
            assert told == "done"
            await ws.send_text("x" * items + " " + url)
            told = await ws.receive_text()
        return told


hooks = pytest.mark.parametrize("hook", ["on_connect", "on_message", "HTTP"])


@hooks
async def test_a_run_may_take_so_many_operations_and_no_more(routes: Any, hook: str) -> None:
    server = await routes(routes_max_operations=OPERATIONS)
    for _ in range(2):  # every run has all of them; an item is a turn and what is done in it
        assert await run(server, hook, OPERATIONS // 2) == "done"
    assert await run(server, hook, OPERATIONS // 2 + 1) == "OUT_OF_OPERATIONS"
    server = await routes(routes_max_operations=OPERATIONS - 1)
    assert await run(server, hook, OPERATIONS // 2) == "OUT_OF_OPERATIONS"


@hooks
async def test_the_default_is_10_000_operations(routes: Any, hook: str) -> None:
    server = await routes()
    assert await run(server, hook, 5000) == "done"
    assert await run(server, hook, 5001) == "OUT_OF_OPERATIONS"


@hooks
async def test_a_run_may_last_so_long_and_no_longer(routes: Any, hook: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuel, "time", Time())
    server = await routes(routes_max_seconds=SECONDS)
    assert await run(server, hook, 1, SECONDS) == "done"
    assert await run(server, hook, 1, SECONDS + 0.25) == "OUT_OF_TIME"


# -- walkers -----------------------------------------------------------------------------------------------------------


class Gate:
    """Where the walkers of the test that runs wait."""

    opened: asyncio.Event


class Waits(Walker):
    """Waits; each door has one of little time and one of much."""

    @entry(Root)
    async def wait(self, here: Root) -> None:
        await Gate.opened.wait()
        self.report("done")


SHORT, LONG = 0.05, 60.0


@spec(methods=["post", "websocket"], public=True, timeout_seconds=SHORT)
class Short(Waits): ...


@spec(methods=["post", "websocket"], public=True, timeout_seconds=LONG)
class Long(Waits): ...


@spec(protocol="websocket", public=True, timeout_seconds=SHORT)
class ShortSocket(Waits): ...


@spec(protocol="websocket", public=True, timeout_seconds=LONG)
class LongSocket(Waits): ...


@spec(protocol="webhook", timeout_seconds=SHORT)
class ShortHook(Waits): ...


@spec(protocol="webhook", timeout_seconds=LONG)
class LongHook(Waits): ...


@pytest.fixture(scope="module", params=list(CARRIERS))
async def walkers(request: pytest.FixtureRequest) -> AsyncIterator[TestServer]:
    """Serves them."""
    app = App([Short, Long, ShortSocket, LongSocket, ShortHook, LongHook], database="sqlite://")
    app.events()
    async with CARRIERS[request.param](app) as server:
        yield server


async def ask(server: TestServer, door: str, length: str) -> Any:
    """The answer to a walker by a door."""
    if door == "REST":
        return (await server.http.post(f"/walker/{length}", json={})).json()
    if door == "webhook":
        return (await server.http.post(f"/webhook/{length}Hook", content=b"{}", headers=await proof(server))).json()
    async with server.websocket("/websocket" if door == "event socket" else f"/ws/{length}Socket") as ws:
        if door == "event socket":
            await ws.receive_json()
        await ws.send_json({"type": "walker", "walker": length, "response": True} if door == "event socket" else {})
        return await ws.receive_json()


async def proof(server: TestServer) -> dict[str, str]:
    """Headers of a webhook."""
    identity = server.app.identity
    assert identity is not None
    user = (await identity.register({"username": f"hook{time.monotonic_ns()}"}, "correct horse")).user
    key = await identity.create_api_key(user, "ci")
    at = str(int(time.time()))
    signed = hmac.new(key.key.signing_secret.encode(), f"{at}.{{}}".encode(), hashlib.sha256)
    return {
        "X-API-Key": key.api_key,
        "X-Webhook-Timestamp": at,
        "X-Webhook-Signature": f"sha256={signed.hexdigest()}",
    }


@pytest.mark.parametrize("door", ["websocket", "REST", "webhook", "event socket"])
async def test_a_walker_may_take_its_time_and_no_more(walkers: TestServer, door: str) -> None:
    Gate.opened = asyncio.Event()
    assert "RUN_TIMEOUT" in json.dumps(await ask(walkers, door, "Short"))
    asyncio.get_running_loop().call_later(0.1, Gate.opened.set)  # later than the other's time
    answer = json.dumps(await ask(walkers, door, "Long"))
    assert "RUN_TIMEOUT" not in answer
    assert '"done"' in answer
