"""One path for WebSockets and for HTTP: each asks by its own door."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from wireloom import App, CallbackHandler, CallbackRequest
from wireloom.testing import TestServer

pytestmark = pytest.mark.anyio

ROUTES = """\
- {name: chat, path: /chat, method: [GET, PUT], logic: [{Return: {value: read}}]}
- {name: say, path: /chat, method: POST, logic: [{Return: {value: said}}]}
- {name: asked, path: /asked, method: OPTIONS, logic: [{Return: {value: asked}}]}
- {name: item, path: "/items/:id", method: GET, logic: [{Return: {value: item}}]}
- {name: any, path: "/any/:what", method: GET, logic: [{Return: {value: any}}]}
"""


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[TestServer]:
    tmp_path.joinpath("routes.yaml").write_text(ROUTES, encoding="utf-8")
    app = App([CallbackHandler(callback)], routes_database="sqlite://")
    for path in ("/chat", "/asked", "/items/{id}", "/any/other", "/alone"):
        app.websocket(path)(echo())
    app.add_routes(tmp_path)
    async with TestServer(app) as running:
        yield running


def echo() -> Callable[[str], Any]:
    async def answer(message: str) -> str:
        return message

    return answer


def callback(req: CallbackRequest) -> Any:
    return {"body": "callback"}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/chat", b'"read"'),
        ("PUT", "/chat", b'"read"'),
        ("POST", "/chat", b'"said"'),
        ("HEAD", "/chat", b""),
        ("GET", "/chat?x=1", b'"read"'),
        ("OPTIONS", "/asked", b'"asked"'),
        ("GET", "/items/7", b'"item"'),
        ("GET", "/any/other", b'"any"'),
        ("HEAD", "/any/other", b""),
    ],
)
async def test_what_http_has_there_is_answered(server: TestServer, method: str, path: str, body: bytes) -> None:
    answer = await server.http.request(method, path)
    assert (answer.status_code, answer.content) == (200, body)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/chat"),
        ("OPTIONS", "/chat"),
        ("GET", "/asked"),
        ("HEAD", "/asked"),
        ("POST", "/items/7"),
        ("POST", "/any/other"),
        ("GET", "/alone"),
        ("POST", "/alone"),
    ],
)
async def test_what_it_has_not_is_426(server: TestServer, method: str, path: str) -> None:
    answer = await server.http.request(method, path)
    assert (answer.status_code, answer.headers["upgrade"]) == (426, "websocket")


@pytest.mark.parametrize("path", ["/chat", "/asked", "/items/7", "/any/other", "/alone"])
async def test_websockets_open_there_as_ever(server: TestServer, path: str) -> None:
    async with server.websocket(path) as ws:
        await ws.send_text("x")
        assert await ws.receive_text() == "x"


async def test_a_method_that_only_another_path_of_http_lacks_is_405(server: TestServer) -> None:
    answer = await server.http.post("/any/thing")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")


@pytest.fixture
async def mounted(tmp_path: Path) -> AsyncIterator[TestServer]:
    """A page at ``/``, where a WebSocket is, too."""
    tmp_path.joinpath("index.html").write_text("<p>page</p>", encoding="utf-8")
    app = App([CallbackHandler(callback)])
    for path in ("/", "/alone"):
        app.websocket(path)(echo())
    app.static("/", tmp_path)
    async with TestServer(app) as running:
        yield running


async def test_a_page_is_answered_at_the_path_of_its_websocket(mounted: TestServer) -> None:
    answer = await mounted.http.get("/")
    assert (answer.status_code, answer.text) == (200, "<p>page</p>")
    head = await mounted.http.head("/")
    assert (head.status_code, head.content) == (200, b"")
    async with mounted.websocket("/") as ws:
        await ws.send_text("hello")
        assert await ws.receive_text() == "hello"


@pytest.mark.parametrize(("method", "path"), [("GET", "/alone"), ("POST", "/alone"), ("POST", "/")])
async def test_what_no_page_answers_is_426(mounted: TestServer, method: str, path: str) -> None:
    answer = await mounted.http.request(method, path)
    assert (answer.status_code, answer.headers["upgrade"]) == (426, "websocket")
