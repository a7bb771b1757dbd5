"""Code blocks of the documentation: which there are, and which are marked as not run.

A block is marked by a line before it: ``<!-- not run: why -->``. A block of ``text`` is no code.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

__all__ = ["PAGES", "ROOT", "Block", "blocks_of", "name_of"]

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*/README.md")])
BLOCK = re.compile(
    r"(?:^ *<!-- not run: (?P<reason>[^\n]+) -->\n\s*)?"
    r"^(?P<indent> *)```(?P<language>\w*)(?: title=\"(?P<title>[^\"]+)\")?(?P<rest>[^\n]*)\n"
    r"(?P<text>.*?)^(?P=indent)```",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page: the file that it is in.
        line: where it begins there.
        language: what is written behind the fence.
        title: a file's name or a terminal's, or nothing.
        text: what is in it.
        reason: why it is not run; empty: it is.
        rest: what else is written behind the fence, which should be nothing.
    """

    page: Path
    line: int
    language: str
    title: str
    text: str
    reason: str
    rest: str

    def __str__(self) -> str:
        return f"{name_of(self.page)}:{self.line}"


def blocks_of(page: Path, language: str = "") -> list[Block]:
    """The blocks of a page, or those in a language."""
    text = page.read_text(encoding="utf-8")
    found = [
        Block(
            page,
            text.count("\n", 0, match.start("indent")) + 1,
            match["language"],
            match["title"] or "",
            dedent(match["text"]),
            match["reason"] or "",
            match["rest"].strip(),
        )
        for match in BLOCK.finditer(text)
    ]
    return [block for block in found if not language or block.language == language]


def name_of(page: Path) -> str:
    """A page's path below the repository, for test ids."""
    return str(page.relative_to(ROOT))
