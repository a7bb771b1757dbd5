"""SQLite: what a connection of routes may not do.

Law: a statement reaches no file but its own database's, changes no setting of the connection, and ends in time.
"""

from __future__ import annotations

import sqlite3
import time
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

__all__ = ["guard_sqlite"]

_INSTRUCTIONS = 100_000  # of SQLite's machine between two looks at the clock: about a millisecond
_HARMLESS = ("data_version", "page_size")  # full-text search and R-trees read these themselves
_OURS = "wireloom_routes"
_TEMPORARY = ("CREATE_TEMP_TABLE", "CREATE_TEMP_VIEW", "CREATE_TEMP_TRIGGER", "CREATE_TEMP_INDEX")
_REFUSED = {  # another file; what outlives its statement on this connection, and hides what others mean
    getattr(sqlite3, f"SQLITE_{name}") for name in ("ATTACH", "DETACH", *_TEMPORARY)
}


class _Guard:
    """Stands over one connection."""

    def __init__(self) -> None:
        self.ends = 0.0

    def is_late(self) -> bool:
        """Whether the statement is to be interrupted."""
        return time.monotonic() > self.ends


async def guard_sqlite(connection: AsyncConnection, seconds: float) -> None:
    """Puts a connection under guard, and lets the next statement run for so many seconds."""
    guard = connection.info.get(_OURS)
    if guard is None:
        guard = _Guard()
        driver: Any = (await connection.get_raw_connection()).driver_connection
        await driver.set_authorizer(_authorize)
        await driver.set_progress_handler(guard.is_late, _INSTRUCTIONS)
        connection.info[_OURS] = guard
    guard.ends = time.monotonic() + seconds


def _authorize(action: int, first: str | None, second: str | None, *_: str | None) -> int:
    """SQLite asks this while it prepares a statement (sqlite.org/c3ref/set_authorizer.html)."""
    if action in _REFUSED:
        return sqlite3.SQLITE_DENY
    if action == sqlite3.SQLITE_PRAGMA and (first not in _HARMLESS or second is not None):
        return sqlite3.SQLITE_DENY
    if action == sqlite3.SQLITE_FUNCTION and second in ("load_extension", "fts3_tokenizer"):
        return sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK
