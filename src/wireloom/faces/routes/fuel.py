"""Fuel: what one run of a hook may use. Law: whatever a route says, its hook ends, and not long after it should."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Iterator
from typing import Any

import anyio
from anyio.lowlevel import checkpoint

from wireloom.errors import RequestError
from wireloom.faces.routes.failure import ErrorText, Failure, OutOfFuel

__all__ = ["CAUGHT", "Fuel", "deeper"]

CAUGHT = (Failure, RequestError)  # what `Try` catches; anything else is a bug, or the end of the process

_MAX_CALLS = 32  # functions that wait for each other
_RESERVE = 100  # operations for a `catch`, and for what follows it
_RESERVE_SECONDS = 1.0
_MOST_BUSY_SECONDS = 1.0  # without a wait: for as long nothing else of the process runs
_FAIR_SECONDS = 0.02  # after as long, others have a turn when the hook waits


class Fuel:
    """Counts down the operations and the time of one run.

    Args:
        operations: how many it may take within loops and functions.
        seconds: how long it may take.
    """

    __slots__ = ("_caught", "_ends", "_left", "_operations", "_seconds", "_turn_ends")

    def __init__(self, operations: int, seconds: float) -> None:
        self._operations = operations
        self._seconds = seconds
        self._left = operations
        now = time.monotonic()
        self._ends = now + seconds
        self._turn_ends = now + _MOST_BUSY_SECONDS
        self._caught = False

    def spend(self, count: int = 1) -> None:
        """Counts operations.

        Raises:
            OutOfFuel: they, or the time, are used up.
        """
        self._left -= count
        if self._left < 0:
            raise OutOfFuel(f"the hook took more than {self._operations} operations", "OUT_OF_OPERATIONS")
        self._look()

    def each(self, items: list[Any]) -> Iterator[Any]:
        """Items, every one of which counts as an operation; what is done with one may take long."""
        self.spend(len(items))
        for item in items:
            self._look()
            yield item

    def look(self, value: Any) -> Any:
        """The value of something that may have taken long. One expression may have thousands of such.

        Raises:
            OutOfFuel: the time is used up.
        """
        self._look()
        return value

    def _look(self) -> None:
        now = time.monotonic()
        if now > self._ends:
            raise self._too_long()
        if now > self._turn_ends:
            raise OutOfFuel(f"the hook kept others waiting for more than {_MOST_BUSY_SECONDS:g} s", "OUT_OF_TIME")

    def _too_long(self) -> OutOfFuel:
        return OutOfFuel(f"the hook took longer than {self._seconds:g} s", "OUT_OF_TIME")

    async def wait(self, work: Awaitable[Any]) -> Any:
        """Waits for something, for no longer than the hook may take.

        Raises:
            OutOfFuel: the time is used up.
        """
        try:
            with anyio.fail_after(max(self._ends - time.monotonic(), 0)):
                result = await work
        except TimeoutError:
            raise self._too_long() from None
        now = time.monotonic()
        if now > self._turn_ends - _MOST_BUSY_SECONDS + _FAIR_SECONDS:
            await checkpoint()  # what was waited for may have been there at once, and so have let nobody else run
            self._turn_ends = time.monotonic() + _MOST_BUSY_SECONDS
        return result

    def caught(self, error: Failure | RequestError) -> ErrorText:
        """What a `catch` is told. Who runs out of fuel gets a little more for it, once.

        Raises:
            OutOfFuel: it was caught before.
        """
        if not isinstance(error, Failure):
            return ErrorText.of(Failure(error.message, error.code))
        if isinstance(error, OutOfFuel):
            if self._caught:
                raise error
            self._caught = True
            self._left = max(self._left, _RESERVE)
            now = time.monotonic()
            self._ends = max(self._ends, now + _RESERVE_SECONDS)
            self._turn_ends = max(self._turn_ends, now + _RESERVE_SECONDS)
        return ErrorText.of(error)


def deeper(depth: int) -> int:
    """How many functions wait for each other, when one more does; each chain of calls counts its own.

    Raises:
        OutOfFuel: too many.
    """
    if depth >= _MAX_CALLS:
        raise OutOfFuel(f"functions call each other more than {_MAX_CALLS} levels deep", "OUT_OF_DEPTH")
    return depth + 1
