"""``wireloom user``, ``key`` and ``token``."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from tests.identity.kit import config, make_passwords_cheap
from wireloom.cli import accounts
from wireloom.identity.api_key import ApiKey
from wireloom.identity.identity import Identity
from wireloom.identity.user import User

from .processes import environment

Wireloom = Callable[..., subprocess.CompletedProcess[str]]
PASSWORD = "correct horse"
# `wireloom`, with cheap passwords
PROGRAM = """
from wireloom.cli import main
from wireloom.identity import passwords
passwords.ITERATIONS, passwords.MEMORY_KIB, passwords.LANES = 1, 8, 1
main.main()
"""


@pytest.fixture
def wireloom(tmp_path: Path) -> Wireloom:
    """Runs ``wireloom …`` in an empty directory."""

    def run(*arguments: str, stdin: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-W", "error", "-P", "-c", PROGRAM, *arguments],
            cwd=tmp_path,
            env=environment(**variables),
            input=stdin,
            capture_output=True,
            encoding="utf-8",
            timeout=30,
        )

    return run


@pytest.fixture
def bob(wireloom: Wireloom) -> subprocess.CompletedProcess[str]:
    return wireloom("user", "add", "Bob", "--email", "bob@b.de", "--password-stdin", stdin=f"{PASSWORD}\n")


def ask(folder: Path, what: Callable[[Identity], Any], **options: Any) -> Any:
    """Asks the database that the commands wrote to."""

    async def work() -> Any:
        identity = Identity(config(f"sqlite:///{folder}/.wireloom/wireloom.db", **options))
        await identity.start()
        try:
            return await what(identity)
        finally:
            await identity.stop()

    return asyncio.run(work())


def test_a_user_is_added(wireloom: Wireloom, tmp_path: Path, bob: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    make_passwords_cheap(monkeypatch)
    assert (bob.returncode, bob.stderr) == (0, "")
    for name in ("bob", "bob@b.de"):
        user: User = ask(tmp_path, lambda identity, name=name: identity.login(name, PASSWORD)).user
        assert bob.stdout == f"added Bob, user id {user.user_id}, root id {user.root_id}\n"
        assert user.role == "user"


def test_users_are_listed(wireloom: Wireloom, bob: Any) -> None:
    wireloom("user", "add", "[red]ann", "--role", "admin", "--password-stdin", stdin=PASSWORD)
    rows = json.loads(wireloom("user", "list", "--json").stdout)
    assert [(row["username"], row["role"]) for row in rows] == [("Bob", "user"), ("[red]ann", "admin")]
    lines = wireloom("user", "list").stdout.splitlines()
    assert lines[0].split() == ["username", "role", "user", "id", "root", "id", "created", "at"]
    assert [line.split() for line in lines[1:]] == [list(row.values()) for row in rows]


def test_a_password_is_set_and_tokens_end(
    wireloom: Wireloom, tmp_path: Path, bob: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_passwords_cheap(monkeypatch)
    token = wireloom("token", "bob").stdout.strip()
    assert ask(tmp_path, lambda identity: identity.authenticate(token)).username == "Bob"
    done = wireloom("user", "password", "bob", "--password-stdin", stdin="another password\r\n")
    assert (done.returncode, done.stdout) == (0, "changed the password of bob; its tokens have ended\n")
    assert ask(tmp_path, lambda identity: identity.login("bob", "another password"))
    with pytest.raises(Exception, match="Token revoked"):
        ask(tmp_path, lambda identity: identity.authenticate(token))


def test_a_user_is_removed_once_one_is_sure(wireloom: Wireloom, bob: Any) -> None:
    doubtful = wireloom("user", "remove", "bob", stdin="n\n")
    assert (doubtful.returncode, doubtful.stdout) == (130, "")
    assert len(json.loads(wireloom("user", "list", "--json").stdout)) == 1
    assert wireloom("user", "remove", "bob", "--yes").stdout == "removed bob\n"
    assert wireloom("user", "list", "--json").stdout == "[]\n"


def test_a_token_is_all_that_is_printed(wireloom: Wireloom, tmp_path: Path, bob: Any) -> None:
    done = wireloom("token", "bob@b.de", "--lifetime", "60", WIRELOOM_TOKEN_SECRET="s" * 32)
    assert (done.returncode, done.stderr) == (0, "")
    user = ask(tmp_path, lambda identity: identity.authenticate(done.stdout.strip()), token_secret="s" * 32)
    default = wireloom("token", "bob").stdout.strip()
    assert user.expires_at < ask(tmp_path, lambda identity: identity.authenticate(default)).expires_at
    assert wireloom("token", "bob", "--lifetime", "0").returncode == 2


def test_keys_are_made_listed_and_revoked(wireloom: Wireloom, tmp_path: Path, bob: Any) -> None:
    options = ("--expiry-days", "3", "--walker", "A", "--walker", "B", "--legacy-signature")
    made = json.loads(wireloom("key", "create", "bob", "ci", *options).stdout)
    plain = json.loads(wireloom("key", "create", "bob", "other").stdout)
    key: ApiKey = ask(tmp_path, lambda identity: identity.check_api_key(made["api_key"]))
    assert (key.key_id, key.signing_secret) == (made["api_key_id"], made["signing_secret"])
    assert (key.name, key.allowed_walkers, key.legacy_signature) == ("ci", ("A", "B"), True)
    for arguments in ((), ("bob",)):
        rows = json.loads(wireloom("key", "list", *arguments, "--json").stdout)
        assert [(row["api_key_id"], row["walkers"]) for row in rows] == [
            (made["api_key_id"], ["A", "B"]),
            (plain["api_key_id"], None),
        ]
    table = wireloom("key", "list").stdout
    assert "A B" in table and made["api_key"] not in table and made["signing_secret"] not in table
    assert wireloom("key", "revoke", made["api_key_id"]).stdout == f"revoked {made['api_key_id']}\n"
    assert [row["name"] for row in json.loads(wireloom("key", "list", "--json").stdout)] == ["other"]


@pytest.mark.parametrize(
    ("arguments", "stdin", "message"),
    [
        (("user", "add", "BOB", "--password-stdin"), PASSWORD, "This username or e-mail address is taken"),
        (("user", "add", "new", "--password-stdin"), "short", "password must have at least 8 characters"),
        (("user", "add", "new", "--password-stdin"), "", "password must not be empty"),
        (("user", "add", " ", "--password-stdin"), PASSWORD, "username must not be empty"),
        (("user", "add", "new", "--email", "x", "--password-stdin"), PASSWORD, "email must be an e-mail address"),
        (("user", "password", "eve", "--password-stdin"), PASSWORD, "There is no user 'eve'"),
        (("user", "remove", "eve", "--yes"), "", "There is no user 'eve'"),
        (("token", "eve"), "", "There is no user 'eve'"),
        (("key", "create", "eve", "ci"), "", "There is no user 'eve'"),
        (("key", "list", "eve"), "", "There is no user 'eve'"),
        (("key", "revoke", "nothing"), "", "There is no such API key"),
        (("key", "create", "bob", "ci", "--expiry-days", "0"), "", "expiry_days must be 1 to 36500"),
        (("user", "list", "--database", "mysql://u:hunter2@h/n"), "", "database must be sqlite:///FILE, sqlite:// or"),
        (
            ("user", "list", "--database", "postgresql://u:hunter2@127.0.0.1:1/n"),
            "",
            "cannot open the PostgreSQL database n on 127.0.0.1:1: ",
        ),
    ],
)
def test_mistakes_are_told_in_a_line(
    wireloom: Wireloom, bob: Any, arguments: tuple[str, ...], stdin: str, message: str
) -> None:
    done = wireloom(*arguments, stdin=stdin)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(message) and done.stderr.count("\n") == 1
    assert "hunter2" not in done.stderr


def test_without_a_terminal_the_other_way_to_give_a_password_is_told(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM, "user", "add", "bob"],
        cwd=tmp_path,
        env=environment(),
        input=f"{PASSWORD}\n{PASSWORD}\n",
        capture_output=True,
        encoding="utf-8",
        timeout=30,
        start_new_session=True,  # without the terminal that the tests may have
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [
        "There is no terminal to ask for the password; give it by --password-stdin.",
        "Try 'wireloom user add --help'.",
    ]


def test_another_database(wireloom: Wireloom, tmp_path: Path, bob: Any) -> None:
    url = f"sqlite:///{tmp_path}/other.db"
    assert wireloom("user", "list", "--json", "--database", url).stdout == "[]\n"
    assert wireloom("user", "list", "--json", WIRELOOM_DATABASE=url).stdout == "[]\n"
    (tmp_path / "mine.toml").write_text(f"database = '{url}'\n")
    assert wireloom("user", "list", "--json", "--config", "mine.toml").stdout == "[]\n"
    assert len(json.loads(wireloom("user", "list", "--json").stdout)) == 1


def test_an_external_issuer_gives_the_tokens(wireloom: Wireloom, bob: Any) -> None:
    issuer = {"WIRELOOM_TOKEN_JWKS_URL": "https://i.invalid/jwks", "WIRELOOM_TOKEN_ISSUER": "https://i.invalid"}
    done = wireloom("token", "bob", **issuer)
    assert (done.returncode, done.stderr) == (1, "Users log in with the issuer of their tokens, not here\n")


def test_a_password_is_asked_for_twice_and_never_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_passwords_cheap(monkeypatch)
    monkeypatch.chdir(tmp_path)
    typed = f"{PASSWORD}\nsomething else\n{PASSWORD}\n{PASSWORD}\n"
    done = CliRunner().invoke(accounts.user, ["add", "bob"], input=typed)
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("added bob")
    assert "do not match" in done.stderr and PASSWORD not in done.output
    # and cannot be put where other users of the machine see it
    options = [option.name for option in accounts.add_user.params if isinstance(option, click.Option)]
    assert "password" not in options
