"""Output: how the command line words places, numbers, tables and errors for people."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from wireloom.errors import ConfigError

__all__ = ["explain", "plural", "print_rows", "relative"]

_PIPE_WIDTH = 10_000  # columns; a table that nobody looks at is never wrapped


def plural(count: int, noun: str) -> str:
    """``1 endpoint``, ``3 endpoints``."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def relative(source: str) -> str:
    """A ``file:line`` as seen from the current directory; one outside stays as it is."""
    if not os.path.isabs(source):
        return source
    path, colon, line = source, "", ""
    if match := re.fullmatch(r"(.+?)(:)(\d+(?::\d+)?)", source):
        path, colon, line = match.groups()
    directory = Path.cwd()
    inside = Path(path).relative_to(directory) if Path(path).is_relative_to(directory) else path
    return f"{inside}{colon}{line}"


def explain(error: ConfigError) -> str:
    """A mistake of the user's in a line: its place first, where it has one. Several are told one after the other."""
    if len(error.problems) > 1:
        return "\n".join(map(explain, error.problems))
    return f"{relative(error.source)}: {error.message}" if error.source else error.message


def print_rows(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], as_json: bool) -> None:
    """Shows rows as a table, or as JSON."""
    if as_json:
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(row[column])) for column in columns))
    Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH, highlight=False).print(table)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return " ".join(value) if isinstance(value, list) else str(value)
