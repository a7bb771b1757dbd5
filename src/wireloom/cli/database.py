"""``wireloom db``: what the database holds, and its upgrade. Law: ``show`` changes nothing, nor is a database made."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from wireloom.cli.options import store_options
from wireloom.cli.output import plural, print_rows

if TYPE_CHECKING:
    from wireloom.database.database import Database

__all__ = ["db"]

T = TypeVar("T")


@click.group()
def db() -> None:
    """Shows and upgrades the database."""


@db.command("show")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of a table")
@store_options
def show(as_json: bool, database: str | None, config_file: str | None) -> None:
    """Says what the database holds, and whether it has to be upgraded."""
    opened = _database(database, config_file)
    rows = _with_database(opened, _rows_of, as_it_is=True) if opened.exists else []
    if as_json:
        for row in rows:
            row["holds"] = {f"{noun}s".lower().replace(" ", "_"): count for noun, count in row["holds"].items()}
        click.echo(json.dumps({"database": opened.shown, "exists": opened.exists, "parts": rows}, indent=2))
        return
    if not opened.exists:
        click.echo(f"{opened.shown}: there is no database yet")
        return
    click.echo(opened.shown)
    for row in rows:
        row["holds"] = ", ".join(plural(count, noun) for noun, count in row["holds"].items()) or None
    print_rows(rows, ("part", "schema", "needed", "holds"), as_json=False)


@db.command("upgrade")
@store_options
def upgrade(database: str | None, config_file: str | None) -> None:
    """Makes the tables of an older Wireloom today's.

    Stop the servers that use the database first, and keep a copy of it.
    """
    opened = _database(database, config_file)
    if not opened.exists:
        click.echo("nothing to do: there is no database yet")
        return
    if not _with_database(opened, _upgrade):
        click.echo("nothing to do")


def _database(database: str | None, config_file: str | None) -> Database:
    """The database of the command line or the configuration, not opened."""
    from wireloom.config import load_config
    from wireloom.database.database import Database

    return Database(load_config({"database": database}, file=config_file).database)


def _with_database(database: Database, work: Callable[[Database], Awaitable[T]], *, as_it_is: bool = False) -> T:
    """Does some work with an opened database.

    Raises:
        ConfigError: it cannot be opened, or not be upgraded.
    """
    import anyio

    async def run() -> T:
        await database.open(as_it_is=as_it_is)
        try:
            return await work(database)
        finally:
            await database.close()

    return anyio.run(run)


async def _rows_of(database: Database) -> list[dict[str, Any]]:
    """A row for each part: its version, the one that is needed, and how many rows of each kind it has."""
    from wireloom.cli.parts import PARTS

    return [
        {
            "part": part.name,
            "schema": await database.version(part),
            "needed": part.version,
            "holds": await database.counts(part),
        }
        for part in PARTS
    ]


async def _upgrade(database: Database) -> bool:
    """Upgrades every part that is there, and says so; gives whether there was one to upgrade."""
    from wireloom.cli.parts import PARTS

    upgraded = False
    for part in PARTS:
        found = await database.version(part)
        if found is None or found == part.version:
            continue
        await database.prepare(part, upgrade=True)
        click.echo(f"{part.name}: schema {found} → {part.version}")
        upgraded = True
    return upgraded
