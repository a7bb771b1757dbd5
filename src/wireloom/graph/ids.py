"""Ids of nodes and edges: ``n:Type:<24 hex>`` and ``e:Type:<24 hex>``; a root's has no type."""

from __future__ import annotations

import re
import secrets

__all__ = ["is_node_id", "new_id", "type_of_id"]

_NODE = re.compile(r"n:([^\W\d]\w*)?:[0-9a-f]{24}\Z")


def new_id(kind: str, type_name: str) -> str:
    """An id that nobody has.

    Args:
        kind: ``"n"`` of a node, ``"e"`` of an edge.
        type_name: of its class.
    """
    return f"{kind}:{type_name}:{secrets.token_hex(12)}"


def is_node_id(text: str) -> bool:
    """Whether it could be a node's id."""
    return len(text) <= 300 and _NODE.match(text) is not None


def type_of_id(node_id: str) -> str:
    """The name of the class in an id; empty for a root."""
    return node_id.split(":")[1]
