"""Logins: warned a minute before their end, ended in time or when revoked, with one timer for all. Time is made up."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from wireloom.hub import logins as logins_module
from wireloom.hub.logins import Logins, encode_revocation

pytestmark = pytest.mark.anyio

NOW = 1_730_887_348.0


@dataclass
class User:
    user_id: str = ""
    token_id: str = ""
    expires_at: float | None = None


class Connection:
    """All that a login needs of one."""

    def __init__(self, user: Any) -> None:
        self.user = user


class Clock:
    """Time that passes when a test says so; it stands in for the clock and for the loop's timers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = NOW
        self.timers: list[Clock.Timer] = []
        monkeypatch.setattr(logins_module.time, "time", lambda: self.now)
        monkeypatch.setattr(logins_module.asyncio, "get_running_loop", lambda: self)

    class Timer:
        def __init__(self, clock: Clock, at: float, call: Callable[[], None]) -> None:
            self.clock, self.at, self.call = clock, at, call

        def cancel(self) -> None:
            if self in self.clock.timers:
                self.clock.timers.remove(self)

    def call_later(self, delay: float, call: Callable[[], None]) -> Timer:
        assert delay >= 0
        timer = self.Timer(self, self.now + delay, call)
        self.timers.append(timer)
        return timer

    def call_exception_handler(self, context: Any) -> None: ...

    def pass_to(self, moment: float) -> None:
        """Lets time pass; what is due is called at its time."""
        while due := [timer for timer in self.timers if timer.at <= moment]:
            timer = min(due, key=lambda timer: timer.at)
            self.timers.remove(timer)
            self.now = max(self.now, timer.at)
            timer.call()
        self.now = moment


