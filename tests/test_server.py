"""Page 5, `create_server`: the server object, in a process of its own and in an event loop that runs already."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import socket
import ssl
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.cli.processes import Running
from wireloom import CallbackRequest, ConfigError, Server, create_server
from wireloom.clients.connection import open_connection
from wireloom.testing import TestWebSocket

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")

PROGRAM = """\
import sys

from wireloom import create_server


def handler(req):
    if req.type == "websocket":
        req.ws.send("Echo: " + req.data)
        return None
    return {"body": "hello"}


def on_close(ws):
    print("closed with", ws.close_code, flush=True)


server = create_server(handler, on_close=on_close, drain_timeout_seconds=5)
if __name__ == "__main__":
    server.listen(int(sys.argv[1]), callback=lambda: print("serving", server.url, flush=True))
    print("done", server.port, flush=True)
"""


def handler(req: CallbackRequest) -> Any:
    if req.ws is not None:
        req.ws.send(f"Echo: {req.data}")
        return None
    return {"body": "hello"}


def websocket(url: str, **options: Any) -> TestWebSocket:
    """A client of a server that is reached by its URL."""
    return TestWebSocket(open_connection(f"ws{url.removeprefix('http')}/", **options), "/", 3)


# -- listen ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Runs a program of the page as a process."""
    running: list[Running] = []

    def begin(*arguments: str, program: str = PROGRAM) -> Running:
        (tmp_path / "program.py").write_text(program)
        running.append(Running(arguments, tmp_path, {}, (sys.executable, "-W", "error", "program.py")))
        return running[-1]

    yield begin
    for process in running:
        process.kill()


@posix_only
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_listen_serves_until_a_signal_and_returns(start: Callable[..., Running], number: int) -> None:
    process = start("0")
    url = process.until(r"serving (http://127\.0\.0\.1:[1-9]\d*)")[1]
    assert urllib.request.urlopen(f"{url}/any", timeout=5).read() == b"hello"
    process.signal(number)
    assert process.end() == 0
    assert process.stdout.endswith("done 0\n") and process.stderr == ""


@posix_only
def test_what_is_open_ends_with_1012_before_listen_returns(start: Callable[..., Running]) -> None:
    process = start("0")
    url = process.until(r"serving (\S+)")[1]

    async def talk() -> int:
        async with websocket(url) as ws:
            await ws.send_text("x")
            assert await ws.receive_text() == "Echo: x"
            process.signal(signal.SIGINT)
            return await ws.wait_closed()

    assert asyncio.run(talk()) == 1012
    assert process.end() == 0
    assert process.stdout.endswith("closed with 1012\ndone 0\n") and process.stderr == ""


@posix_only
def test_a_second_signal_ends_the_process_at_once(start: Callable[..., Running]) -> None:
    busy = "    print('busy', flush=True)\n    __import__('time').sleep(60)\n"
    slow = PROGRAM.replace('    return {"body"', busy + '    return {"body"')
    process = start("0", program=slow)
    port = int(process.until(r"serving \S+:(\d+)")[1])
    with socket.create_connection(("127.0.0.1", port), timeout=5) as peer:
        peer.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        process.until("busy")
        process.signal(signal.SIGINT)
        process.signal(signal.SIGTERM)
        assert process.end() == 128 + signal.SIGTERM


