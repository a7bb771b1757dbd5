"""Page 3, Documentation endpoints: which walkers the documents have, by validators that others have written."""

from __future__ import annotations

from typing import Any

import pytest
from openapi_spec_validator import validate

from wireloom import App, Node, Root, UploadFile, Walker, entry, spec


class Thing(Node):
    name: str = ""


def act(kind: type[Node] = Root) -> Any:
    @entry(kind)
    async def run(self: Any, here: Any) -> None: ...

    return run


@spec(protocol="websocket")
class Socket(Walker):
    text: str
    things: list[Thing] = []  # noqa: RUF012 (copied for each)
    act = act()


@spec(methods=["get", "post", "websocket"], public=True, tags=["things"])
class Everywhere(Walker):
    """Finds things."""

    text: str = ""
    limit: int = 10
    act = act()


@spec(protocol="webhook")
class Hook(Walker):
    act = act()


@spec(methods=["put"], path="/albums/{album}")
class Upload(Walker):
    album: int
    file: UploadFile
    act = act()


@pytest.fixture(scope="module")
def app() -> App:
    return App([Socket, Everywhere, Hook, Upload])


def test_openapi_has_the_walkers_of_rest_and_no_others(app: App) -> None:
    document = app.openapi()
    validate(document)
    walkers = {path for path in document["paths"] if not path.startswith(("/user", "/api-key", "/notify"))}
    assert walkers == {"/walker/Everywhere", "/walker/Everywhere/{node_id}", "/albums/{album}"}
    everywhere = document["paths"]["/walker/Everywhere"]
    assert set(everywhere) == {"get", "post"} and everywhere["post"]["tags"] == ["things"]
    assert everywhere["post"]["summary"] == "Finds things." and "security" not in everywhere["post"]
    assert [parameter["name"] for parameter in everywhere["get"]["parameters"]] == ["text", "limit"]
    upload = document["paths"]["/albums/{album}"]["put"]
    assert upload["security"] and "multipart/form-data" in upload["requestBody"]["content"]


def test_asyncapi_has_the_walkers_of_websockets(app: App, asyncapi_problems: Any) -> None:
    document = app.asyncapi()
    assert asyncapi_problems(document) == []
    addresses = {channel["address"] for channel in document["channels"].values()}
    assert addresses == {"/ws/Socket", "/websocket"}
    assert "token" in document["components"]["schemas"]["Socket"]["properties"]
    [socket] = [name for name, channel in document["channels"].items() if channel["address"] == "/ws/Socket"]
    assert document["operations"][f"receive_{socket}"]["security"]
    assert any("Everywhere" in name for channel in document["channels"].values() for name in channel["messages"])
