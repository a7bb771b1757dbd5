"""The pytest plugin: the fixture `wireloom_server`, found without importing anything."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from wireloom.testing.server import TestServer

__all__ = ["wireloom_server"]


@pytest.fixture
def wireloom_server() -> Callable[..., TestServer]:
    """A factory: ``async with wireloom_server(app) as server``."""
    from wireloom.testing.server import TestServer

    return TestServer
