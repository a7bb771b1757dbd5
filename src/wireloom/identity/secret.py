"""Secret: random texts that a database keeps, made when they are first asked for."""

from __future__ import annotations

import secrets

from sqlalchemy import insert, select

from wireloom.database.database import Database
from wireloom.identity.tables import settings

__all__ = ["keep_secret"]


async def keep_secret(database: Database, name: str) -> str:
    """A secret of a database's own; the same for all processes that use it."""
    async with database.writing() as connection:
        if database.is_postgresql:
            await connection.exec_driver_sql(f"LOCK TABLE {settings.name} IN SHARE ROW EXCLUSIVE MODE")
        found: str | None = await connection.scalar(select(settings.c.value).where(settings.c.name == name))
        if found is None:
            found = secrets.token_urlsafe(48)
            await connection.execute(insert(settings).values(name=name, value=found))
        return found
