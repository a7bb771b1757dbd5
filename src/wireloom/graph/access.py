"""Access: what a run may do with a node."""

from __future__ import annotations

from enum import IntEnum
from typing import Literal, TypeAlias

__all__ = ["Access", "Level", "level_of"]


class Access(IntEnum):
    """What a run may do with a node; each includes the ones before."""

    READ = 1
    WRITE = 2
    REMOVE = 3  # delete it: what was reached through a deep grant to write
    OWN = 4  # grant it


Level: TypeAlias = Literal["read", "write"]
"""What a grant is for."""


def level_of(level: Level) -> Access:
    """The access that a grant's word stands for.

    Raises:
        ValueError: another word.
    """
    if level not in _LEVELS:
        raise ValueError(f"a node is granted to 'read' or to 'write', not {level!r}")
    return _LEVELS[level]


_LEVELS = {"read": Access.READ, "write": Access.WRITE}
