"""Actions: endpoints by name."""

from typing import Any

import pytest

from wireloom.core.actions import Actions
from wireloom.core.codec import Codec
from wireloom.core.endpoint import Door, Endpoint
from wireloom.core.request import Request
from wireloom.errors import ConfigError


async def nothing(request: Request) -> None: ...


def endpoint(name: str, source: str = "app.py:7") -> Endpoint:
    any_codec: Any = Codec(lambda payload: payload, lambda reply: reply, lambda error: b"")
    return Endpoint(name, name, Door.EVENT, any_codec, nothing, source=source)


def test_an_endpoint_is_found_by_its_exact_name() -> None:
    actions = Actions()
    first, second = endpoint("walk"), endpoint("Walk")
    actions.add(first)
    actions.add(second)
    assert actions.find("walk") is first
    assert actions.find("Walk") is second
    for name in ("", "WALK", "walk ", " walk", "wal", "walk\0", "__init__"):
        assert actions.find(name) is None


def test_they_are_listed_in_the_order_in_which_they_were_added() -> None:
    actions, endpoints = Actions(), [endpoint(name) for name in "cab"]
    assert list(actions) == []
    for each in endpoints:
        actions.add(each)
    assert list(actions) == endpoints


def test_a_name_that_is_taken_is_refused_with_both_places_and_the_first_stays() -> None:
    actions, first = Actions(), endpoint("walk", "first.py:1")
    actions.add(first)
    with pytest.raises(ConfigError, match=r"second\.py:2: the event 'walk' is taken already \(first\.py:1\)"):
        actions.add(endpoint("walk", "second.py:2"))
    assert actions.find("walk") is first
    assert list(actions) == [first]


def test_the_same_endpoint_may_be_added_again() -> None:
    actions, only = Actions(), endpoint("walk")
    actions.add(only)
    actions.add(only)
    assert list(actions) == [only]
