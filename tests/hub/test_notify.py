"""notify: from handlers, threads, plain code, forks and processes that serve nothing."""

from __future__ import annotations

import asyncio
import inspect
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import wireloom
from wireloom import WEBSOCKET_MANAGER, App, Connection, NoHub, notify
from wireloom.core.caller import current_caller
from wireloom.core.topic import PUBLIC_ROOT_ID
from wireloom.hub import connection as connection_module
from wireloom.hub.backplane import base
from wireloom.hub.notify import Notify
from wireloom.testing import TestServer, TestWebSocket

from ..services import nats_service, redis_service

pytestmark = pytest.mark.anyio

SOURCE = str(Path(wireloom.__file__).parents[1])


async def heard(ws: TestWebSocket) -> list[Any]:
    """Everything that came before the answer to an event sent now."""
    await ws.send_json({"type": "connection", "id": "so far"})
    values: list[Any] = []
    while not (isinstance(value := await ws.receive_json(), dict) and value.get("id") == "so far"):
        values.append(value)
    return values


async def opened(stack: AsyncExitStack, server: TestServer, query: str = "?channel_id=room") -> Any:
    """A connection to the event socket and the data of its first frame."""
    ws = await stack.enter_async_context(server.websocket(f"/websocket{query}"))
    return ws, (await ws.receive_json())["data"]


def application(**options: Any) -> App:
    app = App(database="sqlite://", **options)
    app.events()
    return app


