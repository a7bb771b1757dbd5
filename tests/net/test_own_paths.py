"""The server's own paths: no template of the application hides them."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, Router

from wireloom import App
from wireloom.testing import TestServer

pytestmark = pytest.mark.anyio

ROUTES = """\
- {name: three, path: "/:a/:b/:c", method: [GET, DELETE], logic: [{Return: {value: three}}]}
- {name: two, path: "/:a/:b", method: [GET, DELETE], logic: [{Return: {value: two}}]}
"""


async def test_templates_of_the_application_hide_none_of_the_server_s_own(tmp_path: Path) -> None:
    (tmp_path / "routes.yaml").write_text(ROUTES)
    app = App(database="sqlite://", dynamic_routes=True)
    app.add_routes(tmp_path)
    app.events()
    async with TestServer(app) as server:
        for path in ("/api-key/x", "/api/v1/dynamic-routes/x"):
            assert (await server.http.delete(path)).status_code == 401, path
        assert (await server.http.get("/a/b")).json() == "two"
        assert (await server.http.get("/a/b/c")).json() == "three"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/docs", "GET, HEAD"),
        ("DELETE", "/openapi.json", "GET, HEAD"),
        ("PUT", "/asyncapi.json", "GET, HEAD"),
        ("OPTIONS", "/metrics", "GET, HEAD"),
        ("PUT", "/api/v1/dynamic-routes/register", "DELETE, GET, HEAD, POST"),
        ("PATCH", "/api/v1/dynamic-routes", "GET, HEAD"),
        ("POST", "/api/v1/dynamic-routes/x", "DELETE, GET, HEAD"),
        ("GET", "/user/login", "POST"),
    ],
)
async def test_a_method_that_one_of_them_lacks_is_405_in_json(method: str, path: str, allowed: str) -> None:
    app = App(database="sqlite://", dynamic_routes=True)
    app.events()
    async with TestServer(app) as server:
        answer = await server.http.request(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
    assert f"{method} is not allowed here; {allowed} is" in str(answer.json())


async def test_an_applications_own_routes_say_it_in_their_own_way() -> None:
    app = App()
    app.mount("/mine", Starlette(routes=[Route("/", lambda _request: PlainTextResponse("mine"))]))
    app.mount("/bare", Router([Route("/", lambda _request: PlainTextResponse("bare"))]))
    async with TestServer(app) as server:
        for path in ("/mine/", "/bare/"):
            answer = await server.http.post(path)
            assert (answer.status_code, answer.text) == (405, "Method Not Allowed")


async def test_nor_do_those_of_websockets() -> None:
    app = App(database="sqlite://")
    app.events()

    @app.websocket("/{a}/{b}")
    async def two(message: str) -> str:
        return message

    async with TestServer(app) as server:
        assert (await server.http.delete("/api-key/x")).status_code == 401
        assert (await server.http.delete("/a/b")).status_code == 426
