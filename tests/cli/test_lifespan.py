"""What comes of an application's start and end is told once, in a line or two with its place, and by the exit code."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
import urllib.error
import urllib.request
from pathlib import Path

import anyio
import pytest

from wireloom import ConnectionClosed
from wireloom.cli.leave import SECONDS_TO_INTERRUPT
from wireloom.clients.connection import ClientConnection, open_connection

from .processes import TIMEOUT_SECONDS, Run, Running, Start

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")

HEAD = """\
import asyncio, multiprocessing, os, time
from contextlib import asynccontextmanager

from wireloom import App


@asynccontextmanager
async def lifespan(app):
"""
ENDING = HEAD + "    yield\n{end}\n\napp = App(lifespan=lifespan, drain_timeout_seconds=1)\n"
STARTING = HEAD + "{start}\n    yield\n\n\napp = App(lifespan=lifespan)\n"
IS_WORKER = "multiprocessing.parent_process() is not None"

workers = pytest.mark.parametrize("workers", ["1", "2"])


def lines(process: Running) -> list[str]:
    """What was said on stderr, without the warning of every start of workers and the word of an end that takes long."""
    return [line for line in process.stderr.splitlines() if not line.startswith(("warning: 2 workers", "Stopping;"))]


def begin(start: Start, directory: Path, text: str, *more: str, **variables: str) -> Running:
    (directory / "main.py").write_text(text)
    return start("serve", "main.py", "--port", "0", *more, **variables)


# -- the start ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--backplane", "redis://127.0.0.1:1"], "the backplane redis://"),
        (["--backplane", "nats://127.0.0.1:1"], "the backplane nats://"),
        (["--database", "postgresql://u@127.0.0.1:1/shop"], "cannot open the PostgreSQL database shop on 127.0.0.1:1"),
        (["--database", "sqlite:///chat.py"], "cannot open the SQLite file chat.py"),
        (["--token-secret", "short"], "token_secret must have 32 bytes or more"),
    ],
    ids=lambda value: " ".join(value)[:40],
)
def test_what_stands_against_the_start_of_workers_is_told_once(
    start: Start, directory: Path, options: list[str], told: str
) -> None:
    text = "from wireloom import App\n\napp = App()\napp.events()\n"
    server = begin(start, directory, text, "--workers", "3", *options)
    assert server.end() == 1
    said = [line for line in server.stderr.splitlines() if not line.startswith("warning: 3 workers")]
    assert len(said) == 1 and said[0].startswith(told), server.stderr


def test_a_target_that_only_workers_cannot_load_is_told_once(start: Start, directory: Path) -> None:
    text = f"import multiprocessing\n\nif {IS_WORKER}:\n    raise ValueError('not here')\n" + STARTING.format(start="")
    server = begin(start, directory, text, "--workers", "3")
    assert server.end() == 1
    assert [line for line in server.stderr.splitlines() if "workers without" not in line] == [
        "main.py:4: ValueError: not here"
    ]


def test_a_worker_that_dies_before_it_serves_ends_the_start(start: Start, directory: Path) -> None:
    server = begin(start, directory, STARTING.format(start=f"    if {IS_WORKER}: os._exit(7)"), "--workers", "2")
    assert server.end() == 1
    assert lines(server) == ["a worker ended with exit code 7 before it served"]


LATER = STARTING.format(
    start=f"    if {IS_WORKER} and os.path.exists('now'): os._exit(3)\n    os.write(1, b'worker %d\\n' % os.getpid())"
)


def test_a_later_worker_that_cannot_start_is_tried_again_while_another_serves(start: Start, directory: Path) -> None:
    server = begin(start, directory, LATER, "--workers", "2")
    pid = int(server.until(r"worker (\d+)\nworker")[1])
    server.started()
    (directory / "now").touch()
    os.kill(pid, signal.SIGKILL)
    server.until("the next attempt is in 2 s")
    (directory / "now").unlink()
    server.until(r"worker \d+ serves\n")
    server.signal(signal.SIGTERM)
    assert server.end() == 0
    told = re.sub(r"worker \d+", "worker N", "\n".join(lines(server))).splitlines()
    assert told == [
        "warning: worker N was ended by SIGKILL; another takes its place",
        "a worker ended with exit code 3 before it served",
        "warning: worker N did not start; the others go on, the next attempt is in 1 s",
        "warning: worker N did not start; the others go on, the next attempt is in 2 s",
        "worker N serves",
    ]


def test_later_workers_that_cannot_start_end_the_server_when_no_other_serves(start: Start, directory: Path) -> None:
    server = begin(start, directory, LATER, "--workers", "2")
    pids = server.until(r"worker (\d+)\nworker (\d+)\n").groups()
    server.started()
    (directory / "now").touch()
    for pid in pids:
        os.kill(int(pid), signal.SIGKILL)
    assert server.end() == 1
    assert lines(server)[-1] == "a worker ended with exit code 3 before it served"


def test_a_worker_that_dies_later_is_told_and_another_takes_its_place(start: Start, directory: Path) -> None:
    text = STARTING.format(start="").replace("App(", "App(docs=False, ") + (
        "\n\nasync def leave(request):\n    os._exit(7)\n\n\n"
        "from starlette.routing import Route\n\napp.mount('/leave', Route('/', leave))\n"
    )
    server = begin(start, directory, text, "--workers", "2")
    url = f"http{server.started().removeprefix('ws')}"
    with pytest.raises((urllib.error.URLError, ConnectionError)):
        urllib.request.urlopen(f"{url}/leave/", timeout=5)
    server.until(r"warning: worker \d+ ended with exit code 7; another takes its place\n")
    server.signal(signal.SIGTERM)
    assert server.end() == 0


MANY = """\
import asyncio, os

from wireloom import App

app = App(drain_timeout_seconds=20)


@app.websocket("/do")
async def do(message: str) -> str:
    if message == "wait":
        print("begun", flush=True)
        while not os.path.exists("go"):
            await asyncio.sleep(0.01)
    return str(os.getpid())
"""


async def one_of(url: str, unwanted: frozenset[int] = frozenset()) -> tuple[ClientConnection, int]:
    """A connection to a worker that is none of these, and the worker's process."""
    while True:
        connection = await open_connection(url)
        connection.send("who")
        worker = int(await connection.receive())
        if worker not in unwanted:
            return connection, worker
        await connection.close()


@pytest.mark.anyio
async def test_a_worker_that_has_taken_a_place_drains_like_those_of_the_start(start: Start, directory: Path) -> None:
    server = begin(start, directory, MANY, "--workers", "2")
    url = f"{server.started()}/do"
    async with asyncio.timeout(TIMEOUT_SECONDS):
        _, one = await one_of(url)
        _, other = await one_of(url, frozenset({one}))
        os.kill(one, signal.SIGKILL)
        connection, new = await one_of(url, frozenset({one, other}))
        connection.send("wait")
        await anyio.to_thread.run_sync(server.until, "begun")
        server.signal(signal.SIGTERM)
        await asyncio.sleep(SECONDS_TO_INTERRUPT + 1)  # after which one that does not serve yet is ended
        (directory / "go").touch()
        assert int(await connection.receive()) == new
    assert await anyio.to_thread.run_sync(server.end) == 0


@pytest.mark.anyio
async def test_workers_go_when_their_supervisor_is_gone(start: Start, directory: Path) -> None:
    server = begin(start, directory, MANY, "--workers", "2")
    url = f"{server.started()}/do"
    async with asyncio.timeout(TIMEOUT_SECONDS):
        one, first = await one_of(url)
        other, _ = await one_of(url, frozenset({first}))
        server.process.kill()
        for connection in (one, other):
            with pytest.raises(ConnectionClosed, match="1012"):
                await connection.receive()


@pytest.mark.parametrize("number", ["SIGTTIN", "SIGTTOU"])
def test_workers_come_and_go_by_signals_also_while_others_are_replaced_or_end(
    start: Start, directory: Path, number: str
) -> None:
    server = begin(start, directory, MANY, "--workers", "3")
    server.started()
    server.signal(getattr(signal, number))
    server.signal(signal.SIGHUP)
    server.until("Restarting the workers, one by one\n")
    server.signal(getattr(signal, number))
    server.until("All workers are new\n")
    server.signal(signal.SIGTERM)
    server.signal(getattr(signal, number))
    assert server.end() == 0
    assert "Traceback" not in server.stderr


