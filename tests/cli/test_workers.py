"""The places of workers: who fills them, who leaves them, and what is told of those who are gone."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from pathlib import Path

import anyio
import pytest

from wireloom import ConnectionClosed
from wireloom.cli.leave import SECONDS_TO_INTERRUPT

from .lifespans import ENDING, HANDLER, HEAD, IS_WORKER, begin, lines, one_of
from .processes import TIMEOUT_SECONDS, Running, Start

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")

# Says which process it is; where there is a file `now`, its start does what a test wants
APP = (
    HEAD
    + """\
    os.write(1, b'worker %d\\n' % os.getpid())
    if os.path.exists('now'):
        {now}
    yield


app = App(lifespan=lifespan, drain_timeout_seconds=20)
"""
    + HANDLER
)
EXIT = "os._exit(3)"
HANG = """\
try:
            print('starting', flush=True)
            await asyncio.sleep(60)
        finally:
            print('closed', flush=True)"""
DIE = HANG.replace("print('closed', flush=True)", "os._exit(3)")
LATER_EXIT = """\
print('starting', flush=True)
        while not os.path.exists('go'):
            await asyncio.sleep(0.01)
        os._exit(3)"""

# A module that only workers cannot load, from which a thread is left
UNLOADABLE = f"""\
import multiprocessing, os, threading, time

if {IS_WORKER} and os.path.exists('now'):
    threading.Thread(target=time.sleep, args=(60,)).start()
    raise ValueError('no')
"""


def serve(start: Start, directory: Path, text: str, count: int = 2) -> tuple[Running, str, list[int]]:
    """A server, its URL, and its workers in the order in which they were started."""
    server = begin(start, directory, text, "--workers", str(count))
    url = f"{server.started()}/do"
    workers = sorted(int(pid) for pid in re.findall(r"worker (\d+)\n", server.stdout))
    assert len(workers) == count
    return server, url, workers


def lose(directory: Path, worker: int) -> None:
    """This worker is gone, and what takes its place finds the file `now`."""
    (directory / "now").touch()
    os.kill(worker, signal.SIGKILL)


def end_well(server: Running, *told: str) -> None:
    """Ends a server, which has told this and no more."""
    server.signal(signal.SIGTERM)
    assert server.end() == 0
    assert lines(server) == list(told)


# -- a place whose worker is gone --------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_worker_that_dies_is_told_and_another_takes_its_place(start: Start, directory: Path) -> None:
    server, url, _ = serve(start, directory, APP.format(now=EXIT))
    async with asyncio.timeout(TIMEOUT_SECONDS):
        connection, worker = await one_of(url)
        connection.send("leave")
        with pytest.raises(ConnectionClosed, match="1006"):
            await connection.receive()
    told = f"warning: worker {worker} ended with exit code 9; another takes its place\n"
    await anyio.to_thread.run_sync(server.until, told)
    server.signal(signal.SIGTERM)
    assert await anyio.to_thread.run_sync(server.end) == 0


@pytest.mark.anyio
async def test_one_that_dies_soon_after_it_began_to_serve_is_no_failed_start(start: Start, directory: Path) -> None:
    server, url, workers = serve(start, directory, APP.format(now=EXIT))
    os.kill(workers[0], signal.SIGKILL)
    async with asyncio.timeout(TIMEOUT_SECONDS):
        connection, new = await one_of(url, frozenset(workers))
        connection.send("leave")
        told = f"warning: worker {new} ended with exit code 9; another takes its place\n"
        await anyio.to_thread.run_sync(server.until, told)
    server.signal(signal.SIGTERM)
    assert await anyio.to_thread.run_sync(server.end) == 0
    assert lines(server) == [
        "warning: worker N was ended by SIGKILL; another takes its place",
        "warning: worker N ended with exit code 9; another takes its place",
    ]


def test_one_that_cannot_start_is_tried_again_while_another_serves(start: Start, directory: Path) -> None:
    server, _, workers = serve(start, directory, APP.format(now=EXIT))
    lose(directory, workers[0])
    server.until("the next attempt is in 2 s")
    (directory / "now").unlink()
    server.until(r"worker \d+ serves\n")
    end_well(
        server,
        "warning: worker N was ended by SIGKILL; another takes its place",
        "a worker ended with exit code 3 before it served",
        "warning: worker N did not start; the others go on, the next attempt is in 1 s",
        "warning: worker N did not start; the others go on, the next attempt is in 2 s",
        "worker N serves",
    )


def test_those_that_cannot_start_end_the_server_when_no_other_serves(start: Start, directory: Path) -> None:
    server, _, workers = serve(start, directory, APP.format(now=EXIT))
    (directory / "now").touch()
    for worker in workers:
        os.kill(worker, signal.SIGKILL)
    assert server.end() == 1
    assert lines(server)[-1] == "a worker ended with exit code 3 before it served"


@pytest.mark.anyio
async def test_one_that_cannot_start_ends_no_server_where_another_has_just_begun_to_serve(
    start: Start, directory: Path
) -> None:
    server, url, (first, second) = serve(start, directory, APP.format(now=LATER_EXIT))
    lose(directory, first)
    server.until("starting")
    (directory / "now").unlink()
    os.kill(second, signal.SIGKILL)
    async with asyncio.timeout(TIMEOUT_SECONDS):
        await one_of(url)
        (directory / "go").touch()
        await anyio.to_thread.run_sync(server.until, "worker [0-9]+ serves\n")
    server.signal(signal.SIGTERM)
    assert await anyio.to_thread.run_sync(server.end) == 0
    assert lines(server) == [
        "warning: worker N was ended by SIGKILL; another takes its place",
        "warning: worker N was ended by SIGKILL; another takes its place",
        "a worker ended with exit code 3 before it served",
        "warning: worker N did not start; the others go on, the next attempt is in 1 s",
        "worker N serves",
    ]


def test_a_thread_holds_no_worker_that_cannot_load(start: Start, directory: Path) -> None:
    (directory / "now").touch()
    server = begin(start, directory, UNLOADABLE + APP.format(now="pass"), "--workers", "2")
    assert server.end() == 1
    assert lines(server) == ["main.py:5: ValueError: no"]


def test_a_thread_holds_no_place_whose_worker_cannot_load(start: Start, directory: Path) -> None:
    server, _, workers = serve(start, directory, UNLOADABLE + APP.format(now="pass"))
    lose(directory, workers[0])
    server.until("the next attempt is in 1 s")
    (directory / "now").unlink()
    server.until(r"worker \d+ serves\n")
    end_well(
        server,
        "warning: worker N was ended by SIGKILL; another takes its place",
        "main.py:5: ValueError: no",
        "warning: worker N did not start; the others go on, the next attempt is in 1 s",
        "worker N serves",
    )


IMPATIENT = """\
import wireloom.cli.main, wireloom.cli.workers

