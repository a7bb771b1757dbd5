"""The how-to of typed clients: its TypeScript compiles against the client of its own application."""

from __future__ import annotations

import re
from pathlib import Path

from wireloom.cli.target import load_app
from wireloom.codegen import write_typescript

from .typescript import TypeScript

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "typed-client.md"


def test_the_typescript_of_the_how_to_compiles(typescript: TypeScript, tmp_path: Path) -> None:
    blocks = re.findall(r"^```(\w+)[^\n]*\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    by_language = {language: code for language, code in reversed(blocks)}
    (tmp_path / "documented_kitchen.py").write_text(by_language["python"], encoding="utf-8")
    app = load_app([str(tmp_path / "documented_kitchen.py")]).app
    (tmp_path / "client.ts").write_text(write_typescript(app.openapi(), app.asyncapi()), encoding="utf-8")
    declared = "declare function currentToken(): Promise<string>;\n"
    (tmp_path / "page.ts").write_text(by_language["typescript"] + declared, encoding="utf-8")
    assert typescript.problems([tmp_path / "client.ts", tmp_path / "page.ts"]) == ""
