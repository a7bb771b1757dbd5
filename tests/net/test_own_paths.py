"""The server's own paths: no template of the application hides them."""

from __future__ import annotations

from pathlib import Path

import pytest

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


async def test_nor_do_those_of_websockets() -> None:
    app = App(database="sqlite://")
    app.events()

    @app.websocket("/{a}/{b}")
    async def two(message: str) -> str:
        return message

    async with TestServer(app) as server:
        assert (await server.http.delete("/api-key/x")).status_code == 401
        assert (await server.http.delete("/a/b")).status_code == 426
