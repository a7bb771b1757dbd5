"""Lifespan: an application from its start to its end, as a server asks for them (ASGI lifespan protocol 2.0).

Laws:
- Why it did not start or end is kept, with its traceback; who serves it tells that.
- It holds nobody up: what is not wanted any longer is cancelled, so that its own clean-up runs, and left behind where
  it does not heed that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, MutableMapping
from typing import Any

__all__ = ["Lifespan"]

_LOOK_SECONDS = 0.05
_SECONDS_TO_HEED = 0.5  # a cancellation


class Lifespan:
    """One start and one end of an application. It stands in the place of uvicorn's.

    Args:
        application: called with the scope of the protocol.
        is_interrupted: whether the start is no longer wanted.

    Attributes:
        state: what the protocol lets an application keep for its requests.
        failure: what it raised; the `CancelledError` of one that took too long says where it was.
        interrupted: it was given up while it started.
        timed_out: it was given up while it ended.
    """

    def __init__(self, application: Any, is_interrupted: Callable[[], bool]) -> None:
        self.state: dict[str, Any] = {}
        self.failure: BaseException | None = None
        self.interrupted = self.timed_out = False
        self._application = application
        self._is_interrupted = is_interrupted
        self._asked: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self._started = asyncio.Event()

    @property
    def should_exit(self) -> bool:
        """Whether it did not start."""
        return self.interrupted or self.failure is not None

    @property
    def has_ended(self) -> bool:
        """Whether nothing of it runs any more."""
        return self._task is not None and self._task.done()

    async def startup(self) -> None:
        """Waits until it has started, has failed, or is no longer wanted."""
        self._task = asyncio.create_task(self._run())
        self._asked.put_nowait({"type": "lifespan.startup"})
        started = asyncio.create_task(self._started.wait())
        try:
            while not started.done() and not self.interrupted:
                await asyncio.wait([started], timeout=_LOOK_SECONDS)
                self.interrupted = self._is_interrupted() and not started.done()
        finally:
            if not started.done():
                started.cancel()
                await self._cancel()

    async def shutdown(self, seconds: float) -> None:
        """Waits until it has ended, for so long at most. It must have started."""
        assert self._task is not None, "it was started"
        self._asked.put_nowait({"type": "lifespan.shutdown"})
        await asyncio.wait([self._task], timeout=seconds)
        if not self._task.done():
            self.timed_out = True
            await self._cancel()

    async def _run(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        try:
            await self._application(scope, self._asked.get, self._take)
        except BaseException as error:  # SystemExit too, which would end the event loop with what is open
            self.failure = error
        finally:
            self._started.set()

    async def _take(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "lifespan.startup.complete":
            self._started.set()

    async def _cancel(self) -> None:
        assert self._task is not None, "it was started"
        self._task.cancel()
        await asyncio.wait([self._task], timeout=_SECONDS_TO_HEED)
