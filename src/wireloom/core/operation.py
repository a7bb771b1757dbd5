"""Operation: one HTTP method of one path as documents tell of it, and `Sources`: all that documents are made from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from wireloom.core.components import MULTIPART, embeddable
from wireloom.core.endpoint import Door, Endpoint
from wireloom.core.router import parameter_names

__all__ = ["Auth", "Operation", "Sources", "operations_of"]

Auth: TypeAlias = Literal["bearer", "api_key"]

_ALWAYS = (409, 429, 500, 503)
_OF_BODIES = (400, 408, 413, 415, 422)
_OF_QUERIES = (400, 422)
_OF_LOGINS = (401, 403)
_WITHOUT_BODY = ("GET", "HEAD")


@dataclass(frozen=True, slots=True)
class Operation:
    """One HTTP method of one path.

    Args:
        method: in capitals.
        path: the template.
        name: unique among all; clients made from the document call their functions so.
        summary: one sentence.
        tags: what documents group it by.
        auth: what proves who asks; None: it is public.
        body: JSON Schema of the JSON body; None: it takes none.
        query: JSON Schema of an object whose members are the query parameters; None: it takes none.
        multipart: the body may come as ``multipart/form-data`` too.
        status: of the answer when all goes well.
        response: JSON Schema of the answer's ``data``; None: anything.
        errors: the statuses of its refusals.
        enveloped: its answers are in the REST envelope; else nothing is known of them.
    """

    method: str
    path: str
    name: str
    summary: str = ""
    tags: tuple[str, ...] = ()
    auth: Auth | None = None
    body: dict[str, Any] | None = None
    query: dict[str, Any] | None = None
    multipart: bool = False
    status: int = 200
    response: dict[str, Any] | None = None
    errors: tuple[int, ...] = ()
    enveloped: bool = True


@dataclass(frozen=True, slots=True)
class Sources:
    """Everything that an application's documents are made from.

    Args:
        endpoints: of all doors; those that are hidden stay out, and those of any path, which documents cannot tell.
        operations: HTTP endpoints that are no `Endpoint`.
        event_path: where the event socket listens; None: there is none.
    """

    endpoints: tuple[Endpoint, ...] = ()
    operations: tuple[Operation, ...] = ()
    event_path: str | None = None

    def behind(self, door: Door) -> list[Endpoint]:
        """The endpoints of a door that documents tell of, sorted by path."""
        shown = (each for each in self.endpoints if each.door is door and not each.hidden and not each.takes_any_path)
        return sorted(shown, key=lambda endpoint: (endpoint.path, endpoint.name))


def operations_of(endpoints: Iterable[Endpoint]) -> Iterator[Operation]:
    """The operations of REST endpoints, one for every method."""
    for endpoint in endpoints:
        for method in endpoint.methods:
            yield _operation_of(endpoint, method.upper())


def _operation_of(endpoint: Endpoint, method: str) -> Operation:
    names = parameter_names(endpoint.path, endpoint.source)
    message = endpoint.codec.message_schema
    message = {} if message is None else message
    in_query = method in _WITHOUT_BODY
    guarded = endpoint.needs_login
    errors = {*_ALWAYS, *(_OF_QUERIES if in_query else _OF_BODIES), *(_OF_LOGINS if guarded else ())}
    return Operation(
        method=method,
        path=endpoint.path,
        name="_".join([method.lower(), endpoint.name, *(["by", *names] if names else [])]),
        summary=endpoint.summary,
        tags=endpoint.tags,
        auth="bearer" if guarded else None,
        body=None if in_query else message,
        query=message if in_query else None,
        multipart=message.get(MULTIPART) is True,
        response=_reports(endpoint.codec.response_schema, endpoint.name),
        errors=tuple(sorted(errors | {404} if names else errors)),
        enveloped=endpoint.enveloped,
    )


def _reports(report: dict[str, Any] | None, name: str) -> dict[str, Any]:
    """The ``data`` of an answer: what was reported."""
    inner, definitions = embeddable(report or {}, f"{name}_report")
    reports = {"type": "array", "items": inner}
    return {
        "type": "object",
        "properties": {"reports": reports},
        "required": ["reports"],
        "$defs": definitions,
    }
