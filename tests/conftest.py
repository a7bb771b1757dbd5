"""Asynchronous tests run by anyio's plugin, on uvloop as in production."""

from __future__ import annotations

import sys
from typing import Any

import pytest


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """The event loop of asynchronous tests."""
    return "asyncio", {"use_uvloop": sys.platform != "win32"}
