"""Database: opens the SQL database and gives connections.

Laws:
- No value that is bound ever reaches a log or an error.
- What has begun is done to its end, also when whoever waits for it is cancelled.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import re
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import anyio
from sqlalchemy import Connection, event, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from wireloom.database.address import Address
from wireloom.database.schema import Part, count_rows, find_version, prepare
from wireloom.errors import ConfigError

__all__ = ["Database", "unbroken"]

T = TypeVar("T")
P = ParamSpec("P")

_BUSY_SECONDS = 15.0  # another process may hold SQLite's one write lock so long
_CONNECT_SECONDS = 10.0
_STATEMENT_SECONDS = 60.0  # of PostgreSQL
_LOCK_OF_THE_SCHEMA = 0x776C_6964  # any number that other applications do not lock


class _Quiet(logging.Filter):
    """Lets nothing pass below INFO: aiosqlite tells of statements together with what is bound to them."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno >= logging.INFO


_QUIET = _Quiet()


class Database:
    """Opens the database, makes the tables of the rooms that use it, and gives connections.

    Args:
        url: the option ``database``.
        statement_seconds: how long PostgreSQL works on one statement at most.

    Raises:
        ConfigError: not an address of a database that is served.
    """

    def __init__(self, url: str, *, statement_seconds: float = _STATEMENT_SECONDS) -> None:
        self._address = Address.parse(url)
        self._statement_seconds = statement_seconds
        self._engine: AsyncEngine | None = None
        self._keeper: sqlite3.Connection | None = None
        self._writer: asyncio.Lock | None = None
        self._at_work: set[asyncio.Task[Any]] = set()

    @property
    def shown(self) -> str:
        """What it is, for people."""
        return self._address.shown

    @property
    def is_postgresql(self) -> bool:
        """Whether it is PostgreSQL; else it is SQLite."""
        return self._address.url.get_backend_name() == "postgresql"

    @property
    def in_memory(self) -> bool:
        """Whether it is SQLite's, without a file: there is one connection."""
        return self._address.in_memory

    @property
    def exists(self) -> bool:
        """Whether there is something to open; a server is believed to be there."""
        return self._address.file is None or self._address.file.exists()

    async def open(self, *, as_it_is: bool = False) -> None:
        """Opens the database.

        Args:
            as_it_is: only to look: no file is made, nor are its rights and its journal changed.

        Raises:
            ConfigError: it cannot be opened.
        """
        if self._address.file is not None:
            if not as_it_is:
                _make_file(self._address.file)
            elif not self.exists:
                raise ConfigError(f"cannot open the {self.shown}: there is none")
        elif self._address.in_memory:
            self._keeper = _keep(str(self._address.url.database))
        self._engine = _make_engine(self._address, self._statement_seconds)
        # SQLite has one writer; those of this process take turns here, which is kinder than its polling.
        self._writer = None if self.is_postgresql else asyncio.Lock()
        async with self._opening():
            if self._address.file is not None and not as_it_is:
                await self._turn_on_wal()
            async with self.reading() as connection:
                await connection.execute(text("SELECT 1"))

    async def prepare(self, part: Part, *, upgrade: bool | None = None) -> None:
        """Makes what is missing of a room's tables; many processes may do so at once.

        Args:
            part: the tables.
            upgrade: whether older tables become today's. None: with SQLite, which belongs to one machine; servers of an
                older Wireloom may still run on a PostgreSQL database.

        Raises:
            ConfigError: the tables are older and must not be changed here, or a newer Wireloom made them.
        """
        change = not self.is_postgresql if upgrade is None else upgrade
        async with self._opening(), self.writing() as connection:
            if self.is_postgresql:
                await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK_OF_THE_SCHEMA})
            await connection.run_sync(prepare, part, upgrade=change)

    async def version(self, part: Part) -> int | None:
        """The version of a room's tables as they are; None where there are none."""
        async with self._opening(), self.reading() as connection:
            return await connection.run_sync(find_version, part)

    async def counts(self, part: Part) -> dict[str, int]:
        """How many rows there are in those of a room's tables that people are told of, by what one row is."""
        async with self._opening(), self.reading() as connection:
            return await connection.run_sync(count_rows, part)

    async def close(self) -> None:
        """Closes all connections, when what is being done has been done."""
        if self._at_work:
            await asyncio.wait(self._at_work)
        engine, self._engine = self._engine, None
        keeper, self._keeper = self._keeper, None
        if engine is not None:
            await engine.dispose()
        if keeper is not None:
            keeper.close()

    async def finish(self, work: Coroutine[Any, Any, T]) -> T:
        """Does some work to its end, also when whoever waits for it is cancelled.

        A connection whose statement is cancelled is of no use to anybody, and a commit would be neither done nor not.
        """
        task = asyncio.get_running_loop().create_task(work)
        self._at_work.add(task)
        task.add_done_callback(self._done)
        return await asyncio.shield(task)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._at_work.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waits is told, if anybody still does

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection for one statement that changes nothing."""
        async with self._opened().connect() as connection:
            yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A connection in a transaction that is committed at the end, or undone by an exception."""
        async with self._writer or nullcontext(), self._opened().connect() as connection:
            await connection.execution_options(wireloom_writes=True)
            async with connection.begin():
                yield connection

    def _opened(self) -> AsyncEngine:
        if self._engine is None:
            raise RuntimeError("the database is not open")
        return self._engine

    @asynccontextmanager
    async def _opening(self) -> AsyncIterator[None]:
        """What goes wrong with the database is told to people; afterwards it is closed."""
        try:
            yield
        except (OSError, SQLAlchemyError) as error:
            await self.close()
            raise ConfigError(f"cannot open the {self.shown}: {self._reason(error)}") from None
        except BaseException:
            await self.close()
            raise

    async def _turn_on_wal(self) -> None:
        """SQLite does not wait for the lock of this one change, so two processes that start have to take turns."""
        end = time.monotonic() + _BUSY_SECONDS
        while True:
            try:
                async with self._opened().connect() as connection:
                    raw = await connection.get_raw_connection()
                    assert raw.driver_connection is not None
                    await (await raw.driver_connection.execute("PRAGMA journal_mode=WAL")).close()
                return
            except (DBAPIError, sqlite3.DatabaseError) as error:
                if "locked" not in str(error) or time.monotonic() > end:
                    raise ConfigError(f"cannot open the {self._address.shown}: {self._reason(error)}") from None
            await anyio.sleep(0.02)

    def _reason(self, error: BaseException) -> str:
        """What went wrong in a line: the driver's word, never SQL, never the password."""
        inner = getattr(error, "orig", None) or error
        reason = (str(inner.__cause__ or inner) or type(inner).__name__).splitlines()[0]
        reason = re.sub(r"^\[Errno \d+\] ", "", reason)
        hidden = str(self._address.url.password or "")
        return reason.replace(hidden, "…") if hidden else reason


