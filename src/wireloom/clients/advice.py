"""Whether to come back to a server, and when: its close codes, its reasons, its HTTP answers, and the dice.

Law: the server's advice is followed within bounds; without any, delays grow and are random (full jitter), so that
clients which lost one server together do not come back together.
"""

from __future__ import annotations

import random
from collections.abc import Container
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from ssl import SSLCertVerificationError

import msgspec

from wireloom.clients.protocol import Ending
from wireloom.errors import CLOSE_CODES, HandshakeFailed

__all__ = ["Advice", "Backoff", "after_ending", "after_failure"]

_MAX_SECONDS = 600.0
_RETRIED_STATUSES = frozenset((408, 425, 429))
# Not in our table. 1014: a gateway in between lost the server
_COME_BACK = frozenset((1006, 1014))


@dataclass(frozen=True, slots=True)
class Advice:
    """What to do after an end.

    Attributes:
        come_back: whether to.
        at_least_seconds: how long to stay away.
    """

    come_back: bool
    at_least_seconds: float = 0.0


class _Reason(msgspec.Struct):
    reconnect_in_ms: float


def after_ending(ending: Ending, come_back: Container[int] = ()) -> Advice:
    """What to do after a connection has ended.

    A reason ``{"reconnect_in_ms": 1500}`` decides; else the table of close codes. Codes that are not in it are the
    application's: it closed on purpose, and they end it unless they are told here.

    Args:
        come_back: further codes after which to.
    """
    try:
        wanted = msgspec.json.decode(ending.reason, type=_Reason).reconnect_in_ms
    except msgspec.MsgspecError:
        code = ending.error.code
        known = CLOSE_CODES.get(code)
        return Advice(code in come_back or (known.come_back if known else code in _COME_BACK))
    return Advice(True, _bounded(wanted / 1000))


def after_failure(error: Exception) -> Advice:
    """What to do after an opening has failed.

    Statuses 408, 425, 429 and 5xx are passing, and may say how long by ``Retry-After``; other answers are final, and so
    is a certificate that is not trusted. All else may heal.
    """
    if not isinstance(error, HandshakeFailed):
        return Advice(isinstance(error, OSError) and not isinstance(error, SSLCertVerificationError))
    if error.status and error.status < 500 and error.status not in _RETRIED_STATUSES:
        return Advice(False)
    return Advice(True, _retry_after(error.headers.get("retry-after", "")))


def _retry_after(value: str) -> float:
    """Seconds from a ``Retry-After`` (RFC 9110 §10.2.3): seconds or a date; 0 for what is neither."""
    if value.isascii() and value.isdecimal():
        return _bounded(float(value))
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, OverflowError):  # a year or a zone beyond all bounds
        return 0.0
    return _bounded((date.replace(tzinfo=date.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def _bounded(seconds: float) -> float:
    return min(max(seconds, 0.0), _MAX_SECONDS)


class Backoff:
    """Delays that grow with each failure: ``uniform(0, min(cap, base * 2**failures))``.

    Args:
        base: seconds.
        cap: seconds.

    Attributes:
        failures: in a row.
    """

    def __init__(self, base: float, cap: float) -> None:
        self._base = base
        self._cap = cap
        self.failures = 0

    def delay(self, advice: Advice) -> float:
        """Seconds to stay away: what the advice says, and a random time."""
        ceiling = min(self._cap, self._base * 2 ** min(self.failures, 50))
        return advice.at_least_seconds + random.uniform(0.0, ceiling)
