"""Reading: from the values of a file to operations, and of these to Python."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from wireloom.errors import did_you_mean
from wireloom.faces.routes.document import Value
from wireloom.faces.routes.operations.fields import Fields
from wireloom.faces.routes.operations.table import Operation, find_operation, nearest_operation
from wireloom.faces.routes.report import Problem
from wireloom.faces.routes.writer import Writer

__all__ = ["CASE_OPERATIONS", "block", "walk", "write_operations"]

CASE_OPERATIONS = ("operations", "body", "actions", "then")
"""How the operations of a case may be called."""


def block(fields: Fields, name: str) -> None:
    """Writes the operations of a field."""
    if name in fields:
        write_operations(fields.writer, fields[name], name)
    else:
        fields.writer.write("pass")


def write_operations(writer: Writer, value: Value, path: str) -> None:
    """Writes a list of operations.

    Args:
        path: the name of the field or hook that they stand in.
    """
    base = f"{writer.path}.{path}" if writer.path else path
    if not isinstance(value.data, list):
        if value.data is not None:
            writer.problem(value, f"{path} must be a list of operations")
        writer.write("pass")
        return
    if not value.data:
        writer.write("pass")
    for index, one in enumerate(value.data):
        with writer.at(f"{base}[{index}]", one):
            _write(writer, one)


def _write(writer: Writer, value: Value) -> None:
    read = _read(value)
    if isinstance(read, _Refused):
        spot = value.spot_of_tag() if value.tag else read.value.spot()
        writer.context.add(Problem(spot, read.message, writer.context.at(writer.path)))
        writer.write("pass")
        return
    operation, key, members = read
    if operation.door not in ("", "http" if writer.context.is_http else "websocket"):
        writer.problem(key, f"{operation.name} is for {_of_door(operation.door)} only")
    fields = Fields(writer, operation, key, _named(writer, operation, key, members))
    operation.write(writer, fields)


def walk(value: Value) -> Iterator[tuple[Operation, dict[str, Value]]]:
    """All operations of a list, and those within them, with their fields; what cannot be read, and the bodies of
    functions, are left out.
    """
    for one in value.items():
        read = _read(one)
        if isinstance(read, _Refused):
            continue
        operation, _, whole = read
        named = {operation.field(name): inner for name, (_, inner) in whole.members().items()}
        yield operation, {field.name: inner for field, inner in named.items() if field is not None}
        for field, inner in named.items():
            if field is not None and operation.name != "DefineFunction":
                for nested in _nested(field.takes, inner):
                    yield from walk(nested)


def _nested(takes: str, value: Value) -> list[Value]:
    if takes == "operations":
        return [value]
    if takes == "lists of operations":
        return value.items()
    if takes == "cases":
        members = [case.members() for case in value.items()]
        return [inner for case in members for name, (_, inner) in case.items() if name in CASE_OPERATIONS]
    return []


_HOW_IT_IS_WRITTEN = "an operation is written 'Name: {fields}', one name for each item of the list"


def _hint(value: Value) -> str:
    """What the wrong way of writing an operation often comes from."""
    names = list(value.members())
    if len(names) > 1 and find_operation(names[0]) is not None:
        other = find_operation(names[1])
        return f"; begin another item before {names[1]!r}" if other else f"; indent {names[1]!r} below {names[0]!r}"
    return ""


@dataclass(frozen=True, slots=True)
class _Refused:
    """What is no operation: the value at fault, and why."""

    value: Value
    message: str


def _read(value: Value) -> tuple[Operation, Value, Value] | _Refused:
    """What operation a value is, the value that names it, and the value of its fields; or why it is none."""
    if value.tag:
        name, key, members = value.tag, value, value
    elif isinstance(value.data, str):
        name, key, members = value.data, value, Value({}, value.file, value.line, value.column, value.raw)
    elif isinstance(value.data, dict) and len(value.data) == 1:
        name, (key, members) = next(iter(value.data.items()))
    else:
        return _Refused(value, _HOW_IT_IS_WRITTEN + _hint(value))
    found = find_operation(name)
    if found is None:
        return _Refused(key, f"there is no operation {name!r}{nearest_operation(name)}")
    return found, key, members


def _named(writer: Writer, operation: Operation, key: Value, value: Value) -> dict[str, Value]:
    """The fields of an operation by the names of its table."""
    found: dict[str, Value] = {}
    if not isinstance(value.data, dict) and value.data not in (None, ""):
        such = f"fields, such as {operation.fields[0].name}: …" if operation.fields else "no fields"
        writer.problem(value, f"{operation.name} takes {such}")
        return found
    for name, (place, inner) in value.members().items():
        field = operation.field(name)
        if field is None:
            known = operation.spellings
            expected = did_you_mean(name, known) or (f"; it has {', '.join(known)}" if known else "")
            writer.problem(place, f"{operation.name} has no field {name!r}{expected}")
        elif field.name in found:
            writer.problem(place, f"{operation.name}.{field.name} is there already")
        elif field.door not in ("", "http" if writer.context.is_http else "websocket"):
            writer.problem(place, f"{operation.name}.{name} is for {_of_door(field.door)} only")
        else:
            found[field.name] = inner
    misspelt = any(operation.field(name) is None for name in value.members())
    for field in operation.fields:
        if field.needed and field.name not in found and not misspelt:
            writer.problem(key, f"{operation.name} needs {field.name!r}")
    return found


def _of_door(door: str) -> str:
    return "HTTP routes" if door == "http" else "WebSocket routes"
