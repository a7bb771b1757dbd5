"""Page 1, "Types" and "On the wire": one parametrised row per promise."""

import dataclasses
import datetime
import enum
import inspect
import json
import socket
import sys
import typing
import uuid
import warnings
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypeVar

import annotated_types
import attrs
import msgspec
import pydantic
import pydantic.dataclasses
import pytest
from tests.ids import shown
from typing_extensions import TypedDict

from wireloom.core.codec import ReplyInvalid
from wireloom.core.schema import (
    Decoding,
    Encoding,
    compile_message,
    compile_parameter,
    compile_response,
    encode_raw,
)
from wireloom.errors import ConfigError, InvalidJSON, RequestError, ValidationFailed

# -- the types of the rows --------------------------------------------------------------------------------------------


class Chat(TypedDict):
    text: str
    user: str


@dataclasses.dataclass
class Point:
    x: int
    y: int = 0


@dataclasses.dataclass
class Positive:
    x: int

    def __post_init__(self) -> None:
        if self.x <= 0:
            raise ValueError("x must be positive")


class Pair(NamedTuple):
    a: int
    b: str = "b"


class Struct(msgspec.Struct):
    n: int


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    n: int


class Circle(msgspec.Struct, tag="circle"):
    r: float


class Square(msgspec.Struct, tag="square"):
    s: float


@attrs.define
class Attrs:
    x: int = attrs.field(validator=attrs.validators.gt(3))


class Colour(enum.Enum):
    RED = "red"


class Tree(TypedDict):
    children: "list[Tree]"


class Model(pydantic.BaseModel):
    a: int
    f: float = 0.0
    free: Any = None


class ModelTree(pydantic.BaseModel):
    children: "list[ModelTree]" = []


@pydantic.dataclasses.dataclass
class PydanticPoint:
    x: Annotated[int, pydantic.Field(ge=0)]


@dataclasses.dataclass
class Bounded:
    """A stdlib dataclass that only pydantic understands, and that contains itself."""

    v: Annotated[int, annotated_types.Ge(3)]
    next: "Bounded | None" = None


class HasModel(TypedDict):
    m: Model


class Cat(pydantic.BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(pydantic.BaseModel):
    kind: Literal["dog"]
    legs: int


T = TypeVar("T")


@dataclasses.dataclass
class Box(Generic[T]):
    item: T


class Plain:
    pass


@dataclasses.dataclass
class Unresolved:
    a: "Nowhere"  # type: ignore[name-defined]  # noqa: F821


CHAT_SCHEMA = {
    "type": "object",
    "properties": {"text": {"type": "string"}, "user": {"type": "string"}},
    "required": ["text", "user"],
}


def message(annotation: Any, schema: Any = None) -> Decoding:
    return compile_message(annotation, schema=schema, owner="chat", source="chat.py:12")


def response(annotation: Any, schema: Any = None) -> Encoding:
    return compile_response(annotation, schema=schema, owner="chat", source="chat.py:12")


def parameter(annotation: Any) -> Callable[[str], Any] | None:
    return compile_parameter(annotation, owner="chat", source="chat.py:12", name="room")


# One decoder of each kind; each accepts an object with members that it does not know.
KINDS = {
    "untyped": message(dict),
    "typeddict": message(TypedDict("Loose", {"a": int}, total=False)),
    "dataclass": message(dataclasses.make_dataclass("Empty", [("a", int, 0)])),
    "namedtuple": message(NamedTuple("Loose2", [("a", int)])),
    "pydantic": message(pydantic.create_model("Empty2", a=(int, 0))),
    "schema": message(dict, schema={"properties": {"a": {"type": "integer"}}}),
    "recursive schema": message(dict, schema={"additionalProperties": {"$ref": "#"}, "items": {"$ref": "#"}}),
}
every_kind = pytest.mark.parametrize("decoding", KINDS.values(), ids=KINDS.keys())
text_and_binary = pytest.mark.parametrize("form", [str, str.encode], ids=["text", "binary"])


# -- messages: what the handler receives ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "annotation",
    [inspect.Parameter.empty, None, Any, object, dict, list, typing.Dict, Annotated[dict, "doc"]],  # noqa: UP006
)
@pytest.mark.parametrize("text", ["{}", "[1]", "null", '"x"', "1.5", ' {"a": [true]} '])
def test_untyped_messages_are_any_json(annotation: Any, text: str) -> None:
    decoding = message(annotation)
    assert decoding.decode(text) == json.loads(text)
    assert (decoding.json, decoding.schema) == (True, None)


