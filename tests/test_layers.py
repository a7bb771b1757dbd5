"""The rooms of ARCHITECTURE.md: who may import whom, held against every import in the package."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import wireloom

PACKAGE = Path(wireloom.__file__).parent
BELOW_APP = {
    *("errors", "metrics", "tracing", "config", "database", "wire", "core", "hub"),
    *("identity", "graph", "faces", "net", "clients", "doors", "storage", "app"),
}
# The table: what a room may import besides itself. `public` is `wireloom/__init__.py`, which is the app's face.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "metrics": set(),
    "config": {"errors"},
    "wire": {"errors"},
    "core": {"errors", "config", "metrics"},
    "hub": {"errors", "config", "metrics", "wire.frames", "core.topic", "core.caller", "core.plain", "core.network"},
    "database": {"errors"},
    "identity": {"errors", "config", "core.topic", "core.network", "database"},
    "graph": {"errors", "core.topic", "core.json_text", "database"},
    "faces": {"core", "hub", "errors", "config", "identity"},
    "faces.walkers": {"core", "hub", "errors", "config", "identity", "graph"},
    "faces.routes": {"core", "hub", "errors", "config", "identity", "database"},
    "tracing": {"core", "errors"},
    "net": {"wire", "core", "hub", "errors", "config", "metrics", "tracing"},
    "clients": {"wire", "errors"},
    "codegen": {"errors"},
    "doors": BELOW_APP - {"app", "storage", "net", "clients"},
    "storage": {"database", "identity", "graph", "faces.routes", "hub", "config"},
    "app": BELOW_APP,
    "server": {"app", "net.server", "faces.callback", "config", "errors"},
    "public": BELOW_APP | {"server"},
    "cli": {
        *("app", "doors", "clients", "codegen", "public", "errors", "config"),
        *("database", "identity", "graph", "net.server", "core.describe", "core.caller"),
        "faces.routes.dynamic",
    },
    "testing": {"app", "clients", "public", "errors", "net.server"},
    "__main__": {"cli"},  # not in the table: `python -m wireloom` is the cli's door
}
STDLIB_ONLY = {"errors", "metrics", "config"}
FORBIDDEN = {"wire": {"asyncio", "logging"}, "core": {"asyncio"}, "faces": {"asyncio"}}


def room_of(module: str) -> str:
    """The room of a module of ours; every face is a room of its own."""
    first, _, rest = module.partition(".")
    return f"faces.{rest.partition('.')[0]}" if first == "faces" and rest else first


def may_import(module: str, imported: str) -> bool:
    room = room_of(module)
    top, _, ours = imported.partition(".")
    if top != "wireloom":
        unwanted = room in STDLIB_ONLY and top not in sys.stdlib_module_names
        return not unwanted and top not in FORBIDDEN.get(room.partition(".")[0], ())
    allowed = MAY_IMPORT.get(room, MAY_IMPORT.get(room.partition(".")[0], set())) | {room}
    return any((ours or "public") == entry or ours.startswith(entry + ".") for entry in allowed)


def imports(path: Path, package: Path = PACKAGE) -> Iterator[tuple[int, str]]:
    """Line and full name of every module that a file imports, also in functions and for type checkers."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = (package.name, *path.relative_to(package).parts)[: -node.level] if node.level else ()
            module = ".".join((*above, node.module) if node.module else above)
            for alias in node.names:
                file = package.parent.joinpath(*module.split("."), alias.name)
                is_module = file.is_dir() or file.with_suffix(".py").is_file()
                yield node.lineno, f"{module}.{alias.name}" if is_module else module


def files() -> dict[str, Path]:
    """Every file of the package by its module's name, without ``wireloom.``."""
    names = {path: path.relative_to(PACKAGE).with_suffix("").parts for path in sorted(PACKAGE.rglob("*.py"))}
    return {".".join(part for part in parts if part != "__init__") or "public": path for path, parts in names.items()}


def test_every_file_belongs_to_a_room_of_the_design() -> None:
    assert {room_of(module).partition(".")[0] for module in files()} - set(MAY_IMPORT) == set()


@pytest.mark.parametrize("room", [room for room in MAY_IMPORT if "." not in room])
def test_a_room_imports_what_the_design_allows(room: str) -> None:
    broken = [
        f"{path.relative_to(PACKAGE)}:{line} imports {imported}"
        for module, path in files().items()
        if room_of(module).partition(".")[0] == room
        for line, imported in imports(path)
        if not may_import(module, imported)
    ]
    assert broken == []


@pytest.mark.parametrize(
    ("module", "allowed", "refused"),
    [
        ("errors", "json", "wireloom.config"),
        ("config", "wireloom.errors", "msgspec"),
        ("wire.frames", "wireloom.errors", "asyncio.events"),
        ("wire.messages", "wireloom.wire.frames", "logging"),
        ("core.schema", "msgspec", "asyncio"),
        ("core.schema", "wireloom.core.codec", "wireloom.hub.hub"),
        ("hub.hub", "wireloom.wire.frames", "wireloom.wire.messages"),
        ("hub.hub", "wireloom.core.topic", "wireloom.core.endpoint"),
        ("identity.users", "wireloom.core.topic", "wireloom.graph.node"),
        ("graph.node", "sqlalchemy", "wireloom.identity.users"),
        ("faces.events", "wireloom.identity.users", "wireloom.graph.node"),
        ("faces.walkers", "wireloom.graph.node", "wireloom.faces.websocket"),
        ("faces.routes.compiler", "wireloom.faces.routes.document", "wireloom.faces.routesx"),
        ("faces.callback", "wireloom.core", "asyncio"),
        ("net.front", "asyncio", "wireloom.clients.connection"),
        ("clients.connection", "wireloom.wire.frames", "wireloom.core.topic"),
        ("codegen.contract", "wireloom.errors", "wireloom.core.endpoint"),
        ("app", "wireloom.clients.connection", "wireloom.testing.server"),
        ("server", "wireloom.net.server", "wireloom.net.front"),
        ("cli.main", "wireloom.net.server", "wireloom.net.front"),
        ("testing.server", "wireloom.app", "wireloom.hub.hub"),
        ("attic.old", "json", "wireloom.errors"),
    ],
)
def test_the_table_itself(module: str, allowed: str, refused: str) -> None:
    assert may_import(module, allowed)
    assert not may_import(module, refused)


def test_relative_and_nested_imports_are_seen(tmp_path: Path) -> None:
    package = tmp_path / "wireloom"
    (package / "wire").mkdir(parents=True)
    (package / "hub.py").touch()
    file = package / "wire" / "frames.py"
    file.write_text("from .. import hub\nfrom . import CLOSE\ndef f():\n    from ..core.topic import x\n    import a.b")
    assert sorted(imports(file, package)) == [
        (1, "wireloom.hub"),
        (2, "wireloom.wire"),
        (4, "wireloom.core.topic"),
        (5, "a.b"),
    ]
