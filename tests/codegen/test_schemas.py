"""Any JSON Schema, however odd, becomes types that compile; and what it becomes, for those that are known."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any, TypeGuard

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.declared import action, rest, websocket
from wireloom import App
from wireloom.codegen import write_python, write_typescript
from wireloom.codegen.names import Names, camel_case, snake_case, type_name
from wireloom.codegen.schema import Schemas
from wireloom.codegen.typescript import _type as written
from wireloom.core.asyncapi import asyncapi
from wireloom.core.openapi import openapi
from wireloom.core.operation import Sources

from .test_python import mypy
from .typescript import TypeScript

HOSTILE = [
    *("class", "a-b", "constructor", "__proto__", "then", "Array", "Promise", "Client", "RequestError", "Any", "str"),
    *(
        "list",
        "None",
        "self",
        "body",
        "query",
        "naïve",
        "数",
        "",
        "1",
        "a b",
        'quo"te',
        "back\\slash",
        "*/",
        "new\nline",
    ),
    *("__private", "$ref", "type", "\u2028", "'''", '"""', "A", "a", "import", "await", "Object", "int", "Literal"),
]
names = st.sampled_from(HOSTILE) | st.text(max_size=5)
values = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5)
)
references = st.sampled_from(["A", "B", "C"]).map(lambda name: {"$ref": f"#/$defs/{name}"})
leaves = st.one_of(
    st.booleans(),
    references,
    st.builds(dict, type=st.sampled_from(["string", "integer", "number", "boolean", "null", "object", "array"])),
    st.builds(dict, enum=st.lists(values, min_size=1, max_size=4)),
    st.builds(dict, const=values),
    st.just({"type": "string", "format": "binary"}),
    st.builds(dict, description=st.sampled_from(HOSTILE) | st.text(max_size=20), type=st.just("string")),
)