@pytest.mark.parametrize(
    ("annotation", "text", "value"),
    [
        (Chat, '{"text":"t","user":"u"}', {"text": "t", "user": "u"}),
        (Chat, '{"text":"t","user":"u","extra":1}', {"text": "t", "user": "u"}),
        (Point, '{"x":1}', Point(1)),
        (Pair, '[1,"x"]', Pair(1, "x")),
        (Pair, "[1]", Pair(1)),
        (Pair, ' {"a":1,"b":"x"}', Pair(1, "x")),
        (Pair, '{"a":1}', Pair(1)),
        (Annotated[Pair, "doc"], '{"a":1}', Pair(1)),
        (list[Pair], '[[1,"x"]]', [Pair(1, "x")]),
        (Struct, '{"n":1}', Struct(1)),
        (Attrs, '{"x":4}', Attrs(4)),
        (Circle | Square, '{"type":"square","s":2}', Square(2.0)),
        (Point | None, "null", None),
        (Point | None, '{"x":1}', Point(1)),
        (dict[str, int], '{"a":1}', {"a": 1}),
        (dict[str, object], '{"a":[1]}', {"a": [1]}),
        (set[int], "[1,1]", {1}),
        (Box[int], '{"item":1}', Box(1)),
        (int, "1", 1),
        (float, "1", 1.0),
        (bool, "true", True),
        (str | None, '"x"', "x"),
        (datetime.datetime, '"2026-01-02T03:04:05"', datetime.datetime(2026, 1, 2, 3, 4, 5)),
        (uuid.UUID, f'"{uuid.UUID(int=7)}"', uuid.UUID(int=7)),
        (Colour, '"red"', Colour.RED),
        (Literal["a", 1], "1", 1),
        (Annotated[int, msgspec.Meta(ge=0)], "0", 0),
        (Annotated[dict, msgspec.Meta(min_length=1)], '{"a":1}', {"a": 1}),
        (Tree, '{"children":[{"children":[]}]}', {"children": [{"children": []}]}),
        (Model, '{"a":1}', Model(a=1)),
        (list[Model], '[{"a":1}]', [Model(a=1)]),
        (Model | None, "null", None),
        (PydanticPoint, '{"x":1}', PydanticPoint(1)),
        (Bounded, '{"v":3,"next":{"v":4}}', Bounded(3, Bounded(4))),
        (HasModel, '{"m":{"a":1}}', {"m": Model(a=1)}),
        (Box[Model], '{"item":{"a":1}}', Box(Model(a=1))),
        (Annotated[int, annotated_types.Ge(0)], "0", 0),
        (
            Annotated[Cat | Dog, pydantic.Field(discriminator="kind")],
            '{"kind":"dog","legs":4}',
            Dog(kind="dog", legs=4),
        ),
    ],
    ids=shown,
)
@text_and_binary
def test_the_handler_receives_the_declared_type(
    form: Callable[[str], str | bytes], annotation: Any, text: str, value: Any
) -> None:
    decoding = message(annotation)
    decoded = decoding.decode(form(text))
    assert decoded == value
    assert type(decoded) is type(value)
    assert decoding.json
    assert isinstance(decoding.schema, dict)


