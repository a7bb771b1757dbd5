"""Functions of a route, tasks side by side, and waiting."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import anyio

from wireloom.errors import RequestError, did_you_mean
from wireloom.faces.routes.expressions.emit import Code
from wireloom.faces.routes.failure import Failure
from wireloom.faces.routes.fuel import CAUGHT, deeper
from wireloom.faces.routes.operations.fields import Fields
from wireloom.faces.routes.operations.reading import write_operations
from wireloom.faces.routes.operations.table import Field, operation
from wireloom.faces.routes.writer import Writer

__all__ = ["MAX_SLEEP_MILLISECONDS", "parallel"]

MAX_SLEEP_MILLISECONDS = 10_000
_MOST_TASKS = 32


@operation(
    "DefineFunction",
    Field("name", "name", needed=True),
    Field("params", "list of names"),
    Field("body", "operations", "Return gives the result"),
    help="Defines a function of the route, which all of its hooks can call. It has variables of its own: its parameters"
    " and what it sets.",
)
def _define(writer: Writer, fields: Fields) -> None:
    """Its body is a Python function of its own, which `compiler` has written by now."""
    if writer.in_function:
        writer.problem(fields.value, "a function cannot be defined within another")
    first = writer.context.definitions.get(fields.local("name", "function"))
    if first is not None and "name" in fields and fields["name"] is not first and not writer.in_function:
        fields.problem("name", f"there is a function {first.data!r} already, in line {first.line}")
    fields.names("params")
    writer.write("pass")


@operation(
    "CallFunction",
    Field("name", "name", "of a function of this route", needed=True),
    Field("args", "list or object", "the values of its parameters, in order or by name"),
    Field("output", "name", "of the variable that takes the result"),
    help="Calls a function. At most 32 may wait for each other: `OUT_OF_DEPTH`.",
)
def _call(writer: Writer, fields: Fields) -> None:
    functions, name = writer.context.functions, fields.literal("name") or ""
    if name not in functions:
        if "name" in fields:
            fields.problem("name", f"there is no function {name!r} in this route{did_you_mean(name, functions)}")
        return
    given = _arguments(fields, name, functions[name])
    depth = f"{writer.name(deeper)}(D)" if writer.in_function else "1"
    arguments = ", ".join(["visit", "connection", writer.fuel, depth, *(code.text for code in given)])
    waits = writer.context.functions_wait
    writer.waits = writer.waits or waits
    fields.output(f"(await defined_{name}({arguments}))" if waits else f"defined_{name}({arguments})")


def _arguments(fields: Fields, name: str, parameters: tuple[str, ...]) -> list[Code]:
    """What is given for every parameter; null where there is nothing."""
    given: dict[str, Code] = {}
    value = fields["args"] if "args" in fields else None
    if value is not None and isinstance(value.data, dict):
        for key, (place, inner) in value.data.items():
            if key not in parameters:
                fields.writer.problem(place, f"{name} has no parameter {key!r}{did_you_mean(key, parameters)}")
            given[key] = fields.writer.template(inner)
    elif value is not None and isinstance(value.data, list):
        if len(value.data) > len(parameters):
            fields.problem("args", f"{name} takes {len(parameters)} values, not {len(value.data)}")
        given = {key: fields.writer.template(inner) for key, inner in zip(parameters, value.data, strict=False)}
    elif value is not None:
        fields.problem("args", "must be a list, or an object of parameters and values")
    return [given.get(parameter, Code("None", "null")) for parameter in parameters]


@operation(
    "Parallel",
    Field("tasks", "lists of operations", "one list for each task", needed=True),
    Field("max_concurrent", "whole number", "that run at a time; all where it is left out"),
    Field("output", "name", "of the variable that takes the list of what each task has returned"),
    help="Does several things side by side, and waits for all. One that fails ends the others.",
)
def _parallel(writer: Writer, fields: Fields) -> None:
    most = fields.whole("max_concurrent", _MOST_TASKS, 1, _MOST_TASKS)
    names = []
    tasks = fields["tasks"].items() if "tasks" in fields else []
    if "tasks" in fields and (not isinstance(fields["tasks"].data, list) or len(tasks) > _MOST_TASKS):
        fields.problem("tasks", f"must be a list of at most {_MOST_TASKS} lists of operations")
    with writer.deeper(fields.value) as allowed:
        for index, task in enumerate(tasks if allowed else ()):
            names.append(writer.fresh("task"))
            with writer.indented(f"async def {names[-1]}():"), _task(writer):
                write_operations(writer, task, f"tasks[{index}]")
    fields.output(writer.wait(f"{writer.name(parallel)}([{', '.join(names)}], {most})"))


@contextmanager
def _task(writer: Writer) -> Iterator[None]:
    """Operations of a Python function within the hook's: what is around them cannot be left from within."""
    before = writer.in_loop, writer.may_return, writer.gives_answer
    writer.in_loop, writer.may_return, writer.gives_answer = False, True, False
    yield
    writer.in_loop, writer.may_return, writer.gives_answer = before


async def parallel(tasks: list[Callable[[], Awaitable[Any]]], most: int) -> list[Any]:
    """Runs tasks side by side.

    Args:
        most: that run at a time.

    Returns:
        What each has given.

    Raises:
        Failure: the first that any of them failed with.
    """
    results: list[Any] = [None] * len(tasks)
    failures: list[Failure | RequestError] = []
    limiter = anyio.Semaphore(most)

    async def run(index: int, task: Callable[[], Awaitable[Any]]) -> None:
        async with limiter:
            try:
                results[index] = await task()
            except CAUGHT as failure:
                failures.append(failure)
                group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        for index, task in enumerate(tasks):
            group.start_soon(run, index, task)
    if failures:
        raise failures[0]
    return results


@operation(
    "Sleep",
    Field("duration_ms", "number", f"at most {MAX_SLEEP_MILLISECONDS}", needed=True),
    help="Waits. Further messages of the connection wait with it; those of others do not.",
)
def _sleep(writer: Writer, fields: Fields) -> None:
    data = fields["duration_ms"].data if "duration_ms" in fields else 0
    if isinstance(data, int | float) and not 0 <= data <= MAX_SLEEP_MILLISECONDS:
        fields.problem("duration_ms", f"must be from 0 to {MAX_SLEEP_MILLISECONDS}")
    writer.write(writer.wait(f"{writer.name(sleep)}({fields.number('duration_ms', 0)})"))


async def sleep(milliseconds: float) -> None:
    """Waits, never for long."""
    await anyio.sleep(min(max(milliseconds, 0), MAX_SLEEP_MILLISECONDS) / 1000)
