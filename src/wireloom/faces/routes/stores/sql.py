"""SqlStore: the SQL database that routes use.

Laws:
- Each statement is a transaction of its own: done to its end, also when its caller is cancelled, or not at all.
- Nothing is opened, nor any file made, before the first statement.
- Whatever the database refuses is a `Failure`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import anyio
from sqlalchemy import Connection, CursorResult
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from wireloom.database.address import Address
from wireloom.database.database import Database
from wireloom.errors import ConfigError, did_you_mean
from wireloom.faces.routes.failure import Failure
from wireloom.faces.routes.stores.postgresql import Casts
from wireloom.faces.routes.stores.refusals import failure_of, took_too_long
from wireloom.faces.routes.stores.rows import as_rows, plain
from wireloom.faces.routes.stores.sqlite import guard_sqlite
from wireloom.faces.routes.stores.statement import SQL_OPERATIONS, Statement

__all__ = ["SqlStore"]

Values = Mapping[str, Any] | Sequence[Any] | None


class SqlStore:
    """Runs statements of routes on one database, SQLite or PostgreSQL.

    On PostgreSQL every value is given as text and cast to the type that the server finds for its placeholder. So
    numbers, texts and bools fit wherever the server can read their text: ``"5"`` for an integer, ``5`` for a text,
    ``"2024-05-01T12:00:00Z"`` for a timestamp, ``"true"`` for a boolean, also ``true`` for a number (1), JSON for json
    and jsonb, and a list for an array (``id = ANY(:ids)``). Where the server finds no type (``:a IS NULL`` alone,
    ``:a + :b``) the query says it: ``CAST(:a AS integer)``.

    SQLite takes values as they are and converts them by its columns' affinity; it has no bools but 0 and 1.

    Args:
        url: as the option ``database``.
        max_rows: what one query may give.
        max_seconds: how long one statement may run.

    Raises:
        ConfigError: not an address of a database that is served, or what it needs is not installed.
    """

    def __init__(self, url: str, *, max_rows: int = 10_000, max_seconds: float = 30.0) -> None:
        self._database = Database(url, statement_seconds=max_seconds + 1)
        self._password = str(Address.parse(url).url.password or "")
        self._max_rows = max_rows
        self._max_seconds = max_seconds
        self._casts = Casts()
        self._turn = anyio.Lock()
        self._is_open = False
        self._refused: tuple[float, str] | None = None

    @property
    def shown(self) -> str:
        """What the database is, for people."""
        return self._database.shown

    async def stop(self) -> None:
        """Closes the database, when what is being done has been done."""
        await self._database.close()
        self._is_open = False

    async def run(self, operation: str, statement: Statement, values: Values) -> Any:
        """Runs a statement.

        Args:
            operation: ``query`` gives a list of rows, ``query_one`` the first row or None, ``execute``
                ``{"rows_affected": …, "last_id": …}``. A row is an object of JSON's values (`rows.plain`). ``last_id``
                is the value of a ``RETURNING`` of one column; else on SQLite the row id that an ``INSERT`` without
                ``ON CONFLICT`` has given; else None.
            statement: what to run.
            values: to be bound.

        Raises:
            Failure: ``INVALID_ARGUMENT``, ``SQL_ERROR``, ``CONSTRAINT``, ``TOO_MANY_ROWS`` or ``UNAVAILABLE``.
        """
        if operation not in SQL_OPERATIONS:
            hint = did_you_mean(operation, SQL_OPERATIONS)
            raise Failure(f"there is no SQL operation {operation!r}{hint}", "INVALID_ARGUMENT")
        bound = statement.bind(values)
        if not self._is_open:
            await self._open()
        return await self._database.finish(self._run(operation, statement, bound))

    async def _run(self, operation: str, statement: Statement, values: tuple[Any, ...]) -> Any:
        try:
            looks = statement.only_looks and not self._database.is_postgresql
            async with self._database.reading() if looks else self._database.writing() as connection:
                return await self._run_on(connection, operation, statement, values)
        except Failure:
            raise
        except Exception as error:
            if not isinstance(error, SQLAlchemyError | OSError) and not _is_of_driver(error):
                raise
            self._casts.forget(statement)
            raise failure_of(error, self.shown, statement.query, values, self._password) from None

    async def _open(self) -> None:
        """Opens the database once. Those who wait while it cannot be opened are told what the first one was told."""
        asked = time.monotonic()
        async with self._turn:
            if self._is_open:
                return
            if self._refused is None or self._refused[0] < asked:
                try:
                    with anyio.CancelScope(shield=True):
                        await self._database.open()
                    self._is_open = True
                    return
                except ConfigError as error:
                    self._refused = time.monotonic(), error.message
            raise Failure(self._refused[1], "UNAVAILABLE") from None

    async def _run_on(
        self, connection: AsyncConnection, operation: str, statement: Statement, values: tuple[Any, ...]
    ) -> Any:
        work = {"query": self._query, "query_one": _query_one, "execute": _execute}[operation]
        if not self._database.is_postgresql:
            await guard_sqlite(connection, self._max_seconds)
            return await connection.run_sync(work, statement, statement.written(lambda number: f"?{number}"), values)
        limit = anyio.move_on_after(self._max_seconds)
        with limit:
            sql, texts = await self._casts.apply(connection, statement, values)
            return await connection.run_sync(work, statement, sql, texts)
        raise took_too_long()

    def _query(self, connection: Connection, _statement: Statement, sql: str, values: tuple[Any, ...]) -> Any:
        with _begin(connection, sql, values, stream=True) as result:
            rows = _fetch(result, self._max_rows + 1)
        if len(rows) > self._max_rows:
            raise Failure(f"the query gives more than {self._max_rows} rows: add a LIMIT", "TOO_MANY_ROWS")
        return rows


def _query_one(connection: Connection, _statement: Statement, sql: str, values: tuple[Any, ...]) -> Any:
    with _begin(connection, sql, values, stream=True) as result:
        return next(iter(_fetch(result, 1)), None)


def _execute(connection: Connection, statement: Statement, sql: str, values: tuple[Any, ...]) -> Any:
    with _begin(connection, sql, values, stream=False) as result:
        last_id = None
        if result.returns_rows:
            rows = result.fetchall() if len(result.keys()) == 1 else []
            last_id = plain(rows[-1][0]) if rows and statement.changes_rows else None
        elif connection.dialect.name == "sqlite" and _gives_row_id(statement) and result.rowcount > 0:
            last_id = result.lastrowid
        return {"rows_affected": max(result.rowcount, 0) if statement.changes_rows else 0, "last_id": last_id}


def _begin(connection: Connection, sql: str, values: tuple[Any, ...], *, stream: bool) -> CursorResult[Any]:
    return connection.exec_driver_sql(sql, values, execution_options={"stream_results": stream})


def _fetch(result: CursorResult[Any], count: int) -> list[dict[str, Any]]:
    return as_rows(list(result.keys()), result.fetchmany(count)) if result.returns_rows else []


def _gives_row_id(statement: Statement) -> bool:
    """With ON CONFLICT a row may have been updated instead, of which SQLite does not tell the id."""
    return statement.keyword in ("INSERT", "REPLACE") and "CONFLICT" not in statement.words


def _is_of_driver(error: Exception) -> bool:
    return type(error).__module__.partition(".")[0] in ("asyncpg", "sqlite3", "aiosqlite")