@pytest.mark.parametrize(
    ("annotation", "text", "path", "about"),
    [
        (Chat, '{"text":"t","user":1}', "$.user", "Expected `str`, got `int`"),
        (Chat, '{"text":"t"}', "$.user", "missing required field `user`"),
        (Chat, "[]", "$", "Expected `object`"),
        (Point, '{"x":"1"}', "$.x", "Expected `int`, got `str`"),
        (Positive, '{"x":0}', "$", "x must be positive"),
        (list[Positive], '[{"x":1},{"x":0}]', "$[1]", "x must be positive"),
        (Strict, '{"n":1,"m":2}', "$.m", "unknown field `m`"),
        (Circle | Square, '{"type":"oval"}', "$.type", "oval"),
        (Attrs, '{"x":3}', "$", "must be > 3"),
        (Pair, '["x"]', "$[0]", "Expected `int`"),
        (Pair, '{"b":"x"}', "$.a", "missing required field `a`"),
        (Pair, '{"a":"x"}', "$.a", "Expected `int`"),
        (dict[int, int], '{"x":1}', "$", "(a key)"),
        (dict[str, list[int]], '{"k":[1,"x"]}', "$[...][1]", "Expected `int`"),
        (Annotated[int, msgspec.Meta(ge=0)], "-1", "$", ">= 0"),
        (Annotated[dict, msgspec.Meta(min_length=1)], "{}", "$", ">= 1"),
        (Colour, '"x - at `$.forged`"', "$", "Invalid enum value"),
        (set[Any], "[[1]]", "$", "unhashable"),
        (Any, "1e999", "$", "out of range"),
        (Any, "1" * 5000, "$", "out of range"),
        (int, "1" * 5000, "$", "out of range"),
        (Model, '{"f":1}', "$.a", "Field required"),
        (list[Model], '[{"a":1},{"a":"x"}]', "$[1].a", "valid integer"),
        (PydanticPoint, '{"x":-1}', "$.x", "greater than or equal to 0"),
        (Bounded, '{"v":3,"next":{"v":1}}', "$.next.v", "greater than or equal to 3"),
        (HasModel, '{"m":{}}', "$.m.a", "Field required"),
        (Annotated[int, annotated_types.Ge(0)], "-1", "$", "greater than or equal to 0"),
        (list[Cat | Dog], '[{"kind":"cat"}]', "$[0].lives", "Field required"),
        (
            list[Annotated[Cat | Dog, pydantic.Field(discriminator="kind")]],
            '[{"kind":"dog"}]',
            "$[0].legs",
            "Field required",
        ),
    ],
    ids=shown,
)
@text_and_binary
def test_the_wrong_shape_says_where(
    form: Callable[[str], str | bytes], annotation: Any, text: str, path: str, about: str
) -> None:
    decode = message(annotation).decode
    with pytest.raises(ValidationFailed) as caught:
        decode(form(text))
    detail = caught.value.details[0]
    assert detail["path"] == path
    assert about in detail["message"]


def test_named_tuple_documents_both_forms() -> None:
    schema = message(Pair).schema
    assert schema is not None
    assert {schema["$defs"][one["$ref"].rpartition("/")[2]]["type"] for one in schema["anyOf"]} == {"array", "object"}


# -- messages: what is not JSON ---------------------------------------------------------------------------------------

NOT_JSON = [
    "", " ", "{", "nul", "NaN", "-Infinity", "[Infinity]", '{"b":NaN}', '{"b":-Infinity}', "{} x", "{},", "[1,]", "01",
    "1.", "+1", "{'a':1}", '{"b":01}', '{"b":"\n"}', '{"b":"\\x"}', '{"b":"\\ud800"}', "{}\0", "\ufeff{}", "\x0b1",
    '{"a":"wrong type"} x', '{"a":"wrong type",}', '{"a":"wrong type","b":NaN}', '["wrong type"',
]  # fmt: skip


@every_kind
@text_and_binary
@pytest.mark.parametrize("text", NOT_JSON)
def test_not_json(decoding: Decoding, form: Callable[[str], str | bytes], text: str) -> None:
    with pytest.raises(InvalidJSON):
        decoding.decode(form(text))


@every_kind
@pytest.mark.parametrize(
    "data", [b'"\xff"', b'{"b":"\xff"}', b'{"b\xff":1}', b'{"b":"\xed\xa0\x80"}', '{"b":"\ud800"}', '{"a":"\ud800"}']
)
def test_not_utf8(decoding: Decoding, data: str | bytes) -> None:
    with pytest.raises(InvalidJSON):
        decoding.decode(data)


@every_kind
@text_and_binary
@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "[" * 100_000 + "]" * 100_000,
        '{"b":' * 100_000,
        '{"b":' + "[" * 50_000 + "]" * 50_000 + "}",
        '{"children":[' * 50_000,
    ],
    ids=["open", "closed", "objects", "inside", "tree"],
)
def test_deep_nesting_is_refused(decoding: Decoding, form: Callable[[str], str | bytes], text: str) -> None:
    with pytest.raises((InvalidJSON, ValidationFailed)):
        decoding.decode(form(text))


