"""Refusals: what a database says, as a `Failure`.

Law: a message is one line, the database's own word, without the values that were bound and without passwords.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from sqlalchemy.exc import TimeoutError as PoolTimeout

from wireloom.faces.routes.failure import Failure

__all__ = ["failure_of", "took_too_long"]

# By SQLSTATE (PostgreSQL, appendix A): connection, credentials, no such database, resources, shutting down
_UNAVAILABLE_STATES = ("08", "28", "3D", "53", "57P")
# By result code (sqlite.org/rescode.html): BUSY, LOCKED, READONLY, IOERR, CORRUPT, FULL, CANTOPEN, NOTADB
_UNAVAILABLE_CODES = (5, 6, 8, 10, 11, 13, 14, 26)
_INTERRUPTED, _CONSTRAINT = 9, 19
_QUOTES_VALUES = re.compile(r"fts\d|.*JSON path|unknown special query|Could not decode", re.IGNORECASE)
_QUOTED = re.compile(r"\"[^\n]*\"|'[^\n]*'")


def failure_of(error: BaseException, shown: str, query: str, values: Sequence[Any], password: str = "") -> Failure:
    """What a route is told of an error of the database.

    Args:
        error: of SQLAlchemy or of the driver.
        shown: the database, for people.
        query: what was run.
        values: what was bound to it.
        password: of the database.

    Returns:
        ``CONSTRAINT``, ``UNAVAILABLE`` or ``SQL_ERROR``.
    """
    inner: BaseException = getattr(error, "orig", None) or error
    inner = inner.__cause__ or inner
    word = (str(inner).strip() or type(inner).__name__).splitlines()[0]
    if password:
        word = word.replace(password, "…")
    if _is_unavailable(error, inner):
        return Failure(f"cannot reach the {shown}: {word}", "UNAVAILABLE")
    if _result_code(inner) == _INTERRUPTED:
        return took_too_long()
    constraint = _result_code(inner) == _CONSTRAINT or _state(inner).startswith("23")
    said = _without_values(word, query, values, _state(inner).startswith("22"))
    return Failure(said, "CONSTRAINT" if constraint else "SQL_ERROR")


def took_too_long() -> Failure:
    """What a route is told of a statement that was interrupted."""
    return Failure("the statement took too long and was interrupted", "SQL_ERROR")


def _state(error: BaseException) -> str:
    return getattr(error, "sqlstate", None) or ""


def _result_code(error: BaseException) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _is_unavailable(error: BaseException, inner: BaseException) -> bool:
    if getattr(error, "connection_invalidated", False) or isinstance(error, PoolTimeout):
        return True
    if isinstance(inner, OSError) or _state(inner).startswith(_UNAVAILABLE_STATES):
        return True
    if _result_code(inner) in _UNAVAILABLE_CODES:
        return True
    return type(inner).__name__ == "InterfaceError" and not _state(inner)  # asyncpg: the connection is closed


def _without_values(word: str, query: str, values: Sequence[Any], quotes_values: bool) -> str:
    """Databases quote values in what they say of data (SQLSTATE 22), of full-text queries and of paths in JSON.

    What stands in the query too is no secret.
    """
    if quotes_values or _QUOTES_VALUES.match(word):
        return _QUOTED.sub("“…”", word)
    texts = [value for value in values if isinstance(value, str) and value not in query]
    for text in texts:
        word = word.replace(f'"{text}"', "“…”").replace(f"'{text}'", "“…”")
    what, colon, subject = word.rpartition(": ")  # no such column: a word of a full-text query
    is_of_a_value = subject not in query and any(subject in text for text in texts)
    return f"{what}{colon}“…”" if colon and is_of_a_value else word