@workers
@pytest.mark.parametrize("wait", ["await asyncio.sleep(60)", "time.sleep(60)"])
def test_an_interrupted_start_ends_soon_and_says_so(start: Start, directory: Path, wait: str, workers: str) -> None:
    text = STARTING.format(start=f"    print('starting', flush=True); {wait}")  # a line, as either may be interrupted
    server = begin(start, directory, text, "--workers", workers, "--drain-delay-seconds", "60")
    server.until("starting")
    server.signal_group(signal.SIGINT)
    assert server.end() == 128 + signal.SIGINT
    where = "Interrupted" if workers == "2" and "time" in wait else "main.py:9: interrupted"
    assert lines(server) == [f"{where} while the application started"]


def test_a_start_that_heeds_no_cancellation_is_interrupted_all_the_same(start: Start, directory: Path) -> None:
    stubborn = (
        "    while True:\n        try:\n"
        "            print('starting', flush=True)\n            await asyncio.sleep(60)\n"
        "        except asyncio.CancelledError:\n            pass"
    )
    server = begin(start, directory, STARTING.format(start=stubborn))
    server.until("starting")
    server.signal(signal.SIGTERM)
    assert server.end() == 128 + signal.SIGTERM
    assert lines(server) == ["Interrupted while the application started"]


def test_an_interrupted_start_closes_what_it_had_opened(start: Start, directory: Path) -> None:
    opened = (
        "    try:\n        print('starting', flush=True)\n        await asyncio.sleep(60)\n"
        "    finally:\n        print('closed', flush=True)"
    )
    server = begin(start, directory, STARTING.format(start=opened))
    server.until("starting")
    server.signal(signal.SIGINT)
    assert server.end() == 128 + signal.SIGINT
    assert server.stdout == "starting\nclosed\n"


@workers
def test_a_thread_holds_no_process_whose_start_has_failed(start: Start, directory: Path, workers: str) -> None:
    held = (
        "    import threading\n    threading.Thread(target=time.sleep, args=(60,)).start()\n    raise ValueError('no')"
    )
    server = begin(start, directory, STARTING.format(start=held), "--workers", workers)
    assert server.end() == 1
    assert lines(server)[0] == "main.py:11: ValueError: no"


# -- the end -----------------------------------------------------------------------------------------------------------


@workers
def test_an_end_that_fails_is_told_and_is_no_success(start: Start, directory: Path, workers: str) -> None:
    server = begin(start, directory, ENDING.format(end="    raise ValueError('not saved')"), "--workers", workers)
    server.started()
    server.signal(signal.SIGTERM)
    assert server.end() == 1
    assert lines(server) == [
        "main.py:10: ValueError: not saved",
        "The application did not end as it should; all that was open is closed",
    ]


def test_an_end_that_fails_is_a_traceback_in_development_mode(start: Start, directory: Path) -> None:
    server = begin(start, directory, ENDING.format(end="    raise ValueError('not saved')"), "--dev")
    server.started()
    server.signal(signal.SIGTERM)
    assert server.end() == 1
    assert re.findall(r'File "([^"]+)", line (\d+)', server.stderr) == [(str(directory / "main.py"), "10")]


@workers
def test_an_end_that_takes_too_long_is_one_line_that_says_where_it_was(
    start: Start, directory: Path, workers: str
) -> None:
    end = "    try:\n        await asyncio.sleep(60)\n    finally:\n        print('cleaned', flush=True)"
    server = begin(start, directory, ENDING.format(end=end), "--workers", workers)
    server.started()
    server.signal(signal.SIGTERM)
    assert server.end() == 1
    assert lines(server) == ["main.py:11: the application did not stop within its 3 s; ended without it"]
    assert server.stdout.count("cleaned") == int(workers)


