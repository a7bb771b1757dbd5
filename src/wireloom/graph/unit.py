"""Unit: the unit of work of one run: what it read, what it changes, and all of it or nothing in the store.

Laws:
- Nothing is read but what the run asks for, and each node once.
- A run that changes something is kept only if no node that it read, and no edges that it listed, have changed
  meanwhile. What it did not find by id, and what it was granted since, may have come.
- Two runs of one root in one process take turns: from the first thing that they read, or else from their commit.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

import msgspec

from wireloom.database.database import unbroken
from wireloom.errors import RequestError, did_you_mean
from wireloom.graph.access import Access, Level
from wireloom.graph.changes import Changes, Conflict
from wireloom.graph.edge import Edge, edge_state
from wireloom.graph.ids import is_node_id, type_of_id
from wireloom.graph.node import Direction, Node, NodeState, Root, Where, node_state
from wireloom.graph.statements import add_root, find_granted, find_grants, find_neighbours, find_node, find_versions
from wireloom.graph.stored import decode_fields, encode_fields, unknown_members
from wireloom.graph.types import names_of

__all__ = ["Unit"]

_BATCH = 500  # rows read at once
_NO_LIMIT = 2**31 - 1


class Unit(msgspec.Struct, eq=False):
    """The unit of work of one run. Made by `Graph.begin`; nobody else needs it: nodes know theirs. (A Struct, because
    every run makes one.)

    Args:
        graph: where it is kept.
        root_id: of the user whose run it is.
        root: the user's root.
        exclusive: what is read is locked until the end, so that the commit cannot be overtaken.
    """

    graph: Any
    root_id: str
    root: Root
    exclusive: bool = False
    _database: Any = None
    _open: bool = True
    _nodes: dict[str, Node] | None = None  # None: nothing was read or changed yet
    _edges: Any = None
    _changes: Any = None
    _stack: Any = None
    _transaction: Any = None
    _order: Any = None  # of what uses the transaction: reads at once, and an end that comes before they are done

    @property
    def is_untouched(self) -> bool:
        """Whether nothing was read or changed, so that there is nothing to do in the end either."""
        return self._nodes is None

    @property
    def has_turn(self) -> bool:
        """Whether it has its root's turn, so that it waits for no other run."""
        return self._nodes is not None and self._changes.has_turn

    # -- life --------------------------------------------------------------------------------------------------------

    def _begin_changes(self) -> tuple[dict[str, Node], Changes]:
        """What it remembers from its first read or change on."""
        if not self._open:
            raise RuntimeError("this run has ended")
        if self._nodes is None:
            self._nodes = {self.root_id: self.root}
            self._database = self.graph.database
            self._edges = {}
            self._changes = Changes(self.root_id)
            self._stack = AsyncExitStack()
            self._order = asyncio.Lock()
        return self._nodes, self._changes

    async def _begin(self) -> tuple[dict[str, Node], Changes]:
        """Before something is read: takes this root's turn."""
        begun = self._begin_changes()
        if not begun[1].has_turn:
            async with self._order:
                if not begun[1].has_turn and self._open:
                    await self._stack.enter_async_context(self.graph.turn(self.root_id))
                    begun[1].has_turn = True
        if self.exclusive and self._transaction is None:
            await self._lock()
        return begun

    @unbroken
    async def _lock(self) -> None:
        async with self._order:
            if self._transaction is None and self._open:
                with self._changes.translating():
                    connection = await self._stack.enter_async_context(self._database.writing())
                    self._transaction = connection
                    await connection.execute(add_root(self._database.is_postgresql), {"id": self.root_id})

    async def lock(self) -> None:
        """Takes what an exclusive run has for itself, before it begins."""
        await self._begin()

    async def commit(self) -> None:
        """Keeps all that the run has changed, or nothing.

        Raises:
            Conflict: something that it read has changed meanwhile.
            RequestError: ``FORBIDDEN``: it changed what it may only read.
        """
        nodes, changes = self._begin_changes()
        if changes.collect(nodes, self._edges.values()):
            await self._begin()
            await self._keep()

    @unbroken
    async def _keep(self) -> None:
        async with self._order:
            with self._changes.translating():
                if self._transaction is not None:
                    await self._changes.write(self._transaction, self._database.is_postgresql, exclusive=True)
                    self._transaction = None
                    await self._stack.aclose()  # commits
                else:
                    async with self._database.writing() as connection:
                        await self._changes.write(connection, self._database.is_postgresql, exclusive=False)

    async def close(self, error: BaseException | None = None) -> None:
        """Ends it; what was not committed is undone. Its nodes can be looked at, and nothing more.

        Args:
            error: why, where it did not end well.
        """
        was_open, self._open = self._open, False  # what is still being read ends with it
        try:
            if was_open and self._nodes is not None:
                await self._database.finish(self._undo(error or RuntimeError("not committed")))
        finally:
            self.abandon()

    def abandon(self) -> None:
        """As `close`, for a run that holds nothing: it has read nothing, and kept nothing."""
        self._open = False
        # Nodes that somebody keeps keep no run alive, and the run leaves no cycle for the collector to find.
        node_state(self.root).unit = ENDED
        if self._nodes is not None:
            for node in self._nodes.values():
                node_state(node).unit = ENDED
            for edge in self._edges.values():
                edge_state(edge).unit = ENDED

    async def _undo(self, error: BaseException) -> None:
        async with self._order:  # after what was begun, though whoever waited for it was cancelled
            if self._transaction is None:
                await self._stack.aclose()
            else:
                self._transaction = None
                await self._stack.__aexit__(type(error), error, None)

    # -- reading -----------------------------------------------------------------------------------------------------

    async def node(self, node_id: str) -> Node:
        """A node that this run may read.

        Raises:
            RequestError: ``NOT_FOUND``: there is none, or it is not this run's to see: nobody can tell which.
        """
        known, _ = await self._begin()
        found = known.get(node_id)
        if found is None and is_node_id(node_id):
            parameters = {"id": node_id, "me": self.root_id}
            rows = await self._fetch(find_node(self._lock_rows), parameters)
            found = self._take(rows[0], None, Node) if rows else None
        if found is None or node_state(found).deleted:
            raise RequestError("NOT_FOUND", f"There is no node {node_id[:100]!r}")
        return found

    async def nodes_of(
        self, here: Node, kind: type[Node], edge: type[Edge], where: Where, limit: int | None, direction: Direction
    ) -> list[Node]:
        """What `Node.nodes` gives."""
        fits, found = _test(kind, where), dict[str, Node]()
        if not _most(limit):
            return []
        async for node, _ in self._around(here, kind, edge, limit if where is None else None, direction):
            if fits(node):
                found[node.id] = node
                if len(found) == limit:
                    break
        return list(found.values())

    async def edges_of(
        self, here: Node, kind: type[Edge], where: Where, limit: int | None, direction: Direction
    ) -> list[Edge]:
        """What `Node.edges` gives."""
        fits, found = _test(kind, where), list[Edge]()
        if not _most(limit):
            return []
        async for _, edge in self._around(here, Node, kind, limit if where is None else None, direction):
            if fits(edge):
                found.append(edge)
                if len(found) == limit:
                    break
        return found

    async def granted_to(self, root: Node, kind: type[Node], limit: int | None) -> list[Node]:
        """What `Root.granted` gives."""
        if root is not self.root:
            raise RequestError("FORBIDDEN", "What was granted to another user is not this run's to see")
        await self._begin()
        names = names_of(kind)
        parameters = {"me": self.root_id, "types": names or (), "limit": _most(limit)}
        rows = await self._fetch(find_granted(names is not None, self._lock_rows), _used(parameters, names, True))
        nodes = [self._take(row, None, kind) for row in rows]
        return [node for node in nodes if node is not None and not node_state(node).deleted]

    async def grants_of(self, node: Node) -> dict[str, Level]:
        """What `Node.grants` gives."""
        self._require(node, Access.OWN)
        _, changes = await self._begin()
        rows = await self._fetch(find_grants, {"id": node.id})
        found: dict[str, Any] = {row.grantee: (Access(row.level), row.deep) for row in rows}
        found |= {user: granted for (node_id, user), granted in changes.grants.items() if node_id == node.id}
        return {user: granted[0].name.lower() for user, granted in found.items() if granted is not None}

    async def _around(
        self, here: Node, kind: type[Node], edge: type[Edge], limit: int | None, direction: Direction
    ) -> AsyncIterator[tuple[Node, Edge]]:
        """The neighbours of a node with the edges that lead there: those stored, then those that the run has added."""
        _, changes = await self._begin()
        state = node_state(here)
        if state.stored is not None or here is self.root or isinstance(here, Root):
            async for pair in self._stored_around(here, kind, edge, limit, direction):
                if not changes.is_cut(edge_state(pair[1])) and not node_state(pair[0]).deleted:
                    yield pair
        for added in list(changes.added.values()):
            if far := changes.other_end(added, state.node_id, direction):
                node = await self.node(far)
                if isinstance(added, edge) and isinstance(node, kind):
                    yield node, added

    async def _stored_around(
        self, here: Node, kind: type[Node], edge: type[Edge], limit: int | None, direction: Direction
    ) -> AsyncIterator[tuple[Node, Edge]]:
        await self._note_edges(here)
        state, names, edge_names = node_state(here), names_of(kind), names_of(edge)
        statement = find_neighbours(direction, names is not None, edge_names is not None, self._lock_rows)
        batch = _BATCH if limit is None or self._changes.cuts_something else min(limit, _BATCH)
        parameters = {"id": state.node_id, "me": self.root_id, "deep_owner": state.owner if state.deep else ""}
        parameters |= {"types": names or (), "edge_types": edge_names or (), "limit": batch, "after": 0}  # type: ignore[dict-item]
        used = _used(_used(parameters, names, True), edge_names, False)
        while True:
            rows = await self._fetch(statement, used)
            for row in rows:
                node, found = self._take(row, here, kind), self._take_edge(row, edge)
                if node is not None:
                    yield node, found
            if len(rows) < batch:
                return
            used["after"] = rows[-1].position

    async def _note_edges(self, here: Node) -> None:
        """Notes the version of a node's edges, before they are read."""
        state = node_state(here)
        if state.node_id in self._changes.edges_read:
            return
        rows = await self._fetch(find_versions(self._lock_rows), {"ids": (state.node_id,)})
        if not rows and here is not self.root:
            raise Conflict  # it is gone since it was read
        # A root without a row has no edges; its row comes with the first
        self._changes.edges_read.setdefault(state.node_id, rows[0].edges_version if rows else None)

    @property
    def _lock_rows(self) -> bool:
        return self.exclusive and self._database.is_postgresql

    @unbroken
    async def _fetch(self, statement: Any, parameters: Mapping[str, Any]) -> Sequence[Any]:
        if self._transaction is not None:
            async with self._order:
                with self._changes.translating():
                    return (await self._transaction.execute(statement, parameters)).all()  # type: ignore[no-any-return]
        async with self._database.reading() as connection:
            rows: Sequence[Any] = (await connection.execute(statement, parameters)).all()
            return rows

    def _take(self, row: Any, via: Node | None, kind: type[Node]) -> Node | None:
        """The node of a row; the one that is there already, where the run has read it. None: it may not be read."""
        nodes, changes = self._begin_changes()
        access, deep = self._access(row, via)
        if access is None:
            return None
        known = nodes.get(row.node_id)
        if known is None:
            known = nodes[row.node_id] = self._make(row, kind)
            state = known.__dict__["_state"] = NodeState(row.node_id, self, row.owner, access)
            # Not the row's text: a set has many orders, and a field that is new or gone is no change by this run
            state.stored, state.deep = encode_fields(known), deep
            if state.stored != row.context.encode():
                state.unknown = unknown_members(type(known), row.context)
            changes.read[row.node_id] = row.version
        else:
            state = node_state(known)
            state.access, state.deep = max(state.access, access), max(state.deep, deep)
        return known

    def _make(self, row: Any, kind: type[Node]) -> Node:
        if not row.type:
            return Root()
        wanted: type[Node] = self.graph.types.find(row.type, kind, row.node_id)
        return decode_fields(wanted, row.context, row.node_id)

    def _access(self, row: Any, via: Node | None) -> tuple[Access | None, int]:
        """What the run may do with a row's node, and with what that leads to: as its owner, by a grant, or by where it
        came from.
        """
        if row.owner == self.root_id:
            return Access.OWN, 0
        access = None if row.level is None else Access(row.level)
        deep = row.level if row.deep else 0
        came = node_state(via) if via is not None else None
        if came is not None and came.deep and came.owner == row.owner and came.node_id == row.source:
            reached = Access.REMOVE if came.deep >= Access.WRITE else Access.READ
            access, deep = Access(max(row.level or 0, reached)), max(deep, came.deep)
        return access, deep

    def _take_edge(self, row: Any, kind: type[Edge]) -> Edge:
        known: Edge | None = self._edges.get(row.edge_id)
        if known is None:
            wanted: type[Edge] = self.graph.types.find(row.edge_type, kind, row.edge_id)
            known = self._edges[row.edge_id] = decode_fields(wanted, row.edge_context, row.edge_id)
            state = edge_state(known)
            state.edge_id, state.unit, state.stored = row.edge_id, self, encode_fields(known)
            state.source, state.target = row.source, row.target
            state.unknown = unknown_members(type(known), row.edge_context)
        return known

    # -- changing ----------------------------------------------------------------------------------------------------

    def connect(self, here: Node, node: Node, edge: Edge) -> None:
        """What `Node.connect` does; takes in a new node with all that it was connected to before."""
        waiting = [(here, node, edge)]
        while waiting:
            source, target, one = waiting.pop(0)
            self._require(source, Access.WRITE)
            if edge_state(one).unit is not None:
                raise ValueError(f"this {type(one).__name__} connects nodes already; every connection has its own edge")
            state = node_state(target)
            if state.unit is None:
                self._adopt(target, node_state(source).owner)
                waiting += [(target, further, between) for further, between in state.edges or ()]
                state.edges = None
            self._add(source, target, one)

    def _adopt(self, node: Node, owner: str) -> None:
        nodes, changes = self._begin_changes()
        state = node_state(node)
        if isinstance(node, Root):
            raise TypeError("a root cannot be made; every user has one")
        state.unit, state.owner = self, owner
        state.access = Access.OWN if owner == self.root_id else Access.REMOVE
        nodes[state.node_id] = node
        changes.created[state.node_id] = node

    def _add(self, source: Node, target: Node, edge: Edge) -> None:
        _, changes = self._begin_changes()
        state = edge_state(edge)
        self._require(target, Access.READ)
        near, far = node_state(source), node_state(target)
        if near.owner == far.owner != self.root_id and far.access < Access.REMOVE:
            # Whoever was granted the one deeply would get the other with it
            raise RequestError("FORBIDDEN", f"{type(target).__name__} {far.node_id} is not this run's to share")
        if far.access < Access.WRITE:
            changes.only_read.add(far.node_id)
        state.unit, state.source, state.target = self, node_state(source).node_id, node_state(target).node_id
        self._edges[state.edge_id] = edge
        changes.added[state.edge_id] = edge

    def disconnect(self, here: Node, node: Node | Edge, kind: type[Edge]) -> None:
        """What `Node.disconnect` does."""
        self._require(here, Access.WRITE)
        _, changes = self._begin_changes()
        if isinstance(node, Edge):
            if edge_state(node).unit is not self:
                raise RuntimeError(f"this {type(node).__name__} is of another run; look it up again")
            if edge_state(node).source != here.id:
                raise ValueError("this edge begins at another node")
            changes.cut(node)
        else:
            changes.cut_between(here.id, node.id, names_of(kind))

    def delete(self, node: Node) -> None:
        """What `Node.delete` does."""
        if node_state(node).deleted and node_state(node).unit is self:
            return
        self._require(node, Access.REMOVE)
        if isinstance(node, Root):
            raise ValueError("a root is not deleted; it goes with its user")
        _, changes = self._begin_changes()
        node_state(node).deleted = True
        changes.delete(node)

    def grant(self, node: Node, root_id: str, access: Access | None, deep: bool) -> None:
        """What `Node.grant` and, without an access, `Node.revoke` do. What was granted may be given back."""
        self._require(node, Access.READ if access is None and root_id == self.root_id else Access.OWN)
        _, changes = self._begin_changes()
        changes.grants[node.id, root_id] = None if access is None else (access, deep)

    def after_commit(self, call: Callable[[], Any]) -> None:
        """Calls something once all is kept."""
        _, changes = self._begin_changes()
        changes.after.append(call)

    @property
    def callbacks(self) -> list[Callable[[], Any]]:
        """What `after_commit` was given."""
        return [] if self._nodes is None else self._changes.after

    def _require(self, node: Node, access: Access) -> None:
        state = node_state(node)
        if state.unit is not self:
            raise RuntimeError(f"this {type(node).__name__} is of another run; look it up again")
        if state.deleted:
            raise ValueError(f"this {type(node).__name__} was deleted in this run")
        if state.access < access:
            raise RequestError("FORBIDDEN", f"{type_of_id(state.node_id) or 'Root'} {state.node_id} is another user's")


class _Ended:
    """What nodes have in the place of their run when it is over."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("the run of this node has ended; take what you need of it while it runs")


ENDED: Any = _Ended()


def _used(parameters: dict[str, Any], names: tuple[str, ...] | None, of_nodes: bool) -> dict[str, Any]:
    """Without the names of types, where any will do: a statement has no parameter for them then."""
    unused = ("types" if of_nodes else "edge_types") if names is None else ""
    return {name: value for name, value in parameters.items() if name != unused}


def _most(limit: int | None) -> int:
    """How many may be found."""
    if limit is not None and limit < 0:
        raise ValueError(f"a limit is 0 or more, not {limit}")
    return _NO_LIMIT if limit is None else limit


def _test(kind: type[Node] | type[Edge], where: Where) -> Callable[[Any], bool]:
    """Whether a node or an edge is of those that are asked for."""
    if where is None:
        return lambda one: True
    if callable(where):
        return where
    wanted = dict(where)
    fields = kind.__struct_fields__
    for name in wanted:
        if fields and name not in fields:
            raise AttributeError(f"{kind.__name__} has no field {name!r}{did_you_mean(name, fields)}")
    return lambda one: all(getattr(one, name, None) == value for name, value in wanted.items())
