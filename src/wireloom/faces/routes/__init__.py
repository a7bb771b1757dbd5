"""Declarative routes: YAML and JSON, checked when they are loaded and compiled once (page 4)."""