async def in_thread(call: Callable[[], Any]) -> None:
    """Runs it in a thread that knows nothing of the one that starts it."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    await asyncio.to_thread(thread.join, 5)
    assert not thread.is_alive()
    if failures:
        raise failures[0]


# -- from where --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["handler", "sync handler", "task"])
async def test_it_reaches_its_targets_from_the_code_of_a_connection(where: str) -> None:
    app = application()

    def tell(connection: Connection) -> None:
        notify.self({"to": "self"})
        notify.channels(["room"], {"to": "channel"})
        notify.clients([connection.client_id], {"to": "client"})
        notify.users([connection.root_id], {"to": "user"})

    async def handler(connection: Connection) -> None:
        tell(connection)

    def sync_handler(connection: Connection) -> None:
        tell(connection)

    async def task(connection: Connection) -> None:
        async def later() -> None:
            await asyncio.sleep(0)
            tell(connection)

        await asyncio.create_task(later())

    handlers: dict[str, Callable[..., Any]] = {"handler": handler, "sync handler": sync_handler, "task": task}
    app.event("tell")(handlers[where])
    async with TestServer(app) as server, AsyncExitStack() as stack:
        ws, _ = await opened(stack, server)
        await ws.send_json({"type": "walker", "walker": "tell"})
        assert [value["to"] for value in await heard(ws)] == ["self", "channel", "client", "user"]


async def test_self_is_the_connection_of_a_typed_handler_and_of_its_hooks_too() -> None:
    app = App()

    @app.websocket("/typed")
    async def typed(message: str) -> str:
        notify.self("first")
        return "then"

    @typed.on_connect
    async def came() -> None:
        notify.self("hello")

    async with TestServer(app) as server, server.websocket("/typed") as ws:
        assert await ws.receive_text() == "hello"
        await ws.send_text("x")
        assert [await ws.receive_text() for _ in range(2)] == ["first", "then"]


async def test_self_is_whoever_runs_the_code_and_nobody_else() -> None:
    app, gate = application(), asyncio.Event()

    @app.event()
    async def slow(context: dict[str, Any]) -> None:
        if context["wait"]:
            await gate.wait()
        else:
            gate.set()
        notify.self({"wait": context["wait"]})

    async with TestServer(app) as server, AsyncExitStack() as stack:
        one, _ = await opened(stack, server)
        other, _ = await opened(stack, server)
        await one.send_json({"type": "walker", "walker": "slow", "context": {"wait": True}})
        await other.send_json({"type": "walker", "walker": "slow", "context": {"wait": False}})
        assert await heard(other) == [{"wait": False}]
        assert await heard(one) == [{"wait": True}]


async def test_self_elsewhere_does_nothing() -> None:
    notify.self({"n": 1})
    async with TestServer(application()) as server, AsyncExitStack() as stack:
        ws, _ = await opened(stack, server)
        notify.self({"n": 1})
        await in_thread(lambda: notify.self({"n": 1}))
        caller: Any = SimpleNamespace(send=lambda data: pytest.fail("it is no connection"))
        token = current_caller.set(caller)
        notify.self({"n": 1})
        current_caller.reset(token)
        assert await heard(ws) == []


async def test_what_a_thread_sends_to_itself_is_what_it_was_when_it_was_sent() -> None:
    app = application()

    @app.event()
    def work() -> None:
        state = {"n": 0}
        for number in range(3):
            state["n"] = number
            notify.self(state)
            notify.channels(["room"], state)

    async with TestServer(app) as server, AsyncExitStack() as stack:
        ws, _ = await opened(stack, server)
        await ws.send_json({"type": "walker", "walker": "work", "response": True})
        assert [value["n"] for value in (await heard(ws))[:-1]] == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("call", ["self", "channels"])
async def test_what_has_no_json_form_is_the_callers_error_in_a_thread_too(call: str) -> None:
    app, failures = application(), []

    @app.event()
    def work() -> None:
        try:
            if call == "self":
                notify.self(object())
            else:
                notify.channels(["room"], object())
        except TypeError as error:
            failures.append(error)

    async with TestServer(app) as server, AsyncExitStack() as stack:
        ws, _ = await opened(stack, server)
        await ws.send_json({"type": "walker", "walker": "work"})
        assert await heard(ws) == []
        assert len(failures) == 1


async def test_it_reaches_its_targets_from_plain_code_and_from_other_threads() -> None:
    async with TestServer(application()) as server, AsyncExitStack() as stack:
        ws, data = await opened(stack, server)

        def tell() -> None:
            notify.channels(["room"], {"to": "channel"})
            notify.clients([data["client_id"]], {"to": "client"})
            notify.users([PUBLIC_ROOT_ID], {"to": "user"})

        tell()
        assert [value["to"] for value in await heard(ws)] == ["channel", "client", "user"]
        await in_thread(tell)
        assert [value["to"] for value in await heard(ws)] == ["channel", "client", "user"]
        await in_thread(lambda: asyncio.run(as_coroutine(tell)))  # another event loop is another thread's
        assert [value["to"] for value in await heard(ws)] == ["channel", "client", "user"]


async def as_coroutine(call: Callable[[], Any]) -> None:
    call()


def test_where_nothing_can_publish_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WIRELOOM_BACKPLANE", raising=False)
    for call in (notify.users, notify.channels, notify.clients):
        with pytest.raises(NoHub, match=r"WIRELOOM_BACKPLANE.*notify\.connect"):
            call(["a"], {})
    notify.flush()  # there is nothing to wait for


async def test_once_the_application_has_ended_there_is_no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    async with TestServer(application()):
        notify.channels(["room"], {})
    with pytest.raises(NoHub):
        notify.channels(["room"], {})


# -- what --------------------------------------------------------------------------------------------------------------


async def test_payloads_go_by_their_type() -> None:
    async with TestServer(application()) as server, AsyncExitStack() as stack:
        ws, _ = await opened(stack, server)
        for data in ({"ü": [1, None]}, "text", b"\xff", None, 5, '{"verbatim":  1.10}'):
            notify.channels(["room"], data)
        got = [await ws.receive() for _ in range(6)]
        assert got == ['{"ü":[1,null]}', "text", b"\xff", "null", "5", '{"verbatim":  1.10}']


async def test_a_target_that_is_repeated_gets_it_once_and_unknown_ones_are_nobody() -> None:
    app = application()
    async with TestServer(app) as server, AsyncExitStack() as stack:
        ws, data = await opened(stack, server)
        before = app.hub.publications
        notify.channels(["room", "nobody's", "room"], {"n": 1})
        notify.clients([data["client_id"]] * 3, {"n": 2})
        notify.users(iter([data["root_id"], data["root_id"]]), {"n": 3})
        notify.channels([], {"n": 4})
        assert await heard(ws) == [{"n": 1}, {"n": 2}, {"n": 3}]
        assert app.hub.publications - before == 4


async def test_users_are_named_by_whatever_has_a_root_id() -> None:
    async with TestServer(application()) as server, AsyncExitStack() as stack:
        ws, _ = await opened(stack, server)
        roots = [SimpleNamespace(root_id=PUBLIC_ROOT_ID), SimpleNamespace(id=PUBLIC_ROOT_ID), PUBLIC_ROOT_ID]
        for root in roots:
            notify.users([root], {"n": 1})
        assert await heard(ws) == [{"n": 1}] * 3
        for wrong in (None, 5, SimpleNamespace(id=5), object()):
            with pytest.raises(TypeError, match="root"):
                notify.users([PUBLIC_ROOT_ID, wrong], {"n": 2})
        assert await heard(ws) == []


@pytest.mark.parametrize("call", [notify.users, notify.channels, notify.clients])
def test_a_text_in_place_of_a_list_is_refused(call: Any) -> None:
    with pytest.raises(TypeError, match="list"):
        call("room", {})


@pytest.mark.parametrize("wrong", [5, None, b"room", ("room",)])
async def test_a_channel_or_client_that_is_no_text_is_refused(wrong: Any) -> None:
    """Else it would be published to a name that is its repr, which nobody can hear."""
    async with TestServer(application()):
        for call in (notify.channels, notify.clients):
            with pytest.raises(TypeError):
                call([wrong], {})


async def test_the_old_names_are_aliases_on_one_object() -> None:
    for name in ("self", "users", "channels", "clients"):
        assert inspect.unwrap(getattr(WEBSOCKET_MANAGER, f"notify_{name}")) == getattr(notify, name)
    app = application()

    @app.event()
    async def work(connection: Connection) -> None:
        WEBSOCKET_MANAGER.notify_self({"n": 1})
        WEBSOCKET_MANAGER.notify_users([connection.root_id], {"n": 2})
        WEBSOCKET_MANAGER.notify_channels(["room"], {"n": 3})
        WEBSOCKET_MANAGER.notify_clients([connection.client_id], {"n": 4})

    async with TestServer(app) as server, AsyncExitStack() as stack:
        ws, _ = await opened(stack, server)
        await ws.send_json({"type": "walker", "walker": "work"})
        assert [value["n"] for value in await heard(ws)] == [1, 2, 3, 4]


async def test_one_notification_costs_one_encoding_and_one_framing_however_many_hear_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with TestServer(application()) as server, AsyncExitStack() as stack:
        sockets = [(await opened(stack, server))[0] for _ in range(50)]
        made: list[str] = []
        encode, frame = connection_module.encode_plain, base.text_frame
        monkeypatch.setattr(connection_module, "encode_plain", lambda data: made.append("encode") or encode(data))  # type: ignore[func-returns-value]
        monkeypatch.setattr(base, "text_frame", lambda data: made.append("frame") or frame(data))  # type: ignore[func-returns-value]
        notify.channels(["room"], {"n": 1})
        assert made == ["encode", "frame"]
        assert [await ws.receive_json() for ws in sockets] == [{"n": 1}] * 50
        assert made == ["encode", "frame"]
        made.clear()
        notify.channels(["room", "other", "third"], {"n": 2})
        assert made == ["encode", "frame", "frame", "frame"]  # encoded once a call


# -- order and hubs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 4])
async def test_what_one_caller_sends_to_one_target_arrives_in_that_order(threads: int) -> None:
    async with TestServer(application()) as server, AsyncExitStack() as stack:
        ws, _ = await opened(stack, server)

        def tell(name: int) -> None:
            for number in range(200):
                notify.channels(["room"], {"who": name, "n": number})

        await asyncio.gather(*(in_thread(lambda name=name: tell(name)) for name in range(threads)))  # type: ignore[misc]
        got = await heard(ws)
        assert len(got) == 200 * threads
        for name in range(threads):
            assert [value["n"] for value in got if value["who"] == name] == list(range(200))


async def test_two_applications_in_one_process_each_use_their_own_hub() -> None:
    apps = [application(), application()]
    for app in apps:

        @app.event("tell")
        async def tell() -> None:
            notify.channels(["room"], {"from": "handler"})

        @app.event("thread")
        def thread() -> None:
            notify.channels(["room"], {"from": "thread"})

    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(TestServer(app)) for app in apps]
        sockets = [(await opened(stack, server))[0] for server in servers]
        for number, ws in enumerate(sockets):
            for walker in ("tell", "thread"):
                await ws.send_json({"type": "walker", "walker": walker})
            assert await heard(ws) == [{"from": "handler"}, {"from": "thread"}]
            assert await heard(sockets[1 - number]) == []
        notify.channels(["room"], {"from": "nowhere"})  # of two that run, the newest
        assert [await heard(ws) for ws in sockets] == [[], [{"from": "nowhere"}]]


async def test_an_application_in_another_thread_is_reached() -> None:
    """A server whose loop is not this thread's: every call is handed over."""
    started, done, results = threading.Event(), threading.Event(), []

    async def serve() -> None:
        async with TestServer(application()) as server, AsyncExitStack() as stack:
            ws, _ = await opened(stack, server)
            started.set()
            await asyncio.to_thread(done.wait, 5)
            results.extend(await heard(ws))

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert await asyncio.to_thread(started.wait, 5)
    for number in range(10):
        notify.channels(["room"], {"n": number})
    done.set()
    await asyncio.to_thread(thread.join, 10)
    assert [value["n"] for value in results] == list(range(10))


