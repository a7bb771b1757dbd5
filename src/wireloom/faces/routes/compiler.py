"""Compiler: the hooks of a route → Python functions, one code object a route.

Law: what a message has to wait for is decided here: a hook in which nothing waits is a plain function.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from wireloom.faces.routes.document import Value
from wireloom.faces.routes.expressions.emit import Code
from wireloom.faces.routes.expressions.values import parse_json
from wireloom.faces.routes.failure import Failure
from wireloom.faces.routes.fuel import Fuel
from wireloom.faces.routes.messaging import MAX_CHANNEL
from wireloom.faces.routes.operations import control, data, functions, lists, messages, outside
from wireloom.faces.routes.operations.fields import is_name
from wireloom.faces.routes.operations.reading import walk, write_operations
from wireloom.faces.routes.report import Enough, Problem
from wireloom.faces.routes.scope import ALWAYS, IN_HTTP, IN_MESSAGES, RESERVED, Scope
from wireloom.faces.routes.services import Services
from wireloom.faces.routes.visit import Variables
from wireloom.faces.routes.writer import Context, Place, Writer

__all__ = ["Compiled", "Hook", "compile_hooks", "json_of_message"]

MODULES = (control, messages, functions, lists, data, outside)  # importing them fills the table of operations

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Hook:
    """One compiled hook: a function of visit, connection and message, and whether it has to be awaited."""

    run: Callable[[Any, Any, Any], Any]
    waits: bool


@dataclass(frozen=True, slots=True)
class Compiled:
    """The hooks of one route.

    Args:
        hooks: by name.
        channels: those that every connection joins.
        find_channels: further ones, as far as they are known, by visit and connection; None where there are none.
        places: the operation of every line of `filename`.
        filename: what the Python calls itself.
        walkers: the names of walkers that are called, and where.
        source: the Python, for the curious.
    """

    hooks: dict[str, Hook]
    channels: tuple[str, ...]
    find_channels: Callable[[Any, Any], list[Any]] | None
    places: dict[int, Place]
    filename: str
    walkers: list[tuple[str, Value]]
    source: str = field(repr=False)

    def place_of(self, error: BaseException) -> Place | None:
        """The operation that raised an exception; None where it was none."""
        found, trace = None, error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == self.filename:
                found = self.places.get(trace.tb_lineno, found)
            trace = trace.tb_next
        return found


def json_of_message(message: Any) -> Any:
    """A message as ``json``: its value, where it is a JSON object or array; else null."""
    if not isinstance(message, str):
        return message if isinstance(message, list | dict) else None
    if not message.lstrip().startswith(("{", "[")):
        return None
    try:
        return parse_json(message)
    except Failure:
        return None


def compile_hooks(
    services: Services,
    route: str,
    hooks: dict[str, Value],
    *,
    is_http: bool = False,
    channels: Iterable[Value] = (),
    message_kind: str = "text",
    facts: dict[str, Any] | None = None,
) -> tuple[Compiled | None, list[Problem]]:
    """Compiles the hooks of a route.

    Args:
        route: its name, for messages.
        hooks: lists of operations by the hook's name.
        is_http: the one hook is ``logic``, whose result is the response.
        channels: that the route names; expressions may stand in them.
        message_kind: ``text``, or ``any`` where binary messages are JSON.
        facts: what ``{{ route }}`` is.

    Returns:
        The hooks, or None where there are problems; and the problems.
    """
    compiler = _Compiler(services, route, hooks, is_http, list(channels), message_kind)
    context = compiler.write()
    if context.problems:
        return None, context.problems
    return compiler.make(context, facts or {}), context.problems


class _Compiler:
    """Writes the Python of one route, and runs it."""

    def __init__(
        self,
        services: Services,
        route: str,
        hooks: dict[str, Value],
        is_http: bool,
        channels: list[Value],
        message_kind: str,
    ) -> None:
        self._services = services
        self._route = route
        self._hooks = hooks
        self._is_http = is_http
        self._channels = channels
        self._message_kind = message_kind
        operations = [found for hook in hooks.values() for found in walk(hook)]
        self._assigned = dict.fromkeys(name for found in operations for name in _assigned(*found))
        self._functions: dict[str, dict[str, Value]] = {}
        for operation, fields in operations:
            if operation.name == "DefineFunction" and "name" in fields and is_name(fields["name"].data):
                self._functions.setdefault(str(fields["name"].data), fields)
        self._waiting: dict[str, bool] = {}

    def write(self) -> Context:
        """The lines of Python, and what became known while they were written."""
        context = self._write(functions_wait=False)
        if self._waiting.pop("functions", False) and not context.problems:
            context = self._write(functions_wait=True)  # any that waits makes all of them wait, and who calls them
        return context

    def _write(self, functions_wait: bool) -> Context:
        context = Context(self._services, self._route, self._is_http, functions_wait=functions_wait)
        context.functions = {name: _parameters(fields) for name, fields in self._functions.items()}
        context.definitions = {name: fields["name"] for name, fields in self._functions.items()}
        with suppress(Enough):
            for name, fields in self._functions.items():
                self._write_function(context, name, fields)
            for name, value in self._hooks.items():
                self._write_hook(context, name, value)
            if not self._is_http:
                self._write_channels(context)
        return context

    # -- one Python function -------------------------------------------------------------------------------------------

    def _write_hook(self, context: Context, name: str, value: Value) -> None:
        given = {**ALWAYS, **(IN_HTTP if self._is_http else {}), **(IN_MESSAGES if name == "on_message" else {})}
        scope = Scope(
            self._assigned,
            given,
            message_kind=self._message_kind if name == "on_message" else None,
            open=self._is_http,
        )
        writer = Writer(context, scope, "")
        write_operations(writer, value, name)
        self._waiting[name] = writer.waits
        self._finish(writer, name, "visit, connection, message")

    def _write_function(self, context: Context, name: str, fields: dict[str, Value]) -> None:
        parameters = _parameters(fields)
        body = fields.get("body")
        operations = [] if body is None else list(walk(body))
        scope = Scope(dict.fromkeys(name for found in operations for name in _assigned(*found)), ALWAYS)
        writer = Writer(context, scope, f"function {name}")
        writer.counts = writer.in_function = True
        writer.gives_answer = False
        names = {parameter: f"parameter_{parameter}" for parameter in parameters}
        scope.uses.add("F")
        with scope.local({parameter: Code(python) for parameter, python in names.items()}):
            if body is None:
                writer.write("pass")
            else:
                write_operations(writer, body, "body")
        self._waiting["functions"] = self._waiting.get("functions", False) or writer.waits
        self._finish(writer, f"defined_{name}", ", ".join(["visit", "connection", "F", "D", *names.values()]))

    def _finish(self, writer: Writer, name: str, parameters: str) -> None:
        """Puts a function that was written behind the others."""
        context, own = writer.context, writer.in_function
        waits = context.functions_wait if own else writer.waits
        context.lines.append(f"{'async ' if waits else ''}def {name}({parameters}):")
        prologue = writer.scope.prologue()
        if own:  # its own variables, and the fuel of whoever calls it
            prologue = [line for line in prologue if not line.startswith(("V =", "F ="))]
            prologue.insert(0, f"V = {writer.name(Variables)}()")
        context.lines += [f"    {line}" for line in prologue]
        for line, place in writer.lines:
            context.lines.append(line)
            if place is not None:
                context.places[len(context.lines)] = place

    # -- channels ------------------------------------------------------------------------------------------------------

    def _write_channels(self, context: Context) -> None:
        """A function that gives the channels which can be known without a message, and those that the route names."""
        for value in self._channels:
            if isinstance(value.data, str) and "{{" in value.data:
                continue  # known when somebody connects
            if isinstance(value.data, str) and 0 < len(value.data) <= MAX_CHANNEL:
                context.channels[value.data] = None
            else:
                context.problem(value, f"the name of a channel is a text of 1 to {MAX_CHANNEL} characters", "channels")
        context.lines += ["def find_channels(visit, connection):", "    found = []"]
        first = len(context.lines)
        computed = [value for value in self._channels if isinstance(value.data, str) and "{{" in value.data]
        for value in [*computed, *context.channel_values]:
            self._write_channel(context, value, must=value in computed)
        if len(context.lines) == first:
            del context.lines[-2:]
        else:
            context.lines.append("    return found")

    def _write_channel(self, context: Context, value: Value, *, must: bool) -> None:
        scope = Scope(self._assigned, ALWAYS)
        trial = context if must else Context(self._services, self._route, namespace=context.namespace)
        writer = Writer(trial, scope, "channels")
        code = writer.template(value)
        if writer.waits and must:
            context.problem(value, "the name of a channel cannot be waited for; use WsOp join", "channels")
        if writer.waits or (trial.problems and not must):
            return  # it waits, speaks of the message, or of a loop around it
        lines = [*scope.prologue(), f"found.append({code.text})"]
        context.lines += ["    try:", *(f"        {line}" for line in lines)]
        context.lines += [f"    except {context.namespace.bind(Failure, 'Failure')}:", "        pass"]

    # -- running it ----------------------------------------------------------------------------------------------------

    def make(self, context: Context, facts: dict[str, Any]) -> Compiled | None:
        """The functions that the Python defines; None, with a problem, where it goes beyond what Python takes."""
        source = "\n".join(context.lines) + "\n"
        filename = f"<route {self._route!a:.200} {next(_numbers)}>"  # Python takes no null in it
        config = self._services.config
        context.namespace.update(
            ROUTE=facts,
            Fuel=Fuel,
            MAX_OPERATIONS=config.routes_max_operations,
            MAX_SECONDS=config.routes_max_seconds,
            json_of_message=json_of_message,
        )
        try:
            code = compile(source, filename, "exec")
        except (SyntaxError, RecursionError, MemoryError) as error:
            place = context.places.get(getattr(error, "lineno", None) or 0)
            path = place.path if place is not None else ""
            value = place.value if place is not None else next(iter(self._hooks.values()))
            context.problem(value, "more is nested here than Python takes; set variables, or call functions", path)
            return None
        exec(code, context.namespace)  # made here, of constants and names of ours
        return Compiled(
            hooks={name: Hook(context.namespace[name], self._waiting[name]) for name in self._hooks},
            channels=tuple(context.channels),
            find_channels=context.namespace.get("find_channels"),
            places=context.places,
            filename=filename,
            walkers=context.walkers,
            source=source,
        )


def _assigned(operation: Any, fields: dict[str, Value]) -> list[str]:
    """The names of variables that an operation sets."""
    names = [fields.get("output"), fields.get("name") if operation.name == "SetVar" else None]
    texts = [str(value.data) for value in names if value is not None and is_name(value.data)]
    return [text for text in texts if text not in RESERVED]


def _parameters(fields: dict[str, Value]) -> tuple[str, ...]:
    names = fields["params"].items() if "params" in fields else []
    return tuple(str(name.data) for name in names if is_name(name.data))
