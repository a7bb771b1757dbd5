"""Python: a contract → one module on `wireloom.clients.typed`, for programs that have Wireloom installed."""

from __future__ import annotations

import builtins
import keyword
import re
import typing
from collections.abc import Iterable, Iterator
from textwrap import indent
from typing import Any

from wireloom.codegen.contract import BEARER, Action, Contract, Operation, Socket, read_contract
from wireloom.codegen.layout import listed, one_line
from wireloom.codegen.names import Names, camel_case, identifier, snake_case, type_name
from wireloom.codegen.types import STRING, Constant, Field, Items, Mapped, Members, Named, Plain, Tuple, Type, Union

__all__ = ["write_python"]

_PLAIN = {
    "unknown": "Any",
    "never": "Never",
    "null": "None",
    "boolean": "bool",
    "integer": "int",
    "number": "float",
    "string": "str",
    "bytes": "bytes",
    "file": "File",
}
_TYPING = ("Any", "Literal", "Never", "NotRequired", "TypeAlias", "TypedDict")
_CLIENTS = (
    "AnsweringConnection",
    "Connection",
    "EndpointOf",
    "EventSocket",
    "File",
    "OperationOf",
    "Query",
    "Rest",
    "TypedClient",
)
_WRITTEN = {"Client", "Events", "Http", "Calls"}
_RESERVED = frozenset({*dir(builtins), *typing.__all__, *_TYPING, *_CLIENTS, *_WRITTEN, *keyword.kwlist})
_IN_ANNOTATIONS = {*_PLAIN.values(), "list", "dict", "Literal", "NotRequired"}
"""What must mean what it does where annotations are read: in classes, before all else that is defined there."""
_OF_METHODS = {*keyword.kwlist, *_IN_ANNOTATIONS, "self"}
_OF_CLIENTS = {*_OF_METHODS, "close", "current_token", "events", "has_failed", "rest", "timeout"}


_STEP = "    "
_OF_HTTP = "The endpoints of HTTP. Each raises `RequestError`, and `NoAnswer` where none comes."


def write_python(openapi: Any, asyncapi: Any, head: Iterable[str] = ()) -> str:
    """The client of an application, as one Python module.

    Args:
        openapi: its OpenAPI document.
        asyncapi: its AsyncAPI document.
        head: lines of the comment that the file begins with.

    Raises:
        ConfigError: these are no such documents.
    """
    contract = read_contract(openapi, asyncapi, _RESERVED)
    writer = _Writer(contract)
    code = "\n\n\n".join(part for part in writer.parts() if part)
    comment = "\n".join(f"# {one_line(line)}".rstrip() for line in head)
    own = "\n".join(
        f"from {module} import {', '.join(used)}"
        for module, names in (("typing", _TYPING), ("wireloom.clients.typed", _CLIENTS))
        if (used := [name for name in names if re.search(rf"\b{name}\b", code)])
    )
    separate = own.replace("\nfrom wireloom", "\n\nfrom wireloom")
    return f"{comment}\n\nfrom __future__ import annotations\n\n{separate}\n\n\n{code}\n".lstrip("\n")


