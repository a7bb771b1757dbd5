"""What attacks and reviews have found once: it is not to be found again."""

from __future__ import annotations

import hashlib
import hmac
import time
from contextlib import AsyncExitStack
from typing import Any

import anyio
import anyio.to_thread
import pytest

from wireloom import App, ConfigError, Node, RequestError, Root, Walker, entry, notify, spec, wait
from wireloom.faces.walkers.threads import Threads
from wireloom.testing import TestServer

from .kit import PASSWORD, REFUSED, asked, bearer, refused, register, register_as, run

pytestmark = pytest.mark.anyio

TIMEOUT_SECONDS = 20.0


class Kept(Node):
    value: Any = None


# -- who hears broadcasts ----------------------------------------------------------------------------------------------


@spec(protocol="websocket", broadcast=True, roles=["admin"])
class AdminFeed(Walker):
    text: str

    @entry(Root)
    async def tell(self, here: Root) -> None:
        self.report(self.text)


async def nothing_came(ws: Any) -> None:
    """The next thing that a connection hears is the answer to what it asks now."""
    await ws.send_text("not json")
    assert '"INVALID_JSON"' in await ws.receive_text()


async def test_a_private_broadcast_is_heard_only_by_those_who_may_run_the_walker() -> None:
    async with TestServer(App([AdminFeed], database="sqlite://")) as server, AsyncExitStack() as stack:
        admin = await register_as(server.app, "admin", "admin")
        user = await register(server.app, "user")
        logins = {"admin": bearer(admin), "user": bearer(user), "nobody": {}}
        sockets = {
            who: await stack.enter_async_context(server.websocket("/ws/AdminFeed", headers=headers))
            for who, headers in logins.items()
        }
        for ws in sockets.values():
            await nothing_came(ws)
        await sockets["nobody"].send_json({"text": "x"})
        assert await sockets["nobody"].receive_text() == REFUSED
        await sockets["admin"].send_json({"text": "the secret"})
        assert "the secret" in await sockets["admin"].receive_text()
        await nothing_came(sockets["user"])
        await nothing_came(sockets["nobody"])


async def test_who_has_logged_out_hears_broadcasts_no_longer() -> None:
    async with TestServer(App([AdminFeed], database="sqlite://")) as server, AsyncExitStack() as stack:
        admin, other = await register_as(server.app, "admin", "admin"), await register_as(server.app, "other", "admin")
        mine = await stack.enter_async_context(server.websocket("/ws/AdminFeed", headers=bearer(admin)))
        theirs = await stack.enter_async_context(server.websocket("/ws/AdminFeed", headers=bearer(other)))
        await nothing_came(mine)
        await nothing_came(theirs)
        assert server.app.identity is not None
        await server.app.identity.logout(other.user)
        await mine.send_json({"text": "the secret"})
        assert "the secret" in await mine.receive_text()
        await nothing_came(theirs)


async def test_who_proves_it_with_a_message_hears_the_answer() -> None:
    async with TestServer(App([AdminFeed], database="sqlite://")) as server:
        admin = await register_as(server.app, "admin", "admin")
        async with server.websocket("/ws/AdminFeed") as ws:
            await ws.send_json({"text": "x", "token": admin.token})
            assert await ws.receive_text() == '{"ok":true,"data":{"reports":["x"]}}'


# -- webhooks ----------------------------------------------------------------------------------------------------------


@spec(protocol="webhook", roles=["admin"])
class AdminHook(Walker):
    @entry(Root)
    async def act(self, here: Root) -> None:
        self.report("done")


async def call_hook(client: Any, app: App, login: Any, name: str) -> Any:
    made = await app.identity.create_api_key(login.user, "key")  # type: ignore[union-attr]
    timestamp = str(int(time.time()))
    signature = hmac.new(made.key.signing_secret.encode(), f"{timestamp}.{{}}".encode(), hashlib.sha256).hexdigest()
    headers = {"X-API-Key": made.api_key, "X-Webhook-Timestamp": timestamp, "X-Webhook-Signature": signature}
    return await client.post(f"/webhook/{name}", content=b"{}", headers=headers)


async def test_roles_hold_for_webhooks_too() -> None:
    app = App([AdminHook], database="sqlite://")
    async with asked(app) as client:
        answer = await call_hook(client, app, await register(app, "user"), "AdminHook")
        assert answer.json() == refused(403, "FORBIDDEN", "Not allowed")
        answer = await call_hook(client, app, await register_as(app, "admin", "admin"), "AdminHook")
        assert answer.json()["data"]["reports"] == ["done"]


