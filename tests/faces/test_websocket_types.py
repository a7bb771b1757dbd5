"""Page 1, "Types": what the annotation of a message makes of it, over a real connection."""

import datetime
import enum
import typing
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple

import annotated_types
import attrs
import msgspec
import pydantic
import pydantic.dataclasses
import pytest
from typing_extensions import TypedDict

import wireloom
from wireloom import App, ConfigError

pytestmark = pytest.mark.anyio

WRONG = '{"error":"Message validation failed"}'


class Chat(TypedDict):
    text: str
    user: str


@dataclass
class Point:
    x: int
    y: int = 0


class Pair(NamedTuple):
    a: int
    b: str = "b"


class Circle(msgspec.Struct, tag="circle"):
    r: float


class Square(msgspec.Struct, tag="square"):
    s: float


@attrs.define
class Order:
    item: str
    count: int = attrs.field(default=1, validator=attrs.validators.gt(0))


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Model(pydantic.BaseModel):
    name: str
    age: int = pydantic.Field(gt=0)


@pydantic.dataclasses.dataclass
class Email:
    to: Annotated[str, pydantic.Field(pattern="@")]


NOW = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
KEY = uuid.UUID("12345678-1234-5678-1234-567812345678")

# Annotation; JSON that fits, with the very value that the handler receives; JSON that does not fit.
ROWS: list[tuple[Any, dict[str, Any], list[str]]] = [
    (Chat, {'{"text":"a","user":"b"}': {"text": "a", "user": "b"}}, ['{"text":"a"}', '{"text":1,"user":"b"}', "[]"]),
    (Point, {'{"x":1}': Point(1), '{"x":1,"y":2}': Point(1, 2)}, ['{"x":"1"}', "{}"]),
    (Pair, {'[1,"c"]': Pair(1, "c"), '{"a":1}': Pair(1)}, ["[]", '["c"]', '{"b":"c"}']),
    (Circle, {'{"type":"circle","r":1.5}': Circle(1.5)}, ['{"type":"square","r":1.5}', '{"type":"circle","r":"1"}']),
    (
        Circle | Square,
        {'{"type":"circle","r":1}': Circle(1), '{"s":2,"type":"square"}': Square(2)},
        ['{"type":"line","r":1}', '{"type":"circle","s":1}'],
    ),
    (Order, {'{"item":"a"}': Order("a"), '{"item":"a","count":2}': Order("a", 2)}, ['{"item":"a","count":0}']),
    (Point | None, {"null": None, '{"x":1}': Point(1)}, ["1", "{}"]),
    (list[Point], {"[]": [], '[{"x":1}]': [Point(1)]}, ["{}", "[1]"]),
    (dict[str, int], {'{"a":1}': {"a": 1}}, ['{"a":"1"}', "[]"]),
    (dict[Colour, set[int]], {'{"red":[1,1]}': {Colour.RED: {1}}}, ['{"green":[]}']),
    (tuple[int, str], {'[1,"a"]': (1, "a")}, ["[1]", '[1,"a",2]']),
    (frozenset[str], {'["a","a"]': frozenset({"a"})}, ["[1]"]),
    (int, {"7": 7, "-1": -1}, ["1.5", '"7"', "true", "null"]),
    (float, {"7": 7.0, "1.5": 1.5}, ['"1.5"', "null"]),
    (bool, {"true": True}, ["1", '"true"']),
    (str | int, {'"a"': "a", "1": 1}, ["null", "[]"]),
    (Literal["a", "b"], {'"a"': "a"}, ['"c"', "1"]),
    (datetime.datetime, {'"2026-01-02T03:04:05Z"': NOW}, ['"yesterday"', "1"]),
    (datetime.date, {'"2026-01-02"': datetime.date(2026, 1, 2)}, ['"2026-13-02"']),
    (uuid.UUID, {f'"{KEY}"': KEY}, ['"1234"']),
    (Colour, {'"red"': Colour.RED}, ['"green"', "1"]),
    (Annotated[int, msgspec.Meta(ge=0)], {"0": 0}, ["-1", '"0"']),
    (Model, {'{"name":"a","age":1}': Model(name="a", age=1)}, ['{"name":"a","age":0}', "{}"]),
    (list[Model], {'[{"name":"a","age":1}]': [Model(name="a", age=1)]}, ['[{"name":"a"}]']),
    (Email, {'{"to":"a@b"}': Email("a@b")}, ['{"to":"a"}']),
    (Annotated[int, pydantic.Field(gt=5)], {"6": 6}, ["5"]),
    (Annotated[int, annotated_types.Gt(5)], {"6": 6}, ["5"]),
    (dict, {'{"a":1.0}': {"a": 1.0}, "[1]": [1], "null": None}, []),
    (list, {"[1]": [1], '{"a":1}': {"a": 1}}, []),
    (Any, {"[null]": [None], '"a"': "a"}, []),
    (typing.Dict, {'{"a":1}': {"a": 1}}, []),  # noqa: UP006 - people write it
    (None, {"[1]": [1]}, []),
]


