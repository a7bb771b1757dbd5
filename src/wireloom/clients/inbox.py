"""Inbox: messages that have arrived and that nobody has taken yet.

Law: it is bounded by its source: above a number of messages or of bytes, reading pauses, and goes on below half of it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol

__all__ = ["Inbox", "Source"]

_MAX_MESSAGES = 1024
_MAX_BYTES = 4 * 1024 * 1024

Message = str | bytes


class Source(Protocol):
    """Where messages come from."""

    def pause(self) -> bool:
        """Reads no more for now; False if it goes on nevertheless."""

    def resume(self) -> None:
        """Reads on."""


class Inbox:
    """A bounded queue of messages."""

    __slots__ = ("_arrived", "_bytes", "_ended", "_messages", "_source")

    def __init__(self) -> None:
        self._messages: deque[Message] = deque()
        self._bytes = 0
        self._arrived = asyncio.Event()
        self._ended = False
        self._source: Source | None = None

    def put(self, message: Message, source: Source) -> None:
        """Keeps a message; drops it where there is no room and the source cannot pause."""
        if self.is_full:
            if not source.pause():
                return
            self._source = source
        self._messages.append(message)
        self._bytes += len(message)
        self._arrived.set()

    @property
    def is_full(self) -> bool:
        """Whether a further message pauses its source."""
        return len(self._messages) >= _MAX_MESSAGES or self._bytes >= _MAX_BYTES

    def end(self) -> None:
        """There will be no more."""
        self._ended = True
        self._arrived.set()

    async def get(self) -> Message | None:
        """The next message; None when there will be none."""
        while not self._messages:
            if self._ended:
                return None
            self._arrived.clear()
            await self._arrived.wait()
        message = self._messages.popleft()
        self._bytes -= len(message)
        if self._source is not None and 2 * len(self._messages) < _MAX_MESSAGES and 2 * self._bytes < _MAX_BYTES:
            source, self._source = self._source, None
            source.resume()
        return message