async def test_only_who_proves_a_key_learns_which_webhooks_there_are() -> None:
    app = App([AdminHook], database="sqlite://")
    async with asked(app) as client:
        assert (await client.post("/webhook/Nowhere")).status_code == 401
        assert (await call_hook(client, app, await register(app, "user"), "Nowhere")).status_code == 404


def test_a_webhook_cannot_be_public() -> None:
    with pytest.raises(ConfigError, match="cannot be public"):
        spec(protocol="webhook", public=True)(type(Walker)("Open", (Walker,), {"__module__": __name__}))


# -- depth, numbers, forms ---------------------------------------------------------------------------------------------


@spec(public=True)
class Put(Walker):
    value: Any = None
    number: float = 0.0
    text: str = ""

    @entry(Root)
    async def put(self, here: Root) -> None:
        here.connect(Kept(value=self.value))
        self.report(self.text)


@spec(public=True, methods=["get"])
class Number(Walker):
    number: float

    @entry(Root)
    async def tell(self, here: Root) -> None:
        self.report(self.number)


@spec(public=True)
class PutDeep(Walker):
    @entry(Root)
    async def put(self, here: Root) -> None:
        value: Any = []
        for _ in range(300):
            value = [value]
        here.connect(Kept(value=value))


@pytest.mark.parametrize("depth", [201, 5_000, 9_985])
async def test_what_is_nested_too_deeply_is_refused(depth: int) -> None:
    app = App([Put], database="sqlite://")
    async with asked(app) as client:
        body = b'{"value":' + b"[" * depth + b"]" * depth + b"}"
        answer = await client.post("/walker/Put", content=body, headers={"content-type": "application/json"})
        assert answer.status_code in (400, 422), answer.text
        assert app.graph is not None and await app.graph.count() == (0, 0)


async def test_what_a_walker_makes_too_deep_is_not_stored(caplog: pytest.LogCaptureFixture) -> None:
    app = App([PutDeep], database="sqlite://")
    async with asked(app) as client:
        assert (await client.post("/walker/PutDeep")).status_code == 500
        assert app.graph is not None and await app.graph.count() == (0, 0)
    assert "nested more than 200 levels deep" in caplog.text


@spec(public=True, as_query=["number"])
class NumberBesideBody(Walker):
    number: float
    text: str = ""

    @entry(Root)
    async def tell(self, here: Root) -> None:
        self.report(self.number)


@pytest.mark.parametrize("text", ["nan", "inf", "-Infinity"])
async def test_a_number_is_finite(text: str) -> None:
    async with asked(App([Number, NumberBesideBody], database="sqlite://")) as client:
        told = refused(422, "VALIDATION_ERROR", "Expected a finite number", path="$.number")
        assert (await client.get(f"/walker/Number?number={text}")).json() == told
        answer = await client.post(f"/walker/NumberBesideBody?number={text}", json={"text": "beside"})
        assert answer.json() == told


@pytest.mark.parametrize("charset", ["punycode", "utf-16", "latin-1", "no-such-codec"])
async def test_a_form_is_read_by_no_codec_of_the_clients_choice(charset: str) -> None:
    """Some codecs take time by the square of the length: one form would stop the whole server."""
    async with asked(App([Put], database="sqlite://")) as client:
        body = b'--B\r\nContent-Disposition: form-data; name="text"\r\n\r\nna\xc3\xafve\r\n--B--\r\n'
        headers = {"content-type": f"multipart/form-data; boundary=B; charset={charset}"}
        answer = await client.post("/walker/Put", content=body, headers=headers)
        assert answer.json()["data"]["reports"] == ["naïve"]


# -- threads, time -----------------------------------------------------------------------------------------------------


@spec(public=True)
class Threaded(Walker):
    @entry(Root)
    def first(self, here: Root) -> None:
        wait(here.nodes())

    @entry(Root)
    def second(self, here: Root) -> None:
        here.connect(Kept())
        self.report(len(wait(here.nodes())))


async def test_plain_abilities_that_wait_for_their_turn_stop_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """The run whose turn it is finds a thread, however many wait in threads for theirs."""
    monkeypatch.setattr(Threads.__init__, "__defaults__", (2,))
    app = App([Threaded], database="sqlite://")
    found: list[int] = []
    async with asked(app) as client:
        with anyio.fail_after(TIMEOUT_SECONDS):
            async with anyio.create_task_group() as group:
                for _ in range(8):

                    async def one() -> None:
                        found.extend(await run(client, "Threaded"))

                    group.start_soon(one)
    assert sorted(found) == [1, 2, 3, 4, 5, 6, 7, 8]


@spec(public=True, timeout_seconds=0.05)
class SlowAfterCommit(Walker):
    @entry(Root)
    async def act(self, here: Root) -> None:
        here.connect(Kept())
        self.on_commit(self.later)
        self.report("kept")

    async def later(self) -> None:
        await anyio.sleep(0.2)


