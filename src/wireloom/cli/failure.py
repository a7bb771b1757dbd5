"""Failure: what came of an application's start or end, as people are told it: a line or two, the place first."""

from __future__ import annotations

import asyncio
import logging
import traceback
from typing import Any, NamedTuple

from wireloom.cli.logs import say
from wireloom.cli.output import explain, relative
from wireloom.cli.target import failed, find_own
from wireloom.errors import ConfigError
from wireloom.net.server import INTERRUPTED

__all__ = ["Failure", "describe_failure", "describe_interruption", "tell_problems"]


class Failure(NamedTuple):
    """Plain values, as they go from a worker to its supervisor.

    Args:
        lines: what people are told.
        source: ``file:line``, where it is known.
        traceback: of the user's own code; told in development mode only.
        interrupted: it was not let start; nothing is wrong with it.
    """

    lines: tuple[str, ...]
    source: str = ""
    traceback: str = ""
    interrupted: bool = False

    def tell(self) -> None:
        """Tells it."""
        level = logging.INFO if self.interrupted else logging.ERROR
        _tell("\n".join(self.lines), self.source, self.traceback, level)


def describe_failure(text: str, error: BaseException | None, *, dev: bool, interrupted: bool, served: bool) -> Failure:
    """What to tell of an application.

    Args:
        text: what happened to it.
        error: what it raised; a `CancelledError` was ours, and says where it was.
        dev: whether a traceback is wanted.
        interrupted: whether it was not let start.
        served: whether it has served; what ends a start needs no further words.
    """
    if error is None:
        return Failure((_sentence(text),), interrupted=interrupted)
    problem = error if isinstance(error, ConfigError) else failed(error)
    if isinstance(error, asyncio.CancelledError):
        line = f"{relative(problem.source)}: {text}" if problem.source else _sentence(text)
        return Failure((line,), problem.source, interrupted=interrupted)
    trace = getattr(problem, "traceback", "") if dev else ""
    more = (_sentence(text),) if served or interrupted else ()
    return Failure((explain(problem), *more), problem.source, trace, interrupted)


def describe_interruption(stack: traceback.StackSummary) -> Failure:
    """What to tell of a start that holds up the event loop, when it is interrupted.

    Args:
        stack: where it is.
    """
    own = find_own(stack)
    place = f"{own.filename}:{own.lineno}" if own is not None else ""
    line = f"{relative(place)}: {INTERRUPTED}" if place else _sentence(INTERRUPTED)
    return Failure((line,), place, interrupted=True)


def tell_problems(error: ConfigError, *, dev: bool = False) -> None:
    """Tells why nothing is started: a line for each mistake."""
    for problem in error.problems:
        _tell(explain(problem), problem.source, getattr(problem, "traceback", "") if dev else "", logging.ERROR)


def _tell(text: str, source: str, trace: str, level: int) -> None:
    fields: dict[str, Any] = {"source": relative(source)} if source else {}
    say(text, level, traceback=trace, **fields)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
