"""AsyncAPI documents: valid by the reference parser, and true to the endpoints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.declared import Circle, Order, Say, Square, Tree, action, handle, rest, schema, websocket

from wireloom.core.asyncapi import EVENT_SOCKET, Server, asyncapi
from wireloom.core.endpoint import Endpoint, Parameter
from wireloom.core.operation import Sources

Problems = Callable[[dict[str, Any]], list[str]]
RAW = {"type": "string", "contentMediaType": "application/octet-stream"}


def document(*endpoints: Endpoint, event_path: str | None = None, **more: Any) -> dict[str, Any]:
    return asyncapi(Sources(endpoints, (), event_path), **more)


def message(made: dict[str, Any], channel: str, name: str) -> Any:
    return made["channels"][channel]["messages"][name]


def names(made: dict[str, Any], operation: str) -> list[str]:
    return [each["$ref"].rpartition("/")[2] for each in made["operations"][operation]["messages"]]


def all_kinds() -> dict[str, Any]:
    same = {"$ref": "#/$defs/Say", "$defs": {"Say": {"type": "integer"}}}
    chain = {"type": "object", "properties": {"next": {"$ref": "#"}}}
    return document(
        websocket("events", "/websocket", schema(Circle | Square)),
        websocket("chat", "/chat/{room}/{seat}", schema(Say), schema(Tree), authorize=handle, tags=("talk",)),
        websocket("text", "/text", {"type": "string"}, json=False),
        websocket("bytes", "/bytes", RAW, json=False),
        websocket("either", "/either", {"anyOf": [{"type": "string"}, RAW]}, json=False),
        websocket("word", "/word", {"type": "object", "properties": {"word": {"type": "string"}}}, json=False),
        websocket("CountVisits", "/ws/CountVisits", Order.model_json_schema(), chain),
        websocket("same", "/same", same, same),
        websocket("anything", "/any"),
        action("Order", Order.model_json_schema(), chain, summary="Orders."),
        rest("Rest", "/rest", "POST"),
        event_path="/websocket",
    )


def test_the_parser_agrees(asyncapi_problems: Problems) -> None:
    assert asyncapi_problems(all_kinds()) == []
    assert asyncapi_problems(document()) == []


def test_the_parser_finds_faults(asyncapi_problems: Problems) -> None:
    made = all_kinds()
    made["channels"]["chat"]["messages"]["message"]["payload"] = {"$ref": "#/components/schemas/Nowhere"}
    assert asyncapi_problems(made) != []
    made = all_kinds()
    made["operations"]["receive_chat"]["action"] = "shout"
    assert asyncapi_problems(made) != []


def test_a_channel_says_where_and_what() -> None:
    made = all_kinds()
    chat = made["channels"]["chat"]
    assert (chat["address"], list(chat["parameters"])) == ("/chat/{room}/{seat}", ["room", "seat"])
    assert chat["bindings"] == {"ws": {"method": "GET"}} and chat["tags"] == [{"name": "talk"}]
    assert message(made, "chat", "message")["payload"] == {"$ref": "#/components/schemas/Say"}
    assert message(made, "chat", "reply")["payload"] == {"$ref": "#/components/schemas/Tree"}
    assert made["operations"]["receive_chat"]["action"] == "receive" and names(made, "receive_chat") == ["message"]
    assert made["operations"]["send_chat"]["action"] == "send" and names(made, "send_chat") == ["reply", "error"]
    assert message(made, "chat", "error")["examples"] == [{"name": "INVALID_JSON", "payload": {"error": "no"}}]
    assert sorted(made["channels"]) == [
        "CountVisits", "anything", "bytes", "chat", "either", "events", "same", "text", "word",
    ]  # fmt: skip


def test_a_channel_says_what_its_handshake_takes(asyncapi_problems: Problems) -> None:
    moods = {"$ref": "#/$defs/Mood", "$defs": {"Mood": {"enum": ["calm", "merry"]}}}
    made = document(
        websocket(
            "chat",
            "/chat/{room}/{seat}",
            parameters=(
                Parameter("seat", "path", {"type": "integer", "description": "Where."}),
                Parameter("mood", "query", moods),
                Parameter("most", "query", {"type": "integer", "default": 3}, required=False),
            ),
            subprotocols=("v1", "wireloom.bearer"),
        ),
        websocket("plain", "/plain"),
        websocket("kind", "/{kind}", parameters=(Parameter("kind", "path", {"enum": ["a", "b"]}),)),
    )
    chat, kind = made["channels"]["chat"], made["channels"]["kind"]
    assert chat["parameters"] == {
        "room": {"description": "The segment room of the path."},
        "seat": {"description": "Where.", "x-wireloom-schema": {"type": "integer", "description": "Where."}},
    }
    assert kind["parameters"]["kind"]["enum"] == ["a", "b"]
    assert chat["bindings"]["ws"] == {
        "method": "GET",
        "query": {
            "type": "object",
            "properties": {
                "mood": {"$ref": "#/components/schemas/Mood"},
                "most": {"type": "integer", "default": 3},
            },
            "required": ["mood"],
        },
        "headers": {
            "type": "object",
            "properties": {"Sec-WebSocket-Protocol": {"type": "string", "enum": ["v1", "wireloom.bearer"]}},
        },
    }
    assert made["channels"]["plain"]["bindings"]["ws"] == {"method": "GET"}
    assert asyncapi_problems(made) == []


def test_a_call_without_its_context_is_wrong_where_the_context_needs_something() -> None:
    needy = message(
        document(websocket("events", "/e"), action("A", schema(Say)), event_path="/e"), "events", "walker.A"
    )
    modest = message(document(websocket("events", "/e"), action("B"), event_path="/e"), "events", "walker.B")
    assert needy["payload"]["required"] == ["type", "walker", "context"]
    assert modest["payload"]["required"] == ["type", "walker"]


def test_a_channel_says_whether_messages_are_answered_and_which_is_the_event_socket() -> None:
    made = all_kinds()
    assert "reply" not in made["operations"]["receive_chat"]
    assert [name for name, channel in made["channels"].items() if EVENT_SOCKET in channel] == ["events"]
    made = document(websocket("a", "/a", {}, {}, answers=True))
    assert made["operations"]["receive_a"]["reply"] == {
        "channel": {"$ref": "#/channels/a"},
        "messages": made["operations"]["send_a"]["messages"],
    }


def test_schemas_are_in_draft_7_and_apart_by_name() -> None:
    schemas = all_kinds()["components"]["schemas"]
    assert schemas["Say"]["properties"]["pair"]["items"] == [{"type": "integer"}, {"type": "string"}]
    assert schemas["Say2"] == {"type": "integer"}


def test_who_needs_to_log_in() -> None:
    made = all_kinds()
    bearer = [{"$ref": "#/components/securitySchemes/bearer"}]
    assert made["operations"]["receive_chat"]["security"] == made["operations"]["send_chat"]["security"] == bearer
    assert "security" not in made["operations"]["receive_text"]
    assert "securitySchemes" not in document(websocket("a", "/a"))["components"]


def test_payloads_that_go_through_as_they_are() -> None:
    made = all_kinds()
    kinds = {
        channel: [each["contentType"] for key, each in made["channels"][channel]["messages"].items() if "mess" in key]
        for channel in ("text", "bytes", "either", "word", "chat")
    }
    assert kinds == {
        "text": ["text/plain"],
        "bytes": ["application/octet-stream"],
        "either": ["text/plain", "application/octet-stream"],
        "word": ["application/json"],
        "chat": ["application/json"],
    }
    assert names(made, "send_text")[:2] == ["text_reply", "binary_reply"]


def test_a_tagged_union_is_a_message_for_each_tag() -> None:
    made = all_kinds()
    assert names(made, "receive_events")[:2] == ["circle", "square"]
    assert message(made, "events", "circle")["payload"] == {"$ref": "#/components/schemas/Circle"}
    assert message(made, "events", "circle")["summary"] == "A circle by its radius."


def test_named_events_are_messages_of_the_event_socket() -> None:
    made = all_kinds()
    call = message(made, "events", "walker.Order")
    assert call["summary"] == "Orders."
    assert call["payload"]["properties"]["walker"] == {"const": "Order"}
    assert call["payload"]["properties"]["context"] == {"$ref": "#/components/schemas/Order"}
    reports = message(made, "events", "walker.Order.reports")["payload"]["properties"]["reports"]
    target = made["components"]["schemas"][reports["items"]["$ref"].rpartition("/")[2]]
    assert target["properties"]["next"] == reports["items"]
    assert "walker.Order" in names(made, "receive_events") and "data" in names(made, "send_events")
    assert "walker.Order" not in names(made, "receive_chat") and "data" not in names(made, "send_chat")


def test_where_it_is_reached() -> None:
    assert document()["servers"] == {"default": {"host": "127.0.0.1:8000", "protocol": "ws"}}
    made = document(server=Server("example.com", True, "/rt"), title="Shop", version="2")
    assert made["servers"] == {"default": {"host": "example.com", "protocol": "wss", "pathname": "/rt"}}
    assert made["info"] == {"title": "Shop", "version": "2"}


@pytest.mark.parametrize("name", ["chat", "a chat/with: names"])
def test_endpoints_of_one_name_and_hidden_ones(name: str, asyncapi_problems: Problems) -> None:
    ends = [websocket(name, "/b"), websocket(name, "/a"), websocket("hidden", "/h", hidden=True)]
    made = document(*ends)
    assert [channel["address"] for channel in made["channels"].values()] == ["/a", "/b"]
    assert document(*reversed(ends)) == made
    assert asyncapi_problems(made) == []
