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
from tests.docs.blocks import PAGES, ROOT, Block, blocks_of, name_of

import wireloom
from wireloom import App
from wireloom.faces.routes.loading import read_routes
from wireloom.testing import TestServer

TUTORIAL = [ROOT / "docs" / "tutorial" / f"{name}.md" for name in ("chat", "page", "test", "processes")]
LINK = re.compile(r"\]\((?!https?:|#)(?P<target>[^)#]+)(?:#[^)]*)?\)")


def pages_with(language: str) -> pytest.MarkDecorator:
    """The pages that have blocks of a language to be run."""
    found = [page for page in PAGES if runnable(page, language)]
    return pytest.mark.parametrize("page", found, ids=name_of)


def runnable(page: Path, language: str) -> list[Block]:
    """A page's blocks of a language, without those that are marked."""
    return [block for block in blocks_of(page, language) if not block.reason]


def save_files(page: Path, folder: Path) -> None:
    """Blocks whose title is a file's name; the tutorial goes on with the files of the pages before."""
    before = TUTORIAL[: TUTORIAL.index(page)] if page in TUTORIAL else []
    for block in [block for each in (*before, page) for block in blocks_of(each)]:
        if block.title and block.language not in ("console", "nginx") and not block.reason:
            (folder / block.title).parent.mkdir(parents=True, exist_ok=True)
            (folder / block.title).write_text(block.text, encoding="utf-8")


@pages_with("python")
def test_every_python_block_of_a_page_runs(page: Path, tmp_path: Path) -> None:
    """Titled blocks are files; the others run one after another, as one reader would type them.

    As a module: what a file does only as a program, such as listening without an end, stays out.
    """
    save_files(page, tmp_path)
    script = [block.text for block in runnable(page, "python") if not block.title.startswith("test_")]
    (tmp_path / "page.py").write_text("\n".join(script), encoding="utf-8")
    run([sys.executable, "-c", "import page"], tmp_path)
    for block in runnable(page, "python"):
        if block.title.startswith("test_"):
            run([sys.executable, "-m", "pytest", "-q", block.title], tmp_path)


@pages_with("yaml")
def test_every_yaml_block_of_a_page_is_served(page: Path, tmp_path: Path) -> None:
    """Titled blocks are files of routes; the others are operations as they may stand in a hook."""
    for block in runnable(page, "yaml"):
        file = tmp_path / (block.title or "block.yaml")
        if block.title:
            file.write_text(block.text, encoding="utf-8")
            anyio.run(serve, file)
        else:
            file.write_text(as_route(block.text), encoding="utf-8")
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
    environment["DJANGO_SETTINGS_MODULE"] = "settings"  # of how-to/from-channels.md
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