# -- other processes ---------------------------------------------------------------------------------------------------

SCRIPTS = {
    "exits at once": "from wireloom import notify\nfor n in range({count}): notify.channels(['room'], {{'n': n}})",
    "raises": (
        "from wireloom import notify\nfor n in range({count}): notify.channels(['room'], {{'n': n}})\n"
        "raise SystemExit(0)"
    ),
    "in a thread": (
        "import threading\nfrom wireloom import notify\n"
        "def run():\n    for n in range({count}): notify.channels(['room'], {{'n': n}})\n"
        "t = threading.Thread(target=run)\nt.start()\nt.join()"
    ),
    "in a loop": (
        "import asyncio\nfrom wireloom import notify\n"
        "async def run():\n    for n in range({count}): notify.channels(['room'], {{'n': n}})\n"
        "asyncio.run(run())"
    ),
    "flushes": (
        "import os\nfrom wireloom import notify\n"
        "for n in range({count}): notify.channels(['room'], {{'n': n}})\nnotify.flush()\nos._exit(0)"
    ),
    "forks": (
        "import os\nfrom wireloom import notify\nnotify.channels(['room'], {{'n': 0}})\nnotify.flush()\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    for n in range(1, {count}): notify.channels(['room'], {{'n': n}})\n"
        "    notify.flush()\n    os._exit(0)\n"
        "assert os.waitpid(pid, 0)[1] == 0"
    ),
    "connects": (
        "import os\nfrom wireloom import notify\nnotify.connect(os.environ.pop('WIRELOOM_BACKPLANE'))\n"
        "for n in range({count}): notify.channels(['room'], {{'n': n}})"
    ),
}


