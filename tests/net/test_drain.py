"""The schedule of a drain, and the advice that goes with it; processes that drain are in tests/e2e."""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wireloom import App
from wireloom.config import Config
from wireloom.net.drain import Drain, Schedule, advise, make_schedule
from wireloom.net.listener import Listener
from wireloom.testing import TestServer

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("count", "schedule"),
    [
        (0, Schedule(0, 0.0, 2000)),
        (3, Schedule(3, 0.0, 2000)),
        (20, Schedule(20, 0.0, 2000)),
        (220, Schedule(220, 1.0, 2000)),  # 200 a second
        (3020, Schedule(3020, 15.0, 2000)),
        (5000, Schedule(5000, 15.0, 2000)),  # faster than that, as it is to take no longer
        (20_000, Schedule(20_000, 15.0, 5000)),  # as many seconds away as bring 1,000 back in each
        (100_000, Schedule(100_000, 15.0, 60_000)),
    ],
)
def test_the_schedule_of_the_defaults(count: int, schedule: Schedule) -> None:
    assert make_schedule(count, 30.0, 15.0) == schedule


@pytest.mark.parametrize(
    ("timeout", "spread", "seconds", "latest_ms"),
    [
        (30.0, 0.0, 0.0, 5000),  # all at once: they are spread by staying away
        (30.0, 3.0, 3.0, 2000),
        (30.0, 60.0, 15.0, 2000),  # half of the time is for answers
        (4.0, 15.0, 2.0, 3000),
        (0.0, 15.0, 0.0, 5000),
    ],
)
def test_the_schedule_of_5000(timeout: float, spread: float, seconds: float, latest_ms: int) -> None:
    assert make_schedule(5000, timeout, spread) == Schedule(5000, seconds, latest_ms)


@given(st.integers(0, 200_000), st.floats(0, 600), st.floats(0, 600))
def test_every_schedule_ends_with_all_of_them(count: int, timeout: float, spread: float) -> None:
    schedule = make_schedule(count, timeout, spread)
    assert 0 <= schedule.seconds <= min(spread, timeout / 2)
    due = [schedule.due(schedule.seconds * tenth / 10) for tenth in range(11)]
    assert all(sooner <= later for sooner, later in pairwise(due))
    assert due[0] == (count if schedule.seconds == 0 else 20)
    assert schedule.due(schedule.seconds) == schedule.due(schedule.seconds + 1) == count


def test_advice_is_of_its_part_of_the_range() -> None:
    def waits(*part: float) -> list[int]:
        return [json.loads(advise(10_100, *part))["reconnect_in_ms"] for _ in range(200)]

    assert all(100 <= wait <= 10_100 for wait in waits())
    assert all(5100 <= wait <= 6100 for wait in waits(0.5, 0.1))
    assert len(set(waits())) > 100
    assert advise().startswith('{"reconnect_in_ms":')


class Noted:
    """Stands for an open connection."""

    def __init__(self, turns: list[list[str]]) -> None:
        self._turns = turns

    def restart(self, reason: str | None = None) -> None:
        assert reason is not None
        self._turns[-1].append(reason)


async def test_each_connection_has_its_turn_once_and_a_turn_is_bounded() -> None:
    turns: list[list[str]] = [[]]
    loop = asyncio.get_running_loop()
    drain = Drain([Noted(turns) for _ in range(1700)], Config(drain_spread_seconds=0.0), loop)
    assert drain.ends is None
    drain.begin()
    ends = drain.ends
    while sum(map(len, turns)) < 1700:
        await asyncio.sleep(0)
        turns.append([])
    drain.begin()
    await asyncio.sleep(0)
    assert [len(turn) for turn in turns if turn] == [500, 500, 500, 200]
    assert drain.ends == ends
    waits = [json.loads(reason)["reconnect_in_ms"] for reason in turns[0] or turns[1]]
    assert waits == sorted(waits)  # each from its own share of the range


async def test_what_is_left_when_it_ends_has_no_turn() -> None:
    turns: list[list[str]] = [[]]
    drain = Drain([Noted(turns) for _ in range(100)], Config(), asyncio.get_running_loop())
    drain.begin()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    drain.end()
    assert len(turns[0]) == 20
    await asyncio.sleep(0.3)
    assert len(turns[0]) == 20


class Answered:
    """Stands for a connection whose handler runs, and whose peer answers a close before the next turn."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self.handler = asyncio.create_task(self._handle())
        listener.shells.add(cast(Any, self))

    async def _handle(self) -> None:
        await asyncio.Event().wait()

    def cut(self, reason: str) -> None:
        self._listener.shells.remove(cast(Any, self))
        self._listener.keep(self.handler)

    def abort(self) -> None:
        self.handler.cancel()


async def test_no_handler_outlives_a_connection_that_is_cut_and_gone_at_once() -> None:
    app = App()
    async with app.running():
        assert app.listener is not None
        connection = Answered(app.listener)
        async with asyncio.timeout(5):
            await app.listener.end_connections()
        assert connection.handler.cancelled()


async def test_an_application_drains_when_it_is_asked_to() -> None:
    app = App()

    @app.websocket("/echo")
    async def echo(message: str) -> str:
        return message

    await app.drain()  # not running: nothing to do
    async with TestServer(app) as server:
        async with server.websocket("/echo") as ws:
            await ws.send_text("x")
            assert await ws.receive_text() == "x"
            async with asyncio.timeout(5):
                await app.drain()
            assert await ws.wait_closed() == 1012
            assert "reconnect_in_ms" in ws.close_reason
        assert (await server.http.get("/healthz/ready")).status_code == 503
