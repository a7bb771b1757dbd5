"""Stalls: in development mode, code that holds up the event loop is told with its line, while it does so.

Law: each line is told once, until it is loaded anew. It costs the event loop a callback in a tenth of a second, and
nothing at all outside development mode.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from pathlib import Path
from types import CodeType, FrameType

from wireloom.cli.output import relative
from wireloom.cli.target import is_foreign
from wireloom.config import Config

__all__ = ["StallWatch", "watch_stalls"]

logger = logging.getLogger(__name__)

_RELOAD = str(Path(__file__).with_name("reload.py"))
_BEAT_SECONDS = 0.1
_LONGEST_SECONDS = 0.5  # that a callback may take without a word


def watch_stalls(config: Config) -> StallWatch | None:
    """What watches the event loop of a server; None outside development mode."""
    return StallWatch() if config.dev or config.reload else None


class StallWatch:
    """A thread that looks at the heartbeat of the event loop on whose thread it is started."""

    def __init__(self) -> None:
        self._stopped = threading.Event()
        self._told: set[tuple[CodeType, int]] = set()
        self._heard = 0.0
        self._loop: asyncio.AbstractEventLoop
        self._timer: asyncio.TimerHandle

    def start(self) -> None:
        """Begins to watch."""
        self._loop = asyncio.get_running_loop()
        self._beat()
        watching = threading.Thread(target=self._watch, args=(threading.get_ident(),), name="stalls", daemon=True)
        watching.start()

    def stop(self) -> None:
        """Watches no longer. It must have been started."""
        self._stopped.set()
        self._timer.cancel()

    def _beat(self) -> None:
        self._heard = time.monotonic()
        self._timer = self._loop.call_later(_BEAT_SECONDS, self._beat)

    def _watch(self, thread_id: int) -> None:
        noticed = 0.0  # the beat after which nothing came
        while not self._stopped.wait(_BEAT_SECONDS):
            silent, heard = time.monotonic() - self._heard, self._heard
            frame = sys._current_frames().get(thread_id)
            if silent > _LONGEST_SECONDS and heard != noticed and frame is not None:
                noticed = heard
                self._notice(frame, silent)
            del frame  # and with it what the code of others refers to

    def _notice(self, frame: FrameType, seconds: float) -> None:
        """Tells of a stall, where the user's own code is what holds up the event loop."""
        own = _find_own(frame)
        if own is None or (own.f_code, own.f_lineno) in self._told:
            return
        self._told.add((own.f_code, own.f_lineno))
        place = f"{relative(f'{own.f_code.co_filename}:{own.f_lineno}')} in {own.f_code.co_name}"
        advice = "nothing else is served meanwhile; await what waits, and give long work to asyncio.to_thread"
        logger.warning("%s: the event loop has been blocked for %.1f s; %s", place, seconds, advice)


def _find_own(frame: FrameType | None) -> FrameType | None:
    """The innermost frame of the user's own code; none where a live reload imports it."""
    own = None
    while frame is not None:
        if frame.f_code.co_filename == _RELOAD:
            return None
        if own is None and not is_foreign(frame.f_code.co_filename):
            own = frame
        frame = frame.f_back
    return own
