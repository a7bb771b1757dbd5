"""A conversation over one client connection: messages out from arguments, a pipe or a prompt, messages in to a screen.

Law: what the server says goes to stdout and nothing else does; the rest goes to stderr.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import click

from wireloom.cli.connect import Wishes
from wireloom.clients.connection import ClientConnection, open_connection
from wireloom.clients.protocol import NORMAL_CODES
from wireloom.errors import ConnectionClosed

__all__ = ["hold"]

_REPLY_SECONDS = 10.0
_SILENCE_SECONDS = 1.0
_READ_BYTES = 65536
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


async def hold(wishes: Wishes, open_seconds: float) -> int:
    """Connects, talks and closes; gives the exit code.

    Args:
        wishes: the command line.
        open_seconds: time to open the connection, unless the wishes say another.

    Raises:
        ValueError, HandshakeFailed, TimeoutError, OSError: it could not be opened.
    """
    opening = open_connection(
        wishes.url,
        headers=wishes.headers,
        subprotocols=wishes.subprotocols,
        proxy=wishes.proxy,
        compression=wishes.compression,
        open_timeout=open_seconds if wishes.timeout is None else wishes.timeout,
    )
    async with opening as connection:
        if _in_terminal(wishes):
            with _prompt_below_output():
                return await _Conversation(connection, _Terminal(), wishes).run(_typed())
        screen: Screen = _JSONLines() if wishes.as_json else _Lines()
        finished = wishes.once and wishes.messages
        return await _Conversation(connection, screen, wishes).run(_nothing() if finished else _piped())


def _in_terminal(wishes: Wishes) -> bool:
    """Whether a person sits there, and is wanted."""
    wanted = not wishes.as_json and not (wishes.once and wishes.messages)
    return wanted and sys.stdin.isatty() and sys.stdout.isatty()


class _Conversation:
    """Sends and receives at once until one side has had enough.

    Args:
        connection: open.
        screen: where to tell what happens.
        wishes: the command line.
    """

    def __init__(self, connection: ClientConnection, screen: Screen, wishes: Wishes) -> None:
        self._connection = connection
        self._screen = screen
        self._wishes = wishes
        default = _REPLY_SECONDS if wishes.once else screen.silence_seconds
        self._silence_seconds = default if wishes.timeout is None or not screen.silence_seconds else wishes.timeout

    async def run(self, lines: AsyncIterator[str]) -> int:
        """Talks and closes; gives the exit code."""
        connection = self._connection
        self._screen.opened(connection.subprotocol, connection.extensions)
        try:
            replied = await self._talk(lines)
        except ConnectionClosed as closed:
            self._screen.closed(closed.code, closed.reason, by_server=True)
            return 1 if self._wishes.once or closed.code not in NORMAL_CODES else 0
        await connection.close()
        if self._wishes.once and not replied:
            click.echo(f"no reply within {self._silence_seconds:g} s", err=True)
            return 1
        self._screen.closed(connection.close_code or 1006, connection.close_reason, by_server=False)
        return 0

    async def _talk(self, lines: AsyncIterator[str]) -> bool:
        """Until the first reply where that is enough (True), or until silence after the last line (False)."""
        sending = asyncio.ensure_future(self._send(lines))
        receiving = asyncio.ensure_future(self._connection.receive())
        try:
            while True:
                over = sending.done()
                tasks = {receiving} if over else {receiving, sending}
                seconds = self._silence_seconds if over else None
                done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
                if receiving in done:
                    self._screen.message(receiving.result())
                    if self._wishes.once:
                        return True
                    receiving = asyncio.ensure_future(self._connection.receive())
                elif over:
                    return False
                else:
                    sending.result()  # raises what it raised
        finally:
            sending.cancel()
            receiving.cancel()
            await asyncio.gather(sending, receiving, return_exceptions=True)

    async def _send(self, lines: AsyncIterator[str]) -> None:
        for message in self._wishes.messages:
            self._connection.send(message)
        async with aclosing(lines) as remaining:  # type: ignore[type-var]
            async for line in remaining:
                self._connection.send(line)


# -- where messages come from ------------------------------------------------------------------------------------------


async def _nothing() -> AsyncIterator[str]:
    """No further messages."""
    none: tuple[str, ...] = ()
    for line in none:
        yield line


async def _piped() -> AsyncIterator[str]:
    """The lines of stdin, as they come."""
    loop, arrived = asyncio.get_running_loop(), asyncio.Queue[list[bytes] | None]()

    def read() -> None:
        # Not by sys.stdin: a thread that waits inside its buffer's lock stops the interpreter from ending
        rest = b""
        with suppress(RuntimeError):  # the loop has ended
            while data := os.read(0, _READ_BYTES):
                *lines, rest = (rest + data).split(b"\n")
                loop.call_soon_threadsafe(arrived.put_nowait, lines)
            loop.call_soon_threadsafe(arrived.put_nowait, [rest] if rest else [])
            loop.call_soon_threadsafe(arrived.put_nowait, None)

    threading.Thread(target=read, daemon=True).start()
    while (lines := await arrived.get()) is not None:
        for line in lines:
            yield line.removesuffix(b"\r").decode("utf-8", "replace")


async def _typed() -> AsyncIterator[str]:
    """What a person types; ends with Ctrl-D or Ctrl-C."""
    from prompt_toolkit import PromptSession

    prompt: PromptSession[str] = PromptSession("> ", history=_history())
    while True:
        try:
            line = await prompt.prompt_async()
        except (EOFError, KeyboardInterrupt):
            return
        if line:
            yield line


def _history() -> Any:
    """What was typed before, kept for the user alone; only for this time where that cannot be."""
    from prompt_toolkit.history import FileHistory, InMemoryHistory

    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "wireloom"
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(state / "connect_history", os.O_CREAT | os.O_RDWR, 0o600))
    except OSError:
        return InMemoryHistory()
    return FileHistory(state / "connect_history")


@contextmanager
def _prompt_below_output() -> Iterator[None]:
    """Output appears above the line that is being typed."""
    from prompt_toolkit.patch_stdout import patch_stdout

    with patch_stdout(raw=True):
        yield


# -- where messages go -------------------------------------------------------------------------------------------------


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

    def closed(self, code: int, reason: str, *, by_server: bool) -> None:
        """The end."""


class _Lines:
    """Messages as they are, a line each; binary ones in hexadecimal."""

    silence_seconds = _SILENCE_SECONDS

    def opened(self, subprotocol: str | None, extensions: str) -> None:
        """Goes without saying."""

    def message(self, message: str | bytes) -> None:
        """One line, unless the message has several."""
        click.echo(message if isinstance(message, str) else message.hex(" "))

    def closed(self, code: int, reason: str, *, by_server: bool) -> None:
        """Worth a line where it was not our doing."""
        if by_server:
            click.echo(f"closed by the server: {code} {reason}".rstrip(), err=True)


class _JSONLines:
    """Every event as one JSON object in a line."""

    silence_seconds = _SILENCE_SECONDS

    def opened(self, subprotocol: str | None, extensions: str) -> None:
        """The first line."""
        self._say(event="open", subprotocol=subprotocol, extensions=extensions)

    def message(self, message: str | bytes) -> None:
        """``data`` is the value of JSON, else the text; ``base64`` the bytes of a binary message."""
        if isinstance(message, bytes):
            self._say(event="message", base64=base64.b64encode(message).decode())
            return
        try:
            self._say(event="message", data=json.loads(message))
        except ValueError:
            self._say(event="message", data=message)

    def closed(self, code: int, reason: str, *, by_server: bool) -> None:
        """The last line."""
        self._say(event="close", code=code, reason=reason)

    @staticmethod
    def _say(**event: Any) -> None:
        click.echo(json.dumps(event, ensure_ascii=False, separators=(",", ":")))


class _Terminal:
    """For people: colours, and no control characters of the server's."""

    silence_seconds = 0.0

    def __init__(self) -> None:
        from rich.console import Console
        from rich.highlighter import JSONHighlighter

        self._console = Console(file=sys.stdout, force_terminal=True, highlight=False, soft_wrap=True)
        self._highlight = JSONHighlighter()

    def opened(self, subprotocol: str | None, extensions: str) -> None:
        """What was agreed on, and how to get out again."""
        agreed = ", ".join(filter(None, (subprotocol, extensions)))
        spoken = f" ({agreed})" if agreed else ""
        self._console.print(f"connected{spoken}; Ctrl-D closes", style="dim", markup=False)

    def message(self, message: str | bytes) -> None:
        """JSON in colours, text as it is, binary in hexadecimal."""
        from rich.text import Text

        if isinstance(message, bytes):
            self._console.print(f"< {len(message)} bytes: {message.hex(' ')}", style="magenta", markup=False)
            return
        text = Text(_CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", message))
        self._highlight.highlight(text)
        self._console.print(Text.assemble(("< ", "dim"), text))

    def closed(self, code: int, reason: str, *, by_server: bool) -> None:
        """Code and reason."""
        who = "closed by the server" if by_server else "closed"
        self._console.print(_CONTROL.sub("", f"{who}: {code} {reason}".rstrip()), style="dim", markup=False)
