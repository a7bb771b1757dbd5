"""Fuel: what one run of a hook may use. Law: whatever a route says, its hook ends, and not long after it should."""

from __future__ import annotations

import time
from collections.abc import Awaitable
from typing import Any

import anyio

from wireloom.errors import RequestError
from wireloom.faces.routes.failure import ErrorText, Failure, OutOfFuel

__all__ = ["CAUGHT", "Fuel", "deeper"]

CAUGHT = (Failure, RequestError)  # what `Try` catches; anything else is a bug, or the end of the process

_MAX_CALLS = 32  # functions that wait for each other
_RESERVE = 100  # operations for a `catch`, and for what follows it
_RESERVE_SECONDS = 1.0
_LOOK_EVERY = 64  # operations between looks at the clock


class Fuel:
    """Counts down the operations and the time of one run.

    Args:
        operations: how many it may take within loops and functions.
        seconds: how long it may take.
    """

    __slots__ = ("_caught", "_ends", "_left", "_operations", "_seconds")

    def __init__(self, operations: int, seconds: float) -> None:
        self._operations = operations
        self._seconds = seconds
        self._left = operations
        self._ends = time.monotonic() + seconds
        self._caught = False

    def spend(self, count: int = 1) -> None:
        """Counts operations.

        Raises:
            OutOfFuel: they, or the time, are used up.
        """
        before = self._left
        self._left -= count
        if self._left < 0:
            raise OutOfFuel(f"the hook took more than {self._operations} operations", "OUT_OF_OPERATIONS")
        if before // _LOOK_EVERY != self._left // _LOOK_EVERY and time.monotonic() > self._ends:
            raise self._too_long()

    def each(self, items: list[Any]) -> list[Any]:
        """Items, every one of which counts as an operation."""
        self.spend(len(items))
        return items

    def _too_long(self) -> OutOfFuel:
        return OutOfFuel(f"the hook took longer than {self._seconds:g} s", "OUT_OF_TIME")

    async def wait(self, work: Awaitable[Any]) -> Any:
        """Waits for something, for no longer than the hook may take.

        Raises:
            OutOfFuel: the time is used up.
        """
        try:
            with anyio.fail_after(max(self._ends - time.monotonic(), 0)):
                return await work
        except TimeoutError:
            raise self._too_long() from None

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
            self._ends = max(self._ends, time.monotonic() + _RESERVE_SECONDS)
        return ErrorText.of(error)


def deeper(depth: int) -> int:
    """How many functions wait for each other, when one more does; each chain of calls counts its own.

    Raises:
        OutOfFuel: too many.
    """
    if depth >= _MAX_CALLS:
        raise OutOfFuel(f"functions call each other more than {_MAX_CALLS} levels deep", "OUT_OF_DEPTH")
    return depth + 1
