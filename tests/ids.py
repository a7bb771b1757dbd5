"""Names for the values of parametrized tests that are the same in every process."""

from __future__ import annotations

import re

__all__ = ["shown"]

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def shown(value: object) -> str:
    """A value's representation without the address at which it happens to be."""
    return _ADDRESS.sub("", repr(value))
