"""``wireloom serve`` and ``wireloom demo``: from targets and flags to a running server."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import click

from wireloom.cli.options import EPILOG, GroupedCommand, given, server_options, targets_argument
from wireloom.cli.output import relative

__all__ = ["demo", "serve"]


@click.command(cls=GroupedCommand, epilog=EPILOG)
@targets_argument
@server_options
@click.pass_context
def serve(context: click.Context, /, targets: tuple[str, ...], config_file: str | None, **flags: Any) -> None:
    """Serves TARGETs on one port.

    A TARGET is a .py file or a module, with :NAME behind it where it has several Apps, or a file or folder of
    declarative routes. Without an App, the handlers and walkers that it declares are served.
    """
    context.exit(_serve(targets, config_file, given(flags)))


@click.command(cls=GroupedCommand, epilog=EPILOG)
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
    from wireloom.cli.failure import tell_problems
    from wireloom.cli.logs import choose_format
    from wireloom.config import load_config
    from wireloom.errors import ConfigError

    dev = False
    choose_format(flags.get("log_format") or os.environ.get("WIRELOOM_LOG_FORMAT", "text"))
    try:
        early = load_config(flags, file=config_file)
        dev = early.dev
        choose_format(early.log_format)
        return _start(targets, config_file, flags, hint, development)
    except ConfigError as error:
        tell_problems(error, dev=dev)
        return 1


def _start(
    targets: tuple[str, ...], config_file: str | None, flags: dict[str, Any], hint: str, development: bool
) -> int:
    from wireloom.cli.logs import configure_logging, say
    from wireloom.cli.run import run
    from wireloom.cli.target import load_app
    from wireloom.config import guard_hosts, load_config
    from wireloom.net.server import bind, check_tls, url_of

    assembly = load_app(targets)
    config = guard_hosts(load_config(flags, file=config_file, base=assembly.app.config), development=development)
    check_tls(config, flags=True)
    reloader = _make_reloader(assembly, targets, config)
    configure_logging(config)
    assembly.app.configure(config)
    sockets = bind(config, flags=True)
    for note in assembly.notes:
        say(f"note: {relative(note)}")
    url = url_of(config, sockets)
    announce = partial(_announce, len(assembly.app.describe()), url, config, hint.format(url=url))
    return run(assembly.app, config, targets, sockets, announce, reloader)


def _make_reloader(assembly: Any, targets: tuple[str, ...], config: Any) -> Any:
    if not config.reload:
        return None
    from wireloom.cli.reload import Reloader

    return Reloader(assembly, targets, config)


def _announce(endpoints: int, url: str, config: Any, hint: str) -> None:
    """Says that connections are answered, and where."""
    from wireloom import __version__
    from wireloom.cli.logs import say
    from wireloom.cli.output import plural

    websocket_url = f"ws{url.removeprefix('http')}"
    workers = plural(config.workers, "worker") if config.workers > 1 else ""
    parts = (f"Wireloom {__version__}", url, websocket_url, plural(endpoints, "endpoint"), workers, "Ctrl-C stops")
    told = {"url": url, "websocket_url": websocket_url, "endpoints": endpoints, "workers": config.workers}
    line = " · ".join(filter(None, parts))
    say("\n".join(filter(None, (line, hint))), err=False, event="started", version=__version__, **told)
