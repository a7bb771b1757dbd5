"""Attempts: what is counted, against what, and for how long."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from wireloom.identity.attempts import ANYWHERE, Attempts, Registrations
from wireloom.identity.refusal import CredentialsInvalid, Overloaded, RateLimited

from .kit import Clock

HERE, THERE = "192.0.2.1", "192.0.2.2"


@pytest.fixture
def attempts(clock: Clock) -> Attempts:
    """Three a minute: one more every 20 seconds."""
    return Attempts(3, clock)


def fail(attempts: Attempts, name: str = "bob", address: str | None = HERE, times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(CredentialsInvalid), attempts.counting(name, address):
            raise CredentialsInvalid


def succeed(attempts: Attempts, name: str = "bob", address: str | None = HERE) -> None:
    with attempts.counting(name, address):
        pass


def refused(attempts: Attempts, name: str = "bob", address: str | None = HERE) -> int:
    """Seconds to wait."""
    with pytest.raises(RateLimited) as caught, attempts.counting(name, address):
        pytest.fail("was let through")
    return caught.value.retry_after_seconds


def addresses(count: int) -> Iterable[str]:
    return (f"198.51.100.{number}" for number in range(count))


def test_so_many_fail_and_the_next_waits(attempts: Attempts, clock: Clock) -> None:
    fail(attempts, times=3)
    assert refused(attempts) == 20
    clock.now += 0.5
    assert refused(attempts) == 20  # asking prolongs nothing, and seconds are rounded up
    clock.now += 19
    assert refused(attempts) == 1
    clock.now += 0.5
    fail(attempts)
    assert refused(attempts) == 20


def test_a_minute_makes_good(attempts: Attempts, clock: Clock) -> None:
    fail(attempts, times=3)
    clock.now += 60
    fail(attempts, times=3)
    assert refused(attempts) == 20
    clock.now += 3600
    fail(attempts, times=3)
    assert refused(attempts) == 20


def test_success_clears_the_name_from_the_address(attempts: Attempts) -> None:
    for _ in range(3):
        fail(attempts, times=2)
        succeed(attempts)
    fail(attempts, times=3)
    refused(attempts)


def test_success_clears_no_other(attempts: Attempts) -> None:
    fail(attempts, "bob", THERE, 3)
    fail(attempts, "eve", HERE, 3)
    succeed(attempts)
    refused(attempts, "bob", THERE)
    refused(attempts, "eve", HERE)


def test_success_costs_nothing(attempts: Attempts) -> None:
    for _ in range(3 * ANYWHERE + 1):
        succeed(attempts)
    fail(attempts, times=3)


def test_what_was_not_checked_costs_nothing(attempts: Attempts) -> None:
    for _ in range(4):
        with pytest.raises(Overloaded), attempts.counting("bob", HERE):
            raise Overloaded
    fail(attempts, times=3)
    refused(attempts)


def test_names_and_addresses_are_apart(attempts: Attempts) -> None:
    fail(attempts, "bob", HERE, 3)
    succeed(attempts, "bob", THERE)
    succeed(attempts, "eve", HERE)
    refused(attempts, "bob", HERE)


@pytest.mark.parametrize("name", ["BOB", "Ｂｏｂ"])
def test_names_are_folded(attempts: Attempts, name: str) -> None:
    fail(attempts, "bob", times=3)
    refused(attempts, name)


def test_one_name_from_anywhere(attempts: Attempts, clock: Clock) -> None:
    for address in addresses(3 * ANYWHERE):
        fail(attempts, "bob", address)
    assert refused(attempts, "Bob", HERE) == 4  # 20 / 6, rounded up
    succeed(attempts, "eve", HERE)
    clock.now += 4
    fail(attempts, "bob", HERE)


def test_one_address_whatever_the_names(attempts: Attempts, clock: Clock) -> None:
    for number in range(3 * ANYWHERE):
        fail(attempts, f"name{number}", HERE)
    assert refused(attempts, "bob", HERE) == 4
    succeed(attempts, "bob", THERE)
    clock.now += 4
    fail(attempts, "bob", HERE)


def test_success_gives_back_its_own_attempt_only_of_the_wider_limits(attempts: Attempts) -> None:
    """Somebody with a user of his own does not clear what he did to others from his address."""
    for number in range(3 * ANYWHERE - 1):
        fail(attempts, f"name{number}", HERE)
        succeed(attempts, "eve", HERE)
    fail(attempts, "bob", HERE)
    refused(attempts, "eve", HERE)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("testclient", "testclient", True),
        ("testclient", "another", False),
    ],
)
def test_what_is_one_address(attempts: Attempts, one: str, other: str, same: bool) -> None:
    fail(attempts, "bob", one, 3)
    if same:
        refused(attempts, "bob", other)
    else:
        succeed(attempts, "bob", other)


def test_an_address_that_is_not_known_has_no_limit_of_its_own(attempts: Attempts) -> None:
    for number in range(3 * ANYWHERE + 1):
        fail(attempts, f"name{number}", None)
    fail(attempts, "bob", None, 3)
    refused(attempts, "bob", None)


def test_guesses_at_the_same_time_do_not_slip_past(attempts: Attempts) -> None:
    guesses = [attempts.counting("bob", HERE) for _ in range(3)]
    for guess in guesses:
        guess.__enter__()
    refused(attempts)
    error = CredentialsInvalid()
    for guess in guesses:
        assert not guess.__exit__(type(error), error, None)
    refused(attempts)


def test_no_limit(clock: Clock) -> None:
    attempts = Attempts(0, clock)
    fail(attempts, times=1000)
    assert not attempts._buckets


def test_memory_is_bounded_and_the_oldest_goes_first(clock: Clock) -> None:
    attempts = Attempts(1, clock, max_entries=9)  # three for every name from an address of its own
    for number, address in enumerate(addresses(3)):
        fail(attempts, f"name{number}", address)
    fail(attempts, "bob", HERE)
    assert len(attempts._buckets) == 9
    fail(attempts, "name0", "198.51.100.0")  # was forgotten
    refused(attempts, "bob", HERE)
    fail(attempts, "x" * 1_000_000, THERE)
    assert {len(key) for key in attempts._buckets} == {16}


def test_what_is_counted_again_is_young_again(clock: Clock) -> None:
    attempts = Attempts(2, clock, max_entries=6)
    fail(attempts, "bob", HERE)
    fail(attempts, "eve", THERE)
    fail(attempts, "bob", HERE)
    fail(attempts, "ann", "192.0.2.3")  # hers take the place of eve's
    refused(attempts, "bob", HERE)
    fail(attempts, "eve", THERE, 2)


def test_what_is_refused_takes_no_memory(attempts: Attempts) -> None:
    for number in range(3 * ANYWHERE):
        fail(attempts, f"name{number}", HERE)
    before = len(attempts._buckets)
    for number in range(100):
        refused(attempts, f"further{number}", HERE)
    assert len(attempts._buckets) == before


def test_a_clock_that_is_set_back_locks_nobody_out(attempts: Attempts, clock: Clock) -> None:
    fail(attempts, times=3)
    clock.now -= 24 * 3600
    assert refused(attempts) == 20
    clock.now += 20
    succeed(attempts)


# -- registrations -----------------------------------------------------------------------------------------------------


def registered(registrations: Registrations, address: str) -> int:
    """Seconds to wait; 0: it was let through."""
    try:
        registrations.count(address)
    except RateLimited as refusal:
        assert "registrations" in refusal.message
        return refusal.retry_after_seconds
    return 0


def test_so_many_register_from_one_address_and_the_next_waits(clock: Clock) -> None:
    registrations = Registrations(3, clock)
    assert [registered(registrations, HERE) for _ in range(4)] == [0, 0, 0, 20]
    assert registered(registrations, THERE) == 0
    clock.now += 20
    assert [registered(registrations, HERE) for _ in range(2)] == [0, 20]


def test_a_network_of_ipv6_registers_as_one(clock: Clock) -> None:
    registrations = Registrations(1, clock)
    waits = [registered(registrations, f"2001:db8:0:{net}::{host}") for net, host in ((1, 1), (1, 2), (2, 1))]
    assert waits == [0, 60, 0]


def test_zero_is_no_limit_of_registrations(clock: Clock) -> None:
    registrations = Registrations(0, clock)
    assert {registered(registrations, HERE) for _ in range(100)} == {0}


def test_what_is_remembered_of_registrations_is_bounded(clock: Clock) -> None:
    registrations = Registrations(1, clock, max_entries=5)
    for address in addresses(20):
        registrations.count(address)
    assert len(registrations._buckets) == 5
