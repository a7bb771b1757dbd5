"""Every code block is checked by what its language allows, or says why it is not.

Python and YAML run in ``test_documents``; README.md and the tutorial also in ``tests/e2e/stranger.py``, to the letter.
"""

from __future__ import annotations

import html.parser
import json
import re
import shlex
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from tests.docs.blocks import PAGES, ROOT, Block, blocks_of

from wireloom.cli.main import cli
from wireloom.config import options

PROGRAMS = {  # of lines that begin with "$ " and run elsewhere than here
    ".": "activates an environment; tests/e2e/stranger.py",
    "export": "tests/e2e/stranger.py",
    "python": "tests/e2e/stranger.py, or a file of the repository",
    "redis-server": "tests/e2e/stranger.py",
    "celery": "tests/e2e/test_celery.py",
}
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]


def every(language: str) -> pytest.MarkDecorator:
    """All blocks of a language that are to be checked."""
    found = [block for page in PAGES for block in blocks_of(page, language) if not block.reason]
    return pytest.mark.parametrize("block", found, ids=str)


def test_every_block_is_checked_or_says_why_not(capsys: pytest.CaptureFixture[str]) -> None:
    """A language that nothing checks needs a mark; and marks are for blocks of such languages, or give their reason."""
    blocks = [block for page in PAGES for block in blocks_of(page)]
    marked = [f"{block}: {block.language}: {block.reason}" for block in blocks if block.reason]
    print("not run:\n  " + "\n  ".join(marked))
    known = {"python", "yaml", "json", "toml", "html", "js", "typescript", "console", "nginx", "text"}
    assert [
        f"{block}: {block.language!r}" for block in blocks if block.language not in known and not block.reason
    ] == []
    assert [str(block) for block in blocks if block.rest] == []  # the site would not show it as a block
    assert len(blocks) > 150


@every("json")
def test_json_is_json(block: Block) -> None:
    """One value, or one a line."""
    text = re.sub(r"…", "", block.text)
    try:
        json.loads(text)
    except ValueError:
        for line in text.splitlines():
            json.loads(line)


@every("toml")
def test_toml_has_options_that_there_are(block: Block) -> None:
    known = {option.name for option in options()}
    assert set(tomllib.loads(block.text)) <= known


@every("js")
def test_javascript_is_javascript(block: Block, tmp_path: Path) -> None:
    check_javascript(block.text, tmp_path)


@every("html")
def test_html_has_scripts_that_are_javascript(block: Block, tmp_path: Path) -> None:
    scripts = Scripts()
    scripts.feed(block.text)
    scripts.close()
    assert scripts.seen, "markup without an element"
    for script in scripts.texts:
        check_javascript(script, tmp_path)


class Scripts(html.parser.HTMLParser):
    """Collects the texts of scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.seen = 0
        self._inside = False

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.seen += 1
        self._inside = tag == "script"

    def handle_data(self, data: str) -> None:
        if self._inside and data.strip():
            self.texts.append(data)


def check_javascript(text: str, folder: Path) -> None:
    """Node can read it."""
    file = folder / "block.mjs"
    file.write_text(text, encoding="utf-8")
    done = subprocess.run(["node", "--check", str(file)], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr


@every("nginx")
def test_nginx_blocks_are_the_ones_that_a_test_serves_with(block: Block) -> None:
    """tests/e2e/test_nginx.py starts nginx with the first block of the page."""
    assert block == blocks_of(ROOT / "docs" / "how-to" / "nginx.md", "nginx")[0]


@every("typescript")
def test_typescript_blocks_are_on_the_page_that_a_test_compiles(block: Block) -> None:
    """tests/codegen/test_docs.py compiles the one of that page."""
    assert block.page == ROOT / "docs" / "how-to" / "typed-client.md"


@every("console")
def test_commands_are_commands(block: Block) -> None:
    """Each command of ours with options that there are; each extra and each file; no program that nothing checks."""
    for line in commands_of(block.text):
        words = shlex.split(line, comments=True)
        for check, matches in CHECKS:
            if matches(words):
                check(words)
                break
        else:
            assert words[0] in PROGRAMS, f"{block}: nothing checks `{line}`"


def commands_of(text: str) -> Iterator[str]:
    """What is typed at the prompt, without what comes behind a pipe or goes to a file."""
    for line in re.findall(r"^\$ (.*)$", text, re.MULTILINE):
        yield re.split(r" [>|] ", re.sub(r"^(?:[A-Z_]+=\S+ )+", "", line))[0]


def check_wireloom(words: list[str]) -> None:
    """Parses the command as the program would, and does not run it."""
    command: click.Command = cli
    name, rest = words[0], words[1:]
    while isinstance(command, click.Group):
        name, rest = rest[0], rest[1:]
        assert name in command.commands, f"there is no command {name}"
        command = command.commands[name]
    command.make_context(name, rest)


def check_pip(words: list[str]) -> None:
    for word in words[2:]:
        if word == "celery":
            continue
        found = re.fullmatch(r"wireloom(?:\[(\w+(?:,\w+)*)\])?", word)
        assert found, f"what is {word}?"
        assert set((found[1] or "").split(",")) - {""} <= set(EXTRAS)


def check_dev(words: list[str]) -> None:
    """dev.py's commands; what `run` runs is a program of ours or of the environment."""
    assert words[2] in ("demo", "test", "run")
    if words[2] == "run" and words[3] == "wireloom":
        check_wireloom(words[3:])
    for word in words[3:]:
        if re.fullmatch(r"(?:examples|tests|bench)/\S*", word):
            assert (ROOT / word).exists(), word


CHECKS: list[tuple[Callable[[list[str]], None], Callable[[list[str]], bool]]] = [
    (check_wireloom, lambda words: words[0] == "wireloom"),
    (check_pip, lambda words: words[:2] == ["pip", "install"]),
    (check_dev, lambda words: words[:2] == ["python3", "dev.py"]),
    (lambda words: None, lambda words: words == ["python3", "-m", "venv", ".venv"]),
]
