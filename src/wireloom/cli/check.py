"""``wireloom check``: everything is loaded, nothing is started, all that is wrong is said."""

from __future__ import annotations

import click

from wireloom.cli.options import config_option, targets_argument
from wireloom.cli.output import explain, plural, relative

__all__ = ["check"]


@click.command()
@targets_argument
@config_option
@click.pass_context
def check(context: click.Context, /, targets: tuple[str, ...], config_file: str | None) -> None:
    """Loads TARGETs and says all that is wrong.

    Their configuration is looked at too. Nothing is started.
    """
    from wireloom.cli.target import assemble
    from wireloom.config import load_config
    from wireloom.errors import ConfigError
    from wireloom.net.server import check_tls

    assembly = assemble(targets)
    try:
        check_tls(load_config(file=config_file, base=assembly.app.config))
    except ConfigError as error:
        assembly.problems.append(error)
    for note in assembly.notes:
        click.echo(f"note: {relative(note)}", err=True)
    for problem in assembly.problems:
        click.echo(explain(problem), err=True)
    if assembly.problems:
        context.exit(1)
    click.echo(f"ok: {plural(len(assembly.app.describe()), 'endpoint')}")
