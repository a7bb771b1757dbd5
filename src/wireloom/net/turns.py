"""Turns: those who sent much wait for each other, so that nobody else has to wait for all of them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import perf_counter

__all__ = ["Turns"]

_SECONDS_AT_ONCE = 0.0005


class Turns:
    """Half a millisecond of each turn of the event loop for work that is more than a small message, and its queue.

    Args:
        loop: the event loop whose time it shares with all else.
    """

    __slots__ = ("_loop", "_queue", "_until")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._queue: deque[Callable[[], None]] = deque()
        self._until = 0.0  # when the time of this turn is over; 0: nobody has asked for any

    def has_time(self) -> bool:
        """Whether this turn of the loop has time left."""
        if not self._until:
            self._begin()
        return perf_counter() < self._until

    def wait(self, work: Callable[[], None]) -> None:
        """Does a small piece of work in a turn to come, after those that wait already."""
        self._queue.append(work)
        if not self._until:
            self._begin()

    async def pause(self) -> None:
        """Waits for a turn to come."""
        turn = asyncio.Event()
        self.wait(turn.set)
        await turn.wait()

    def _begin(self) -> None:
        self._until = perf_counter() + _SECONDS_AT_ONCE
        self._loop.call_soon(self._next)

    def _next(self) -> None:
        """A new turn has begun."""
        if not self._queue:
            self._until = 0.0
            return
        self._begin()  # first, so that what fails does not keep the others waiting
        while self._queue and perf_counter() < self._until:
            self._queue.popleft()()