async def run_script(script: str, url: str, directory: Path) -> None:
    """A python process with nothing but our sources and the backplane's URL."""
    environ = {**os.environ, "PYTHONPATH": SOURCE, "WIRELOOM_BACKPLANE": url, "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-c", script]

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, env=environ, cwd=directory, capture_output=True, text=True, timeout=30)

    done = await asyncio.to_thread(run)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture(scope="module", params=[redis_service, nats_service], ids=["redis", "nats"])
def backplane(request: pytest.FixtureRequest) -> Any:
    with request.param() as service:
        yield service.url


@pytest.mark.parametrize("how", SCRIPTS)
async def test_a_process_that_serves_nothing_reaches_those_who_hear(how: str, backplane: str, tmp_path: Path) -> None:
    async with TestServer(application(backplane=backplane)) as server, AsyncExitStack() as stack:
        ws, _ = await opened(stack, server)
        await run_script(SCRIPTS[how].format(count=20), backplane, tmp_path)
        assert [(await ws.receive_json())["n"] for _ in range(20)] == list(range(20))
        await ws.expect_nothing(0.05)


async def test_a_fork_of_a_process_that_serves_still_reaches_those_who_hear(tmp_path: Path) -> None:
    """The parent's hub is copied by the fork, but its event loop does not run there."""
    script = (
        "import asyncio, os\nfrom wireloom import App, notify\n"
        "async def main():\n"
        "    async with App(database='sqlite://').running():\n"
        "        pid = os.fork()\n"
        "        if pid == 0:\n"
        "            try:\n                notify.channels(['room'], {'n': 1})\n                notify.flush()\n"
        "            finally:\n                os._exit(0)\n"
        "        await asyncio.to_thread(os.waitpid, pid, 0)\n"
        "asyncio.run(main())"
    )
    with redis_service() as service:
        async with TestServer(application(backplane=service.url)) as server, AsyncExitStack() as stack:
            ws, _ = await opened(stack, server)
            await run_script(script, service.url, tmp_path)
            assert await ws.receive_json() == {"n": 1}


async def test_a_backplane_that_cannot_be_reached_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own = Notify(lambda: pytest.fail("it was told where to connect"))
    own.connect("redis://127.0.0.1:1")
    with pytest.raises(wireloom.ConfigError):
        own.channels(["room"], {})
