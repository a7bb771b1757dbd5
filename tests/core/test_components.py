"""Schemas of many endpoints in one document: lifted, renamed where names clash, and otherwise what they were."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import msgspec
import pytest
from tests.declared import Order, Say, Tree, schema

from wireloom.core.components import Components, component_name, draft_7, embeddable, unique


def placed(*schemas: Any) -> tuple[list[Any], dict[str, Any]]:
    components = Components()
    return [components.place(each, "Own") for each in schemas], components.schemas


def colour(*values: str) -> dict[str, Any]:
    """A schema ``Paint`` that reads the same whatever its ``Colour`` is."""
    paint = {"title": "Paint", "type": "object", "properties": {"colour": {"$ref": "#/$defs/Colour"}}}
    return {"$ref": "#/$defs/Paint", "$defs": {"Paint": paint, "Colour": {"enum": list(values)}}}


def valid(placed: Any, schemas: dict[str, Any], value: Any) -> bool:
    document = {**placed, "components": {"schemas": schemas}} if isinstance(placed, dict) else placed
    return jsonschema_rs.validator_for(document).is_valid(value)


def test_definitions_become_components() -> None:
    [say], schemas = placed(schema(Say))
    assert say == {"$ref": "#/components/schemas/Say"}
    assert sorted(schemas) == ["Author", "Mood", "Say"]
    assert schemas["Say"]["properties"]["author"] == {"$ref": "#/components/schemas/Author"}


def test_the_same_definition_is_one_component() -> None:
    [one, other], schemas = placed(schema(Tree), schema(Tree))
    assert one == other and list(schemas) == ["Tree"]


def test_what_reads_the_same_but_leads_elsewhere_is_another_component() -> None:
    [red, blue, again], schemas = placed(colour("red"), colour("blue"), colour("red"))
    assert (red["$ref"], blue["$ref"]) == ("#/components/schemas/Paint", "#/components/schemas/Paint2")
    assert again == red
    assert valid(blue, schemas, {"colour": "blue"}) and not valid(blue, schemas, {"colour": "red"})
    assert schemas["Paint2"]["title"] == "Paint2"


@pytest.mark.parametrize("kind", [Tree, Order])
def test_types_that_contain_themselves(kind: Any) -> None:
    made = schema(kind) if kind is Tree else kind.model_json_schema()
    [one], schemas = placed(made)
    assert one == {"$ref": f"#/components/schemas/{kind.__name__}"}
    deep = {"value": 1, "children": [{"value": "no"}]} if kind is Tree else {"sku": "abc", "gift": {"sku": 1}}
    assert not valid(one, schemas, deep)


def test_a_schema_that_refers_to_its_own_root_becomes_a_component() -> None:
    chain = {"type": "object", "properties": {"next": {"$ref": "#"}, "n": {"type": "integer"}}}
    by_path = {"properties": {"a": {"type": "integer"}, "b": {"$ref": "#/properties/a"}}, "title": "Pair"}
    [one, other], schemas = placed(chain, by_path)
    assert (one["$ref"], other["$ref"]) == ("#/components/schemas/Own", "#/components/schemas/Pair")
    assert not valid(one, schemas, {"next": {"next": {"n": "no"}}})
    assert not valid(other, schemas, {"b": "no"})


def test_anchors_ids_and_old_definitions_are_resolved() -> None:
    message = {
        "$id": "urn:example:message",
        "$schema": "http://json-schema.org/draft-07/schema#",
        "properties": {"a": {"$ref": "#count"}, "b": {"$ref": "#/definitions/Text"}},
        "definitions": {"Count": {"$anchor": "count", "type": "integer"}, "Text": {"type": "string"}},
    }
    [one], schemas = placed(message)
    assert set(one) == {"properties"} and sorted(schemas) == ["Count", "Text"]
    assert not valid(one, schemas, {"a": "no"}) and not valid(one, schemas, {"b": 1})
    assert valid(one, schemas, {"a": 1, "b": ""})
    assert schemas["Count"] == {"type": "integer"}  # two of one anchor in a document would be ambiguous


def test_data_is_not_read_as_a_schema() -> None:
    data = {"$ref": "#/$defs/Count"}
    message = {
        "properties": {"$ref": {"const": data}, "enum": {"enum": [data]}, "c": {"default": data, "examples": [data]}},
        "$defs": {"Count": {"type": "integer"}},
    }
    [one], schemas = placed(message)
    assert one["properties"] == message["properties"] and schemas == {}


def test_a_discriminator_names_components() -> None:
    class Cat(msgspec.Struct, tag="cat"):
        pass

    class Dog(msgspec.Struct, tag="dog"):
        pass

    [pet], _ = placed(schema(Cat | Dog))
    assert pet["discriminator"]["mapping"] == {tag: f"#/components/schemas/{tag.title()}" for tag in ("cat", "dog")}


def test_boolean_schemas_stay() -> None:
    assert placed(True, {"items": False})[0] == [True, {"items": False}]


def test_a_schema_within_another_still_refers_to_itself() -> None:
    inner, definitions = embeddable({"properties": {"next": {"$ref": "#"}}, "type": "object"}, "Chain")
    assert inner == {"$ref": "#/$defs/Chain"}
    [outer], schemas = placed({"type": "array", "items": inner, "$defs": definitions})
    assert not valid(outer, schemas, [{"next": 1}]) and valid(outer, schemas, [{"next": {}}])


def test_draft_7_says_the_same_in_its_own_words() -> None:
    components = Components(draft_7)
    pair = {"prefixItems": [{"type": "integer"}, {"type": "string"}], "items": False}
    needs = {"properties": {"p": pair}, "dependentRequired": {"a": ["b"]}, "discriminator": {"propertyName": "p"}}
    one = components.place({**needs, "$schema": "https://json-schema.org/draft/2020-12/schema"}, "Own")
    assert one == {
        "properties": {"p": {"items": pair["prefixItems"], "additionalItems": False}},
        "dependencies": {"a": ["b"]},
    }
    check = jsonschema_rs.Draft7Validator(one)
    assert check.is_valid({"p": [1, "a"]}) and not check.is_valid({"p": [1, 2]}) and not check.is_valid({"a": 1})
    assert not check.is_valid({"p": [1, "a", 3]})
    noted = components.place({"$ref": "#/$defs/A", "default": 1, "$defs": {"A": {"type": "integer"}}}, "Own")
    assert noted == {"default": 1, "allOf": [{"$ref": "#/components/schemas/A"}]}


def test_names() -> None:
    assert [component_name(each) for each in ("_Private", "Box[list[int]]", "a/b c", "ŵ")] == [
        "Private",
        "Box_list_int",
        "a_b_c",
        "Schema",
    ]
    assert unique("A", {"A", "A2"}) == "A3" and unique("B", {"A"}) == "B"