def declare(app: App, path: str, annotation: Any, got: list[Any], **options: Any) -> None:
    async def handler(message: Any) -> None:
        got.append(message)

    if annotation is None:
        del handler.__annotations__["message"]
    else:
        handler.__annotations__["message"] = annotation
    app.websocket(path, **options)(handler)


async def test_the_handler_receives_an_instance_of_the_very_type(wireloom_server: Any) -> None:
    app, got = App(), []
    for number, (annotation, _, _) in enumerate(ROWS):
        declare(app, f"/{number}", annotation, got)

    async with wireloom_server(app) as server:
        for number, (annotation, fitting, wrong) in enumerate(ROWS):
            async with server.websocket(f"/{number}") as ws:
                for payload in wrong:
                    await ws.send_text(payload)
                    assert await ws.receive_text() == WRONG, (annotation, payload)
                for payload in fitting:
                    await ws.send_text(payload)
                    await ws.send_bytes(payload.encode())
            wanted = [value for value in fitting.values() for _ in range(2)]
            assert got == wanted, annotation
            assert [type(value) for value in got] == [type(value) for value in wanted], annotation
            got.clear()


async def test_types_deep_inside_are_those_types_too(wireloom_server: Any) -> None:
    app, got = App(), []
    declare(app, "/", dict[str, list[Circle | Square]], got)
    async with wireloom_server(app) as server, server.websocket("/") as ws:
        await ws.send_text('{"a":[{"type":"square","s":1.5},{"type":"circle","r":2.5}]}')
    assert got == [{"a": [Square(1.5), Circle(2.5)]}]


# -- JSON Schema ------------------------------------------------------------------------------------------------------

SCHEMA = {
    "type": "object",
    "properties": {"when": {"type": "string", "format": "date"}, "n": {"type": "integer", "minimum": 0}},
    "required": ["n"],
}


async def test_a_message_schema_validates_plain_values(wireloom_server: Any) -> None:
    app, got = App(), []
    declare(app, "/", Any, got, message_schema=SCHEMA)
    declare(app, "/dict", dict, got, message_schema=SCHEMA)
    async with wireloom_server(app) as server:
        for path in ("/", "/dict"):
            async with server.websocket(path) as ws:
                for wrong in ('{"n":-1}', "{}", '{"n":1,"when":2}', "[]"):
                    await ws.send_text(wrong)
                    assert await ws.receive_text() == WRONG, wrong
                await ws.send_text('{"n":1,"extra":[1.0]}')
            assert got == [{"n": 1, "extra": [1.0]}]
            got.clear()


@pytest.mark.parametrize(
    ("draft", "asserted"),
    [
        (None, False),
        ("https://json-schema.org/draft/2020-12/schema", False),
        ("http://json-schema.org/draft-07/schema#", True),
    ],
)
async def test_format_is_asserted_as_the_draft_says(wireloom_server: Any, draft: str | None, asserted: bool) -> None:
    app, got = App(), []
    declare(app, "/", Any, got, message_schema={**SCHEMA, **({"$schema": draft} if draft else {})})
    async with wireloom_server(app) as server, server.websocket("/") as ws:
        await ws.send_text('{"n":1,"when":"yesterday"}')
        if asserted:
            assert await ws.receive_text() == WRONG
        await ws.send_text('{"n":2,"when":"2026-01-02"}')
    assert [value["n"] for value in got] == ([2] if asserted else [1, 2])


# -- raw --------------------------------------------------------------------------------------------------------------


async def test_raw_messages_are_of_the_frames_kind(wireloom_server: Any) -> None:
    app, got = App(), []
    for path, annotation in (("/text", str), ("/binary", bytes), ("/either", str | bytes), ("/reverse", bytes | str)):
        declare(app, path, annotation, got)
    sent = {"/text": ['{"a":1}', ""], "/binary": [b"\xff\x00", b""], "/either": ["é", b"\xff"], "/reverse": ["a", b"b"]}
    async with wireloom_server(app) as server:
        for path, messages in sent.items():
            async with server.websocket(path) as ws:
                for message in messages:
                    await (ws.send_text(message) if isinstance(message, str) else ws.send_bytes(message))
            assert got == messages
            got.clear()


# -- responses --------------------------------------------------------------------------------------------------------


