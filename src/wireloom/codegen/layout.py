"""Layout: what the writers of all languages do with text."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import indent

__all__ = ["WIDTH", "listed", "one_line"]

WIDTH = 100


def listed(start: str, items: Sequence[str], end: str, step: str) -> str:
    """Items between a start and an end: in one line where they fit, else in a line each.

    Args:
        step: the indentation of one level.
    """
    line = f"{start}{', '.join(items)}{end}"
    if len(line) + 2 * len(step) <= WIDTH or not items:
        return line
    return f"{start}\n{''.join(indent(f'{item},', step) + chr(10) for item in items)}{end}"


def one_line(text: str) -> str:
    """A text without whatever could end a line, or hide something in it."""
    return "".join(character if character.isprintable() else " " for character in text).strip()
