"""The documentation is true: every Python block runs, every link leads somewhere, made pages are up to date."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
BLOCK = re.compile(r"^```python(?: title=\"(?P<title>[^\"]+)\")?\n(?P<code>.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|#)(?P<target>[^)#]+)(?:#[^)]*)?\)")


def name_of(page: Path) -> str:
    """A page's path below the repository, for test ids."""
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", [page for page in PAGES if BLOCK.search(page.read_text())], ids=name_of)
def test_every_python_block_of_a_page_runs(page: Path, tmp_path: Path) -> None:
    """Titled blocks are files; the others run one after another, as one reader would type them."""
    script = []
    for block in BLOCK.finditer(page.read_text(encoding="utf-8")):
        if block["title"]:
            (tmp_path / block["title"]).write_text(block["code"], encoding="utf-8")
        if not (block["title"] or "").startswith("test_"):
            script.append(block["code"])
    (tmp_path / "page.py").write_text("\n".join(script), encoding="utf-8")
    run([sys.executable, "page.py"], tmp_path)
    for file in tmp_path.glob("test_*.py"):
        run([sys.executable, "-m", "pytest", "-q", file.name], tmp_path)


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
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