def _returning(annotation: Any) -> Any:
    async def handler(message: Any) -> Any:
        """Nothing."""

    handler.__annotations__["return"] = annotation
    return handler


@pytest.mark.parametrize(
    ("annotation", "schema"),
    [
        (int, {"type": "integer"}),
        (list[str], {"type": "array", "items": {"type": "string"}}),
        (dict, None),
        (Any, None),
        (None, None),
    ],
    ids=str,
)
def test_the_return_annotation_gives_the_response_schema(annotation: Any, schema: Any) -> None:
    assert App([wireloom.websocket("/")(_returning(annotation))]).describe()[0].response_schema == schema


def test_without_a_return_annotation_there_is_no_response_schema() -> None:
    handler = _returning(int)
    del handler.__annotations__["return"]
    assert App([wireloom.websocket("/")(handler)]).describe()[0].response_schema is None


def test_a_streams_values_give_the_response_schema() -> None:
    @wireloom.websocket("/")
    async def handler(message: Any) -> AsyncIterator[Point]:
        yield Point(1)

    schema = App([handler]).describe()[0].response_schema
    assert schema["$defs"]["Point"]["required"] == ["x"]


REPLIES: list[tuple[Any, Any, str]] = [
    (Point, Point(1, 2), '{"x":1,"y":2}'),
    (Point, {"x": 1}, '{"x":1}'),
    (Model, Model(name="é", age=1), '{"name":"é","age":1}'),
    (Circle | Square, Square(1.5), '{"type":"square","s":1.5}'),
    (Pair, Pair(1), '[1,"b"]'),
    (datetime.datetime, NOW, '"2026-01-02T03:04:05Z"'),
    (list[uuid.UUID], [KEY], f'["{KEY}"]'),
    (Colour, Colour.RED, '"red"'),
    (Any, Model(name="a", age=1), '{"name":"a","age":1}'),
    (Any, {"b": Point(1), "a": (1, 2)}, '{"b":{"x":1,"y":0},"a":[1,2]}'),
]


def replying(app: App, path: str, annotation: Any, reply: Any) -> None:
    async def handler(message: Any) -> Any:
        return reply

    handler.__annotations__["return"] = annotation
    app.websocket(path)(handler)


async def test_replies_are_written_by_their_type(wireloom_server: Any) -> None:
    app = App()
    for number, (annotation, reply, _) in enumerate(REPLIES):
        replying(app, f"/{number}", annotation, reply)
    async with wireloom_server(app) as server:
        for number, (annotation, _, payload) in enumerate(REPLIES):
            async with server.websocket(f"/{number}") as ws:
                await ws.send_text("1")
                assert await ws.receive_text() == payload, annotation


# -- what cannot be compiled ------------------------------------------------------------------------------------------


class Plain:
    """Nothing that could be read from JSON."""


@pytest.mark.parametrize(
    ("annotation", "name"),
    [(Plain, "Plain"), (list[Plain], "Plain"), (Callable[[], int], "Callable"), (Point | Chat, "Point"), (7, "7")],
    ids=str,
)
@pytest.mark.parametrize("place", ["message", "return"])
def test_a_type_without_a_schema_fails_at_registration(annotation: Any, name: str, place: str) -> None:
    async def chat(message: Any) -> Any:
        """Nothing."""

    chat.__annotations__[place] = annotation
    with pytest.raises(ConfigError) as caught:
        App().websocket("/")(chat)
    line = chat.__code__.co_firstlineno
    text = str(caught.value)
    assert text.startswith(f"{__file__}:{line}: ")
    assert "'chat'" in text
    assert name in text


@pytest.mark.parametrize(
    "schema",
    [{"type": "nope"}, {"minimum": "1"}, {"$ref": "#/nowhere"}, {"$ref": "https://example.com/x.json"}, "object"],
    ids=str,
)
@pytest.mark.parametrize("which", ["message_schema", "response_schema"])
def test_a_schema_that_is_none_fails_at_registration(schema: Any, which: str) -> None:
    async def chat(message: Any) -> Any:
        """Nothing."""

    with pytest.raises(ConfigError) as caught:
        App().websocket("/", **{which: schema})(chat)
    text = str(caught.value)
    assert text.startswith(f"{__file__}:{chat.__code__.co_firstlineno}: ")
    assert "'chat'" in text
    assert which in text


def test_a_raw_endpoint_has_no_response_schema() -> None:
    with pytest.raises(ConfigError, match=rf"{__file__}:\d+: 'handler' takes str or bytes as they are"):

        @wireloom.websocket("/", response_schema={"type": "string"})
        async def handler(message: str) -> str:
            return message
