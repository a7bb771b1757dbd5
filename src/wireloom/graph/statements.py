"""Statements: the SQL of the graph, each built once. Law: every value is bound."""

from __future__ import annotations

from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, bindparam, case, delete, func, insert, literal, or_, select, update

from wireloom.graph.tables import edges, grants, nodes

__all__ = [
    "add_edge",
    "add_grant",
    "add_node",
    "add_root",
    "add_root_and_hurry",
    "bump_edges",
    "bump_neighbours",
    "bump_node",
    "change_edge",
    "change_node",
    "cut_edge",
    "cut_edges",
    "erase_edges",
    "erase_grants",
    "erase_nodes",
    "erase_root",
    "find_granted",
    "find_grants",
    "find_neighbours",
    "find_node",
    "find_versions",
    "remove_grant",
    "remove_nodes",
]

_ROOT = {"type": "", "context": "{}", "version": 1, "edges_version": 1}
# Below PostgreSQL's deadlock_timeout (1 s): of an ordinary and an exclusive run in each other's way, the first gives up
_PATIENCE = "500ms"

_NODE = (nodes.c.node_id, nodes.c.type, nodes.c.owner, nodes.c.context, nodes.c.version)
_EDGE = (edges.c.position, edges.c.edge_id, edges.c.type.label("edge_type"), edges.c.source, edges.c.target)
_GRANT = (grants.c.level, grants.c.deep)
_mine = and_(grants.c.node_id == nodes.c.node_id, grants.c.grantee == bindparam("me"))


@cache
def find_node(lock: bool) -> Select[Any]:
    """A node with what the run ``me`` may do with it."""
    query = select(*_NODE, *_GRANT).select_from(nodes.outerjoin(grants, _mine))
    query = query.where(nodes.c.node_id == bindparam("id"))
    return query.with_for_update(of=nodes) if lock else query


@cache
def find_versions(lock: bool) -> Select[Any]:
    """The versions of some nodes, locked in one order for everybody."""
    query = select(nodes.c.node_id, nodes.c.owner, nodes.c.version, nodes.c.edges_version)
    query = query.where(nodes.c.node_id.in_(bindparam("ids", expanding=True))).order_by(nodes.c.node_id)
    return query.with_for_update() if lock else query


@cache
def find_neighbours(direction: str, typed: bool, edge_typed: bool, lock: bool) -> Select[Any]:
    """Edges at a node and the nodes at their other ends that the run ``me`` may read, after a position."""
    here: ColumnElement[str] = bindparam("id")
    near: ColumnElement[bool]
    far: ColumnElement[str]
    far_type: ColumnElement[str] = nodes.c.type
    if direction == "any":
        near = or_(edges.c.source == here, edges.c.target == here)
        far = case((edges.c.source == here, edges.c.target), else_=edges.c.source)
    elif direction == "out":
        near, far, far_type = edges.c.source == here, edges.c.target, edges.c.target_type
    else:
        near, far, far_type = edges.c.target == here, edges.c.source, edges.c.source_type
    query = select(*_EDGE, edges.c.context.label("edge_context"), *_NODE, *_GRANT)
    query = query.select_from(edges.join(nodes, nodes.c.node_id == far).outerjoin(grants, _mine))
    # A deep grant holds for what a node leads to, not for what leads to it
    deep = and_(edges.c.source == here, nodes.c.owner == bindparam("deep_owner"))
    readable = or_(nodes.c.owner == bindparam("me"), grants.c.level.is_not(None), deep)
    query = query.where(near, edges.c.position > bindparam("after"), readable)
    if typed:
        query = query.where(far_type.in_(bindparam("types", expanding=True)))
    if edge_typed:
        query = query.where(edges.c.type.in_(bindparam("edge_types", expanding=True)))
    query = query.order_by(edges.c.position).limit(bindparam("limit"))
    return query.with_for_update(of=nodes) if lock else query


