"""The table of operations: name, fields, and the function that writes the operation as Python.

Law: everything that documents and messages say of an operation is read from here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from wireloom.errors import did_you_mean

if TYPE_CHECKING:
    from wireloom.faces.routes.operations.fields import Fields
    from wireloom.faces.routes.writer import Writer

__all__ = ["OPERATIONS", "Field", "Operation", "find_operation", "nearest_operation", "operation"]

Write: TypeAlias = "Callable[[Writer, Fields], None]"

# Names that mean the same wherever an operation has only one of them.
SYNONYMS = (("name", "var"), ("else", "otherwise"), ("operations", "body", "actions"), ("params", "args"))


@dataclass(frozen=True, slots=True)
class Field:
    """One field of an operation.

    Args:
        name: as it is written.
        takes: what may be written there, for the documents.
        help: for the documents.
        needed: it has to be there.
        door: ``"http"`` or ``"websocket"`` where it is for one of them only.
    """

    name: str
    takes: str
    help: str = ""
    needed: bool = False
    door: str = ""


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation.

    Args:
        name: in PascalCase.
        fields: all that it may have.
        write: writes it as Python.
        help: for the documents.
        door: as of `Field`.
        also: another name.
    """

    name: str
    fields: tuple[Field, ...]
    write: Write
    help: str
    door: str = ""
    also: str = ""

    def field(self, name: str) -> Field | None:
        """The field of a name or of one of its synonyms; None where there is none."""
        own = {field.name: field for field in self.fields}
        if name in own:
            return own[name]
        alike = next((names for names in SYNONYMS if name in names), ())
        return next((own[other] for other in alike if other in own), None)

    @property
    def spellings(self) -> list[str]:
        """The names of all fields, with their synonyms."""
        names = [*(field.name for field in self.fields), *(name for names in SYNONYMS for name in names)]
        return [name for name in dict.fromkeys(names) if self.field(name) is not None]


OPERATIONS: dict[str, Operation] = {}
_spellings: dict[str, Operation] = {}
_CAPITAL = re.compile(r"(?<=[a-z])(?=[A-Z])")


def operation(name: str, *fields: Field, help: str, door: str = "", also: str = "") -> Callable[[Write], Write]:
    """Declares the function that writes an operation."""

    def declare(write: Write) -> Write:
        row = OPERATIONS[name] = Operation(name, fields, write, help, door, also)
        for spelling in filter(None, (name, also)):
            _spellings[spelling] = _spellings[_CAPITAL.sub("_", spelling).lower()] = row
        return write

    return declare


def find_operation(name: Any) -> Operation | None:
    """The operation of a name, in PascalCase or snake_case; None where there is none."""
    return _spellings.get(name)


def nearest_operation(name: str) -> str:
    """What may have been meant, as the end of a message."""
    return did_you_mean(name, _spellings)
