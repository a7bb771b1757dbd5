"""What tests of expressions need: to compile and run one, and to compare what comes of it with a row of a table."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import anyio
from tests.ids import shown

from wireloom.faces.routes.expressions.emit import Code, Emitter, Namespace
from wireloom.faces.routes.expressions.problem import ExpressionProblem
from wireloom.faces.routes.expressions.template import parse_condition, split
from wireloom.faces.routes.expressions.values import MAX_ITEMS, MAX_TEXT, kind_of
from wireloom.faces.routes.failure import ErrorText, Failure

UNSET: Any = object()  # of a variable that may be there and is not


@dataclass(frozen=True)
class Fails:
    """It ends with a Failure of this code."""

    code: str


@dataclass(frozen=True)
class Refused:
    """It is refused when it is loaded."""

    message: str = ""


@dataclass(frozen=True)
class Row:
    """One row of a table: what an operator, filter or function takes, and what it gives.

    Args:
        values: in the order in which they are written; of a filter the first is what stands before the pipe.
        expected: a value, `Fails`, or a function that says whether a value is right.
        where_known: the same, where the kinds of the values are known when it is loaded; None: also `expected`,
            or, where that is a wrong type or value, a refusal.
    """

    values: tuple[Any, ...]
    expected: Any
    where_known: Any = None


class Variables:
    """A scope with these variables.

    Args:
        known: the compiler may know of what kinds they are.
    """

    def __init__(self, values: dict[str, Any], namespace: Namespace, known: bool) -> None:
        self._values, self._namespace, self._known = values, namespace, known

    def find(self, name: str) -> Code | None:
        if name not in self._values:
            return None
        value = self._values[name]
        if value is UNSET:
            return Code(f"{self._namespace.bind(_unset, 'unset')}()", or_null="None")
        self._namespace[f"variable_{name}"] = value
        return Code(f"variable_{name}", kind_of(value) if self._known else "any")

    @property
    def names(self) -> Iterable[str]:
        return self._values


def _unset() -> Any:
    raise Failure("the variable is not set", "NOT_SET")


def evaluate(text: str, variables: dict[str, Any] | None = None, *, known: bool = False) -> Any:
    """What a text with expressions gives."""
    namespace = Namespace()
    emitter = Emitter(Variables(variables or {}, namespace, known), namespace)
    return run(emitter.text(split(text)), emitter, namespace)


def holds(condition: str, variables: dict[str, Any] | None = None) -> Any:
    """What a condition gives."""
    namespace = Namespace()
    emitter = Emitter(Variables(variables or {}, namespace, False), namespace)
    return run(emitter.emit(parse_condition(condition)), emitter, namespace)


def run(code: Code, emitter: Emitter, namespace: Namespace) -> Any:
    """What emitted Python gives, which must be of the kind that was promised."""
    source = f"{'async ' if emitter.waits else ''}def run():\n    return {code.text}"
    exec(compile(source, "<expression>", "exec"), namespace)
    result = anyio.run(namespace["run"]) if emitter.waits else namespace["run"]()
    assert code.kind in ("any", kind_of(result)), (code, result)
    return result


def value_of(expression: str, **variables: Any) -> Any:
    """What an expression gives, without its braces."""
    return evaluate("{{ " + expression + " }}", variables)


def outcome(text: str, variables: dict[str, Any] | None = None, *, known: bool = False) -> Any:
    """The same as `evaluate`, refusals and failures as values."""
    try:
        return evaluate(text, variables, known=known)
    except Failure as failure:
        return Fails(failure.code)
    except ExpressionProblem as problem:
        return Refused(problem.message)


def problem_of(text: str, *names: str) -> tuple[str, int, int]:
    """Message and place of the problem of a text, where there are these variables."""
    namespace = Namespace()
    try:
        Emitter(Variables(dict.fromkeys(names), namespace, False), namespace).text(split(text))
    except ExpressionProblem as problem:
        return problem.message, problem.start, problem.end
    raise AssertionError(f"{text!r} is not refused")


# -- rows of tables ----------------------------------------------------------------------------------------------


def outcomes(write: Callable[[list[str]], str], row: Row) -> Iterator[tuple[str, Any, Any]]:
    """What a row gives, and what it is to give: with variables of unknown and of known kinds, and with literals.

    Args:
        write: the expression, of the texts of its operands.
    """
    names = [f"v{index}" for index in range(len(row.values))]
    variables = dict(zip(names, row.values, strict=True))
    text = "{{ " + write(names) + " }}"
    yield "unknown", outcome(text, variables), row.expected
    where_known = row.expected if row.where_known is None else row.where_known
    yield "known", outcome(text, variables, known=True), where_known
    literals = list(map(literal, row.values))
    if None not in literals:
        yield "literal", outcome("{{ " + write([one for one in literals if one is not None]) + " }}"), where_known


def literal(value: Any) -> str | None:
    """A value as an expression writes it; None where it is too long, or cannot be written."""
    if any(isinstance(one, ErrorText) for one in (value if isinstance(value, list) else [value])):
        return None
    text = json.dumps(value)
    return text if len(text) < 2000 and "-9223372036854775808" not in text else None


def fits(mode: str, met: Any, expected: Any) -> bool:
    """Whether what came is what was to come."""
    if isinstance(expected, Fails):
        refused = mode != "unknown" and expected.code in ("WRONG_TYPE", "WRONG_VALUE") and isinstance(met, Refused)
        return bool(met == expected) or refused
    if isinstance(expected, Refused):
        return isinstance(met, Refused) and expected.message in met.message
    if callable(expected):
        return not isinstance(met, Fails | Refused) and bool(expected(met))
    return repr(tidied(met)) == repr(tidied(expected)) if mode == "literal" else repr(met) == repr(expected)


def tidied(value: Any) -> Any:
    """With whole floats as ints, as literals are."""
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    if isinstance(value, list):
        return [tidied(item) for item in value]
    return {name: tidied(item) for name, item in value.items()} if isinstance(value, dict) else value


def short(value: Any) -> str:
    """The name of a case."""
    text = shown(value)
    return text if len(text) < 60 else text[:57] + "..."


def is_json(value: Any) -> bool:
    """Whether it is JSON within the bounds of one value."""
    return _size(value) is not None


def _size(value: Any) -> tuple[int, int] | None:
    if value is None or isinstance(value, bool):
        return 0, 0
    if isinstance(value, int):
        return (0, 0) if -(2**63) <= value < 2**63 else None
    if isinstance(value, float):
        return (0, 0) if value - value == 0 else None
    if isinstance(value, str):
        return (0, len(value)) if len(value) <= MAX_TEXT else None
    members = value if isinstance(value, list) else [*value.keys(), *value.values()]
    sizes = [_size(member) for member in members]
    if None in sizes or len(members) > 2 * MAX_ITEMS:
        return None
    return len(members) + sum(size[0] for size in sizes if size), sum(size[1] for size in sizes if size)
