"""Page 1, "Types" and "On the wire": replies, and path and query parameters; one parametrised row per promise."""

import datetime
import inspect
import typing
import uuid
import warnings
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from typing import Annotated, Any, Literal

import annotated_types
import msgspec
import pydantic
import pydantic.dataclasses
import pytest
from tests.core.schema_types import (
    CHAT_SCHEMA,
    Attrs,
    Bounded,
    Chat,
    Colour,
    Model,
    Pair,
    Plain,
    Point,
    Positive,
    PydanticPoint,
    Struct,
    Unresolved,
    message,
    parameter,
    response,
)
from tests.ids import shown

from wireloom.core.codec import ReplyInvalid
from wireloom.core.schema import (
    Encoding,
    encode_raw,
)
from wireloom.errors import ConfigError

# -- responses --------------------------------------------------------------------------------------------------------


class Aliased(pydantic.BaseModel):
    user_name: str = pydantic.Field(serialization_alias="userName", pattern=r"\A\w+\z")
    secret: pydantic.SecretStr = pydantic.SecretStr("s")

    @pydantic.computed_field  # type: ignore[prop-decorator]
    @property
    def length(self) -> int:
        return len(self.user_name)


@pytest.mark.parametrize(
    ("annotation", "reply", "payload"),
    [
        (inspect.Parameter.empty, {"b": 1, "a": "é"}, '{"b":1,"a":"é"}'),
        (dict, [1, None], "[1,null]"),
        (Any, Model(a=1), '{"a":1,"f":0.0,"free":null}'),
        (None, {"m": [Model(a=1)]}, '{"m":[{"a":1,"f":0.0,"free":null}]}'),
        (type(None), 1, "1"),
        (Chat, {"text": "t", "user": "u"}, '{"text":"t","user":"u"}'),
        (Chat, {"user": "u", "extra": 1, "text": "t"}, '{"user":"u","extra":1,"text":"t"}'),
        (Point, Point(1, 2), '{"x":1,"y":2}'),
        (Point, {"x": 1}, '{"x":1}'),
        (Point | None, Point(1), '{"x":1,"y":0}'),
        (Pair, Pair(1), '[1,"b"]'),
        (Attrs, Attrs(4), '{"x":4}'),
        (str, "x", '"x"'),
        (datetime.date, datetime.date(2026, 1, 2), '"2026-01-02"'),
        (AsyncIterator[int], 1, "1"),
        (AsyncIterable[int], 1, "1"),
        (AsyncGenerator[int, None], 1, "1"),
        (typing.AsyncGenerator[int, None], 1, "1"),
        (AsyncIterator, "x", '"x"'),
        (Model, Model(a=1), '{"a":1,"f":0.0,"free":null}'),
        (Model, {"a": 1}, '{"a":1,"f":0.0,"free":null}'),
        (list[Model], [{"a": 1, "free": "é"}], '[{"a":1,"f":0.0,"free":"é"}]'),
        (AsyncIterator[Model], Model(a=1), '{"a":1,"f":0.0,"free":null}'),
        (Aliased, Aliased(user_name="bob"), '{"userName":"bob","secret":"**********","length":3}'),
        # ECMA-262's \w is ASCII, pydantic's is not
        (Aliased, {"user_name": "é"}, '{"userName":"é","secret":"**********","length":1}'),
        (Bounded, Bounded(3), '{"v":3,"next":null}'),
    ],
    ids=shown,
)
def test_valid_replies_are_compact_json(annotation: Any, reply: Any, payload: str) -> None:
    encoding = response(annotation)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert encoding.encode(reply) == payload.encode()
    assert encoding.json


def _changed() -> Bounded:
    bounded = Bounded(3)
    bounded.v = 1
    return bounded


@pytest.mark.parametrize(
    ("annotation", "reply", "reason"),
    [
        (Chat, {"text": "t"}, "missing required field `user`"),
        (Chat, {"text": "t", "user": 1}, "Expected `str`, got `int` - at `$.user`"),
        (Point, Point("x"), "Expected `int`, got `str` - at `$.x`"),  # type: ignore[arg-type]
        (Positive, {"x": 0}, "x must be positive"),
        (int, "x", "Expected `int`"),
        (float, float("nan"), "Expected `float`, got `null`"),
        (Annotated[int, msgspec.Meta(ge=0)], -1, ">= 0"),
        (Literal["a"], "x" * 1000, "Invalid enum value"),
        (AsyncIterator[int], "x", "Expected `int`"),
        (set[Any], [[1]], "unhashable"),
        (Model, {"a": "x"}, "- at `$.a`"),
        (Model, object(), "- at `$`"),
        (Model, Model.model_construct(a="x"), "- at `$.a`"),
        (Model, Model.model_construct(), '"a" is a required property'),
        (Model, {"a": 1, "f": float("nan")}, "- at `$.f`"),
        (PydanticPoint, {"x": -1}, "- at `$.x`"),
        (Bounded, _changed(), "- at `$.v`"),
        (list[Model], [{"a": "x"}] * 5000, "5000 problems"),
    ],
    ids=lambda value: shown(value)[:40],
)
def test_replies_that_break_the_schema_are_refused(annotation: Any, reply: Any, reason: str) -> None:
    encode = response(annotation).encode
    with pytest.raises(ReplyInvalid) as caught:
        encode(reply)
    assert reason in caught.value.reason
    assert len(caught.value.reason) <= 320


