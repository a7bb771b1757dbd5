"""Store: the SQL database of users and keys. Law: no value that is bound ever reaches a log or an error."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import anyio
from sqlalchemy import Connection, event, insert, select, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from wireloom.errors import ConfigError
from wireloom.identity.address import Address
from wireloom.identity.tables import SCHEMA_VERSION, metadata, schema_versions, settings

__all__ = ["Store", "unbroken"]

T = TypeVar("T")
P = ParamSpec("P")

_BUSY_SECONDS = 15.0  # another process may hold SQLite's one write lock so long
_CONNECT_SECONDS = 10.0
_LOCK_OF_THE_SCHEMA = 0x776C_6964  # any number that other applications do not lock
_SECRETS = ("token_secret", "key_secret")


class _Quiet(logging.Filter):
    """Lets nothing pass below INFO: aiosqlite tells of statements together with what is bound to them."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno >= logging.INFO


_QUIET = _Quiet()


class Store:
    """Opens the database, makes its tables, and gives connections.

    Args:
        database: the option of that name.

    Raises:
        ConfigError: not an address of a database that is served.
    """

    def __init__(self, database: str) -> None:
        self._address = Address.parse(database)
        self._engine: AsyncEngine | None = None
        self._keeper: sqlite3.Connection | None = None
        self._secrets: dict[str, str] = {}
        self._at_work: set[asyncio.Task[Any]] = set()

    async def open(self) -> None:
        """Opens the database and makes what is missing in it; many processes may do so at once.

        Raises:
            ConfigError: it cannot be opened, or a newer Wireloom made it.
        """
        if self._address.file is not None:
            _make_file(self._address.file)
        elif self._address.in_memory:
            self._keeper = _keep(str(self._address.url.database))
        self._engine = _make_engine(self._address)
        try:
            await self._prepare()
        except (OSError, SQLAlchemyError) as error:
            await self.close()
            raise ConfigError(f"cannot open the {self._address.shown}: {self._reason(error)}") from None
        except BaseException:
            await self.close()
            raise

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

    def secret(self, name: str) -> str:
        """A secret of this database's own, made when the database was: ``token_secret`` or ``key_secret``."""
        return self._secrets[name]

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
        async with self._opened().connect() as connection:
            await connection.execution_options(wireloom_writes=True)
            async with connection.begin():
                yield connection

    def _opened(self) -> AsyncEngine:
        if self._engine is None:
            raise RuntimeError("the identity's store is not open: await identity.start() first")
        return self._engine

    async def _prepare(self) -> None:
        if self._address.file is not None:
            await self._turn_on_wal()
        async with self.writing() as connection:
            if self._address.url.get_backend_name() == "postgresql":
                await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK_OF_THE_SCHEMA})
            await connection.run_sync(_require_version)
            await connection.run_sync(metadata.create_all)
            await _note_version(connection)
            self._secrets = {name: await _secret(connection, name) for name in _SECRETS}

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


def _make_engine(address: Address) -> AsyncEngine:
    quiet = logging.getLogger("sqlalchemy.engine.Engine.wireloom")
    quiet.setLevel(logging.WARNING)  # at INFO it tells of statements, at DEBUG of rows
    options: dict[str, Any] = {"hide_parameters": True, "logging_name": "wireloom"}
    if address.url.get_backend_name() == "postgresql":
        options |= {"pool_pre_ping": True, "connect_args": {"timeout": _CONNECT_SECONDS, "command_timeout": 60.0}}
        return create_async_engine(address.url, **options)
    logging.getLogger("aiosqlite").addFilter(_QUIET)
    if address.in_memory:
        # One connection: several of one cache do not wait for each other's locks.
        options |= {"poolclass": AsyncAdaptedQueuePool, "pool_size": 1, "max_overflow": 0}
    engine = create_async_engine(address.url, **options)
    event.listen(engine.sync_engine, "connect", _prepare_sqlite)
    event.listen(engine.sync_engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # the driver begins nothing by itself: _begin_sqlite does
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={int(_BUSY_SECONDS * 1000)}")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # Reading is one statement, which needs no transaction. One that read first and then had to wait for the lock would
    # fail, not wait.
    if connection.get_execution_options().get("wireloom_writes"):
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _require_version(connection: Connection) -> None:
    """Refuses tables that a newer Wireloom has made."""
    if not connection.dialect.has_table(connection, schema_versions.name):
        return
    found = connection.scalar(select(schema_versions.c.version).where(schema_versions.c.part == "identity"))
    if found is not None and found > SCHEMA_VERSION:
        raise ConfigError(
            f"the database was made by a newer Wireloom (schema {found}; this one knows {SCHEMA_VERSION}):"
            " upgrade, or name another database"
        )


async def _note_version(connection: AsyncConnection) -> None:
    known = await connection.scalar(select(schema_versions.c.version).where(schema_versions.c.part == "identity"))
    if known is None:
        await connection.execute(insert(schema_versions).values(part="identity", version=SCHEMA_VERSION))


async def _secret(connection: AsyncConnection, name: str) -> str:
    found: str | None = await connection.scalar(select(settings.c.value).where(settings.c.name == name))
    if found is None:
        found = secrets.token_urlsafe(48)
        await connection.execute(insert(settings).values(name=name, value=found))
    return found


class _HasStore(Protocol):
    _store: Store


Owner = TypeVar("Owner", bound=_HasStore)


def unbroken(
    method: Callable[Concatenate[Owner, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Owner, P], Coroutine[Any, Any, T]]:
    """Makes a method of an owner of a store one that is done to its end (`Store.finish`)."""

    async def run(self: Owner, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._store.finish(method(self, *args, **kwargs))

    run.__name__, run.__doc__ = method.__name__, method.__doc__
    return run
