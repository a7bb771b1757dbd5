"""What tests with many short-lived servers share."""

from __future__ import annotations

import types

import pytest


@pytest.fixture(autouse=True)
def no_collection_at_every_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """A start collects garbage before it freezes the heap: a tenth of a second in a test process, for each server."""
    stub = types.SimpleNamespace(collect=int, freeze=int, unfreeze=int)
    monkeypatch.setattr("wireloom.net.listener.gc", stub, raising=False)
