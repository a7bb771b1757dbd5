"""Node and Root: what a user keeps. Law: what reads the store is awaited; what changes the unit of work is not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias, TypeVar, overload

import msgspec

from wireloom.errors import RequestError
from wireloom.graph.access import Access, Level, level_of
from wireloom.graph.declared import Declared
from wireloom.graph.edge import Edge, refuse_unknown_field
from wireloom.graph.ids import is_node_id, new_id, type_of_id

if TYPE_CHECKING:
    from wireloom.graph.unit import Unit

__all__ = ["Direction", "Node", "NodeState", "Root", "Where", "node_state", "node_type_name", "root_id_of"]

N = TypeVar("N", bound="Node")
E = TypeVar("E", bound=Edge)

Direction: TypeAlias = Literal["out", "in", "any"]
Where: TypeAlias = "Mapping[str, Any] | Callable[[Any], bool] | None"


class NodeState(msgspec.Struct, eq=False):
    """What is known of a node besides its fields. (A Struct, because every run makes one, of its root.)

    Args:
        node_id: made when first asked for.
        unit: the run that it belongs to; None before it is connected.
        owner: id of the root that it belongs to; empty while it is connected to nothing that belongs to somebody.
        access: what the run may do with it.
        deep: what the run may do with the nodes of the same owner that it leads to; 0: nothing by this node.
        stored: its fields as the store has them; None for a new one, and for a root.
        deleted: whether it goes with this run.
        edges: what a new node was connected to before it was connected itself.
        unknown: what is stored of it and is no field of its class.
    """

    node_id: str
    unit: Any = None
    owner: str = ""
    access: Access = Access.OWN
    deep: int = 0
    stored: bytes | None = None
    deleted: bool = False
    edges: list[tuple[Any, Edge]] | None = None
    unknown: dict[str, msgspec.Raw] | None = None


class Node(msgspec.Struct, metaclass=Declared, dict=True, eq=False):
    """Something that is kept: a subclass annotates its fields, with types and defaults as messages have them.

    It is kept once it is connected to something that is; changes of its fields are kept when the run ends well.
    """

    __reserved__: ClassVar[frozenset[str]] = frozenset(
        {"id", "nodes", "edges", "connect", "disconnect", "delete", "grant", "revoke", "grants"}
    )

    @property
    def id(self) -> str:
        """``n:Type:<24 hex>``."""
        return node_state(self).node_id

    @overload
    async def nodes(
        self,
        kind: None = None,
        *,
        edge: type[Edge] | None = None,
        where: Where = None,
        limit: int | None = None,
        direction: Direction = "out",
    ) -> list[Node]: ...

    @overload
    async def nodes(
        self,
        kind: type[N],
        *,
        edge: type[Edge] | None = None,
        where: Mapping[str, Any] | Callable[[N], bool] | None = None,
        limit: int | None = None,
        direction: Direction = "out",
    ) -> list[N]: ...

    async def nodes(
        self,
        kind: type[Node] | None = None,
        *,
        edge: type[Edge] | None = None,
        where: Where = None,
        limit: int | None = None,
        direction: Direction = "out",
    ) -> list[Any]:
        """The nodes that it is connected to and that this run may read, in the order in which they were connected.

        Args:
            kind: those of this class and its subclasses; None: all.
            edge: over edges of this class and its subclasses.
            where: a mapping of fields to the values that they have, or a function of a node.
            limit: at most so many.
            direction: ``"out"``: where its edges lead; ``"in"``: where edges come from; ``"any"``: both.
        """
        return await self._run().nodes_of(self, kind or Node, edge or Edge, where, limit, direction)

    @overload
    async def edges(
        self, kind: None = None, *, where: Where = None, limit: int | None = None, direction: Direction = "out"
    ) -> list[Edge]: ...

    @overload
    async def edges(
        self,
        kind: type[E],
        *,
        where: Mapping[str, Any] | Callable[[E], bool] | None = None,
        limit: int | None = None,
        direction: Direction = "out",
    ) -> list[E]: ...

    async def edges(
        self,
        kind: type[Edge] | None = None,
        *,
        where: Where = None,
        limit: int | None = None,
        direction: Direction = "out",
    ) -> list[Any]:
        """Its edges to nodes that this run may read; arguments as for `nodes`."""
        return await self._run().edges_of(self, kind or Edge, where, limit, direction)

    def connect(self, node: N, edge: Edge | type[Edge] | None = None) -> N:
        """Leads to another node from now on; a new one is kept with the run, as its owner's who keeps this one.

        Args:
            node: a new one, or one that this run may read.
            edge: a new edge or a class of edges; None: a plain one.

        Returns:
            The node.

        Raises:
            RequestError: ``FORBIDDEN``: this run may not change this node.
        """
        if not isinstance(node, Node):
            raise TypeError(f"connect takes a node, such as Task(title=…), not {node!r:.100}")
        made = Edge() if edge is None else edge() if isinstance(edge, type) else edge
        if not isinstance(made, Edge):
            raise TypeError(f"an edge is of a class of edges, not {made!r:.100}")
        unit = node_state(self).unit
        if unit is None:
            state = node_state(self)
            state.edges = [*(state.edges or ()), (node, made)]
        else:
            unit.connect(self, node, made)
        return node

    def disconnect(self, node: Node | Edge, edge: type[Edge] | None = None) -> None:
        """Leads there no longer. The node itself stays.

        Args:
            node: where its edges led, or the one edge.
            edge: only edges of this class and its subclasses.

        Raises:
            RequestError: ``FORBIDDEN``: this run may not change this node.
        """
        self._run().disconnect(self, node, edge or Edge)

    def delete(self) -> None:
        """Is gone with its edges when the run ends well.

        Raises:
            RequestError: ``FORBIDDEN``: it is another user's, and was not reached through a deep grant to write.
        """
        self._run().delete(self)

    def grant(self, user: Any, level: Level, *, deep: bool = False) -> None:
        """Lets another user's runs read or change it.

        Args:
            user: a user, a root or a root's id.
            level: ``"read"`` or ``"write"``.
            deep: also the nodes of the same owner that it leads to, when they are reached through it.

        Raises:
            RequestError: ``FORBIDDEN``: it is another user's.
        """
        self._run().grant(self, root_id_of(user), level_of(level), deep)

    def revoke(self, user: Any) -> None:
        """Takes back what was granted to a user, or gives back what oneself was granted; arguments as for `grant`."""
        self._run().grant(self, root_id_of(user), None, False)

    async def grants(self) -> dict[str, Level]:
        """Who else may ``"read"`` or ``"write"`` it, by the ids of their roots.

        Raises:
            RequestError: ``FORBIDDEN``: it is another user's.
        """
        return await self._run().grants_of(self)

    def _run(self) -> Unit:
        unit: Unit | None = node_state(self).unit
        if unit is None:
            raise RuntimeError(f"this {type(self).__name__} is connected to nothing yet; here.connect(node) does that")
        return unit

    if not TYPE_CHECKING:  # type checkers know the fields

        def __setattr__(self, name: str, value: Any) -> None:
            refuse_unknown_field(type(self), name)
            super().__setattr__(name, value)


class Root(Node):
    """Where everything of a user begins. Every user has one; all who are not logged in share another."""

    @property
    def root_id(self) -> str:
        """``n::<24 hex>``; `notify.users` takes it."""
        return self.id

    async def find(self, node_id: str) -> Node:
        """A node by its id.

        Raises:
            RequestError: ``NOT_FOUND``: there is none, or this run may not see it.
        """
        return await self._run().node(node_id)

    @overload
    async def granted(self, kind: None = None, *, limit: int | None = None) -> list[Node]: ...

    @overload
    async def granted(self, kind: type[N], *, limit: int | None = None) -> list[N]: ...

    async def granted(self, kind: type[Node] | None = None, *, limit: int | None = None) -> list[Any]:
        """The nodes of others that were granted to this root's user.

        Args:
            kind: those of this class and its subclasses; None: all.
            limit: at most so many.
        """
        return await self._run().granted_to(self, kind or Node, limit)


def node_state(node: Node) -> NodeState:
    """What is known of a node besides its fields."""
    state: NodeState | None = node.__dict__.get("_state")
    if state is None:
        state = node.__dict__["_state"] = NodeState(new_id("n", node_type_name(type(node))))
    return state


def node_type_name(kind: type[Node]) -> str:
    """What the store calls a class of nodes."""
    return "" if kind is Root else kind.__name__


def root_id_of(user: Any) -> str:
    """The root's id of a user.

    Raises:
        RequestError: ``NOT_FOUND``: None, as `find_user` gives it where there is nobody.
        TypeError: neither a user nor a root nor an id of one.
    """
    if user is None:
        raise RequestError("NOT_FOUND", "There is no such user")
    found = user if isinstance(user, str) else getattr(user, "root_id", None)
    if not isinstance(found, str) or not is_node_id(found) or type_of_id(found):
        raise TypeError(f"a user, a root or a root's id is wanted, not {user!r:.100}; self.find_user(name) finds users")
    return found