class _Writer:
    """One module while it is written."""

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self._names = Names({*_RESERVED, *(each.name for each in contract.types)})
        self._hoisted: dict[tuple[Members, str], str] = {}
        self._definitions: list[str] = []

    def parts(self) -> Iterator[str]:
        """The parts of the code, in their order."""
        for each in self._contract.types:
            self._define(each.name, each.type, each.comment)
        rest, events, client = self._rest(), self._events(), self._client()  # these define further types
        yield from self._definitions
        yield rest
        yield events
        yield client

    # -- types --------------------------------------------------------------------------------------------------------

    def _define(self, name: str, type_: Type, comment: str) -> None:
        place = len(self._definitions)  # what it needs comes behind: annotations are read last of all
        if isinstance(type_, Members):
            self._definitions.insert(place, self._typed_dict(name, type_, comment))
        else:
            self._definitions.insert(
                place, f"{_comment(comment)}{name}: TypeAlias = {_quoted(self._type(type_, name))}"
            )

    def _typed_dict(self, name: str, members: Members, comment: str) -> str:
        """By a class where the names of all members may stand in one, else by a call."""
        fields = [(each, self._type(each.type, f"{name}_{each.name}")) for each in members.fields]
        if all(self._may_stand_in_class(each.name) for each in members.fields):
            lines = [_docstring(comment)] if comment else []
            lines += [f"{_comment(each.comment)}{each.name}: {_member(each, written)}" for each, written in fields]
            return f"class {name}(TypedDict):\n{_within(chr(10).join(lines) or 'pass')}"
        lines = [
            f"{_comment(each.comment)}{_quoted(each.name)}: {_member(each, _quoted(written))},"
            for each, written in fields
        ]
        body = _within("\n".join(lines))
        return f"{_comment(comment)}{name} = TypedDict(\n    {_quoted(name)},\n    {{\n{_within(body)}\n    }},\n)"

    def _may_stand_in_class(self, name: str) -> bool:
        mangled = name.startswith("__") and not name.endswith("__")
        hides = name in _IN_ANNOTATIONS or name in keyword.kwlist or name[:1].isupper()
        return bool(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name)) and not mangled and not hides

    def _type(self, type_: Type, place: str) -> str:
        """A type as it is written.

        Args:
            place: what to call an object without a name of its own.
        """
        match type_:
            case Plain(name):
                return _PLAIN[name]
            case Constant(value, kind):
                return f"Literal[{_constant(value)}]" if _is_literal(type_) else kind
            case Named(name):
                return name
            case Items(item):
                return f"list[{self._type(item, place)}]"
            case Tuple(items, _, rest):
                arms = [*items, *([] if rest is None else [rest])]
                written = self._union([self._type(arm, f"{place}_{index}") for index, arm in enumerate(arms)])
                return f"list[{written}]"
            case Mapped(value):
                return f"dict[str, {self._type(value, place)}]"
            case Union(arms):
                return self._arms(arms, place)
            case Members():
                return self._hoist(type_, place)

    def _arms(self, arms: tuple[Type, ...], place: str) -> str:
        constants = [each.value for each in arms if isinstance(each, Constant) and _is_literal(each)]
        others = [arm for arm in arms if not isinstance(arm, Constant) or not _is_literal(arm)]
        written = [f"Literal[{', '.join(map(_constant, constants))}]"] if constants else []
        return self._union([*written, *(self._type(arm, f"{place}_{index}") for index, arm in enumerate(others))])

    def _union(self, written: list[str]) -> str:
        return "Any" if "Any" in written else " | ".join(dict.fromkeys(written)) or "Any"

    def _hoist(self, members: Members, place: str) -> str:
        """The name of an object's own definition."""
        key = (members, place)
        if key not in self._hoisted:
            name = self._hoisted[key] = self._names.take(type_name(camel_case(place)))
            self._define(name, members, "")
        return self._hoisted[key]

    # -- HTTP ---------------------------------------------------------------------------------------------------------

    def _rest(self) -> str:
        names = Names({*_OF_METHODS})
        methods = [self._operation(each, names.take(snake_case(each.name))) for each in self._contract.operations]
        if not methods:
            return ""
        return f"class Http(Rest):\n{_within(_docstring(_OF_HTTP))}\n\n" + ("\n\n".join(map(_within, methods)))

    def _operation(self, operation: Operation, name: str) -> str:
        place = type_name(snake_case(operation.name))
        answer = self._type(operation.answer, f"{place}_answer")
        told = [_quoted(operation.method), _quoted(operation.path)]
        told += [f"auth={_quoted(operation.auth)}"] if operation.auth else []
        told += [] if operation.enveloped else ["enveloped=False"]
        signature, passed = self._parameters(operation, place)
        body, given = "", [f"OperationOf({', '.join(told)})"]
        if operation.body is not None:
            written = self._type(operation.body, f"{place}_body")
            body = f"body: {written}" if operation.body_required else f"body: {self._union([written, 'None'])} = None"
            given.append("body")
        arguments = ["self", *([body] if body else []), *(["*", *signature] if signature else [])]
        call = listed(f"answer: {answer} = await self.{'_send' if body else '_get'}(", [*given, *passed], ")", _STEP)
        return (
            f"{listed(f'async def {name}(', arguments, f') -> {answer}:', _STEP)}\n"
            f"{_within(_docstring(operation.comment, f'{operation.method} {operation.path}'))}\n"
            f"{_within(call)}\n    return answer"
        )

    def _parameters(self, of: Operation | Socket, place: str) -> tuple[list[str], list[str]]:
        """Keyword parameters, and what is handed on of them."""
        parameters = of.parameters
        names = Names({*_OF_METHODS, "answer", "body", "query"})
        own = [(names.take(identifier(each.name)), each) for each in parameters]
        needed, optional = [], []
        for name, each in own:
            written = (
                "str | int" if each.in_path and each.type == STRING else self._type(each.type, f"{place}_{each.name}")
            )
            if each.required:
                needed.append(f"{name}: {written}")
            else:
                optional.append(f"{name}: {self._union([written, 'None'])} = None")
        passed = [
            f"{kind}={{{', '.join(chosen)}}}"
            for kind in ("path", "query")
            if (chosen := [f"{_quoted(each.name)}: {name}" for name, each in own if each.in_path is (kind == "path")])
        ]
        if of.any_query:
            optional.append("query: Query | None = None")
            passed.append("query=query")
        return [*needed, *optional], passed

    # -- WebSockets ---------------------------------------------------------------------------------------------------

    def _events(self) -> str:
        if self._contract.event_path is None:
            return ""
        names = Names({*_OF_METHODS, "__init__"})
        calls = [_within(self._call(each, names.take(snake_case(each.name)))) for each in self._contract.actions]
        events = f"class Events(EventSocket):\n{_within(_docstring('One connection for everything.'))}"
        if not calls:
            return events
        init = "def __init__(self, events: EventSocket) -> None:\n    self._events = events"
        doc = _within(_docstring("What the server has by name."))
        property_ = (
            "@property\ndef call(self) -> Calls:\n"
            f"{_within(_docstring('What the server has by name.'))}\n    return Calls(self)"
        )
        return (
            f"class Calls:\n{doc}\n\n{_within(init)}\n\n"
            + "\n\n".join(calls)
            + f"\n\n\n{events}\n\n{_within(property_)}"
        )

    def _call(self, action: Action, name: str) -> str:
        place = type_name(action.name)
        context = self._type(action.context, f"{place}_context")
        given = (
            f"context: {context}" if action.context_required else f"context: {self._union([context, 'None'])} = None"
        )
        reports = f"list[{self._type(action.report, f'{place}_report')}]"
        return (
            f"async def {name}(self, {given}) -> {reports}:\n"
            f"{_within(_docstring(action.comment or f'Calls {action.name}.'))}\n"
            f"    return await self._events.call_by_name({_quoted(action.name)}, context)"
        )

    def _client(self) -> str:
        names = Names(_OF_CLIENTS)
        parts = [_docstring("A client of the application.")]
        if self._contract.operations:
            doc = _within(_docstring("The endpoints of HTTP."))
            parts.append(f"@property\ndef rest(self) -> Http:\n{doc}\n    return Http(self)")
        if self._contract.event_path is not None:
            doc = _within(_docstring("The event socket; open it with `async with`."))
            path = _quoted(self._contract.event_path)
            parts.append(f"def events(self) -> Events:\n{doc}\n    return Events(self, {path})")
        parts += [self._socket(each, names.take(snake_case(each.name))) for each in self._contract.sockets]
        return f"class Client(TypedClient):\n{_within(f'{chr(10) * 2}'.join(parts))}"

    def _socket(self, socket: Socket, name: str) -> str:
        place = type_name(snake_case(socket.name))
        kind = "AnsweringConnection" if socket.answers else "Connection"
        sent, received = self._type(socket.sent, f"{place}_sent"), self._type(socket.received, f"{place}_received")
        signature, passed = self._parameters(socket, place)
        protocols = [each for each in socket.protocols if each != BEARER]
        told = [_quoted(socket.path)]
        told += [] if socket.json else ["json=False"]
        told += [] if socket.errors == "typed" else [f"errors={_quoted(socket.errors)}"]
        told += ["bearer=True"] if BEARER in socket.protocols else []
        told += [f"subprotocols=[{', '.join(map(_quoted, protocols))}]"] if protocols else []
        arguments = ["self", *(["*", *signature] if signature else [])]
        type_ = f"{kind}[{sent}, {received}]"
        made = listed(f"return {kind}(", ["self", f"EndpointOf({', '.join(told)})", *passed], ")", _STEP)
        return (
            f"{listed(f'def {name}(', arguments, f') -> {type_}:', _STEP)}\n"
            f"{_within(_docstring(socket.comment, f'WebSocket {socket.path}'))}\n{_within(made)}"
        )


