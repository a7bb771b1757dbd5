"""Access: what a run may do with a node."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["Access", "Level", "level_of"]


class Access(IntEnum):
    """What a run may do with a node; each includes the ones before."""

    READ = 1
    WRITE = 2
    OWN = 3  # delete it, grant it


Level = str
"""``"read"`` or ``"write"``."""


def level_of(level: Level) -> Access:
    """The access that a grant's word stands for.

    Raises:
        ValueError: another word.
    """
    try:
        return {"read": Access.READ, "write": Access.WRITE}[level]
    except KeyError:
        raise ValueError(f"a node is granted to 'read' or to 'write', not {level!r}") from None
