"""Stops of real processes: closes that are spread, handlers that end, and an end in any case."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
from bench.crowd import Crowd

from tests.cli.processes import Running
from tests.net.raw import Peer, dial, eventually, request_head
from wireloom import ConnectionClosed
from wireloom.clients.connection import ClientConnection, open_connection
from wireloom.wire.frames import TEXT, mask_frame

from .draining import SECONDS, end_of, port_of, serving, soon, until

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX"),
]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Starts `wireloom serve` on an application; gives the process."""
    with serving(tmp_path) as start:
        yield start


# -- many --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def open_files() -> None:
    """Enough for 5,000 connections, here and in the processes that are started."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 12_000 if hard == resource.RLIM_INFINITY else min(12_000, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


async def test_5000_connections_are_closed_one_batch_after_another(
    serve: Callable[..., Running], open_files: None
) -> None:
    server = serve("--drain-spread-seconds", "4")
    port = port_of(server.started())
    crowd = Crowd("/echo")
    await soon(crowd.connect(port, 5000), 60)
    server.signal(signal.SIGTERM)
    await soon(crowd.told.wait())
    rounds, told = 0, []
    while (other := next(crowd.open, None)) is not None and rounds < 1000:
        before = crowd.echoes
        other.send(TEXT, b"still there?")
        await eventually(lambda: crowd.echoes > before or other.code is not None)  # noqa: B023
        rounds += crowd.echoes > before
        told.append(sum(member.code is not None for member in crowd.members))
    assert rounds > 10  # those whose turn has not come are served as before
    assert len(set(told)) > 10  # ... while others are closed, some now and some then
    await soon(crowd.over.wait())
    waits = crowd.waits()
    assert len(set(waits)) > 1000
    counts = Counter(wait * 10 // 2001 for wait in waits)  # by tenths of the range
    assert len(counts) == 10 and min(counts.values()) > 250
    assert (await end_of(server), server.stderr) == (0, "Stopping; Ctrl-C again ends at once\n")


async def test_a_second_signal_ends_it_with_thousands_open(serve: Callable[..., Running], open_files: None) -> None:
    server = serve()
    crowd = Crowd("/echo")
    await soon(crowd.connect(port_of(server.started()), 3000), 60)
    server.signal(signal.SIGTERM)
    await soon(crowd.told.wait())
    server.signal(signal.SIGTERM)
    assert await end_of(server) == 128 + signal.SIGTERM
    await soon(crowd.over.wait())
    assert any(crowd.open)  # it did not wait for their turn


# -- messages ----------------------------------------------------------------------------------------------------------


async def test_what_was_accepted_is_answered_before_the_close(serve: Callable[..., Running], tmp_path: Path) -> None:
    server = serve()
    port = port_of(server.started())
    async with dial(port) as busy, dial(port) as idle:
        await busy.upgrade("/slow")
        await idle.upgrade("/echo")
        busy.send(b"".join(mask_frame(TEXT, str(tmp_path / name).encode()) for name in "abc"))
        await until(server, "begun .*/a")
        server.signal(signal.SIGTERM)
        frame = await idle.frame()
        assert frame.code == 1012
        for name in "abc":
            (tmp_path / name).touch()
            await busy.expect_text(f"done {tmp_path / name}")
        frame = await busy.frame()
        assert frame.code == 1012 and json.loads(frame.reason)["reconnect_in_ms"] > 0
        for peer in (busy, idle):
            peer.close(b"\x03\xf4")
            await peer.expect_end()
    assert await end_of(server) == 0


async def test_a_hangup_ends_one_process_as_a_termination_does(serve: Callable[..., Running]) -> None:
    server = serve()
    async with open_connection(f"ws://127.0.0.1:{port_of(server.started())}/echo") as client:
        server.signal(signal.SIGHUP)
        with pytest.raises(ConnectionClosed) as closed:
            await soon(client.receive())
    assert (closed.value.code, list(json.loads(closed.value.reason))) == (1012, ["reconnect_in_ms"])
    assert await end_of(server) == 0


async def test_what_comes_after_the_close_is_not_handled(serve: Callable[..., Running]) -> None:
    """So a client that was closed with 1012 knows of what it has no answer to: it was not done."""
    server = serve()
    async with dial(port_of(server.started())) as peer:
        await peer.upgrade("/slow")
        server.signal(signal.SIGTERM)
        assert (await peer.frame()).code == 1012
        peer.text("late")
        peer.close(b"\x03\xf4")
        await peer.expect_end()
    assert (await end_of(server), "late" in server.stdout) == (0, False)


async def test_a_request_on_its_way_is_answered(serve: Callable[..., Running], tmp_path: Path) -> None:
    """The process is halted while requests arrive, so that it finds signal and requests together."""
    server = serve()
    port = port_of(server.started())
    async with AsyncExitStack() as stack:
        peers = [await stack.enter_async_context(dial(port)) for _ in range(3)]
        await peers[0].upgrade("/echo")
        server.signal(signal.SIGSTOP)
        latest = await stack.enter_async_context(dial(port))  # in the kernel's backlog
        for peer in (peers[1], latest):
            peer.send(request_head("GET", "/healthz/live"))
        peers[2].send(request_head("GET", "/echo", {"Upgrade": "websocket"})[:-2])  # no whole head
        server.signal(signal.SIGTERM)
        server.signal(signal.SIGCONT)
        assert (await peers[1].answer()).status == 200
        assert (await latest.answer()).status == 200
        assert (await peers[2].answer()).status == 503
        assert (await peers[0].frame()).code == 1012
    assert await end_of(server) == 0


# -- bounds ------------------------------------------------------------------------------------------------------------


async def test_it_ends_whatever_peers_and_handlers_do(serve: Callable[..., Running]) -> None:
    """`end` waits for 20 s: the drain's 1 and the 5 to leave in are far below, and 30 of a default would be above."""
    server = serve("--drain-timeout-seconds", "1", "--close-timeout-seconds", "60")
    port = port_of(server.started())
    deaf = Crowd("/echo", answers=False)
    await soon(deaf.connect(port, 50))
    async with AsyncExitStack() as stack:

        async def dialled(path: str, text: str) -> Peer:
            peer = await stack.enter_async_context(dial(port, limit=1024))
            await peer.upgrade(path)
            peer.text(text)
            return peer

        for _ in range(5):
            await dialled("/much", "to one who does not read")
        heeding = await dialled("/never", "heeds")
        await dialled("/never", "ignores")
        http = await stack.enter_async_context(dial(port))
        http.send(request_head("GET", "/drip"))
        half = await stack.enter_async_context(dial(port))
        half.send(b"POST /drip HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nhalf")
        for name in ("heeds", "ignores"):
            await until(server, f"begun {name}")
        await soon(http.reader.readuntil(b"first"))
        server.signal(signal.SIGTERM)
        frame = await heeding.frame(SECONDS)
        assert (
            frame.code == 1001 and json.loads(frame.reason)["reconnect_in_ms"]
        )  # told, though its handler never ended
        assert await end_of(server) == 0
    await soon(deaf.over.wait())
    assert len(deaf.waits()) == 50


