"""Emit: the tree of an expression → the Python that computes it.

Laws:
- Nothing of a route's text reaches the Python but as a constant's `repr`; names are looked up in tables.
- What cannot fit is told here, with its place: an unknown name, a wrong number of arguments, a kind that is not taken.
"""

from __future__ import annotations

from collections.abc import Callable as PythonCallable
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from wireloom.errors import did_you_mean
from wireloom.faces.routes.expressions.callables import Callable, Parameter, Table, check_kind, the_kinds
from wireloom.faces.routes.expressions.filters import FILTERS
from wireloom.faces.routes.expressions.functions import FUNCTIONS
from wireloom.faces.routes.expressions.operators import BINARY, UNARY
from wireloom.faces.routes.expressions.problem import ExpressionProblem
from wireloom.faces.routes.expressions.tree import (
    Binary,
    Call,
    Choice,
    Constant,
    Filtered,
    Items,
    Member,
    Name,
    Node,
    Pairs,
    Unary,
)
from wireloom.faces.routes.expressions.values import (
    a_kind,
    bounded,
    joined,
    kind_of,
    member,
    number_of,
    parse_number,
    sized,
    text_of,
    text_or_fail,
)

__all__ = ["Code", "Emitter", "Namespace", "Scope", "constant", "require_kinds"]

_MAX_DEPTH = 64  # levels of the Python that an expression becomes
_WITH_MEMBERS = ("list", "object", "text")


@dataclass(frozen=True, slots=True)
class Code:
    """A piece of Python.

    Args:
        text: an expression.
        kind: of its value; ``any`` where that is not known.
        or_null: the same where a variable that is not set counts as null; empty: as `text`.
        value: what it is, where it is a constant.
    """

    text: str
    kind: str = "any"
    or_null: str = ""
    value: Any = ...


class Scope(Protocol):
    """The variables that an expression sees."""

    def find(self, name: str) -> Code | None:
        """How a variable is read; None where there can be none of this name."""

    @property
    def names(self) -> Iterable[str]:
        """The names of all."""


class Namespace(dict[str, Any]):
    """The globals of the Python that is made: what it calls, by names that are made here."""

    def __init__(self) -> None:
        super().__init__()
        self._bound: dict[tuple[str, int], str] = {}
        self._numbers: dict[str, int] = {}

    def bind(self, value: Any, name: str) -> str:
        """The name of a value, made of a proposed one."""
        known = self._bound.get((name, id(value)))  # its id stays its own, as it is kept here
        if known is not None:
            return known
        number = self._numbers.get(name, 0)
        while (bound := f"{name}_{number}" if number else name) in self:
            number += 1
        self._numbers[name] = number + 1
        self[bound] = value
        self._bound[name, id(value)] = bound
        return bound


def constant(value: Any) -> Code:
    """A constant: null, a bool, number or text."""
    return Code(repr(value), kind_of(value), value=value)


