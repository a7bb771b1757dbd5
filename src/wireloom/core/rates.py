"""Rates: what an application has counted of its callers. Law: it outlives that endpoints are compiled anew."""

from __future__ import annotations

from weakref import WeakValueDictionary

from wireloom.core.rate import Rate

__all__ = ["Rates"]


class Rates:
    """The rates of one application, by what they count. Each is kept as long as an endpoint has it: where declarations
    are compiled anew while the old endpoints still serve, the new ones go on with what was counted.
    """

    def __init__(self) -> None:
        self._rates: WeakValueDictionary[tuple[str, int, int], Rate] = WeakValueDictionary()

    def of(self, what: str, per_minute: int, burst: int | None = None) -> Rate:
        """The rate of something; another limit for it begins at nothing.

        Args:
            what: names what is counted, such as ``walker app.Transfer``.
            per_minute: of one caller.
            burst: as many may come at once; None: `per_minute`.
        """
        most = per_minute if burst is None else burst
        rate = self._rates.get((what, per_minute, most))
        if rate is None:
            rate = self._rates[what, per_minute, most] = Rate(per_minute, most)
        return rate
