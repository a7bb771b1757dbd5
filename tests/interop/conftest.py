"""Node's `ws`, and what all conversations say."""

from __future__ import annotations

import pytest

from tests.node import NodePackage, require_package


@pytest.fixture(scope="session")
def node_ws() -> NodePackage:
    """Node with its package `ws`."""
    return require_package("ws@8.18.0")
