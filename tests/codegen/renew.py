"""Writes the golden clients anew: ``PYTHONPATH=.:src python -m tests.codegen.renew``."""

from __future__ import annotations

from .conftest import GOLDEN, generate

if __name__ == "__main__":
    for suffix in (".ts", ".py"):
        (GOLDEN / f"client{suffix}").write_text(generate(suffix), encoding="utf-8", newline="\n")
