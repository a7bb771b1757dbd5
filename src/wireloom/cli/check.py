"""``wireloom check``: everything is loaded, nothing is started, all that is wrong is said."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import click

from wireloom.cli.options import config_option, targets_argument
from wireloom.cli.output import explain, plural, relative

if TYPE_CHECKING:
    from wireloom import App
    from wireloom.cli.target import Assembly
    from wireloom.config import Config
    from wireloom.errors import ConfigError

__all__ = ["check"]


@click.command()
@targets_argument
@click.option("--json", "as_json", is_flag=True, help="a JSON object: endpoints, problems and notes")
@config_option
@click.pass_context
def check(context: click.Context, /, targets: tuple[str, ...], as_json: bool, config_file: str | None) -> None:
    """Loads TARGETs and says all that is wrong.

    Their configuration is looked at too. Nothing is started. The exit code is 1 when something is wrong.
    """
    from wireloom.cli.target import assemble
    from wireloom.config import load_config
    from wireloom.errors import ConfigError

    assembly = assemble(targets)
    try:
        config = load_config(file=config_file, base=assembly.app.config)
    except ConfigError as error:
        assembly.problems += error.problems
    else:
        assembly.problems += _problems(assembly.app, config)
    (_tell_as_json if as_json else _tell)(assembly)
    if assembly.problems:
        context.exit(1)


def _tell(assembly: Assembly) -> None:
    """Notes and problems go to stderr, a line each."""
    for note in assembly.notes:
        click.echo(f"note: {relative(note)}", err=True)
    for problem in assembly.problems:
        click.echo(explain(problem), err=True)
    if not assembly.problems:
        click.echo(f"ok: {plural(len(assembly.app.describe()), 'endpoint')}")


def _tell_as_json(assembly: Assembly) -> None:
    """All of it goes to stdout, for programs."""
    problems = [{"source": relative(each.source), "message": each.message} for each in assembly.problems]
    told = {
        "endpoints": len(assembly.app.describe()),
        "problems": problems,
        "notes": [relative(note) for note in assembly.notes],
    }
    click.echo(json.dumps(told, indent=2, ensure_ascii=False))


def _problems(app: App, config: Config) -> Iterator[ConfigError]:
    """What in the options stands against a start, as far as nothing has to be opened or connected to know it."""
    from wireloom.database.database import Database
    from wireloom.errors import ConfigError
    from wireloom.identity.issuer import Issuer
    from wireloom.identity.signing import MIN_SECRET_BYTES, Signing
    from wireloom.net.server import check_tls

    looks: tuple[Callable[[], object], ...] = (
        lambda: check_tls(config),
        lambda: app.configure(config),  # backplane, tracing, stores of routes
        lambda: Database(config.database),
        lambda: Signing(config, "-" * MIN_SECRET_BYTES),
        lambda: config.token_jwks_url is None or Issuer(config),
    )
    for look in looks:
        try:
            look()
        except ConfigError as error:
            yield error