@cache
def find_granted(typed: bool, lock: bool) -> Select[Any]:
    """The nodes that were granted to the run ``me``."""
    query = select(*_NODE, *_GRANT).select_from(grants.join(nodes, nodes.c.node_id == grants.c.node_id))
    query = query.where(grants.c.grantee == bindparam("me"))
    if typed:
        query = query.where(nodes.c.type.in_(bindparam("types", expanding=True)))
    query = query.order_by(nodes.c.node_id).limit(bindparam("limit"))
    return query.with_for_update(of=nodes) if lock else query


find_grants = select(grants.c.grantee, grants.c.level, grants.c.deep).where(grants.c.node_id == bindparam("id"))
add_node = insert(nodes)
add_edge = insert(edges)
add_grant = insert(grants)
change_node = (
    update(nodes)
    .where(nodes.c.node_id == bindparam("id"))
    .values(context=bindparam("fields"), version=nodes.c.version + 1)
)
bump_node = update(nodes).where(nodes.c.node_id == bindparam("id")).values(version=nodes.c.version + 1)
change_edge = update(edges).where(edges.c.edge_id == bindparam("id")).values(context=bindparam("fields"))
bump_edges = (
    update(nodes)
    .where(nodes.c.node_id.in_(bindparam("ids", expanding=True)))
    .values(edges_version=nodes.c.edges_version + 1)
)
# The other ends of the edges of nodes that go
bump_neighbours = (
    update(nodes)
    .where(
        nodes.c.node_id.in_(
            select(edges.c.target)
            .where(edges.c.source.in_(bindparam("ids", expanding=True)))
            .union(select(edges.c.source).where(edges.c.target.in_(bindparam("ids", expanding=True))))
        )
    )
    .values(edges_version=nodes.c.edges_version + 1)
)
remove_nodes = delete(nodes).where(nodes.c.node_id.in_(bindparam("ids", expanding=True)))
cut_edge = delete(edges).where(edges.c.edge_id == bindparam("id"))
remove_grant = delete(grants).where(grants.c.node_id == bindparam("id"), grants.c.grantee == bindparam("user"))
erase_nodes = delete(nodes).where(nodes.c.owner == bindparam("root"), nodes.c.node_id != bindparam("root"))
erase_edges = delete(edges).where(or_(edges.c.source == bindparam("root"), edges.c.target == bindparam("root")))
erase_grants = delete(grants).where(or_(grants.c.grantee == bindparam("root"), grants.c.node_id == bindparam("root")))
# Nobody's any more. The row stays, so that a run which is under way cannot make it again
erase_root = update(nodes).where(nodes.c.node_id == bindparam("root")).values(owner="", version=nodes.c.version + 1)


@cache
def cut_edges(typed: bool) -> Any:
    """All edges from one node to another, or those of some types."""
    statement = delete(edges).where(edges.c.source == bindparam("from_id"), edges.c.target == bindparam("to_id"))
    return statement.where(edges.c.type.in_(bindparam("edge_types", expanding=True))) if typed else statement


@cache
def add_root(postgresql: bool) -> Any:
    """A root's row, unless it is there."""
    if postgresql:
        from sqlalchemy.dialects.postgresql import insert as insert_quietly
    else:
        from sqlalchemy.dialects.sqlite import insert as insert_quietly  # type: ignore[assignment]
    return (
        insert_quietly(nodes)
        .values(node_id=bindparam("id"), owner=bindparam("id"), **_ROOT)
        .on_conflict_do_nothing(index_elements=["node_id"])
    )


@cache
def add_root_and_hurry() -> Any:
    """The same in PostgreSQL for an ordinary run, which from here on waits for no lock longer than `_PATIENCE`."""
    from sqlalchemy.dialects.postgresql import insert

    mine = bindparam("id", type_=nodes.c.node_id.type)
    row = select(mine, mine, *map(literal, _ROOT.values()))
    row = row.where(func.set_config("lock_timeout", _PATIENCE, True) != "")
    return (
        insert(nodes).from_select(["node_id", "owner", *_ROOT], row).on_conflict_do_nothing(index_elements=["node_id"])
    )
