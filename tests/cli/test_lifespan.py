"""What comes of an application's start and end is told once, in a line or two with its place, and by the exit code."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
from pathlib import Path

import anyio
import pytest

from .lifespans import ENDING, HANDLER, HEAD, IS_WORKER, STARTING, begin, lines, one_of
from .processes import TIMEOUT_SECONDS, Run, Running, Start

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")

workers = pytest.mark.parametrize("workers", ["1", "2"])


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
    assert len(lines(server)) == 1 and lines(server)[0].startswith(told), server.stderr


def test_a_target_that_only_workers_cannot_load_is_told_once(start: Start, directory: Path) -> None:
    text = f"import multiprocessing\n\nif {IS_WORKER}:\n    raise ValueError('not here')\n" + STARTING.format(start="")
    server = begin(start, directory, text, "--workers", "3")
    assert server.end() == 1
    assert lines(server) == ["main.py:4: ValueError: not here"]


def test_a_worker_that_dies_before_it_serves_ends_the_start(start: Start, directory: Path) -> None:
    server = begin(start, directory, STARTING.format(start=f"    if {IS_WORKER}: os._exit(7)"), "--workers", "2")
    assert server.end() == 1
    assert lines(server) == ["a worker ended with exit code 7 before it served"]


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


NOT_ENDED = "The application did not end as it should; all that was open is closed"


@workers
def test_an_end_that_fails_is_told_and_is_no_success(start: Start, directory: Path, workers: str) -> None:
    server = begin(start, directory, ENDING.format(end="    raise ValueError('not saved')"), "--workers", workers)
    server.started()
    server.signal(signal.SIGTERM)
    assert server.end() == 1
    assert lines(server) == [
        "main.py:10: ValueError: not saved",
        NOT_ENDED,
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


FAILING = (
    HEAD
    + """\
    async def fail():
        while not os.path.exists('now'):
            await asyncio.sleep(0.01)
        raise ValueError('lost')

    async with asyncio.TaskGroup() as tasks:
        failing = tasks.create_task(fail())
        yield
        failing.cancel()


app = App(lifespan=lifespan)
"""
)
FAILED = [
    "main.py:12: ValueError: lost",
    "The application has ended by itself; what its lifespan runs has failed",
]


@workers
def test_a_lifespan_that_fails_while_it_serves_ends_the_process(start: Start, directory: Path, workers: str) -> None:
    server = begin(start, directory, FAILING, "--workers", workers)
    server.started()
    (directory / "now").touch()
    if workers == "1":
        assert server.end() == 1
        assert lines(server) == FAILED
    else:
        server.until(re.escape("\n".join(FAILED) + "\n"))
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


@workers
@pytest.mark.anyio
async def test_a_lifespan_that_fails_while_the_server_serves_on_for_balancers_ends_the_process(
    start: Start, directory: Path, workers: str
) -> None:
    server = begin(start, directory, FAILING + HANDLER, "--workers", workers, "--drain-delay-seconds", "60")
    url = f"{server.started()}/do"
    async with asyncio.timeout(TIMEOUT_SECONDS):
        _held = await one_of(url)  # so that the end takes a while, which is told
        server.signal(signal.SIGTERM)
        await anyio.to_thread.run_sync(server.until, "Stopping;")
        (directory / "now").touch()
        assert await anyio.to_thread.run_sync(server.end) == 1
    assert lines(server) == FAILED


@workers
@pytest.mark.anyio
async def test_a_lifespan_that_fails_while_its_handlers_end_is_told_and_is_no_success(
    start: Start, directory: Path, workers: str
) -> None:
    server = begin(start, directory, FAILING + HANDLER, "--workers", workers)
    url = f"{server.started()}/do"
    async with asyncio.timeout(TIMEOUT_SECONDS):
        connection, _ = await one_of(url)
        connection.send("wait")
        await anyio.to_thread.run_sync(server.until, "begun")
        server.signal(signal.SIGTERM)
        await anyio.to_thread.run_sync(server.until, "Stopping;")
        (directory / "now").touch()
        assert await anyio.to_thread.run_sync(server.end) == 1
    assert lines(server) in (FAILED, [FAILED[0], NOT_ENDED])  # whether the lifespan or the drain is over first


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
