"""JSON Schema → types. Reads draft 2020-12 and draft 7, as OpenAPI 3.1 and AsyncAPI 3.0 have them.

Laws:
- A type takes in whatever its schema does. What a type cannot say, such as a pattern or an ``if``, makes it wider.
- No schema is an error: one that says nothing that can be understood is ``unknown``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from wireloom.codegen.types import (
    NEVER,
    NULL,
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
    union_of,
)

__all__ = ["Definition", "Schemas", "comment_of"]

_COMPONENTS = "#/components/schemas/"
_MAX_DEPTH = 60
_PLAIN: dict[str, Type] = {name: Plain(name) for name in ("null", "boolean", "integer", "number", "string")}


class Definition:
    """A named type with what is said of it."""

    __slots__ = ("comment", "type")

    def __init__(self, type_: Type, comment: str) -> None:
        self.type = type_
        self.comment = comment


class Schemas:
    """The schemas of one document.

    Args:
        document: with ``components`` that its schemas refer to.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        components = document.get("components")
        schemas = components.get("schemas") if isinstance(components, Mapping) else None
        self._schemas: Mapping[str, Any] = schemas if isinstance(schemas, Mapping) else {}
        self._definitions: dict[str, Definition] = {}
        self._open: set[str] = set()  # references that are being read

    def definition(self, name: str) -> Definition:
        """The type of a component."""
        if name not in self._definitions:
            found = self._definitions[name] = Definition(UNKNOWN, "")
            schema = self._schemas.get(name)
            found.comment = comment_of(schema)
            written = self.read(schema)
            meant = self._without_itself(written, frozenset((name,)))
            found.type = UNKNOWN if meant == NEVER != written else meant
        return self._definitions[name]

    def read(self, schema: Any, depth: int = 0) -> Type:
        """The type of a schema."""
        if schema is False:
            return NEVER
        if not isinstance(schema, Mapping) or depth > _MAX_DEPTH:
            return UNKNOWN
        if isinstance(schema.get("$ref"), str):
            return self._referred(schema["$ref"], depth)
        for key, read in _READERS.items():
            if key in schema:
                found = read(self, schema, depth)
                if found is not None:
                    return found
        return self._of_kinds(schema, depth)

    # -- references ---------------------------------------------------------------------------------------------------

    def _referred(self, reference: str, depth: int) -> Type:
        name = _unescaped(reference[len(_COMPONENTS) :]) if reference.startswith(_COMPONENTS) else "/"
        if "/" not in reference[len(_COMPONENTS) :] and name in self._schemas:
            return Named(name)
        return self._once(reference, self.resolve(reference), depth + 1)

    def _once(self, key: str, schema: Any, depth: int = 0) -> Type:
        """The type of a schema; within itself it is unknown."""
        if key in self._open:
            return UNKNOWN
        self._open.add(key)
        try:
            return self.read(schema, depth)
        finally:
            self._open.discard(key)

    def resolve(self, reference: Any) -> Any:
        """What a JSON pointer into the document leads to; None where that is nothing."""
        if not isinstance(reference, str) or not reference.startswith("#/"):
            return None
        found: Any = self._document
        for part in map(_unescaped, reference[2:].split("/")):
            if isinstance(found, list) and part.isdecimal() and int(part) < len(found):
                found = found[int(part)]
            elif isinstance(found, Mapping) and part in found:
                found = found[part]
            else:
                return None
        return found

    def _without_itself(self, type_: Type, above: frozenset[str]) -> Type:
        """A type without the definitions above as arms, which no language takes: ``A`` as ``int | A`` is ``int``."""
        if isinstance(type_, Union):
            return union_of(self._without_itself(arm, above) for arm in type_.arms)
        if not isinstance(type_, Named) or self._leads_elsewhere(type_.name, above):
            return type_
        if type_.name in above:
            return NEVER
        return self._without_itself(self._head(type_.name), above | {type_.name})

    def _leads_elsewhere(self, name: str, above: frozenset[str]) -> bool:
        """Whether a reference does not come back to where it is from by references and unions alone."""
        if name in above:
            return False
        arms = _arms_of(self._head(name))
        return all(self._leads_elsewhere(arm, above | {name}) for arm in arms)

    def _head(self, name: str) -> Type:
        return self._once(_COMPONENTS + name, self._schemas.get(name))

    # -- kinds of schemas ---------------------------------------------------------------------------------------------

    def _constants(self, schema: Mapping[str, Any], depth: int) -> Type | None:
        values = [schema["const"]] if "const" in schema else schema["enum"]
        return union_of(map(_constant, values)) if isinstance(values, list) else None

    def _alternatives(self, schema: Mapping[str, Any], depth: int) -> Type | None:
        arms = schema.get("anyOf", schema.get("oneOf"))
        if not isinstance(arms, list) or not arms or schema.get("properties"):
            return None
        return union_of(self.read(arm, depth + 1) for arm in arms)

    def _together(self, schema: Mapping[str, Any], depth: int) -> Type | None:
        """All of several: objects become one, else the first that says something is wide enough."""
        arms = schema["allOf"]
        if not isinstance(arms, list):
            return None
        own = {key: value for key, value in schema.items() if key != "allOf"}
        types = [type_ for each in (*arms, own) if (type_ := self.read(each, depth + 1)) != UNKNOWN]
        if len(types) < 2:
            return types[0] if types else UNKNOWN
        objects = [self._object_of(type_) for type_ in types]
        if all(isinstance(each, Members) for each in objects):
            return _merged([each for each in objects if isinstance(each, Members)])
        return types[0]

    def _object_of(self, type_: Type) -> Type:
        seen: set[str] = set()
        while isinstance(type_, Named) and type_.name not in seen:
            seen.add(type_.name)
            type_ = self._head(type_.name)
        return type_

    def _of_kinds(self, schema: Mapping[str, Any], depth: int) -> Type:
        kinds = schema.get("type")
        if isinstance(kinds, list):
            return union_of(self._of_kind(str(kind), schema, depth) for kind in kinds)
        if isinstance(kinds, str):
            return self._of_kind(kinds, schema, depth)
        if "properties" in schema:
            return self._object(schema, depth)
        if "items" in schema or "prefixItems" in schema:
            return self._array(schema, depth)
        return NEVER if schema.get("not") in ({}, True) else UNKNOWN

    def _of_kind(self, kind: str, schema: Mapping[str, Any], depth: int) -> Type:
        if kind == "object":
            return self._object(schema, depth)
        if kind == "array":
            return self._array(schema, depth)
        if kind == "string" and schema.get("format") == "binary":
            return Plain("file")
        return _PLAIN.get(kind, UNKNOWN)

    def _object(self, schema: Mapping[str, Any], depth: int) -> Type:
        properties = schema.get("properties")
        further = schema.get("additionalProperties")
        if not isinstance(properties, Mapping) or not properties:
            has_patterns = bool(schema.get("patternProperties"))
            if further is False and not has_patterns:
                return Members(())
            return Mapped(UNKNOWN if has_patterns else self.read(further, depth + 1))
        listed = schema.get("required")
        required = set(map(str, listed)) if isinstance(listed, list) else set()
        fields = (
            Field(str(name), self.read(inner, depth + 1), name in required, comment_of(inner))
            for name, inner in properties.items()
        )
        return Members(tuple(fields), is_open=bool(further) or bool(schema.get("patternProperties")))

    def _array(self, schema: Mapping[str, Any], depth: int) -> Type:
        items = schema.get("prefixItems", schema.get("items"))
        if not isinstance(items, list):
            return Items(self.read(items, depth + 1))
        rest = schema.get("items") if "prefixItems" in schema else schema.get("additionalItems")
        wanted, most = schema.get("minItems", 0), schema.get("maxItems")
        is_closed = rest is False or (isinstance(most, int) and most <= len(items))
        types = tuple(self.read(item, depth + 1) for item in items)
        count = min(wanted, len(types)) if isinstance(wanted, int) else 0
        return Tuple(types, count, None if is_closed else self.read(rest, depth + 1))


