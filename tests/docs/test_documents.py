"""The documentation is true: Python and YAML blocks run, links lead somewhere, made pages are up to date."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from textwrap import indent

import anyio
import pytest

import wireloom
from wireloom import App
from wireloom.faces.routes.loading import read_routes
from wireloom.testing import TestServer

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
BLOCK = re.compile(r"^```python(?: title=\"(?P<title>[^\"]+)\")?\n(?P<code>.*?)^```", re.MULTILINE | re.DOTALL)
ROUTES = re.compile(r"^```yaml(?: title=\"(?P<title>[^\"]+)\")?\n(?P<text>.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|#)(?P<target>[^)#]+)(?:#[^)]*)?\)")


def name_of(page: Path) -> str:
    """A page's path below the repository, for test ids."""
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", [page for page in PAGES if BLOCK.search(page.read_text())], ids=name_of)
def test_every_python_block_of_a_page_runs(page: Path, tmp_path: Path) -> None:
    """Titled blocks are files; the others run one after another, as one reader would type them.

    As a module: what a file does only as a program, such as listening without an end, stays out.
    """
    script = []
    for routes in ROUTES.finditer(page.read_text(encoding="utf-8")):
        if routes["title"]:
            (tmp_path / routes["title"]).write_text(routes["text"], encoding="utf-8")
    for block in BLOCK.finditer(page.read_text(encoding="utf-8")):
        if block["title"]:
            (tmp_path / block["title"]).write_text(block["code"], encoding="utf-8")
        if not (block["title"] or "").startswith("test_"):
            script.append(block["code"])
    (tmp_path / "page.py").write_text("\n".join(script), encoding="utf-8")
    run([sys.executable, "-c", "import page"], tmp_path)
    for file in tmp_path.glob("test_*.py"):
        run([sys.executable, "-m", "pytest", "-q", file.name], tmp_path)


@pytest.mark.parametrize("page", [page for page in PAGES if ROUTES.search(page.read_text())], ids=name_of)
def test_every_yaml_block_of_a_page_is_served(page: Path, tmp_path: Path) -> None:
    """Titled blocks are files of routes; the others are operations as they may stand in a hook."""
    for block in ROUTES.finditer(page.read_text(encoding="utf-8")):
        file = tmp_path / (block["title"] or "block.yaml")
        if block["title"]:
            file.write_text(block["text"], encoding="utf-8")
            anyio.run(serve, file)
        else:
            file.write_text(as_route(block["text"]), encoding="utf-8")
            make_app(file)


def as_route(operations: str) -> str:
    """Operations in the hook where they may stand: an HTTP route's, if they speak of its request."""
    head = "path: /block/:page\n"
    if "request." in operations or "payload" in operations:
        return f"{head}logic:\n{indent(operations, '  ')}"
    return f"{head}ws_hooks:\n  on_message:\n{indent(operations, '    ')}"


def make_app(file: Path) -> App:
    """An application of the routes of a file."""
    app = App(database="sqlite://", routes_database="sqlite://", routes_http_hosts=("api.example.com",))
    app.add_routes(file)
    app.check()
    return app


async def serve(file: Path) -> None:
    """Connects to every WebSocket route, and gets of every HTTP route what a GET gives."""
    async with TestServer(make_app(file)) as server:
        for route in read_routes(file).routes:
            path = re.sub(r"\{.*?\}", "x", route.path)
            if not route.is_http:
                async with server.websocket(path):
                    pass
            else:
                assert (await server.http.get(path)).status_code < 500


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    """Relative links name files that exist."""
    targets = [match["target"] for match in LINK.finditer(page.read_text(encoding="utf-8"))]
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_pages_made_from_code_are_up_to_date() -> None:
    """`python docs/make_reference.py` would change nothing."""
    run([sys.executable, "docs/make_reference.py", "--check"], ROOT)


def run(command: list[str], folder: Path) -> None:
    """Runs a command to its end and shows what it printed if it fails."""
    source = str(Path(wireloom.__file__).parents[1])  # this very package, wherever the command runs
    environment = {**os.environ, "PYTHONPATH": source, "PYTHONWARNINGS": "error"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