def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Schemas of schemas."""
    several = st.lists(inner, min_size=1, max_size=3)
    properties = st.dictionaries(names, inner, max_size=3)
    return st.one_of(
        st.builds(dict, type=st.just("array"), items=inner),
        st.builds(dict, type=st.just("array"), prefixItems=several, items=inner, minItems=st.integers(0, 3)),
        st.builds(dict, type=st.just("object"), properties=properties, required=st.lists(names, max_size=2)),
        st.builds(dict, type=st.just("object"), properties=properties, additionalProperties=inner),
        st.builds(dict, type=st.just("object"), additionalProperties=inner),
        st.builds(dict, anyOf=several),
        st.builds(dict, oneOf=several),
        st.builds(dict, allOf=several),
    )


schemas = st.recursive(leaves, nested, max_leaves=8)
documents = st.builds(
    lambda schema, a, b, c: {**(schema if isinstance(schema, dict) else {}), "$defs": {"A": a, "B": b, "C": c}},
    *[schemas] * 4,
)


def clients(documents_: list[dict[str, Any]], endpoint_names: list[str]) -> tuple[str, str]:
    """The clients of an application with these schemas everywhere."""
    endpoints = []
    for index, (schema, name) in enumerate(zip(documents_, endpoint_names, strict=True)):
        endpoints += [
            websocket(name or "x", f"/ws/{index}/{{room}}", schema, schema, answers=index % 2 == 0),
            rest(name or "x", f"/rest/{index}/{{class}}", "POST", "GET", message=schema, response=schema),
            action(name or "x", schema, schema),
        ]
    events = websocket("events", "/websocket")
    sources = Sources((*endpoints, events), (), "/websocket")
    both = openapi(sources), asyncapi(sources)
    return write_typescript(*both), write_python(*both)


def test_random_schemas_become_types_that_compile(typescript: TypeScript, tmp_path: Path) -> None:
    """Many in few files: a compiler takes seconds to begin."""
    made: list[tuple[str, str]] = []
    examples = st.lists(st.tuples(documents, names), min_size=10, max_size=10)

    @settings(
        max_examples=12, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
    )
    @given(examples)
    def generate(several: list[tuple[dict[str, Any], str]]) -> None:
        made.append(clients([each[0] for each in several], [each[1] for each in several]))

    generate()
    files = []
    for index, (in_typescript, in_python) in enumerate(made):
        (tmp_path / f"client{index}.py").write_text(in_python, encoding="utf-8")
        files.append(tmp_path / f"client{index}.ts")
        files[-1].write_text(in_typescript, encoding="utf-8")
    assert typescript.problems(files) == ""
    assert mypy(tmp_path, *(f"client{index}.py" for index in range(len(made)))) == ""
    for index, (_, in_python) in enumerate(made):
        exec(compile(in_python, f"client{index}.py", "exec"), {"__name__": f"client{index}"})


def read(schema: Any, **definitions: Any) -> str:
    """A schema in TypeScript."""
    return written(Schemas({"components": {"schemas": definitions}}).read(schema))


def ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


@pytest.mark.parametrize(
    ("schema", "wanted"),
    [
        ({}, "unknown"),
        (True, "unknown"),
        (False, "never"),
        (None, "unknown"),
        ({"type": "integer"}, "number"),
        ({"type": ["string", "null"]}, "string | null"),
        ({"enum": ["a", 1, None, True, 1.5]}, '"a" | 1 | null | true | 1.5'),
        ({"const": [1]}, "unknown"),
        ({"type": "array", "items": {"type": "string"}}, "Array<string>"),
        ({"type": "array", "prefixItems": [{"type": "string"}, {}], "items": False, "minItems": 1},
         "[string, (unknown)?]"),
        ({"type": "array", "items": [{"type": "string"}], "additionalItems": {"type": "null"}, "minItems": 1},
         "[string, ...(null)[]]"),
        ({"type": "object", "additionalProperties": {"type": "number"}}, "{ [key: string]: number }"),
        ({"type": "object", "additionalProperties": False}, "Record<string, never>"),
        ({"properties": {"a-b": {"type": "null"}, "c": {}}, "required": ["c"]}, '{ "a-b"?: null; c: unknown }'),
        ({"properties": {"a": {}}, "additionalProperties": True}, "{ a?: unknown; [key: string]: unknown }"),
        ({"anyOf": [{"type": "string"}, {"type": "string"}, {"type": "null"}]}, "string | null"),
        ({"oneOf": [{"type": "string"}, {}]}, "unknown"),
        ({"allOf": [{"properties": {"a": {"type": "null"}}}, {"properties": {"b": {}}, "required": ["b"]}]},
         "{ a?: null; b: unknown }"),
        ({"allOf": [ref("Tree")], "description": "x"}, "Tree"),
        ({"allOf": [ref("Tree"), {"properties": {"b": {"type": "null"}}}]}, "{ inner?: Tree; b?: null }"),
        (ref("Nowhere"), "unknown"),
        ({"$ref": "#/components/schemas/Tree/properties/inner"}, "Tree"),
        ({"$ref": "https://example.com/schema"}, "unknown"),
        ({"not": {}}, "never"),
    ],
    ids=json.dumps,
)  # fmt: skip
def test_a_schema_becomes_a_type(schema: Any, wanted: str) -> None:
    assert read(schema, Tree={"properties": {"inner": ref("Tree")}}) == wanted


@pytest.mark.parametrize(
    ("definitions", "wanted"),
    [
        ({"A": ref("A")}, "unknown"),
        ({"A": ref("B"), "B": ref("A")}, "unknown"),
        ({"A": {"anyOf": [{"type": "integer"}, ref("A")]}}, "number"),
        (
            {"A": {"anyOf": [{"type": "null"}, ref("B")]}, "B": {"anyOf": [{"type": "string"}, ref("A")]}},
            "null | string",
        ),
        ({"A": {"type": "array", "items": ref("A")}}, "Array<A>"),
    ],
    ids=json.dumps,
)
def test_a_definition_is_never_only_itself(definitions: dict[str, Any], wanted: str) -> None:
    """No language takes that."""
    assert written(Schemas({"components": {"schemas": definitions}}).definition("A").type) == wanted


def test_two_types_of_one_name_stay_two_and_one_of_two_documents_is_one() -> None:
    one = {"$ref": "#/$defs/Order", "$defs": {"Order": {"properties": {"a": {"type": "null"}}}}}
    other = {"$ref": "#/$defs/Order", "$defs": {"Order": {"properties": {"b": {"type": "null"}}}}}
    text, _ = clients([one, other], ["first", "second"])
    defined = [line.split()[2] for line in text.splitlines() if line.startswith("export type Order")]
    assert defined == ["Order", "Order2"]


def test_names() -> None:
    assert [camel_case(each) for each in ("list_keys", "post_CountVisits", "HTTPServer", "a-b", "", "数")] == [
        *("listKeys", "postCountVisits", "httpServer", "aB", "unnamed", "unnamed"),
    ]
    assert [snake_case(each) for each in ("listKeys", "HTTPServer", "a b", "1st")] == [
        *("list_keys", "http_server", "a_b", "_1_st"),
    ]
    assert [type_name(each) for each in ("say", "_Say", "1", "a-b")] == ["Say", "Say", "T1", "A_b"]
    names = Names(["a"])
    assert [names.take("a"), names.take("a"), names.take("b")] == ["a_", "a_2", "b"]


def test_the_same_declarations_give_the_same_text() -> None:
    app = App()

    @app.websocket("/a")
    async def a(message: dict[str, int]) -> str:
        return ""

    texts = {write(app.openapi(), app.asyncapi()) for write in (write_typescript, write_python) for _ in range(2)}
    assert len(texts) == 2


@pytest.mark.parametrize("said", ['x"""', 'x\\"""', '"""', 'two "" and \\"', '""', "back\\", "x\\\\\\"])
def test_quotes_at_the_end_of_a_description_stay_in_their_docstring(said: str) -> None:
    entry = {"operationId": "ask", "summary": said, "responses": {}}
    text = write_python({"paths": {"/ask": {"get": entry}}}, {"channels": {}})
    methods = [each for each in ast.walk(ast.parse(text)) if isinstance(each, ast.AsyncFunctionDef)]
    assert [ast.get_docstring(each) for each in methods] == [f"{said}\nGET /ask"]
    calls = {"m": {"name": "walker.ask", "summary": said}}
    events = {
        "channels": {"events": {"address": "/events", "x-wireloom-event-socket": True}},
        "operations": {"receive_events": {"messages": [{"$ref": "#/components/messages/m"}]}},
        "components": {"messages": calls},
    }
    (method,) = [each for each in ast.walk(ast.parse(write_python({"paths": {}}, events))) if _is_call(each)]
    assert ast.get_docstring(method, clean=False) == said


