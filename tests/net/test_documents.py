"""The documents over HTTP: by default, on every App, once made and then kept."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from openapi_spec_validator import validate
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from tests.declared import rest
from wireloom import App
from wireloom.core.operation import Sources
from wireloom.errors import CLOSE_CODES
from wireloom.net.documents import Documents
from wireloom.testing import TestServer

pytestmark = pytest.mark.anyio

PATHS = ("/openapi.json", "/asyncapi.json", "/docs")


def application(**options: Any) -> App:
    app = App(database="sqlite://", **options)
    app.events()

    @app.websocket("/chat/{room}")
    async def chat(message: dict[str, int], room: str) -> int:
        """Counts."""
        return 1

    @app.event("Count")
    async def count(message: dict[str, int]) -> int:
        """Counts too."""
        return 1

    return app


async def test_every_application_has_them(asyncapi_problems: Callable[[dict[str, Any]], list[str]]) -> None:
    async with TestServer(application()) as server:
        http, websocket, page = [await server.http.get(path) for path in PATHS]
    validate(http.json())
    assert {"/user/register", "/api-key/{api_key_id}", "/notify"} <= set(http.json()["paths"])
    assert http.json()["servers"] == [{"url": "/"}]
    assert asyncapi_problems(websocket.json()) == []
    assert [each["address"] for each in websocket.json()["channels"].values()] == ["/chat/{room}", "/websocket"]
    assert "walker.Count" in websocket.json()["channels"]["events"]["messages"]
    assert websocket.json()["servers"]["default"] == {"host": server.url.rpartition("/")[2], "protocol": "ws"}
    assert http.headers["content-type"] == websocket.headers["content-type"] == "application/json"
    assert page.headers["content-type"] == "text/html; charset=utf-8"


async def test_without_users_there_are_no_endpoints_of_users() -> None:
    async with TestServer(App()) as server:
        assert (await server.http.get("/openapi.json")).json()["paths"] == {}


async def test_they_can_be_turned_off() -> None:
    async with TestServer(application(docs=False)) as server:
        assert [(await server.http.get(path)).status_code for path in PATHS] == [404, 404, 404]


async def test_mounts_do_not_win_over_them_but_declared_paths_do() -> None:
    async def mine(request: Any) -> PlainTextResponse:
        return PlainTextResponse("mine")

    app = App()
    app.mount("/", Starlette(routes=[Route(path, mine) for path in (*PATHS, "/docs/more")]))

    @app.websocket("/asyncapi.json")
    async def own(message: str) -> str:
        return message

    async with TestServer(app) as server:
        answers = [await server.http.get(path) for path in (*PATHS, "/docs/more")]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 200]
    assert answers[0].json()["openapi"] == "3.1.0" and "Wireloom" in answers[2].text
    assert answers[1].text == answers[3].text == "mine"


async def test_only_get_and_head() -> None:
    async with TestServer(App()) as server:
        for path in PATHS:
            assert (await server.http.head(path)).status_code == 200
            assert (await server.http.post(path)).status_code == 405


async def test_mounted_elsewhere_they_say_where() -> None:
    app = application()
    host = Starlette(routes=[Mount("/rt", app=app)])
    async with app.running():
        transport = httpx.ASGITransport(host)
        async with httpx.AsyncClient(transport=transport, base_url="https://example.com") as client:
            http, websocket, page = [await client.get("/rt" + path) for path in PATHS]
    assert http.json()["servers"] == [{"url": "/rt"}]
    where = {"host": "example.com", "protocol": "wss", "pathname": "/rt"}
    assert websocket.json()["servers"]["default"] == where and page.status_code == 200


async def test_they_are_made_when_they_are_asked_for_and_kept() -> None:
    asked: list[Sources] = []

    def read() -> Sources:
        asked.append(Sources((rest(f"Made{len(asked)}", "/a", "POST"),)))
        return asked[-1]

    documents = Documents(read)
    app = Starlette(routes=documents.routes())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        assert asked == []
        first = (await client.get("/openapi.json")).json()
        assert (await client.get("/openapi.json")).json() == first and len(asked) == 1
        documents.forget()
        assert (await client.get("/openapi.json")).json() != first and len(asked) == 2
        await client.get("/asyncapi.json")
        await client.get("/asyncapi.json")
        assert len(asked) == 3


async def test_what_is_added_while_it_runs_is_told_of() -> None:
    app = App()
    async with TestServer(app) as server:
        assert (await server.http.get("/asyncapi.json")).json()["channels"] == {}

        @app.websocket("/late")
        async def late(message: str) -> str:
            return message

        assert list((await server.http.get("/asyncapi.json")).json()["channels"]) == ["late"]


async def test_declarations_that_are_compiled_anew_are_told_of_anew() -> None:
    app = application()
    async with TestServer(app) as server:
        before = (await server.http.get("/asyncapi.json")).json()["channels"]
        app._declarations.clear()
        app._compile(app.config)
        after = (await server.http.get("/asyncapi.json")).json()["channels"]
    assert (list(before), list(after)) == (["chat", "events"], ["events"])


async def test_a_host_that_is_none_does_no_harm() -> None:
    async with TestServer(App()) as server:
        for host in ("[::", "a b", ""):
            answer = await server.http.get("/asyncapi.json", headers={"Host": host})
            assert (answer.status_code, answer.json()["servers"]["default"]["host"]) == (200, host)


async def test_the_page_runs_nothing_but_its_own() -> None:
    async with TestServer(App()) as server:
        page = await server.http.get("/docs")
        loaded = re.findall(r'(?:href|src)="(docs/[^"]+)"', page.text)
        files = [await server.http.get(f"/{name}") for name in loaded]
        modules = {name for file in files for name in re.findall(r'from "\./([^"]+)"', file.text)}
        files += [await server.http.get(f"/docs/{name}") for name in sorted(modules)]
    policy = dict(part.strip().split(" ", 1) for part in page.headers["content-security-policy"].split(";"))
    host = server.url.rpartition("/")[2]
    assert policy["script-src"] == policy["style-src"] == "'self'" and "unsafe" not in str(policy)
    assert policy["connect-src"] == f"'self' ws://{host} wss://{host}"
    assert (policy["default-src"], policy["frame-ancestors"]) == ("'none'", "'none'")
    assert (policy["require-trusted-types-for"], policy["trusted-types"]) == ("'script'", "'none'")
    assert page.headers["x-content-type-options"] == "nosniff"
    assert loaded == ["docs/docs.css", "docs/main.js"] and len(modules) > 5
    for file in files:
        kind = "text/css" if file.url.path.endswith(".css") else "text/javascript"
        assert (file.status_code, file.headers["content-type"]) == (200, f"{kind}; charset=utf-8")
        assert file.headers["x-content-type-options"] == "nosniff"
    for text in (page.text, *(file.text for file in files)):
        assert "innerHTML" not in text and "eval(" not in text and "<script>" not in text and "style=" not in text
        assert "://" not in text.replace("http://www.w3.org/2000/svg", "")


@pytest.mark.parametrize("host", ["evil; script-src *", "a b", "[::", "a:b", "*", "a/b", "a,b"])
async def test_a_host_that_is_none_stays_out_of_the_policy(host: str) -> None:
    async with TestServer(App()) as server:
        page = await server.http.get("/docs", headers={"Host": host})
    assert page.headers["content-security-policy"].endswith("; connect-src 'self'")


async def test_what_the_page_loads_is_sent_once() -> None:
    async with TestServer(App()) as server:
        first = await server.http.get("/docs/main.js")
        again = await server.http.get("/docs/main.js", headers={"If-None-Match": first.headers["etag"]})
        other = await server.http.get("/docs/main.js", headers={"If-None-Match": '"other"'})
    assert (again.status_code, again.content, other.status_code) == (304, b"", 200)
    assert again.headers["etag"] == first.headers["etag"] and first.headers["cache-control"] == "no-cache"


async def test_the_page_knows_what_close_codes_mean() -> None:
    async with TestServer(App()) as server:
        codes = (await server.http.get("/docs/close-codes.json")).json()
    assert codes["1012"] == {"meaning": CLOSE_CODES[1012].meaning, "come_back": True}
    assert {int(code) for code in codes} == set(CLOSE_CODES)


def test_the_app_gives_them_as_values() -> None:
    app = application(port=4321, host="::1", ssl_certfile="cert.pem")
    assert "/notify" in app.openapi()["paths"]
    assert app.asyncapi()["servers"]["default"] == {"host": "[::1]:4321", "protocol": "wss"}
