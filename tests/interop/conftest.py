"""Node's `ws`, and what all conversations say."""

from __future__ import annotations

import os

import pytest

from tests.node import NodePackage, find_package


@pytest.fixture(scope="session")
def node_ws() -> NodePackage:
    """Node with its package `ws`."""
    package = find_package("ws@8.18.0")
    if isinstance(package, str):
        if os.environ.get("CI"):
            pytest.fail(package)
        pytest.skip(package)
    return package