def _member(field: Field, written: str) -> str:
    return written if field.required else f"NotRequired[{written}]"


def _is_literal(constant: Constant) -> bool:
    """Whether ``Literal`` takes it: no float (PEP 586), and for mypy no integer of more than 64 bits."""
    value = constant.value
    return not isinstance(value, float) and (not isinstance(value, int) or abs(value) < 2**63)


def _constant(value: Any) -> str:
    return ascii(value)


def _docstring(*told: str) -> str:
    """A docstring of lines that are not empty."""
    lines = [one_line(line) for text in told for line in text.splitlines() if line.strip()]
    text = "\n".join(lines).replace("\\", "\\\\")
    end = '\\"' if text.endswith('"') else ""  # it would be part of the quotes behind it
    text = (text[:-1] if end else text).replace('"""', '\\"\\"\\"') + end
    return f'"""{text}\n"""' if len(lines) > 1 else f'"""{text}"""'


def _comment(text: str) -> str:
    """Comment lines above something; empty where there is nothing to say."""
    return "".join(f"# {one_line(line)}\n" for line in text.splitlines() if line.strip())


def _quoted(text: str) -> str:
    """A text in double quotes, where that needs no further escapes."""
    written = ascii(text)
    return written if '"' in written or "\\" in written else f'"{written[1:-1]}"'


def _within(text: str) -> str:
    return indent(text, _STEP)
