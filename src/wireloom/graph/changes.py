"""Changes: what a run has read and changed, and how that is written. Law: the order of locks is everybody's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from wireloom.errors import RequestError, Unauthorized
from wireloom.graph import statements
from wireloom.graph.access import Access
from wireloom.graph.edge import Edge, EdgeState, edge_state, edge_type_name
from wireloom.graph.ids import type_of_id
from wireloom.graph.node import Node, node_state, node_type_name
from wireloom.graph.stored import encode_checked, encode_fields

__all__ = ["Changes", "Conflict"]

# What a database says when two transactions stand in each other's way: PostgreSQL's codes for serialization failures,
# deadlocks and locks that were waited for long enough, and SQLite's word for the last.
_CONFLICTS = ("40001", "40P01", "55P03", "database is locked", "database table is locked")
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
        created: new nodes that belong to somebody, by id.
        added: new edges, by id.
        only_read: ids of nodes that were connected to and may only be read: they notice nothing of it.
        grants: by node and grantee, the access and whether it is deep; None takes it back.
        after: called once all is kept.
    """

    def __init__(self, root_id: str) -> None:
        self.root_id = root_id
        self.has_turn = False
        self.read: dict[str, int] = {}
        self.edges_read: dict[str, int | None] = {}
        self.created: dict[str, Node] = {}
        self.added: dict[str, Edge] = {}
        self.only_read: set[str] = set()
        self.grants: dict[tuple[str, str], tuple[Access, bool] | None] = {}
        self.after: list[Callable[[], Any]] = []
        self._deleted: list[str] = []
        self._cut: dict[str, Edge] = {}
        self._cut_between: dict[tuple[str, str], list[tuple[str, ...] | None]] = {}
        self._changed: list[tuple[Node, bytes]] = []
        self._changed_edges: list[tuple[Edge, bytes]] = []

    # -- what the run sees of its own changes ------------------------------------------------------------------------

    @property
    def cuts_something(self) -> bool:
        """Whether stored edges are to go, so that fewer are left than are read."""
        return bool(self._cut or self._cut_between or self._deleted)

    def is_cut(self, edge: EdgeState) -> bool:
        """Whether a stored edge is to go."""
        if edge.edge_id in self._cut:
            return True
        kind = type_of_id(edge.edge_id)
        return any(names is None or kind in names for names in self._cut_between.get((edge.source, edge.target), ()))

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
        if self.added.pop(edge_state(edge).edge_id, None) is None:
            self._cut[edge_state(edge).edge_id] = edge

    def cut_between(self, source: str, target: str, names: tuple[str, ...] | None) -> None:
        """All edges from one node to another are to go, or those of some types."""

        def goes(edge: Edge) -> bool:
            state = edge_state(edge)
            kind = edge_type_name(type(edge))
            return (state.source, state.target) == (source, target) and (names is None or kind in names)

        self.added = {edge_id: edge for edge_id, edge in self.added.items() if not goes(edge)}
        self._cut_between.setdefault((source, target), []).append(names)

    def delete(self, node: Node) -> None:
        """A node is to go with its edges."""
        gone = node.id
        touching = [id for id, edge in self.added.items() if gone in (edge_state(edge).source, edge_state(edge).target)]
        for edge_id in touching:
            del self.added[edge_id]
        if self.grants:
            self.grants = {key: value for key, value in self.grants.items() if key[0] != gone}
        if self.created.pop(gone, None) is None:
            self._deleted.append(gone)

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
        left = (edge for edge in edges if edge_state(edge).edge_id not in self._cut)
        self._changed_edges = [*_changed_edges(left, nodes)]
        return bool(
            self._changed or self._changed_edges or self.created or self.added or self.grants or self.cuts_something
        )

    async def write(self, connection: AsyncConnection, postgresql: bool, *, exclusive: bool) -> None:
        """Writes everything in a transaction that somebody else commits.

        Args:
            exclusive: the transaction has what it read for itself already; any other gives way to it.

        Raises:
            Conflict: something that was read has changed.
        """
        hurries = postgresql and not exclusive
        root = statements.add_root_and_hurry() if hurries else statements.add_root(postgresql)
        await connection.execute(root, {"id": self.root_id})
        await self._check(connection, postgresql)
        await self._write_nodes(connection)
        await self._write_edges(connection)
        await self._write_grants(connection)

    async def _check(self, connection: AsyncConnection, postgresql: bool) -> None:
        """Locks all that was read and all that changes, and compares versions."""
        granted = {node for node, _ in self.grants}
        ends = self._ends() | self.only_read
        touched = sorted({self.root_id, *self.read, *self.edges_read, *ends, *granted} - self.created.keys())
        found: dict[str, Any] = {}
        for begin in range(0, len(touched), _AT_ONCE):
            some = {"ids": touched[begin : begin + _AT_ONCE]}
            rows = await connection.execute(statements.find_versions(postgresql), some)
            found |= {row.node_id: row for row in rows}
        if not found[self.root_id].owner:
            raise Unauthorized()  # the user was removed meanwhile, with all that it had
        for node_id in touched:
            row = found.get(node_id)
            if node_id in self.read and (row is None or row.version != self.read[node_id]):
                raise Conflict
            # The row that a root has just got is version 1: it had no edges
            known = self.edges_read.get(node_id, row.edges_version if row is not None else None) or 1
            if row is None or row.edges_version != known:
                raise Conflict

    def _ends(self) -> set[str]:
        """The nodes at both ends of edges that come, go or change."""
        changed = (edge for edge, _ in self._changed_edges)
        states = [edge_state(edge) for edge in (*self.added.values(), *self._cut.values(), *changed)]
        ends = {end for state in states for end in (state.source, state.target)}
        return (ends | {end for both in self._cut_between for end in both}) - self.only_read

    async def _write_nodes(self, connection: AsyncConnection) -> None:
        for begin in range(0, len(self._deleted), _AT_ONCE):
            some = {"ids": self._deleted[begin : begin + _AT_ONCE]}
            await connection.execute(statements.bump_neighbours, some)
            await connection.execute(statements.remove_nodes, some)
        if self._changed:
            rows = [{"id": node.id, "fields": fields.decode()} for node, fields in self._changed]
            await connection.execute(statements.change_node, rows)
        if self.created:
            await connection.execute(statements.add_node, [_row(node) for node in self.created.values()])

    async def _write_edges(self, connection: AsyncConnection) -> None:
        if self._cut:
            await connection.execute(statements.cut_edge, [{"id": edge_id} for edge_id in self._cut])
        for (source, target), several in self._cut_between.items():
            for names in several:
                ends = {"from_id": source, "to_id": target, **({} if names is None else {"edge_types": names})}
                await connection.execute(statements.cut_edges(names is not None), ends)
        if self._changed_edges:
            rows = [{"id": edge.id, "fields": fields.decode()} for edge, fields in self._changed_edges]
            await connection.execute(statements.change_edge, rows)
        if self.added:
            await connection.execute(statements.add_edge, [_edge_row(edge) for edge in self.added.values()])
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
            yield node, encode_checked(node, state.node_id, state.unknown)


def _changed_edges(edges: Iterable[Edge], nodes: Mapping[str, Node]) -> Iterator[tuple[Edge, bytes]]:
    for edge in edges:
        state = edge_state(edge)
        if state.stored is None or not edge.__struct_fields__ or encode_fields(edge) == state.stored:
            continue
        source = nodes.get(state.source)  # an edge is its source's, as for connecting
        if source is None or node_state(source).access < Access.WRITE:
            raise RequestError("FORBIDDEN", f"{type(edge).__name__} {state.edge_id} may only be read")
        yield edge, encode_checked(edge, state.edge_id, state.unknown)


def _row(node: Node) -> dict[str, Any]:
    state = node_state(node)
    return {
        "node_id": state.node_id,
        "type": node_type_name(type(node)),
        "owner": state.owner,
        "context": encode_checked(node, state.node_id).decode(),
        "version": 1,
        "edges_version": 1,
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
