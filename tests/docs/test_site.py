"""The site is built without a warning, every link in it leads to a page and a place, nothing comes from elsewhere."""

from __future__ import annotations

import html.parser
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import pytest
from tests.docs.blocks import ROOT

BASE = "http://site.invalid/"
LOADS = {("script", "src"), ("img", "src"), ("iframe", "src"), ("source", "src"), ("video", "src"), ("audio", "src")}


@dataclass
class Document(html.parser.HTMLParser):
    """One page: its links, its anchors, and what a browser loads for it."""

    links: list[str] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)
    loads: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attributes}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag == "link" and values.get("rel", "") not in ("canonical", "next", "prev", "alternate"):
            self.loads.append(values.get("href", ""))
        self.loads += [values[name] for each, name in LOADS if each == tag and name in values]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, freshly built as `mkdocs build --strict` builds it."""
    folder = tmp_path_factory.mktemp("site")
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@cache
def parse(file: Path) -> Document:
    """A page of the site."""
    document = Document()
    document.feed(file.read_text(encoding="utf-8"))
    return document


def pages(site: Path) -> Iterator[tuple[str, Document]]:
    """Each page with its path."""
    for file in sorted(site.rglob("*.html")):
        yield str(file.relative_to(site)), parse(file)


def problems(site: Path, path: str, link: str) -> str | None:
    """What is wrong with a link of a page, if anything is."""
    target, anchor = urldefrag(urljoin(BASE + path, link))
    parts = urlsplit(target)
    if parts.hostname != "site.invalid":
        return None if parts.scheme in ("http", "https") else f"{path}: what is {link}?"
    file = site / unquote(parts.path).lstrip("/")
    file = file / "index.html" if file.is_dir() else file
    if not file.is_file():
        return f"{path}: {link} leads nowhere"
    if anchor and file.suffix == ".html" and unquote(anchor) not in parse(file).anchors:
        return f"{path}: {link}: there is no such place on that page"
    return None


def test_every_link_leads_to_a_page_and_a_place(site: Path) -> None:
    found = [problems(site, path, link) for path, page in pages(site) if path != "404.html" for link in page.links]
    assert len(found) > 1000
    assert [each for each in found if each] == []


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    loads = {(path, each) for path, page in pages(site) for each in page.loads}
    assert len(loads) > 100
    assert [each for each in loads if re.match(r"(?:\w+:)?//", each[1])] == []
    assert [each for each in loads if problems(site, *each) and each[0] != "404.html"] == []
    for sheet in site.rglob("*.css"):
        assert re.findall(r"url\([\"']?(?:\w+:)?//[^)]+\)|@import", sheet.read_text(encoding="utf-8")) == []


def test_every_page_of_the_documentation_is_in_the_navigation(site: Path) -> None:
    """Whatever page one is on, all others can be reached by the navigation."""
    names = {str(file.relative_to(ROOT / "docs").with_suffix(".html")) for file in ROOT.glob("docs/**/*.md")}
    listed = {urldefrag(link)[0] for link in parse(site / "index.html").links}
    assert names - listed - {"index.html"} == set()
