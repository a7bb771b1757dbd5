"""PostgreSQL: its types for the values of routes, which JSON does not have.

Law: a value is sent as text and read by the server itself, as if it stood in the query in quotes, but bound.
"""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from wireloom.faces.routes.expressions.values import text_of
from wireloom.faces.routes.stores.statement import Statement

__all__ = ["Casts"]

_NUMBERS = ("smallint", "integer", "bigint", "numeric", "real", "double precision")
# With the type modifier -1: without one, character(1) would be meant, and a text cut.
_NAMES = "SELECT format_type(p.type, -1) FROM unnest($1::oid[]) WITH ORDINALITY AS p(type, number) ORDER BY p.number"
_MAX_STATEMENTS = 1000


class Casts:
    """Knows which types the server has found for the placeholders of statements; asks it once for each."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, list[str]]] = {}

    async def apply(
        self, connection: AsyncConnection, statement: Statement, values: tuple[Any, ...]
    ) -> tuple[str, tuple[str | None, ...]]:
        """The SQL for the driver, and what is bound to it.

        Raises:
            asyncpg.PostgresError: the server does not understand the statement.
        """
        if statement.query not in self._known:
            if len(self._known) >= _MAX_STATEMENTS:
                self._known.clear()
            self._known[statement.query] = await _ask(connection, statement)
        sql, types = self._known[statement.query]
        return sql, tuple(_as_text(value, name) for value, name in zip(values, types, strict=True))

    def forget(self, statement: Statement) -> None:
        """The types may have become others: the tables may have."""
        self._known.pop(statement.query, None)


async def _ask(connection: AsyncConnection, statement: Statement) -> tuple[str, list[str]]:
    bare = statement.written(lambda number: f"${number}")
    if not statement.places:
        return bare, []
    driver: Any = (await connection.get_raw_connection()).driver_connection
    numbers = [parameter.oid for parameter in (await driver.prepare(bare)).get_parameters()]
    types = [record[0] for record in await driver.fetch(_NAMES, numbers)]
    return statement.written(lambda number: f"CAST(CAST(${number} AS text) AS {types[number - 1]})"), types


def _as_text(value: Any, type_name: str) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool) and type_name in _NUMBERS:
        return "1" if value else "0"
    if type_name.endswith("[]") and isinstance(value, str):
        return _as_array(value)
    return text_of(value)


def _as_array(text: str) -> str:
    """A flat JSON list as PostgreSQL writes arrays; any other text is believed to be one that is written so."""
    try:
        items = msgspec.json.decode(text, type=list[str | int | float | bool | None])
    except msgspec.DecodeError:
        return text
    return "{" + ",".join("NULL" if item is None else _quoted(text_of(item)) for item in items) + "}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