def _make_file(file: Path) -> None:
    """Makes the database's file, and directories that lack, for their owner only."""
    missing = [folder for folder in file.parents if not folder.exists()]
    try:
        for folder in reversed(missing):
            folder.mkdir(0o700, exist_ok=True)
        if missing and file.parent.name == ".wireloom":
            (file.parent / ".gitignore").write_text("*\n")
        # Not the process's umask: SQLite gives its further files the rights of this one.
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        if file.stat().st_mode & 0o077:
            file.chmod(0o600)
    except OSError as error:
        raise ConfigError(f"cannot open the SQLite file {file}: {error.strerror}") from None


def _keep(name: str) -> sqlite3.Connection:
    """Keeps a database in memory while the pool's connections come and go."""
    return sqlite3.connect(f"{name}?mode=memory&cache=shared", uri=True, check_same_thread=False)


def _make_engine(address: Address, statement_seconds: float) -> AsyncEngine:
    quiet = logging.getLogger("sqlalchemy.engine.Engine.wireloom")
    quiet.setLevel(logging.WARNING)  # at INFO it tells of statements, at DEBUG of rows
    options: dict[str, Any] = {"hide_parameters": True, "logging_name": "wireloom"}
    if address.url.get_backend_name() == "postgresql":
        limits = {"timeout": _CONNECT_SECONDS, "command_timeout": statement_seconds}
        options |= {"pool_pre_ping": True, "connect_args": limits}
        engine = create_async_engine(address.url, **options)
        milliseconds = math.ceil((statement_seconds + 1) * 1000)
        event.listen(engine.sync_engine, "connect", partial(_prepare_postgresql, milliseconds))
        return engine
    logging.getLogger("aiosqlite").addFilter(_QUIET)
    if address.in_memory:
        # One connection: several of one cache do not wait for each other's locks.
        options |= {"poolclass": AsyncAdaptedQueuePool, "pool_size": 1, "max_overflow": 0}
    engine = create_async_engine(address.url, **options)
    event.listen(engine.sync_engine, "connect", _prepare_sqlite)
    event.listen(engine.sync_engine, "begin", _begin_sqlite)
    return engine


def _prepare_postgresql(milliseconds: int, connection: Any, _record: Any) -> None:
    # The server would go on with what a connection asked that was given up.
    _execute(connection, f"SET statement_timeout = {milliseconds}")
    connection.commit()


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # the driver begins nothing by itself: _begin_sqlite does
    _execute(connection, f"PRAGMA busy_timeout={int(_BUSY_SECONDS * 1000)}")
    _execute(connection, "PRAGMA foreign_keys=ON")


def _execute(connection: Any, statement: str) -> None:
    cursor = connection.cursor()
    cursor.execute(statement)
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # Reading is one statement, which needs no transaction. One that read first and then had to wait for the lock would
    # fail, not wait.
    if connection.get_execution_options().get("wireloom_writes"):
        connection.exec_driver_sql("BEGIN IMMEDIATE")


class _HasDatabase(Protocol):
    _database: Database


Owner = TypeVar("Owner", bound=_HasDatabase)


def unbroken(
    method: Callable[Concatenate[Owner, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Owner, P], Coroutine[Any, Any, T]]:
    """Makes a method of an owner of a database one that is done to its end (`Database.finish`)."""

    async def run(self: Owner, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._database.finish(method(self, *args, **kwargs))

    run.__name__, run.__doc__ = method.__name__, method.__doc__
    return run
