"""What all tests of clients are held to, and certificates."""

from __future__ import annotations

import gc
import logging
import ssl
import subprocess
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def nothing_left_behind(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fails a test that leaves an exception nobody took; anyio raises those that come up while its loop runs."""
    yield
    gc.collect()
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A self-signed certificate for 127.0.0.1 and its key."""
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", "req", "-x509", *kind, *files, *subject], check=True, capture_output=True, timeout=20)
    return str(certificate), str(key)


@pytest.fixture
def trusting(certificate: tuple[str, str]) -> ssl.SSLContext:
    """A TLS context that trusts it."""
    return ssl.create_default_context(cafile=certificate[0])
