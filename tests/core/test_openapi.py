"""OpenAPI documents: valid by the public validator, and true to the endpoints."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from openapi_spec_validator import validate
from openapi_spec_validator.validation.exceptions import OpenAPIValidationError
from tests.declared import Circle, Order, Say, Square, Tree, action, handle, rest, schema, websocket

from wireloom.core.endpoint import Door, Endpoint
from wireloom.core.openapi import openapi
from wireloom.core.operation import Operation, Sources
from wireloom.errors import HTTP_STATUSES


class Visit(msgspec.Struct):
    node_id: str
    step: int = 1
    shapes: list[Circle | Square] = []


def document(*endpoints: Endpoint, operations: tuple[Operation, ...] = (), **more: Any) -> dict[str, Any]:
    """A document, which has to be valid."""
    made = openapi(Sources(endpoints, operations), **more)
    validate(made)
    return made


def body_of(entry: dict[str, Any]) -> Any:
    return entry["requestBody"]["content"]["application/json"]["schema"]


def data_of(entry: dict[str, Any], status: str = "200") -> Any:
    return entry["responses"][status]["content"]["application/json"]["schema"]["properties"]["data"]


def test_the_validator_finds_faults() -> None:
    broken = document(rest("A", "/a", "POST"))
    broken["paths"]["/a"]["post"]["responses"] = []
    with pytest.raises(OpenAPIValidationError):
        validate(broken)


def test_an_application_without_endpoints() -> None:
    made = document()
    assert made["info"] == {"title": "Wireloom application", "version": "0.1.0"}
    assert (made["openapi"], made["paths"]) == ("3.1.0", {})
    assert document(title="Shop", version="2")["info"] == {"title": "Shop", "version": "2"}


def test_types_of_every_kind() -> None:
    order = Order.model_json_schema()
    made = document(
        rest("Say", "/walker/Say", "POST", message=schema(Say), response=schema(Tree)),
        rest("Order", "/walker/Order", "PUT", "PATCH", message=order, response=order),
        rest("Shape", "/walker/Shape", "POST", message=schema(Circle | Square), response={"type": "integer"}),
        rest("Any", "/walker/Any", "DELETE"),
    )
    assert body_of(made["paths"]["/walker/Say"]["post"]) == {"$ref": "#/components/schemas/Say"}
    reports = data_of(made["paths"]["/walker/Say"]["post"])["properties"]["reports"]
    assert reports == {"type": "array", "items": {"$ref": "#/components/schemas/Tree"}}
    mapping = body_of(made["paths"]["/walker/Shape"]["post"])["discriminator"]["mapping"]
    assert mapping["circle"] == "#/components/schemas/Circle"
    names = sorted(made["components"]["schemas"])
    assert names == ["Author", "Circle", "Error", "Mood", "Order", "Say", "Square", "Tree"]
    assert body_of(made["paths"]["/walker/Any"]["delete"]) == {}


def test_reports_that_refer_to_their_own_root() -> None:
    chain = {"type": "object", "properties": {"next": {"$ref": "#"}}}
    made = document(rest("Chain", "/chain", "POST", message=chain, response=chain))
    items = data_of(made["paths"]["/chain"]["post"])["properties"]["reports"]["items"]
    target = made["components"]["schemas"][items["$ref"].rpartition("/")[2]]
    assert target["properties"]["next"] == items


def test_a_parameter_of_the_path_is_not_in_the_body() -> None:
    made = document(
        rest("Visit", "/walker/Visit", "POST", message=schema(Visit)),
        rest("Visit", "/walker/Visit/{node_id}", "POST", message=schema(Visit)),
    )
    entry = made["paths"]["/walker/Visit/{node_id}"]["post"]
    assert entry["parameters"] == [{"name": "node_id", "in": "path", "required": True, "schema": {"type": "string"}}]
    assert set(body_of(entry)["properties"]) == {"step", "shapes"} and body_of(entry)["required"] == []
    assert entry["requestBody"]["required"] is False and "404" in entry["responses"]
    whole = made["paths"]["/walker/Visit"]["post"]
    assert whole["requestBody"]["required"] is True and "parameters" not in whole and "404" not in whole["responses"]


def test_the_fields_of_a_get_are_query_parameters() -> None:
    entry = document(rest("Visit", "/v/{node_id}", "GET", message=schema(Visit)))["paths"]["/v/{node_id}"]["get"]
    assert "requestBody" not in entry
    told = [(each["name"], each["in"], each["required"]) for each in entry["parameters"]]
    assert told == [("node_id", "path", True), ("step", "query", False), ("shapes", "query", False)]
    entry = document(rest("Visit", "/v", "GET", message=schema(Visit)))["paths"]["/v"]["get"]
    assert [each["name"] for each in entry["parameters"] if each["required"]] == ["node_id"]
    assert "parameters" not in document(rest("Any", "/any", "GET"))["paths"]["/any"]["get"]


def test_files_are_sent_as_a_form() -> None:
    upload = {
        "type": "object",
        "properties": {"file": {"type": "string", "format": "binary"}},
        "x-wireloom-multipart": True,
    }
    entry = document(rest("Upload", "/upload", "POST", message=upload))["paths"]["/upload"]["post"]
    assert sorted(entry["requestBody"]["content"]) == ["application/json", "multipart/form-data"]
    form = entry["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert form == {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}}


def test_a_message_without_fields_is_no_body() -> None:
    class Empty(msgspec.Struct):
        pass

    assert "requestBody" not in document(rest("E", "/e", "POST", message=schema(Empty)))["paths"]["/e"]["post"]


def test_who_needs_to_log_in() -> None:
    made = document(rest("A", "/a", "POST", authorize=handle), rest("B", "/b", "POST"))
    guarded, open_to_all = made["paths"]["/a"]["post"], made["paths"]["/b"]["post"]
    assert guarded["security"] == [{"bearer": []}] and {"401", "403"} <= set(guarded["responses"])
    assert "security" not in open_to_all and "401" not in open_to_all["responses"]
    assert made["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    assert "securitySchemes" not in document(rest("B", "/b", "POST"))["components"]


def test_every_refusal_says_its_codes() -> None:
    made = document(rest("A", "/a/{id}", "POST", authorize=handle))
    refusals = set(made["paths"]["/a/{id}"]["post"]["responses"]) - {"200"}
    assert refusals == {str(status) for status in HTTP_STATUSES.values()} - {"405"}
    assert made["components"]["responses"]["Error422"]["description"] == "VALIDATION_ERROR"
    assert made["components"]["responses"]["Error400"]["description"] == "INVALID_JSON or IDENTITY_TAKEN"


def test_names_of_operations_are_unique_and_do_not_change_with_the_order() -> None:
    endpoints = [
        rest("Visit", "/walker/Visit", "GET", "POST"),
        rest("Visit", "/walker/Visit/{node_id}", "GET", "POST"),
        rest("Visit", "/other", "GET"),
    ]
    made = document(*endpoints)
    names = [entry["operationId"] for item in made["paths"].values() for entry in item.values()]
    assert sorted(names) == [
        "get_Visit",
        "get_Visit2",
        "get_Visit_by_node_id",
        "post_Visit",
        "post_Visit_by_node_id",
    ]
    assert document(*reversed(endpoints)) == made


def test_definitions_of_one_name_stay_apart() -> None:
    def message(kind: str) -> dict[str, Any]:
        return {"$ref": "#/$defs/Same", "$defs": {"Same": {"properties": {"x": {"type": kind}}}}}

    made = document(
        rest("A", "/a", "POST", message=message("integer")), rest("B", "/b", "POST", message=message("string"))
    )
    kinds = [made["components"]["schemas"][name]["properties"]["x"]["type"] for name in ("Same", "Same2")]
    assert kinds == ["integer", "string"]
    assert body_of(made["paths"]["/b"]["post"]) == {"$ref": "#/components/schemas/Same2"}


def test_what_is_not_in_it() -> None:
    hook = Endpoint("Hook", "/hook", Door.WEBHOOK, rest("Hook", "/hook").codec, handle, methods=("POST",))
    made = document(hook, websocket("chat", "/chat"), action("Act"), rest("Hidden", "/hidden", "POST", hidden=True))
    assert made["paths"] == {}
    assert "x-wireloom-webhooks" not in document()


def test_webhooks_are_where_only_our_own_page_looks() -> None:
    codec = rest("Hook", "/hook", message=schema(Say)).codec
    hook = Endpoint("Hook", "/hook", Door.WEBHOOK, codec, handle, authorize=handle, methods=("POST",), tags=("hooks",))
    made = document(hook)
    entry = made["x-wireloom-webhooks"]["/hook"]["post"]
    assert (entry["operationId"], entry["security"]) == ("post_Hook", [{"api_key": []}])
    assert body_of(entry) == {"$ref": "#/components/schemas/Say"} and made["tags"] == [{"name": "hooks"}]
    assert "401" in entry["responses"] and "api_key" in made["components"]["securitySchemes"]
    validate(made)


def test_operations_beside_the_endpoints() -> None:
    add = Operation(
        "POST", "/add", "add", "Adds.", ("sums",), "api_key", schema(Say), status=201, response={"type": "integer"},
        errors=(401,),
    )  # fmt: skip
    made = document(rest("A", "/a", "POST", tags=("own",), summary="Own."), operations=(add,))
    entry = made["paths"]["/add"]["post"]
    assert (entry["operationId"], entry["summary"], entry["security"]) == ("add", "Adds.", [{"api_key": []}])
    assert data_of(entry, "201") == {"type": "integer"} and set(entry["responses"]) == {"201", "401"}
    assert [tag["name"] for tag in made["tags"]] == ["own", "sums"]
    assert made["paths"]["/a"]["post"]["summary"] == "Own."
    clash = document(rest("A", "/add", "POST"), operations=(add,))["paths"]["/add"]["post"]
    assert clash["operationId"] == "post_A"
