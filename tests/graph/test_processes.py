"""Processes: many that change the same at once lose nothing, nor does one that is killed. Users fail alone."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import anyio.to_thread
import httpx
import pytest

from tests.cli.processes import environment
from wireloom import App
from wireloom.identity import passwords

from .counting import COUNT, make_app

pytestmark = pytest.mark.anyio

TESTS = str(Path(__file__).parents[2])
TIMES = 1000
LIVES = 50


@contextmanager
def counting(url: str, times: int) -> Iterator[subprocess.Popen[str]]:
    """A process that counts once it is told to; nothing of it is left behind."""
    variables = environment()
    variables["PYTHONPATH"] += f":{TESTS}"
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.graph.counting", url, str(times)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env=variables,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def get_ready(*processes: subprocess.Popen[str]) -> None:
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", process.communicate()[1]


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def count_together(url: str) -> tuple[list[int], list[int]]:
    """Two processes at once; every count that was answered, and how many conflicts were left over in each."""
    with counting(url, TIMES) as one, counting(url, TIMES) as two:
        get_ready(one, two)
        go(one)
        go(two)
        counts, conflicts = [], []
        for process in (one, two):
            out, err = process.communicate(timeout=240)
            assert (process.returncode, err) == (0, "")
            *numbers, last = out.splitlines()
            counts += [int(number) for number in numbers]
            conflicts.append(int(last.removeprefix("conflicts ")))
    return counts, conflicts


async def peek(url: str) -> list[int]:
    app = make_app(url)
    async with app.running(), client_of(app) as client:
        reply = await client.post("/walker/Peek", json={})
    found: list[int] = reply.json()["data"]["reports"][0]
    return found


def client_of(app: App) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://t")


async def test_two_processes_that_count_lose_nothing(shared: str, open_graph: object) -> None:
    counts, conflicts = await anyio.to_thread.run_sync(count_together, shared)
    assert sorted(counts) == [*range(1, 2 * TIMES + 1)]  # each count was answered once
    assert await peek(shared) == [2 * TIMES]
    assert conflicts == [0, 0]


def live(process: subprocess.Popen[str], answers: int, seconds: float) -> list[int]:
    """A process's life: killed a moment after a number of answers; gives the counts that it was heard to say."""
    go(process)
    assert process.stdout is not None
    heard = [process.stdout.readline() for _ in range(answers)]
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(seconds)
    process.kill()
    heard += process.stdout.readlines()  # by the same reader, which may hold some already
    process.wait(20)
    return [int(line) for line in heard if line.endswith("\n")]


def live_on(url: str, chance: random.Random) -> list[list[int]]:
    """Two lives, one after the other: the first dies while another has the file open, the second alone."""
    with counting(url, 0) as one, counting(url, 0) as two:
        get_ready(one, two)
        return [live(process, chance.randrange(1, 12), chance.uniform(0.0, 0.02)) for process in (one, two)]


async def test_a_killed_process_has_kept_all_that_it_has_answered(file_url: str) -> None:
    chance = random.Random(7)
    acknowledged = 0
    for _ in range(LIVES // 2):
        for heard in await anyio.to_thread.run_sync(live_on, file_url, chance):
            assert heard[0] in (acknowledged + 1, acknowledged + 2)  # kept, though it died before it could say so
            assert heard == [*range(heard[0], heard[0] + len(heard))]
            acknowledged = heard[-1]
    [kept] = await peek(file_url)
    assert kept in (acknowledged, acknowledged + 1)
    assert kept >= LIVES


async def test_a_user_whose_runs_fail_undoes_nothing_of_others(
    database: str, open_graph: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, least in (("ITERATIONS", 1), ("MEMORY_KIB", 8), ("LANES", 1)):
        monkeypatch.setattr(passwords, name, least)
    app, runs = make_app(database), 25
    async with app.running(), client_of(app) as client:
        headers = []
        for name in ("ann", "ben", "cid", "dot"):
            reply = await client.post("/user/register", json={"username": name, "password": f"the password of {name}"})
            headers.append({"Authorization": f"Bearer {reply.json()['data']['token']}"})
        statuses: list[list[int]] = [[] for _ in headers]

        async def work(number: int) -> None:
            path = "/walker/Fail" if number == 0 else COUNT
            for _ in range(runs):
                reply = await client.post(path, json={}, headers=headers[number])
                statuses[number].append(reply.status_code)

        with anyio.fail_after(60):
            async with anyio.create_task_group() as group:
                for number in range(len(headers)):
                    group.start_soon(work, number)
        assert statuses == [[500] * runs, *([[200] * runs] * 3)]
        found = [await client.post("/walker/Peek", json={}, headers=each) for each in headers]
    assert [reply.json()["data"]["reports"][0] for reply in found] == [[], [runs], [runs], [runs]]
