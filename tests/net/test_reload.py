"""The swap of a live reload: which connections go on, by which code, and which are closed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, Any

import pytest

from wireloom import App, ConfigError, Connection, Hub, Query, Request, websocket
from wireloom.net.listener import Swapped
from wireloom.testing import HandshakeFailed, TestServer

from .raw import eventually, soon

pytestmark = pytest.mark.anyio

Make = Callable[[App], Any]


def says(word: str, path: str = "/say", **options: Any) -> App:
    """An application whose one handler never waits, and so is called without a task."""
    app = App(**options)

    @app.websocket(path)
    async def say(message: str) -> str:
        return f"{word} {message}"

    return app


# -- which code runs ---------------------------------------------------------------------------------------------------


async def test_the_next_message_of_an_open_connection_runs_the_new_code() -> None:
    app = says("old")
    async with TestServer(app) as server, server.websocket("/say") as ws:
        await ws.send_text("1")
        assert await ws.receive_text() == "old 1"
        assert await app.reload(says("new")) == Swapped(kept=1, closed=0)
        await ws.send_text("2")
        assert await ws.receive_text() == "new 2"
        async with server.websocket("/say") as later:
            await later.send_text("3")
            assert await later.receive_text() == "new 3"


async def test_it_reloads_again_and_again() -> None:
    app = says("0")
    async with TestServer(app) as server, server.websocket("/say") as ws:
        for word in "123":
            await app.reload(says(word))
            await ws.send_text("x")
            assert await ws.receive_text() == f"{word} x"


def gated(word: str, gate: asyncio.Event, begun: asyncio.Event, concurrency: int = 1) -> App:
    app = App()

    @app.websocket("/gate", concurrency=concurrency)
    async def wait(message: str) -> str:
        begun.set()
        if message == "wait":
            await gate.wait()
        return f"{word} {message}"

    return app


async def test_what_runs_ends_on_the_old_code_and_what_waits_runs_on_the_new() -> None:
    gate, begun = asyncio.Event(), asyncio.Event()
    app = gated("old", gate, begun)
    async with TestServer(app) as server, server.websocket("/gate") as ws:
        await ws.send_text("wait")
        await ws.send_text("queued")  # read together with the first: it waits within the same task
        await soon(begun.wait())
        await ws.send_text("queued later")
        await app.reload(gated("new", gate, begun))
        await ws.send_text("after")
        gate.set()
        assert [await ws.receive_text() for _ in range(4)] == [
            "old wait",
            "new queued",
            "new queued later",
            "new after",
        ]


async def test_a_slow_handler_does_not_hold_up_the_others_of_a_concurrent_endpoint() -> None:
    gate, begun = asyncio.Event(), asyncio.Event()
    app = gated("old", gate, begun)
    async with TestServer(app) as server, server.websocket("/gate") as ws:
        await ws.send_text("wait")
        await soon(begun.wait())
        await app.reload(gated("new", gate, begun, concurrency=2))
        await ws.send_text("quick")
        assert await ws.receive_text() == "new quick"
        gate.set()
        assert await ws.receive_text() == "old wait"


async def test_a_declarations_limit_holds_for_open_connections() -> None:
    def limited(size: int) -> App:
        return App([websocket("/say", max_message_bytes=size)(echo)])

    async def echo(message: str) -> str:
        return message

    app = limited(100)
    async with TestServer(app) as server, server.websocket("/say") as ws:
        await app.reload(limited(10))
        await ws.send_text("x" * 10)
        assert await ws.receive_text() == "x" * 10
        await ws.send_text("x" * 11)
        assert await ws.wait_closed() == 1009


async def test_parameters_are_bound_anew() -> None:
    app, other = App(), App()

    @app.websocket("/room/{name}")
    async def before(message: str, name: str) -> str:
        return name

    @other.websocket("/room/{name}")
    async def after(message: str, name: int, times: Annotated[int, Query()] = 2) -> str:
        return str(name * times)

    async with (
        TestServer(app) as server,
        server.websocket("/room/7?times=3") as seven,
        server.websocket("/room/x") as x,
    ):
        assert await app.reload(other) == Swapped(kept=1, closed=1)
        await seven.send_text("")
        assert await seven.receive_text() == "21"
        assert await x.wait_closed() == 1012  # it would be refused now


async def test_hooks_are_the_new_ones() -> None:
    ends: list[str] = []

    def leaving(word: str) -> App:
        app = says(word)
        handler = websocket("/leave")(_nothing)
        handler.on_connect(lambda: ends.append(f"{word} came"))
        handler.on_disconnect(lambda: ends.append(f"{word} left"))
        app.add(handler)
        return app

    app = leaving("old")
    async with TestServer(app) as server:
        async with server.websocket("/leave"):
            await eventually(lambda: ends == ["old came"])
            await app.reload(leaving("new"))
        await eventually(lambda: ends == ["old came", "new left"])


async def _nothing(message: str) -> None: ...


# -- which connections go on -------------------------------------------------------------------------------------------


async def test_a_removed_endpoint_closes_its_connections_with_advice() -> None:
    app = says("old")
    async with TestServer(app) as server, server.websocket("/say") as ws:
        assert await app.reload(says("new", "/other")) == Swapped(kept=0, closed=1)
        assert await ws.wait_closed() == 1012
        assert 0 < json.loads(ws.close_reason)["reconnect_in_ms"] <= 2000
        with pytest.raises(HandshakeFailed) as refused:
            await server.websocket("/say").__aenter__()
        assert refused.value.status == 404
        async with server.websocket("/other") as other:
            await other.send_text("1")
            assert await other.receive_text() == "new 1"
        async with server.http as http:
            assert (await http.get("/say")).status_code == 404
            assert (await http.get("/other")).status_code == 426


async def test_a_running_handler_of_a_removed_endpoint_ends_before_its_connection() -> None:
    gate, begun = asyncio.Event(), asyncio.Event()
    app = gated("old", gate, begun)
    async with TestServer(app) as server, server.websocket("/gate") as ws:
        await ws.send_text("wait")
        await soon(begun.wait())
        assert await app.reload(App()) == Swapped(kept=0, closed=1)
        gate.set()
        assert await ws.receive_text() == "old wait"
        assert await ws.wait_closed() == 1012


async def test_whoever_had_to_prove_nothing_comes_again_where_it_is_asked_now() -> None:
    async def let_in(request: Request) -> str:
        return "somebody"

    async def who(message: str, request: Request) -> str:
        return str(request.connection.user)

    app = App([websocket("/who")(who)])
    async with TestServer(app) as server, server.websocket("/who") as ws:
        assert await app.reload(App([websocket("/who", auth=let_in)(who)])) == Swapped(kept=0, closed=1)
        assert await ws.wait_closed() == 1012
        async with server.websocket("/who") as known:
            assert await app.reload(App([websocket("/who", auth=let_in)(who)])) == Swapped(kept=1, closed=0)
            await known.send_text("")
            assert await known.receive_text() == "somebody"


async def test_a_handshake_that_a_reload_overtakes_is_to_come_again() -> None:
    asked, gate = asyncio.Event(), asyncio.Event()

    async def let_in(request: Request) -> str:
        asked.set()
        await gate.wait()
        return "somebody"

    def guarded() -> App:
        return App([websocket("/who", auth=let_in)(_nothing)])

    app = guarded()
    async with TestServer(app) as server:
        coming = asyncio.ensure_future(server.websocket("/who").__aenter__())
        await soon(asked.wait())
        await app.reload(guarded())
        gate.set()
        with pytest.raises(HandshakeFailed) as refused:
            await coming
        assert (refused.value.status, refused.value.headers["retry-after"]) == (503, "1")


async def test_a_stream_that_becomes_a_plain_handler_ends() -> None:
    ended = asyncio.Event()
    app = App()

    @app.websocket("/say")
    async def ticks(message: str, connection: Connection) -> AsyncIterator[str]:
        try:
            while True:
                yield "tick"
                await asyncio.sleep(0.01)
        finally:
            ended.set()

    async with TestServer(app) as server, server.websocket("/say") as ws:
        await ws.send_text("go")
        assert await ws.receive_text() == "tick"
        await app.reload(says("new"))
        assert await ws.wait_closed() == 1012
        await soon(ended.wait())


# -- all or nothing ----------------------------------------------------------------------------------------------------


def attributes(app: App) -> dict[str, Any]:
    """All that an application holds, but for the task that watched a store of users which was closed again."""
    return {name: value for name, value in vars(app).items() if name != "_watching"}


async def test_declarations_that_clash_change_nothing(tmp_path: Any) -> None:
    clash = says("new")
    clash.static("/files", tmp_path)
    clash.events()
    clash._declarations += says("newer")._declarations  # a clash that only the running application's compiling finds
    app = says("old", database="sqlite://")
    async with TestServer(app) as server, server.websocket("/say") as ws:
        before = attributes(app)
        with pytest.raises(ConfigError, match="already served"):
            await app.reload(clash)
        assert attributes(app) == before
        await ws.send_text("1")
        assert await ws.receive_text() == "old 1"
        assert [row.path for row in app.describe()] == ["/say"]
        assert app.static_folders == []
        assert clash.listener is None
        await app.reload(says("new"))
        await ws.send_text("2")
        assert await ws.receive_text() == "new 2"


async def test_users_that_cannot_be_opened_change_nothing() -> None:
    wants_users = App([websocket("/mine", auth=True)(_nothing)])
    app = says("old", database="mysql://nowhere")
    async with TestServer(app) as server, server.websocket("/say") as ws:
        before = attributes(app)
        with pytest.raises(ConfigError):
            await app.reload(wants_users)
        assert attributes(app) == before
        await ws.send_text("1")
        assert await ws.receive_text() == "old 1"


async def test_only_a_running_application_reloads() -> None:
    with pytest.raises(RuntimeError, match="not running"):
        await App().reload(App())


# -- the new application object ----------------------------------------------------------------------------------------


async def test_the_new_object_is_the_running_application() -> None:
    app = says("old")
    other = App(port=1)
    other.greeting, app.pool = "hello", "of the lifespan"  # type: ignore[attr-defined]

    @other.websocket("/say")
    async def say(message: str, hub: Hub) -> None:
        assert other.hub is hub
        await other.hub.publish("news", f"{other.greeting} {other.pool}")  # type: ignore[attr-defined]

    @say.on_connect
    async def join(connection: Connection) -> None:
        connection.join("news")

    port, hub_by_name = app.config.port, other.hub
    async with TestServer(app) as server:
        await app.reload(other)
        async with server.websocket("/say") as ws:
            await ws.send_text("")
            assert await ws.receive_text() == "hello of the lifespan"
            await hub_by_name.publish("news", "by another name")
            assert await ws.receive_text() == "by another name"
        assert other.config.port == port
        assert other.listener is app.listener is not None
    assert other.listener is None


async def test_users_come_with_a_reload() -> None:
    app, other = says("old", database="sqlite://"), App()
    other.events()
    async with TestServer(app) as server, server.http as http:
        assert (await http.post("/user/register", json={})).status_code == 404
        await app.reload(other)
        made = await http.post("/user/register", json={"username": "ann", "password": "password1"})
        assert made.status_code == 201
        assert other.identity is not None
        login = await other.identity.register({"username": "bob"}, "password1")
        async with server.websocket("/websocket", headers={"Authorization": f"Bearer {login.token}"}) as ws:
            assert (await ws.receive_json())["data"]["root_id"] != "n::000000000000000000000001"


async def test_mounts_and_files_are_the_new_ones(tmp_path: Any) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "index.html").write_text(name)

    def serving(name: str) -> App:
        app = App()
        app.static(f"/{name}", tmp_path / name)
        app.static("/both", tmp_path / name)
        return app

    app = serving("a")
    async with TestServer(app) as server, server.http as http:
        assert (await http.get("/both/")).text == "a"
        await app.reload(serving("b"))
        assert (await http.get("/both/")).text == "b"
        assert (await http.get("/a/")).status_code == 404
        assert app.static_folders == [tmp_path / "b", tmp_path / "b"]


# -- pages -------------------------------------------------------------------------------------------------------------


async def test_pages_are_told_and_keep_their_connection() -> None:
    app = says("old", "/{anything}", reload=True)
    async with TestServer(app) as server, server.websocket("/__reload") as page, server.http as http:
        script = await http.get("/__reload.js")
        assert script.headers["content-type"].startswith("text/javascript")
        assert "location.reload()" in script.text
        assert await app.reload(says("new")) == Swapped(kept=0, closed=0)
        assert app.pages is not None
        app.pages.tell({"type": "reload", "changed": ["app.py"]})
        assert await page.receive_json() == {"type": "reload", "changed": ["app.py"]}
        assert [row.path for row in app.describe()] == ["/say"]
        with pytest.raises(HandshakeFailed) as refused:
            await server.websocket("/__reload", headers={"Origin": "https://elsewhere.example"}).__aenter__()
        assert refused.value.status == 403


async def test_without_the_option_there_is_nothing_for_pages() -> None:
    async with TestServer(says("old")) as server, server.http as http:
        assert (await http.get("/__reload.js")).status_code == 404
        with pytest.raises(HandshakeFailed):
            await server.websocket("/__reload").__aenter__()


# -- on somebody else's server -----------------------------------------------------------------------------------------


class Asgi:
    """One WebSocket as another ASGI server gives it to the application."""

    def __init__(self, app: App, path: str) -> None:
        self.arrived: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.sent: asyncio.Queue[Any] = asyncio.Queue()
        self.arrived.put_nowait({"type": "websocket.connect"})
        scope = {"type": "websocket", "path": path, "headers": [], "subprotocols": []}
        application: Callable[..., Awaitable[None]] = app
        self.task = asyncio.ensure_future(application(scope, self.arrived.get, self.sent.put))

    async def say(self, text: str) -> str:
        self.arrived.put_nowait({"type": "websocket.receive", "text": text})
        message = await self.next()
        return str(message["text"])

    async def next(self) -> Any:
        return await soon(self.sent.get())

    async def end(self) -> None:
        self.arrived.put_nowait({"type": "websocket.disconnect", "code": 1000})
        await soon(self.task)


async def test_connections_of_another_server_are_swapped_too() -> None:
    app = says("old")
    async with app.running():
        socket = Asgi(app, "/say")
        assert (await socket.next())["type"] == "websocket.accept"
        assert await socket.say("1") == "old 1"
        assert await app.reload(says("new")) == Swapped(kept=1, closed=0)
        assert await socket.say("2") == "new 2"
        assert await app.reload(App()) == Swapped(kept=0, closed=1)
        assert (await socket.next())["code"] == 1012
        await socket.end()
