"""Report: problems of route files, each with its place and the line that it is about. Law: all are told at once."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from wireloom.errors import ConfigError, ConfigErrors

__all__ = ["MAX_PROBLEMS", "Enough", "Problem", "RoutesInvalid", "Spot"]

MAX_PROBLEMS = 100  # of one file; more would help nobody
_MAX_EXCERPT = 160  # characters of a line that are shown
_MAX_MESSAGE = 500  # characters


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
        shown = "".join(map(_printable, self.text[cut : cut + _MAX_EXCERPT]))
        begin = self.column - 1 - cut
        blanks, carets = _columns(shown[:begin]), _columns(shown[begin : begin + self.length])
        number = f"{self.line:>5} | "
        return f"{number}{shown.rstrip()}\n{' ' * (len(number) - 2)}| {' ' * blanks}{'^' * max(carets, 1)}"


def _printable(character: str) -> str:
    """A character as it is shown: nothing that could move the cursor or speak to a terminal."""
    return character if character.isprintable() else " " if character.isspace() else "\ufffd"


def _columns(text: str) -> int:
    """How many columns a text takes in a terminal."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + wide - sum(unicodedata.combining(character) > 0 for character in text)


class Enough(Exception):
    """So much is wrong that the rest can wait."""


class Problem(ConfigError):
    """One problem of a route file.

    Args:
        spot: where it is.
        message: what is wrong, what is expected, and the nearest valid name.
        where: route, hook and operation, such as ``route 'Chat', on_message[1].then[0]``.
    """

    def __init__(self, spot: Spot, message: str, where: str = "") -> None:
        if len(message) > _MAX_MESSAGE:
            message = f"{message[:_MAX_MESSAGE]}…"
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
