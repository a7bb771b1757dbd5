"""Logs: standard logging, as lines on stderr, unless the application has set it up itself."""

from __future__ import annotations

import json
import logging
import reprlib
from datetime import UTC, datetime
from typing import Any

import click

from wireloom.config import Config
from wireloom.core.caller import current_caller

__all__ = ["JSONFormatter", "choose_format", "configure_logging", "say"]

# What every record has, or formatters and uvicorn put into it: all that is none of these came with `extra=`.
_STANDARD = frozenset((*vars(logging.makeLogRecord({})), "message", "asctime", "taskName", "color_message"))
_OWN = frozenset(("time", "level", "logger", "message", "process", "traceback", "stack"))

_is_json = False  # whether people are told in records too


class _Formatter(logging.Formatter):
    """``HH:MM:SS level logger: message``, and the traceback below it where there is one."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(level)s %(name)s: %(message)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        """One record as text."""
        record.level = record.levelname.lower()
        return super().format(record)


class JSONFormatter(logging.Formatter):
    """One JSON object a record, on one line: ``time``, ``level``, ``logger``, ``message`` and ``process``, what came
    with ``extra=``, such as ``error_id``, a ``traceback``, and of what is logged while a connection's message or hook
    is handled its ``endpoint`` and ``client_id``. What came with ``extra=`` by a name of the former, such as ``time``,
    is told as ``extra_time``.
    """

    def format(self, record: logging.LogRecord) -> str:
        """One record as a line."""
        told: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")[:-6] + "Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "process": record.process,
            **_whereabouts(),
            **_extra(record),
        }
        if record.exc_info and record.exc_info[0] is not None:
            told["traceback"] = self.formatException(record.exc_info)
        elif record.exc_text:
            told["traceback"] = record.exc_text
        if record.stack_info:
            told["stack"] = record.stack_info
        try:
            return json.dumps(told, default=str, skipkeys=True, allow_nan=False)
        except (ValueError, RecursionError):  # NaN, within itself, too deep: logging would drop the line
            return json.dumps({name: _plain(value) for name, value in told.items()})


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    """What came with ``extra=``; not the level that the other formatter puts into a record."""
    given = {name: value for name, value in vars(record).items() if name not in _STANDARD}
    if given.get("level") == record.levelname.lower():
        del given["level"]
    return {f"extra_{name}" if name in _OWN else name: value for name, value in given.items()}


def _plain(value: Any) -> Any:
    """A value that is certainly JSON: what is no text and no whole number is told as Python writes it, cut."""
    return value if isinstance(value, str | int) else reprlib.repr(value)


def _whereabouts() -> dict[str, str]:
    """The connection whose message or hook is handled now."""
    caller: Any = current_caller.get(None)
    if caller is None:
        return {}
    endpoint = {"door": caller.endpoint.door.value, "endpoint": caller.endpoint.label}
    return {**endpoint, "client_id": caller.client_id} if caller.has_client_id else endpoint


def configure_logging(config: Config) -> None:
    """Sets levels; adds a handler when there is none yet. Call it after the application was loaded.

    Args:
        config: its `log_level` holds for everything but uvicorn and watchfiles, which are quiet above debug, and httpx,
            which would tell whole URLs; development mode shows all that Wireloom itself logs.
    """
    choose_format(config.log_format)
    root, level = logging.getLogger(), config.log_level.upper()
    if not root.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(JSONFormatter() if config.log_format == "json" else _Formatter())
        root.addHandler(handler)
        root.setLevel(level)
    logging.getLogger("wireloom").setLevel("DEBUG" if config.dev else level)
    for quiet in ("uvicorn", "watchfiles", "httpx", "httpcore"):
        logging.getLogger(quiet).setLevel(level if level in ("DEBUG", "ERROR") else "WARNING")


def choose_format(log_format: str) -> None:
    """What `say` writes from now on: ``text``, or ``json``."""
    global _is_json
    _is_json = log_format == "json"


def say(text: str, level: int = logging.INFO, *, err: bool = True, traceback: str = "", **fields: Any) -> None:
    """Tells people something on stderr; as a record where every line is one.

    Args:
        text: in a line or two.
        level: of the record; whoever reads text is told of warnings that they are such.
        err: False: on stdout.
        traceback: shown above it.
        **fields: of the record only.
    """
    if _is_json:
        told = {"name": "wireloom.cli", "levelno": level, "levelname": logging.getLevelName(level), "msg": text}
        text = JSONFormatter().format(logging.makeLogRecord({**told, "exc_text": traceback, **fields}))
    else:
        text = traceback + "warning: " * (level == logging.WARNING) + text
    click.echo(text, err=err)
