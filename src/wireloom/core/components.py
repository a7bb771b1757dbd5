"""Components: the JSON Schemas of many endpoints brought together in one document.

Laws:
- A definition of one schema becomes a component; two of one name are one component only where all that they lead to is
  the same, else the later one gets a number.
- What is data (``const``, ``default``, ``enum``, ``examples``) is never read as a schema.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import msgspec

__all__ = [
    "MULTIPART",
    "Components",
    "component_name",
    "draft_7",
    "embeddable",
    "object_of",
    "plain_document",
    "plain_schema",
    "unique",
]

Schema: TypeAlias = Any  # an object or a boolean
Rewrite: TypeAlias = Callable[[str], str]
Adapt: TypeAlias = Callable[[dict[str, Any]], dict[str, Any]]

_ROOT = ""  # the unit of a schema outside its definitions
_DEFINITIONS = ("$defs", "definitions")
_MAPS = {"properties", "patternProperties", "dependentSchemas", *_DEFINITIONS}
_DATA = {"const", "default", "enum", "example", "examples", "required"}
MULTIPART = "x-wireloom-multipart"
"""What marks the schema of fields that a form may bring, for documents."""


class Components:
    """The schemas of one document, by name.

    Args:
        adapt: changes every schema within to the dialect of the document, innermost first.
        pointer: the JSON pointer of the components in the document.
    """

    def __init__(self, adapt: Adapt | None = None, pointer: str = "#/components/schemas/") -> None:
        self.schemas: dict[str, Any] = {}
        self._pointer = pointer
        self._adapt: Adapt = adapt or (lambda schema: schema)
        self._known: dict[str, str] = {}  # everything that a definition leads to, as text → its component

    def place(self, schema: Schema, name: str) -> Schema:
        """A schema whose definitions have become components.

        Args:
            schema: JSON Schema; its ``$ref`` are within itself.
            name: what to call it where it must become a component, for it refers to itself.
        """
        if not isinstance(schema, dict):
            return schema
        units = _units_of(schema)
        anchors = _anchors_of(schema)
        refers = {unit: _refers_to(inner, anchors) for unit, inner in units.items()}
        reached = {unit: _reached_from(unit, refers) for unit in units}
        itself = _ROOT in reached[_ROOT]
        wanted = {unit: unit for unit in reached[_ROOT] if unit in units}
        if itself:
            wanted[_ROOT] = str(schema.get("title") or name)
        named: dict[str, str] = {}
        fresh = [unit for unit in wanted if self._name(unit, wanted[unit], units, reached[unit], named)]

        def rewrite(reference: str) -> str:
            unit, rest = _split(reference, anchors)
            return f"{self._pointer}{named[unit]}{rest}" if unit in named else reference

        for unit in fresh:
            self.schemas[named[unit]] = _titled(self._copy(units[unit], rewrite), unit, named[unit])
        return {"$ref": rewrite("#")} if itself else self._copy(units[_ROOT], rewrite)

    def _name(
        self, unit: str, wanted: str, units: Mapping[str, Schema], reached: set[str], named: dict[str, str]
    ) -> bool:
        """Finds the component of a unit; says whether it is a new one."""
        everything = {other: units[other] for other in sorted({unit, *reached} & set(units))}
        key = json.dumps([unit, wanted, everything], sort_keys=True, default=str)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = unique(component_name(wanted), self.schemas)
            self.schemas[known] = {}  # the name is taken
            named[unit] = known
            return True
        named[unit] = known
        return False

    def _copy(self, schema: Schema, rewrite: Rewrite) -> Schema:
        return _walk(schema, rewrite, self._adapt)


def embeddable(schema: Schema, name: str) -> tuple[Schema, dict[str, Any]]:
    """A schema that may stand within another, and the definitions that the other then must have in ``$defs``.

    Args:
        name: what to call it where it refers to itself.
    """
    local = Components(pointer="#/$defs/")
    return local.place(schema, name), local.schemas


def component_name(name: str) -> str:
    """A name that a component may have, without the underscores of private classes."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("_") or "Schema"


def unique(name: str, taken: Mapping[str, Any] | set[str]) -> str:
    """The name, with a number behind it where it is taken."""
    found, number = name, 1
    while found in taken:
        number += 1
        found = f"{name}{number}"
    return found


def plain_document(document: dict[str, Any]) -> dict[str, Any]:
    """A copy of nothing but what JSON has: a default value, for one, may be a tuple."""
    copy: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(document))
    return copy


def plain_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """Without what is no schema but a note to documents."""
    return {key: value for key, value in schema.items() if key != MULTIPART}


def object_of(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any] | None:
    """The schema with ``properties`` that a schema is or refers to; None where it is another kind of thing.

    Args:
        definitions: what a ``$ref`` may name, by the last part of the reference.
    """
    seen: set[str] = set()
    while "$ref" in schema:
        name = str(schema["$ref"]).rpartition("/")[2]
        target = definitions.get(name)
        if name in seen or not isinstance(target, Mapping):
            return None
        seen.add(name)
        schema = target
    return dict(schema) if isinstance(schema.get("properties"), dict) else None