@pytest.mark.parametrize("annotation", [Tree, ModelTree], ids=shown)
def test_deep_nesting_of_a_recursive_type_is_refused(annotation: Any) -> None:
    with pytest.raises(InvalidJSON):
        message(annotation).decode('{"children":[' * 50_000 + "]}" * 50_000)


@pytest.mark.parametrize("depth", [201, 990, 9_000, 100_000])
@pytest.mark.parametrize(
    "schema",
    [
        {"anyOf": [{"items": {"$ref": "#"}, "minItems": 1}, {"type": "string"}]},
        {"items": {"$ref": "#"}},
        {"type": "object"},
    ],
)
def test_nesting_that_overflows_the_validators_stack_never_reaches_it(schema: dict[str, Any], depth: int) -> None:
    """jsonschema_rs 0.60 ended the process with a segmentation fault at a depth that msgspec accepts."""
    with pytest.raises((InvalidJSON, ValidationFailed)):
        message(None, schema).decode("[" * depth + "]" * depth)


def test_nesting_of_200_levels_is_fine() -> None:
    text = "[" * 200 + "1" + "]" * 200
    assert json.dumps(message(None, {"items": {"$ref": "#"}}).decode(text)) == text


def test_many_brackets_are_not_depth() -> None:
    text = json.dumps([[["[["]]] * 500)
    assert message(None, {"type": "array"}).decode(text) == json.loads(text)


@every_kind
@pytest.mark.parametrize(
    "text",
    [
        '{"b":1e999}',
        '{"b":' + "9" * 100 + "}",
        '{"b":' + "9" * 9000 + "}",
        '{"a":1,"a":2}',
        '{"a":1e999}',
        "1e999",
        '{"":0}',
    ],
)
def test_odd_but_valid_json_has_a_defined_end(decoding: Decoding, text: str) -> None:
    try:
        decoding.decode(text)
    except (ValidationFailed, InvalidJSON):
        pass


def test_the_last_of_duplicate_keys_counts() -> None:
    assert message(dict).decode('{"a":1,"a":2}') == {"a": 2}


@pytest.mark.parametrize("text", ['{"a":1,"free":"NaN"}', '{"a":1,"Infinity":1}'])
def test_nan_within_a_string_is_text(text: str) -> None:
    assert message(Model).decode(text).a == 1


def test_a_bug_in_a_users_validator_is_not_the_clients_error() -> None:
    @dataclasses.dataclass
    class Buggy:
        x: int

        def __post_init__(self) -> None:
            raise KeyError("bug")

    with pytest.raises(KeyError):
        message(Buggy).decode('{"x":1}')


# -- messages: raw ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("annotation", "data"),
    [
        (str, "not json"),
        (str, ""),
        (bytes, b"\xff\x00"),
        (str | bytes, "x"),
        (str | bytes, b"\xff"),
        (typing.Union[bytes, str], "x"),  # noqa: UP007
        (typing.NewType("Text", str), "x"),
        (Annotated[str, "doc"], "x"),
        (Annotated[str, msgspec.Meta(max_length=3)], "abc"),
        (Annotated[bytes, msgspec.Meta(max_length=3)], b"\xff"),
        (Annotated[str, annotated_types.MaxLen(3)], "abc"),
    ],
    ids=shown,
)
def test_raw_messages_pass_as_they_are(annotation: Any, data: str | bytes) -> None:
    decoding = message(annotation)
    assert decoding.decode(data) == data
    assert decoding.json is False


@pytest.mark.parametrize(("annotation", "data", "kind"), [(str, b"x", "text"), (bytes, "x", "binary")])
def test_the_other_kind_of_frame_is_refused(annotation: Any, data: str | bytes, kind: str) -> None:
    with pytest.raises(RequestError) as caught:
        message(annotation).decode(data)
    assert (caught.value.code, caught.value.message) == ("UNSUPPORTED_DATA", f"Expected a {kind} message")


@pytest.mark.parametrize("constraint", [msgspec.Meta(max_length=3), annotated_types.MaxLen(3)])
def test_constraints_of_a_raw_message_hold(constraint: Any) -> None:
    with pytest.raises(ValidationFailed):
        message(Annotated[str, constraint]).decode("abcd")


