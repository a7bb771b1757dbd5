"""Rate: how often something may be done, by token bucket. Law: what is remembered of callers is bounded."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable

from wireloom.core.request import Request
from wireloom.errors import RequestError

__all__ = ["Bucket", "Rate", "TooOften"]

_MAX_CALLERS = 10_000  # the oldest are forgotten first


class TooOften(RequestError):
    """Something is asked more often than it may.

    Args:
        retry_after_seconds: whole seconds until it may again.
    """

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__("RATE_LIMITED", f"Too many requests; try again in {retry_after_seconds} s")
        self.retry_after_seconds = retry_after_seconds


class Bucket:
    """What is left to one caller.

    Args:
        left: of what may be done at once.
        since: seconds; as of when.
    """

    __slots__ = ("left", "since")

    def __init__(self, left: float, since: float) -> None:
        self.left = left
        self.since = since

    def take(self, per_minute: int, most: int, now: float) -> None:
        """Takes one.

        Args:
            per_minute: that come back.
            most: that there may be.
            now: seconds.

        Raises:
            TooOften: none is left.
        """
        self.left = min(float(most), self.left + (now - self.since) * per_minute / 60)
        self.since = now
        if self.left < 1:
            raise TooOften(math.ceil((1 - self.left) * 60 / per_minute))
        self.left -= 1


class Rate:
    """Counts what callers do in this process.

    Args:
        per_minute: of one user or, of those who are not logged in, of one address.
        burst: as many may come at once; None: `per_minute`.
        clock: seconds.
    """

    def __init__(
        self, per_minute: int, burst: int | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_minute = per_minute
        self._burst = per_minute if burst is None else burst
        self._clock = clock
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def take(self, request: Request) -> None:
        """Counts one request.

        Raises:
            TooOften: none is left.
        """
        user, client = request.user, request.client
        caller = user.user_id if user is not None else client[0] if client is not None else ""
        now = self._clock()
        bucket = self._buckets.pop(caller, None) or Bucket(self._burst, now)
        self._buckets[caller] = bucket
        if len(self._buckets) > _MAX_CALLERS:
            self._buckets.popitem(last=False)
        bucket.take(self._per_minute, self._burst, now)
