"""Page 2 and page 3, Door 4: walkers as events of the event socket."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from wireloom import App, ConfigError, Node, RequestError, Root, Walker, entry, notify, spec
from wireloom.testing import TestServer, TestWebSocket

from .kit import PUBLIC_ROOT, bearer, register, register_as, run

pytestmark = pytest.mark.anyio


class Note(Node):
    text: str


@spec(methods=["websocket", "post"], public=True)
class Say(Walker):
    val: int = 0

    @entry(Root)
    async def say(self, here: Root) -> None:
        notify.self({"progress": "10%"})
        await asyncio.sleep(0)
        notify.self({"progress": "90%"})
        if self.val == 13:
            raise RuntimeError("a detail for developers")
        if self.val == 14:
            raise RequestError("NOT_TODAY", "Come back tomorrow")
        self.report(self.val)
        self.report([here.root_id, getattr(self.request.user, "username", None)])


@spec(methods=["websocket"])
class Mine(Walker):
    text: str = "x"

    @entry(Root)
    async def keep(self, here: Root) -> None:
        self.report(here.connect(Note(text=self.text)))

    @entry(Note)
    async def look(self, here: Note) -> None:
        self.report(here.text)


@spec(methods=["websocket"], roles=["admin"])
class ForAdmins(Walker):
    @entry(Root)
    async def act(self, here: Root) -> None:
        self.report("done")


class Posted(Walker):
    @entry(Root)
    async def act(self, here: Root) -> None: ...


@spec(protocol="websocket", public=True)
class Socket(Walker):
    @entry(Root)
    async def act(self, here: Root) -> None: ...


@spec(protocol="webhook")
class Hook(Walker):
    @entry(Root)
    async def act(self, here: Root) -> None: ...


ALL = [Say, Mine, ForAdmins, Posted, Socket, Hook]
PROGRESS = [{"progress": "10%"}, {"progress": "90%"}]


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[TestServer]:
    async with TestServer(App(ALL, database="sqlite://")) as server:
        yield server


@pytest.fixture
async def public(server: TestServer) -> AsyncIterator[TestWebSocket]:
    async with server.websocket("/websocket") as ws:
        assert (await ws.receive_json())["data"]["root_id"] == PUBLIC_ROOT
        yield ws


async def heard(ws: TestWebSocket) -> list[Any]:
    """Everything that came before the answer to an event sent now."""
    await ws.send_json({"type": "connection", "id": "so far"})
    values: list[Any] = []
    while (value := await ws.receive_json()).get("id") != "so far":
        values.append(value)
    return values


async def ask(ws: TestWebSocket, walker: str, context: Any = None, **more: Any) -> list[Any]:
    """Everything that one walker event brings."""
    event = {"type": "walker", "walker": walker, **more}
    await ws.send_json(event if context is None else {**event, "context": context})
    return await heard(ws)


async def test_an_answer_is_given_only_where_it_is_asked_for(public: TestWebSocket) -> None:
    answer = {"status": 200, "reports": [5, [PUBLIC_ROOT, None]]}
    assert await ask(public, "Say", {"val": 5}, response=True) == [*PROGRESS, answer]
    assert await ask(public, "Say", {"val": 5}, response=True, id="a") == [*PROGRESS, {**answer, "id": "a"}]
    assert await ask(public, "Say", {"val": 5}, response=False, id="a") == PROGRESS
    assert await ask(public, "Say", {"val": 5}) == PROGRESS
    assert (await ask(public, "Say", response=True))[-1]["reports"][0] == 0


async def test_the_bytes_of_an_answer(public: TestWebSocket) -> None:
    await public.send_json({"type": "walker", "walker": "Say", "response": True, "id": "a"})
    await public.receive_json(), await public.receive_json()
    expected = '{"status":200,"reports":[0,["%s",null]],"id":"a"}'
    assert await public.receive_text() == expected.replace("%s", PUBLIC_ROOT)


async def test_progress_is_nothing_where_there_is_no_connection(server: TestServer) -> None:
    assert await run(server.http, "Say", {"val": 1}) == [1, [PUBLIC_ROOT, None]]


@pytest.mark.parametrize("response", [True, False])
@pytest.mark.parametrize("event_id", [None, "e1"])
@pytest.mark.parametrize(
    ("walker", "context", "error"),
    [
        *[
            (name, {}, "Invalid request! Please use valid walker event!")
            for name in ("Nobody", "Posted", "Socket", "Hook", "say", "")
        ],
        ("Mine", {}, "Event Mine requires to be authenticated!"),
        ("Mine", {"text": 5}, "Event Mine requires to be authenticated!"),
        ("ForAdmins", {}, "Event ForAdmins requires to be authenticated!"),
        ("Say", {"val": "x"}, {"code": "VALIDATION_ERROR", "message": "Expected `int`, got `str`", "path": "$.val"}),
        (
            "Say",
            {"vla": 1},
            {"code": "VALIDATION_ERROR", "message": "Object contains unknown field `vla`", "path": "$.vla"},
        ),
        ("Say", {"val": 14}, {"code": "NOT_TODAY", "message": "Come back tomorrow"}),
    ],
)
async def test_every_error_is_told_and_the_connection_stays(
    public: TestWebSocket, walker: str, context: Any, error: Any, event_id: Any, response: bool
) -> None:
    more = {"response": response, **({} if event_id is None else {"id": event_id})}
    told = {"type": "walker", "error": error, **({} if event_id is None else {"id": event_id})}
    got = await ask(public, walker, context, **more)
    assert [each for each in got if each not in PROGRESS] == [told]


async def test_a_bug_is_told_by_an_id_that_is_in_the_log(
    public: TestWebSocket, caplog: pytest.LogCaptureFixture
) -> None:
    [_, _, told] = await ask(public, "Say", {"val": 13}, id=7)
    error_id = told["error"].pop("id")
    error = {"code": "EXECUTION_ERROR", "message": "Walker execution failed"}
    assert told == {"type": "walker", "error": error, "id": 7}
    [record] = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert error_id in record.getMessage() and "event Say" in record.getMessage()


@pytest.mark.parametrize("context", [None, [], "x", 5])
async def test_a_context_is_an_object(public: TestWebSocket, context: Any) -> None:
    await public.send_json({"type": "walker", "walker": "Say", "context": context})
    [told] = await heard(public)
    assert (told["type"], told["error"]["code"], told["error"]["path"]) == ("error", "INVALID_EVENT", "$.context")


async def test_an_event_runs_as_the_user_of_the_connection_and_at_the_node_that_it_names(server: TestServer) -> None:
    alice, bob = await register(server.app, "alice"), await register(server.app, "bob")
    async with server.websocket("/websocket", headers=bearer(alice)) as ws:
        await ws.receive_json()
        [answer] = await ask(ws, "Mine", {"text": "first"}, response=True)
        node = answer["reports"][0]["id"]
        assert await ask(ws, "Mine", response=True, node=node) == [{"status": 200, "reports": ["first"]}]
        absent = node[:-24] + "0" * 24
        for name in (absent, "nonsense"):
            error = {"code": "NOT_FOUND", "message": f"There is no node {name!r}"}
            assert await ask(ws, "Mine", node=name) == [{"type": "walker", "error": error}]
        [_, _, answer] = await ask(ws, "Say", response=True)
        assert answer["reports"][1] == [alice.user.root_id, "alice"]
        await ws.send_json({"type": "change_user", "token": bob.token})
        await heard(ws)
        error = {"code": "NOT_FOUND", "message": f"There is no node {node!r}"}
        assert await ask(ws, "Mine", node=node) == [{"type": "walker", "error": error}]
        [_, _, answer] = await ask(ws, "Say", response=True)
        assert answer["reports"][1] == [bob.user.root_id, "bob"]


async def test_roles_decide_where_they_are_named(server: TestServer) -> None:
    user, admin = await register(server.app, "user"), await register_as(server.app, "boss", "admin")
    forbidden = {"type": "walker", "error": {"code": "FORBIDDEN", "message": "Not allowed"}}
    for login, expected in ((user, forbidden), (admin, {"status": 200, "reports": ["done"]})):
        async with server.websocket("/websocket", headers=bearer(login)) as ws:
            await ws.receive_json()
            assert await ask(ws, "ForAdmins", response=True) == [expected]


# -- which event socket ------------------------------------------------------------------------------------------------


def sockets(app: App) -> list[str]:
    return [each.path for each in app.describe() if each.name == "events"]


def test_a_walker_for_the_event_socket_brings_it() -> None:
    assert sockets(App([Posted, Socket, Hook])) == []
    assert sockets(App([Say])) == ["/websocket"]
    app = App([Posted])
    app.add(Say, Mine)
    assert sockets(app) == ["/websocket"]


async def test_the_event_socket_that_is_declared_takes_the_place_of_the_one_that_came() -> None:
    after, before = App([Say], database="sqlite://"), App(database="sqlite://")
    after.events("/events")
    before.events("/events")
    before.add(Say)
    for app in (after, before):
        assert sockets(app) == ["/events"]
        with pytest.raises(ConfigError, match="has its event socket already, at '/events'"):
            app.events("/another")
        async with TestServer(app) as server:
            assert (await server.http.get("/websocket")).status_code == 404
            async with server.websocket("/events") as ws:
                await ws.receive_json()
                assert (await ask(ws, "Say", response=True))[-1]["status"] == 200
