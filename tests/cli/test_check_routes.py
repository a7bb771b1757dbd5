"""``wireloom check``, ``routes`` and ``serve`` of declarative routes: all that is wrong is said at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .processes import Run

GOOD = """\
name: Echo
path: /echo/:room
ws_hooks:
  on_message:
    - Return: {value: "Echo: {{ message }}"}
---
- name: Health
  path: /health
  logic: [Return: {value: ok}]
"""
BAD_YAML = """\
name: Echo
path: /echo/:room
ws_hooks:
  on_mesage: []
  on_message:
    - Retrun: {value: 1}
    - Return: {value: "日本 {{ mesage }}"}
"""
BAD_JSON = '{"name": "Twin", "path": "/api/echo/{id}", "method": "GET", "logic": [{"Return": {"valeu": 1}}]}\n'

REPORT = """\
bad/a.yaml:4:3: route 'Echo': there is no hook 'on_mesage'; did you mean 'on_message'?
    4 |   on_mesage: []
      |   ^^^^^^^^^
bad/a.yaml:6:7: route 'Echo', on_message[0]: there is no operation 'Retrun'; did you mean 'Return'?
    6 |     - Retrun: {value: 1}
      |       ^^^^^^
bad/a.yaml:7:30: route 'Echo', on_message[1]: there is no variable 'mesage'; did you mean 'message'?
    7 |     - Return: {value: "日本 {{ mesage }}"}
      |                                ^^^^^^
bad/deep/b.json:1:26: route 'Twin': the path '/api/echo/{id}' is that of route 'Echo' (bad/a.yaml:1) already
    1 | {"name": "Twin", "path": "/api/echo/{id}", "method": "GET", "logic": [{"Return": {"valeu": 1}}]}
      |                          ^^^^^^^^^^^^^^^^
bad/deep/b.json:1:83: route 'Twin', logic[0]: Return has no field 'valeu'; did you mean 'value'?
    1 | {"name": "Twin", "path": "/api/echo/{id}", "method": "GET", "logic": [{"Return": {"valeu": 1}}]}
      |                                                                                   ^^^^^^^
bad/latin.yaml:1:1: the file is not UTF-8, in line 1
"""


@pytest.fixture
def routes(directory: Path) -> Path:
    """Folders with good and with bad routes."""
    (directory / "good").mkdir()
    (directory / "good" / "a.yaml").write_text(GOOD)
    (directory / "bad" / "deep").mkdir(parents=True)
    (directory / "bad" / "a.yaml").write_text(BAD_YAML, encoding="utf-8")
    (directory / "bad" / "deep" / "b.json").write_text(BAD_JSON)
    (directory / "bad" / "latin.yaml").write_bytes("path: /é".encode("latin-1"))
    return directory


def test_check_counts_routes(run: Run, routes: Path) -> None:
    result = run("check", "good")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("ok: ")


def test_check_tells_everything_that_is_wrong_with_routes(run: Run, routes: Path) -> None:
    result = run("check", "bad/")
    assert (result.returncode, result.stdout, result.stderr) == (1, "", REPORT)


def test_check_tells_what_is_wrong_with_routes_and_with_python_together(run: Run, routes: Path) -> None:
    (routes / "broken.py").write_text("1 / 0\n")
    result = run("check", "bad", "broken.py", "good/b.yaml", "good/a.yaml")
    python, missing = "broken.py:1: ZeroDivisionError: division by zero", "there is no file or folder 'good/b.yaml'"
    assert (result.returncode, result.stderr) == (1, f"{python}\n{REPORT}{missing}\n")
    result = run("check", "bad", "broken.py")
    assert result.stderr == f"broken.py:1: ZeroDivisionError: division by zero\n{REPORT}"


def test_check_starts_nothing(run: Run, routes: Path) -> None:
    """No database is made, and what a walker or a route needs at run time is not asked for."""
    (routes / "good" / "sql.yaml").write_text(
        "path: /sql\nlogic:\n"
        "- SqlOp: {operation: query, query: SELECT 1, output: rows}\n"
        "- RedisOp: {command: GET, key: a}\n"
        "- Return: {value: '{{ rows }}'}\n"
    )
    before = sorted(path for path in routes.rglob("*") if "__pycache__" not in path.parts)
    assert run("check", "good", WIRELOOM_ROUTES_REDIS="redis://127.0.0.1:1/0").returncode == 0
    assert sorted(path for path in routes.rglob("*") if "__pycache__" not in path.parts) == before


@pytest.mark.parametrize(
    ("option", "message"),
    [("ROUTES_REDIS", "unknown key-value store rdis://"), ("ROUTES_DATABASE", "database must be sqlite:///FILE")],
)
def test_check_looks_at_the_stores_of_routes(run: Run, routes: Path, option: str, message: str) -> None:
    for command in (("check", "good"), ("serve", "good", "--port", "0")):
        result = run(*command, **{f"WIRELOOM_{option}": "rdis://x"})
        assert (result.returncode, result.stdout) == (1, "") and result.stderr.startswith(message)


def test_check_of_a_walker_that_is_not_there(run: Run, routes: Path) -> None:
    (routes / "walks.yaml").write_text("name: Walks\npath: /walks\nlogic: [CallWalker: {walker: Nobody}]\n")
    result = run("check", "walks.yaml")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.splitlines()[0] == "walks.yaml:3:30: route 'Walks': there is no walker 'Nobody'"


def test_a_route_and_a_handler_share_no_path(run: Run, routes: Path) -> None:
    (routes / "twin.yaml").write_text("name: Twin\npath: /raw\nws_hooks: {}\n")
    result = run("check", "chat.py", "twin.yaml")
    assert result.returncode == 1
    assert result.stderr == f"twin.yaml:1: '/raw' is already served by 'raw' ({routes}/chat.py:15)\n"


def test_routes_lists_them_with_their_places(run: Run, routes: Path) -> None:
    rows = json.loads(run("routes", "good", "chat.py", "--json").stdout)
    assert [(row["door"], row["path"], row["name"], row["source"]) for row in rows if "good" in row["source"]] == [
        ("websocket", "/echo/{room}", "Echo", "good/a.yaml:1"),
        ("rest", "/health", "Health", "good/a.yaml:7"),
    ]
    table = run("routes", "good").stdout
    assert "good/a.yaml:1" in table and "/echo/{room}" in table and "rest GET" in table


@pytest.mark.parametrize("command", ["routes", "serve", "openapi"])
def test_other_commands_fail_with_the_whole_report(run: Run, routes: Path, command: str) -> None:
    result = run(command, "bad")
    assert (result.returncode, result.stdout, result.stderr) == (1, "", REPORT)
