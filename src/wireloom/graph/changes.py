"""Changes: what a run has read and changed, and how that is written. Law: the order of locks is everybody's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from wireloom.errors import RequestError
from wireloom.graph import statements
from wireloom.graph.access import Access
from wireloom.graph.edge import Edge, EdgeState, edge_state, edge_type_name
from wireloom.graph.ids import type_of_id
from wireloom.graph.node import Node, node_state, node_type_name
from wireloom.graph.stored import encode_checked, encode_fields

__all__ = ["Changes", "Conflict"]

# What a database says when two transactions stand in each other's way: PostgreSQL's codes for serialization failures
# and deadlocks, and SQLite's word when it has waited long enough.
_CONFLICTS = ("40001", "40P01", "database is locked", "database table is locked")
_AT_ONCE = 500  # ids in one statement


class Conflict(RequestError):
    """Somebody else changed what this run has read; nothing of it was kept."""

    def __init__(self) -> None:
        super().__init__("CONFLICT", "Somebody else changed the same data at the same time; try again")


class Changes:
    """What a run has read and changed.

    Args:
        root_id: of the user whose run it is.

    Attributes:
        has_turn: whether the run has its root's turn.
        read: by id, the versions of nodes whose fields were read.
        edges_read: by id, the versions of nodes' edges that were read; None: of a root without a row.
        created: new nodes that belong to somebody.
        added: new edges.
        grants: by node and grantee, the access and whether it is deep; None takes it back.
        after: called once all is kept.
    """

    def __init__(self, root_id: str) -> None:
        self.root_id = root_id
        self.has_turn = False
        self.read: dict[str, int] = {}
        self.edges_read: dict[str, int | None] = {}
        self.created: list[Node] = []
        self.added: list[Edge] = []
        self.grants: dict[tuple[str, str], tuple[Access, bool] | None] = {}
        self.after: list[Callable[[], Any]] = []
        self._deleted: list[Node] = []
        self._cut: list[Edge] = []
        self._cut_between: list[tuple[str, str, tuple[str, ...] | None]] = []
        self._changed: list[tuple[Node, bytes]] = []
        self._changed_edges: list[tuple[Edge, bytes]] = []

    # -- what the run sees of its own changes ------------------------------------------------------------------------

    @property
    def cuts_something(self) -> bool:
        """Whether stored edges are to go, so that fewer are left than are read."""
        return bool(self._cut or self._cut_between or self._deleted)

    def is_cut(self, edge: EdgeState) -> bool:
        """Whether a stored edge is to go."""
        if any(edge_state(one).edge_id == edge.edge_id for one in self._cut):
            return True
        kind = edge.edge_id.split(":")[1]
        return any(
            (source, target) == (edge.source, edge.target) and (names is None or kind in names)
            for source, target, names in self._cut_between
        )

    def other_end(self, edge: Edge, here: str, direction: str) -> str | None:
        """Where a new edge leads from a node; None: not from there, or not in this direction."""
        state = edge_state(edge)
        if state.source == here and direction != "in":
            return state.target
        if state.target == here and direction != "out":
            return state.source
        return None

    # -- changing ----------------------------------------------------------------------------------------------------

    def cut(self, edge: Edge) -> None:
        """An edge is to go."""
        if edge in self.added:
            self.added.remove(edge)
        else:
            self._cut.append(edge)

    def cut_between(self, source: str, target: str, names: tuple[str, ...] | None) -> None:
        """All edges from one node to another are to go, or those of some types."""

        def goes(edge: Edge) -> bool:
            state = edge_state(edge)
            kind = edge_type_name(type(edge))
            return (state.source, state.target) == (source, target) and (names is None or kind in names)

        self.added = [edge for edge in self.added if not goes(edge)]
        self._cut_between.append((source, target, names))

    def delete(self, node: Node) -> None:
        """A node is to go with its edges."""
        self.added = [edge for edge in self.added if node.id not in (edge_state(edge).source, edge_state(edge).target)]
        self.grants = {key: value for key, value in self.grants.items() if key[0] != node.id}
        if node in self.created:
            self.created.remove(node)
        else:
            self._deleted.append(node)

    # -- writing -----------------------------------------------------------------------------------------------------

    def collect(self, nodes: Mapping[str, Node], edges: Iterable[Edge]) -> bool:
        """Finds what is to be written; whether there is anything.

        Args:
            nodes: all that the run knows, by id.
            edges: all that the run knows.

        Raises:
            RequestError: ``FORBIDDEN``: fields were changed of a node that may only be read, or of an edge that begins
                at one.
            TypeError: a field has a value that is not of its type.
        """
        self._changed = [*_changed(nodes.values())]
        self._changed_edges = [*_changed_edges(edges, nodes)]
        self._changed_edges = [pair for pair in self._changed_edges if pair[0] not in self._cut]
        return bool(
            self._changed or self._changed_edges or self.created or self.added or self.grants or self.cuts_something
        )

    async def write(self, connection: AsyncConnection, postgresql: bool) -> None:
        """Writes everything in a transaction that somebody else commits.

        Raises:
            Conflict: something that was read has changed.
        """
        await self._check(connection, postgresql)
        await self._write_nodes(connection)
        await self._write_edges(connection)
        await self._write_grants(connection)

    async def _check(self, connection: AsyncConnection, postgresql: bool) -> None:
        """Locks all that was read and all that changes, and compares versions."""
        if self.root_id in self._ends() or any(node == self.root_id for node, _ in self.grants):
            await connection.execute(statements.add_root(postgresql), {"id": self.root_id})
        created = {node.id for node in self.created}
        touched = sorted({*self.read, *self.edges_read, *self._ends(), *(node for node, _ in self.grants)} - created)
        found: dict[str, Any] = {}
        for begin in range(0, len(touched), _AT_ONCE):
            some = {"ids": touched[begin : begin + _AT_ONCE]}
            rows = await connection.execute(statements.find_versions(postgresql), some)
            found |= {row.node_id: row for row in rows}
        for node_id in touched:
            row = found.get(node_id)
            if node_id in self.read and (row is None or row.version != self.read[node_id]):
                raise Conflict
            if row is None and node_id != self.root_id:
                raise Conflict
            if node_id in self.edges_read and row is not None:
                # The row that a root has just got is version 1: it had no edges
                if row.edges_version != (self.edges_read[node_id] or 1):
                    raise Conflict

    def _ends(self) -> set[str]:
        """The nodes at both ends of edges that come, go or change."""
        states = [edge_state(edge) for edge in (*self.added, *self._cut, *(edge for edge, _ in self._changed_edges))]
        ends = {end for state in states for end in (state.source, state.target)}
        return ends | {end for source, target, _ in self._cut_between for end in (source, target)}

    async def _write_nodes(self, connection: AsyncConnection) -> None:
        for node in self._deleted:
            await connection.execute(statements.bump_neighbours, {"id": node.id})
            await connection.execute(statements.remove_node, {"id": node.id})
        if self._changed:
            rows = [{"id": node.id, "fields": fields.decode()} for node, fields in self._changed]
            await connection.execute(statements.change_node, rows)
        if self.created:
            await connection.execute(statements.add_node, [_row(node) for node in self.created])

    async def _write_edges(self, connection: AsyncConnection) -> None:
        if self._cut:
            await connection.execute(statements.cut_edge, [{"id": edge.id} for edge in self._cut])
        for source, target, names in self._cut_between:
            ends = {"from_id": source, "to_id": target, **({} if names is None else {"edge_types": names})}
            await connection.execute(statements.cut_edges(names is not None), ends)
        if self._changed_edges:
            rows = [{"id": edge.id, "fields": fields.decode()} for edge, fields in self._changed_edges]
            await connection.execute(statements.change_edge, rows)
        if self.added:
            await connection.execute(statements.add_edge, [_edge_row(edge) for edge in self.added])
        ends_bumped = sorted(self._ends())
        for begin in range(0, len(ends_bumped), _AT_ONCE):
            await connection.execute(statements.bump_edges, {"ids": ends_bumped[begin : begin + _AT_ONCE]})

    async def _write_grants(self, connection: AsyncConnection) -> None:
        changed = {node.id for node, _ in self._changed}
        for (node_id, user), granted in self.grants.items():
            await connection.execute(statements.remove_grant, {"id": node_id, "user": user})
            if granted is not None:
                row = {"node_id": node_id, "grantee": user, "level": int(granted[0]), "deep": granted[1]}
                await connection.execute(statements.add_grant, row)
            if node_id not in changed:  # a run of the grantee that read it is overtaken
                await connection.execute(statements.bump_node, {"id": node_id})

    @contextmanager
    def translating(self) -> Iterator[None]:
        """What a database says of transactions in each other's way becomes a `Conflict`."""
        try:
            yield
        except DBAPIError as error:
            said = f"{getattr(error.orig, 'sqlstate', '')} {error.orig}"
            if any(word in said for word in _CONFLICTS):
                raise Conflict from error
            raise


