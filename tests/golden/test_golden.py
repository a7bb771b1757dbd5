"""Every golden file gives what stands beside it; between them, the bad ones show every message that loading has."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import wireloom.faces.routes as package
from tests.golden.golden import BAD, GOOD, expected_beside, given_by, sources
from wireloom.faces.routes.operations.table import OPERATIONS

BAD_SOURCES, GOOD_SOURCES = sources(BAD), sources(GOOD)

# What makes a problem when a file is loaded; the message is the last text among the arguments.
TELLS = {
    "problem",
    "_problem",
    "problem_within",
    "Problem",
    "ExpressionProblem",
    "_unexpected",
    "_expect",
    "_Refused",
    "ValueError",
}
ELSEWHERE = {
    "it cannot be read",  # of YAML: libyaml gives a reason for every error
    "not YAML: …",  # likewise
    "the file is not UTF-8, in line …",  # golden files are UTF-8; see test_document
    "the file cannot be read: …",
    "the file has more than … characters",
    "the expressions of a route have more than … characters together",
    "the file has more than … values; aliases count as often as used",
    "a text has at most … expressions",
    "a text with expressions has at most … characters",
    "values are bound, never pasted: write :name in the query, and the expression in params",  # SqlOp tells it before
}


@pytest.mark.parametrize("source", BAD_SOURCES, ids=lambda path: path.name)
def test_a_bad_file_is_reported_letter_by_letter(source: Path) -> None:
    given = given_by(source)
    assert given, "it was loaded"
    assert given == expected_beside(source).read_text(encoding="utf-8"), "python tests/golden/renew.py renews it"


@pytest.mark.parametrize("source", GOOD_SOURCES, ids=lambda path: path.name)
def test_a_good_file_is_compiled_letter_by_letter(source: Path) -> None:
    assert given_by(source) == expected_beside(source).read_text(encoding="utf-8"), "see tests/golden/renew.py"


def test_every_source_has_a_name_of_its_own() -> None:
    for folder in (BAD, GOOD):
        beside = {path.name for path in folder.glob("*.txt")}
        assert sorted(expected_beside(source).name for source in sources(folder)) == sorted(beside)


def test_the_good_files_use_every_operation() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in GOOD_SOURCES if path.is_file())
    assert [name for name in OPERATIONS if not re.search(rf"(?i)\b{_snake(name)}\b", text)] == []


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_?", name)


def test_every_message_is_in_a_golden_file() -> None:
    reports = "".join(expected_beside(source).read_text(encoding="utf-8") for source in BAD_SOURCES)
    known = dict(_messages())
    assert len(known) > 90
    missing = [shown for pattern, shown in known.items() if not re.search(pattern, reports) and shown not in ELSEWHERE]
    assert missing == []


def _messages() -> Iterator[tuple[str, str]]:
    """The messages of all places that make a problem: as a pattern, and for people."""
    folder = Path(package.__file__).parent
    rooms = [path for path in sorted(folder.rglob("*.py")) if path.name not in ("dynamic.py", "register.py")]
    for path in rooms:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            found: list[ast.expr] = []
            if isinstance(node, ast.Call) and _called(node) in TELLS:
                found = node.args
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                found = [node.value] if node.targets[0].id in ("message", "refusal") else []
            elif isinstance(node, ast.FunctionDef) and node.name in ("_refusal", "refusal", "_hint"):
                found = [inner.value for inner in ast.walk(node) if isinstance(inner, ast.Return) and inner.value]
            yield from filter(None, map(_text, found))


def _called(node: ast.Call) -> str:
    function = node.func
    return (
        function.attr if isinstance(function, ast.Attribute) else function.id if isinstance(function, ast.Name) else ""
    )


def _text(node: ast.expr) -> tuple[str, str] | None:
    """A message as a pattern, and for people; None where it is no text, or only names things."""
    if isinstance(node, ast.JoinedStr):
        parts = [part.value if isinstance(part, ast.Constant) else None for part in node.values]
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        parts = [node.value]
    else:
        return None
    shown = "".join("…" if part is None else str(part) for part in parts)
    if " " not in shown:
        return None
    return "".join(".*" if part is None else re.escape(str(part)) for part in parts), shown
