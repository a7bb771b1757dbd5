"""``wireloom routes``: what would be served, as a table or as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from wireloom.cli.options import targets_argument
from wireloom.cli.output import relative

if TYPE_CHECKING:
    from wireloom.core.describe import Description

__all__ = ["routes"]

_PIPE_WIDTH = 10_000  # columns; a table that nobody looks at is never wrapped


@click.command()
@targets_argument
@click.option("--json", "as_json", is_flag=True, help="a JSON array, with the whole schemas")
def routes(targets: tuple[str, ...], as_json: bool) -> None:
    """Lists the endpoints of TARGETs.

    Each with door and HTTP methods, path, name, auth, message and where it is declared.
    """
    from wireloom.cli.target import load_app

    rows = load_app(targets).app.describe()
    if as_json:
        entries = [{**asdict(row), "source": relative(row.source)} for row in rows]
        click.echo(json.dumps(entries, indent=2, ensure_ascii=False))
    else:
        _print_table(rows)


def _print_table(rows: Sequence[Description]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("door", "path", "name", "auth", "message", "source"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        auth, message = "yes" if row.auth else "no", _title_of(row.message_schema)
        door = " ".join((row.door, *row.methods))
        table.add_row(*map(_plain, (door, row.path, row.name, auth, message, relative(row.source))))
    Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH, highlight=False).print(table)


def _plain(text: str) -> Any:
    """Text in which brackets are no markup."""
    from rich.text import Text

    return Text(text)


def _title_of(schema: Any) -> str:
    """What a message is, in a word: the schema's title or type, or ``any``."""
    if not isinstance(schema, dict) or not schema:
        return "any"
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "title" in schema:
        return str(schema["title"])
    arms = schema.get("anyOf") or schema.get("oneOf")
    if arms:
        return " | ".join(_title_of(arm) for arm in arms)
    if schema.get("type") == "array" and isinstance(schema.get("items"), dict):
        return f"array of {_title_of(schema['items'])}"
    kind = schema.get("type", "any")
    return " | ".join(kind) if isinstance(kind, list) else str(kind)
