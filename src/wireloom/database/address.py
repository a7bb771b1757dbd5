"""Address: where the database is, as people write it. Law: what is shown of it holds no password."""

from __future__ import annotations

import importlib.util
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from wireloom.errors import ConfigError

__all__ = ["Address"]

_EXPECTED = "database must be sqlite:///FILE, sqlite:// or postgresql://USER:PASSWORD@HOST/NAME"
_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
}


@dataclass(frozen=True, slots=True)
class Address:
    """Where the database is.

    Attributes:
        url: for SQLAlchemy.
        shown: for people.
        file: of SQLite; None when there is none.
    """

    url: URL = field(repr=False)
    shown: str
    file: Path | None = None

    @property
    def in_memory(self) -> bool:
        """Whether it is gone when the process ends."""
        return self.url.get_backend_name() == "sqlite" and self.file is None

    @classmethod
    def parse(cls, text: str) -> Address:
        """Reads the option ``database``.

        Raises:
            ConfigError: no URL, or of a database that is not served.
        """
        try:
            url = make_url(text)
            driver = _DRIVERS.get(url.drivername)
        except (ArgumentError, ValueError):
            driver = None
        if driver is None:
            raise ConfigError(_EXPECTED)
        url = url.set(drivername=driver)
        return _sqlite(url) if driver.startswith("sqlite") else _postgresql(url)


def _sqlite(url: URL) -> Address:
    if url.host or url.username or url.query:
        raise ConfigError("database: an SQLite file is written sqlite:///FILE, an absolute one sqlite:////FILE")
    if url.database in (None, "", ":memory:"):
        # One that several connections share (SQLite, In-Memory Databases); its name keeps it apart from all others.
        name = f"file:wireloom-{secrets.token_hex(8)}"
        query = {"mode": "memory", "cache": "shared", "uri": "true"}
        return Address(url.set(database=name, query=query), "sqlite:// (in memory)")
    file = Path(str(url.database))
    return Address(url, f"SQLite file {file}", file)


def _postgresql(url: URL) -> Address:
    if not url.database:
        raise ConfigError("database: a PostgreSQL database is written postgresql://USER:PASSWORD@HOST/NAME")
    if importlib.util.find_spec("asyncpg") is None:
        raise ConfigError("a database postgresql:// needs the extra: pip install 'wireloom[postgres]'")
    query = dict(url.query)
    if "sslmode" in query:  # libpq's word, which people know; asyncpg's is ssl
        query["ssl"] = query.pop("sslmode")
    place = url.host or query.get("host") or "localhost"
    port = f":{url.port}" if url.port else ""
    return Address(url.set(query=query), f"PostgreSQL database {url.database} on {place}{port}")
