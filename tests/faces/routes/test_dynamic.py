"""The register: routes that come and go while the application runs."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from sqlalchemy import text

from wireloom import App, HandshakeFailed, Root, Walker, entry, spec
from wireloom.testing import TestServer

pytestmark = pytest.mark.anyio

PATH = "/api/v1/dynamic-routes"
ECHO = """\
name: Echo
path: /ws/echo
ws_hooks:
  on_message:
    - WsOp: {command: send, message: "Echo: {{ message }}"}
"""
JSON_ROUTE = {"name": "Hello", "path": "/hello", "logic": [{"Return": {"value": {"hello": "{{ query.who }}"}}}]}


@spec(public=True, rate_per_minute=1)
class Rare(Walker):
    @entry(Root)
    async def act(self, here: Root) -> None:
        self.report(1)


@spec(public=True, protocol="websocket", rate_per_minute=1)
class RareSocket(Walker):
    @entry(Root)
    async def act(self, here: Root) -> None:
        self.report(1)


class Site:
    """An application that takes registrations, with an administrator."""

    def __init__(self, app: App, server: TestServer, admin: str) -> None:
        self.app = app
        self.server = server
        self.admin = {"Authorization": f"Bearer {admin}"}

    async def register(self, text: str, kind: str = "application/yaml", headers: Any = None) -> Any:
        sent = {"Content-Type": kind, **(self.admin if headers is None else headers)}
        return await self.server.http.post(f"{PATH}/register", content=text.encode(), headers=sent)

    async def registered(self, text: str, kind: str = "application/yaml") -> str:
        answer = await self.register(text, kind)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["route_id"])


@asynccontextmanager
async def site(database: str = "sqlite://", **options: Any) -> AsyncIterator[Site]:
    app = App(database=database, dynamic_routes=True, **options)

    @app.websocket("/typed")
    async def typed(message: str) -> str:
        return f"typed {message}"

    async with TestServer(app) as server:
        yield Site(app, server, await token(app, "root", "admin"))


async def received(site: Site) -> dict[str, float]:
    """How many requests every endpoint of the door rest had."""
    lines = (await site.server.http.get("/metrics")).text.splitlines()
    rows = [line for line in lines if line.startswith('wireloom_messages_received_total{door="rest"')]
    return {row.split('endpoint="')[1].split('"')[0]: float(row.split()[-1]) for row in rows}


async def test_counts_of_removed_routes_are_held_as_one_sum() -> None:
    async with site() as here:
        for number in range(5):
            route_id = await here.registered(json.dumps({**JSON_ROUTE, "path": f"/hello{number}"}), "application/json")
            held = len(here.app.hub.counts._endpoints)
            assert (await here.server.http.get(f"/hello{number}")).status_code == 200
            before = await received(here)
            assert (before[f"/hello{number}"], sum(before.values())) == (1, number + 1)
            await here.server.http.delete(f"{PATH}/{route_id}", headers=here.admin)
            after = await received(here)
            assert (after["(removed)"], sum(after.values())) == (number + 1, number + 1)
            assert f"/hello{number}" not in after
        assert len(here.app.hub.counts._endpoints) < held


async def token(app: App, name: str, role: str) -> str:
    """A token of a user, who is added where they are not there yet."""
    assert app.identity is not None
    account = next((each for each in await app.identity.users() if each.username == name), None)
    account = account or await app.identity.add_user({"username": name}, "password1", role)
    return (await app.identity.issue_token(account)).token


async def test_a_registered_route_is_served_at_once_at_both_paths() -> None:
    async with site() as here:
        answer = await here.register(ECHO)
        told = answer.json()
        assert answer.status_code == 201
        assert told == {"status": "REGISTERED", "route_id": told["route_id"], "route_name": "Echo", "format": "yaml"}
        for path in ("/ws/echo", "/api/ws/echo"):
            async with here.server.websocket(path) as ws:
                await ws.send_text("hi")
                assert await ws.receive_text() == "Echo: hi"


@pytest.mark.parametrize("kind", ["application/json", "text/plain", ""])
async def test_json_is_known_by_its_type_or_its_look(kind: str) -> None:
    async with site() as here:
        answer = await here.register(json.dumps(JSON_ROUTE), kind)
        assert (answer.status_code, answer.json()["format"]) == (201, "json")
        for path in ("/hello", "/api/hello"):
            assert (await here.server.http.get(f"{path}?who=bob")).json() == {"hello": "bob"}


async def test_open_connections_stay_whatever_is_registered_or_removed() -> None:
    async with site() as here, here.server.websocket("/typed") as typed:
        first = await here.registered(ECHO)
        async with here.server.websocket("/ws/echo") as echo:
            second = await here.registered(json.dumps(JSON_ROUTE), "application/json")
            await here.server.http.delete(f"{PATH}/{second}", headers=here.admin)
            await echo.send_text("still here")
            assert await echo.receive_text() == "Echo: still here"
            await here.server.http.delete(f"{PATH}/{first}", headers=here.admin)
            assert await echo.wait_closed() == 1012
        await typed.send_text("hi")
        assert await typed.receive_text() == "typed hi"
        assert (await here.server.http.get("/hello")).status_code == 404


async def test_what_cannot_be_served_is_refused_with_all_its_problems_and_changes_nothing() -> None:
    async with site() as here:
        bad = ECHO.replace("command: send", "comand: send").replace("{{ message", "{{ mesage")
        answer = await here.register(bad)
        assert answer.status_code == 400
        told = answer.json()
        assert told["error"] == "Parse error"
        assert [(each["line"], each["column"]) for each in told["details"]] == [(5, 14), (5, 47)]
        assert "did you mean 'command'" in told["details"][0]["message"]
        assert (await here.server.http.get(PATH, headers=here.admin)).json() == {"routes": []}


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("{", "not YAML"),
        ("", "no route"),
        (f"---\n{ECHO}---\n{ECHO.replace('/ws/echo', '/ws/two')}", "one route is registered at a time, not 2"),
        (ECHO.replace("/ws/echo", "/typed"), "already served by 'typed'"),
    ],
)
async def test_other_refusals(text: str, part: str) -> None:
    async with site() as here:
        answer = await here.register(text)
        assert answer.status_code == 400
        assert part in json.dumps(answer.json()["details"])


async def test_a_path_is_taken_once() -> None:
    async with site() as here:
        await here.registered(ECHO)
        answer = await here.register(ECHO.replace("name: Echo", "name: Other"))
        assert answer.status_code == 400
        assert "already served by 'Echo'" in answer.text
        assert len((await here.server.http.get(PATH, headers=here.admin)).json()["routes"]) == 1


async def test_routes_are_listed_shown_and_removed() -> None:
    async with site() as here:
        route_id = await here.registered(ECHO)
        listed = (await here.server.http.get(PATH, headers=here.admin)).json()["routes"]
        assert [(each["route_id"], each["route_name"], each["path"], each["format"]) for each in listed] == [
            (route_id, "Echo", "/ws/echo", "yaml")
        ]
        shown = await here.server.http.get(f"{PATH}/{route_id}", headers=here.admin)
        assert shown.json() == {**listed[0], "text": ECHO}
        removed = await here.server.http.delete(f"{PATH}/{route_id}", headers=here.admin)
        assert removed.json() == {"status": "REMOVED", "route_id": route_id}
        for answer in (
            await here.server.http.delete(f"{PATH}/{route_id}", headers=here.admin),
            await here.server.http.get(f"{PATH}/{route_id}", headers=here.admin),
        ):
            assert (answer.status_code, answer.json()["error"]) == (404, "Not Found")


async def test_only_administrators_may_do_anything() -> None:
    async with site() as here:
        route_id = await here.registered(ECHO)
        bob = {"Authorization": f"Bearer {await token(here.app, 'bob', 'user')}"}
        requests = [("POST", f"{PATH}/register"), ("GET", PATH), ("GET", f"{PATH}/{route_id}")]
        requests.append(("DELETE", f"{PATH}/{route_id}"))
        for method, path in requests:
            for headers, status in (({}, 401), ({"Authorization": "Bearer nonsense"}, 401), (bob, 403)):
                answer = await here.server.http.request(method, path, headers=headers)
                assert answer.status_code == status, (method, path, headers)
        assert (await here.server.http.get(f"{PATH}?token=x")).status_code == 401
        assert len((await here.server.http.get(PATH, headers=here.admin)).json()["routes"]) == 1


async def test_without_the_option_there_is_no_register() -> None:
    async with TestServer(App(database="sqlite://")) as server:
        assert (await server.http.get(PATH)).status_code == 404
        assert (await server.http.post(f"{PATH}/register", content=ECHO)).status_code == 404


async def test_registered_routes_survive_a_restart(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path}/app.db"
    async with site(database) as here:
        route_id = await here.registered(ECHO)
    async with site(database) as here:
        async with here.server.websocket("/ws/echo") as ws:
            await ws.send_text("again")
            assert await ws.receive_text() == "Echo: again"
        await here.server.http.delete(f"{PATH}/{route_id}", headers=here.admin)
    async with site(database) as here:
        assert (await here.server.http.get("/ws/echo")).status_code == 404


async def test_another_process_serves_them_too(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path}/app.db"
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(site(database))
        second = await stack.enter_async_context(site(database))
        route_id = await first.registered(ECHO)
        await _until(second, "/ws/echo", 400)
        async with second.server.websocket("/ws/echo") as ws:
            await first.server.http.delete(f"{PATH}/{route_id}", headers=first.admin)
            assert await ws.wait_closed() == 1012


async def _until(here: Site, path: str, status: int) -> None:
    with anyio.fail_after(10):
        while (await here.server.http.get(path)).status_code != status:
            await anyio.lowlevel.checkpoint()


async def test_a_kept_route_that_clashes_with_the_code_of_today_does_not_stop_the_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    database = f"sqlite:///{tmp_path}/app.db"
    async with site(database) as here:
        await here.registered(ECHO)
        kept = await here.registered(json.dumps(JSON_ROUTE), "application/json")
    app = App(database=database, dynamic_routes=True)

    @app.websocket("/ws/echo")
    async def own(message: str) -> str:
        return "own"

    async with TestServer(app) as server:
        async with server.websocket("/ws/echo") as ws:
            await ws.send_text("whose?")
            assert await ws.receive_text() == "own"
        assert (await server.http.get("/hello?who=x")).json() == {"hello": "x"}
    assert kept not in caplog.text
    assert "is not served" in caplog.text and "already served by 'own'" in caplog.text


async def test_documents_tell_of_the_register() -> None:
    async with site() as here:
        document = (await here.server.http.get("/openapi.json")).json()
        assert {PATH, f"{PATH}/register", f"{PATH}/{{route_id}}"} <= set(document["paths"])
        assert document["paths"][PATH]["get"]["security"] == [{"bearer": []}]


async def test_what_is_kept_is_compiled_together_not_once_for_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = f"sqlite:///{tmp_path}/app.db"
    async with site(database) as here:
        for number in range(8):
            await here.registered(ECHO.replace("/ws/echo", f"/ws/echo{number}"))
    looks: list[int] = []
    make = App._make_doors

    def counting(app: App, config: Any, routes: Any) -> Any:
        looks.append(len(routes))
        return make(app, config, routes)

    monkeypatch.setattr(App, "_make_doors", counting)
    async with site(database):
        assert looks == [8, 8]  # once to see that they can be served, once to serve them


async def test_what_is_registered_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    make = App._make_doors

    def counting(app: App, config: Any, routes: Any) -> Any:
        looks.append(len(routes))
        return make(app, config, routes)

    async with site() as here:
        monkeypatch.setattr(App, "_make_doors", counting)
        route_id = await here.registered(ECHO)
        assert looks == [1]
        await here.server.http.delete(f"{PATH}/{route_id}", headers=here.admin)
        assert looks == [1, 0]


async def test_a_live_reload_while_a_route_is_registered_is_not_undone_by_it() -> None:
    async with site() as here:
        assert here.app._storage is not None
        database = here.app._storage.database
        finish, fresh = database.finish, App()

        @fresh.websocket("/new")
        async def new(message: str) -> str:
            return f"new {message}"

        async def reload_first(work: Any) -> Any:
            database.finish = finish  # type: ignore[method-assign]
            await here.app.reload(fresh)
            return await finish(work)

        dynamic = here.app._storage.dynamic
        assert dynamic is not None
        database.finish = reload_first  # type: ignore[method-assign]
        await dynamic.register(ECHO, "yaml")
        for path, told in (("/new", "new hi"), ("/ws/echo", "Echo: hi")):
            async with here.server.websocket(path) as ws:
                await ws.send_text("hi")
                assert await ws.receive_text() == told
        with pytest.raises(HandshakeFailed):
            async with here.server.websocket("/typed"):
                pass


async def test_a_kept_route_that_cannot_be_served_is_shown_stops_no_other_and_can_be_removed(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path}/app.db"
    async with site(database) as here:
        kept = [await here.registered(ECHO.replace("/ws/echo", f"/ws/{name}")) for name in ("a", "b", "c")]
    app = App(database=database, dynamic_routes=True)

    @app.websocket("/ws/b")
    async def in_the_way(message: str) -> str:
        return message

    async with TestServer(app) as server:
        here = Site(app, server, await token(app, "other", "admin"))
        listed = (await server.http.get(PATH, headers=here.admin)).json()["routes"]
        assert {each["route_id"]: each.get("status") for each in listed} == {
            kept[0]: None,
            kept[2]: None,
            kept[1]: "NOT_SERVED",
        }
        assert (await server.http.delete(f"{PATH}/{kept[1]}", headers=here.admin)).status_code == 200
        assert len((await server.http.get(PATH, headers=here.admin)).json()["routes"]) == 2


async def test_what_another_process_has_registered_is_known_at_once_to_who_registers_or_removes(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path}/app.db"
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(site(database))
        second = await stack.enter_async_context(site(database))
        route_id = await first.registered(ECHO)
        assert (await second.register(ECHO)).status_code == 400
        assert (await second.server.http.delete(f"{PATH}/{route_id}", headers=second.admin)).status_code == 200


async def test_there_is_a_bound_to_how_many_are_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wireloom.faces.routes.dynamic._MAX_ROUTES", 1)
    async with site() as here:
        await here.registered(ECHO)
        answer = await here.register(json.dumps(JSON_ROUTE), "application/json")
        assert (answer.status_code, answer.json()["error"]) == (400, "Parse error")
        assert answer.json()["details"][0]["message"] == "there are 1 registered routes already"


async def test_what_a_removed_route_stood_in_the_way_of_is_served_then(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path}/app.db"
    async with site(database) as here:
        first = await here.registered(ECHO)
        row = {"route_id": "raced", "format": "yaml", "text": ECHO.replace("Echo:", "Raced:"), "created_at": "9999"}
        assert here.app._storage is not None
        async with here.app._storage.database.writing() as connection:  # as a process that registers in the same moment
            columns = ", ".join(row)
            await connection.execute(text(f"INSERT INTO wireloom_routes ({columns}) VALUES (:{', :'.join(row)})"), row)
        other = await here.registered(json.dumps(JSON_ROUTE), "application/json")
        listed = (await here.server.http.get(PATH, headers=here.admin)).json()["routes"]
        assert {each["route_id"]: each.get("status") for each in listed} == {
            first: None,
            other: None,
            "raced": "NOT_SERVED",
        }
        await here.server.http.delete(f"{PATH}/{first}", headers=here.admin)
        async with here.server.websocket("/ws/echo") as ws:
            await ws.send_text("hi")
            assert await ws.receive_text() == "Raced: hi"


async def test_a_registration_gives_nobody_new_requests_under_a_limit() -> None:
    limited = "name: L\npath: /limited\nrate_limit: {messages_per_minute: 1}\nlogic: [{Return: {value: 1}}]\n"
    async with site() as here:
        await here.registered(limited)
        assert (await here.server.http.get("/limited")).status_code == 200
        await here.registered(ECHO)
        assert (await here.server.http.get("/limited")).status_code == 429


async def test_neither_a_registration_nor_a_live_reload_gives_anybody_new_runs_of_a_walker() -> None:
    app = App([Rare, RareSocket], database="sqlite://", dynamic_routes=True)
    async with TestServer(app) as server:
        here = Site(app, server, await token(app, "root", "admin"))
        assert (await server.http.post("/walker/Rare")).status_code == 200
        async with server.websocket("/ws/RareSocket") as ws:
            await ws.send_text("{}")
            assert (await ws.receive_json())["ok"]
            await here.registered(ECHO)
            await app.reload(App([Rare, RareSocket]))
            answer = await server.http.post("/walker/Rare")
            assert (answer.status_code, answer.json()["error"]["code"]) == (429, "RATE_LIMITED")
            await ws.send_text("{}")
            assert (await ws.receive_json())["error"]["code"] == "RATE_LIMITED"


async def test_a_live_reload_gives_nobody_new_requests_of_a_route_with_the_same_limit(tmp_path: Path) -> None:
    limited = "name: L\npath: /limited\nrate_limit: {messages_per_minute: 1}\nlogic: [{Return: {value: 1}}]\n"
    file = tmp_path / "limited.yaml"

    def written(text: str) -> App:
        file.write_text(text)
        app = App()
        app.add_routes(file)
        return app

    app = written(limited)
    async with TestServer(app) as server:
        assert (await server.http.get("/limited")).status_code == 200
        await app.reload(written(limited.replace("value: 1", "value: 2")))
        assert (await server.http.get("/limited")).status_code == 429
        await app.reload(written(limited.replace("minute: 1", "minute: 2")))
        assert (await server.http.get("/limited")).json() == 1


async def test_an_http_route_cannot_be_registered_at_the_path_of_a_websocket_route() -> None:
    async with site() as here:
        await here.registered(ECHO)
        answer = await here.register(json.dumps({**JSON_ROUTE, "path": "/ws/echo"}), "application/json")
        assert answer.status_code == 400
        assert "is that of route 'Echo'" in answer.text
