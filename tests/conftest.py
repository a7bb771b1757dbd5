"""Asynchronous tests run by anyio's plugin, on uvloop as in production; databases of each kind are at hand."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.asyncapi import AsyncAPIParser, find_asyncapi_parser
from tests.postgresql import PostgreSQL, find_postgresql


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, Any, Any]:
    """Reports of tests about broken text hold lone surrogates, which cannot travel from a process to another."""
    return _encodable((yield))


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_encodable(key): _encodable(each) for key, each in value.items()}
    return [_encodable(each) for each in value] if isinstance(value, (list, tuple)) else value


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """The event loop of asynchronous tests."""
    return "asyncio", {"use_uvloop": sys.platform != "win32"}


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


@pytest.fixture(scope="session")
def asyncapi_parser() -> AsyncAPIParser:
    """The reference parser of AsyncAPI documents."""
    parser = find_asyncapi_parser()
    if isinstance(parser, str):
        if os.environ.get("CI"):
            pytest.fail(parser)
        pytest.skip(parser)
    return parser


@pytest.fixture
def asyncapi_problems(asyncapi_parser: AsyncAPIParser) -> Callable[[dict[str, Any]], list[str]]:
    """What is wrong with an AsyncAPI document."""
    return asyncapi_parser.problems


@pytest.fixture
def file_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/.wireloom/wireloom.db"


@pytest.fixture(params=["memory", "file", "postgresql"])
def database(request: pytest.FixtureRequest, file_url: str) -> str:
    """The URL of an empty database of each kind."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgresql").make_database())
    return "sqlite://" if request.param == "memory" else file_url