class Log:
    """What logins have told, with the time of it."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.entries: list[tuple[float, str, Any]] = []

    def end(self, connection: Any, reason: str) -> None:
        self.entries.append((self.clock.now - NOW, connection.user.token_id, reason))

    def remind(self, connection: Any, seconds: int) -> None:
        assert type(seconds) is int
        self.entries.append((self.clock.now - NOW, connection.user.token_id, seconds))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def log(clock: Clock) -> Log:
    return Log(clock)


def track(logins: Logins, log: Log, token_id: str, seconds: float | None, *, remind: bool = True, **more: Any) -> Any:
    connection: Any = Connection(User(token_id=token_id, expires_at=None if seconds is None else NOW + seconds, **more))
    logins.track(connection, log.end, log.remind if remind else None)
    return connection


def test_a_login_is_warned_of_a_minute_before_its_end_and_then_ends(clock: Clock, log: Log) -> None:
    logins = Logins()
    track(logins, log, "t", 600)
    clock.pass_to(NOW + 539.9)
    assert log.entries == []
    clock.pass_to(NOW + 599.9)
    assert log.entries == [(540, "t", 60)]
    clock.pass_to(NOW + 600)
    assert log.entries == [(540, "t", 60), (600, "t", "Token expired")]
    clock.pass_to(NOW + 10_000)
    assert len(log.entries) == 2
    assert (len(logins), clock.timers) == (0, [])


def test_one_that_wants_no_warning_gets_none(clock: Clock, log: Log) -> None:
    track(Logins(), log, "t", 600, remind=False)
    clock.pass_to(NOW + 10_000)
    assert log.entries == [(600, "t", "Token expired")]


@pytest.mark.parametrize(("left", "told"), [(60, 60), (59, 59), (10.4, 10), (1, 1)])
def test_a_login_of_less_than_a_minute_is_warned_of_at_once(clock: Clock, log: Log, left: float, told: int) -> None:
    track(Logins(), log, "t", left)
    assert log.entries == []  # not before whoever logged in has been told that it worked
    clock.pass_to(NOW)
    assert log.entries == [(0, "t", told)]
    clock.pass_to(NOW + 100)
    assert log.entries == [(0, "t", told), (pytest.approx(left), "t", "Token expired")]


@pytest.mark.parametrize("seconds", [0, -1, -1e6])
def test_a_login_that_has_ended_already_ends_without_a_warning(clock: Clock, log: Log, seconds: float) -> None:
    logins = Logins()
    track(logins, log, "t", seconds)
    clock.pass_to(NOW)
    assert log.entries == [(0, "t", "Token expired")]
    assert len(logins) == 0


def test_a_login_without_an_end_and_one_of_no_user_object_last(clock: Clock, log: Log) -> None:
    logins = Logins()
    track(logins, log, "t", None)
    logins.track(Connection("alice"), log.end)  # type: ignore[arg-type]
    assert clock.timers == []
    clock.pass_to(NOW + 1e9)
    assert (log.entries, len(logins)) == ([], 2)


def test_there_is_one_timer_however_many_logins(clock: Clock, log: Log) -> None:
    logins = Logins()
    for seconds in (5000, 300, 9000, 100, 100, 7000):
        track(logins, log, str(seconds), seconds)
        assert len(clock.timers) == 1
    for moment in range(0, 10_000, 50):
        clock.pass_to(NOW + moment)
        assert len(clock.timers) <= 1
    ends = [(moment, token) for moment, token, told in log.entries if told == "Token expired"]
    assert ends == [(100, "100"), (100, "100"), (300, "300"), (5000, "5000"), (7000, "7000"), (9000, "9000")]
    assert [told for _, _, told in log.entries].count(60) == 6


def test_a_long_time_is_waited_for_in_parts(clock: Clock, log: Log) -> None:
    """Event loops measure long times badly, and clocks are set."""
    track(Logins(), log, "t", 30 * 24 * 3600)
    assert clock.timers[0].at - NOW <= 3600
    clock.now += 30 * 24 * 3600 - 30  # the clock is set: the next look finds it
    clock.pass_to(clock.now)
    assert [told for _, _, told in log.entries] == [30]


def test_a_timer_that_comes_too_early_is_set_again(clock: Clock, log: Log) -> None:
    track(Logins(), log, "t", 600, remind=False)
    clock.now = NOW + 599.999
    clock.timers.pop().call()
    assert log.entries == []
    assert len(clock.timers) == 1
    clock.pass_to(NOW + 601)
    assert [told for _, _, told in log.entries] == ["Token expired"]


def test_a_login_that_is_replaced_ends_as_the_new_one_says(clock: Clock, log: Log) -> None:
    logins = Logins()
    connection = track(logins, log, "old", 100)
    connection.user = User(token_id="new", expires_at=NOW + 1000)
    logins.track(connection, log.end, log.remind)
    assert len(logins) == 1
    clock.pass_to(NOW + 500)
    assert log.entries == []
    logins.revoke(encode_revocation("", "old"))
    assert log.entries == []
    clock.pass_to(NOW + 2000)
    assert log.entries == [(940, "new", 60), (1000, "new", "Token expired")]


def test_a_login_that_is_forgotten_tells_nothing(clock: Clock, log: Log) -> None:
    logins = Logins()
    connection = track(logins, log, "t", 100, user_id="u")
    track(logins, log, "other", 200)
    logins.forget(connection)
    logins.forget(connection)
    logins.revoke(encode_revocation("u", "t"))
    clock.pass_to(NOW + 1000)
    assert [token for _, token, _ in log.entries] == ["other", "other"]


def test_a_login_forgotten_between_its_warning_and_its_end_tells_no_more(clock: Clock, log: Log) -> None:
    logins = Logins()
    connection = track(logins, log, "t", 100)
    clock.pass_to(NOW + 50)
    logins.forget(connection)
    clock.pass_to(NOW + 1000)
    assert log.entries == [(40, "t", 60)]


@pytest.mark.parametrize(
    ("user_id", "token_id", "ended"),
    [("u1", "", ["a", "b"]), ("", "c", ["c"]), ("u2", "a", ["a", "c"]), ("", "", []), ("nobody", "none", [])],
)
def test_a_revocation_ends_what_it_names_and_nothing_else(
    clock: Clock, log: Log, user_id: str, token_id: str, ended: list[str]
) -> None:
    logins = Logins()
    for token, user in (("a", "u1"), ("b", "u1"), ("c", "u2"), ("", "")):
        track(logins, log, token, None, user_id=user)
    logins.revoke(encode_revocation(user_id, token_id))
    assert sorted(log.entries) == [(0, token, "Token revoked") for token in ended]
    assert len(logins) == 4 - len(ended)
    logins.revoke(encode_revocation(user_id, token_id))
    assert len(log.entries) == len(ended)


def test_a_revoked_login_does_not_end_a_second_time(clock: Clock, log: Log) -> None:
    logins = Logins()
    track(logins, log, "t", 100)
    logins.revoke(encode_revocation("", "t"))
    clock.pass_to(NOW + 1000)
    assert log.entries == [(0, "t", "Token revoked")]


def test_what_an_end_does_may_change_the_logins(clock: Clock, log: Log) -> None:
    logins = Logins()
    other = track(logins, log, "other", 100)

    def end(connection: Any, reason: str) -> None:
        log.end(connection, reason)
        logins.forget(other)
        connection.user = User(token_id="again", expires_at=NOW + 300)
        logins.track(connection, log.end)

    logins.track(Connection(User(token_id="t", expires_at=NOW + 39)), end)  # type: ignore[arg-type]
    clock.pass_to(NOW + 1000)
    assert log.entries == [(39, "t", "Token expired"), (300, "again", "Token expired")]


@pytest.mark.parametrize("how", ["expiry", "revocation", "warning"])
def test_one_end_that_fails_does_not_keep_the_others(clock: Clock, log: Log, how: str) -> None:
    logins = Logins()

    def fail(connection: Any, told: Any) -> None:
        raise RuntimeError("this transport is broken")

    def try_to(call: Callable[[], None]) -> None:
        try:
            call()
        except RuntimeError:
            pass

    broken: Any = Connection(User("u", "broken", NOW + 100))
    logins.track(broken, fail, fail if how == "warning" else None)
    track(logins, log, "same", 100, remind=False, user_id="u")
    track(logins, log, "later", 200, remind=False, user_id="u")
    if how == "revocation":
        try_to(lambda: logins.revoke(encode_revocation("u", "")))
        assert sorted(token for _, token, _ in log.entries) == ["later", "same"]
        return
    for moment in (NOW + 40, NOW + 100, NOW + 100, NOW + 300, NOW + 300):
        try_to(lambda moment=moment: clock.pass_to(moment))  # type: ignore[misc]
    assert [token for _, token, _ in log.entries] == ["same", "later"]


def test_stop_ends_the_watch(clock: Clock, log: Log) -> None:
    logins = Logins()
    track(logins, log, "t", 100, user_id="u")
    logins.stop()
    logins.stop()
    assert (len(logins), clock.timers) == (0, [])
    logins.revoke(encode_revocation("u", ""))
    clock.pass_to(NOW + 1000)
    assert log.entries == []


def test_nothing_is_kept_of_connections_that_have_left(clock: Clock, log: Log) -> None:
    """Tokens are good for days: what waited for their ends would be all the connections of a week."""
    logins = Logins()
    left = []
    for number in range(1000):
        connection = track(logins, log, str(number), 7 * 24 * 3600)
        left.append(weakref.ref(connection))
        logins.forget(connection)
    del connection
    gc.collect()
    assert sum(each() is not None for each in left) < 100


def test_changing_the_user_again_and_again_costs_no_memory(clock: Clock, log: Log) -> None:
    logins = Logins()
    connection = track(logins, log, "t", 7 * 24 * 3600)
    for _ in range(1000):
        logins.forget(connection)
        logins.track(connection, log.end, log.remind)
    assert len(logins) == 1
    assert len(logins._due) < 100


async def test_the_event_loop_is_the_timer() -> None:
    logins, ended = Logins(), asyncio.Event()
    user = User(token_id="t", expires_at=logins_module.time.time() + 0.02)
    logins.track(Connection(user), lambda connection, reason: ended.set())  # type: ignore[arg-type]
    async with asyncio.timeout(5):
        await ended.wait()
    assert len(logins) == 0
    logins.stop()


def tracked(logins: Logins, log: Log, since: int | None = None, **user: Any) -> Connection:
    connection = Connection(User(**user))
    logins.track(connection, log.end, since=since)  # type: ignore[arg-type]
    return connection


@pytest.mark.parametrize("revoked", [{"user_id": "u"}, {"token_id": "t"}], ids=["all of the user's", "the token"])
async def test_what_is_revoked_while_a_handshake_is_under_way_ends_at_once(
    monkeypatch: pytest.MonkeyPatch, revoked: dict[str, str]
) -> None:
    logins, log = Logins(), Log(Clock(monkeypatch))
    since = logins.revocations
    logins.revoke(encode_revocation(revoked.get("user_id", ""), revoked.get("token_id", "")))
    tracked(logins, log, since, user_id="u", token_id="t")
    assert [reason for _, _, reason in log.entries] == ["Token revoked"]
    tracked(logins, log, logins.revocations, user_id="u", token_id="new")  # logged in again, after it
    tracked(logins, log, since, user_id="other", token_id="other")
    assert len(log.entries) == 1
    assert len(logins) == 2


async def test_logins_whose_tokens_no_longer_stand_end_when_they_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    logins, log = Logins(), Log(Clock(monkeypatch))
    for number in range(1200):
        tracked(logins, log, token_id=f"token {number}")
    tracked(logins, log)  # of an application's own, without a token
    asked: list[int] = []

    async def standing(ids: list[str]) -> set[str]:
        asked.append(len(ids))
        return set(ids) - {"token 7", "token 1100"}

    await logins.check(standing)
    assert sorted(token for _, token, _ in log.entries) == ["token 1100", "token 7"]
    assert asked == [500, 500, 200]
    assert len(logins) == 1199


def test_what_was_revoked_long_ago_is_forgotten_behind_what_was_revoked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    logins, now = Logins(), [0.0]
    with monkeypatch.context() as patch:
        patch.setattr("wireloom.hub.logins.time.monotonic", lambda: now[0])
        for seconds, user in ((0, "a"), (1, "b"), (110, "a"), (125, "c")):
            now[0] = float(seconds)
            logins.revoke(encode_revocation(user, ""))
    assert list(logins._revoked) == ["a", "c"]
