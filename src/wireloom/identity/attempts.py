"""Attempts: how many wrong passwords may be told and users added, by token bucket.

Law: an attempt is counted before it is made, so that attempts at the same time do not slip past the limit. What is
remembered is bounded, whatever is sent.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from wireloom.core.network import network_of
from wireloom.identity.names import fold
from wireloom.identity.refusal import CredentialsInvalid, RateLimited

__all__ = ["ANYWHERE", "MAX_ENTRIES", "Attempts", "Registrations"]

ANYWHERE = 6  # times the limit: one name from all addresses, and one address for all names
MAX_ENTRIES = 100_000
_ROUNDING = 1e-6


class _Buckets:
    """What was done, by whom, and as of when.

    Args:
        per_minute: that one may do; 0: nothing is counted.
        clock: seconds.
        max_entries: what is remembered at most; the oldest goes first.
    """

    what: str  # is limited, for people

    def __init__(
        self, per_minute: int, clock: Callable[[], float] = time.monotonic, max_entries: int = MAX_ENTRIES
    ) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._max_entries = max_entries
        self._buckets: OrderedDict[bytes, tuple[float, float]] = OrderedDict()  # attempts that count, and as of when

    def _count(self, limits: dict[bytes, int]) -> None:
        now = self._clock()
        wait_seconds = max(self._wait_seconds(key, limit, now) for key, limit in limits.items())
        if wait_seconds > 0:
            raise RateLimited(math.ceil(wait_seconds), self.what)
        for key in limits:
            counted, _ = self._buckets.pop(key, (0.0, now))
            self._buckets[key] = counted + 1, now
        while len(self._buckets) > self._max_entries:
            self._buckets.popitem(last=False)

    def _wait_seconds(self, key: bytes, limit: int, now: float) -> float:
        """Seconds until a bucket has room for one more; what has trickled away since is taken off it."""
        if key not in self._buckets:
            return 0.0
        counted, since = self._buckets[key]
        per_second = limit / 60
        counted = max(0.0, counted - max(0.0, now - since) * per_second)  # a clock may be set back
        self._buckets[key] = counted, now
        excess = counted + 1 - limit
        return excess / per_second if excess > _ROUNDING else 0.0

    def _give_back(self, limits: dict[bytes, int]) -> None:
        for key in limits:
            if key in self._buckets:
                counted, since = self._buckets[key]
                self._buckets[key] = max(0.0, counted - 1), since


class Attempts(_Buckets):
    """Counts failed password checks of one process; the limit is that for one name from one address."""

    what = "failed attempts"

    @contextmanager
    def counting(self, name: str, address: str | None) -> Iterator[None]:
        """Counts what is done within as a failed attempt if it raises `CredentialsInvalid`.

        When nothing is raised, the attempts for this name from this address are forgotten.

        Args:
            name: as it was sent; whether there is such a user makes no difference.
            address: an IP address, of IPv6 its /64 counts; None: not known.

        Raises:
            RateLimited: too many have failed; nothing within was done.
        """
        if not self._per_minute:
            yield
            return
        limits = self._limits_of(fold(name), None if address is None else network_of(address))
        self._count(limits)
        failed = False
        try:
            yield
        except CredentialsInvalid:
            failed = True
            raise
        finally:
            if not failed:
                self._give_back(limits)
        both, *_ = limits
        self._buckets.pop(both, None)

    def _limits_of(self, name: str, network: str | None) -> dict[bytes, int]:
        """The buckets that an attempt counts in, and what each holds; the first is of the name from the address."""
        limits = {
            _digest("both", name, network or ""): self._per_minute,
            _digest("name", name): self._per_minute * ANYWHERE,
        }
        if network is not None:
            limits[_digest("address", network)] = self._per_minute * ANYWHERE
        return limits


class Registrations(_Buckets):
    """Counts users who were added from one address, and attempts to, of one process."""

    what = "registrations"

    def count(self, address: str) -> None:
        """Counts one. It counts also if it fails later: its answer tells whether a name is taken.

        Args:
            address: an IP address, of IPv6 its /64 counts.

        Raises:
            RateLimited: there were too many.
        """
        if self._per_minute:
            self._count({_digest("address", network_of(address)): self._per_minute})


def _digest(*parts: str) -> bytes:
    """A bucket's key; names may be as long as a body, keys may not."""
    text = "\0".join((str(len(parts[-1])), *parts))
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
