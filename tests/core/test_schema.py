"""Page 1, "Types" and "On the wire": messages, one parametrised row per promise."""

import dataclasses
import datetime
import inspect
import json
import socket
import sys
import typing
import uuid
from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple

import annotated_types
import msgspec
import pydantic
import pydantic.dataclasses
import pytest
from tests.core.schema_types import (
    CHAT_SCHEMA,
    Attrs,
    Bounded,
    Box,
    Cat,
    Chat,
    Circle,
    Colour,
    Dog,
    HasModel,
    Model,
    ModelTree,
    Pair,
    Plain,
    Point,
    Positive,
    PydanticPoint,
    Square,
    Strict,
    Struct,
    Tree,
    Unresolved,
    message,
    response,
)
from tests.ids import shown
from typing_extensions import TypedDict

from wireloom.core.schema import (
    Decoding,
)
from wireloom.errors import ConfigError, InvalidJSON, RequestError, ValidationFailed

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
