"""Names: identifiers of generated code, made of whatever names a contract has. Law: no two come out the same."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["Names", "camel_case", "identifier", "snake_case", "type_name"]

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[A-Z]|[0-9]+")


class Names:
    """The names that are taken in one scope.

    Args:
        reserved: those of the language and of the file itself.
    """

    def __init__(self, reserved: Iterable[str]) -> None:
        self._taken = set(reserved)

    def take(self, name: str) -> str:
        """The name; with an underscore behind it where it is taken, and a number where that is taken too."""
        found, number = name, 1
        while found in self._taken:
            number += 1
            found = f"{name}_" if number == 2 else f"{name}_{number - 1}"
        self._taken.add(found)
        return found


def identifier(name: str) -> str:
    """A name with nothing but letters, digits and underscores of ASCII, and no digit first."""
    plain = re.sub(r"[^A-Za-z0-9_]+", "_", name)
    plain = plain.strip("_") or "unnamed"
    return f"_{plain}" if plain[0].isdigit() else plain


def type_name(name: str) -> str:
    """As types are called: with a capital first."""
    plain = identifier(name).lstrip("_")
    return f"T{plain}" if plain[0].isdigit() else plain[0].upper() + plain[1:]


def camel_case(name: str) -> str:
    """``listKeys`` of ``list_keys``."""
    first, *others = _WORD.findall(name) or ["unnamed"]
    first = first.lower() if first.isupper() else first[0].lower() + first[1:]
    return identifier(first + "".join(word[0].upper() + word[1:] for word in others))


def snake_case(name: str) -> str:
    """``list_keys`` of ``listKeys``."""
    return identifier("_".join(word.lower() for word in _WORD.findall(name)) or "unnamed")