# -- messages: JSON Schema --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("annotation", [inspect.Parameter.empty, dict, Any, Chat])
@text_and_binary
def test_a_schema_gives_plain_values(annotation: Any, form: Callable[[str], str | bytes]) -> None:
    decoding = message(annotation, CHAT_SCHEMA)
    assert decoding.decode(form('{"text":"t","user":"u","more":1}')) == {"text": "t", "user": "u", "more": 1}
    assert decoding.schema == CHAT_SCHEMA
    with pytest.raises(ValidationFailed) as caught:
        decoding.decode(form('{"text":1}'))
    assert sorted(d["path"] for d in caught.value.details) == ["$", "$.text"]
    assert {d["message"] for d in caught.value.details} == {
        '"user" is a required property',
        'value is not of type "string"',
    }


@pytest.mark.parametrize(("schema", "document"), [(True, {}), (False, {"not": {}})])
def test_boolean_schemas(schema: bool, document: dict[str, Any]) -> None:
    decoding = message(None, schema)
    assert decoding.schema == document
    if schema:
        assert decoding.decode("1") == 1
    else:
        with pytest.raises(ValidationFailed):
            decoding.decode("1")


@pytest.mark.parametrize(
    ("draft", "asserted"),
    [
        (None, False),
        ("https://json-schema.org/draft/2020-12/schema", False),
        ("https://json-schema.org/draft/2019-09/schema", False),
        ("http://json-schema.org/draft-07/schema#", True),
        ("http://json-schema.org/draft-07/schema", True),
        ("http://json-schema.org/draft-04/schema#", True),
    ],
)
@pytest.mark.parametrize("form", ["email", "date-time"])
def test_format_is_asserted_as_the_draft_says(draft: str | None, asserted: bool, form: str) -> None:
    schema = {"type": "string", "format": form} | ({"$schema": draft} if draft else {})
    decode = message(None, schema).decode
    if asserted:
        with pytest.raises(ValidationFailed):
            decode('"nope"')
    else:
        assert decode('"nope"') == "nope"


def test_another_draft_is_honoured() -> None:
    """``items`` as a list is positional in draft-07 and not a schema in 2020-12."""
    schema = {"$schema": "http://json-schema.org/draft-07/schema#", "items": [{"type": "string"}]}
    assert message(None, schema).decode('["x",1]') == ["x", 1]
    with pytest.raises(ConfigError):
        message(None, {"items": [{"type": "string"}]})


@pytest.mark.parametrize(
    ("schema", "about"),
    [
        ({"type": "nope"}, "nope"),
        ({"properties": {"a": {"minimum": "x"}}}, "$.properties.a.minimum"),
        ({"pattern": "("}, "regex"),
        ({"$ref": "#/$defs/nowhere"}, "nowhere"),
        ({"$ref": "https://example.invalid/x"}, "not fetched"),
        ({"$ref": "file:///etc/passwd"}, "not fetched"),
        ({"$ref": "other.json"}, "other.json"),
        ({"$schema": "https://example.invalid/meta"}, "example.invalid"),
        ({"$schema": "http://json-schema.org/draft-07/schema#", "type": "nope"}, "nope"),
        ("true", "a dict or a bool, not str"),
        ([1], "a dict or a bool, not list"),
        ({"const": object()}, "object"),
    ],
    ids=shown,
)
def test_an_invalid_schema_fails_at_registration(schema: Any, about: str) -> None:
    for compiled, what in ((message, "message_schema"), (response, "response_schema")):
        with pytest.raises(ConfigError) as caught:
            compiled(None, schema)
        assert str(caught.value).startswith(f"chat.py:12: handler 'chat': cannot make a {what}: ")
        assert about in str(caught.value)


