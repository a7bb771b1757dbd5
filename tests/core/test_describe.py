"""Endpoints as plain records."""

import dataclasses
from typing import Any

import pytest

from wireloom.core.codec import Codec
from wireloom.core.describe import Description, describe
from wireloom.core.endpoint import Door, Endpoint


async def handle(request: Any) -> None:
    """Nothing."""


def endpoint(path: str, door: Door = Door.WEBSOCKET, **fields: Any) -> Endpoint:
    codec = Codec(str, str, repr, True, {"type": "string"}, {"type": "integer"})  # type: ignore[arg-type]
    return Endpoint("name", path, door, codec, handle, **fields)


def test_an_endpoint_is_described_in_full() -> None:
    one = endpoint("/a", authorize=handle, summary="Says so.", source="a.py:1")
    assert describe([one]) == [
        Description("websocket", "/a", "name", "Says so.", True, {"type": "string"}, {"type": "integer"}, "a.py:1")
    ]
    assert describe([endpoint("/a")])[0].auth is False


def test_they_come_sorted_by_path_and_door() -> None:
    made = [endpoint("/b"), endpoint("/a", Door.WEBSOCKET), endpoint("/a", Door.REST)]
    assert [(row.path, row.door) for row in describe(made)] == [
        ("/a", "rest"),
        ("/a", "websocket"),
        ("/b", "websocket"),
    ]
    assert describe([]) == []


def test_a_description_is_a_record() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        describe([endpoint("/a")])[0].path = "/b"  # type: ignore[misc]
