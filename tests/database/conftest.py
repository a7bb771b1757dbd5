"""Fixtures: the database is tested by its first user, the identity."""

from __future__ import annotations

from tests.identity.conftest import cheap_passwords, clock, identity, make

__all__ = ["cheap_passwords", "clock", "identity", "make"]
