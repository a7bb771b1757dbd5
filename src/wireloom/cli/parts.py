"""Parts: whose tables ``wireloom db`` shows and upgrades. Law: a room that keeps tables is named here, once."""

from __future__ import annotations

from wireloom.faces.routes.dynamic import ROUTES
from wireloom.graph.tables import GRAPH
from wireloom.identity.tables import IDENTITY

__all__ = ["PARTS"]

PARTS = (IDENTITY, GRAPH, ROUTES)