BLOCKS = """\
import contextlib, time

from wireloom import App


@contextlib.asynccontextmanager
async def lifespan(app):
    yield
    await __import__("asyncio").Event().wait()


app = App(lifespan=lifespan)


@app.websocket("/echo")
async def echo(message: str) -> str:
    if message == "block":
        print("blocked", flush=True)
        while True:
            time.sleep(1)
    return message
"""


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("message", ["block", "go on"])
async def test_it_ends_also_when_the_loop_is_blocked_or_the_lifespan_never_ends(
    serve: Callable[..., Running], workers: str, message: str
) -> None:
    server = serve("--drain-timeout-seconds", "1", "--workers", workers, source=BLOCKS)
    async with dial(port_of(server.started())) as peer:
        await peer.upgrade()
        peer.text(message)
        if message == "block":
            await until(server, "blocked")
        else:
            await peer.expect_text(message)
        server.signal(signal.SIGTERM)
        # of one that is blocked nobody knows how its lifespan would have ended; the other worker's takes too long
        assert await end_of(server) == (0 if (message, workers) == ("block", "1") else 1)
    if message == "go on":
        assert "the application did not stop within its 3 s" in server.stderr


# -- load balancers ----------------------------------------------------------------------------------------------------


async def test_a_delay_is_for_balancers_to_find_it_not_ready(serve: Callable[..., Running]) -> None:
    server = serve("--drain-delay-seconds", "3")
    port = port_of(server.started())
    async with dial(port) as early, AsyncExitStack() as stack:
        await early.upgrade()
        server.signal(signal.SIGTERM)
        async with httpx.AsyncClient(timeout=SECONDS, limits=httpx.Limits(max_keepalive_connections=0)) as http:

            async def status(path: str) -> int:
                return (await http.get(f"http://127.0.0.1:{port}/healthz/{path}")).status_code

            async with asyncio.timeout(SECONDS):
                while await status("ready") == 200:  # each by a connection of its own
                    pass
            assert (await status("ready"), await status("live")) == (503, 200)
        late = await stack.enter_async_context(dial(port))  # by a balancer that has not asked yet
        await late.upgrade()
        for peer in (early, late):
            peer.text("as before")
            await peer.expect_text("as before")
        for peer in (early, late):
            assert (await peer.frame()).code == 1012
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", port)
    assert await end_of(server) == 0