async def test_what_was_kept_is_not_told_as_failed_because_of_what_comes_after() -> None:
    app = App([SlowAfterCommit], database="sqlite://")
    async with asked(app) as client:
        assert await run(client, "SlowAfterCommit") == ["kept"]


@spec(public=True, timeout_seconds=0.1)
class Circle(Walker):
    @entry(Kept, Root)
    async def around(self, here: Node) -> None:
        self.visit(here)


async def test_a_walk_in_a_circle_lets_others_run_and_ends_in_time() -> None:
    async with asked(App([Circle], database="sqlite://")) as client:
        answer = await client.post("/walker/Circle")
        assert answer.status_code in (500, 503)  # by the number of steps or by the time, whichever is first


# -- notify by either way of running -----------------------------------------------------------------------------------


@spec(protocol="websocket", public=True)
class Progress(Walker):
    keep: bool = False

    @entry(Root)
    async def act(self, here: Root) -> None:
        notify.self({"progress": 50})
        if self.keep:
            here.connect(Kept())
            self.on_commit(lambda: notify.self({"kept": True}))
        self.report("done")


async def test_notify_self_reaches_the_connection_however_the_walker_is_run() -> None:
    async with TestServer(App([Progress], database="sqlite://")) as server:
        login = await register(server.app, "ann")
        async with server.websocket("/ws/Progress") as ws:
            for token in ({}, {"token": login.token}):
                await ws.send_json(token)
                assert await ws.receive_json() == {"progress": 50}
                assert (await ws.receive_json())["data"]["reports"] == ["done"]
                await ws.send_json({"keep": True, **token})
                assert await ws.receive_json() == {"progress": 50}
                assert await ws.receive_json() == {"kept": True}
                assert (await ws.receive_json())["data"]["reports"] == ["done"]


# -- users who go ------------------------------------------------------------------------------------------------------


class Leave(Walker):
    @entry(Root)
    async def act(self, here: Root) -> None:
        here.connect(Kept(value="late"))
        LEAVING.append(self.request)
        await GONE.wait()


LEAVING: list[Any] = []
GONE: Any = None


async def test_a_run_of_a_user_who_is_removed_meanwhile_keeps_nothing() -> None:
    global GONE
    GONE = anyio.Event()
    app = App([Leave], database="sqlite://")
    answers = []
    async with asked(app) as client:
        login = await register(app, "leaver")

        async def leave() -> None:
            answers.append(await client.post("/walker/Leave", headers=bearer(login)))

        with anyio.fail_after(TIMEOUT_SECONDS):
            async with anyio.create_task_group() as group:
                group.start_soon(leave)
                while not LEAVING:
                    await anyio.lowlevel.checkpoint()
                body = {"password": PASSWORD}
                assert (await client.request("DELETE", "/user", json=body, headers=bearer(login))).status_code == 200
                GONE.set()
        assert answers[0].status_code == 401
        assert app.graph is not None and await app.graph.count() == (0, 0)


async def test_a_logout_ends_the_token_that_was_just_replaced() -> None:
    app = App([Put, Leave], database="sqlite://")
    async with asked(app) as client:
        old = await register(app, "ann")
        new = (await client.post("/user/refresh-token", headers=bearer(old))).json()["data"]["token"]
        assert (await client.get("/user/me", headers=bearer(old))).status_code == 200  # for a while
        assert (await client.post("/user/logout", headers=bearer(new))).status_code == 200
        assert (await client.get("/user/me", headers=bearer(old))).status_code == 401


@pytest.mark.parametrize("door", ["rest", "websocket"])
async def test_a_public_walker_keeps_nothing_of_a_login_that_has_ended(door: str) -> None:
    @spec(protocol=door, public=True)
    class Keep(Walker):
        @entry(Root)
        async def act(self, here: Root) -> None:
            here.connect(Kept())

    async with TestServer(App([Keep], database="sqlite://")) as server:
        login = await register(server.app, "ann")
        assert server.app.identity is not None and server.app.graph is not None
        await server.app.identity.logout(login.user)
        if door == "rest":
            assert (await server.http.post("/walker/Keep", headers=bearer(login))).status_code == 401
        else:
            async with server.websocket("/ws/Keep", headers=bearer(login)) as ws:
                await ws.send_text("{}")
                assert await ws.receive_text() == REFUSED
        assert await server.app.graph.count() == (0, 0)


# -- rates -------------------------------------------------------------------------------------------------------------


@spec(methods=["post", "websocket"], public=True, rate_per_minute=2)
class Seldom(Walker):
    @entry(Root)
    async def act(self, here: Root) -> None:
        self.report("done")


