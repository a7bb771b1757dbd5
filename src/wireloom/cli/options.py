"""Options: every declared option of `wireloom.config` as a command-line flag; none is written here."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import click

from wireloom.config import Option, grouped_options

__all__ = ["EPILOG", "GroupedCommand", "config_option", "given", "server_options", "store_options", "targets_argument"]

F = TypeVar("F", bound=Callable[..., Any])

EPILOG = (
    "Every option is also a variable, such as WIRELOOM_PORT, and a key of wireloom.toml. "
    "A flag wins over the variable, that over the file."
)


_TERM_COLUMNS = 30  # flags that need more stand on a line of their own


class _Flag(click.Option):
    """A flag for a declared option."""

    def __init__(self, *names: Any, group: str, **settings: Any) -> None:
        super().__init__(*names, **settings)
        self.group = group

    def get_help_record(self, context: click.Context) -> tuple[str, str] | None:
        """Both flags of what is on or off in one word."""
        record = super().get_help_record(context)
        if record is None or not self.secondary_opts:
            return record
        return f"--[no-]{self.opts[0].removeprefix('--')}", record[1]


class GroupedCommand(click.Command):
    """A command whose help tells its options by group."""

    def format_options(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """All sections, aligned."""
        groups: dict[str, list[tuple[str, str]]] = {"Options": [], **{group: [] for group in grouped_options()}}
        for parameter in self.get_params(context):
            record = parameter.get_help_record(context) if isinstance(parameter, click.Option) else None
            if record is not None:
                groups[getattr(parameter, "group", "Options")].append(record)
        for group, records in groups.items():
            if records:
                with formatter.section(group):
                    formatter.write_dl([(term.ljust(_TERM_COLUMNS), told) for term, told in records], _TERM_COLUMNS)


targets_argument = click.argument("targets", nargs=-1, required=True, metavar="TARGET...")

config_option = click.option(
    "--config", "config_file", metavar="FILE", help="options in TOML  [default: wireloom.toml, if it exists]"
)


def server_options(command: F) -> F:
    """Adds ``--config`` and a flag for every declared option to a command; `given` reads them."""
    for option in reversed([option for group in grouped_options().values() for option in group]):
        command = _flag(option)(command)
    return config_option(command)


def store_options(command: F) -> F:
    """Adds the options that say where users are kept."""
    database = click.option("--database", metavar="URL", help="where users are kept  [default: the configuration's]")
    return config_option(database(command))


def given(flags: dict[str, Any]) -> dict[str, Any]:
    """The flags that were given, by option name."""
    return {name: value for name, value in flags.items() if value is not None and value != ()}


def _flag(option: Option) -> Callable[[F], F]:
    wanted = option.type
    if get_origin(wanted) in (types.UnionType, Union):
        wanted = next(arm for arm in get_args(wanted) if arm is not type(None))
    names = [option.flag, option.name]
    settings: dict[str, Any] = {"default": None, "help": _help(option)}
    if wanted is bool:
        names[0] = f"{option.flag}/--no-{option.flag[2:]}"
    elif get_origin(wanted) is tuple:
        settings |= {"multiple": True, "metavar": "TEXT", "help": f"{settings['help']}; may be repeated"}
    elif get_origin(wanted) is Literal:
        settings |= {"type": click.Choice(get_args(wanted))}
    elif wanted in (int, float):
        settings |= {"callback": _number(wanted), "metavar": "N"}
    else:
        settings |= {"metavar": "TEXT"}
    return click.option(*names, cls=_Flag, group=option.group, **settings)


def _help(option: Option) -> str:
    if option.default is None or isinstance(option.default, tuple):
        return option.help
    shown: Any = option.default
    if isinstance(shown, bool):
        shown = "on" if shown else "off"
    elif isinstance(shown, float):
        shown = f"{shown:g}"
    return f"{option.help}  [default: {shown}]"


def _number(
    kind: type[int] | type[float],
) -> Callable[[click.Context, click.Parameter, str | None], int | float | None]:
    """Reads a number of 0 or more; another text is a mistake of the command line."""

    def convert(context: click.Context, parameter: click.Parameter, value: str | None) -> int | float | None:
        try:
            number = None if value is None else kind(value)
        except ValueError:
            number = -1
        if number is not None and not number >= 0:
            raise click.BadParameter(f"{value!r} is not a {'whole ' if kind is int else ''}number of 0 or more.")
        return number

    return convert
