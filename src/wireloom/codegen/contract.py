"""The contract: what clients may do with an application, read from its two documents.

Law: it is all in the documents. Whoever has them, from a file, a server or an App, gets the same client.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from wireloom.codegen.names import Names, type_name
from wireloom.codegen.schema import Schemas, comment_of
from wireloom.codegen.types import (
    STRING,
    UNKNOWN,
    Constant,
    Field,
    Items,
    Mapped,
    Members,
    Named,
    Plain,
    Tuple,
    Type,
    Union,
    named_within,
    union_of,
)
from wireloom.errors import ConfigError

__all__ = ["BEARER", "Action", "Contract", "Operation", "Parameter", "Socket", "TypeDefinition", "read_contract"]

BEARER = "wireloom.bearer"
_EVENT_SOCKET = "x-wireloom-event-socket"
_JSON, _FORM, _BINARY = "application/json", "multipart/form-data", "application/octet-stream"
_METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
_CALL = "walker."
_REPORTS = ".reports"
_PARAMETER = re.compile(r"\{([^/{}]+)\}")

ErrorShape: TypeAlias = Literal["typed", "walker", "none"]
"""How an endpoint tells errors: ``{"error", "code"?}``, ``{"ok": false, "error": {…}}``, or not apart from messages."""


@dataclass(frozen=True, slots=True)
class TypeDefinition:
    """A type with a name."""

    name: str
    type: Type
    comment: str


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a path or a query."""

    name: str
    type: Type
    required: bool
    in_path: bool
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Socket:
    """A WebSocket endpoint.

    Args:
        name: of the channel.
        json: messages are JSON; else text or bytes as they are.
        sent: what a client sends.
        received: what it gets, errors aside.
        answers: each message is answered by one, in their order.
        any_query: it does not say which query parameters it takes.
        protocols: the subprotocols that it speaks.
    """

    name: str
    path: str
    comment: str
    parameters: tuple[Parameter, ...]
    json: bool
    sent: Type
    received: Type
    answers: bool
    any_query: bool
    protocols: tuple[str, ...]
    errors: ErrorShape