_READERS: dict[str, Callable[[Schemas, Mapping[str, Any], int], Type | None]] = {
    "const": Schemas._constants,
    "enum": Schemas._constants,
    "allOf": Schemas._together,
    "anyOf": Schemas._alternatives,
    "oneOf": Schemas._alternatives,
}


def comment_of(schema: Any) -> str:
    """What a schema says of itself for readers."""
    if not isinstance(schema, Mapping):
        return ""
    told = [str(schema["description"])] if schema.get("description") else []
    if schema.get("contentEncoding") == "base64":
        told.append("In base64.")
    elif schema.get("format") in ("date", "time", "date-time", "duration"):
        told.append(f"As {schema['format']} of RFC 3339.")
    if schema.get("deprecated") is True:
        told.append("Deprecated.")
    return " ".join(told)


def _constant(value: Any) -> Type:
    if value is None:
        return NULL
    return Constant(value) if isinstance(value, str | int | float) else UNKNOWN


def _merged(objects: list[Members]) -> Members:
    fields: dict[str, Field] = {}
    for each in objects:
        for field in each.fields:
            known = fields.get(field.name)
            needed = field.required or (known is not None and known.required)
            fields[field.name] = Field(
                field.name, field.type, needed, field.comment or (known.comment if known else "")
            )
    return Members(tuple(fields.values()), any(each.is_open for each in objects))


def _arms_of(type_: Type) -> list[str]:
    """The names that a type is, or may be one of."""
    arms = type_.arms if isinstance(type_, Union) else (type_,)
    return [arm.name for arm in arms if isinstance(arm, Named)]


def _unescaped(part: str) -> str:
    return part.replace("~1", "/").replace("~0", "~")
