"""TypeScript: a contract → one file without dependencies. What all clients share, ``client/``, comes first."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.resources import files
from textwrap import indent
from typing import Any

from wireloom.codegen.contract import Action, Contract, Operation, Parameter, Socket, read_contract
from wireloom.codegen.layout import listed, one_line
from wireloom.codegen.names import Names, camel_case, identifier
from wireloom.codegen.types import (
    STRING,
    Constant,
    Items,
    Mapped,
    Members,
    Named,
    Plain,
    Tuple,
    Type,
    Union,
)

__all__ = ["write_typescript"]

_PLAIN = {
    "unknown": "unknown",
    "never": "never",
    "null": "null",
    "boolean": "boolean",
    "integer": "number",
    "number": "number",
    "string": "string",
    "bytes": "Uint8Array",
    "file": "Blob",
}
_OWN_TYPES = {
    "Client",
    "Events",
    "Rest",
    "Array",
    "Object",
    "Function",
    "Symbol",
    "Partial",
    "Readonly",
    "Date",
    "Error",
}
_OF_OBJECTS = {
    *("constructor", "prototype", "then", "toString", "toLocaleString", "valueOf", "hasOwnProperty", "isPrototypeOf"),
    *("propertyIsEnumerable", "__proto__"),
}
_OF_CLIENTS = {*_OF_OBJECTS, "close", "events", "http", "keep", "rest", "settings", "sockets"}
_PARTS = ("options", "lasting", "inbox", "connection", "events", "http", "client")
_PUBLIC = {
    *("Token", "State", "Query", "ClientOptions", "RequestError", "ConnectionClosed", "RequestTimeout", "QueueFull"),
    *("Connection", "AnsweringConnection", "EventSocket", "Whereabouts"),
}
_IMPORT = re.compile(r'^import \{[^}]*\} from "\./\w+\.js";\n+', re.MULTILINE)
_EXPORT = re.compile(r"^export ((?:abstract |async )?(?:class|interface|type|function|const) (\w+))", re.MULTILINE)
_QUERY = "query: Query = {}"
_IDENTIFIER = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*\Z")


def write_typescript(openapi: Any, asyncapi: Any, head: Iterable[str] = ()) -> str:
    """The client of an application, as one TypeScript module.

    Args:
        openapi: its OpenAPI document.
        asyncapi: its AsyncAPI document.
        head: lines of the comment that the file begins with.

    Raises:
        ConfigError: these are no such documents.
    """
    contract = read_contract(openapi, asyncapi, _reserved())
    parts = [
        "\n".join(f"// {_one_line(line)}".rstrip() for line in head),
        _runtime().rstrip(),
        *_types(contract),
        *_rest(contract),
        *_events(contract),
        _client(contract),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


@cache
def _runtime() -> str:
    """The parts as one: without what they import of each other, and only what applications need is exported."""
    folder = files("wireloom").joinpath("codegen", "client")
    whole = "\n".join(folder.joinpath(f"{part}.ts").read_text("utf-8") for part in _PARTS)
    return _EXPORT.sub(lambda found: found[0] if found[2] in _PUBLIC else found[1], _IMPORT.sub("", whole))


@cache
def _reserved() -> frozenset[str]:
    """What no type may be called: all that the first part has, or takes from the platform."""
    code = re.sub(r"/\*.*?\*/|//[^\n]*|\"[^\"\n]*\"", "", _runtime(), flags=re.DOTALL)
    return frozenset(_OWN_TYPES | set(re.findall(r"\b[A-Z]\w*", code)))


# -- types ------------------------------------------------------------------------------------------------------------


def _types(contract: Contract) -> Iterator[str]:
    if contract.types:
        yield _title("what goes to and fro")
    for each in contract.types:
        yield f"{_comment(each.comment)}export type {each.name} = {_type(each.type, spread=True)};"


def _type(type_: Type, *, spread: bool = False) -> str:
    """A type as it is written.

    Args:
        spread: an object takes a line for each member.
    """
    match type_:
        case Plain(name):
            return _PLAIN[name]
        case Constant(value):
            return json.dumps(value)
        case Named(name):
            return name
        case Items(item):
            return f"Array<{_type(item)}>"
        case Tuple(items, required, rest):
            written = [_type(item) if index < required else f"({_type(item)})?" for index, item in enumerate(items)]
            if rest is not None:
                written.append(f"...({_type(rest)})[]")  # as Array<…> it could not mention what it is part of
            return f"[{', '.join(written)}]"
        case Mapped(value):
            return f"{{ [key: string]: {_type(value)} }}"
        case Union(arms):
            return " | ".join(_type(arm) for arm in arms)
        case Members():
            return _object(type_, spread=spread)


def _object(members: Members, *, spread: bool) -> str:
    if not members.fields:
        return "Record<string, never>"
    written = [
        (_comment(each.comment) if spread else "")
        + f"{_property(each.name)}{'' if each.required else '?'}: {_type(each.type)}"
        for each in members.fields
    ]
    if members.is_open:
        written.append("[key: string]: unknown")
    if spread:
        return "{\n" + "".join(indent(f"{each};", "  ") + "\n" for each in written) + "}"
    return f"{{ {'; '.join(written)} }}"


def _property(name: str) -> str:
    return name if _IDENTIFIER.match(name) else json.dumps(name)


def _comment(text: str, *further: str) -> str:
    """A comment for editors, with the line's end; empty where there is nothing to say."""
    lines = [_one_line(line) for line in (*text.splitlines(), *further) if line.strip()]
    if not lines:
        return ""
    if len(lines) == 1:
        return f"/** {lines[0]} */\n"
    return "/**\n" + "".join(f" * {line}\n" for line in lines) + " */\n"


