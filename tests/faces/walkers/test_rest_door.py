"""Page 3, Door 2: a walker by HTTP; one request is one run, and every answer is in the envelope."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from wireloom import App, Root, Walker, entry, spec
from wireloom.testing import TestServer

from .kit import PUBLIC_ROOT, bearer, client_of, refused, register, register_as, replied
from .rest import METHODS, Any5, Book, Mine, Note, Small

pytestmark = pytest.mark.anyio


@spec(methods=["post", "get"])
class Write(Walker):
    text: str = "x"

    @entry(Root)
    async def write(self, here: Root) -> None:
        self.report(here.connect(Note(text=self.text)))


@spec(methods=["get", "post"])
class Read(Walker):
    @entry(Root)
    async def root(self, here: Root) -> None:
        self.report("root")

    @entry(Note)
    async def read(self, here: Note) -> None:
        self.report(here)


@spec(roles=["admin", "editor"])
class Edit(Walker):
    @entry(Root)
    async def edit(self, here: Root) -> None:
        self.report(self.request.user.role)


@spec(public=True)
class Whose(Walker):
    @entry(Root)
    async def tell(self, here: Root) -> None:
        self.report([here.root_id, getattr(self.request.user, "username", None)])


@spec(protocol="websocket")
class Socket(Walker):
    @entry(Root)
    async def act(self, here: Root) -> None: ...


@spec(protocol="webhook")
class Hook(Walker):
    @entry(Root)
    async def act(self, here: Root) -> None: ...


@spec(methods=["websocket"])
class Event(Walker):
    @entry(Root)
    async def act(self, here: Root) -> None: ...


REST = [Any5, Book, Mine, Write, Read, Edit, Whose, Small]


def application(**options: Any) -> App:
    return App([*REST, Socket, Hook, Event], database="sqlite://", **options)


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[TestServer]:
    async with TestServer(application()) as server:
        yield server


@pytest.fixture(scope="module")
async def http(server: TestServer) -> httpx.AsyncClient:
    return server.http


@pytest.fixture(scope="module")
async def alice(server: TestServer) -> Any:
    return await register(server.app, "alice")


@pytest.fixture(scope="module")
async def bob(server: TestServer) -> Any:
    return await register(server.app, "bob")


# -- the envelope ------------------------------------------------------------------------------------------------------


async def test_the_bytes_of_an_answer(http: httpx.AsyncClient, alice: Any) -> None:
    answer = await http.post("/walker/Mine", json={"text": "ü"}, headers=bearer(alice))
    assert answer.text == (
        '{"ok":true,"type":"response","data":{"reports":[["%s","alice"]]},"error":null,'
        '"meta":{"extra":{"http_status":200}}}'
    ).replace("%s", alice.user.root_id)
    assert answer.headers["content-type"] == "application/json" and answer.headers["cache-control"] == "no-store"


async def test_the_bytes_of_a_refusal(http: httpx.AsyncClient) -> None:
    answer = await http.post("/walker/Mine", json={"text": 5})
    assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
    assert answer.text == (
        '{"ok":false,"type":"error","data":null,"error":{"code":"UNAUTHORIZED","message":"Invalid or missing token"},'
        '"meta":{"extra":{"http_status":401}}}'
    )
    assert answer.headers["content-type"] == "application/json" and answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("text", "status", "code", "message"),
    [
        ("busy", 409, "CONFLICT", "Somebody else was faster"),
        ("own", 400, "OUT_OF_STOCK", "None is left"),
        ("limited", 429, "RATE_LIMITED", "Slower"),
    ],
)
async def test_what_a_walker_refuses_has_the_status_of_its_code(
    http: httpx.AsyncClient, alice: Any, text: str, status: int, code: str, message: str
) -> None:
    answer = await http.post("/walker/Mine", json={"text": text}, headers=bearer(alice))
    assert (answer.status_code, answer.json()) == (status, refused(status, code, message))
    assert ("retry-after" in answer.headers) == (status == 429)


async def test_a_bug_is_told_by_an_id_that_is_in_the_log_and_by_nothing_else(
    http: httpx.AsyncClient, alice: Any, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await http.post("/walker/Mine", json={"text": "boom"}, headers=bearer(alice))
    error_id = answer.json()["error"]["id"]
    assert answer.status_code == 500
    assert answer.json() == refused(500, "EXECUTION_ERROR", "Walker execution failed", id=error_id)
    [record] = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert error_id in record.getMessage() and "/walker/Mine" in record.getMessage()
    assert record.exc_info and "a detail for developers" in str(record.exc_info[1])


async def test_development_mode_adds_the_text_of_the_exception() -> None:
    app = application(dev=True)
    async with app.running(), client_of(app) as client:
        login = await register(app)
        answer = await client.post("/walker/Mine", json={"text": "boom"}, headers=bearer(login))
        assert answer.json()["error"]["detail"] == "RuntimeError: a detail for developers"
        assert "Traceback" not in answer.text and "test_rest_door" not in answer.text


# -- who may -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", [None, "wrong", "Basic abc"])
@pytest.mark.parametrize("body", [b'{"text":"a"}', b"not json", b'{"text":5}', b"x" * 2_000_000])
async def test_who_is_unknown_is_refused_before_the_body_is_read(
    http: httpx.AsyncClient, token: Any, body: Any
) -> None:
    headers = {} if token is None else {"Authorization": token if " " in token else f"Bearer {token}"}
    answer = await http.post("/walker/Mine", content=body, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "UNAUTHORIZED")


@pytest.mark.parametrize(("role", "status"), [("user", 403), ("admin", 200), ("editor", 200), ("Admin", 403)])
async def test_roles_decide_where_they_are_named(server: TestServer, role: str, status: int) -> None:
    login = await register_as(server.app, f"role-{role}-{status}", role)
    answer = await server.http.post("/walker/Edit", headers=bearer(login))
    expected = replied(role) if status == 200 else refused(403, "FORBIDDEN", "Not allowed")
    assert (answer.status_code, answer.json()) == (status, expected)
    assert (await server.http.post("/walker/Edit")).status_code == 401


@pytest.mark.parametrize("token", ["good", "wrong", None])
async def test_a_public_walker_runs_on_the_root_of_who_shows_a_token_else_on_the_shared_one(
    http: httpx.AsyncClient, alice: Any, token: Any
) -> None:
    answer = await http.post("/walker/Whose", headers=bearer(alice if token == "good" else token))
    expected = [alice.user.root_id, "alice"] if token == "good" else [PUBLIC_ROOT, None]
    assert answer.json() == replied(expected)


@pytest.mark.parametrize("allowed", [False, True])
async def test_the_token_in_the_query_counts_where_that_is_allowed(allowed: bool) -> None:
    app = application(allow_token_in_query=allowed)
    async with app.running(), client_of(app) as client:
        login = await register(app)
        answer = await client.post(f"/walker/Mine?token={login.token}")
        assert answer.status_code == (200 if allowed else 401)
        answer = await client.get(f"/walker/Any5?token={login.token}&count=5")  # no field in either case
        assert answer.json()["data"]["reports"][0][1] == 5


async def test_a_token_in_the_body_is_stripped(http: httpx.AsyncClient, alice: Any) -> None:
    answer = await http.post("/walker/Small", json={"text": "a", "token": "x"})
    assert answer.json() == replied(1)
    assert (await http.post("/walker/Mine", json={"token": alice.token})).status_code == 401


# -- methods -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
async def test_each_method_reaches_the_walker(http: httpx.AsyncClient, method: str) -> None:
    more = {"params": {"count": 3}} if method == "get" else {"json": {"count": 3}}
    answer = await http.request(method, "/walker/Any5", **more)
    assert answer.json() == replied([method.upper(), 3, [], [], None, False])


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "TRACE"])
@pytest.mark.parametrize("path", ["/walker/Mine", "/walker/Mine/n:Note:0"])
async def test_another_method_is_told_which_are_allowed(http: httpx.AsyncClient, method: str, path: str) -> None:
    answer = await http.request(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    expected = refused(405, "METHOD_NOT_ALLOWED", f"{method} is not allowed here; POST is")
    assert answer.text == "" if method == "HEAD" else answer.json() == expected


async def test_all_allowed_methods_are_named(http: httpx.AsyncClient) -> None:
    answer = await http.options("/walker/Any5")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, POST, PUT, PATCH, DELETE")


@pytest.mark.parametrize("name", ["Nobody", "Socket", "Hook", "Event", "Book", "any5", "%0A", "N%C3%B6"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_name_of_no_rest_walker_is_not_found(
    http: httpx.AsyncClient, alice: Any, method: str, name: str
) -> None:
    for path in (f"/walker/{name}", f"/walker/{name}/n:Note:{'0' * 24}"):
        answer = await http.request(method, path, headers=bearer(alice))
        expected = refused(404, "NOT_FOUND", f"Walker {unquote(name)!r} not found")
        assert (answer.status_code, answer.json()) == (404, expected)


# -- nodes -------------------------------------------------------------------------------------------------------------


async def test_a_node_id_says_where_the_walk_starts(http: httpx.AsyncClient, alice: Any) -> None:
    headers = bearer(alice)
    [note] = (await http.post("/walker/Write", json={"text": "a"}, headers=headers)).json()["data"]["reports"]
    assert note["context"] == {"text": "a"}
    for path in (note["id"], note["id"].replace(":", "%3A"), note["id"].replace("N", "%4E")):
        for method in ("GET", "POST"):
            answer = await http.request(method, f"/walker/Read/{path}", headers=headers)
            assert answer.json() == replied(note)
    assert (await http.get(f"/walker/Read/{alice.user.root_id}", headers=headers)).json() == replied("root")
    assert (await http.get("/walker/Read", headers=headers)).json() == replied("root")


async def test_a_node_of_somebody_else_is_as_absent_as_one_that_is_not(
    http: httpx.AsyncClient, alice: Any, bob: Any
) -> None:
    [note] = (await http.post("/walker/Write", headers=bearer(alice))).json()["data"]["reports"]
    absent = note["id"][:-24] + "0" * 24
    answers = {}
    for node in (note["id"], absent, alice.user.root_id, "n::" + "0" * 24, PUBLIC_ROOT):
        answer = await http.get(f"/walker/Read/{node}", headers=bearer(bob))
        assert (answer.status_code, answer.json()) == (404, refused(404, "NOT_FOUND", f"There is no node {node!r}"))
        answers[node] = [pair for pair in answer.headers.items() if pair[0] not in ("date", "content-length")]
    assert answers[note["id"]] == answers[absent]


NO_IDS = [
    "x",
    "n:Note:",
    "n:Note:00",
    "n%3ANote%3A%2F",
    "e:Road:" + "0" * 24,
    "%2E%2E",
    "'; --",
    "%00",
    "%FF",
    "x" * 999,
]


@pytest.mark.parametrize("node", NO_IDS)
async def test_what_is_no_id_is_not_found(http: httpx.AsyncClient, alice: Any, node: str) -> None:
    answer = await http.get(f"/walker/Read/{node}", headers=bearer(alice))
    assert answer.status_code == 404 and answer.json()["error"]["message"].startswith("There is no node ")


async def test_without_a_login_no_node_can_be_asked_for(http: httpx.AsyncClient) -> None:
    assert (await http.get(f"/walker/Read/n:Note:{'0' * 24}")).status_code == 401


# -- below others ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "/api", "/a/b"])
async def test_the_door_works_below_a_prefix_of_another_application(prefix: str) -> None:
    app = application()
    host = Starlette(routes=[Mount(prefix, app=app)]) if prefix else app
    async with app.running(), client_of(host) as client:
        login = await register(app)
        headers = bearer(login)
        [note] = (await client.post(f"{prefix}/walker/Write", headers=headers)).json()["data"]["reports"]
        for node in (note["id"], note["id"].replace(":", "%3A")):
            assert (await client.get(f"{prefix}/walker/Read/{node}", headers=headers)).json() == replied(note)
        assert (await client.get(f"{prefix}/shelves/a%2Fb/books/1")).json() == replied(["a/b", 1, 0, {}])
        assert (await client.get(f"{prefix}/walker/Nobody")).json()["error"]["code"] == "NOT_FOUND"
        assert (await client.get(f"{prefix}/walker/Mine")).headers["allow"] == "POST"
        assert (await client.get(f"{prefix}/user/me", headers=headers)).json()["data"]["username"] == "alice"
