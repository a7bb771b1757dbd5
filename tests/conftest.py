"""Asynchronous tests run by anyio's plugin, on uvloop as in production; databases of each kind are at hand."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.postgresql import PostgreSQL, find_postgresql


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """The event loop of asynchronous tests."""
    return "asyncio", {"use_uvloop": sys.platform != "win32"}


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """A PostgreSQL server for all tests."""
    binaries = find_postgresql()
    if binaries is None:
        if os.environ.get("CI"):
            pytest.fail("PostgreSQL is not installed: apt-get install postgresql")
        pytest.skip("PostgreSQL is not installed")
    server = PostgreSQL(binaries)
    yield server
    server.stop()


@pytest.fixture
def file_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/.wireloom/wireloom.db"


@pytest.fixture(params=["memory", "file", "postgresql"])
def database(request: pytest.FixtureRequest, file_url: str) -> str:
    """The URL of an empty database of each kind."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgresql").make_database())
    return "sqlite://" if request.param == "memory" else file_url
