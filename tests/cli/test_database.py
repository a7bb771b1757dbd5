"""``wireloom db``."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.database.version_1 import make_postgresql, make_sqlite
from wireloom.identity.tables import IDENTITY

from .processes import Run

NONE_YET = "SQLite file .wireloom/wireloom.db: there is no database yet\n"


@pytest.fixture
def old(tmp_path: Path) -> str:
    """The URL of a database of version 1."""
    return make_sqlite(tmp_path / "old.db")


def files(folder: Path) -> dict[str, Any]:
    """What there is, with its contents and rights."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mode, path.is_file() and path.read_bytes())
        for path in folder.rglob("*")
    }


def test_there_is_no_database_yet(run: Run, tmp_path: Path) -> None:
    before = files(tmp_path)
    done = run("db", "show")
    assert (done.returncode, done.stdout, done.stderr) == (0, NONE_YET, "")
    shown = json.loads(run("db", "show", "--json").stdout)
    assert shown == {"database": "SQLite file .wireloom/wireloom.db", "exists": False, "parts": []}
    done = run("db", "upgrade")
    assert (done.returncode, done.stdout, done.stderr) == (0, "nothing to do: there is no database yet\n", "")
    assert files(tmp_path) == before


def test_showing_changes_nothing(run: Run, tmp_path: Path, old: str) -> None:
    os.chmod(tmp_path / "old.db", 0o644)
    (tmp_path / "empty.db").touch(0o644)
    before = files(tmp_path)
    done = run("db", "show", "--database", old)
    assert (done.returncode, done.stderr) == (0, "")
    first, *table = done.stdout.splitlines()
    assert first == f"SQLite file {tmp_path}/old.db"
    assert [line.split() for line in table] == [
        ["part", "schema", "needed", "holds"],
        ["identity", "1", "2", "1", "user,", "1", "token,", "1", "API", "key"],
        ["graph", "-", "1", "-"],
        ["routes", "-", "1", "-"],
    ]
    assert json.loads(run("db", "show", "--json", "--database", old).stdout) == {
        "database": first,
        "exists": True,
        "parts": [
            {"part": "identity", "schema": 1, "needed": 2, "holds": {"users": 1, "tokens": 1, "api_keys": 1}},
            {"part": "graph", "schema": None, "needed": 1, "holds": {}},
            {"part": "routes", "schema": None, "needed": 1, "holds": {}},
        ],
    }
    empty = json.loads(run("db", "show", "--json", "--database", f"sqlite:///{tmp_path}/empty.db").stdout)
    none = {"schema": None, "holds": {}}
    needed = {"identity": 2, "graph": 1, "routes": 1}
    assert empty["parts"] == [{"part": part, "needed": version, **none} for part, version in needed.items()]
    assert files(tmp_path) == before


def test_an_upgrade_says_what_it_did(run: Run, old: str) -> None:
    done = run("db", "upgrade", "--database", old)
    assert (done.returncode, done.stdout, done.stderr) == (0, "identity: schema 1 → 2\n", "")
    assert run("db", "upgrade", "--database", old).stdout == "nothing to do\n"
    [part, *_] = json.loads(run("db", "show", "--json", "--database", old).stdout)["parts"]
    assert (part["schema"], part["holds"]["users"]) == (2, 1)


def test_an_upgrade_makes_no_part_that_was_not_there(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty.db").touch()
    assert run("db", "upgrade", "--database", f"sqlite:///{tmp_path}/empty.db").stdout == "nothing to do\n"
    with sqlite3.connect(tmp_path / "empty.db") as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == []
    connection.close()


def test_postgresql(run: Run, postgresql: Any) -> None:
    url = asyncio.run(make_postgresql(postgresql.make_database()))
    refused = run("user", "list", "--database", url)
    assert (refused.returncode, refused.stdout) == (1, "") and "wireloom db upgrade" in refused.stderr
    shown = run("db", "show", WIRELOOM_DATABASE=url)
    assert (
        shown.stdout.splitlines()[0] == f"PostgreSQL database {url.rpartition('/')[2]} on 127.0.0.1:{postgresql.port}"
    )
    assert "1 user, 1 token, 1 API key" in shown.stdout
    assert run("db", "upgrade", "--database", url).stdout == "identity: schema 1 → 2\n"
    assert run("db", "upgrade", "--database", url).stdout == "nothing to do\n"
    assert [user["username"] for user in json.loads(run("user", "list", "--json", "--database", url).stdout)] == ["Bob"]


def test_the_configuration_names_the_database(run: Run, tmp_path: Path, old: str) -> None:
    (tmp_path / "mine.toml").write_text(f"database = '{old}'\n")
    for command in (("db", "show"), ("db", "upgrade")):
        assert "no database yet" not in run(*command, "--config", "mine.toml").stdout
        assert "no database yet" not in run(*command, WIRELOOM_DATABASE=old).stdout
        assert "no database yet" in run(*command).stdout


def test_a_newer_database_is_shown_and_left_alone(run: Run, tmp_path: Path, old: str) -> None:
    with sqlite3.connect(tmp_path / "old.db") as connection:
        connection.execute("UPDATE wireloom_schema_versions SET version = ?", (IDENTITY.version + 1,))
    connection.close()
    [part, *_] = json.loads(run("db", "show", "--json", "--database", old).stdout)["parts"]
    assert (part["schema"], part["needed"]) == (IDENTITY.version + 1, IDENTITY.version)
    done = run("db", "upgrade", "--database", old)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("the database was made by a newer Wireloom") and done.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["show", "upgrade"])
@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://u:hunter2@h/n", "database must be sqlite:///FILE, sqlite:// or"),
        ("postgresql://u:hunter2@127.0.0.1:1/n", "cannot open the PostgreSQL database n on 127.0.0.1:1: "),
        ("sqlite:///broken.db", "cannot open the SQLite file broken.db: "),
    ],
)
def test_mistakes_are_told_in_a_line(run: Run, tmp_path: Path, command: str, url: str, message: str) -> None:
    (tmp_path / "broken.db").write_text("no database" * 1000)
    done = run("db", command, "--database", url)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(message) and done.stderr.count("\n") == 1
    assert "hunter2" not in done.stderr
