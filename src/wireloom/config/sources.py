"""Sources: the options in force, from file, environment, flags and code, and all that is wrong with them."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from wireloom.config.declared import Config, Option, options
from wireloom.config.fit import fit
from wireloom.errors import ConfigError, ConfigErrors, did_you_mean

__all__ = ["choose_options", "load_config"]


def load_config(
    flags: Mapping[str, Any] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    file: str | os.PathLike[str] | None = None,
    base: Config | None = None,
) -> Config:
    """The configuration in force: flags over environment over file over defaults.

    Args:
        flags: options given on the command line; None values count as not given.
        environ: the environment; by default the process's.
        file: a ``wireloom.toml``; by default the one in the current directory, if it exists.
        base: what the application itself asked for; stands in for the defaults.

    Raises:
        ConfigError: all unknown keys, each with the nearest known one, and values that do not fit, with their places.
    """
    known = {option.name: option for option in options()}
    given = _Given(known)
    path = Path(file) if file is not None else Path("wireloom.toml")
    if file is not None or path.is_file():
        given.take_file(path)
    given.take_environment(os.environ if environ is None else environ)
    for name, value in (flags or {}).items():
        if name not in known:
            given.refuse(f"unknown option {name!r}{did_you_mean(name, known)}", "")
        elif value is not None:
            given.take(known[name], value, known[name].flag)
    return _apply(base or Config(), given.accepted(), known)


def choose_options(chosen: Mapping[str, Any], owner: str = "App") -> Config:
    """The configuration that an application asks for in code, over the defaults.

    Args:
        chosen: options by name.
        owner: the function that was given them, for errors.

    Raises:
        ConfigError: all unknown options, each with the nearest known one, and values that do not fit.
    """
    known = {option.name: option for option in options()}
    given = _Given(known)
    for name, value in chosen.items():
        if name in known:
            given.take(known[name], value, "")
        else:
            given.refuse(f"{owner} has no option {name!r}{did_you_mean(name, known)}", "")
    return _apply(Config(), given.accepted(), known)


def _apply(base: Config, values: Mapping[str, Any], known: Mapping[str, Option]) -> Config:
    limits = replace(base.limits, **{name: value for name, value in values.items() if known[name].of_limits})
    return replace(base, limits=limits, **{name: v for name, v in values.items() if not known[name].of_limits})


class _Given:
    """Values from one source after the other, a later one over an earlier, and all that is wrong with them.

    Args:
        known: the options by name.
    """

    def __init__(self, known: Mapping[str, Option]) -> None:
        self._known = known
        self._values: dict[str, Any] = {}
        self._problems: list[ConfigError] = []

    def accepted(self) -> dict[str, Any]:
        """The values.

        Raises:
            ConfigError: all that is wrong.
        """
        if len(self._problems) == 1:
            raise self._problems[0]
        if self._problems:
            raise ConfigErrors(self._problems)
        return self._values

    def take(self, option: Option, value: Any, place: str) -> None:
        """A value for an option."""
        try:
            self._values[option.name] = fit(option, value, place)
        except ConfigError as error:
            self._problems.append(error)

    def refuse(self, message: str, place: str) -> None:
        """Something that is for no option."""
        self._problems.append(ConfigError(message, place))

    def take_file(self, path: Path) -> None:
        """Values of a TOML file."""
        try:
            text = path.read_text(encoding="utf-8")
            table = tomllib.loads(text)
        except OSError as error:
            self.refuse(f"cannot read the configuration: {error.strerror}", str(path))
        except UnicodeDecodeError:
            self.refuse("not valid TOML: it is not UTF-8", str(path))
        except tomllib.TOMLDecodeError as error:
            what, place = _split_place(str(error))
            self.refuse(f"not valid TOML: {what}", f"{path}{place}")
        else:
            for key, value in table.items():
                self._take_key(key, value, f"{path}:{_line_of(text, key)}")

    def _take_key(self, key: str, value: Any, place: str) -> None:
        if key in self._known:
            self.take(self._known[key], value, place)
            return
        hint = "; options are in no table, write them without" if isinstance(value, dict) else ""
        self.refuse(f"unknown option {key!r}{did_you_mean(key, self._known) or hint}", place)

    def take_environment(self, environ: Mapping[str, str]) -> None:
        """Values of variables."""
        variables = {option.variable: option for option in self._known.values()}
        for name, value in environ.items():
            if name in variables:
                self.take(variables[name], value, name)
            elif name.startswith("WIRELOOM_"):
                self.refuse(f"unknown option{did_you_mean(name, variables)}", name)


def _split_place(message: str) -> tuple[str, str]:
    """What tomllib says, and ``:line:column``."""
    match = re.fullmatch(r"(.*) \(at line (\d+), column (\d+)\)", message)
    return (match[1], f":{match[2]}:{match[3]}") if match else (message, "")


def _line_of(text: str, key: str) -> int:
    place = re.compile(rf"\s*\[?\s*[\"']?{re.escape(key)}[\"']?\s*[=\].]")
    return next((number for number, line in enumerate(text.splitlines(), 1) if place.match(line)), 1)
