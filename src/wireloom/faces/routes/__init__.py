"""Declarative routes: YAML and JSON, checked when they are loaded and compiled once (docs/reference/routes.md)."""

from __future__ import annotations

__all__ = ["SUFFIXES"]

SUFFIXES = (".yaml", ".yml", ".json")
"""How the names of route files end."""
