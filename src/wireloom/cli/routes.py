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

_MOST_ARMS = 4  # of a union, before the rest is left out
_PIPE_WIDTH = 10_000  # columns; a table that nobody looks at is never wrapped


@click.command()
@targets_argument
@click.option("--json", "as_json", is_flag=True, help="a JSON array, with the whole schemas")
@click.option("--all", "with_own", is_flag=True, help="with the paths that Wireloom brings: health, documents, users")
def routes(targets: tuple[str, ...], as_json: bool, with_own: bool) -> None:
    """Lists the endpoints of TARGETs.

    Each with door and HTTP methods, path, name, auth, message, reply and where it is declared; then what is mounted.
    """
    from wireloom.cli.target import load_app
    from wireloom.core.describe import OWN

    app = load_app(targets).app
    rows = [*app.describe(), *(row for row in app.describe_http() if with_own or row.source != OWN)]
    if as_json:
        entries = [{**asdict(row), "source": relative(row.source)} for row in rows]
        click.echo(json.dumps(entries, indent=2, ensure_ascii=False))
    else:
        _print_table(rows)


def _print_table(rows: Sequence[Description]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("door", "path", "name", "auth", "message", "reply", "source"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        auth = {True: "yes", False: "no", None: "-"}[row.auth]
        door, source = " ".join((row.door, *row.methods)), relative(row.source) or "-"
        table.add_row(*map(_plain, (door, row.path, row.name or "-", auth, *_titles_of(row), source)))
    Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH, highlight=False).print(table)


def _titles_of(row: Description) -> tuple[str, str]:
    """What a message and a reply are; of what is no endpoint, as far as that is known."""
    message, reply = (_title_of(schema).lstrip("_") for schema in (row.message_schema, row.response_schema))
    if row.door == "http":
        return "-" if row.message_schema is None else message, "-" if row.response_schema is None else reply
    return message, reply


def _plain(text: str) -> Any:
    """Text in which brackets are no markup."""
    from rich.text import Text

    return Text(text)


def _title_of(schema: Any) -> str:
    """What a message is, in a few words: the schema's title, its types or its values; or ``any``."""
    titles = list(dict.fromkeys(_arms_of(schema)))
    return " | ".join(titles if len(titles) <= _MOST_ARMS else [*titles[: _MOST_ARMS - 1], "…"])


def _arms_of(schema: Any) -> list[str]:
    """What a message may be, each in a word or two."""
    if not isinstance(schema, dict) or not schema:
        return ["any"]
    if "$ref" in schema:
        return [str(schema["$ref"]).rpartition("/")[2]]
    if "title" in schema:
        return [str(schema["title"])]
    if "const" in schema or "enum" in schema:
        values = [schema["const"]] if "const" in schema else schema["enum"]
        return [json.dumps(value, ensure_ascii=False) for value in values]
    arms = schema.get("anyOf") or schema.get("oneOf")
    if arms:
        return [title for arm in arms for title in _arms_of(arm)]
    kind = schema.get("type", "any")
    return list(map(str, kind)) if isinstance(kind, list) else [_kind_of(schema, str(kind))]


def _kind_of(schema: dict[str, Any], kind: str) -> str:
    """A type, with that of its members."""
    if kind == "string" and schema.get("contentMediaType") == "application/octet-stream":
        return "bytes"
    if kind == "array" and schema.get("prefixItems"):
        return f"[{', '.join(map(_title_of, schema['prefixItems']))}]"
    members = schema.get({"array": "items", "object": "additionalProperties"}.get(kind, ""))
    if not isinstance(members, dict) or not members:
        return kind
    title = _title_of(members)
    return f"{kind} of ({title})" if " | " in title else f"{kind} of {title}"
