"""Fields: what is written in one operation, read as what the operation takes.

Law: whatever is wrong with a field is noted as a problem of it, and something harmless is given in its place.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from wireloom.errors import did_you_mean
from wireloom.faces.routes.document import Value
from wireloom.faces.routes.expressions.emit import Code, require_kinds
from wireloom.faces.routes.expressions.values import a_kind, bounded, number_of, text_of
from wireloom.faces.routes.operations.table import Operation
from wireloom.faces.routes.scope import RESERVED
from wireloom.faces.routes.writer import Writer

__all__ = ["Fields", "is_name"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_WORDS = {"true", "false", "null", "and", "or", "not"}


def is_name(text: Any) -> bool:
    """Whether a text can be the name of a variable."""
    return isinstance(text, str) and _NAME.fullmatch(text) is not None and text not in _WORDS


class Fields:
    """The fields of one operation.

    Args:
        writer: of the hook.
        operation: what it is.
        value: the whole operation, for problems.
        members: the fields by their names; synonyms are the name already.
    """

    def __init__(self, writer: Writer, operation: Operation, value: Value, members: dict[str, Value]) -> None:
        self.writer = writer
        self.operation = operation
        self.value = value
        self._members = members

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def __getitem__(self, name: str) -> Value:
        return self._members[name]

    def problem(self, name: str, message: str) -> None:
        """Notes a problem of a field."""
        self.writer.problem(self._members.get(name, self.value), f"{self.operation.name}.{name}: {message}")

    # -- expressions ---------------------------------------------------------------------------------------------------

    def template(self, name: str, otherwise: str = "None") -> Code:
        """Any value, with expressions at any depth."""
        return self.writer.template(self._members[name]) if name in self else Code(otherwise)

    def text(self, name: str, otherwise: str = "") -> str:
        """The Python of a text."""
        if name not in self:
            return repr(otherwise)
        code = self.writer.template(self._members[name])
        return code.text if code.kind == "text" else f"{self.writer.name(text_of)}({code.text})"

    def of_kinds(self, name: str, *kinds: str) -> Code:
        """A value of some kinds; what can be known not to be one is a problem."""
        code = self.template(name)
        try:
            require_kinds(code, kinds, f"{self.operation.name}.{name}:")
        except ValueError as error:
            self.writer.problem(self._members[name], str(error))
        return code

    def number(self, name: str, otherwise: float) -> str:
        """The Python of a number."""
        if name not in self:
            return repr(otherwise)
        code = self.of_kinds(name, "number", "text")
        return code.text if code.kind == "number" else f"{self.writer.name(number_of)}({code.text}, {name!r})"

    def condition(self, name: str) -> Code:
        """A condition."""
        return self.writer.condition(self._members[name]) if name in self else Code("False", "bool")

    # -- what is known when it is loaded -------------------------------------------------------------------------------

    def literal(self, name: str) -> str | None:
        """A text without expressions; None where it is none."""
        data = self._members[name].data if name in self else None
        return data if isinstance(data, str) and "{{" not in data else None

    def word(self, name: str, words: Sequence[str], otherwise: str = "") -> str:
        """One of some words, in small or capital letters."""
        if name not in self:
            return otherwise
        literal = self.literal(name)
        found = next((word for word in words if literal is not None and word.lower() == literal.lower()), None)
        if found is None:
            nearest = did_you_mean(literal, words) if literal else ""
            self.problem(name, f"must be one of {', '.join(words)}{nearest}")
        return found or words[0]

    def whole(self, name: str, otherwise: int, least: int, most: int) -> int:
        """A whole number that is written out."""
        data = self._members[name].data if name in self else otherwise
        if isinstance(data, bool) or not isinstance(data, int) or not least <= data <= most:
            self.problem(name, f"must be a whole number from {least} to {most}")
            return otherwise
        return data

    def flag(self, name: str) -> bool:
        """True or false, written out."""
        data = self._members[name].data if name in self else False
        if not isinstance(data, bool):
            self.problem(name, "must be true or false")
        return data is True

    def names(self, name: str) -> tuple[str, ...]:
        """Names of variables, written out."""
        found = []
        for item in self._members[name].items() if name in self else []:
            if not is_name(item.data) or item.data in RESERVED or item.data in found:
                message = "must be names, no two alike, and none of those that are always there"
                self.writer.problem(item, f"{self.operation.name}.{name}: {message}")
            else:
                found.append(str(item.data))
        if name in self and not isinstance(self._members[name].data, list):
            self.problem(name, "must be a list of names")
        return tuple(found)

    def local(self, name: str, otherwise: str) -> str:
        """The name of a variable of a loop, written out."""
        literal = self.literal(name) if name in self else otherwise
        if not is_name(literal) or literal in RESERVED:
            self.problem(name, "must be a name, and none of those that are always there")
            return otherwise
        return str(literal)

    def variable(self, name: str) -> str:
        """The name of a variable to set, written out; empty where the field is not there."""
        if name not in self:
            return ""
        literal = self.literal(name)
        if not is_name(literal):
            self.problem(name, f"must be the name of a variable, not {_shown(self._members[name])}")
        elif literal in RESERVED:
            self.problem(name, f"{literal!r} is always there and cannot be set; choose another name")
        elif self.writer.scope.is_local(str(literal)):
            self.problem(name, f"{literal!r} belongs to what is around here and cannot be set; choose another name")
        else:
            return str(literal)
        return "_"

    def output(self, python: str) -> None:
        """Writes a call, and keeps what it gives where the operation says so."""
        name = self.variable("output")
        if name:
            self.writer.scope.uses.add("V")
            python = f"V[{name!r}] = {self.writer.name(bounded)}({python})"
        self.writer.write(python)


def _shown(value: Value) -> str:
    return repr(value.data) if isinstance(value.data, str) else a_kind(value.data)
