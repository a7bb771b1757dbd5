"""Report: problems of route files, each with its place and the line that it is about. Law: all are told at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from wireloom.errors import ConfigError, ConfigErrors

__all__ = ["Problem", "RoutesInvalid", "Spot"]

_MAX_EXCERPT = 160  # characters of a line that are shown


@dataclass(frozen=True, slots=True, order=True)
class Spot:
    """A place in a file.

    Args:
        file: its name.
        line: from 1.
        column: from 1.
        length: characters.
        text: the whole line; empty: there is nothing to show.
    """

    file: str
    line: int
    column: int
    length: int = 1
    text: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"

    def excerpt(self) -> str:
        """The line with carets under the place; empty where there is no line."""
        if not self.text.strip():
            return ""
        cut = max(self.column - 1 - _MAX_EXCERPT // 2, 0) if len(self.text) > _MAX_EXCERPT else 0
        shown = self.text[cut : cut + _MAX_EXCERPT].replace("\t", " ")
        begin = self.column - 1 - cut
        length = max(min(self.length, len(shown) - begin), 1)
        number = f"{self.line:>5} | "
        return f"{number}{shown}\n{' ' * (len(number) - 2)}| {' ' * begin}{'^' * length}"


class Problem(ConfigError):
    """One problem of a route file.

    Args:
        spot: where it is.
        message: what is wrong, what is expected, and the nearest valid name.
        where: route, hook and operation, such as ``route 'Chat', on_message[1].then[0]``.
    """

    def __init__(self, spot: Spot, message: str, where: str = "") -> None:
        text = f"{where}: {message}" if where else message
        excerpt = spot.excerpt()
        super().__init__(f"{text}\n{excerpt}" if excerpt else text, str(spot))
        self.spot = spot
        self.problem = message
        self.where = where


class RoutesInvalid(ConfigErrors):
    """All problems of a load; nothing of it is served.

    Args:
        problems: at least one.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        ordered: list[Problem] = sorted(problems, key=lambda problem: problem.spot)
        super().__init__(ordered)
