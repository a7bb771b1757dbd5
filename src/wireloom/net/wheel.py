"""Wheel: one timer for all time-outs of an event loop, so that an idle connection owns none."""

from __future__ import annotations

import asyncio
from typing import Protocol

__all__ = ["Timed", "Wheel"]

_TICK_SECONDS = 0.25


class Timed(Protocol):
    """Something with at most one time-out at a time."""

    bucket: set[Timed] | None

    def on_timeout(self) -> None:
        """The time has come."""


class Wheel:
    """Calls `on_timeout` of what was added, never early and at most two ticks late.

    Args:
        loop: the event loop whose time it keeps.
    """

    __slots__ = ("_buckets", "_handle", "_loop", "_tick", "now")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._buckets: dict[int, set[Timed]] = {}
        self._handle: asyncio.TimerHandle | None = None
        self.now = loop.time()  # as of the last tick
        self._tick = int(self.now / _TICK_SECONDS)

    def start(self) -> None:
        """Begins to tick."""
        self._handle = self._loop.call_later(_TICK_SECONDS, self._turn)

    def stop(self) -> None:
        """Ends ticking; nothing times out any more."""
        if self._handle is not None:
            self._handle.cancel()
        self._buckets.clear()

    def add(self, item: Timed, seconds: float) -> None:
        """Lets an item time out after so many seconds; replaces the time-out that it has."""
        self.remove(item)
        tick = int((self._loop.time() + seconds) / _TICK_SECONDS) + 1
        item.bucket = self._buckets.setdefault(tick, set())
        item.bucket.add(item)

    def remove(self, item: Timed) -> None:
        """Takes an item's time-out away."""
        if item.bucket is not None:
            item.bucket.discard(item)
            item.bucket = None

    def _turn(self) -> None:
        self._handle = self._loop.call_later(_TICK_SECONDS, self._turn)
        self.now = self._loop.time()
        last, self._tick = self._tick, int(self.now / _TICK_SECONDS)
        for tick in range(last + 1, self._tick + 1):
            due = self._buckets.pop(tick, None)
            while due:  # an item may take the time-out of another away
                item = due.pop()
                item.bucket = None
                item.on_timeout()
