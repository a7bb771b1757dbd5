"""Writer: the operations of one hook → the lines of one Python function.

Laws:
- Every line knows the operation that it comes from, so that a failure can say where it happened, at no cost.
- A problem does not end the writing: all of them are collected.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wireloom.faces.routes.document import Value
from wireloom.faces.routes.expressions.emit import Code, Emitter, Namespace, constant
from wireloom.faces.routes.expressions.problem import ExpressionProblem
from wireloom.faces.routes.expressions.template import parse_condition, split
from wireloom.faces.routes.report import MAX_PROBLEMS, Enough, Problem
from wireloom.faces.routes.scope import Scope

if TYPE_CHECKING:
    from wireloom.faces.routes.services import Services

__all__ = ["Context", "Place", "Writer"]

_MAX_NESTED = 6  # loops and tries within each other: Python has 20 blocks at most, and a Try takes three
_MAX_DEPTH = 32  # operations within each other
_MAX_EXPRESSIONS = 200_000  # characters of all texts of a route in which expressions stand
_UNCOUNTED = 16  # operations of a function that need no counting, as each runs once at most


@dataclass(frozen=True, slots=True)
class Place:
    """An operation: its hook and index, such as ``on_message[1].then[0]``, and where it is written."""

    path: str
    source: str
    value: Value = field(repr=False)


@dataclass(slots=True)
class Context:
    """What all hooks of a route share while they are compiled.

    Args:
        services: what the application has.
        route: its name, for messages.
        is_http: there is no WebSocket.
        functions: parameters of the route's functions, by name.
        definitions: where their names are written.
        functions_wait: whether they have to be awaited.
        namespace: what the Python calls.
        problems: what was found.
        places: the operation of every line.
        lines: the Python.
        channels: those that are written out.
        channel_values: those that are expressions.
        walkers: the names of walkers that are called, and where.
        expressions: characters of the texts in which they stand.
    """

    services: Services
    route: str
    is_http: bool = False
    functions: dict[str, tuple[str, ...]] = field(default_factory=dict)
    definitions: dict[str, Value] = field(default_factory=dict)
    functions_wait: bool = False
    namespace: Namespace = field(default_factory=Namespace)
    problems: list[Problem] = field(default_factory=list)
    places: dict[int, Place] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    channels: dict[str, None] = field(default_factory=dict)
    channel_values: list[Value] = field(default_factory=list)
    walkers: list[tuple[str, Value]] = field(default_factory=list)
    expressions: int = 0

    def problem(self, value: Value, message: str, where: str = "") -> None:
        """Notes a problem of a value."""
        self.add(Problem(value.spot(), message, self.at(where)))

    def add(self, problem: Problem) -> None:
        """Notes a problem.

        Raises:
            Enough: it is one too many.
        """
        self.problems.append(problem)
        if len(self.problems) >= MAX_PROBLEMS:
            raise Enough

    def at(self, where: str) -> str:
        """The route and a place within it, for a message."""
        return ", ".join(filter(None, (f"route {self.route!r}", where)))


class Writer:
    """Writes the body of one Python function.

    Args:
        context: of the route.
        scope: the variables that its operations see.
        path: of the hook, such as ``on_message``.

    Attributes:
        waits: whether the function has to be a coroutine function.
        lines: what was written, each with the operation that it comes from.
    """

    def __init__(self, context: Context, scope: Scope, path: str) -> None:
        self.context = context
        self.scope = scope
        self.path = path
        self.waits = False
        self.in_loop = False
        self.may_return = True
        self.in_function = False
        self.gives_answer = context.is_http  # Return gives the response
        self.counts = False  # all operations are counted: within a loop or a function
        self.lines: list[tuple[str, Place | None]] = []
        self.place: Place | None = None
        self._indent = 1
        self._depth = 0
        self._nested = 0
        self._numbers = 0
        self._written = 0

    # -- lines ---------------------------------------------------------------------------------------------------------

    def write(self, line: str) -> None:
        """One line of Python."""
        self.lines.append((f"{'    ' * self._indent}{line}", self.place))

    @contextmanager
    def indented(self, line: str) -> Iterator[None]:
        """A line that opens a block, and what is written within it."""
        self.write(line)
        self._indent += 1
        yield
        self._indent -= 1

    def fresh(self, name: str) -> str:
        """A name that nothing else in the function has."""
        self._numbers += 1
        return f"{name}_{self._numbers}"

    def name(self, value: Any, name: str = "") -> str:
        """How the Python calls something."""
        return self.context.namespace.bind(value, name or value.__name__.strip("_"))

    def wait(self, call: str) -> str:
        """The Python that waits for something within the hook's time."""
        self.waits = True
        return f"(await {self.fuel}.wait({call}))"

    def look(self, call: str) -> str:
        """The Python that ends the hook after a call where its time is over."""
        return f"{self.fuel}.look({call})"

    @property
    def fuel(self) -> str:
        """How the Python calls the fuel of the run."""
        self.scope.uses.add("F")
        return "F"

    # -- operations ----------------------------------------------------------------------------------------------------

    @contextmanager
    def at(self, path: str, value: Value) -> Iterator[None]:
        """Lines that an operation is written as.

        Args:
            path: of the operation, such as ``on_message[1].then[0]``.
        """
        before = self.place, self.path
        self.path, self.place = path, Place(path, f"{value.file.name}:{value.line}", value)
        self._written += 1
        if self.counts or self._written > _UNCOUNTED:
            self.write(f"{self.fuel}.spend()")
        yield
        self.place, self.path = before

    @contextmanager
    def deeper(self, value: Value, *, block: bool = False) -> Iterator[bool]:
        """One level of operations within each other; gives whether that is allowed.

        Args:
            value: the operation.
            block: it is a loop or a Try.
        """
        self._depth += 1
        self._nested += block
        deep = self._depth > _MAX_DEPTH or self._nested > _MAX_NESTED
        if deep:
            limit = f"{_MAX_NESTED} loops and tries" if self._nested > _MAX_NESTED else f"{_MAX_DEPTH} operations"
            self.problem(value, f"more than {limit} within each other")
        yield not deep
        self._depth -= 1
        self._nested -= block

    @contextmanager
    def looping(self) -> Iterator[None]:
        """Operations that are run more than once: they are counted, and may break and continue."""
        before = self.in_loop, self.counts
        self.in_loop = self.counts = True
        yield
        self.in_loop, self.counts = before

    # -- expressions ---------------------------------------------------------------------------------------------------

    def problem(self, value: Value, message: str) -> None:
        """Notes a problem of a value."""
        self.context.problem(value, message, self.path)

    def problem_within(self, value: Value, start: int, end: int, message: str) -> None:
        """Notes a problem of a part of a text."""
        self.context.add(Problem(value.within(start, end), message, self.context.at(self.path)))

    def template(self, value: Value) -> Code:
        """The Python of a value in which expressions may stand, at any depth."""
        if value.tag:
            self.problem(value, f"the tag !{value.tag} stands before no operation")
        if isinstance(value.data, str):
            if "{{" not in value.data:
                return constant(value.data)
            return self._expression(value, lambda emitter: emitter.text(split(str(value.data))))
        if isinstance(value.data, list):
            return Code(f"[{', '.join(self.template(item).text for item in value.data)}]", "list")
        if isinstance(value.data, dict):
            pairs = (f"{name!r}: {self.template(inner).text}" for name, (_, inner) in value.data.items())
            return Code("{" + ", ".join(pairs) + "}", "object")
        kind = "null" if value.data is None else "bool" if isinstance(value.data, bool) else "number"
        return Code(repr(value.data), kind, value=value.data)

    def condition(self, value: Value) -> Code:
        """The Python of a condition, which may be written without braces."""
        if isinstance(value.data, str):
            return self._expression(value, lambda emitter: emitter.emit(parse_condition(str(value.data))))
        if not isinstance(value.data, bool):
            self.problem(value, "a condition is an expression, or true or false")
        return Code(repr(bool(value.data)), "bool")

    def _expression(self, value: Value, make: Any) -> Code:
        self.context.expressions += len(str(value.data))
        if self.context.expressions > _MAX_EXPRESSIONS:
            self.problem(value, f"the expressions of a route have more than {_MAX_EXPRESSIONS} characters together")
            raise Enough
        emitter = Emitter(self.scope, self.context.namespace, self.wait, self.look)
        try:
            code: Code = make(emitter)
        except ExpressionProblem as problem:
            self.problem_within(value, problem.start, problem.end, problem.message)
            return Code("None")
        self.waits = self.waits or emitter.waits
        return code
