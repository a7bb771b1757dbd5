"""A clock that a test turns: the time-outs of a server by it, to the quarter of a second and without waiting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wireloom.net.wheel import Wheel
from wireloom.testing import TestServer

__all__ = ["TICK", "Clock"]

TICK = 0.25  # seconds: a time-out comes within one after it, where it begins with a tick


class Clock:
    """What a wheel takes for its event loop."""

    def __init__(self) -> None:
        self._seconds = 1000.0
        self._turn: Callable[[], None] = lambda: None

    @classmethod
    def of(cls, server: TestServer) -> Clock:
        """The clock of a running server from now on; nothing of it may have a time-out yet."""
        clock = cls()
        listener: Any = server.app.listener
        listener.wheel.stop()
        listener.wheel = clock.wheel()
        return clock

    def wheel(self) -> Wheel:
        """A wheel that turns with this clock."""
        wheel = Wheel(self)  # type: ignore[arg-type]
        wheel.start()
        return wheel

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
