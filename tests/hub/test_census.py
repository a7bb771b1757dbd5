"""How many connections each address and each user has: in, over, out, and out again."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from wireloom.hub.census import Census, TooManyConnections


def connection(address: str | None = "192.0.2.1", user: Any = None) -> Any:
    """As far as a census looks."""
    return SimpleNamespaceById(client=None if address is None else (address, 1), user=user)


class SimpleNamespaceById(SimpleNamespace):
    """Is itself and no other, as connections are."""

    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other


def test_nobody_is_counted_where_nobody_is_limited() -> None:
    census = Census()
    for _ in range(5):
        census.enter(connection(user="ann"))
    assert len(census) == 0


def test_leaving_twice_gives_back_once() -> None:
    census = Census(2, 2)
    one, other = connection(user="ann"), connection(user="ann")
    census.enter(one)
    census.enter(other)
    census.leave(one)
    census.leave(one)
    census.enter(connection(user="ann"))
    with pytest.raises(TooManyConnections):
        census.enter(connection(user="ann"))


def test_who_was_refused_gives_back_nothing() -> None:
    census = Census(1, 1)
    census.enter(connection("192.0.2.1", "ann"))
    for address, user in (("192.0.2.1", "bob"), ("192.0.2.2", "ann")):
        refused = connection(address, user)
        with pytest.raises(TooManyConnections):
            census.enter(refused)
        census.leave(refused)
    for address, user in (("192.0.2.1", "bob"), ("192.0.2.2", "ann")):
        with pytest.raises(TooManyConnections):
            census.enter(connection(address, user))
    census.enter(connection("192.0.2.2", "bob"))


def test_another_user_takes_a_place_and_leaves_the_old_one() -> None:
    census = Census(per_user=1)
    one = connection(user="ann")
    census.enter(one)
    census.change_user(one, "ann")
    census.change_user(one, SimpleNamespace(user_id="bob"))
    census.enter(connection(user="ann"))
    with pytest.raises(TooManyConnections) as caught:
        census.change_user(one, "ann")
    assert (caught.value.code, caught.value.http_status) == ("TOO_MANY_CONNECTIONS", 429)
    with pytest.raises(TooManyConnections):
        census.enter(connection(user="bob"))  # who it was before, it still is
    census.change_user(one, None)
    census.enter(connection(user="bob"))


def test_a_handler_that_logs_in_a_connection_that_has_left_counts_nobody() -> None:
    census = Census(1, 1)
    gone = connection()
    census.enter(gone)
    census.leave(gone)
    census.change_user(gone, "ann")
    assert len(census) == 0
    census.enter(connection(user="ann"))


@pytest.mark.parametrize(
    ("user", "counts"),
    [
        (SimpleNamespace(user_id="7", root_id="x"), True),
        (SimpleNamespace(user_id=7), True),
        (SimpleNamespace(root_id="x"), True),
        ("ann", True),
        (7, True),
        (True, False),
        ({"id": 7}, False),
        (None, False),
    ],
)
def test_who_counts_as_a_user(user: Any, counts: bool) -> None:
    census = Census(per_user=1)
    census.enter(connection(user=user))
    if counts:
        with pytest.raises(TooManyConnections):
            census.enter(connection(user=user))
    else:
        census.enter(connection(user=user))


def test_without_an_address_nobody_is_counted_for_it() -> None:
    census = Census(per_ip=1)
    for _ in range(3):
        census.enter(connection(None))
    assert len(census) == 0