def draft_7(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema of draft 2020-12 in the words of draft 7, which is what AsyncAPI 3.0 has."""
    changed = {key: value for key, value in schema.items() if key not in ("discriminator", "$schema")}
    if "prefixItems" in changed:
        rest = changed.pop("items", None)
        changed["items"] = changed.pop("prefixItems")
        if rest is not None:
            changed["additionalItems"] = rest
    dependencies = {**changed.pop("dependentSchemas", {}), **changed.pop("dependentRequired", {})}
    if dependencies:
        changed["dependencies"] = dependencies
    if "$ref" in changed and len(changed) > 1:  # draft 7 ignores what stands beside it
        changed["allOf"] = [*changed.get("allOf", []), {"$ref": changed.pop("$ref")}]
    return changed


# -- one schema's definitions -----------------------------------------------------------------------------------------


def _units_of(schema: dict[str, Any]) -> dict[str, Schema]:
    """The definitions of a schema by name, and what is left of it."""
    units = {name: inner for key in _DEFINITIONS for name, inner in schema.get(key, {}).items()}
    left = {key: value for key, value in schema.items() if key not in (*_DEFINITIONS, "$schema", "$id")}
    return {**units, _ROOT: left}


def _split(reference: str, anchors: Mapping[str, str]) -> tuple[str, str]:
    """The unit that a reference leads to, and the JSON pointer from there on."""
    parts = anchors.get(reference, reference).split("/")
    if len(parts) > 2 and parts[1] in _DEFINITIONS:
        unit = parts[2].replace("~1", "/").replace("~0", "~")
        return unit, "".join(f"/{part}" for part in parts[3:])
    return _ROOT, "".join(f"/{part}" for part in parts[1:])


def _refers_to(schema: Schema, anchors: Mapping[str, str]) -> set[str]:
    """The units that a schema refers to."""
    found: set[str] = set()

    def note(reference: str) -> str:
        if reference.startswith("#"):
            found.add(_split(reference, anchors)[0])
        return reference

    _walk(schema, note)
    return found


def _reached_from(unit: str, refers: Mapping[str, set[str]]) -> set[str]:
    reached: set[str] = set()
    ahead = list(refers[unit])
    while ahead:
        one = ahead.pop()
        if one not in reached:
            reached.add(one)
            ahead.extend(refers.get(one, ()))
    return reached


def _anchors_of(schema: Schema, pointer: str = "#") -> dict[str, str]:
    """The JSON pointers of a schema's anchors, by reference."""
    found: dict[str, str] = {}
    for path, inner in _inner(schema):
        found |= _anchors_of(inner, pointer + path)
    if isinstance(schema, dict) and isinstance(schema.get("$anchor"), str):
        found[f"#{schema['$anchor']}"] = pointer
    return found


def _inner(schema: Schema) -> Iterator[tuple[str, Schema]]:
    """The schemas right within a schema, with their JSON pointers from there."""
    if not isinstance(schema, dict):
        return
    for key, value in schema.items():
        if key in _DATA:
            continue
        if key in _MAPS and isinstance(value, dict):
            for name, inner in value.items():
                yield f"/{key}/{name.replace('~', '~0').replace('/', '~1')}", inner
        elif isinstance(value, list):
            for index, inner in enumerate(value):
                yield f"/{key}/{index}", inner
        else:
            yield f"/{key}", value


def _walk(schema: Schema, rewrite: Rewrite, adapt: Adapt = lambda schema: schema) -> Schema:
    """A copy of a schema whose references were rewritten."""
    if not isinstance(schema, dict):
        return schema
    copy: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "$anchor":  # references by it were rewritten
            continue
        if key in _DATA:
            copy[key] = value
        elif key == "$ref" and isinstance(value, str):
            copy[key] = rewrite(value)
        elif key == "discriminator" and isinstance(value, dict):
            copy[key] = _discriminator(value, rewrite)
        elif key in _MAPS and isinstance(value, dict):
            copy[key] = {name: _walk(inner, rewrite, adapt) for name, inner in value.items()}
        elif isinstance(value, list):
            copy[key] = [_walk(item, rewrite, adapt) for item in value]
        else:
            copy[key] = _walk(value, rewrite, adapt)
    return adapt(copy)


def _discriminator(value: dict[str, Any], rewrite: Rewrite) -> dict[str, Any]:
    if not isinstance(value.get("mapping"), dict):
        return value
    return {**value, "mapping": {tag: rewrite(reference) for tag, reference in value["mapping"].items()}}


def _titled(schema: Schema, unit: str, name: str) -> Schema:
    """A title that is the name of the class is now the component's."""
    return {**schema, "title": name} if isinstance(schema, dict) and schema.get("title") == unit else schema
