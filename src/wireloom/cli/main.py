"""The command ``wireloom``: its commands, and the one place where errors become lines and exit codes.

Law: 0 is success, 1 a failure told in a line or two, 2 a command line that makes no sense, 130 an interruption. No
traceback of ours is ever shown for a mistake of the user's.
"""

from __future__ import annotations

import sys
from typing import Any

import click

from wireloom import __version__
from wireloom.cli.accounts import key, token, user
from wireloom.cli.check import check
from wireloom.cli.client import client
from wireloom.cli.connect import connect
from wireloom.cli.database import db
from wireloom.cli.documents import asyncapi, openapi
from wireloom.cli.output import explain
from wireloom.cli.routes import routes
from wireloom.cli.serve import demo, serve
from wireloom.errors import ConfigError

__all__ = ["main"]


_EPILOG = """\
First steps: wireloom demo · wireloom serve app.py · wireloom connect ws://127.0.0.1:8000/chat/lobby

Completion in bash: eval "$(_WIRELOOM_COMPLETE=bash_source wireloom)"; in others, zsh_source or fish_source.
"""


class _Commands(click.Group):
    """Commands in the order in which people come to need them."""

    def list_commands(self, context: click.Context) -> list[str]:
        """Their names, as they were added."""
        return list(self.commands)


@click.group(
    cls=_Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=_EPILOG,
)
@click.version_option(__version__, message="Wireloom %(version)s")
@click.pass_context
def cli(context: click.Context) -> None:
    """Wireloom, a real-time application server for Python."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


for _command in (demo, serve, check, routes, connect, client, openapi, asyncapi, user, key, token, db):
    cli.add_command(_command)


def main() -> None:
    """The entry point; does not return."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without "·" is no reason to fail
    sys.exit(_run())


def _run() -> Any:
    """Runs a command and gives its exit code."""
    try:
        return cli.main(prog_name="wireloom", standalone_mode=False)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx is not None else "wireloom"
        return _fail(f"{error.format_message()}\nTry '{command} --help'.", 2)
    except click.ClickException as error:
        return _fail(error.format_message(), error.exit_code)
    except ConfigError as error:
        return _fail(explain(error))
    except OSError as error:
        return _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except (KeyboardInterrupt, click.Abort):
        return 130


def _fail(message: str, code: int = 1) -> int:
    click.echo(message, err=True)
    return code


if __name__ == "__main__":
    main()
