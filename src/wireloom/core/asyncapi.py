"""AsyncAPI: the document of an application's WebSocket endpoints (AsyncAPI 3.0.0).

Laws:
- It is a pure function of its sources; the same declarations give the same text, in whatever order they were made.
- ``receive`` is what clients send and the application receives, ``send`` what it sends them; a ``reply`` says that each
  message is answered by one, in their order.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from wireloom.core.components import Components, component_name, draft_7, embeddable, object_of, plain_document, unique
from wireloom.core.endpoint import Door, Endpoint
from wireloom.core.openapi import TITLE, VERSION
from wireloom.core.operation import Sources
from wireloom.core.router import parameter_names
from wireloom.errors import RequestError

__all__ = ["EVENT_SOCKET", "Server", "asyncapi"]

EVENT_SOCKET = "x-wireloom-event-socket"
"""The mark of the channel that is the event socket."""

_TEXT, _BINARY, _JSON = "text/plain", "application/octet-stream", "application/json"
_BEARER = {"type": "http", "scheme": "bearer", "description": "The token that logging in gives."}
_ANYTHING = {"description": "any JSON value"}
_BAD_MESSAGES: tuple[str | bytes, ...] = ("{", b"{")  # no JSON, and a text or binary frame


@dataclass(frozen=True, slots=True)
class Server:
    """Where the application is reached.

    Args:
        host: with the port.
        secure: it speaks TLS.
        pathname: below which it is mounted; empty: it is not.
    """

    host: str = "127.0.0.1:8000"
    secure: bool = False
    pathname: str = ""

    def describe(self) -> dict[str, Any]:
        """The document's server object."""
        entry: dict[str, Any] = {"host": self.host, "protocol": "wss" if self.secure else "ws"}
        if self.pathname:
            entry["pathname"] = self.pathname
        return entry


@dataclass(frozen=True, slots=True)
class _Message:
    """One kind of message of a channel."""

    name: str
    payload: Any
    content_type: str = _JSON
    summary: str = ""
    examples: tuple[dict[str, Any], ...] = ()


def asyncapi(
    sources: Sources, server: Server = Server(), *, title: str = TITLE, version: str = VERSION
) -> dict[str, Any]:
    """The document of the WebSocket endpoints, with the named events of the event socket.

    Args:
        sources: what it is made from.
        server: where the application is reached.
        title: of the application.
        version: of the application.
    """
    builder = _Builder()
    for endpoint in sources.behind(Door.WEBSOCKET):
        actions = sources.behind(Door.EVENT) if endpoint.path == sources.event_path else []
        builder.add(endpoint, actions, published=endpoint.path == sources.event_path)
    components: dict[str, Any] = {"schemas": dict(sorted(builder.components.schemas.items()))}
    if builder.guarded:
        components["securitySchemes"] = {"bearer": _BEARER}
    made = {
        "asyncapi": "3.0.0",
        "info": {"title": title, "version": version},
        "defaultContentType": _JSON,
        "servers": {"default": server.describe()},
        "channels": builder.channels,
        "operations": builder.operations,
        "components": components,
    }
    return plain_document(made)


class _Builder:
    """One document while it is made."""

    def __init__(self) -> None:
        self.channels: dict[str, Any] = {}
        self.operations: dict[str, Any] = {}
        self.components = Components(draft_7)
        self.guarded = False

    def add(self, endpoint: Endpoint, actions: list[Endpoint], *, published: bool) -> None:
        """Adds an endpoint's channel and its two operations.

        Args:
            actions: what clients call by name on this channel.
            published: clients get publications on it.
        """
        name = unique(component_name(endpoint.name), self.channels)
        messages: dict[str, Any] = {}
        received = [self._message(each, name, messages) for each in _received(endpoint, actions)]
        sent = [self._message(each, name, messages) for each in _sent(endpoint, actions, published=published)]
        self.channels[name] = self._channel(endpoint, messages, name)
        security: dict[str, Any] = {}
        if endpoint.needs_login:
            self.guarded = True
            security = {"security": [{"$ref": "#/components/securitySchemes/bearer"}]}
        channel = {"$ref": f"#/channels/{name}"}
        summary = {"summary": endpoint.summary} if endpoint.summary else {}
        for action, references in (("receive", received), ("send", sent)):
            entry = {"action": action, "channel": channel, **summary, **security, "messages": references}
            self.operations[f"{action}_{name}"] = entry
        if endpoint.answers:
            self.operations[f"receive_{name}"]["reply"] = {"channel": channel, "messages": sent}
        if published:
            self.channels[name][EVENT_SOCKET] = True

    def _channel(self, endpoint: Endpoint, messages: dict[str, Any], name: str) -> dict[str, Any]:
        channel: dict[str, Any] = {"address": endpoint.path, "title": endpoint.name}
        if endpoint.summary:
            channel["summary"] = endpoint.summary
        names = parameter_names(endpoint.path, endpoint.source)
        if names:
            typed = {each.name: each.schema for each in endpoint.parameters if each.place == "path"}
            channel["parameters"] = {each: self._path_parameter(each, typed.get(each)) for each in names}
        if endpoint.tags:
            channel["tags"] = [{"name": tag} for tag in endpoint.tags]
        return {**channel, "messages": messages, "bindings": {"ws": self._binding(endpoint)}}

    def _path_parameter(self, name: str, schema: dict[str, Any] | None) -> dict[str, Any]:
        """A parameter of the address. AsyncAPI knows texts only, so its type stands in an extension."""
        told: dict[str, Any] = {"description": f"The segment {name} of the path."}
        if schema is None:
            return told
        if "description" in schema:
            told["description"] = schema["description"]
        if all(isinstance(each, str) for each in schema.get("enum", [None])):
            told["enum"] = schema["enum"]
        return {**told, "x-wireloom-schema": self.components.place(schema, name)}

    def _binding(self, endpoint: Endpoint) -> dict[str, Any]:
        """What the handshake takes besides the path (WebSockets binding 0.1.0)."""
        binding: dict[str, Any] = {"method": "GET"}
        asked = [each for each in endpoint.parameters if each.place == "query"]
        if asked:
            query = {each.name: self.components.place(each.schema, each.name) for each in asked}
            required = [each.name for each in asked if each.required]
            binding["query"] = {"type": "object", "properties": query, **({"required": required} if required else {})}
        if endpoint.subprotocols:
            spoken = {"type": "string", "enum": list(endpoint.subprotocols)}
            binding["headers"] = {"type": "object", "properties": {"Sec-WebSocket-Protocol": spoken}}
        return binding

    def _message(self, message: _Message, channel: str, messages: dict[str, Any]) -> dict[str, str]:
        """Adds a message to its channel; gives the reference to it."""
        key = unique(component_name(message.name), messages)
        entry: dict[str, Any] = {"name": message.name, "contentType": message.content_type}
        if message.summary:
            entry["summary"] = message.summary
        entry["payload"] = self.components.place(message.payload, f"{channel}_{key}")
        if message.examples:
            entry["examples"] = list(message.examples)
        messages[key] = entry
        return {"$ref": f"#/channels/{channel}/messages/{key}"}


