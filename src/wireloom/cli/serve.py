"""``wireloom serve`` and ``wireloom demo``: from targets and flags to a running server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from wireloom.cli.options import EPILOG, given, server_options, targets_argument
from wireloom.cli.output import relative

__all__ = ["demo", "serve"]


@click.command(epilog=EPILOG)
@targets_argument
@server_options
@click.pass_context
def serve(context: click.Context, /, targets: tuple[str, ...], config_file: str | None, **flags: Any) -> None:
    """Serves TARGETs on one port.

    A TARGET is a .py file or a module, with :NAME behind it where it has several Apps, or a file or folder of
    declarative routes. Without an App, the handlers and walkers that it declares are served.
    """
    context.exit(_serve(targets, config_file, given(flags)))


@click.command(epilog=EPILOG)
@server_options
@click.pass_context
def demo(context: click.Context, /, config_file: str | None, **flags: Any) -> None:
    """Serves a chat page, ready to click."""
    targets = (str(Path(__file__).parent / "demo" / "app.py"),)
    hint = "Open {url} in two windows and say something"
    context.exit(_serve(targets, config_file, given(flags), hint, development=True))


def _serve(
    targets: tuple[str, ...], config_file: str | None, flags: dict[str, Any], hint: str = "", development: bool = False
) -> int:
    """Runs until it is told to stop; gives the exit code."""
    from wireloom.cli.logs import configure_logging, say
    from wireloom.cli.run import run
    from wireloom.cli.target import ImportFailed, load_app
    from wireloom.config import guard_hosts, load_config
    from wireloom.net.server import bind, check_tls, url_of

    early = load_config(flags, file=config_file)
    try:
        assembly = load_app(targets)
    except ImportFailed as error:
        if early.dev:
            click.echo(error.traceback, err=True)
        raise
    config = guard_hosts(load_config(flags, file=config_file, base=assembly.app.config), development=development)
    check_tls(config, flags=True)
    reloader = _make_reloader(assembly, targets, config)
    configure_logging(config)
    assembly.app.configure(config)
    sockets = bind(config, flags=True)
    for note in assembly.notes:
        say(f"note: {relative(note)}")
    lines = [_start_line(assembly.app, url_of(config, sockets)), hint.format(url=url_of(config, sockets))]
    return run(assembly.app, config, targets, sockets, "\n".join(filter(None, lines)), reloader)


def _make_reloader(assembly: Any, targets: tuple[str, ...], config: Any) -> Any:
    if not config.reload:
        return None
    from wireloom.cli.reload import Reloader

    return Reloader(assembly, targets, config)


def _start_line(app: Any, url: str) -> str:
    from wireloom import __version__
    from wireloom.cli.output import plural

    count = plural(len(app.describe()), "endpoint")
    return f"Wireloom {__version__} · {url} · ws{url.removeprefix('http')} · {count} · Ctrl-C stops"