def test_a_port_in_use_is_told(start: Callable[..., Running]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = start(str(port))
        assert process.end() == 1
    assert process.stderr.splitlines()[-1].endswith(
        f"ConfigError: port {port} is in use; choose another, or 0 for a free one"
    )


@pytest.mark.parametrize(
    ("port", "host", "told"),
    [
        (70000, "127.0.0.1", "port 70000 does not exist; the last is 65535"),
        (-1, "127.0.0.1", "port -1 does not exist; the last is 65535"),
        ("3000", "127.0.0.1", "port is a number, not '3000'"),
        (3000, print, "host is text, not <built-in function print>; a function goes to callback="),
        (0, "192.0.2.1", "192.0.2.1 is no address of this machine; choose another"),
        (0, "no host", "there is no host 'no host' to listen on"),
    ],
)
def test_a_place_where_it_cannot_listen_is_told(port: Any, host: Any, told: str) -> None:
    with pytest.raises(ConfigError) as error:
        create_server(handler).listen(port, host)
    assert str(error.value) == told


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_a_callback_that_fails_ends_it(is_async: bool) -> None:
    def fail() -> None:
        raise KeyError("mine")

    async def fail_later() -> None:
        await asyncio.sleep(0)
        fail()

    server = create_server(handler)
    with pytest.raises(KeyError, match="mine"):
        server.listen(0, callback=fail_later if is_async else fail)
    assert (server.port, server.app.listener) == (0, None)


@posix_only
def test_it_leaves_signals_as_it_found_them_and_may_listen_again() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    server, seen = create_server(handler), []

    def stop() -> None:
        seen.append(server.port)
        signal.raise_signal(signal.SIGTERM)

    server.listen(0, callback=stop)
    server.listen(0, callback=stop)
    assert len(seen) == 2 and all(seen)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


@posix_only
def test_the_collector_passes_over_what_is_there_while_a_server_has_the_process() -> None:
    frozen = []

    def stop() -> None:
        frozen.append(gc.get_freeze_count())
        signal.raise_signal(signal.SIGTERM)

    create_server(handler).listen(0, callback=stop)
    assert frozen[0] > 10_000
    assert gc.get_freeze_count() == 0


def failing_after(event: asyncio.Event) -> Any:
    """A lifespan whose background task fails."""

    async def fail() -> None:
        await event.wait()
        raise ValueError("lost")

    @contextlib.asynccontextmanager
    async def lifespan(app: Any) -> Any:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(fail())
            yield

    return lifespan


def test_the_collector_looks_at_everything_again_when_the_lifespan_ends_by_itself() -> None:
    frozen, serves = [], asyncio.Event()

    def begin() -> None:
        frozen.append(gc.get_freeze_count())
        serves.set()

    create_server(handler, lifespan=failing_after(serves)).listen(0, callback=begin)
    assert frozen[0] > 10_000
    assert gc.get_freeze_count() == 0


def test_an_application_that_does_not_start(caplog: pytest.LogCaptureFixture) -> None:
    @contextlib.asynccontextmanager
    async def lifespan(app: Any) -> Any:
        raise ValueError("no database")
        yield

    with pytest.raises(RuntimeError, match="the application did not start; its log says why"):
        create_server(handler, lifespan=lifespan).listen(0)
    assert "no database" in caplog.text


@posix_only
def test_a_start_that_is_interrupted_ends_and_returns(caplog: pytest.LogCaptureFixture) -> None:
    seen = []

    @contextlib.asynccontextmanager
    async def lifespan(app: Any) -> Any:
        try:
            signal.raise_signal(signal.SIGINT)
            await asyncio.Event().wait()
            yield
        finally:
            seen.append("closed")

    server = create_server(handler, lifespan=lifespan)
    server.listen(0, callback=lambda: seen.append("served"))
    assert (seen, server.port) == (["closed"], 0)
    assert caplog.messages == ["interrupted while the application started"]


# -- in a running loop -------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_listen_in_a_running_loop_says_what_to_use() -> None:
    with pytest.raises(RuntimeError, match=r"use await server\.start\(port\)"):
        create_server(handler).listen(0)


@pytest.mark.anyio
async def test_a_start_that_is_cancelled_leaves_nothing_behind() -> None:
    waiting, seen = asyncio.Event(), []

    @contextlib.asynccontextmanager
    async def lifespan(app: Any) -> Any:
        try:
            waiting.set()
            await asyncio.Event().wait()
            yield
        finally:
            seen.append("closed")

    server = create_server(handler, lifespan=lifespan)
    starting = asyncio.create_task(server.start())
    await asyncio.wait_for(waiting.wait(), 10)
    port = server.port
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert (seen, server.port, server.app.listener) == (["closed"], 0, None)
    socket.create_server(("127.0.0.1", port)).close()


@pytest.mark.anyio
async def test_an_application_that_ends_by_itself_is_told(caplog: pytest.LogCaptureFixture) -> None:
    failing, told = asyncio.Event(), asyncio.Event()

    class Listen(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.set()

    listen = Listen()
    logging.getLogger("wireloom.net.server").addHandler(listen)
    try:
        async with create_server(handler, lifespan=failing_after(failing)):
            failing.set()
            await asyncio.wait_for(told.wait(), 10)
    finally:
        logging.getLogger("wireloom.net.server").removeHandler(listen)
    assert caplog.messages == ["the application has ended by itself; what its lifespan runs has failed"]
    assert "ValueError: lost" in caplog.text


@pytest.mark.anyio
async def test_the_collector_of_a_process_that_is_not_the_server_s_is_left_alone() -> None:
    async with create_server(handler):
        assert gc.get_freeze_count() == 0


@pytest.mark.anyio
async def test_start_picks_a_port_and_stop_gives_it_back() -> None:
    server = create_server(handler)
    assert (server.port, server.url, repr(server)) == (0, "", "<Server not listening>")
    await server.stop()  # nothing to stop
    await server.start()
    port = server.port
    assert server.url == f"http://127.0.0.1:{port}" and repr(server) == f"<Server {server.url}>"
    with pytest.raises(RuntimeError, match="it serves already"):
        await server.start()
    async with websocket(server.url) as ws:
        await ws.send_text("x")
        assert await ws.receive_text() == "Echo: x"
    await server.stop()
    assert server.port == 0
    await server.start(port)
    assert server.port == port
    await server.stop()


@pytest.mark.anyio
async def test_an_application_does_not_run_twice_at_once() -> None:
    async with create_server(handler) as server:
        for _ in range(2):
            with pytest.raises(RuntimeError, match="running already"):
                async with server.app.running():
                    pass
        async with websocket(server.url) as ws:  # and the first run has not noticed
            await ws.send_text("x")
            assert await ws.receive_text() == "Echo: x"
    async with server.app.running():  # one after the other is well
        pass


@pytest.mark.anyio
async def test_async_with_starts_and_stops() -> None:
    async with create_server(handler) as server:
        async with httpx.AsyncClient() as http:
            for path in ("", "/docs", "/openapi.json"):  # documents are off: there would be nothing in them
                assert (await http.get(server.url + path)).text == "hello"
        url = server.url
    with pytest.raises(OSError):
        await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    server = create_server(handler)
    await server.start()
    port = server.port
    async with server:
        assert server.port == port


@pytest.mark.anyio
async def test_stop_lets_running_handlers_end() -> None:
    entered, gate = asyncio.Event(), asyncio.Event()

    async def slow(req: CallbackRequest) -> None:
        entered.set()
        await gate.wait()
        req.ws.send("finished")

    server = create_server(slow, drain_timeout_seconds=5)
    await server.start()
    async with websocket(server.url) as ws:
        await ws.send_text("x")
        await asyncio.wait_for(entered.wait(), 3)
        stopping = asyncio.create_task(server.stop())
        await asyncio.sleep(0)
        gate.set()
        assert await ws.receive_text() == "finished"
        assert await ws.wait_closed() == 1012
        await asyncio.wait_for(stopping, 5)


@pytest.mark.anyio
async def test_a_start_that_fails_leaves_nothing() -> None:
    server = create_server(handler)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port} is in use"):
            await server.start(port)
    await server.start(port)
    await server.stop()


# -- TLS and options ---------------------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["files", "context"])
async def test_tls(certificate: tuple[str, str], kind: str) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    trusting = ssl.create_default_context(cafile=certificate[0])
    async with create_server(handler, ssl=certificate if kind == "files" else context) as server:
        assert server.url == f"https://127.0.0.1:{server.port}"
        async with httpx.AsyncClient(verify=trusting) as http:
            assert (await http.get(server.url)).text == "hello"
        async with websocket(server.url, ssl=trusting) as ws:
            await ws.send_text("x")
            assert await ws.receive_text() == "Echo: x"


@pytest.mark.anyio
async def test_a_certificate_that_is_none(certificate: tuple[str, str], tmp_path: Path) -> None:
    for files, told in (
        ((certificate[0], "no.pem"), "^ssl_keyfile: there is no file 'no.pem'$"),
        ((__file__, certificate[1]), "not a certificate"),
    ):
        with pytest.raises(ConfigError, match=told):
            await create_server(handler, ssl=files).start()


@pytest.mark.anyio
async def test_options_are_those_of_an_app_and_the_environment_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WIRELOOM_MAX_MESSAGE_BYTES", "20")
    monkeypatch.setenv("WIRELOOM_PORT", "1")
    async with create_server(handler, max_message_bytes=10, docs=True) as server:
        assert server.app.config.limits.max_message_bytes == 20
        assert server.port > 1
        async with httpx.AsyncClient() as http:
            assert "openapi" in (await http.get(f"{server.url}/openapi.json")).text


def test_a_server_of_any_app() -> None:
    server = create_server(handler)
    assert isinstance(server, Server)

    @server.app.websocket("/typed")
    async def typed(message: str) -> str:
        return message

    assert [row.path for row in server.app.describe()] == ["*", "*", "/typed"]
