"""OpenAPI: the document of an application's HTTP operations (OpenAPI 3.1.0).

Law: it is a pure function of its sources; the same declarations give the same text, in whatever order they were made.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from wireloom.core.components import (
    Components,
    component_name,
    embeddable,
    object_of,
    plain_document,
    plain_schema,
    unique,
)
from wireloom.core.endpoint import Door
from wireloom.core.operation import Operation, Sources, operations_of
from wireloom.core.router import parameter_names
from wireloom.errors import HTTP_STATUSES

__all__ = ["TITLE", "VERSION", "openapi"]

TITLE = "Wireloom application"
VERSION = "0.1.0"

_SECURITY_SCHEMES: dict[str, dict[str, Any]] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "The token that logging in gives."},
    "api_key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "An API key of a user."},
}
_STRING = {"type": "string"}
_META = {
    "type": "object",
    "properties": {"extra": {"type": "object", "properties": {"http_status": {"type": "integer"}}}},
}
_ERROR = {
    "title": "Error",
    "type": "object",
    "required": ["ok", "type", "data", "error", "meta"],
    "properties": {
        "ok": {"const": False},
        "type": {"const": "error"},
        "data": {"type": "null"},
        "error": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {
                "code": _STRING,
                "message": _STRING,
                "path": {"type": "string", "description": "Where in the payload, of an invalid one."},
                "id": {"type": "string", "description": "What the log has of it, of a bug."},
            },
        },
        "meta": _META,
    },
}


def openapi(sources: Sources, *, title: str = TITLE, version: str = VERSION) -> dict[str, Any]:
    """The document of the REST endpoints and the other operations.

    Args:
        sources: what it is made from. Where two have one method of one path, the endpoint's is told of.
        title: of the application.
        version: of the application.
    """
    builder = _Builder()
    for operation in operations_of(sources.behind(Door.REST)):
        builder.add(operation, builder.paths)
    for operation in sources.operations:
        builder.add(operation, builder.paths)
    webhooks: dict[str, dict[str, Any]] = {}
    for operation in operations_of(sources.behind(Door.WEBHOOK)):
        builder.add(replace(operation, auth="api_key"), webhooks)
    made = {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version},
        "servers": [{"url": "/"}],
        "paths": dict(sorted(builder.paths.items())),
        "components": builder.finish(),
        "tags": [{"name": tag} for tag in builder.tags],  # the application's own come first
    }
    if webhooks:  # OpenAPI cannot say how a request is signed, so other tools are not told that they could send one
        made["x-wireloom-webhooks"] = dict(sorted(webhooks.items()))
    return plain_document(made)


class _Builder:
    """One document while it is made."""

    def __init__(self) -> None:
        self.paths: dict[str, dict[str, Any]] = {}
        self.tags: dict[str, None] = {}
        self._components = Components()
        self._components.schemas["Error"] = _ERROR
        self._names: set[str] = set()
        self._schemes: set[str] = set()
        self._statuses: set[int] = set()

    def add(self, operation: Operation, paths: dict[str, dict[str, Any]]) -> None:
        """Adds an operation to some paths, unless its method of its path is there already."""
        item = paths.setdefault(operation.path, {})
        if operation.method.lower() in item:
            return
        name = unique(component_name(operation.name), self._names)
        self._names.add(name)
        self.tags.update(dict.fromkeys(operation.tags))
        self._statuses.update(operation.errors if operation.enveloped else ())
        item[operation.method.lower()] = self._entry(operation, name)

    def finish(self) -> dict[str, Any]:
        """The components that the operations refer to."""
        components: dict[str, Any] = {
            "schemas": dict(sorted(self._components.schemas.items())),
            "responses": {f"Error{status}": _refusal(status) for status in sorted(self._statuses)},
        }
        if self._schemes:
            components["securitySchemes"] = {name: _SECURITY_SCHEMES[name] for name in sorted(self._schemes)}
        return components

    def _entry(self, operation: Operation, name: str) -> dict[str, Any]:
        entry: dict[str, Any] = {"operationId": name}
        if operation.summary:
            entry["summary"] = operation.summary
        if operation.tags:
            entry["tags"] = list(operation.tags)
        if operation.auth is not None:
            self._schemes.add(operation.auth)
            entry["security"] = [{operation.auth: []}]
        parameters = [*self._path_parameters(operation, name), *self._query_parameters(operation, name)]
        if parameters:
            entry["parameters"] = parameters
        body = self._body(operation, name)
        if body is not None:
            entry["requestBody"] = body
        entry["responses"] = self._responses(operation, name)
        return entry

    def _path_parameters(self, operation: Operation, name: str) -> list[dict[str, Any]]:
        fields = _properties(operation.body or operation.query or {})
        return [
            {"name": each, "in": "path", "required": True, **self._parameter(fields.get(each, _STRING), name)}
            for each in parameter_names(operation.path)
        ]

    def _query_parameters(self, operation: Operation, name: str) -> list[dict[str, Any]]:
        if operation.query is None:
            return []
        rest = _without_parameters(operation.query, operation.path, name)
        required = (object_of(*embeddable(rest, name)) or {}).get("required", ())
        return [
            {"name": each, "in": "query", "required": each in required, **self._parameter(schema, name)}
            for each, schema in _properties(rest).items()
        ]

    def _parameter(self, schema: Any, name: str) -> dict[str, Any]:
        told = {"description": schema["description"]} if isinstance(schema, dict) and "description" in schema else {}
        return {**told, "schema": self._components.place(schema, name)}

    def _body(self, operation: Operation, name: str) -> dict[str, Any] | None:
        if operation.body is None:
            return None
        schema = _without_parameters(plain_schema(operation.body), operation.path, f"{name}_body")
        whole = object_of(*embeddable(schema, name))
        if whole is not None and not whole["properties"] and not whole.get("additionalProperties"):
            return None
        placed = {"schema": self._components.place(schema, f"{name}_body")}
        content = {"application/json": placed}
        if operation.multipart:
            content["multipart/form-data"] = placed
        required = bool(whole["required"]) if whole is not None and "required" in whole else bool(schema and not whole)
        return {"required": required, "content": content}

    def _responses(self, operation: Operation, name: str) -> dict[str, Any]:
        if not operation.enveloped:
            told = "What the endpoint gives; an error is an object with `error` and `code`."
            return {"default": {"description": told, "content": {"application/json": {"schema": {}}}}}
        data = self._components.place(operation.response or {}, f"{name}_data")
        envelope = {
            "type": "object",
            "required": ["ok", "type", "data", "error", "meta"],
            "properties": {
                "ok": {"const": True},
                "type": {"const": "response"},
                "data": data,
                "error": {"type": "null"},
                "meta": _META,
            },
        }
        answer = {"description": "It went well.", "content": {"application/json": {"schema": envelope}}}
        refusals = {str(each): {"$ref": f"#/components/responses/Error{each}"} for each in sorted(operation.errors)}
        return {str(operation.status): answer, **refusals}


def _refusal(status: int) -> dict[str, Any]:
    codes = [code for code, of_code in HTTP_STATUSES.items() if of_code == status]
    schema = {"$ref": "#/components/schemas/Error"}
    return {"description": " or ".join(codes) or "An error.", "content": {"application/json": {"schema": schema}}}


def _properties(schema: dict[str, Any]) -> dict[str, Any]:
    """The members of an object, each with the definitions that it may refer to."""
    inner, definitions = embeddable(schema, "Message")
    whole = object_of(inner, definitions)
    fields = whole["properties"] if whole is not None else {}
    return {
        name: {**field, "$defs": definitions} if isinstance(field, dict) and definitions else field
        for name, field in fields.items()
    }


def _without_parameters(schema: dict[str, Any], path: str, name: str) -> dict[str, Any]:
    """The schema of an object without what its path has already; the same where that is nothing."""
    inner, definitions = embeddable(schema, name)
    whole = object_of(inner, definitions)
    names = parameter_names(path)
    if whole is None or not any(each in whole["properties"] for each in names):
        return schema
    properties = {each: field for each, field in whole["properties"].items() if each not in names}
    required = [each for each in whole.get("required", ()) if each not in names]
    return {**whole, "properties": properties, "required": required, "$defs": definitions}
