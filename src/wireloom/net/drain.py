"""Drain: how open connections are closed when their server stops, each told when to come back.

Laws:
- It is begun once and ends with the process; nothing that happens meanwhile makes it longer.
- A connection goes on as before until its turn. Then it is closed behind the handlers that run, never within one.
- Few connections are closed at once. Many are spread, and the last still have half of the time to answer.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from wireloom.config import Config

__all__ = ["Drain", "Restarted", "Schedule", "advise", "make_schedule"]

_AT_ONCE = 20  # closed in the first turn
_PER_SECOND = 200  # closed after that, or more where it would take too long
_RETURNS_PER_SECOND = 1000  # that another server is asked to bear
_SOONEST_MS, _USUAL_MS, _LATEST_MS = 100, 2_000, 60_000
_TURN_SECONDS = 0.1
_MOST_IN_A_TURN = 500  # so that the loop does other work in between


def advise(latest_ms: int = _USUAL_MS, share: float = 0.0, of: float = 1.0) -> str:
    """The reason that goes with 1012: ``{"reconnect_in_ms":740}``, a random time.

    Args:
        latest_ms: the longest that it may be.
        share: from which part of the range it is taken: where that begins, from 0 to 1.
        of: how large that part is, from 0 to 1.
    """
    wait = _SOONEST_MS + (latest_ms - _SOONEST_MS) * (share + of * random.random())
    return json.dumps({"reconnect_in_ms": round(wait)}, separators=(",", ":"))


class Restarted(Protocol):
    """An open connection, as far as a drain goes."""

    def restart(self, reason: str | None = None) -> None:
        """Lets running handlers end, then closes with 1012."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """When so many connections are closed, and for how long they are sent away.

    Attributes:
        count: of the connections.
        seconds: from the first close to the last.
        latest_ms: the longest that one is told to stay away.
    """

    count: int
    seconds: float
    latest_ms: int

    def due(self, elapsed_seconds: float) -> int:
        """How many are to be closed by then."""
        if elapsed_seconds >= self.seconds:
            return self.count
        return min(self.count, _AT_ONCE + int((self.count - _AT_ONCE) * elapsed_seconds / self.seconds))


def make_schedule(count: int, timeout_seconds: float, spread_seconds: float) -> Schedule:
    """The schedule of a drain.

    Args:
        count: of open connections.
        timeout_seconds: of the whole drain.
        spread_seconds: over which they are closed, at most; half of the time-out if that is less.
    """
    most = min(spread_seconds, timeout_seconds / 2)
    seconds = min(most, max(0, count - _AT_ONCE) / _PER_SECOND)
    # Closes that are spread bring returns that are; only where they are not is staying away to do it
    away_ms = (count / _RETURNS_PER_SECOND - seconds) * 1000
    return Schedule(count, seconds, round(min(max(away_ms, _USUAL_MS), _LATEST_MS)))


class Drain:
    """The drain of one listener.

    Args:
        connections: those that are open, looked at when it begins.
        config: whose options say how long it takes.
        loop: the event loop of these connections.

    Attributes:
        ends: when its time is over, by the loop's clock; None before it begins.
    """

    def __init__(self, connections: Iterable[Restarted], config: Config, loop: asyncio.AbstractEventLoop) -> None:
        self._connections = connections
        self._config = config
        self._loop = loop
        self._left: list[Restarted] = []
        self._schedule = Schedule(0, 0.0, 0)
        self._began = 0.0
        self._handle: asyncio.Handle | None = None
        self.ends: float | None = None

    def begin(self) -> None:
        """Begins it, with the next turn of the loop; once."""
        if self.ends is None:
            self._began = self._loop.time()
            self.ends = self._began + self._config.drain_timeout_seconds
            self._handle = self._loop.call_soon(self._start)

    def end(self) -> None:
        """Closes no further connection; those that are left are somebody else's matter."""
        if self._handle is not None:
            self._handle.cancel()

    def _start(self) -> None:
        self._left = [*self._connections]
        random.shuffle(self._left)  # a set may have them in the order in which they came, which is that of their users
        config = self._config
        self._schedule = make_schedule(len(self._left), config.drain_timeout_seconds, config.drain_spread_seconds)
        self._turn()

    def _turn(self) -> None:
        """Closes those whose time has come."""
        schedule, left = self._schedule, self._left
        due = schedule.due(self._loop.time() - self._began) - (schedule.count - len(left))
        size = min(due, _MOST_IN_A_TURN)
        for number in range(size):  # by shares of the range, so that those of one turn do not come back together
            left.pop().restart(advise(schedule.latest_ms, number / size, 1 / size))
        if due > size:
            self._handle = self._loop.call_soon(self._turn)
        elif left:
            self._handle = self._loop.call_later(_TURN_SECONDS, self._turn)
