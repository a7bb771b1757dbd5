"""Rate: how often something may be done, by token bucket. Law: what is remembered of callers is bounded."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable

from wireloom.config import Limits
from wireloom.core.network import network_of
from wireloom.core.request import Request
from wireloom.errors import Disconnect, RequestError

__all__ = ["Allowance", "Bucket", "MessageRate", "Rate", "TooOften"]

_MAX_CALLERS = 10_000  # the oldest are forgotten first


class TooOften(RequestError):
    """Something is asked more often than it may.

    Args:
        retry_after_seconds: whole seconds until it may again.
        what: is asked too often.
    """

    def __init__(self, retry_after_seconds: int, what: str = "requests") -> None:
        super().__init__("RATE_LIMITED", f"Too many {what}; try again in {retry_after_seconds} s")
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
        per_minute: of one user or, of those who are not logged in, of one address, of IPv6 its /64.
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
        caller = user.user_id if user is not None else network_of(client[0]) if client is not None else ""
        now = self._clock()
        bucket = self._buckets.pop(caller, None) or Bucket(self._burst, now)
        self._buckets[caller] = bucket
        if len(self._buckets) > _MAX_CALLERS:
            self._buckets.popitem(last=False)
        bucket.take(self._per_minute, self._burst, now)


class Allowance:
    """What is left to one connection.

    Args:
        full: messages.
        since: seconds; as of when.
    """

    __slots__ = ("left", "refusable", "since")

    def __init__(self, full: float, since: float) -> None:
        self.left = full  # messages that are let through
        self.refusable = full  # messages that are refused before the end
        self.since = since


class MessageRate:
    """How many messages a connection may send.

    What is refused is counted as well, by a second bucket of the same size and the same rate: a client that goes on
    above twice the limit ends its connection, one that is a little too fast is told so and stays.

    Args:
        limits: with `messages_per_second`, and `message_burst` or as many as may come in one second.
        clock: seconds.
    """

    def __init__(self, limits: Limits, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = limits.messages_per_second
        self._full = float(limits.message_burst or max(1, math.ceil(limits.messages_per_second)))
        self._clock = clock

    def take(self, allowance: Allowance | None) -> Allowance:
        """Counts one message.

        Args:
            allowance: of its connection, as this has left it; None: it is the first.

        Returns:
            What is left to the connection.

        Raises:
            TooOften: the message is refused.
            Disconnect: 1008: too many were refused.
        """
        now = self._clock()
        if allowance is None:
            allowance = Allowance(self._full, now)
        gained = (now - allowance.since) * self._per_second
        allowance.since = now
        allowance.left = min(self._full, allowance.left + gained)
        allowance.refusable = min(self._full, allowance.refusable + gained)
        if allowance.left >= 1:
            allowance.left -= 1
            return allowance
        if allowance.refusable < 1:
            raise Disconnect(1008, "Too many messages")
        allowance.refusable -= 1
        raise TooOften(math.ceil((1 - allowance.left) / self._per_second), "messages")
