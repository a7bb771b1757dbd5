"""Fixtures: TypeScript, and the application with a client for it in each language."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from wireloom import __version__
from wireloom.codegen import write_python, write_typescript

from .application import make_app
from .typescript import TypeScript, find_typescript

GOLDEN = Path(__file__).with_name("golden")
HERE = Path(__file__).parent


def generate(suffix: str) -> str:
    """The client of the application, as `wireloom client` writes it."""
    app = make_app()
    language = {".ts": "ts", ".py": "python"}[suffix]
    head = [
        f"Made by `wireloom client` of Wireloom {__version__}. Do not edit; make it anew:",
        f"    wireloom client --lang {language} application.py --out client{suffix}",
    ]
    write = {".ts": write_typescript, ".py": write_python}[suffix]
    return write(app.openapi(), app.asyncapi(), head)


@pytest.fixture(scope="session")
def typescript() -> TypeScript:
    """The compiler, and a Node that runs what it makes."""
    found = find_typescript()
    if isinstance(found, str):
        if os.environ.get("CI"):
            pytest.fail(found)
        pytest.skip(found)
    return found


@pytest.fixture(scope="session")
def compiled(typescript: TypeScript, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where ``usage.js`` and the client that it uses are."""
    folder = tmp_path_factory.mktemp("compiled")
    return typescript.compile(folder, [GOLDEN / "client.ts", HERE / "usage.ts", HERE / "misuse.ts"])
