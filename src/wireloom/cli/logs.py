"""Logs: standard logging, as lines on stderr, unless the application has set it up itself."""

from __future__ import annotations

import logging

from wireloom.config import Config

__all__ = ["configure_logging"]


class _Formatter(logging.Formatter):
    """``HH:MM:SS level logger: message``, and the traceback below it where there is one."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(level)s %(name)s: %(message)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        """One record as text."""
        record.level = record.levelname.lower()
        return super().format(record)


def configure_logging(config: Config) -> None:
    """Sets levels; adds a handler when there is none yet. Call it after the application was loaded.

    Args:
        config: its `log_level` holds for everything but uvicorn and watchfiles, which are quiet above debug;
            development mode shows all that Wireloom itself logs.
    """
    root, level = logging.getLogger(), config.log_level.upper()
    if not root.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(_Formatter())
        root.addHandler(handler)
        root.setLevel(level)
    logging.getLogger("wireloom").setLevel("DEBUG" if config.dev else level)
    for quiet in ("uvicorn", "watchfiles"):
        logging.getLogger(quiet).setLevel(level if level in ("DEBUG", "ERROR") else "WARNING")
