"""Fixtures: an event loop for each module, so that its tests share one server, and passwords that cost little."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest
from tests.identity.kit import make_passwords_cheap


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """The event loop of a module's asynchronous tests."""
    return "asyncio", {"use_uvloop": sys.platform != "win32"}


@pytest.fixture(scope="module", autouse=True)
def cheap_passwords() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        make_passwords_cheap(patch)
        yield
