"""Logins: whose tokens allow what on which connection, until when. Law: one timer for all of them."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from wireloom.hub.connection import Connection

__all__ = ["End", "Logins", "encode_revocation"]

logger = logging.getLogger(__name__)

WARNING_SECONDS = 60.0
_LONGEST_TIMER_SECONDS = 3600.0  # event loops measure long times badly, and clocks are set
_REMEMBERED_SECONDS = 120.0
_CHECKED_AT_ONCE = 500
_LEFT_OVER = 64  # entries of those who left, below which the heap is not worth rebuilding

End = Callable[[Connection, str], None]
Remind = Callable[[Connection, int], None]


class _Revocation(msgspec.Struct):
    """Whose login ends: all of a user's, or that of one token."""

    user_id: str = ""
    token_id: str = ""


def encode_revocation(user_id: str, token_id: str) -> bytes:
    """The payload that tells other hubs of a revocation."""
    return msgspec.json.encode(_Revocation(user_id, token_id))


class _Login:
    """One connection's login."""

    __slots__ = ("connection", "end", "expires_at", "remind", "token_id", "user_id")

    def __init__(self, connection: Connection, end: End, remind: Remind | None) -> None:
        user: Any = connection.user
        self.connection: Connection | None = connection
        self.end = end
        self.remind = remind
        self.user_id: str = getattr(user, "user_id", "")
        self.token_id: str = getattr(user, "token_id", "")
        self.expires_at: float | None = getattr(user, "expires_at", None)

    def let_go(self) -> None:
        """Keeps nothing alive while it waits in the heap for its time."""
        self.connection = None
        self.end = _nobody
        self.remind = None


def _nobody(connection: Connection, reason: str) -> None:
    """Who is told once a login is over."""


class Logins:
    """Ends logins when their tokens expire or are revoked; what that does is the connection's endpoint's to say."""

    def __init__(self) -> None:
        self._logins: dict[Connection, _Login] = {}
        self._due: list[tuple[float, int, _Login]] = []  # a heap; entries of those who left stay until they are due
        self._count = itertools.count()
        self._count_revoked = 0
        # By the id of a user or a token: which revocation it was, and when (monotonic seconds); the oldest first
        self._revoked: dict[str, tuple[int, float]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._logins)

    @property
    def revocations(self) -> int:
        """How many there have been; noted before a token is looked up, it tells `track` which have come since."""
        return self._count_revoked

    def hand_over(self, connection: Connection, end: End) -> None:
        """Has the end of a login told to somebody else, where one is watched."""
        if connection in self._logins:
            self._logins[connection].end = end

    def track(
        self, connection: Connection, end: End, remind: Remind | None = None, *, since: int | None = None
    ) -> None:
        """Watches the login of a connection's user, in place of one that was watched before.

        Args:
            connection: its `user` has `user_id`, `token_id` and `expires_at` (unix seconds); what lacks them is not
                watched for.
            end: called with the connection and why, once the login has ended.
            remind: called a minute before its end with the seconds that are left.
            since: `revocations` before the token was looked up; what was revoked meanwhile ends at once.
        """
        self.forget(connection)
        login = self._logins[connection] = _Login(connection, end, remind)
        if since is not None and any(
            self._revoked.get(id, (0, 0.0))[0] > since for id in (login.user_id, login.token_id)
        ):
            self._end(connection, login, "Token revoked")
            return
        if login.expires_at is not None:
            warned_at = login.expires_at - WARNING_SECONDS if remind else login.expires_at
            self._wait_until(max(warned_at, min(time.time(), login.expires_at)), login)

    def forget(self, connection: Connection) -> None:
        """Watches a connection no longer."""
        login = self._logins.pop(connection, None)
        if login is not None:
            login.let_go()
            if len(self._due) > 2 * len(self._logins) + _LEFT_OVER:
                self._due = [entry for entry in self._due if entry[2].connection is not None]
                heapq.heapify(self._due)

    def revoke(self, payload: bytes) -> None:
        """Ends logins, as another hub or this one says."""
        revoked = msgspec.json.decode(payload, type=_Revocation)
        self._remember(revoked)
        for connection, login in list(self._logins.items()):
            if (revoked.user_id and login.user_id == revoked.user_id) or (
                revoked.token_id and login.token_id == revoked.token_id
            ):
                self._end(connection, login, "Token revoked")

    async def check(self, standing: Callable[[list[str]], Awaitable[set[str]]]) -> None:
        """Ends logins whose tokens no longer stand: revoked while nobody could tell this process.

        Args:
            standing: gives those of some tokens' ids that stand.
        """
        ids = list({login.token_id for login in self._logins.values() if login.token_id})
        for begin in range(0, len(ids), _CHECKED_AT_ONCE):
            some = ids[begin : begin + _CHECKED_AT_ONCE]
            for token_id in set(some) - await standing(some):
                self.revoke(encode_revocation("", token_id))

    def _remember(self, revoked: _Revocation) -> None:
        """Keeps what was revoked for as long as a handshake may be under way that looked it up before."""
        now = time.monotonic()
        for id in list(self._revoked):
            if self._revoked[id][1] >= now - _REMEMBERED_SECONDS:
                break
            del self._revoked[id]
        self._count_revoked += 1
        for id in filter(None, (revoked.user_id, revoked.token_id)):
            self._revoked.pop(id, None)  # the newest goes last
            self._revoked[id] = self._count_revoked, now

    def stop(self) -> None:
        """Ends the watch."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._logins.clear()
        self._due.clear()

    def _end(self, connection: Connection, login: _Login, reason: str) -> None:
        end = login.end
        self.forget(connection)
        _call(lambda: end(connection, reason))

    def _wait_until(self, at: float, login: _Login) -> None:
        heapq.heappush(self._due, (at, next(self._count), login))
        if self._due[0][2] is login:
            self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._due:
            delay = min(max(self._due[0][0] - time.time(), 0.0), _LONGEST_TIMER_SECONDS)
            self._timer = asyncio.get_running_loop().call_later(delay, self._look)

    def _look(self) -> None:
        now = time.time()
        while self._due and self._due[0][0] <= now:
            login = heapq.heappop(self._due)[2]
            if login.connection is not None:
                self._tell(login.connection, login, now)
        self._set_timer()

    def _tell(self, connection: Connection, login: _Login, now: float) -> None:
        assert login.expires_at is not None
        left, remind = login.expires_at - now, login.remind
        if left > 0 and remind is not None:
            heapq.heappush(self._due, (login.expires_at, next(self._count), login))
            _call(lambda: remind(connection, round(left)))
        else:
            self._end(connection, login, "Token expired")


def _call(tell: Callable[[], None]) -> None:
    """Tells one connection; if that fails, the others are told all the same."""
    try:
        tell()
    except Exception:
        logger.exception("a connection could not be told that its login ends")