def _received(endpoint: Endpoint, actions: list[Endpoint]) -> Iterator[_Message]:
    """What clients send."""
    codec = endpoint.codec
    schema = codec.message_schema
    if not codec.json:
        yield from _raw_messages("message", schema or {})
    elif schema is None:
        yield _Message("message", _ANYTHING)
    else:
        yield from _arms(schema, "message")
    for action in actions:
        yield _Message(f"walker.{action.name}", _call_of(action), summary=action.summary)


def _sent(endpoint: Endpoint, actions: list[Endpoint], *, published: bool) -> Iterator[_Message]:
    """What clients get."""
    codec = endpoint.codec
    if not codec.json:
        yield _Message("text reply", {"type": "string"}, _TEXT)
        yield _Message("binary reply", {"type": "string", "contentMediaType": _BINARY}, _BINARY)
    elif codec.response_schema is None:
        yield _Message("reply", _ANYTHING)
    else:
        yield from _arms(codec.response_schema, "reply")
    for action in actions:
        yield _Message(f"walker.{action.name}.reports", _reports_of(action))
    if published:
        yield _Message("data", _ANYTHING, summary="What was published for its user, its channels or itself.")
    examples = tuple(_examples(endpoint))
    if examples:
        yield _Message("error", {"type": "object"}, summary="What was sent could not be handled.", examples=examples)


def _raw_messages(name: str, schema: dict[str, Any]) -> Iterator[_Message]:
    """Payloads that go through as they are: text, bytes, or either."""
    arms = schema.get("anyOf", [schema])
    for arm in arms:
        kind = _BINARY if arm.get("contentMediaType") == _BINARY else _JSON if _is_json(arm) else _TEXT
        prefix = "" if len(arms) == 1 else "binary " if kind == _BINARY else "text "
        yield _Message(prefix + name, arm, kind)


def _is_json(schema: dict[str, Any]) -> bool:
    """Whether a payload that goes through as it is must be JSON all the same, as routes have it."""
    return bool(schema) and schema.get("type") != "string"


def _arms(schema: dict[str, Any], name: str) -> Iterator[_Message]:
    """The members of a tagged union by their tags; else the one message."""
    mapping = schema.get("discriminator", {}).get("mapping")
    if not mapping:
        yield _Message(name, schema)
        return
    definitions = schema.get("$defs", {})
    for tag, reference in mapping.items():
        described = definitions.get(reference.rpartition("/")[2], {})
        yield _Message(tag, {"$ref": reference, "$defs": definitions}, summary=described.get("description", ""))


def _call_of(action: Endpoint) -> dict[str, Any]:
    """The event that calls a named action."""
    context, definitions = embeddable(action.codec.message_schema or {"type": "object"}, f"{action.name}_context")
    properties = {
        "type": {"const": "walker"},
        "walker": {"const": action.name},
        "context": context,
        "response": {"type": "boolean", "default": False, "description": "Whether its reports are sent back."},
        "id": {"type": ["string", "integer", "null"], "default": None, "description": "Repeated in the answer."},
    }
    needs_context = (object_of(context, definitions) or {}).get("required")
    required = ["type", "walker", *(["context"] if needs_context else [])]
    return {"type": "object", "required": required, "properties": properties, "$defs": definitions}


def _reports_of(action: Endpoint) -> dict[str, Any]:
    """The answer to the event that calls a named action."""
    report, definitions = embeddable(action.codec.response_schema or {}, f"{action.name}_report")
    properties = {
        "status": {"const": 200},
        "reports": {"type": "array", "items": report},
        "id": {"type": ["string", "integer"]},
    }
    return {"type": "object", "required": ["status", "reports"], "properties": properties, "$defs": definitions}


def _examples(endpoint: Endpoint) -> Iterator[dict[str, Any]]:
    """Errors in the words of the endpoint's own face."""
    seen = []
    for bad in _BAD_MESSAGES:
        try:
            endpoint.codec.decode(bad)
        except RequestError as error:
            payload = json.loads(endpoint.codec.encode_error(error))
            if isinstance(payload, dict) and payload not in seen:
                seen.append(payload)
                yield {"name": error.code, "payload": payload}
