"""Describe: what an application serves, as plain records for `wireloom routes` and for documents."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from wireloom.core.endpoint import Endpoint

__all__ = ["Description", "describe"]


@dataclass(frozen=True, slots=True)
class Description:
    """One endpoint as a reader of documents sees it; schemas are JSON Schema, None where anything goes."""

    door: str
    path: str
    name: str
    summary: str
    auth: bool
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
