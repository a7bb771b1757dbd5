"""Graph: what users keep, as nodes and edges that can be reached from their roots, in SQL."""
