"""The graceful stop: handlers end first, then 1012 with advice when to come back; always bounded."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from wireloom import App
from wireloom.testing import TestServer
from wireloom.wire.frames import CLOSE, PONG, TEXT, mask_frame

from .raw import Frame, Peer, dial, eventually, request_head, serve, soon

pytestmark = pytest.mark.anyio


def advice(frame: Frame) -> int:
    """When to come back, from a 1012."""
    assert frame.code == 1012, frame
    reason = json.loads(frame.reason)
    assert list(reason) == ["reconnect_in_ms"]
    wait = reason["reconnect_in_ms"]
    assert isinstance(wait, int)
    assert 0 < wait <= 60_000
    return wait


def gate_app(**options: Any) -> tuple[App, asyncio.Event, list[str]]:
    app, gate, events = App(**options), asyncio.Event(), []

    @app.websocket("/echo")
    async def echo(message: str) -> str:
        return message

    @app.websocket("/gate")
    async def gated(message: str) -> str:
        events.append(f"begin {message}")
        await gate.wait()
        events.append(f"end {message}")
        return message

    @gated.on_disconnect
    async def left() -> None:
        events.append("leaving")
        for _ in range(5):
            await asyncio.sleep(0)
        events.append("left")

    @app.websocket("/ticks")
    async def ticks(message: str) -> AsyncIterator[str]:
        try:
            yield "tick"
            await asyncio.Event().wait()
        finally:
            events.append("stream ended")

    return app, gate, events


async def test_idle_connections_are_closed_with_1012_each_with_its_own_advice() -> None:
    app, _, _ = gate_app()
    async with TestServer(app) as server, AsyncExitStack() as stack:
        peers = [await stack.enter_async_context(dial(server.port)) for _ in range(10)]
        for peer in peers:
            await peer.upgrade()
        server.shutdown()
        waits = {advice(await peer.frame()) for peer in peers}
        assert len(waits) > 3
        for peer in peers:
            peer.close(b"\x03\xf4")
            await peer.expect_end()


async def test_leaving_the_server_closes_what_is_open() -> None:
    app, _, _ = gate_app()
    async with TestServer(app) as server:
        ws = await server.websocket("/echo").__aenter__()
        await ws.send_text("x")
        assert await ws.receive_text() == "x"
    assert await ws.wait_closed() == 1012
    assert json.loads(ws.close_reason)["reconnect_in_ms"]
    assert app.hub.count() == 0


async def test_a_running_handler_ends_first_and_so_do_messages_that_wait() -> None:
    app, gate, events = gate_app()
    async with TestServer(app) as server, dial(server.port) as peer:
        await peer.upgrade("/gate")
        peer.send(mask_frame(TEXT, b"1") + mask_frame(TEXT, b"2"))
        await eventually(lambda: events)
        server.shutdown()
        with pytest.raises(TimeoutError):
            await peer.frame(0.1)
        gate.set()
        await peer.expect_text("1")
        await peer.expect_text("2")
        advice(await peer.frame())
        peer.close(b"\x03\xf4")
        await peer.expect_end()
        await eventually(lambda: "left" in events)
    assert events == ["begin 1", "end 1", "begin 2", "end 2", "leaving", "left"]


async def test_a_connection_whose_on_connect_runs_is_closed_after_it() -> None:
    app, gate = App(), asyncio.Event()

    @app.websocket("/echo")
    async def echo(message: str) -> str:
        return message

    @echo.on_connect
    async def joined() -> None:
        await gate.wait()

    async with TestServer(app) as server, dial(server.port) as peer:
        await peer.upgrade()
        await eventually(lambda: app.hub.count() == 1)
        server.shutdown()
        with pytest.raises(TimeoutError):
            await peer.frame(0.1)
        gate.set()
        advice(await peer.frame())


async def test_a_stream_is_ended_at_once() -> None:
    app, _, events = gate_app()
    async with TestServer(app) as server, dial(server.port) as peer:
        await peer.upgrade("/ticks")
        peer.text("go")
        await peer.expect_text("tick")
        server.shutdown()
        advice(await peer.frame())
        peer.close(b"\x03\xf4")
        await peer.expect_end()
        await eventually(lambda: events == ["stream ended"])


@asynccontextmanager
async def at_least(least: float) -> AsyncIterator[None]:
    """The block must take so long, and end."""
    started = asyncio.get_running_loop().time()
    async with asyncio.timeout(20):
        yield
    assert least <= asyncio.get_running_loop().time() - started


async def test_it_is_bounded_when_peers_do_not_answer() -> None:
    app, _, _ = gate_app()
    async with AsyncExitStack() as stack:
        async with serve(app, drain_timeout_seconds=1) as (_, port):
            peers = [await stack.enter_async_context(dial(port)) for _ in range(3)]
            for peer in peers:
                await peer.upgrade()
            await stack.enter_async_context(at_least(0.9))
        assert app.hub.count() == 0
        for peer in peers:
            assert (await peer.frame()).code == 1012


async def test_it_is_bounded_when_a_handler_hangs_and_on_disconnect_still_runs() -> None:
    app, _, events = gate_app()
    async with AsyncExitStack() as stack:
        async with serve(app, drain_timeout_seconds=1) as (_, port):
            peer = await stack.enter_async_context(dial(port))
            await peer.upgrade("/gate")
            peer.text("1")
            await eventually(lambda: events)
            await stack.enter_async_context(at_least(0.9))
        told = await peer.frame()
        assert told.code == 1001  # not 1012: what it was asked may have been done
        assert json.loads(told.reason)["reconnect_in_ms"]
        # The application has stopped: nothing of it may run any more, so its last hook must have.
        assert events == ["begin 1", "leaving", "left"]


async def test_messages_that_wait_behind_a_hanging_handler_do_not_begin_when_the_time_is_over() -> None:
    app, _, events = gate_app()
    async with AsyncExitStack() as stack:
        async with serve(app, drain_timeout_seconds=1) as (_, port):
            peer = await stack.enter_async_context(dial(port))
            await peer.upgrade("/gate")
            peer.text("0")
            await eventually(lambda: events)
            peer.send(b"".join(mask_frame(TEXT, b"%d" % number) for number in range(1, 5)))
            peer.ping()
            assert (await peer.frame()).opcode == PONG  # all of it has been read
            await stack.enter_async_context(at_least(0.9))
        for _ in range(20):
            await asyncio.sleep(0)
    assert [event for event in events if event.startswith("begin")] == ["begin 0"]


async def test_on_disconnect_ends_before_the_server_has_stopped() -> None:
    app, done = App(), []

    @app.websocket("/echo")
    async def echo(message: str) -> str:
        return message

    @echo.on_disconnect
    async def left() -> None:
        await asyncio.sleep(0.3)
        done.append("left")

    async with TestServer(app) as server:
        async with dial(server.port) as peer:
            await peer.upgrade()
            await eventually(lambda: app.hub.count() == 1)
        await eventually(lambda: app.hub.count() == 0)
    assert done == ["left"]


async def test_the_same_app_runs_again_after_a_stop() -> None:
    app, _, _ = gate_app()
    for _ in range(2):
        async with TestServer(app) as server, server.websocket("/echo") as ws:
            await ws.send_text("again")
            assert await ws.receive_text() == "again"
            await app.hub.publish("everyone", "x")


# -- a real process --------------------------------------------------------------------------------------------------

_MAIN = """
import asyncio, socket, sys
import uvicorn
from wireloom import App
from wireloom.net.server import uvicorn_config

