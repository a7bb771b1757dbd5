"""Declarative routes: YAML and JSON, checked when they are loaded and compiled once (page 4)."""

from __future__ import annotations

__all__ = ["SUFFIXES"]

SUFFIXES = (".yaml", ".yml", ".json")
"""How the names of route files end."""