def _changed(nodes: Iterable[Node]) -> Iterator[tuple[Node, bytes]]:
    for node in nodes:
        state = node_state(node)
        if state.stored is None or state.deleted or not node.__struct_fields__:
            continue
        fields = encode_fields(node)
        if fields != state.stored:
            if state.access < Access.WRITE:
                raise RequestError("FORBIDDEN", f"{type(node).__name__} {state.node_id} may only be read")
            yield node, encode_checked(node, state.node_id)


def _changed_edges(edges: Iterable[Edge], nodes: Mapping[str, Node]) -> Iterator[tuple[Edge, bytes]]:
    for edge in edges:
        state = edge_state(edge)
        if state.stored is None or not edge.__struct_fields__ or encode_fields(edge) == state.stored:
            continue
        source = nodes.get(state.source)  # an edge is its source's, as for connecting
        if source is None or node_state(source).access < Access.WRITE:
            raise RequestError("FORBIDDEN", f"{type(edge).__name__} {state.edge_id} may only be read")
        yield edge, encode_checked(edge, state.edge_id)


def _row(node: Node) -> dict[str, Any]:
    state = node_state(node)
    versions = {"version": 1, "edges_version": 1}
    fields = encode_checked(node, state.node_id).decode()
    return {
        "node_id": state.node_id,
        "type": node_type_name(type(node)),
        "owner": state.owner,
        "context": fields,
        **versions,
    }


def _edge_row(edge: Edge) -> dict[str, Any]:
    state = edge_state(edge)
    return {
        "edge_id": state.edge_id,
        "type": edge_type_name(type(edge)),
        "source": state.source,
        "target": state.target,
        "source_type": type_of_id(state.source),
        "target_type": type_of_id(state.target),
        "context": encode_checked(edge, state.edge_id).decode(),
    }
