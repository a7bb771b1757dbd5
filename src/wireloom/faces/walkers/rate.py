"""Rate: how often one caller may run a walker, by token bucket. Law: what is remembered is bounded."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable

from wireloom.core.request import Request
from wireloom.errors import RequestError

__all__ = ["Rate", "TooOften"]

_MAX_CALLERS = 10_000  # the oldest are forgotten first


class TooOften(RequestError):
    """A caller runs a walker more often than it may.

    Args:
        retry_after_seconds: whole seconds until it may again.
    """

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__("RATE_LIMITED", f"Too many requests; try again in {retry_after_seconds} s")
        self.retry_after_seconds = retry_after_seconds


class Rate:
    """Counts the runs of one walker in this process.

    Args:
        per_minute: of one user or, of those who are not logged in, of one address; as many may come at once.
        clock: seconds.
    """

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # runs that are left, and as of when

    def take(self, request: Request) -> None:
        """Counts one run.

        Raises:
            TooOften: none is left.
        """
        user, client = request.user, request.client
        caller = user.user_id if user is not None else client[0] if client is not None else ""
        now = self._clock()
        left, since = self._left.pop(caller, (float(self._per_minute), now))
        left = min(float(self._per_minute), left + (now - since) * self._per_minute / 60)
        self._left[caller] = max(left - 1, 0.0) if left >= 1 else left, now
        if len(self._left) > _MAX_CALLERS:
            self._left.popitem(last=False)
        if left < 1:
            raise TooOften(math.ceil((1 - left) * 60 / self._per_minute))