def _one_line(text: str) -> str:
    return one_line(text).replace("*/", "*\\/")


def _title(text: str) -> str:
    return f"// -- {text} ".ljust(120, "-")


# -- HTTP -------------------------------------------------------------------------------------------------------------


def _rest(contract: Contract) -> Iterator[str]:
    if not contract.operations:
        return
    yield _title("by HTTP")
    names = Names(_OF_OBJECTS)
    methods = [_operation(each, names.take(camel_case(each.name)), contract) for each in contract.operations]
    body = "\n".join(["constructor(private readonly http: HTTP) {}\n", *methods])
    yield f"/** The endpoints of HTTP. Each rejects with `RequestError`. */\nexport class Rest {{\n{_within(body)}\n}}"


def _operation(operation: Operation, name: str, contract: Contract) -> str:
    arguments, how, passed = _arguments(operation, contract)
    if operation.any_query:
        arguments = ", ".join([*([arguments] if arguments else []), _QUERY])
        passed += [*(["undefined"] if len(passed) == 1 else []), "query"]
    told = {
        "method": operation.method,
        "path": operation.path,
        "query": [each.name for each in operation.parameters if not each.in_path],
        "body": how,
        "auth": operation.auth,
        "isEnveloped": operation.enveloped,
    }
    comment = _comment(operation.comment, f"{operation.method} {operation.path}")
    answer = _type(operation.answer)
    call = listed(f"return this.http.call<{answer}>(", [_literal(told), *passed], ");", "  ")
    return f"{comment}{name}({arguments}): Promise<{answer}> {{\n{_within(call)}\n}}\n"


def _arguments(operation: Operation, contract: Contract) -> tuple[str, str, list[str]]:
    """The parameters of a method, what becomes the body, and what is handed on."""
    parameters, body = _parameters(operation.parameters), operation.body
    if body is None:
        return parameters, "none", ["parameters"] if parameters else ["{}"]
    members = contract.members(body)
    own = {each.name for each in operation.parameters}
    written = _type(body)
    if members is not None and not own & {each.name for each in members.fields}:
        optional = not operation.body_required and not any(each.required for each in members.fields)
        if not parameters:
            return f"body: {written}{' = {}' if optional else ''}", "rest", ["body"]
        needed = not optional or any(each.required for each in operation.parameters)
        both = f"{_object_of(operation.parameters)} & ({written})"
        return f"parameters: {both}{'' if needed else ' = {}'}", "rest", ["parameters"]
    last = f"body{'' if operation.body_required else '?'}: {written}"
    if not parameters:
        return last, "value", ["{}", "body"]
    return f"parameters: {_object_of(operation.parameters)}, {last}", "value", ["parameters", "body"]


