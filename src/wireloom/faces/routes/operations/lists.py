"""Lists: made of other lists."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from wireloom.faces.routes.expressions.emit import Code
from wireloom.faces.routes.expressions.filters import FILTERS
from wireloom.faces.routes.expressions.operators import divide
from wireloom.faces.routes.operations.control import listed
from wireloom.faces.routes.operations.fields import Fields
from wireloom.faces.routes.operations.table import Field, operation
from wireloom.faces.routes.writer import Writer

__all__ = ["aggregate"]

_INPUT = Field("input", "list or object", "of an object, `{key, value}` of every member", needed=True)
_VAR = Field("var", "name", "of the item; `item` where it is left out")
_OUTPUT = Field("output", "name", "of the variable that takes the result", needed=True)


@operation(
    "Map",
    _INPUT,
    Field("transform", "any value", "what becomes of the item", needed=True),
    _VAR,
    _OUTPUT,
    help="Makes a list of what becomes of every item.",
)
def _map(writer: Writer, fields: Fields) -> None:
    with _each(writer, fields) as (item, items):
        transform = fields.template("transform").text
    fields.output(f"[{transform} for {item} in {items}]")


@operation(
    "Filter",
    _INPUT,
    Field("condition", "condition", "of the items that stay", needed=True),
    _VAR,
    _OUTPUT,
    help="Makes a list of the items for which a condition counts as true.",
)
def _filter(writer: Writer, fields: Fields) -> None:
    with _each(writer, fields) as (item, items):
        condition = fields.condition("condition").text
    fields.output(f"[{item} for {item} in {items} if {condition}]")


@operation(
    "Aggregate",
    _INPUT,
    Field("operation", "sum, avg, min, max or count", needed=True),
    Field("transform", "any value", "what of the item is counted; the item itself where it is left out"),
    _VAR,
    _OUTPUT,
    help="Makes one value of all items. Of none, `avg`, `min` and `max` are null.",
)
def _aggregate(writer: Writer, fields: Fields) -> None:
    kind = fields.word("operation", ("sum", "avg", "min", "max", "count"), "count")
    with _each(writer, fields) as (item, items):
        transform = fields.template("transform", item).text
    fields.output(f"{writer.name(aggregate)}({kind!r}, [{transform} for {item} in {items}])")


@contextmanager
def _each(writer: Writer, fields: Fields) -> Iterator[tuple[str, str]]:
    """The Python name of an item, which expressions see here, and the Python of all items; each counts."""
    collection = fields.of_kinds("input", "list", "object")
    item = writer.fresh("item")
    name = fields.local("var", "item")
    with writer.scope.local({name: Code(item)}):
        yield item, f"{writer.fuel}.each({writer.name(listed)}({collection.text}))"


def aggregate(kind: str, items: list[Any]) -> Any:
    """One value of all items.

    Raises:
        Failure: an item that is no number, or has no order.
    """
    if kind == "count":
        return len(items)
    if kind == "avg":
        return divide(FILTERS.rows["sum"].function(items), len(items)) if items else None
    return FILTERS.rows[kind].function(items)
