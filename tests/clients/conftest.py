"""What all tests of clients are held to, and certificates."""

from __future__ import annotations

import gc
import logging
import ssl
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def nothing_left_behind(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fails a test that leaves an exception nobody took; anyio raises those that come up while its loop runs."""
    gc.freeze()  # what was there before is none of the test's, and much to look through
    yield
    gc.collect()
    gc.unfreeze()
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


@pytest.fixture
def trusting(certificate: tuple[str, str]) -> ssl.SSLContext:
    """A TLS context that trusts it."""
    return ssl.create_default_context(cafile=certificate[0])
