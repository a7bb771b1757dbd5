"""Every application of ``examples/`` has clients that compile."""

from __future__ import annotations

from pathlib import Path

import pytest

from wireloom.cli.target import load_app
from wireloom.codegen import write_python, write_typescript

from .test_python import mypy
from .typescript import TypeScript

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
TARGETS = {
    "chat": EXAMPLES / "chat" / "server.py",
    "routes": EXAMPLES / "routes",
    "tasks": EXAMPLES / "tasks" / "app.py",
    "team": EXAMPLES / "team" / "app.py",
}


def test_every_example_is_here() -> None:
    assert {each.name for each in EXAMPLES.iterdir() if each.is_dir() and each.name != "__pycache__"} == set(TARGETS)


def test_their_clients_compile(typescript: TypeScript, tmp_path: Path) -> None:
    for name, target in TARGETS.items():
        app = load_app([str(target)]).app
        (tmp_path / f"{name}.ts").write_text(write_typescript(app.openapi(), app.asyncapi()), encoding="utf-8")
        (tmp_path / f"{name}.py").write_text(write_python(app.openapi(), app.asyncapi()), encoding="utf-8")
    assert typescript.problems(tmp_path / f"{name}.ts" for name in TARGETS) == ""
    assert mypy(tmp_path, *(f"{name}.py" for name in TARGETS)) == ""


@pytest.mark.parametrize("name", TARGETS)
def test_they_name_what_is_there(name: str) -> None:
    app = load_app([str(TARGETS[name])]).app
    text = write_typescript(app.openapi(), app.asyncapi())
    for path in (*app.openapi()["paths"], *(each["address"] for each in app.asyncapi()["channels"].values())):
        assert f'"{path}"' in text
