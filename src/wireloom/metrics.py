"""Counts: what has happened, as plain integers on objects that the code which counts has at hand.

Laws:
- Counting is an addition. Nothing is locked, formatted or sent; whoever wants to know reads the numbers.
- What is counted by name has a bounded number of names, whatever clients and handlers come up with.
- No sum of a counter falls, also when endpoints are removed.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Container
from typing import Any, Protocol

__all__ = [
    "MOST_CODES",
    "OTHER",
    "REMOVED",
    "SECONDS",
    "TIMED_AT_ONCE",
    "Counts",
    "EndpointCounts",
    "Observer",
    "Timings",
]

SECONDS = (0.0001, 0.0005, 0.0025, 0.01, 0.05, 0.25, 1.0, 5.0)
"""Upper bounds of the histogram of handling times."""

OTHER = "other"
"""Stands for names beyond the bound, and for those that are none."""

REMOVED = "(removed)"
"""Stands for the endpoints of a door that are no longer there."""

TIMED_AT_ONCE = 25
"""Messages of an endpoint that are timed between two ticks of the clock, which has four a second."""

MOST_CODES = 50
"""Codes of errors that are told apart, of one endpoint."""

_CODE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_OURS = frozenset((*range(1000, 1016), 4000, 4004, 4401))  # close codes that have a name; others are the application's


class Observer(Protocol):
    """Is told of errors as they are counted."""

    def told(self, error: Exception) -> None:
        """A caller is told of an error."""

    def bug(self, error: BaseException, error_id: str) -> None:
        """An unexpected exception was logged."""


class Timings:
    """A histogram of seconds.

    Attributes:
        buckets: how many were within each of `SECONDS`, and above the last; not cumulated.
        total: of all seconds.
    """

    __slots__ = ("buckets", "total")

    def __init__(self) -> None:
        self.buckets = [0] * (len(SECONDS) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        """One more."""
        self.buckets[bisect_left(SECONDS, seconds)] += 1
        self.total += seconds

    def include(self, other: Timings) -> None:
        """Adds all of another."""
        self.buckets = [mine + theirs for mine, theirs in zip(self.buckets, other.buckets, strict=True)]
        self.total += other.total


class EndpointCounts:
    """What has happened at one endpoint, or at those that have one name.

    Args:
        counts: of the application.

    Attributes:
        open: connections that are open now.
        opened: connections that were opened.
        closed: those that have ended, by close code.
        received: messages; of the doors rest, webhook and event, requests.
        received_bytes: as they came over the wire, frames and all; of HTTP, the bodies.
        sent: frames; of HTTP, responses.
        control: pings and pongs among them, and among those that are about to be sent.
        messages_sent: what was last told of the others.
        sent_bytes: as they went over the wire; of HTTP, the bodies.
        dropped: messages that a reader did not get, by the policy for slow ones.
        paused: outboxes whose readers are behind.
        responses: by HTTP status.
        errors: that callers were told, by code.
        bugs: unexpected exceptions, by where they came from: a handler, a hook, the handshake.
        failures: of the hooks of a declarative route, by hook.
        timings: of messages; where there are many, of the first in a quarter of a second.
        timed_until: the clock's tick for which enough were timed.
    """

    __slots__ = (
        *("bugs", "closed", "control", "dropped", "errors", "failures", "messages_sent", "open", "opened", "paused"),
        *("received", "received_bytes", "responses", "sent", "sent_bytes", "timed_until", "timings"),
        *("_counts", "_timed", "_timed_at"),
    )

    def __init__(self, counts: Counts | None = None) -> None:
        self._counts = counts
        self.open = self.opened = 0
        self.received = self.received_bytes = 0
        self.sent = self.control = self.messages_sent = self.sent_bytes = 0
        self.closed: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self.paused: set[Any] = set()
        self.responses: Counter[int] = Counter()
        self.errors: Counter[str] = Counter()
        self.bugs: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.timings = Timings()
        self.timed_until = -1.0
        self._timed = 0
        self._timed_at = -1.0

    def include(self, other: EndpointCounts) -> None:
        """Adds all that has happened at another endpoint."""
        other.messages_sent = max(other.messages_sent, other.sent - other.control)
        for name in _SUMMED:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("closed", "dropped", "responses", "bugs", "failures"):
            getattr(self, name).update(getattr(other, name))
        for code, count in other.errors.items():
            self.errors[code if code in self.errors or len(self.errors) < MOST_CODES else OTHER] += count
        self.paused |= other.paused
        self.timings.include(other.timings)

    def time(self, seconds: float, now: float) -> None:
        """The handling of a message took so long.

        Args:
            now: the clock's last tick; when `timed_until` has become it, further messages need not be timed.
        """
        self.timings.add(seconds)
        if self._timed_at != now:
            self._timed_at, self._timed = now, 0
        self._timed += 1
        if self._timed >= TIMED_AT_ONCE:
            self.timed_until = now

    def close(self, code: int | None) -> None:
        """A connection has ended, with a close code that either side may have chosen."""
        self.open -= 1
        self.closed[_name_of(code)] += 1

    def tell(self, code: str, error: Exception | None = None) -> None:
        """A caller is told of an error by its code, which is the application's to choose."""
        if not isinstance(code, str) or (code not in self.errors and len(self.errors) >= MOST_CODES):
            code = OTHER
        self.errors[code if _CODE.fullmatch(code) else OTHER] += 1
        if error is not None and self._counts is not None and self._counts.observer is not None:
            self._counts.observer.told(error)

    def bug(self, where: str, error: BaseException, error_id: str) -> None:
        """An unexpected exception was logged with its id."""
        self.bugs[where] += 1
        if self._counts is not None and self._counts.observer is not None:
            self._counts.observer.bug(error, error_id)


