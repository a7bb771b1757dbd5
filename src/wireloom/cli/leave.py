"""Leave: a process that is to end does so in time, whatever holds it."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable

__all__ = ["SECONDS_TO_INTERRUPT", "SECONDS_TO_LEAVE", "STOPPING", "leave_within", "warn_of_leaving"]

logger = logging.getLogger(__name__)

STOPPING = "Stopping; Ctrl-C again ends at once"
SECONDS_TO_LEAVE = 5.0  # for what ends after the application: other threads, exit handlers
SECONDS_TO_INTERRUPT = 1.5  # a start


def leave_within(seconds: float, leave: Callable[[], int | None]) -> None:
    """Ends the process if something, such as the thread of a plain `def` handler, still holds it after so long.

    Args:
        leave: called just before; gives the exit code, or None where the process is to go on.
    """

    def end() -> None:
        code = leave()
        if code is not None:
            os._exit(code)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


def warn_of_leaving() -> None:
    """Says that something is left behind."""
    logger.warning("something still holds the process, such as a busy thread; ended without it")