class Emitter:
    """Makes Python of trees.

    Args:
        scope: the variables.
        namespace: takes what the Python calls.
        wait: the Python that waits for a call.
        look: the Python that looks at the clock after a call.

    Attributes:
        waits: whether anything of it has to be awaited.
    """

    def __init__(
        self,
        scope: Scope,
        namespace: Namespace,
        wait: PythonCallable[[str], str] = "(await {})".format,
        look: PythonCallable[[str], str] = str,
    ) -> None:
        self.scope = scope
        self.namespace = namespace
        self._wait = wait
        self._look = look
        self.waits = False
        self._depth = 0

    def emit(self, node: Node) -> Code:
        """The Python of a tree.

        Raises:
            ExpressionProblem: something in it cannot be.
        """
        if self._depth == _MAX_DEPTH:
            raise ExpressionProblem(f"the expression has more than {_MAX_DEPTH} levels; set a variable", *_place(node))
        self._depth += 1
        try:
            code: Code = getattr(self, f"_emit_{type(node).__name__.lower()}")(node)
        finally:
            self._depth -= 1
        return code

    def text(self, parts: list[str | Node]) -> Code:
        """The Python of a text in which expressions stand."""
        if len(parts) == 1:
            return constant(parts[0]) if isinstance(parts[0], str) else self.emit(parts[0])
        pieces = [repr(part) if isinstance(part, str) else self._as_text(self.emit(part)) for part in parts]
        if len(pieces) == 2:
            return Code(f"{self._name(sized)}({pieces[0]} + {pieces[1]})", "text")
        return Code(f"{self._name(joined)}({', '.join(pieces)})", "text")

    def _as_text(self, code: Code) -> str:
        return code.text if code.kind == "text" else f"{self._name(text_of)}({code.text})"

    def _name(self, function: Any, name: str = "") -> str:
        return self.namespace.bind(function, name or function.__name__.strip("_"))

    # -- one for each kind of node -----------------------------------------------------------------------------------

    def _emit_constant(self, node: Constant) -> Code:
        return constant(node.value)

    def _emit_name(self, node: Name) -> Code:
        code = self.scope.find(node.name)
        if code is None:
            nearest = did_you_mean(node.name, self.scope.names)
            raise ExpressionProblem(f"there is no variable {node.name!r}{nearest}", node.start, node.end)
        return code

    def _emit_items(self, node: Items) -> Code:
        items = [self.emit(item) for item in node.items]
        return self._bounded(f"[{', '.join(item.text for item in items)}]", "list", items)

    def _emit_pairs(self, node: Pairs) -> Code:
        values = [self.emit(value) for _, value in node.pairs]
        pairs = (f"{name!r}: {value.text}" for (name, _), value in zip(node.pairs, values, strict=True))
        return self._bounded("{" + ", ".join(pairs) + "}", "object", values)

    def _bounded(self, text: str, kind: str, members: list[Code]) -> Code:
        """A list or object, measured where what it holds may be large."""
        large = any(member.value is ... and member.kind not in ("number", "bool") for member in members)
        return Code(f"{self._name(bounded)}({text})" if large else text, kind)

    def _emit_member(self, node: Member) -> Code:
        of, key = self.emit(node.of), self.emit(node.key)
        if of.kind not in ("any", *_WITH_MEMBERS):
            raise ExpressionProblem(f"{the_kinds((of.kind,))} has no members", node.start, node.end)
        return Code(f"{self._name(member)}({of.text}, {key.text})")

    def _emit_unary(self, node: Unary) -> Code:
        operator, of = UNARY[node.symbol], self.emit(node.of)
        self._require(of, operator.takes, node.symbol, node.of)
        if node.symbol == "!":
            return Code(f"(not {of.text})", "bool")
        if of.kind == "number" and of.value is not ...:
            return constant(-of.value)
        return Code(f"{self._name(operator.function)}({of.text})", operator.gives)

    def _emit_binary(self, node: Binary) -> Code:
        operator, left, right = BINARY[node.symbol], self.emit(node.left), self.emit(node.right)
        for code, side in ((left, node.left), (right, node.right)):
            self._require(code, operator.takes, node.symbol, side)
        if node.symbol == "+":
            _require_sum(left.kind, right.kind, node)
        both = left.kind if left.kind == right.kind else "any"
        if operator.function is None:
            return Code(f"({left.text} {'and' if node.symbol == '&&' else 'or'} {right.text})", both)
        if both in ("text", "number") and operator.gives == "bool":
            return Code(f"({left.text} {node.symbol} {right.text})", "bool")
        if both == "text" and node.symbol == "+":
            return Code(f"{self._name(sized)}({left.text} + {right.text})", "text")
        return Code(f"{self._name(operator.function)}({left.text}, {right.text})", operator.gives)

    def _emit_choice(self, node: Choice) -> Code:
        condition, then, otherwise = map(self.emit, (node.condition, node.then, node.otherwise))
        kind = then.kind if then.kind == otherwise.kind else "any"
        return Code(f"({then.text} if {condition.text} else {otherwise.text})", kind)

    def _emit_filtered(self, node: Filtered) -> Code:
        row = self._row(FILTERS, node)
        of = self.emit(node.of)
        if row.name == "default" and of.or_null:
            of = Code(of.or_null)
        return self._call(row, "filter", node, [(of, node.of), *self._arguments(node)])

    def _emit_call(self, node: Call) -> Code:
        return self._call(self._row(FUNCTIONS, node), "function", node, self._arguments(node))

    # -- filters and functions -----------------------------------------------------------------------------------------

    def _row(self, table: Table, node: Filtered | Call) -> Callable:
        row = table.find(node.name)
        if row is not None:
            return row
        other = FUNCTIONS if table is FILTERS else FILTERS
        message = f"there is no {table.noun} {node.name!r}{table.nearest(node.name)}"
        if other.find(node.name) is not None:
            how = f"value | {node.name}" if other is FILTERS else f"{node.name}(…)"
            message = f"{node.name!r} is a {other.noun}; write {how}"
        raise ExpressionProblem(message, node.start, node.end)

    def _arguments(self, node: Filtered | Call) -> list[tuple[Code, Node]]:
        return [(self.emit(argument), argument) for argument in node.arguments]

    def _call(self, row: Callable, noun: str, node: Filtered | Call, arguments: list[tuple[Code, Node]]) -> Code:
        of_a_filter = noun == "filter"
        fewest, most = row.fewest - of_a_filter, None if row.most is None else row.most - of_a_filter
        given = len(arguments) - of_a_filter
        if given < fewest or (most is not None and given > most):
            wanted = f"{fewest} or more" if most is None else f"{fewest}" if fewest == most else f"{fewest} to {most}"
            plural = "" if wanted == "1" else "s"
            raise ExpressionProblem(f"{row.name} takes {wanted} argument{plural}, not {given}", node.start, node.end)
        texts = [
            self._argument(code, place, row.name, row.parameters[index] if index < len(row.parameters) else None)
            for index, (code, place) in enumerate(arguments)
        ]
        call = f"{self._name(row.function, f'{noun}_{row.name}')}({', '.join(texts)})"
        self.waits = self.waits or row.waits
        if row.waits:
            call = self._wait(call)
        elif row.slow and arguments[0][0].kind in ("any", *row.slow):
            call = self._look(call)
        return Code(call, row.gives)

    def _argument(self, code: Code, place: Node, wanting: str, parameter: Parameter | None) -> str:
        if parameter is None or not parameter.kinds or code.kind in parameter.kinds:
            return code.text
        kinds = parameter.kinds
        taken = _BECOMES.get(kinds, kinds)
        self._require(code, taken, wanting, place)
        if kinds == ("text",):
            return f"{self._name(text_or_fail)}({code.text}, {wanting!r})"
        if kinds == ("number",):
            return f"{self._name(number_of)}({code.text}, {wanting!r})"
        return f"{self._name(check_kind)}({code.text}, {kinds!r}, {wanting!r})"

    def _require(self, code: Code, taken: tuple[str, ...], wanting: str, place: Node) -> None:
        try:
            require_kinds(code, taken, wanting)
        except ValueError as error:
            raise ExpressionProblem(str(error), *_place(place)) from None