@pytest.mark.parametrize("keyword", ["$ref", "$schema"])
def test_no_schema_touches_the_network(keyword: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        with pytest.raises(ConfigError):
            message(None, {keyword: f"http://127.0.0.1:{listener.getsockname()[1]}/x.json"})
        with pytest.raises(BlockingIOError):
            listener.accept()


@pytest.mark.parametrize("annotation", [Point, Pair, Struct, Attrs, Model], ids=shown)
def test_a_schema_beside_a_class_is_ambiguous(annotation: Any) -> None:
    with pytest.raises(ConfigError, match=f"plain values, not {annotation.__name__}"):
        message(annotation, CHAT_SCHEMA)


# -- details are small ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("annotation", "schema", "text"),
    [
        (Literal["a"], None, json.dumps("x" * 100_000)),
        (dict[Literal["a"], int], None, json.dumps({"x" * 100_000: 1})),
        (Annotated[Cat | Dog, pydantic.Field(discriminator="kind")], None, json.dumps({"kind": "x" * 100_000})),
        (pydantic.create_model("NoExtra", __config__={"extra": "forbid"}), None, json.dumps({"x" * 100_000: 1})),
        (list[Annotated[int, annotated_types.Ge(0)]], None, json.dumps([-1] * 500)),
        (list[Annotated[int, annotated_types.Ge(0)]], None, json.dumps([-1] * 50_000)),
        (None, {"additionalProperties": False}, json.dumps({"x" * 3_000: 1})),
        (None, {"additionalProperties": False}, json.dumps({"x" * 100_000: 1})),
        (None, {"additionalProperties": {"type": "string"}}, json.dumps({"x" * 3_000: 1})),
        (None, {"type": "integer"}, json.dumps("x" * 100_000)),
        (None, {"items": {"type": "string"}}, json.dumps([1] * 500)),
        (None, {"items": {"type": "string"}}, json.dumps([1] * 50_000)),
    ],
)
def test_details_are_capped(annotation: Any, schema: Any, text: str) -> None:
    decode = message(annotation, schema).decode
    with pytest.raises(ValidationFailed) as caught:
        decode(text)
    assert 1 <= len(caught.value.details) <= 20
    for detail in caught.value.details:
        assert set(detail) == {"path", "message"}
        assert detail["path"].startswith("$")
        assert len(detail["path"]) <= 300
        assert 0 < len(detail["message"]) <= 300


# -- what cannot be compiled ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("annotation", "name", "reason"),
    [
        (Plain, "Plain", "Plain cannot be read from JSON"),
        (list[Plain], "Plain", "Plain cannot be read from JSON"),
        (Callable[[int], int], "Callable", "Callable cannot be read from JSON"),
        (complex, "complex", "complex cannot be read from JSON"),
        (Point | Positive, "Point", "more than one dataclass"),
        (Circle | Struct, "Circle", "tagged"),
        (Unresolved, "Unresolved", "'Nowhere' is not defined"),
        ("Nowhere", "Nowhere", "Nowhere"),
        (pydantic.create_model("Loose", a=("Nowhere", ...)), "Loose", "not fully defined"),
        (list[Model | Plain], "Model", "Plain"),
        (Model | Struct, "Model", "mixes pydantic"),
        (Annotated[Annotated[int, msgspec.Meta(ge=0)], annotated_types.Le(3)], "int", "mixes pydantic"),
    ],
    ids=shown,
)
def test_what_cannot_be_compiled_fails_at_registration(annotation: Any, name: str, reason: str) -> None:
    for compiled, what in ((message, "decoder"), (response, "response schema")):
        with pytest.raises(ConfigError) as caught:
            compiled(annotation)
        text = str(caught.value)
        assert text.startswith(f"chat.py:12: handler 'chat': cannot make a {what} for ")
        head, _, tail = text.partition(f"a {what} for ")[2].partition(": ")
        assert name in head
        assert reason in tail
        assert caught.value.source == "chat.py:12"


def test_annotated_types_without_pydantic_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """msgspec would ignore the constraint in silence."""
    monkeypatch.setitem(sys.modules, "pydantic", None)
    with pytest.raises(ConfigError, match=r"pip install 'wireloom\[pydantic\]'"):
        message(Bounded)


def test_types_of_msgspec_do_not_import_pydantic() -> None:
    program = (
        "import sys, msgspec\n"
        "from wireloom.core.schema import compile_message, compile_response\n"
        "from typing import NamedTuple\n"
        "class P(NamedTuple):\n    a: int\n"
        "for t in (P, dict, None, list[int]):\n"
        "    compile_message(t, owner='x', source='y'); compile_response(t, owner='x', source='y')\n"
        "assert 'pydantic' not in sys.modules\n"
    )
    import subprocess

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, env={
        "PYTHONPATH": ":".join(path for path in sys.path if path), "PYTHONDONTWRITEBYTECODE": "1",
    })  # fmt: skip
    assert done.returncode == 0, done.stderr


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
