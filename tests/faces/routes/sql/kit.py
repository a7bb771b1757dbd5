"""A store of `SqlOp`, and statements by their text."""

from __future__ import annotations

from typing import Any

import pytest

from wireloom.faces.routes.failure import Failure
from wireloom.faces.routes.stores.sql import SqlStore
from wireloom.faces.routes.stores.statement import Statement

__all__ = ["ENDLESS", "SECONDS", "SERIAL", "USERS", "Store"]

SECONDS = 30
USERS = "CREATE TABLE users (id {serial}, name text NOT NULL UNIQUE, age integer, online boolean)"
SERIAL = {True: "serial PRIMARY KEY", False: "integer PRIMARY KEY"}
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) AS n FROM n"


class Store:
    """A store, and statements by their text."""

    def __init__(self, url: str, **options: Any) -> None:
        self.store = SqlStore(url, **options)
        self.is_postgresql = url.startswith("postgresql")

    async def query(self, query: str, *values: Any, **named: Any) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = await self.store.run("query", Statement.parse(query), named or values)
        return rows

    async def query_one(self, query: str, *values: Any, **named: Any) -> Any:
        return await self.store.run("query_one", Statement.parse(query), named or values)

    async def execute(self, query: str, *values: Any, **named: Any) -> Any:
        return await self.store.run("execute", Statement.parse(query), named or values)

    async def refused(self, query: str, *values: Any, **named: Any) -> tuple[str, str]:
        with pytest.raises(Failure) as caught:
            await self.execute(query, *values, **named)
        assert "\n" not in caught.value.message and caught.value.__cause__ is None
        return caught.value.code, caught.value.message

    async def make_users(self) -> None:
        await self.execute(USERS.format(serial=SERIAL[self.is_postgresql]))
        for name, age in (("ann", 30), ("bob", None)):
            await self.execute("INSERT INTO users (name, age, online) VALUES (?, ?, true)", name, age)
