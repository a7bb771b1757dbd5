"""Describe: what an application serves, as plain records for `wireloom routes` and for documents."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from wireloom.core.endpoint import Endpoint
from wireloom.core.operation import Operation

__all__ = ["OWN", "Description", "describe", "describe_mount", "describe_own"]

OWN = "wireloom"
"""The source of what nobody declared: Wireloom brings it."""


@dataclass(frozen=True, slots=True)
class Description:
    """One endpoint as a reader of documents sees it; schemas are JSON Schema, None where anything goes.

    ``auth`` is None where another application decides.
    """

    door: str
    path: str
    name: str
    summary: str
    auth: bool | None
    message_schema: Any
    response_schema: Any
    source: str
    methods: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()


def describe(endpoints: Iterable[Endpoint]) -> list[Description]:
    """All endpoints, sorted by path."""
    rows = [
        Description(
            door=endpoint.door.value,
            path=endpoint.path,
            name=endpoint.name,
            summary=endpoint.summary,
            auth=endpoint.needs_login,
            message_schema=endpoint.codec.message_schema,
            response_schema=endpoint.codec.response_schema,
            source=endpoint.source,
            methods=endpoint.methods,
            tags=endpoint.tags,
        )
        for endpoint in endpoints
        if not endpoint.hidden
    ]
    return sorted(rows, key=lambda row: (row.path, row.door))


def describe_mount(path: str, name: str, source: str) -> Description:
    """What is mounted below a path, and decides itself what it answers."""
    return Description("http", f"{path.rstrip('/')}/*", name, "", None, None, None, source)


def describe_own(paths: Iterable[str], operations: Iterable[Operation]) -> list[Description]:
    """What Wireloom brings over HTTP.

    Args:
        paths: answered to a GET.
        operations: the endpoints of users.
    """
    rows = [Description("http", path, "", "", False, None, None, OWN, ("GET",)) for path in paths]
    for each in operations:
        auth = each.auth is not None
        methods, tags = (each.method,), each.tags
        rows.append(
            Description("http", each.path, each.name, each.summary, auth, each.body, each.response, OWN, methods, tags)
        )
    return sorted(rows, key=lambda row: (row.path, row.methods))
