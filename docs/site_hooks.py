"""Brings into the site what its pages link to outside of docs/: examples, architecture, and source files as pages.

Law: every relative link that works in the repository works in the site.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    "ARCHITECTURE.md": "project/architecture.md",
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "bench/RESULTS.md": "project/benchmarks.md",
    "README.md": "project/readme.md",
    "LICENSE": "source/LICENSE.md",
}
FENCE = re.compile(r"^(?P<fence> *(?:```+|~~~+)).*?^(?P=fence)\s*$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?P<code>`[^`\n]+`)|\]\((?!https?:|mailto:|#)(?P<target>[^)#\s]+)(?P<anchor>#[^)\s]*)?\)")
LANGUAGES = {".py": "python", ".cjs": "javascript", ".js": "javascript"}


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages of the repository, and whatever these or pages of docs/ link to."""
    waiting = [*PAGES, *(f"docs/{file.src_uri}" for file in files.documentation_pages())]
    waiting += [f"examples/{folder.name}/README.md" for folder in sorted((ROOT / "examples").iterdir())]
    seen = set()
    while waiting:
        path = waiting.pop()
        if path in seen or not (ROOT / path).exists():
            continue
        seen.add(path)
        if not path.startswith("docs/"):
            files.append(_file(path, config))
        waiting += _linked(path)
    return files


def _file(path: str, config: Any) -> File:
    uri = _place(path)
    if path.endswith(".md"):
        return File.generated(config, uri, abs_src_path=str(ROOT / path))
    return File.generated(config, uri, content=_listing(path))


def _listing(path: str) -> str:
    """A page that shows a file, or names the files of a folder."""
    head = f"---\nsearch: {{exclude: true}}\n---\n# {path.rstrip('/')}\n\n"
    if (ROOT / path).is_dir():
        return head + "".join(f"- [{name}]({Path(path).name}/{name}.md)\n" for name in _names(path))
    language = LANGUAGES.get(Path(path).suffix, Path(path).suffix[1:] or "text")
    return f"{head}``````{language}\n{(ROOT / path).read_text(encoding='utf-8')}``````\n"


def _names(folder: str) -> list[str]:
    return sorted(each.name for each in (ROOT / folder).iterdir() if each.is_file())


def _place(path: str) -> str:
    """Where a file of the repository is in the site."""
    path = path.rstrip("/")
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    if path in PAGES:
        return PAGES[path]
    if path.startswith("examples/") and path.endswith("/README.md"):
        return f"examples/{path.split('/')[1]}.md"
    return f"source/{path}.md"


def _linked(path: str) -> Iterator[str]:
    """What a page links to within the repository, and the files of a folder."""
    if (ROOT / path).is_dir():
        yield from (posixpath.join(path, name) for name in _names(path))
    if not path.endswith(".md"):
        return
    text = FENCE.sub("", (ROOT / path).read_text(encoding="utf-8"))
    for link in LINK.finditer(text):
        if link["target"]:
            yield posixpath.normpath(posixpath.join(posixpath.dirname(path), link["target"]))


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Writes links anew for where pages are in the site."""
    uri = page.file.src_uri
    origin = next((path for path, place in PAGES.items() if place == uri), f"docs/{uri}")
    if uri.startswith("examples/"):
        origin = f"examples/{Path(uri).stem}/README.md"
    if uri.startswith("source/"):
        return markdown
    return _outside_of_fences(markdown, lambda text: _rewritten(text, origin, uri))


def _rewritten(text: str, origin: str, uri: str) -> str:
    def write(link: re.Match[str]) -> str:
        if link["code"]:
            return link[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(origin), link["target"]))
        return f"]({posixpath.relpath(_place(path), posixpath.dirname(uri) or '.')}{link['anchor'] or ''})"

    return LINK.sub(write, text)


def _outside_of_fences(markdown: str, change: Callable[[str], str]) -> str:
    parts, end = [], 0
    for fence in FENCE.finditer(markdown):
        parts += [change(markdown[end : fence.start()]), fence[0]]
        end = fence.end()
    return "".join([*parts, change(markdown[end:])])
