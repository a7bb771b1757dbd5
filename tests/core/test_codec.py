"""The record that faces fill and dispatch calls."""

from __future__ import annotations

import dataclasses

import pytest

from wireloom.core.codec import Codec, ReplyInvalid
from wireloom.errors import RequestError


def _codec() -> Codec:
    return Codec(decode=str, encode=str, encode_error=lambda error: error.message.encode())


def test_a_codec_is_json_and_accepts_anything_unless_said_otherwise() -> None:
    codec = _codec()
    assert (codec.json, codec.message_schema, codec.response_schema) == (True, None, None)
    assert codec.encode_error(RequestError("X", "no")) == b"no"


def test_a_codec_cannot_change_after_registration() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        _codec().json = False  # type: ignore[misc]


def test_reply_invalid_says_why_and_is_not_told_to_the_client() -> None:
    error = ReplyInvalid("Expected `str`, got `int` - at `$.a`")
    assert error.reason == str(error) == "Expected `str`, got `int` - at `$.a`"
    assert isinstance(error, ValueError)
    assert not isinstance(error, RequestError)
