"""Benchmarks anyone can run: `python -m bench --quick` from the root of the repository."""