def _parameters(parameters: tuple[Parameter, ...]) -> str:
    if not parameters:
        return ""
    needed = any(each.required for each in parameters)
    return f"parameters: {_object_of(parameters)}{'' if needed else ' = {}'}"


def _object_of(parameters: tuple[Parameter, ...]) -> str:
    written = (
        f"{_property(each.name)}{'' if each.required else '?'}: "
        + ("string | number" if each.in_path and each.type == STRING else _type(each.type))
        for each in parameters
    )
    return f"{{ {'; '.join(written)} }}"


# -- WebSockets -------------------------------------------------------------------------------------------------------


def _events(contract: Contract) -> Iterator[str]:
    if contract.event_path is None:
        return
    yield _title("the event socket")
    names = Names(_OF_OBJECTS)
    calls = "\n".join(_call(each, names.take(identifier(each.name))) for each in contract.actions)
    body = f"/** What the server has by name. */\nreadonly call = {{\n{_within(calls)}\n}};" if calls else ""
    start = "/** One connection for everything. */\nexport class Events extends EventSocket "
    yield f"{start}{{\n{_within(body)}\n}}" if body else f"{start}{{}}"


def _call(action: Action, name: str) -> str:
    optional = "" if action.context_required else "?"
    reports = f"Promise<Array<{_type(action.report)}>>"
    return (
        f"{_comment(action.comment)}{name}: (context{optional}: {_type(action.context)}): {reports} =>\n"
        f"  this.callByName({json.dumps(action.name)}, context) as {reports},"
    )


def _client(contract: Contract) -> str:
    names = Names(_OF_CLIENTS)
    parts = ["readonly rest = new Rest(this.http);"] if contract.operations else []
    if contract.event_path is not None:
        parts += [
            "#events: Events | null = null;",
            "/** The event socket; opened when it is first asked for, and anew after it was closed. */\n"
            "get events(): Events {\n"
            '  if (this.#events === null || this.#events.state === "over") {\n'
            f"    const events = new Events(this.settings, this.sockets, {json.dumps(contract.event_path)});\n"
            "    this.#events = this.keep(events);\n"
            "  }\n"
            "  return this.#events;\n"
            "}",
        ]
    parts += [_socket(each, names.take(camel_case(each.name))) for each in contract.sockets]
    body = _within("\n\n".join(parts))
    start = (
        f"{_title('the application')}\n\n/** A client of the application. */\nexport class Client extends BaseClient "
    )
    return f"{start}{{\n{body}\n}}" if body else f"{start}{{}}"


def _socket(socket: Socket, name: str) -> str:
    parameters = _parameters(socket.parameters)
    kind = "AnsweringConnection" if socket.answers else "Connection"
    type_ = f"{kind}<{_type(socket.sent)}, {_type(socket.received)}>"
    told = {
        "path": socket.path,
        "query": [each.name for each in socket.parameters if not each.in_path],
        "json": socket.json,
        "errors": socket.errors,
        "protocols": list(socket.protocols),
    }
    arguments = ", ".join([*([parameters] if parameters else []), *([_QUERY] if socket.any_query else [])])
    handed_on = ["this.settings", "this.sockets", _literal(told), "parameters" if parameters else "{}"]
    handed_on += ["query"] if socket.any_query else []
    made = listed(f"return this.keep(new {type_}(", handed_on, "));", "  ")
    comment = _comment(socket.comment, f"WebSocket {socket.path}")
    return f"{comment}{name}({arguments}): {type_} {{\n{_within(made)}\n}}"


def _literal(value: dict[str, Any]) -> str:
    return "{ " + ", ".join(f"{key}: {json.dumps(inner)}" for key, inner in value.items()) + " }"


def _within(text: str) -> str:
    return indent(text.rstrip(), "  ")
