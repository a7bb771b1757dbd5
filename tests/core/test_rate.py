"""How many messages a connection may send: two buckets, by a clock that stands still until it is told."""

from __future__ import annotations

import itertools

import pytest

from wireloom.config import Limits
from wireloom.core.rate import Allowance, MessageRate, TooOften
from wireloom.errors import Disconnect


class Sender:
    """One connection that sends when it is told to."""

    def __init__(self, per_second: float, burst: int = 0) -> None:
        self.now = 1000.0
        self._allowance: Allowance | None = None
        limits = Limits(messages_per_second=per_second, message_burst=burst)
        self._rate = MessageRate(limits, clock=lambda: self.now)

    def send(self) -> str:
        """What becomes of one message."""
        try:
            self._allowance = self._rate.take(self._allowance)
        except TooOften as refusal:
            return f"refused for {refusal.retry_after_seconds} s"
        except Disconnect as end:
            return f"ended with {end.code}"
        return "taken"

    def kinds(self, count: int, every: float = 0.0) -> str:
        """The first letters of what becomes of messages that come so many seconds apart."""
        letters = ""
        for _ in range(count):
            letters += self.send()[0]
            self.now += every
        return letters


def test_a_burst_is_taken_as_much_again_refused_and_then_it_ends() -> None:
    sender = Sender(10, 4)
    assert sender.kinds(9) == "tttt" + "rrrr" + "e"
    assert sender.send() == "ended with 1008"


@pytest.mark.parametrize(("per_second", "burst"), [(10.0, 10), (0.2, 1), (1.0, 1), (2.5, 3)])
def test_without_a_burst_it_is_what_comes_in_one_second(per_second: float, burst: int) -> None:
    assert Sender(per_second).kinds(2 * burst + 1) == "t" * burst + "r" * burst + "e"


def test_what_is_used_comes_back_and_no_more_than_that() -> None:
    sender = Sender(2, 4)
    assert sender.kinds(5) == "ttttr"
    sender.now += 0.5
    assert sender.kinds(2) == "tr"
    sender.now += 3600
    assert sender.kinds(9) == "ttttrrrre"


@pytest.mark.parametrize(("faster", "ends"), [(1.0, False), (1.5, False), (1.9, False), (2.5, True), (100.0, True)])
def test_it_ends_above_twice_the_rate_however_large_the_burst_is(faster: float, ends: bool) -> None:
    letters = Sender(50, 50).kinds(20_000, 1 / (50 * faster))
    assert ("e" in letters) == ends
    assert ("r" in letters) == (faster > 1)


def test_at_the_rate_nothing_is_ever_refused() -> None:
    assert set(Sender(4, 1).kinds(10_000, 0.25)) == {"t"}


@pytest.mark.parametrize(("per_second", "seconds"), [(10, 1), (1, 1), (0.1, 10), (0.001, 1000)])
def test_a_refusal_says_when_to_come_again(per_second: float, seconds: int) -> None:
    sender = Sender(per_second, 1)
    sender.send()
    assert sender.send() == f"refused for {seconds} s"
    sender.now += seconds
    assert sender.send() == "taken"


def test_connections_have_buckets_of_their_own() -> None:
    rate = MessageRate(Limits(messages_per_second=1, message_burst=1), clock=itertools.repeat(5.0).__next__)
    assert rate.take(None) is not rate.take(None)
