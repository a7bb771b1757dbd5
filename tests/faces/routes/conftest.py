"""Fixtures: an event loop for each module, so that its tests may share one server."""

from __future__ import annotations

import sys
from typing import Any

import pytest


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """The event loop of a module's asynchronous tests."""
    return "asyncio", {"use_uvloop": sys.platform != "win32"}
