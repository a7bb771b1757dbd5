"""What tests of users share: a clock that is set by hand and cheap passwords."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from wireloom.config import Config
from wireloom.identity import passwords
from wireloom.identity.identity import Identity

BOB = {"username": "Bob"}
PASSWORD = "correct horse"
WRONG = "battery staple"
START = 1_800_000_000.25  # unix seconds
REAL_WORK = {name: getattr(passwords, name) for name in ("ITERATIONS", "MEMORY_KIB", "LANES")}

Make = Callable[..., Any]


class Clock:
    """Unix seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


def make_passwords_cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same algorithm with the least work that it allows."""
    monkeypatch.setattr(passwords, "ITERATIONS", 1)
    monkeypatch.setattr(passwords, "MEMORY_KIB", 8)
    monkeypatch.setattr(passwords, "LANES", 1)


class Told:
    """Remembers what `on_revoked` was told."""

    def __init__(self, identity: Identity) -> None:
        self.calls: list[tuple[str, str]] = []
        identity.on_revoked = lambda user_id, token_id: self.calls.append((user_id, token_id))


def config(database: str, **options: Any) -> Config:
    """The options of an identity, with nothing taken from files or the environment."""
    return Config(database=database, **options)
