"""Callables: how a filter or function says what it takes and gives, read from its Python annotations.

Law: a table of callables is all that the parser, the compiler and the documents know of them.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable as PythonCallable
from dataclasses import dataclass
from typing import Any, get_args, get_type_hints

from wireloom.errors import did_you_mean
from wireloom.faces.routes.expressions.values import a_kind, kind_of
from wireloom.faces.routes.failure import Failure

__all__ = ["Callable", "Parameter", "Table", "check_kind", "the_kinds"]

_KINDS: dict[Any, str] = {
    str: "text",
    float: "number",
    int: "number",
    bool: "bool",
    list[Any]: "list",
    dict[str, Any]: "object",
    None.__class__: "null",
}
_CAPITAL = re.compile(r"(?<=[a-z])(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter: its name, the kinds that it takes (none: every kind), and whether it may be left out."""

    name: str
    kinds: tuple[str, ...]
    optional: bool


@dataclass(frozen=True, slots=True)
class Callable:
    """A filter or a function.

    Args:
        name: as it is written; in snake_case and camelCase alike.
        function: does it; of a filter the first argument is what stands before the pipe.
        parameters: in order.
        variadic: further arguments may follow.
        gives: the kind of the result; ``any`` where that depends.
        waits: the function is a coroutine function.
        slow: kinds of the first argument of which the largest takes more than a hundredth of a second.
        help: for the documents.
    """

    name: str
    function: PythonCallable[..., Any]
    parameters: tuple[Parameter, ...]
    variadic: bool
    gives: str
    waits: bool
    slow: tuple[str, ...]
    help: str

    @property
    def fewest(self) -> int:
        """How many arguments there must be."""
        return sum(not parameter.optional for parameter in self.parameters)

    @property
    def most(self) -> int | None:
        """How many arguments there may be; None: any number."""
        return None if self.variadic else len(self.parameters)


class Table:
    """Filters or functions by name.

    Args:
        noun: what they are called in messages.
    """

    def __init__(self, noun: str) -> None:
        self.noun = noun
        self.rows: dict[str, Callable] = {}
        self._spellings: dict[str, Callable] = {}

    def add(
        self, name: str, *, slow: tuple[str, ...] = ()
    ) -> PythonCallable[[PythonCallable[..., Any]], PythonCallable[..., Any]]:
        """Declares a function under a name; its docstring is its line in the documents.

        Args:
            slow: as of `Callable`.
        """

        def declare(function: PythonCallable[..., Any]) -> PythonCallable[..., Any]:
            row = _read(name, function, slow)
            self.rows[name] = row
            self._spellings |= {_snake(name): row, _camel(name): row, name: row}
            return function

        return declare

    def find(self, name: str) -> Callable | None:
        """The one of a name, in either spelling; None where there is none."""
        return self._spellings.get(name)

    def nearest(self, name: str) -> str:
        """What may have been meant, as the end of a message."""
        return did_you_mean(name, self._spellings)


def _snake(name: str) -> str:
    return _CAPITAL.sub("_", name).lower()


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _read(name: str, function: PythonCallable[..., Any], slow: tuple[str, ...]) -> Callable:
    hints = get_type_hints(function)
    signature = inspect.signature(function).parameters.values()
    single = [parameter for parameter in signature if parameter.kind is not parameter.VAR_POSITIONAL]
    parameters = tuple(
        Parameter(parameter.name, _kinds(hints[parameter.name]), parameter.default is not parameter.empty)
        for parameter in single
    )
    return Callable(
        name=name,
        function=function,
        parameters=parameters,
        variadic=len(single) < len(signature),
        gives=_KINDS.get(hints["return"], "number" if hints["return"] == int | float else "any"),
        waits=inspect.iscoroutinefunction(function),
        slow=slow,
        help=inspect.getdoc(function) or "",
    )


def _kinds(hint: Any) -> tuple[str, ...]:
    if hint is Any:
        return ()
    arms = [hint] if hint in _KINDS else get_args(hint)
    return tuple(dict.fromkeys(_KINDS[arm] for arm in arms))


def check_kind(value: Any, kinds: tuple[str, ...], wanting: str) -> Any:
    """A value as an argument that takes several kinds. Where only text, or only numbers, are taken, the compiler calls
    `text_or_fail` and `number_of` instead.

    Raises:
        Failure: ``WRONG_TYPE``.
    """
    if kind_of(value) not in kinds:
        raise Failure(f"{wanting} takes {the_kinds(kinds)}, not {a_kind(value)}", "WRONG_TYPE")
    return value


def the_kinds(kinds: tuple[str, ...]) -> str:
    """Kinds as they stand in a sentence: ``text, a list or an object``."""
    articles = {"text": "text", "null": "null", "object": "an object"}
    *others, last = [articles.get(kind, f"a {kind}") for kind in kinds]
    return f"{', '.join(others)} or {last}" if others else last
