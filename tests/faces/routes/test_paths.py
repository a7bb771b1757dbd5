"""Page 4, "A route": where routes are found beside all else that the server answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from wireloom import App, ConfigError

from .kit import http_route, serving, socket_route

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    "route",
    [
        http_route("- Return: {value: any}", path="/:one/:other", more="auth: true"),
        socket_route(path="/:one/:other", more="auth: true"),
    ],
)
async def test_a_template_takes_no_path_that_is_written_out_elsewhere(tmp_path: Path, route: str) -> None:
    async with serving(tmp_path, route) as served:
        login = await served.http.post("/user/login", json={"username": "nobody", "password": "nothing"})
        assert login.status_code == 401
        assert (await served.http.get("/healthz/live")).json() == {"status": "ok"}


async def test_an_http_request_finds_a_websocket_route_by_the_path_as_it_is_encoded(tmp_path: Path) -> None:
    async with serving(tmp_path, socket_route(path="/ws/:room")) as served:
        answer = await served.http.get("/ws/a%2Fb")
        assert (answer.status_code, answer.json()["error"]) == (400, "WebSocket upgrade required")


@pytest.mark.parametrize("first", ["socket", "http"])
def test_routes_of_two_declarations_share_no_path(tmp_path: Path, first: str) -> None:
    routes = {"socket": socket_route(path="/x/:a"), "http": http_route("- Return: {value: 1}", path="/x/:b")}
    app = App(database="sqlite://")
    for name in sorted(routes, key=lambda name: name != first):
        Path(tmp_path, f"{name}.yaml").write_text(routes[name], encoding="utf-8")
        app.add_routes(tmp_path / f"{name}.yaml")
    with pytest.raises(ConfigError, match="is that of route"):
        app.check()


async def test_what_is_no_object_or_array_is_not_json_in_a_binary_message_either(tmp_path: Path) -> None:
    route = socket_route("- Return: {value: '{{ json == null }} {{ message }}'}", more="binary: json")
    async with serving(tmp_path, route) as served:
        assert await served.ask(b"5") == "true 5"
        assert await served.ask(b"[5]") == "false [5]"
