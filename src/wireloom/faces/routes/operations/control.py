"""Control: variables, conditions, loops, errors, and the end of a hook."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from wireloom.faces.routes.answer import Answer
from wireloom.faces.routes.document import Value
from wireloom.faces.routes.expressions.emit import Code
from wireloom.faces.routes.expressions.values import a_kind, bounded, equal
from wireloom.faces.routes.failure import Failure
from wireloom.faces.routes.fuel import CAUGHT
from wireloom.faces.routes.messaging import join_channel
from wireloom.faces.routes.operations.fields import Fields
from wireloom.faces.routes.operations.reading import CASE_OPERATIONS, block, write_operations
from wireloom.faces.routes.operations.table import Field, operation
from wireloom.faces.routes.writer import Writer

__all__ = ["listed"]

_MOST_ITERATIONS = 1_000_000
_MOST_BRANCHES = 20  # of one if … elif … else


@operation(
    "Return",
    Field("value", "any value", "what is given; null gives nothing"),
    Field("status", "number", "HTTP status, 200 to 599", door="http"),
    Field("headers", "object", "further headers of the response", door="http"),
    Field("raw", "true or false", "the value is the body as it is, no JSON", door="http"),
    help="Ends the hook. A WebSocket's value goes to this client, texts as text, all else as JSON; an HTTP route's is"
    " the response. In a function or a task of Parallel it ends that and gives its result.",
)
def _return(writer: Writer, fields: Fields) -> None:
    if not writer.may_return:
        writer.problem(fields.value, "Return cannot stand in a finally")
    value = fields.template("value")
    if writer.gives_answer:
        data = fields["status"].data if "status" in fields else 200
        if isinstance(data, int | float) and not isinstance(data, bool) and data not in range(200, 600):
            fields.problem("status", "must be a whole number from 200 to 599")
        status, headers = fields.number("status", 200), fields.of_kinds("headers", "object", "null").text
        answer = writer.name(Answer.of, "answer")
        writer.write(f"return {answer}({value.text}, {status}, {headers}, {fields.flag('raw')})")
    else:
        writer.write(f"return {value.text}")


@operation(
    "SetVar",
    Field("name", "name", "of the variable", needed=True),
    Field("value", "any value", needed=True),
    help="Sets a variable of the connection. Setting one that is called `channel` joins that channel, too.",
    also="Set",
)
def _set(writer: Writer, fields: Fields) -> None:
    name, value = fields.variable("name"), fields.template("value")
    writer.scope.uses.add("V")
    kept = value.text if value.kind in ("bool", "number", "null") else f"{writer.name(bounded)}({value.text})"
    writer.write(f"V[{name!r}] = {kept}")
    if name == "channel" and not writer.context.is_http and not writer.in_function:
        writer.write(f"{writer.name(join_channel)}(visit, V['channel'])")


@operation(
    "If",
    Field("condition", "condition", needed=True),
    Field("then", "operations", "where it counts as true"),
    Field("else", "operations", "where it does not"),
    help="Does one thing or another.",
)
def _if(writer: Writer, fields: Fields) -> None:
    condition = fields.condition("condition")
    with writer.deeper(fields.value) as allowed:
        if allowed:
            with writer.indented(f"if {condition.text}:"):
                block(fields, "then")
            if "else" in fields:
                with writer.indented("else:"):
                    block(fields, "else")


@operation(
    "Switch",
    Field("value", "any value", needed=True),
    Field("cases", "cases", "a list of `{value, operations}`; the first equal one is taken", needed=True),
    Field("default", "operations", "where none is equal"),
    help="Does one of several things, by a value.",
)
def _switch(writer: Writer, fields: Fields) -> None:
    value = writer.fresh("value")
    writer.write(f"{value} = {fields.template('value').text}")
    with writer.deeper(fields.value) as allowed:
        if not allowed:
            return
        cases, is_open = list(_cases(fields)), writer.fresh("is_open")
        many = len(cases) > _MOST_BRANCHES  # else-if is nested in Python's own eyes, which have their limits
        if many:
            writer.write(f"{is_open} = True")
        keyword = "if"
        for index, (wanted, operations) in enumerate(cases):
            equals = f"{writer.name(equal)}({value}, {writer.template(wanted).text})"
            with writer.indented(f"if {is_open} and {equals}:" if many else f"{keyword} {equals}:"):
                if many:
                    writer.write(f"{is_open} = False")
                if operations is None:
                    writer.write("pass")
                else:
                    write_operations(writer, operations, f"cases[{index}]")
            keyword = "elif"
        with writer.indented(f"if {is_open}:" if many else "else:" if cases else "if True:"):
            block(fields, "default")


def _cases(fields: Fields) -> Iterator[tuple[Value, Value | None]]:
    if "cases" not in fields:
        return
    if not isinstance(fields["cases"].data, list):
        fields.problem("cases", "must be a list of {value, operations}")
    for case in fields["cases"].items():
        members = {("operations" if name in CASE_OPERATIONS else name): pair for name, pair in case.members().items()}
        for name, (key, _) in members.items():
            if name not in ("value", "operations"):
                fields.writer.problem(key, f"a case has 'value' and 'operations', and no {name!r}")
        if "value" not in members:
            fields.writer.problem(case, "a case needs 'value'")
        else:
            yield members["value"][1], members["operations"][1] if "operations" in members else None


@operation(
    "Loop",
    Field("collection", "list or object", "of an object, `{key, value}` of every member", needed=True),
    Field("var", "name", "of the item; `item` where it is left out"),
    Field("body", "operations"),
    help="Runs operations once for every item. The item and its `index`, from 0, are there in the body only.",
)
def _loop(writer: Writer, fields: Fields) -> None:
    collection, var = fields.of_kinds("collection", "list", "object"), fields.local("var", "item")
    item, index = writer.fresh("item"), writer.fresh("index")
    with writer.deeper(fields.value, block=True) as allowed:
        if allowed:
            with writer.indented(f"for {index}, {item} in enumerate({writer.name(listed)}({collection.text})):"):
                names = {"index": Code(index, "number"), var: Code(item)}
                with writer.scope.local(names), writer.looping():
                    writer.write(f"{writer.fuel}.spend()")
                    block(fields, "body")


def listed(value: Any) -> list[Any]:
    """What `Loop` goes through.

    Raises:
        Failure: ``WRONG_TYPE``.
    """
    if isinstance(value, dict):
        return [{"key": key, "value": inner} for key, inner in value.items()]
    if not isinstance(value, list):
        raise Failure(f"a list is wanted, not {a_kind(value)}", "WRONG_TYPE")
    return value


@operation(
    "While",
    Field("condition", "condition", needed=True),
    Field("body", "operations"),
    Field("max_iterations", "whole number", "1000 where it is left out"),
    help="Runs operations as long as a condition counts as true. Past `max_iterations` it fails:"
    " `TOO_MANY_ITERATIONS`.",
)
def _while(writer: Writer, fields: Fields) -> None:
    most = fields.whole("max_iterations", 1000, 1, _MOST_ITERATIONS)
    count = writer.fresh("count")
    with writer.deeper(fields.value, block=True) as allowed:
        if allowed:
            with writer.indented(f"for {count} in range({most + 1}):"), writer.looping():
                writer.write(f"{writer.fuel}.spend()")
                with writer.indented(f"if not {fields.condition('condition').text}:"):
                    writer.write("break")
                with writer.indented(f"if {count} == {most}:"):
                    writer.write(f"{writer.name(too_many_iterations)}({most})")
                block(fields, "body")


def too_many_iterations(most: int) -> None:
    """Ends a While.

    Raises:
        Failure: ``TOO_MANY_ITERATIONS``.
    """
    raise Failure(f"the loop ran more than {most} times", "TOO_MANY_ITERATIONS")


@operation("Break", help="Ends the Loop or While around it.")
def _break(writer: Writer, fields: Fields) -> None:
    _leave(writer, fields, "break")


@operation("Continue", help="Goes on with the next turn of the Loop or While around it.")
def _continue(writer: Writer, fields: Fields) -> None:
    _leave(writer, fields, "continue")


def _leave(writer: Writer, fields: Fields, keyword: str) -> None:
    if not writer.in_loop:
        writer.problem(fields.value, f"{fields.operation.name} stands in a Loop or While, and here is none to leave")
    writer.write(keyword if writer.in_loop else "pass")


@operation(
    "Try",
    Field("operations", "operations", needed=True),
    Field("catch", "operations", "when one of them fails; `{{ error }}` is why, `error.code` its code"),
    Field("finally", "operations", "in any case, afterwards"),
    help="Goes on where an operation fails.",
)
def _try(writer: Writer, fields: Fields) -> None:
    if "catch" not in fields and "finally" not in fields:
        writer.problem(fields.value, "Try needs 'catch' or 'finally'")
    with writer.deeper(fields.value, block=True) as allowed:
        if not allowed:
            return
        with writer.indented("try:"):
            block(fields, "operations")
        if "catch" in fields or "finally" not in fields:
            caught, error = writer.fresh("caught"), writer.fresh("error")
            with writer.indented(f"except {writer.name(CAUGHT, 'CAUGHT')} as {caught}:"):
                writer.write(f"{error} = {writer.fuel}.caught({caught})")
                with writer.scope.local({"error": Code(error, "text")}):
                    block(fields, "catch")
        if "finally" in fields:
            with writer.indented("finally:"), _not_leaving(writer):
                block(fields, "finally")


@contextmanager
def _not_leaving(writer: Writer) -> Iterator[None]:
    """Operations that nothing may leave (PEP 765)."""
    before = writer.in_loop, writer.may_return
    writer.in_loop = writer.may_return = False
    yield
    writer.in_loop, writer.may_return = before


@operation(
    "Throw",
    Field("message", "text", "what went wrong", needed=True),
    Field("code", "text", "for programs; of an HTTP route, a status from 400 to 599 is that of the response"),
    help="Fails, as an operation does that cannot do what it says.",
)
def _throw(writer: Writer, fields: Fields) -> None:
    writer.write(f"raise {writer.name(Failure)}({fields.text('message')}, {fields.text('code', 'THROWN')})")


@operation("Comment", Field("text", "text"), help="Does nothing.")
def _comment(writer: Writer, fields: Fields) -> None:
    writer.write("pass")