@dataclass(frozen=True, slots=True)
class Action:
    """What is called by name over the event socket."""

    name: str
    comment: str
    context: Type
    context_required: bool
    report: Type


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path, by HTTP.

    Args:
        body: None: it takes none.
        is_form: the body may hold files.
        enveloped: the answer is in the REST envelope; `answer` is its data.
        auth: the security scheme; empty where anybody may.
    """

    name: str
    method: str
    path: str
    comment: str
    parameters: tuple[Parameter, ...]
    body: Type | None
    body_required: bool
    is_form: bool
    enveloped: bool
    answer: Type
    auth: str

    @property
    def any_query(self) -> bool:
        """It does not say which query parameters it takes."""
        return not self.enveloped and all(each.in_path for each in self.parameters)


@dataclass(frozen=True, slots=True)
class Contract:
    """All that a client is written from.

    Args:
        event_path: where the event socket is; None: there is none.
    """

    types: tuple[TypeDefinition, ...] = ()
    sockets: tuple[Socket, ...] = ()
    operations: tuple[Operation, ...] = ()
    actions: tuple[Action, ...] = ()
    event_path: str | None = None

    def members(self, type_: Type) -> Members | None:
        """The object that a type is, itself or by its name."""
        by_name = {each.name: each.type for each in self.types}
        seen: set[str] = set()
        while isinstance(type_, Named) and type_.name not in seen:
            seen.add(type_.name)
            type_ = by_name.get(type_.name, UNKNOWN)
        return type_ if isinstance(type_, Members) else None


def read_contract(openapi: Any, asyncapi: Any, reserved: frozenset[str] = frozenset()) -> Contract:
    """The contract of an application.

    Args:
        openapi: its OpenAPI document.
        asyncapi: its AsyncAPI document.
        reserved: names that no type may have, for the language has them.

    Raises:
        ConfigError: these are no such documents.
    """
    if not isinstance(openapi, Mapping) or not isinstance(openapi.get("paths"), Mapping):
        raise ConfigError("this is no OpenAPI document: it has no object of `paths`")
    if not isinstance(asyncapi, Mapping) or not isinstance(asyncapi.get("channels"), Mapping):
        raise ConfigError("this is no AsyncAPI document: it has no object of `channels`")
    definitions = _Definitions(reserved)
    sockets = _SocketReader(asyncapi, definitions)
    operations = tuple(_operations(openapi, definitions))
    return Contract(definitions.all(), tuple(sockets.sockets), operations, tuple(sockets.actions), sockets.event_path)


# -- names of types, across documents ---------------------------------------------------------------------------------


class _Definitions:
    """The named types of all documents. Those of one name in two are one where all that they lead to is the same."""

    def __init__(self, reserved: frozenset[str]) -> None:
        self._names = Names(reserved)
        self._by_content: dict[str, str] = {}
        self._found: dict[str, TypeDefinition] = {}

    def all(self) -> tuple[TypeDefinition, ...]:
        """All of them, sorted by name."""
        return tuple(self._found[name] for name in sorted(self._found))

    def place(self, schemas: Schemas, type_: Type) -> Type:
        """A type as the client knows it; what it mentions is defined from now on."""
        names = {name: self._define(schemas, name) for name in dict.fromkeys(named_within(type_))}
        return _renamed(type_, names)

    def _define(self, schemas: Schemas, name: str) -> str:
        reached = _reached(schemas, name)
        content = json.dumps([name, {each: repr(schemas.definition(each).type) for each in sorted(reached)}])
        known = self._by_content.get(content)
        if known is not None:
            return known
        chosen = self._by_content[content] = self._names.take(type_name(name))
        found = schemas.definition(name)
        self._found[chosen] = TypeDefinition(chosen, self.place(schemas, found.type), found.comment)
        return chosen


def _reached(schemas: Schemas, name: str) -> set[str]:
    reached: set[str] = set()
    ahead = [name]
    while ahead:
        one = ahead.pop()
        if one not in reached:
            reached.add(one)
            ahead.extend(named_within(schemas.definition(one).type))
    return reached


def _renamed(type_: Type, names: Mapping[str, str]) -> Type:
    match type_:
        case Named(name):
            return Named(names[name])
        case Items(item):
            return Items(_renamed(item, names))
        case Tuple(items, required, rest):
            rest = None if rest is None else _renamed(rest, names)
            return Tuple(tuple(_renamed(item, names) for item in items), required, rest)
        case Mapped(value):
            return Mapped(_renamed(value, names))
        case Members(fields, is_open):
            renamed = (Field(each.name, _renamed(each.type, names), each.required, each.comment) for each in fields)
            return Members(tuple(renamed), is_open)
        case Union(arms):
            return union_of(_renamed(arm, names) for arm in arms)
        case _:
            return type_


# -- AsyncAPI ---------------------------------------------------------------------------------------------------------


class _SocketReader:
    """The endpoints and named events of one AsyncAPI document."""

    def __init__(self, document: Mapping[str, Any], definitions: _Definitions) -> None:
        self._schemas = Schemas(document)
        self._definitions = definitions
        self._operations: Mapping[str, Any] = document.get("operations") or {}
        self.sockets: list[Socket] = []
        self.actions: list[Action] = []
        self.event_path: str | None = None
        for name, channel in document["channels"].items():
            if channel.get(_EVENT_SOCKET) is True:
                self.event_path = str(channel.get("address"))
                self.actions = list(self._actions(name))
            else:
                self.sockets.append(self._socket(name, channel))

    def _socket(self, name: str, channel: Mapping[str, Any]) -> Socket:
        receive = _object(self._operations.get(f"receive_{name}"))
        messages = self._messages(receive)
        is_json = any(each.get("contentType") == _JSON for each in messages)
        received = self._union(self._messages(_object(self._operations.get(f"send_{name}"))))
        path, binding = str(channel.get("address")), _object(_object(channel.get("bindings")).get("ws"))
        shape = self._error_shape(received) if is_json else "typed"
        return Socket(
            name=name,
            path=path,
            comment=str(channel.get("summary", "")),
            parameters=tuple(self._parameters(path, binding)),
            json=is_json,
            sent=self._place(self._union(messages)),
            received=self._place(self._without_failures(received) if shape == "walker" else received),
            answers="reply" in receive,
            any_query="query" not in binding,
            protocols=_protocols(binding),
            errors=shape,
        )

    def _messages(self, operation: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """The messages of an operation; errors are told of apart."""
        found = (self._schemas.resolve(_object(each).get("$ref")) for each in operation.get("messages", ()))
        return [each for each in found if isinstance(each, Mapping) and each.get("name") != "error"]

    def _union(self, messages: list[Mapping[str, Any]]) -> Type:
        return union_of(map(self._payload, messages)) if messages else UNKNOWN

    def _payload(self, message: Mapping[str, Any]) -> Type:
        if message.get("contentType") == _JSON:
            return self._schemas.read(message.get("payload"))
        return Plain("bytes") if message.get("contentType") == _BINARY else STRING

    def _place(self, type_: Type) -> Type:
        return self._definitions.place(self._schemas, type_)

    def _parameters(self, path: str, binding: Mapping[str, Any]) -> Iterator[Parameter]:
        for name in _PARAMETER.findall(path):
            yield Parameter(name, STRING, required=True, in_path=True)
        query = self._head(self._schemas.read(binding.get("query")))
        for each in query.fields if isinstance(query, Members) else ():
            yield Parameter(each.name, self._place(each.type), each.required, False, each.comment)

    def _error_shape(self, received: Type) -> ErrorShape:
        arms = [self._head(arm) for arm in (received.arms if isinstance(received, Union) else (received,))]
        if any(_is_failure(arm) for arm in arms):
            return "walker"
        names = {each.name for arm in arms if isinstance(arm, Members) for each in arm.fields}
        return "none" if "error" in names else "typed"

    def _without_failures(self, received: Type) -> Type:
        arms = received.arms if isinstance(received, Union) else (received,)
        return union_of(arm for arm in arms if not _is_failure(self._head(arm)))

    def _head(self, type_: Type) -> Type:
        seen: set[str] = set()
        while isinstance(type_, Named) and type_.name not in seen:
            seen.add(type_.name)
            type_ = self._schemas.definition(type_.name).type
        return type_

    def _actions(self, name: str) -> Iterator[Action]:
        called = self._messages(_object(self._operations.get(f"receive_{name}")))
        answers = {each["name"]: each for each in self._messages(_object(self._operations.get(f"send_{name}")))}
        for message in called:
            if not str(message["name"]).startswith(_CALL):
                continue
            payload = _properties(message)
            context = self._schemas.read(payload.get("context"))
            reports = _object(_properties(answers.get(message["name"] + _REPORTS, {})).get("reports"))
            head = self._head(context)
            yield Action(
                name=message["name"].removeprefix(_CALL),
                comment=str(message.get("summary", "")),
                context=self._place(context),
                context_required=isinstance(head, Members) and any(each.required for each in head.fields),
                report=self._place(self._schemas.read(reports.get("items"))),
            )


def _properties(message: Mapping[str, Any]) -> Mapping[str, Any]:
    return _object(_object(message.get("payload")).get("properties"))


def _protocols(binding: Mapping[str, Any]) -> tuple[str, ...]:
    """The subprotocols that an endpoint speaks."""
    header = _object(_object(_object(binding.get("headers")).get("properties")).get("Sec-WebSocket-Protocol"))
    listed = header.get("enum")
    return tuple(map(str, listed)) if isinstance(listed, list) else ()


def _is_failure(type_: Type) -> bool:
    """Whether this is how a walker tells an error."""
    if not isinstance(type_, Members):
        return False
    return any(each.name == "ok" and each.type == Constant(False) for each in type_.fields)


# -- OpenAPI ----------------------------------------------------------------------------------------------------------


def _operations(document: Mapping[str, Any], definitions: _Definitions) -> Iterator[Operation]:
    schemas = Schemas(document)
    for path, item in document["paths"].items():
        for method in _METHODS:
            if isinstance(item, Mapping) and method in item:
                yield _operation(schemas, definitions, path, method, item[method])


def _operation(
    schemas: Schemas, definitions: _Definitions, path: str, method: str, entry: Mapping[str, Any]
) -> Operation:
    body = _object(entry.get("requestBody"))
    content = _object(body.get("content"))
    is_form = _FORM in content
    answer, enveloped = _answer(schemas, _object(entry.get("responses")))
    security = entry.get("security") or [{}]
    has_body = _JSON in content or is_form
    return Operation(
        name=str(entry.get("operationId") or f"{method} {path}"),
        method=method.upper(),
        path=path,
        comment=str(entry.get("summary", "")),
        parameters=tuple(_parameters(schemas, definitions, entry.get("parameters") or ())),
        body=definitions.place(schemas, schemas.read(_schema_of(content))) if has_body else None,
        body_required=body.get("required") is True,
        is_form=is_form,
        enveloped=enveloped,
        answer=definitions.place(schemas, answer),
        auth=next(iter(security[0]), ""),
    )


def _parameters(schemas: Schemas, definitions: _Definitions, entries: Any) -> Iterator[Parameter]:
    for entry in entries:
        if entry.get("in") in ("path", "query"):
            type_ = definitions.place(schemas, schemas.read(entry.get("schema")))
            in_path = entry["in"] == "path"
            comment = str(entry.get("description") or comment_of(entry.get("schema")))
            yield Parameter(str(entry["name"]), type_, in_path or entry.get("required") is True, in_path, comment)


def _answer(schemas: Schemas, responses: Mapping[str, Any]) -> tuple[Type, bool]:
    """The data of an answer that goes well, and whether it is in the envelope."""
    good = next((each for status, each in responses.items() if str(status).startswith("2")), None)
    envelope = schemas.read(_schema_of(_object(_object(good).get("content"))))
    fields = {each.name: each.type for each in envelope.fields} if isinstance(envelope, Members) else {}
    if fields.get("ok") == Constant(True) and "data" in fields:
        return fields["data"], True
    return envelope, False


def _schema_of(content: Mapping[str, Any]) -> Any:
    return _object(content.get(_JSON) or content.get(_FORM)).get("schema")


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