# -- somebody else's server --------------------------------------------------------------------------------------------

FOREIGN = """\
import asyncio
import signal

from wireloom import App

app = App()


@app.websocket("/echo")
async def echo(message: str) -> str:
    if message == "slow":
        print("begun", flush=True)
        await asyncio.sleep(0.5)
        print("ended", flush=True)
    return message


@echo.on_disconnect
async def left() -> None:
    print("left", flush=True)


async def on_hypercorn() -> None:
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)

    async def stop() -> None:
        await told.wait()
        await app.drain()

    config = Config()
    config.bind = ["127.0.0.1:0"]
    await serve(app, config, shutdown_trigger=stop)


if __name__ == "__main__":
    asyncio.run(on_hypercorn())
"""


@pytest.fixture
def foreign(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    (tmp_path / "foreign.py").write_text(FOREIGN)
    started: list[Running] = []

    def start(*arguments: str) -> Running:
        started.append(Running(arguments, tmp_path, {}, (sys.executable,)))
        return started[-1]

    yield start
    for running in started:
        running.kill()


async def end_of_connection(connection: ClientConnection) -> tuple[list[str | bytes], int, str]:
    """What comes until the close, its code and its reason."""
    came: list[str | bytes] = []
    try:
        async with asyncio.timeout(SECONDS):
            while True:
                came.append(await connection.receive())
    except ConnectionClosed as closed:
        return came, closed.code, closed.reason


@pytest.mark.parametrize("server", ["uvicorn", "hypercorn"])
async def test_on_another_server_handlers_end_and_clients_are_told(
    foreign: Callable[..., Running], server: str
) -> None:
    """uvicorn closes by itself, without a word of when to come back; hypercorn would not, but for `app.drain`."""
    arguments = ("-m", "uvicorn", "foreign:app", "--port", "0") if server == "uvicorn" else ("foreign.py",)
    running = foreign(*arguments)
    found = await asyncio.to_thread(running.until, r"unning on (http://127\.0\.0\.1:\d+)")
    url = f"{found[1]}/echo"
    async with open_connection(url) as idle, open_connection(url) as busy:
        busy.send("slow")
        await until(running, "begun")
        running.signal(signal.SIGTERM)
        told = [await end_of_connection(each) for each in (idle, busy)]
    assert [code for _, code, _ in told] == [1012, 1012]
    if server == "uvicorn":
        assert [(came, reason) for came, _, reason in told] == [([], ""), ([], "")]
    else:
        assert [came for came, _, _ in told] == [[], ["slow"]]
        assert all(json.loads(reason)["reconnect_in_ms"] for _, _, reason in told)
    await until(running, "(?s)ended.*left")
    assert await end_of(running) in (0, -signal.SIGTERM)
