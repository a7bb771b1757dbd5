"""Threads: where plain abilities run. Law: a run that has its root's turn never waits for one that has not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import anyio.to_thread

__all__ = ["Threads"]

_AT_ONCE = 40


class Threads:
    """The threads of all plain abilities of an application.

    Runs that wait for their turns wait in threads. Those that have it get theirs from threads that only they have, so
    they go on however many others wait.

    Args:
        at_once: how many there are of either kind.
    """

    def __init__(self, at_once: int = _AT_ONCE) -> None:
        self._waiting = anyio.CapacityLimiter(at_once)
        self._going_on = anyio.CapacityLimiter(at_once)

    async def call(self, function: Callable[[Any, Any], Any], walker: Any, here: Any, *, has_turn: bool) -> None:
        """Calls an ability in a thread.

        Args:
            has_turn: whether its run has its root's turn.
        """
        limiter = self._going_on if has_turn else self._waiting
        await anyio.to_thread.run_sync(function, walker, here, limiter=limiter)
