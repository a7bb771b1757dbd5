"""A conversation over one client connection: messages out from arguments, a pipe or a prompt, messages in to a screen.

Law: what waits is bounded. A pipe is read no faster than the server takes its lines.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from ssl import SSLContext

import click

from wireloom.cli.connect import Wishes
from wireloom.cli.screen import JSONLines, Lines, Screen, Terminal
from wireloom.clients.connection import ClientConnection, open_connection
from wireloom.clients.protocol import NORMAL_CODES
from wireloom.errors import ConnectionClosed

__all__ = ["hold"]

_REPLY_SECONDS = 10.0
_READ_BYTES = 65536
_MAX_LINE_BYTES = 16 * 1024 * 1024


async def hold(wishes: Wishes, ssl: SSLContext | None, open_seconds: float) -> int:
    """Connects, talks and closes; gives the exit code.

    Args:
        wishes: the command line.
        ssl: whom to trust; None for the system's choice.
        open_seconds: time to open the connection, unless the wishes say another.

    Raises:
        ValueError, HandshakeFailed, TimeoutError, OSError: it could not be opened.
    """
    opening = open_connection(
        wishes.url,
        headers=wishes.headers,
        subprotocols=wishes.subprotocols,
        ssl=ssl,
        proxy=wishes.proxy,
        compression=wishes.compression,
        open_timeout=open_seconds if wishes.timeout is None else wishes.timeout,
    )
    async with opening as connection:
        if _in_terminal(wishes):
            return await _hold_in_terminal(connection, wishes)
        screen: Screen = JSONLines() if wishes.as_json else Lines()
        finished = wishes.once and wishes.messages
        return await _Conversation(connection, screen, wishes).run(_nothing() if finished else _piped())


async def _hold_in_terminal(connection: ClientConnection, wishes: Wishes) -> int:
    from wireloom.cli.prompt import Interrupted, below_output, history_of, typed

    history = history_of(os.environ.get("XDG_STATE_HOME"), keep=wishes.history)
    with below_output():
        try:
            return await _Conversation(connection, Terminal(), wishes).run(typed(history))
        except Interrupted:
            return 130


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
            ours = connection.ending is not None and connection.ending.failure is not None
            told = "ended" if closed.code == 1006 else "closed by the server"  # nobody has closed it
            who = "ended, for what the server sent" if ours else told
            self._screen.closed(closed.code, closed.reason, who=who)
            return 1 if self._wishes.once or closed.code not in NORMAL_CODES else 0
        await connection.close()
        if self._wishes.once and not replied:
            click.echo(f"no reply within {self._silence_seconds:g} s", err=True)
            return 1
        self._screen.closed(connection.close_code or 1006, connection.close_reason, who="")
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
                with suppress(ConnectionClosed):  # who receives hears of it, after what came before it
                    await self._connection.drain()


# -- where messages come from ------------------------------------------------------------------------------------------


async def _nothing() -> AsyncIterator[str]:
    """No further messages."""
    none: tuple[str, ...] = ()
    for line in none:
        yield line


async def _piped() -> AsyncIterator[str]:
    """The lines of stdin, as they come; the next are read when these were taken.

    Raises:
        ClickException: one is too long.
    """
    loop, arrived, room = asyncio.get_running_loop(), asyncio.Queue[list[bytes] | None](), threading.Semaphore()

    def hand_over(lines: list[bytes] | None) -> None:
        room.acquire()
        loop.call_soon_threadsafe(arrived.put_nowait, lines)

    def read() -> None:
        # Not by sys.stdin: a thread that waits inside its buffer's lock stops the interpreter from ending
        rest = bytearray()
        with suppress(RuntimeError):  # the loop has ended
            while len(rest) <= _MAX_LINE_BYTES and (data := os.read(0, _READ_BYTES)):
                first, *others = data.split(b"\n")
                rest += first
                if others:
                    hand_over([bytes(rest), *others[:-1]])
                    rest = bytearray(others[-1])
            hand_over([bytes(rest)] if rest else [])
            hand_over(None)

    threading.Thread(target=read, daemon=True).start()
    while (lines := await arrived.get()) is not None:
        for line in lines:
            if len(line) > _MAX_LINE_BYTES:
                raise click.ClickException(f"a line of stdin is longer than {_MAX_LINE_BYTES // 1024 // 1024} MiB")
            yield line.removesuffix(b"\r").decode("utf-8", "replace")
        room.release()
