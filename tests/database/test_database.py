"""The database: its address, its files, its version, and many processes that open it at once."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import anyio
import pytest
from sqlalchemy import text, update
from sqlalchemy.exc import DBAPIError

from tests.identity.kit import BOB, PASSWORD, Make
from tests.postgresql import POSTGRESQL_PASSWORD, PostgreSQL
from wireloom.config import Config
from wireloom.database import database as database_module
from wireloom.database.address import Address
from wireloom.database.database import Database
from wireloom.database.schema import schema_versions
from wireloom.errors import ConfigError
from wireloom.identity.identity import Identity
from wireloom.identity.secret import keep_secret
from wireloom.identity.tables import IDENTITY

pytestmark = pytest.mark.anyio

PROCESS = """
import asyncio, sys
from wireloom.config import Config
from wireloom.identity import passwords
from wireloom.identity.identity import Identity
passwords.ITERATIONS, passwords.MEMORY_KIB, passwords.LANES = 1, 8, 1
import wireloom.database.database, wireloom.identity.users, wireloom.identity.keys, wireloom.identity.signing
import wireloom.identity.issuer

async def main():
    identity = Identity(Config(database=sys.argv[1]))
    print("ready", flush=True)
    sys.stdin.readline()
    await identity.start()
    login = await identity.register({"username": sys.argv[2]}, "password of " + sys.argv[2])
    await identity.stop()
    print(login.token, flush=True)

asyncio.run(main())
"""


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# -- addresses -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("database", "url", "shown"),
    [
        ("sqlite:///a/b.db", "sqlite+aiosqlite:///a/b.db", "SQLite file a/b.db"),
        ("sqlite:////a/b.db", "sqlite+aiosqlite:////a/b.db", "SQLite file /a/b.db"),
        ("sqlite+aiosqlite:///b.db", "sqlite+aiosqlite:///b.db", "SQLite file b.db"),
        ("postgresql://u:p@h/n", "postgresql+asyncpg://u:p@h/n", "PostgreSQL database n on h"),
        ("postgres://u:p@h:5/n", "postgresql+asyncpg://u:p@h:5/n", "PostgreSQL database n on h:5"),
        ("postgresql+asyncpg://h/n", "postgresql+asyncpg://h/n", "PostgreSQL database n on h"),
        (
            "postgresql://u@/n?host=/run&sslmode=require",
            "postgresql+asyncpg://u@/n?host=%2Frun&ssl=require",
            "PostgreSQL database n on /run",
        ),
    ],
)
async def test_addresses_as_people_write_them(database: str, url: str, shown: str) -> None:
    address = Address.parse(database)
    assert (address.url.render_as_string(hide_password=False), address.shown) == (url, shown)
    assert not address.in_memory
    assert ":p@" not in repr(address)


@pytest.mark.parametrize("database", ["sqlite://", "sqlite:///", "sqlite:///:memory:"])
async def test_addresses_in_memory(database: str) -> None:
    assert Address.parse(database).in_memory
    assert Address.parse(database).url != Address.parse(database).url


@pytest.mark.parametrize(
    "database",
    [
        "",
        "hunter2",
        "mysql://u:hunter2@h/n",
        "postgresql://u:hunter2@h",
        "postgresql://u:hunter2@h:port/n",
        "postgresql+psycopg://u:hunter2@h/n",
        "sqlite://hunter2/n",
        "sqlite:///n?hunter2=1",
    ],
)
async def test_no_address_of_ours(database: str) -> None:
    with pytest.raises(ConfigError, match=r"^database") as caught:
        Database(database)
    assert "hunter2" not in str(caught.value) and caught.value.__cause__ is None


# -- files -----------------------------------------------------------------------------------------------------------


async def test_the_files_are_their_owners_only(make: Make, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        identity = await make(f"sqlite:///{tmp_path}/deep/.wireloom/w.db")
        await identity.register(BOB, PASSWORD)
        made = {path.name: mode(path) for path in (tmp_path / "deep" / ".wireloom").iterdir()}
    finally:
        os.umask(before)
    assert made.pop(".gitignore")
    assert made == {"w.db": 0o600, "w.db-wal": 0o600, "w.db-shm": 0o600}
    assert {mode(tmp_path / "deep"), mode(tmp_path / "deep" / ".wireloom")} == {0o700}
    assert (tmp_path / "deep" / ".wireloom" / ".gitignore").read_text() == "*\n"


async def test_a_file_that_others_may_read_is_closed_to_them(make: Make, tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o755)
    os.close(os.open(tmp_path / "w.db", os.O_CREAT, 0o644))
    await make(f"sqlite:///{tmp_path}/w.db")
    assert (mode(tmp_path / "w.db"), mode(tmp_path)) == (0o600, 0o755)
    assert not (tmp_path / ".gitignore").exists()


async def test_the_database_is_opened_as_it_should(make: Make, file_url: str) -> None:
    identity = await make(file_url)
    async with identity._users._database.reading() as connection:
        found = [await connection.scalar(text(f"PRAGMA {name}")) for name in ("journal_mode", "foreign_keys")]
        assert [*found, await connection.scalar(text("PRAGMA busy_timeout"))] == ["wal", 1, 15_000]


@pytest.mark.parametrize("name", ["folder", "broken.db", "file/w.db"])
async def test_what_cannot_be_opened_is_said_in_a_line(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "broken.db").write_text("no database" * 1000)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=f"cannot open the SQLite file {tmp_path}/{name}: ") as caught:
        await Identity(Config(database=f"sqlite:///{tmp_path}/{name}")).start()
    assert "\n" not in str(caught.value) and caught.value.__suppress_context__


async def test_a_database_that_is_not_there(postgresql: PostgreSQL) -> None:
    secret = "hunter2-the-wrong-one"
    for url, reason in (
        (postgresql.url("absent"), "does not exist"),
        (postgresql.url("postgres", secret), "password authentication failed"),
        (f"postgresql://u:{secret}@127.0.0.1:1/n", "PostgreSQL database n on 127.0.0.1:1: "),
    ):
        with pytest.raises(ConfigError, match=reason) as caught:
            await Identity(Config(database=url)).start()
        shown = str(caught.value)
        assert secret not in shown and POSTGRESQL_PASSWORD not in shown and "\n" not in shown


async def test_a_driver_that_tells_the_password_is_not_quoted() -> None:
    store = Database("postgresql://u:hunter2@h/n")
    assert store._reason(OSError("cannot log in with hunter2 at h\nmore")) == "cannot log in with … at h"


# -- versions and secrets --------------------------------------------------------------------------------------------


async def test_a_newer_schema_is_refused(database: str, make: Make) -> None:
    identity = await make(database)
    store = identity._users._database
    async with store.writing() as connection:
        await connection.execute(update(schema_versions).values(version=IDENTITY.version + 1))
    with pytest.raises(ConfigError, match=rf"newer Wireloom \(schema {IDENTITY.version + 1}; this one knows"):
        await store.prepare(IDENTITY)


async def test_secrets_are_made_once(file_url: str) -> None:
    found = []
    for _ in range(2):
        store = Database(file_url)
        await store.open()
        await store.prepare(IDENTITY)
        found.append((await keep_secret(store, "token_secret"), await keep_secret(store, "key_secret")))
        await store.close()
    assert found[0] == found[1]
    assert len({*found[0]}) == 2 and all(len(secret) == 64 for secret in found[0])


async def test_a_store_that_is_closed_says_so() -> None:
    store = Database("sqlite://")
    with pytest.raises(RuntimeError, match="not open"):
        async with store.reading():
            pass


async def test_tables_are_our_own_and_relations_are_kept(identity: Identity) -> None:
    """An orphan cannot be inserted: SQLite does not see to that by itself."""
    store = identity._users._database
    with pytest.raises(DBAPIError) as caught:
        async with store.writing() as connection:
            await connection.execute(text("INSERT INTO wireloom_tokens VALUES ('t', :user, 1)"), {"user": "hidden"})
    assert "FOREIGN KEY" in str(caught.value).upper() and "[SQL parameters hidden" in str(caught.value)


# -- many at once ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["file", "postgresql"])
async def test_processes_may_start_at_once(
    kind: str, make: Make, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """On an empty database they all succeed, with one secret: each one's token lets in everywhere."""
    file = f"sqlite:///{tmp_path}/new/w.db"
    url = file if kind == "file" else request.getfixturevalue("postgresql").make_database()
    names = [f"user{number}" for number in range(4)]
    tokens = await anyio.to_thread.run_sync(run_together, url, names)
    identity = await make(url)
    identity._clock = time.time
    assert [(await identity.authenticate(token)).username for token in tokens] == names


