"""What stands against a start is told in a line or two: what happened, where, and what to do."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from wireloom.config import Config
from wireloom.net.server import _bind_error

from .processes import Run

USERS = """\
from wireloom import App

app = App()
app.events()
"""

LIFESPAN = """\
from contextlib import asynccontextmanager

from wireloom import App


def connect():
    raise ValueError("no database")


@asynccontextmanager
async def lifespan(app):
    connect()
    yield


app = App(lifespan=lifespan)
"""

REPAIR = "; start its server, or correct the URL"
AT_START = [
    (
        ["--backplane", "redis://:hunter2@127.0.0.1:1"],
        "the backplane redis://",
        REPAIR,
    ),
    (
        ["--backplane", "nats://u:hunter2@127.0.0.1:1"],
        "the backplane nats://",
        REPAIR,
    ),
    (["--backplane", "hunter2"], "the backplane is no URL; write memory, redis://", ""),
    (["--backplane", "redi://x:hunter2@y"], "unknown backplane redi://; did you mean 'redis://'?", ""),
    (
        ["--database", "postgresql://u:hunter2@127.0.0.1:1/shop"],
        "cannot open the PostgreSQL database shop on 127.0.0.1:1: ",
        "",
    ),
    (["--database", "mysql://u:hunter2@h/n"], "database must be sqlite:///FILE, sqlite:// or postgresql://", ""),
    (["--database", "sqlite:///folder"], "cannot open the SQLite file folder: Is a directory", ""),
    (["--database", "sqlite:////proc/none/x.db"], "cannot open the SQLite file /proc/none/x.db: ", ""),
    (["--database", "sqlite:///users.py"], "cannot open the SQLite file users.py: file is not a database", ""),
    (["--token-secret", "hunter2"], "token_secret must have 32 bytes or more", ""),
    (["--token-algorithm", "ES256"], "token_algorithm ES256 needs token_private_keyfile", ""),
    (["--host", "192.0.2.1"], "192.0.2.1 is no address of this machine; choose another with --host", ""),
    (["--host", "no.such.host.invalid"], "there is no host 'no.such.host.invalid' to listen on; see --host", ""),
]


@pytest.fixture
def users(directory: Path) -> Path:
    """A directory with an application that has users."""
    (directory / "users.py").write_text(USERS)
    (directory / "folder").mkdir()
    return directory


@pytest.mark.parametrize(("options", "begin", "end"), AT_START, ids=lambda value: " ".join(value)[:40])
def test_a_start_that_fails_is_one_line(run: Run, users: Path, options: list[str], begin: str, end: str) -> None:
    result = run("serve", "users.py", "--port", "0", *options)
    assert (result.returncode, result.stdout) == (1, ""), result.stderr
    assert result.stderr.startswith(begin) and result.stderr.endswith(f"{end}\n") and result.stderr.count("\n") == 1
    assert "hunter2" not in result.stderr


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_lifespan_that_fails_has_its_place(run: Run, directory: Path, workers: str) -> None:
    (directory / "main.py").write_text(LIFESPAN)
    result = run("serve", "main.py", "--port", "0", "--workers", workers, "--backplane", "memory")
    assert (result.returncode, result.stdout) == (1, "")
    lines = [line for line in result.stderr.splitlines() if not line.startswith("warning: 2 workers")]
    assert lines == ["main.py:7: ValueError: no database"]


def test_development_mode_shows_where_a_lifespan_fails(run: Run, directory: Path) -> None:
    (directory / "main.py").write_text(LIFESPAN)
    result = run("serve", "main.py", "--port", "0", "--dev")
    assert result.returncode == 1
    assert f'File "{directory}/main.py", line 12, in lifespan' in result.stderr
    assert result.stderr.splitlines()[-1] == "main.py:7: ValueError: no database"


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("walkers.jac", "'walkers.jac' is a Jac program, and Wireloom serves Python: write its walkers as classes of"),
        ("nowhere/", "there is no file or folder 'nowhere/'"),
        ("folder", "there is no .yaml, .yml or .json file in the folder 'folder'\n"),
        ("code", "there is no .yaml, .yml or .json file in the folder 'code'; to serve Python, name its file, such as"),
        ("notes.txt", "'notes.txt' is neither a .py file, a module, nor a file or folder of routes"),
        ("users.py:ap", "users.py has no 'ap'; did you mean 'app'?"),
        ("users:app.x", "users has no 'app.x'"),
        ("user", "there is no module 'user'; did you mean 'users'?"),
        (
            "asgi.py:site",
            "asgi.py:site is neither an App nor a declaration, but of type function; an ASGI server, such as",
        ),
        ("asgi.py:number", "asgi.py:number is neither an App nor a declaration, but of type int\n"),
    ],
)
def test_a_target_that_is_none(run: Run, users: Path, target: str, message: str) -> None:
    (users / "notes.txt").write_text("x")
    (users / "code").mkdir()
    (users / "code" / "main.py").write_text("x = 1\n")
    (users / "asgi.py").write_text("async def site(scope, receive, send): ...\n\n\nnumber = 1\n")
    for command in ("serve", "check"):
        result = run(command, target)
        assert (result.returncode, result.stdout) == (1, "")
        assert result.stderr.startswith(message) and result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("port = \n", "wireloom.toml:1:8: not valid TOML: Invalid value"),
        ("[server]\nport = 1\n", "wireloom.toml:1: unknown option 'server'; options are in no table"),
        ("\nworkers = 0\n", "wireloom.toml:2: workers must be from 1 to 1024, not 0"),
        ("log_level = 'loud'\n", "wireloom.toml:1: log_level must be one of debug, info, warning, error, not 'loud'"),
    ],
)
def test_a_configuration_that_cannot_be(run: Run, directory: Path, text: str, message: str) -> None:
    (directory / "wireloom.toml").write_text(text)
    for command in ("serve", "check"):
        result = run(command, "chat.py")
        assert (result.returncode, result.stdout) == (1, "")
        assert result.stderr.startswith(message) and result.stderr.count("\n") == 1


WRONG = """\
prot = 1
host = 5
backplane_prefx = "x"
compression_level = 12
metrics_allow = ["10.0.0.0/8", "nowhere"]
dev = "perhaps"