def require_kinds(code: Code, taken: tuple[str, ...], wanting: str) -> None:
    """Refuses what can be known not to fit.

    Raises:
        ValueError: why.
    """
    if code.kind != "any" and code.kind not in taken:
        met = a_kind(code.value) if code.value is not ... else {"text": "text"}.get(code.kind, the_kinds((code.kind,)))
        raise ValueError(f"{wanting} takes {the_kinds(taken)}, not {met}")
    if set(taken) == {"number", "text"} and wanting not in _ORDERS and isinstance(code.value, str):
        if parse_number(code.value) is None:
            raise ValueError(f"{wanting} takes a number, not the text {code.value!r}")


def _require_sum(left: str, right: str, node: Node) -> None:
    """Refuses a sum of kinds that are known and cannot be added: what `operators.add` says of values."""
    kinds = {left, right}
    if "any" not in kinds and "text" not in kinds and kinds not in ({"number"}, {"list"}):
        met = f"{the_kinds((left,))} and {the_kinds((right,))}"
        raise ExpressionProblem(f"+ takes numbers, texts or lists, not {met}", *_place(node))


_BECOMES: dict[tuple[str, ...], tuple[str, ...]] = {
    ("text",): ("text", "number", "bool"),
    ("number",): ("number", "text"),
}
_ORDERS = {"<", "<=", ">", ">="}


def _place(node: Node) -> tuple[int, int]:
    return node.start, node.end