def run_together(url: str, names: list[str]) -> list[str]:
    """Starts a process for each name, lets all go in one moment, and gives what they print."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", PROCESS, url, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        for name in names
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        results = []
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        for process in processes:
            out, err = process.communicate(timeout=60)
            assert (process.returncode, err) == (0, "")
            results.append(out.strip())
        return results
    finally:
        for process in processes:
            process.kill()
            process.communicate()


async def test_another_processes_writing_is_waited_for(make: Make, file_url: str) -> None:
    identity = await make(file_url)
    other = sqlite3.connect(file_url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    async with anyio.create_task_group() as group:
        group.start_soon(identity.register, BOB, PASSWORD)
        await anyio.wait_all_tasks_blocked()
        assert await identity.users() == []  # readers do not wait
        other.execute("COMMIT")
    other.close()
    assert len(await identity.users()) == 1


async def test_a_start_waits_for_another_that_is_at_it(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite refuses the change to WAL at once when another connection is in its way, whatever its time-out."""
    other = sqlite3.connect(tmp_path / "w.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    refused, prepare, sleep = anyio.Event(), database_module._prepare_sqlite, anyio.sleep

    def prepare_impatient(connection: Any, record: Any) -> None:
        prepare(connection, record)
        cursor = connection.cursor()
        cursor.execute("PRAGMA busy_timeout=0")
        cursor.close()

    async def watch(seconds: float) -> None:
        refused.set()
        await sleep(seconds)

    monkeypatch.setattr(database_module, "_prepare_sqlite", prepare_impatient)
    monkeypatch.setattr(anyio, "sleep", watch)
    async with anyio.create_task_group() as group:
        group.start_soon(make, f"sqlite:///{tmp_path}/w.db")
        with anyio.fail_after(10):
            await refused.wait()
        other.execute("COMMIT")
    other.close()


async def test_what_has_begun_is_done_though_nobody_waits(make: Make, file_url: str) -> None:
    identity = await make(file_url)
    store = identity._users._database
    begun, go = anyio.Event(), anyio.Event()

    async def work() -> None:
        async with store.writing() as connection:
            begun.set()
            await go.wait()
            await connection.execute(text("INSERT INTO wireloom_settings VALUES ('a', 'b')"))

    async with anyio.create_task_group() as group:
        group.start_soon(store.finish, work())
        await begun.wait()
        group.cancel_scope.cancel()
    go.set()
    await identity.stop()  # waits for it
    with sqlite3.connect(file_url.removeprefix("sqlite:///")) as connection:
        found = connection.execute("SELECT value FROM wireloom_settings WHERE name = 'a'").fetchall()
    connection.close()
    assert found == [("b",)]
