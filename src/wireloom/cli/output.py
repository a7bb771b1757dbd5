"""Output: how the command line words places, numbers and errors for people."""

from __future__ import annotations

import os
from pathlib import Path

from wireloom.errors import ConfigError

__all__ = ["explain", "plural", "relative"]


def plural(count: int, noun: str) -> str:
    """``1 endpoint``, ``3 endpoints``."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def relative(source: str) -> str:
    """A ``file:line`` as seen from the current directory; one outside stays as it is."""
    if not os.path.isabs(source):
        return source
    path, colon, line = source.rpartition(":")
    if not line.isdigit():
        path, colon, line = source, "", ""
    directory = Path.cwd()
    inside = Path(path).relative_to(directory) if Path(path).is_relative_to(directory) else path
    return f"{inside}{colon}{line}"


def explain(error: ConfigError) -> str:
    """A mistake of the user's in a line: its place first, where it has one."""
    return f"{relative(error.source)}: {error.message}" if error.source else error.message
