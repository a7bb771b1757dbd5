"""Pages of other origins over HTTP: who may open a WebSocket may read the server's own answers, and nobody else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import PlainTextResponse

from wireloom import App, CallbackHandler, CallbackRequest, Request
from wireloom.testing import TestServer

pytestmark = pytest.mark.anyio

PAGE = "http://localhost:5173"
ROUTES = '- {name: item, path: "/items/:id", method: [GET, PUT], logic: [{Return: {value: item}}]}\n'
OWN = [
    ("POST", "/user/login"),
    ("GET", "/user/me"),
    ("POST", "/notify"),
    ("GET", "/items/7"),
    ("PUT", "/items/7"),
    ("GET", "/openapi.json"),
    ("GET", "/healthz/live"),
]


def application(folder: Path, **options: Any) -> App:
    folder.joinpath("routes.yaml").write_text(ROUTES, encoding="utf-8")
    app = App([CallbackHandler(callback)], database="sqlite://", routes_database="sqlite://", **options)
    app.events()
    app.add_routes(folder)
    app.mount("/mounted", PlainTextResponse("of another framework"))
    app.static("/files", folder)

    @app.websocket("/private", auth=let_in)
    async def private(message: str) -> str:
        return message

    return app


def callback(req: CallbackRequest) -> Any:
    return {"body": "callback"}


async def let_in(request: Request) -> None: ...


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[TestServer]:
    origins = (PAGE, "https://*.example.com")
    async with TestServer(application(tmp_path, allowed_origins=origins)) as running:
        yield running


def said(answer: Any) -> dict[str, str]:
    """What an answer says to browsers."""
    return {name: value for name, value in answer.headers.items() if name.startswith("access-control-")}


async def preflight(server: TestServer, path: str, method: str, origin: str = PAGE) -> Any:
    """A browser asks before it sends a token or JSON."""
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    return await server.http.options(path, headers=asked)


@pytest.mark.parametrize(("method", "path"), OWN)
async def test_a_page_of_an_allowed_origin_may_ask_and_read(server: TestServer, method: str, path: str) -> None:
    allowed = await preflight(server, path, method)
    assert allowed.status_code == 200
    told = said(allowed)
    assert told["access-control-allow-origin"] == PAGE
    assert method in told["access-control-allow-methods"].split(", ")
    assert told["access-control-allow-headers"] == "authorization,content-type"
    answer = await server.http.request(method, path, headers={"Origin": PAGE})
    assert answer.status_code < 500
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert "Origin" in answer.headers["vary"]
    for each in (allowed, answer):
        assert "access-control-allow-credentials" not in each.headers


async def test_a_refusal_can_be_read_too(server: TestServer) -> None:
    answer = await server.http.get("/user/me", headers={"Origin": "https://shop.example.com"})
    assert answer.status_code == 401
    assert answer.headers["access-control-allow-origin"] == "https://shop.example.com"
    wrong = await server.http.delete("/items/7", headers={"Origin": PAGE})
    assert (wrong.status_code, wrong.headers["access-control-allow-origin"]) == (405, PAGE)


@pytest.mark.parametrize("origin", ["http://localhost:5174", "https://example.com", "https://evil.example", "null"])
async def test_a_page_of_another_origin_may_not(server: TestServer, origin: str) -> None:
    for method, path in OWN:
        assert said(await server.http.request(method, path, headers={"Origin": origin})) == {}
        assert said(await preflight(server, path, method, origin)) == {}


async def test_two_origins_are_none(server: TestServer) -> None:
    headers = [("Origin", PAGE), ("Origin", PAGE)]
    assert said(await server.http.get("/items/7", headers=headers)) == {}


@pytest.mark.parametrize("path", ["/mounted/", "/files/routes.yaml", "/anything/else", "/metrics", "/private"])
async def test_what_is_not_ours_has_its_own_policy_and_metrics_are_no_pages(server: TestServer, path: str) -> None:
    assert said(await server.http.get(path, headers={"Origin": PAGE})) == {}
    assert said(await preflight(server, path, "GET")) == {}


@pytest.mark.parametrize("options", [{}, {"allowed_origins": ("*",)}])
async def test_nobody_may_unless_origins_are_allowed(tmp_path: Path, options: dict[str, Any]) -> None:
    async with TestServer(application(tmp_path, **options)) as server:
        answer = await server.http.get("/items/7", headers={"Origin": "https://any.example"})
        assert answer.json() == "item"
        expected = {"access-control-allow-origin": "https://any.example"} if options else {}
        assert expected.items() <= said(answer).items() and bool(said(answer)) == bool(options)


async def test_what_asks_without_an_origin_is_answered_as_ever(server: TestServer) -> None:
    answer = await server.http.get("/items/7")
    assert (answer.json(), said(answer)) == ("item", {})
    assert (await server.http.options("/items/7")).status_code == 405


async def test_the_host_is_judged_as_ever(tmp_path: Path) -> None:
    app = application(tmp_path, allowed_origins=(PAGE,), allowed_hosts=("chat.example",))
    async with TestServer(app) as server:
        refused = await server.http.get("/items/7", headers={"Origin": PAGE})
        assert refused.status_code == 421