[limits]
max_channels = 1
"""


@pytest.mark.parametrize("command", ["serve", "check"])
def test_all_wrong_options_of_all_sources_are_told(run: Run, directory: Path, command: str) -> None:
    (directory / "wireloom.toml").write_text(WRONG)
    result = run(command, "chat.py", WIRELOOM_PROT="1", WIRELOOM_WORKERS="0", WIRELOOM_PORT="8000")
    assert (result.returncode, result.stdout) == (1, "")
    lines = result.stderr.splitlines()
    assert lines[:7] == [
        "wireloom.toml:1: unknown option 'prot'; did you mean 'port'?",
        "wireloom.toml:2: host must be text, not 5",
        "wireloom.toml:3: unknown option 'backplane_prefx'; did you mean 'backplane_prefix'?",
        "wireloom.toml:4: compression_level must be from 1 to 9, not 12",
        "wireloom.toml:5: metrics_allow must be addresses, networks or *, and 'nowhere' is none, not"
        " ['10.0.0.0/8', 'nowhere']",
        "wireloom.toml:6: dev must be true or false, not 'perhaps'",
        "wireloom.toml:8: unknown option 'limits'; options are in no table, write them without",
    ]
    assert sorted(lines[7:]) == [
        "WIRELOOM_PROT: unknown option; did you mean 'WIRELOOM_PORT'?",
        "WIRELOOM_WORKERS: workers must be from 1 to 1024, not '0'",
    ]


def test_a_wrong_value_of_a_secret_is_not_shown(run: Run, directory: Path) -> None:
    (directory / "wireloom.toml").write_text('token_secret = 4711\ndatabase = ["postgresql://u:4711@h/n"]\n')
    assert run("check", "chat.py").stderr.splitlines() == [
        "wireloom.toml:1: token_secret must be text, not of the type int",
        "wireloom.toml:2: database must be text, not of the type list",
    ]


def test_wrong_flags_are_told_with_the_others(run: Run, directory: Path) -> None:
    (directory / "wireloom.toml").write_text("prot = 1\n")
    result = run("serve", "chat.py", "--port", "65536", "--workers", "0")
    assert (result.returncode, result.stderr.splitlines()) == (
        1,
        [
            "wireloom.toml:1: unknown option 'prot'; did you mean 'port'?",
            "--port: port must be from 0 to 65535, not 65536",
            "--workers: workers must be from 1 to 1024, not 0",
        ],
    )


def test_all_wrong_options_of_an_app_are_told_with_their_place(run: Run, directory: Path) -> None:
    (directory / "main.py").write_text("from wireloom import App\n\napp = App(prot=1, host=5)\n")
    for command in ("serve", "check"):
        assert run(command, "main.py").stderr.splitlines() == [
            "main.py:3: App has no option 'prot'; did you mean 'port'?",
            "main.py:3: host must be text, not 5",
        ]


def test_a_port_for_administrators() -> None:
    """Where such ports are depends on the machine, so the system's word is given here."""
    told = _bind_error(PermissionError(errno.EACCES, ""), Config(port=80), flags=True).message
    assert told == "port 80 is for administrators; choose one above 1023 with --port"