wireloom.cli.workers._LEAST_SECONDS_TO_START = 2.0
wireloom.cli.main.main()
"""


def test_one_that_hangs_in_its_start_is_given_up_after_its_time(directory: Path) -> None:
    (directory / "main.py").write_text(APP.format(now=HANG))
    command = (sys.executable, "-P", "-c", IMPATIENT)
    server = Running(("serve", "main.py", "--port", "0", "--workers", "2"), directory, {}, command)
    try:
        server.started()
        lose(directory, int(server.until(r"worker (\d+)\n")[1]))
        server.until("the next attempt is in 1 s")
        (directory / "now").unlink()
        server.until(r"worker \d+ serves\n")
        server.signal(signal.SIGTERM)
        assert server.end() == 0
        assert re.sub(r"within \d+ s", "within its time", lines(server)[1]) == (
            "a worker did not serve within its time and was killed"
        )
    finally:
        server.kill()


# -- signals -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", ["SIGTTIN", "SIGTTOU"])
def test_workers_come_and_go_by_signals_also_while_others_are_replaced_or_end(
    start: Start, directory: Path, number: str
) -> None:
    server, _, _ = serve(start, directory, APP.format(now=EXIT), 3)
    server.signal(getattr(signal, number))
    server.signal(signal.SIGHUP)
    server.until("Restarting the workers, one by one\n")
    server.signal(getattr(signal, number))
    server.until("All workers are new\n")
    server.signal(signal.SIGTERM)
    server.signal(getattr(signal, number))
    assert server.end() == 0
    assert "Traceback" not in server.stderr


@pytest.mark.anyio
async def test_where_fewer_are_wanted_a_vacant_place_goes_first(start: Start, directory: Path) -> None:
    server, url, (first, second) = serve(start, directory, APP.format(now=EXIT))
    lose(directory, first)
    server.until("the next attempt is in 1 s")
    server.signal(signal.SIGTTOU)
    server.signal(signal.SIGHUP)  # it is heeded afterwards, and says so
    server.until("The new worker did not start; the old ones go on\n")
    async with asyncio.timeout(TIMEOUT_SECONDS):
        _, worker = await one_of(url)
    assert worker == second
    server.signal(signal.SIGTERM)
    assert await anyio.to_thread.run_sync(server.end) == 0


def test_a_restart_whose_worker_dies_says_why(start: Start, directory: Path) -> None:
    server, _, _ = serve(start, directory, APP.format(now=EXIT))
    (directory / "now").touch()
    server.signal(signal.SIGHUP)
    server.until("The new worker did not start; the old ones go on\n")
    end_well(
        server,
        "Restarting the workers, one by one",
        "a worker ended with exit code 3 before it served",
        "The new worker did not start; the old ones go on",
    )


# -- the end -----------------------------------------------------------------------------------------------------------


def test_a_vacant_place_is_no_failure_of_the_end(start: Start, directory: Path) -> None:
    server, _, workers = serve(start, directory, APP.format(now=EXIT))
    lose(directory, workers[0])
    server.until("the next attempt is in 2 s")
    server.signal(signal.SIGTERM)
    assert server.end() == 0


TAKING = {
    "in a restart": "Restarting the workers, one by one",
    "in a dead one's place": "warning: worker N was ended by SIGKILL; another takes its place",
}
taking = pytest.mark.parametrize("where", TAKING)


def begin_another(server: Running, directory: Path, workers: list[int], where: str) -> None:
    """Waits until a further worker starts."""
    (directory / "now").touch()
    if where == "in a restart":
        server.signal(signal.SIGHUP)
    else:
        os.kill(workers[0], signal.SIGKILL)
    server.until("starting\n")


@taking
def test_an_end_while_a_worker_starts_closes_what_that_had_opened(start: Start, directory: Path, where: str) -> None:
    server, _, workers = serve(start, directory, APP.format(now=HANG))
    begin_another(server, directory, workers, where)
    server.signal(signal.SIGTERM)
    assert server.end() == 0
    assert server.stdout.endswith("starting\nclosed\n")
    assert lines(server) == [TAKING[where]]


@taking
def test_one_that_dies_in_its_start_while_the_server_stops_is_no_failure(
    start: Start, directory: Path, where: str
) -> None:
    server, _, workers = serve(start, directory, APP.format(now=DIE))
    begin_another(server, directory, workers, where)
    end_well(server, TAKING[where])


def test_an_end_waits_for_no_answer_of_workers_that_hang(start: Start, directory: Path) -> None:
    server, _, workers = serve(start, directory, APP.format(now=HANG), 3)
    for worker in workers:
        os.kill(worker, signal.SIGSTOP)
    (directory / "now").touch()
    server.signal(signal.SIGHUP)
    server.until("starting\n")  # meanwhile those that hang are asked for a sign of life
    server.signal(signal.SIGTERM)
    server.until("Stopping;")
    server.signal(signal.SIGTERM)
    assert server.end() == 128 + signal.SIGTERM
    assert server.stderr.count("did not answer") < len(workers)  # as long as the new one took to start, it is right


@pytest.mark.parametrize(
    ("end", "told"),
    [("os._exit(7)", "ended with exit code 7"), ("os.kill(os.getpid(), 11)", "was ended by SIGSEGV")],
)
def test_workers_that_die_while_the_server_stops_are_told(start: Start, directory: Path, end: str, told: str) -> None:
    server = begin(start, directory, ENDING.format(end=f"    {end}"), "--workers", "2")
    server.started()
    server.signal(signal.SIGTERM)
    assert server.end() == 1
    assert lines(server) == [f"worker N {told} while the server stopped"] * 2


def test_workers_that_do_not_end_in_time_are_killed_and_told(start: Start, directory: Path) -> None:
    server = begin(start, directory, ENDING.format(end="    time.sleep(60)"), "--workers", "2")
    server.started()
    server.signal(signal.SIGTERM)
    assert server.end() == 1
    assert lines(server) == ["warning: worker N did not end in time and was killed"] * 2


@pytest.mark.anyio
async def test_a_worker_that_has_taken_a_place_drains_like_those_of_the_start(start: Start, directory: Path) -> None:
    server, url, workers = serve(start, directory, APP.format(now=EXIT))
    async with asyncio.timeout(TIMEOUT_SECONDS):
        os.kill(workers[0], signal.SIGKILL)
        connection, new = await one_of(url, frozenset(workers))
        connection.send("wait")
        await anyio.to_thread.run_sync(server.until, "begun")
        server.signal(signal.SIGTERM)
        await asyncio.sleep(SECONDS_TO_INTERRUPT + 1)  # after which one that does not serve yet is ended
        (directory / "go").touch()
        assert int(await connection.receive()) == new
    assert await anyio.to_thread.run_sync(server.end) == 0


@pytest.mark.anyio
async def test_workers_go_when_their_supervisor_is_gone(start: Start, directory: Path) -> None:
    server, url, _ = serve(start, directory, APP.format(now=EXIT))
    async with asyncio.timeout(TIMEOUT_SECONDS):
        one, first = await one_of(url)
        other, _ = await one_of(url, frozenset({first}))
        server.process.kill()
        for connection in (one, other):
            with pytest.raises(ConnectionClosed, match="1012"):
                await connection.receive()
