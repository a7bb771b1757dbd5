"""Edge: a directed connection from one node to another, with fields of its own where a subclass declares them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from wireloom.errors import did_you_mean
from wireloom.graph.declared import Declared
from wireloom.graph.ids import new_id

if TYPE_CHECKING:
    from wireloom.graph.node import Node
    from wireloom.graph.unit import Unit

__all__ = ["Edge", "EdgeState", "edge_state", "edge_type_name", "refuse_unknown_field"]


class EdgeState:
    """What is known of an edge besides its fields.

    Attributes:
        edge_id: made when first asked for.
        unit: the run that it belongs to; None before it connects anything.
        source: id of the node it begins at.
        target: id of the node it ends at.
        stored: its fields as the store has them; None for a new one.
        unknown: what is stored of it and is no field of its class.
    """

    __slots__ = ("edge_id", "source", "stored", "target", "unit", "unknown")

    def __init__(self, edge_id: str, unit: Unit | None = None) -> None:
        self.edge_id = edge_id
        self.unit = unit
        self.source = ""
        self.target = ""
        self.stored: bytes | None = None
        self.unknown: dict[str, msgspec.Raw] | None = None


class Edge(msgspec.Struct, metaclass=Declared, dict=True, eq=False):
    """A directed connection between nodes. Subclasses annotate fields as nodes do; `here.connect` makes it one."""

    __reserved__: ClassVar[frozenset[str]] = frozenset({"id", "source", "target"})

    @property
    def id(self) -> str:
        """``e:Type:<24 hex>``."""
        return edge_state(self).edge_id

    async def source(self) -> Node:
        """The node that it begins at."""
        return await self._run().node(edge_state(self).source)

    async def target(self) -> Node:
        """The node that it ends at."""
        return await self._run().node(edge_state(self).target)

    def _run(self) -> Unit:
        unit = edge_state(self).unit
        if unit is None:
            raise RuntimeError(f"this {type(self).__name__} connects nothing yet; give it to here.connect(node, edge)")
        return unit

    if not TYPE_CHECKING:  # type checkers know the fields

        def __setattr__(self, name: str, value: Any) -> None:
            refuse_unknown_field(type(self), name)
            super().__setattr__(name, value)


def edge_state(edge: Edge) -> EdgeState:
    """What is known of an edge besides its fields."""
    state: EdgeState | None = edge.__dict__.get("_state")
    if state is None:
        state = edge.__dict__["_state"] = EdgeState(new_id("e", edge_type_name(type(edge))))
    return state


def edge_type_name(kind: type[Edge]) -> str:
    """What the store calls a class of edges."""
    return "" if kind is Edge else kind.__name__


def refuse_unknown_field(kind: Any, name: str) -> None:
    """Says which field was meant, where a field is set that there is not: its value would be lost.

    Raises:
        AttributeError: there is no such field.
    """
    fields: tuple[str, ...] = kind.__struct_fields__
    if name not in fields and not hasattr(kind, name):
        raise AttributeError(f"{kind.__name__} has no field {name!r}{did_you_mean(name, fields)}")