@spec(protocol="websocket", public=True, rate_per_minute=2)
class SeldomSocket(Walker):
    @entry(Root)
    async def act(self, here: Root) -> None:
        self.report("done")


async def test_a_caller_who_comes_too_often_is_told_when_to_come_again() -> None:
    app = App([Seldom, SeldomSocket], database="sqlite://")
    async with TestServer(app) as server:
        login = await register(app, "ann")
        for who in (None, login):  # each has its own
            for _ in range(2):
                assert (await server.http.post("/walker/Seldom", headers=bearer(who))).status_code == 200
            answer = await server.http.post("/walker/Seldom", headers=bearer(who))
            assert answer.status_code == 429 and answer.json()["error"]["code"] == "RATE_LIMITED"
            assert 1 <= int(answer.headers["retry-after"]) <= 30
        async with server.websocket("/ws/SeldomSocket") as ws:
            told = []
            for _ in range(3):
                await ws.send_text("{}")
                told.append((await ws.receive_json())["ok"])
            assert told == [True, True, False]
        async with server.websocket("/websocket") as ws:
            await ws.receive_text()
            await ws.send_json({"type": "walker", "walker": "Seldom", "response": True})
            assert (await ws.receive_json())["error"]["code"] == "RATE_LIMITED"


def test_what_is_left_comes_back_with_time() -> None:
    from wireloom.core.rate import Rate, TooOften
    from wireloom.core.request import Request

    class Caller:
        client = ("10.0.0.1", 1)
        user = None
        head: Any = None

    now = [0.0]
    rate, request = Rate(2, clock=lambda: now[0]), Request(None, Caller())  # type: ignore[arg-type]
    rate.take(request)
    rate.take(request)
    with pytest.raises(TooOften) as caught:
        rate.take(request)
    assert caught.value.retry_after_seconds == 30
    now[0] = 30.0
    rate.take(request)
    with pytest.raises(TooOften):
        rate.take(request)


# -- mistakes that are easily made -------------------------------------------------------------------------------------


@spec
class Bare(Walker):
    what: str

    @entry(Root)
    async def act(self, here: Root) -> None:
        if self.what == "visit a coroutine":
            self.visit(here.nodes())  # type: ignore[arg-type]
        if self.what == "visit a class":
            self.visit([Kept])  # type: ignore[list-item]
        if self.what == "connect a class":
            here.connect(Kept)  # type: ignore[type-var]
        if self.what == "a strange edge":
            here.connect(Kept(), "edge")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("visit a coroutine", "await here.nodes(…) first"),
        ("visit a class", "self.visit takes nodes, not <class"),
        ("connect a class", "connect takes a node, such as Task(title=…), not <class"),
        ("a strange edge", "an edge is of a class of edges, not 'edge'"),
    ],
)
async def test_a_mistake_says_what_was_meant(what: str, told: str, caplog: pytest.LogCaptureFixture) -> None:
    app = App([Bare], database="sqlite://")
    async with asked(app) as client:
        login = await register(app, "ann")
        answer = await client.post("/walker/Bare", json={"what": what}, headers=bearer(login))
        assert answer.status_code == 500
    assert told in caplog.text


def test_what_is_no_declaration_is_refused() -> None:
    with pytest.raises(ConfigError, match="is no declaration"):
        App([Bare(what="x")])  # type: ignore[list-item]
    with pytest.raises(ConfigError, match="spec is for classes of walkers"):
        spec()(Kept)
    with pytest.raises(ConfigError, match="a method cannot be called 'report'"):
        type(Walker)("Wrong", (Walker,), {"__module__": __name__, "report": lambda self: None})
    with pytest.raises(ConfigError, match="above 0"):
        spec(timeout_seconds=-1)(type(Walker)("Wrong", (Walker,), {"__module__": __name__}))


async def test_a_node_that_is_named_by_its_id_is_found_or_not() -> None:
    @spec(public=True)
    class Find(Walker):
        node: str

        @entry(Root)
        async def find(self, here: Root) -> None:
            self.report(await here.find(self.node))

    app = App([Put, Find], database="sqlite://")
    async with asked(app) as client:
        await run(client, "Put", {"value": 1})
        assert app.graph is not None
        unit = app.graph.begin("n::000000000000000000000001")
        [kept] = await unit.root.nodes(Kept)
        await unit.close()
        assert (await run(client, "Find", {"node": kept.id}))[0]["context"] == {"value": 1}
        answer = await client.post("/walker/Find", json={"node": "n:Kept:" + "0" * 24})
        assert answer.status_code == 404


def test_an_error_may_have_a_status_of_its_own() -> None:
    assert RequestError("GONE", "No longer there", status=410).http_status == 410
    assert RequestError("GONE", "No longer there").http_status == 400
