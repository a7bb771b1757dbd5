"""A clock that a test turns: the time-outs of a server by it, to the quarter of a second and without waiting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wireloom.net.wheel import Wheel
from wireloom.testing import TestServer

__all__ = ["TICK", "Clock"]

TICK = 0.25  # seconds: a time-out comes within one after it, where it begins with a tick


class Clock:
    """What a wheel takes for its event loop. Made within a running server, whose time it is from then on.

    Args:
        server: with nothing that has a time-out yet.
    """

    def __init__(self, server: TestServer) -> None:
        self._seconds = 1000.0
        self._turn: Callable[[], None] = lambda: None
        listener: Any = server.app.listener
        listener.wheel.stop()
        wheel: Any = Wheel(self)  # type: ignore[arg-type]
        listener.wheel = wheel
        wheel.start()

    def time(self) -> float:
        """Seconds."""
        return self._seconds

    def call_later(self, _seconds: float, turn: Callable[[], None]) -> Clock:
        """Takes the wheel's next turn, which comes when the test says so."""
        self._turn = turn
        return self

    def cancel(self) -> None:
        """The wheel stops."""
        self._turn = lambda: None

    def go_on(self, seconds: float) -> None:
        """So many seconds are over."""
        self._seconds += seconds
        self._turn()
