"""Typed clients, written from an application's documents. Law: two documents in, the text of one file out."""

from __future__ import annotations

from wireloom.codegen.contract import Contract, read_contract
from wireloom.codegen.python import write_python
from wireloom.codegen.typescript import write_typescript

__all__ = ["Contract", "read_contract", "write_python", "write_typescript"]
