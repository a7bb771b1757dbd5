"""Asynchronous tests run by anyio's plugin, on uvloop as in production."""

from __future__ import annotations

import inspect
import sys
from typing import Any

import pytest


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """The event loop of asynchronous tests."""
    return "asyncio", {"use_uvloop": sys.platform != "win32"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every coroutine function is an asynchronous test; none needs a mark."""
    for item in items:
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.function):
            item.add_marker(pytest.mark.anyio)
