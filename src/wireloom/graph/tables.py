"""Tables: nodes, edges and grants. Law: what names a node goes when the node does."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
)

from wireloom.database.schema import Part

__all__ = ["GRAPH", "edges", "grants", "nodes"]

_metadata = MetaData()


def _node(name: str) -> Column[str]:
    return Column(name, String, ForeignKey("wireloom_nodes.node_id", ondelete="CASCADE"), nullable=False)


# `version` changes with the fields and grants, `edges_version` with the edges at either end: two runs that only add to
# a node do not stand in each other's way.
nodes = Table(
    "wireloom_nodes",
    _metadata,
    Column("node_id", String, primary_key=True),
    Column("type", String, nullable=False),  # the class's name; empty for roots
    Column("owner", String, nullable=False, index=True),  # the id of the root that it belongs to
    Column("context", Text, nullable=False),  # JSON of the fields
    Column("version", BigInteger, nullable=False),
    Column("edges_version", BigInteger, nullable=False),
)

# Edges are listed in the order in which they were made: by `position`. The types at their ends, which never change,
# stand with them, so that the few neighbours of one class are found among however many of others.
edges = Table(
    "wireloom_edges",
    _metadata,
    Column("position", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("edge_id", String, nullable=False, unique=True),
    Column("type", String, nullable=False),  # the class's name; empty for plain edges
    _node("source"),
    _node("target"),
    Column("source_type", String, nullable=False),
    Column("target_type", String, nullable=False),
    Column("context", Text, nullable=False),
    Index("wireloom_edges_source", "source", "position"),
    Index("wireloom_edges_source_type", "source", "type", "position"),
    Index("wireloom_edges_source_target_type", "source", "target_type", "position"),
    Index("wireloom_edges_target", "target", "position"),
    Index("wireloom_edges_target_type", "target", "type", "position"),
    Index("wireloom_edges_target_source_type", "target", "source_type", "position"),
)

grants = Table(
    "wireloom_grants",
    _metadata,
    Column("node_id", String, ForeignKey("wireloom_nodes.node_id", ondelete="CASCADE"), primary_key=True),
    Column("grantee", String, primary_key=True, index=True),  # a root's id
    Column("level", SmallInteger, nullable=False),  # see `access`
    Column("deep", Boolean, nullable=False),
)

GRAPH = Part("graph", 1, _metadata, counted={"node": nodes, "edge": edges})