_SUMMED = ("open", "opened", "received", "received_bytes", "sent", "control", "messages_sent", "sent_bytes")


def _name_of(code: int | None) -> str:
    """A close code as a name; those that clients and applications make up share one a thousand."""
    if code is None:
        return "1005"  # RFC 6455 §7.1.5: no status code was present
    return str(code) if code in _OURS else f"{code // 1000}xxx" if 1000 <= code <= 4999 else OTHER


class Counts:
    """What has happened in one application.

    Attributes:
        refused: handshakes that were answered with another status than 101, by status.
        observer: is told of errors, too.
    """

    __slots__ = ("_endpoints", "_leaving", "_removed", "observer", "refused")

    def __init__(self) -> None:
        self.observer: Observer | None = None
        self.refused: Counter[int] = Counter()
        self._endpoints: dict[tuple[str, str], EndpointCounts] = {}
        self._leaving: list[tuple[str, EndpointCounts]] = []  # of removed endpoints that have open connections
        self._removed: dict[str, EndpointCounts] = {}  # the sum of the others, by door

    def of(self, door: str, name: str) -> EndpointCounts:
        """Those of an endpoint, the same ones whenever it is compiled anew."""
        return self._endpoints.setdefault((door, name), EndpointCounts(self))

    def keep(self, endpoints: Container[tuple[str, str]]) -> None:
        """Holds one by one only those of endpoints, named by door and name, that are still there."""
        for endpoint in [each for each in self._endpoints if each not in endpoints]:
            self._leaving.append((endpoint[0], self._endpoints.pop(endpoint)))
        self._fold()

    def removed(self) -> dict[str, EndpointCounts]:
        """What has happened at endpoints that are no longer there, by door."""
        self._fold()
        sums: dict[str, EndpointCounts] = {}
        for door, counts in (*self._removed.items(), *self._leaving):
            sums.setdefault(door, EndpointCounts()).include(counts)
        return sums

    def _fold(self) -> None:
        leaving, self._leaving = self._leaving, []
        for door, counts in leaving:
            if counts.open or counts.paused:
                self._leaving.append((door, counts))
            else:
                self._removed.setdefault(door, EndpointCounts()).include(counts)
