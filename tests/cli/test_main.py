"""The command itself: help, version, mistakes."""

from __future__ import annotations

from wireloom import __version__

from .processes import Run


def test_help_names_the_commands(run: Run) -> None:
    result = run()
    assert result.returncode == 0
    listed = result.stdout.partition("Commands:\n")[2].partition("\n\n")[0]
    commands = [line.split()[0] for line in listed.splitlines()]
    assert commands == [
        *("demo", "serve", "check", "routes", "connect", "client"),
        *("openapi", "asyncapi", "user", "key", "token", "db"),
    ]
    assert run("--help").stdout == result.stdout


def test_version(run: Run) -> None:
    assert run("--version").stdout == f"Wireloom {__version__}\n"


def test_an_unknown_command_names_the_nearest(run: Run) -> None:
    result = run("sevre")
    assert (result.returncode, result.stdout) == (2, "")
    assert "'sevre'" in result.stderr and "'serve'" in result.stderr
    assert result.stderr.splitlines()[1:] == ["Try 'wireloom --help'."]


def test_completion(run: Run) -> None:
    script = run(_WIRELOOM_COMPLETE="bash_source").stdout
    assert "complete " in script and "_WIRELOOM_COMPLETE=bash_complete" in script
    words = {"COMP_WORDS": "wireloom serve --ssl-k", "COMP_CWORD": "2"}
    assert run(_WIRELOOM_COMPLETE="bash_complete", **words).stdout == "plain,--ssl-keyfile\n"


def test_help_fits_a_terminal(run: Run) -> None:
    for command in ([], ["serve"], ["connect"], ["user", "add"]):
        assert max(map(len, run(*command, "--help").stdout.splitlines())) <= 100


def test_help_says_what_is_on_and_what_is_off(run: Run) -> None:
    said = " ".join(run("serve", "--help").stdout.split())
    options = {
        name: said.partition(f"--[no-]{name} ")[2].partition("[default: ")[2][:3] for name in ("docs", "compression")
    }
    assert options == {"docs": "on]", "compression": "off"}


def test_output_survives_a_narrow_encoding(run: Run) -> None:
    result = run("check", "ŵ.py", PYTHONIOENCODING="latin-1")
    assert (result.returncode, result.stderr) == (1, "there is no file '?.py'\n")