@workers
def test_a_lifespan_that_fails_while_it_serves_ends_the_process(start: Start, directory: Path, workers: str) -> None:
    group = (
        "    async def fail():\n        await asyncio.sleep(0)\n        while not os.path.exists('now'):\n"
        "            await asyncio.sleep(0.01)\n        raise ValueError('lost')\n\n"
        "    async with asyncio.TaskGroup() as tasks:\n        tasks.create_task(fail())\n        yield"
    )
    server = begin(start, directory, HEAD + group + "\n\n\napp = App(lifespan=lifespan)\n", "--workers", workers)
    server.started()
    (directory / "now").touch()
    told = "main.py:13: ValueError: lost\nThe application has ended by itself; what its lifespan runs has failed\n"
    if workers == "1":
        assert server.end() == 1
        assert server.stderr == told
    else:
        server.until(re.escape(told))
        server.until(r"warning: worker \d+ ended with exit code 1; another takes its place")


def test_a_thread_holds_no_worker_that_has_ended_by_itself(start: Start, directory: Path) -> None:
    group = (
        "    import threading\n\n    async def fail():\n        while not os.path.exists('now'):\n"
        "            await asyncio.sleep(0.01)\n        os.rename('now', 'then')\n"
        "        threading.Thread(target=time.sleep, args=(60,)).start()\n        raise ValueError('lost')\n\n"
        "    async with asyncio.TaskGroup() as tasks:\n        tasks.create_task(fail())\n        yield"
    )
    server = begin(start, directory, HEAD + group + "\n\n\napp = App(lifespan=lifespan)\n", "--workers", "2")
    server.started()
    (directory / "now").touch()
    server.until(r"warning: worker \d+ ended with exit code 1; another takes its place")
    assert "main.py:16: ValueError: lost" in server.stderr


# -- as JSON -----------------------------------------------------------------------------------------------------------


def records(process: Running) -> list[dict[str, object]]:
    """All that was said, on both streams; each line must be JSON."""
    return [json.loads(line) for line in (process.stdout + process.stderr).splitlines()]


@workers
def test_the_banner_is_a_record(start: Start, directory: Path, workers: str) -> None:
    server = begin(start, directory, ENDING.format(end=""), "--workers", workers, "--log-format", "json")
    url = server.started()
    server.signal(signal.SIGHUP if workers == "2" else signal.SIGTERM)
    if workers == "2":
        server.until("All workers are new")
        server.signal(signal.SIGTERM)
    assert server.end() == 0
    banner = records(server)[0]
    assert (banner["event"], banner["websocket_url"], banner["workers"]) == ("started", url, int(workers))
    assert (banner["url"], banner["endpoints"], banner["level"]) == (f"http{url.removeprefix('ws')}", 0, "info")
    restarted = [record["message"] for record in records(server) if "orker" in str(record["message"])][-2:]
    assert workers == "1" or restarted == ["Restarting the workers, one by one", "All workers are new"]


@workers
def test_failures_are_records(start: Start, directory: Path, workers: str) -> None:
    text = STARTING.format(start="    raise ValueError('no database')")
    server = begin(start, directory, text, "--workers", workers, "--log-format", "json", "--dev")
    assert server.end() == 1
    told = [record for record in records(server) if record["level"] == "error"]
    assert [(record["message"], record["source"]) for record in told] == [
        ("main.py:9: ValueError: no database", "main.py:9")
    ]
    assert str(told[0]["traceback"]).startswith("Traceback")


@pytest.mark.parametrize("target", ["broken.py", "chat.py"])
def test_what_is_told_before_anything_is_loaded_is_a_record(run: Run, directory: Path, target: str) -> None:
    (directory / "broken.py").write_text("1 / 0\n")
    (directory / "wireloom.toml").write_text("" if target == "broken.py" else "prot = 1\n")
    result = run("serve", target, WIRELOOM_LOG_FORMAT="json")
    told = json.loads(result.stderr)
    assert (result.returncode, result.stdout, told["level"]) == (1, "", "error")
    assert told["source"] == ("broken.py:1" if target == "broken.py" else "wireloom.toml:1")


def test_the_banner_says_how_many_workers(start: Start) -> None:
    server = start("serve", "chat.py", "--port", "0", "--workers", "2")
    server.started()
    assert server.stdout.endswith(" · 3 endpoints · 2 workers · Ctrl-C stops\n")