app = App(close_timeout_seconds=30, drain_timeout_seconds=float(sys.argv[1]))

@app.websocket("/echo")
async def echo(message: str) -> str:
    return message

@app.websocket("/slow")
async def slow(message: str) -> str:
    print("begun", flush=True)
    await asyncio.sleep(float(message))
    return "done"

@slow.on_disconnect
async def left() -> None:
    await asyncio.sleep(0)
    print("left", flush=True)

listening = socket.create_server(("127.0.0.1", 0))
print(listening.getsockname()[1], flush=True)
uvicorn.Server(uvicorn_config(app, app.config)).run([listening])
"""


class Process:
    """A server in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.port = 0

    async def line(self) -> str:
        """The next line that it prints."""
        assert self._process.stdout is not None
        return (await soon(self._process.stdout.readline(), 15)).decode().strip()

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    async def ended(self, seconds: float = 30) -> int:
        return await soon(self._process.wait(), seconds)


@asynccontextmanager
async def process(folder: Path, drain_seconds: float) -> AsyncIterator[Process]:
    (folder / "main.py").write_text(_MAIN)
    child = await asyncio.create_subprocess_exec(
        sys.executable, "main.py", str(drain_seconds), stdout=asyncio.subprocess.PIPE, cwd=folder
    )
    try:
        started = Process(child)
        started.port = int(await started.line())
        yield started
    finally:
        if child.returncode is None:
            child.kill()
        await child.communicate()


async def connected(stack: AsyncExitStack, port: int, path: str = "/echo") -> Peer:
    peer = await stack.enter_async_context(dial(port))
    await soon(peer.upgrade(path), 15)
    return peer


async def test_sigterm_lets_handlers_end_and_closes_with_1012(tmp_path: Path) -> None:
    async with process(tmp_path, 10) as server, AsyncExitStack() as stack:
        idle = await connected(stack, server.port)
        busy = await connected(stack, server.port, "/slow")
        busy.text("0.5")
        assert await server.line() == "begun"
        server.signal(signal.SIGTERM)
        advice(await idle.frame())
        idle.close(b"\x03\xf4")
        await idle.expect_end()
        await busy.expect_text("done")
        advice(await busy.frame())
        busy.close(b"\x03\xf4")
        await busy.expect_end()
        assert await server.line() == "left"
        assert await server.ended() in (0, -signal.SIGTERM)
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", server.port)


async def test_sigterm_is_bounded_by_the_drain_limit(tmp_path: Path) -> None:
    async with process(tmp_path, 1) as server, AsyncExitStack() as stack:
        silent = await connected(stack, server.port)
        hanging = await connected(stack, server.port, "/slow")
        http = await stack.enter_async_context(dial(server.port))
        http.send(request_head("GET", "/healthz/live"))
        assert (await http.answer()).status == 200
        hanging.text("1000")
        assert await server.line() == "begun"
        async with at_least(0.5):
            server.signal(signal.SIGTERM)
            advice(await silent.frame())
            assert (await server.ended()) in (0, -signal.SIGTERM)
        assert await server.line() == "left"


async def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    """uvicorn's own server heeds SIGINT only; `wireloom serve` any second signal (tests/cli)."""
    async with process(tmp_path, 300) as server, AsyncExitStack() as stack:
        hanging = await connected(stack, server.port, "/slow")
        hanging.text("1000")
        assert await server.line() == "begun"
        idle = await connected(stack, server.port)
        server.signal(signal.SIGTERM)
        frame = await idle.frame()
        assert frame.opcode == CLOSE
        server.signal(signal.SIGINT)
        await server.ended()