def test_a_response_schema_is_held_against_the_wire_form() -> None:
    encoding = response(dict, CHAT_SCHEMA)
    assert encoding.schema == CHAT_SCHEMA
    assert encoding.encode({"user": "u", "text": "t"}) == b'{"user":"u","text":"t"}'
    with pytest.raises(ReplyInvalid, match=r'^value is not of type "string" - at `\$.user`$'):
        encoding.encode({"user": 1, "text": "t"})
    point = response(Point, {"properties": {"x": {"maximum": 1}}}).encode
    assert point(Point(1)) == b'{"x":1,"y":0}'
    with pytest.raises(ReplyInvalid):
        point(Point(2))


def _deep(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


def _cyclic() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize("encoding", [response(None), response(list[Any]), response(None, True)])
@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Plain(), TypeError),
        ([Plain()], TypeError),
        ({(1, 2): 1}, TypeError),
        ("\ud800", UnicodeEncodeError),
        (_deep(100_000), RecursionError),
        (_cyclic(), RecursionError),
    ],
    ids=["object", "nested", "key", "surrogate", "deep", "cyclic"],
)
def test_a_reply_without_json_form_is_the_handlers_bug(encoding: Encoding, reply: Any, error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        encoding.encode(reply)
    assert not isinstance(caught.value, ReplyInvalid)


@pytest.mark.parametrize(
    "free", [object(), _cyclic(), b"\xff", "\ud800"], ids=["object", "cyclic", "bytes", "surrogate"]
)
def test_a_model_without_json_form_is_the_handlers_bug(free: Any) -> None:
    with pytest.raises(TypeError):
        response(Model).encode(Model(a=1, free=free))


def test_deep_replies_never_reach_the_validators_stack() -> None:
    recursive = {"anyOf": [{"items": {"$ref": "#"}, "minItems": 1}, {"type": "string"}]}
    for depth in (900, 9_000):
        with pytest.raises((ReplyInvalid, RecursionError)):
            response(None, recursive).encode(_deep(depth))


@pytest.mark.parametrize("annotation", [None, dict, Any])
def test_untyped_replies_have_no_schema(annotation: Any) -> None:
    assert response(annotation).schema is None


def test_documents_follow_the_direction() -> None:
    received, sent = message(Aliased).schema, response(Aliased).schema
    assert received is not None and sent is not None
    assert "user_name" in received["properties"]
    assert {"userName", "length"} <= set(sent["properties"])
    assert "pattern" in sent["properties"]["userName"]


@pytest.mark.parametrize("reply", ["x", b"x", bytearray(b"x"), memoryview(b"x")])
def test_raw_replies_keep_their_kind(reply: Any) -> None:
    payload = encode_raw(reply)
    assert payload == reply
    assert type(payload) is (str if isinstance(reply, str) else bytes)


@pytest.mark.parametrize("reply", [1, {"a": 1}, object()])
def test_raw_replies_are_never_json(reply: Any) -> None:
    with pytest.raises(TypeError, match=f"not {type(reply).__name__}"):
        encode_raw(reply)


# -- parameters -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("annotation", [inspect.Parameter.empty, None, Any, str, Annotated[str, "doc"]])
def test_strings_pass_as_they_are(annotation: Any) -> None:
    assert parameter(annotation) is None


@pytest.mark.parametrize(
    ("annotation", "text", "value"),
    [
        (int, "-5", -5),
        (float, "1.5", 1.5),
        (bool, "true", True),
        (bool, "0", False),
        (uuid.UUID, str(uuid.UUID(int=7)), uuid.UUID(int=7)),
        (datetime.date, "2026-01-02", datetime.date(2026, 1, 2)),
        (Colour, "red", Colour.RED),
        (Literal[1, 2], "2", 2),
        (int | None, "5", 5),
        (str | None, "null", "null"),
        (Annotated[int, msgspec.Meta(ge=0)], "0", 0),
        (Annotated[str, msgspec.Meta(max_length=2)], "ab", "ab"),
        (Annotated[int, annotated_types.Ge(0)], "0", 0),
        (pydantic.PositiveInt, "1", 1),
    ],
    ids=shown,
)
def test_a_parameter_is_converted(annotation: Any, text: str, value: Any) -> None:
    convert = parameter(annotation)
    assert convert is not None
    assert convert(text) == value
    assert type(convert(text)) is type(value)


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (int, "x"),
        (int, ""),
        (int, " 1"),
        (int, "٣"),
        (int, "1_0"),
        (int, "\ud800"),
        (int, "9" * 5000),
        (float, "1e999"),
        (bool, "maybe"),
        (uuid.UUID, "x"),
        (Colour, "blue"),
        (Literal[1], "2"),
        (Annotated[int, msgspec.Meta(ge=0)], "-1"),
        (Annotated[str, msgspec.Meta(max_length=2)], "abc"),
        (Annotated[int, annotated_types.Ge(0)], "-1"),
        (pydantic.PositiveInt, "0"),
        (pydantic.PositiveInt, "x"),
    ],
    ids=shown,
)
def test_a_parameter_that_does_not_fit(annotation: Any, text: str) -> None:
    convert = parameter(annotation)
    assert convert is not None
    with pytest.raises(ValueError):
        convert(text)


@pytest.mark.parametrize(
    "annotation",
    [Plain, dict, dict[str, int], list[int], list[int] | None, Point, Pair, Struct, Chat, Unresolved],
    ids=shown,
)
def test_a_parameter_that_no_string_can_become(annotation: Any) -> None:
    with pytest.raises(ConfigError, match=r"^chat.py:12: handler 'chat': cannot make a converter for parameter 'room'"):
        parameter(annotation)
