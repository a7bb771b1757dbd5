"""Screens: how ``wireloom connect`` tells what happens, to people and to programs.

Law: what the server says goes to stdout and nothing else does; the rest goes to stderr. A terminal gets no control
characters of the server's, and colours only where `NO_COLOR` is not set; a pipe gets what was sent.
"""

from __future__ import annotations

import base64
import json
import os
import re
import sys
from typing import Any, Protocol

import click

from wireloom.errors import CLOSE_CODES

__all__ = ["JSONLines", "Lines", "Screen", "Terminal", "describe_close"]

_SILENCE_SECONDS = 1.0
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_MEANINGS = {  # of codes that we do not send, or that are in no close frame (RFC 6455 §7.4.1)
    1003: "a kind of data that is not accepted",
    1005: "no code was given",
    1006: "the connection was lost",
    1010: "an extension is missing",
    1014: "a gateway got no valid answer",
    1015: "TLS failed",
}


def describe_close(code: int, reason: str) -> str:
    """A close code with its reason and, in brackets, what the code means."""
    meaning = CLOSE_CODES[code].meaning if code in CLOSE_CODES else _MEANINGS.get(code, "a code of its own")
    if reason and code >= 4000:
        meaning = ""  # it may be another server's, or the application's own
    elif reason:
        meaning = meaning.partition(":")[0]  # the reason says which of them it was
    return " ".join(filter(None, (str(code), _shown(reason), f"({meaning})" if meaning else "")))


def _shown(text: str) -> str:
    """Text with its control characters spelled out."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


class Screen(Protocol):
    """Tells what happens.

    Attributes:
        silence_seconds: how long to wait for a reply after the last message.
    """

    silence_seconds: float

    def opened(self, subprotocol: str | None, extensions: str) -> None:
        """The handshake went well."""

    def message(self, message: str | bytes) -> None:
        """The server said something."""

    def closed(self, code: int, reason: str, *, who: str) -> None:
        """The end, and whose doing it was; empty where it was ours."""


class Lines:
    """Messages as they are, a line each; binary ones in hexadecimal."""

    silence_seconds = _SILENCE_SECONDS

    def __init__(self) -> None:
        self._paint = _Paint() if sys.stdout.isatty() else None

    def opened(self, subprotocol: str | None, extensions: str) -> None:
        """Goes without saying."""

    def message(self, message: str | bytes) -> None:
        """One line, unless the message has several."""
        self._say(message if isinstance(message, str) else message.hex(" "))

    def closed(self, code: int, reason: str, *, who: str) -> None:
        """Worth a line where it was not our doing."""
        if who:
            click.echo(f"{who}: {describe_close(code, reason)}", err=True)

    def _say(self, text: str) -> None:
        if self._paint is None:
            click.echo(text)
        else:
            self._paint.json(text)


class JSONLines(Lines):
    """Every event as one JSON object in a line."""

    def opened(self, subprotocol: str | None, extensions: str) -> None:
        """The first line."""
        self._tell(event="open", subprotocol=subprotocol, extensions=extensions)

    def message(self, message: str | bytes) -> None:
        """``data`` is the value of JSON, else the text; ``base64`` the bytes of a binary message."""
        if isinstance(message, bytes):
            self._tell(event="message", base64=base64.b64encode(message).decode())
            return
        try:
            self._tell(event="message", data=json.loads(message))
        except (ValueError, RecursionError):
            self._tell(event="message", data=message)

    def closed(self, code: int, reason: str, *, who: str) -> None:
        """The last line."""
        self._tell(event="close", code=code, reason=reason)

    def _tell(self, **event: Any) -> None:
        self._say(json.dumps(event, ensure_ascii=False, separators=(",", ":")))


class Terminal:
    """For people: what comes is told from what is typed."""

    silence_seconds = 0.0

    def __init__(self) -> None:
        self._paint = _Paint()

    def opened(self, subprotocol: str | None, extensions: str) -> None:
        """What was agreed on, and how to get out again."""
        agreed = ", ".join(filter(None, (subprotocol, extensions)))
        spoken = f" ({agreed})" if agreed else ""
        self._paint.plain(f"connected{spoken}; Ctrl-D closes", "dim")

    def message(self, message: str | bytes) -> None:
        """JSON in colours, text as it is, binary in hexadecimal."""
        if isinstance(message, bytes):
            self._paint.plain(f"< {len(message)} bytes: {message.hex(' ')}", "magenta")
        else:
            self._paint.json(message, "< ")

    def closed(self, code: int, reason: str, *, who: str) -> None:
        """Code, reason and meaning."""
        self._paint.plain(f"{who or 'closed'}: {describe_close(code, reason)}", "dim")


class _Paint:
    """Colours on a terminal."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.highlighter import JSONHighlighter

        self._console = Console(
            file=sys.stdout,
            force_terminal=True,
            highlight=False,
            soft_wrap=True,
            no_color=bool(os.environ.get("NO_COLOR")),
        )
        self._highlight = JSONHighlighter()

    def plain(self, text: str, style: str) -> None:
        """A line in one style."""
        self._console.print(_shown(text), style=style, markup=False)

    def json(self, text: str, before: str = "") -> None:
        """A line whose JSON is coloured; other text stays as it is."""
        from rich.text import Text

        shown = Text(_shown(text))
        self._highlight.highlight(shown)
        self._console.print(Text.assemble((before, "dim"), shown))
