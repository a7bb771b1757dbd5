"""Schema: which tables each part of Wireloom has in a database, and how older ones become today's.

Law: a part's version is one number; every step from one to the next is one function, in the transaction of the upgrade.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sqlalchemy import Column, Connection, Integer, MetaData, String, Table, func, insert, select, update

from wireloom.errors import ConfigError

__all__ = ["Part", "count_rows", "find_version", "prepare"]

Step = Callable[[Connection], None]

_metadata = MetaData()

schema_versions = Table(
    "wireloom_schema_versions",
    _metadata,
    Column("part", String, primary_key=True),
    Column("version", Integer, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Part:
    """The tables of one room.

    Args:
        name: what the room is called in the database.
        version: of the tables as `metadata` has them.
        metadata: the tables.
        steps: by a version, what makes the next one of it.
        counted: tables of whose rows people are told the number, by what one row is.
    """

    name: str
    version: int
    metadata: MetaData
    steps: Mapping[int, Step] = field(default_factory=dict)
    counted: Mapping[str, Table] = field(default_factory=dict)


def find_version(connection: Connection, part: Part) -> int | None:
    """The version of a part's tables; None where there are none yet."""
    if not connection.dialect.has_table(connection, schema_versions.name):
        return None
    found: int | None = connection.scalar(select(schema_versions.c.version).where(schema_versions.c.part == part.name))
    return found


def count_rows(connection: Connection, part: Part) -> dict[str, int]:
    """How many rows `Part.counted` has, of those tables that there are."""
    found = {}
    for noun, table in part.counted.items():
        if connection.dialect.has_table(connection, table.name):
            found[noun] = connection.scalar(select(func.count()).select_from(table)) or 0
    return found


def prepare(connection: Connection, part: Part, *, upgrade: bool) -> None:
    """Makes a part's tables, or makes today's of older ones.

    Args:
        connection: in a transaction that nobody else prepares at the same time.
        part: whose tables.
        upgrade: whether older tables are changed; else they are refused.

    Raises:
        ConfigError: the tables are older and must not be changed here, or a newer Wireloom made them.
    """
    found = find_version(connection, part)
    if found is None:
        _metadata.create_all(connection)
        part.metadata.create_all(connection)
        connection.execute(insert(schema_versions).values(part=part.name, version=part.version))
        return
    if found > part.version:
        raise ConfigError(
            f"the database was made by a newer Wireloom (schema {found}; this one knows {part.version}):"
            " upgrade, or name another database"
        )
    if found < part.version:
        if not upgrade:
            raise ConfigError(
                f"the database has schema {found} of {part.name!r}, this Wireloom needs {part.version}:"
                " stop the servers that use it, then run: wireloom db upgrade"
            )
        for version in range(found, part.version):
            part.steps[version](connection)
        versions = update(schema_versions).where(schema_versions.c.part == part.name)
        connection.execute(versions.values(version=part.version))