def _is_call(node: ast.AST) -> TypeGuard[ast.AsyncFunctionDef]:
    return isinstance(node, ast.AsyncFunctionDef)


def test_a_name_in_the_path_and_in_the_query_is_two_parameters() -> None:
    both = [{"name": "key", "in": place, "required": True, "schema": {"type": "string"}} for place in ("path", "query")]
    entry = {"operationId": "ask", "parameters": both, "responses": {}}
    text = write_python({"paths": {"/ask/{key}": {"get": entry}}}, {"channels": {}})
    assert all(part in text for part in ("key: str | int", "key_: str", 'path={"key": key}', 'query={"key": key_}'))
    compile(text, "client.py", "exec")


def test_integers_that_no_literal_takes_are_int(tmp_path: Path) -> None:
    values = [2**63, -(2**63), 2**63 - 1, -(2**63) + 1]
    alone = {f"key{index}": {"const": value} for index, value in enumerate(values)}
    answer = {"type": "object", "properties": {**alone, "one": {"enum": values}}}
    entry = {"responses": {"200": {"content": {"application/json": {"schema": answer}}}}}
    text = write_python({"paths": {"/ask": {"get": entry}}}, {"channels": {}})
    assert text.count(str(2**63 - 1)) == 4 and str(2**63) not in text
    (tmp_path / "client.py").write_text(text)
    assert mypy(tmp_path, "client.py") == ""
