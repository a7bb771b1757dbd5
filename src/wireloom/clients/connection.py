"""ClientConnection: one WebSocket from the client's side, with messages to await, opened once."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from types import TracebackType
from typing import Self, Unpack

from wireloom.clients.inbox import Inbox
from wireloom.clients.opening import ClientOptions, Opening
from wireloom.clients.protocol import ClientProtocol, Ending, Handshake

__all__ = ["ClientConnection", "open_connection"]


class ClientConnection(ClientProtocol):
    """One open WebSocket, made by `open_connection`.

    ``async for message in connection`` gives messages until the connection has ended, and raises what `receive` raises
    unless it ended normally: with 1000, 1001 or an empty close frame.
    """

    def __init__(self, handshake: Handshake) -> None:
        super().__init__(handshake)
        self._inbox = Inbox()

    def __repr__(self) -> str:
        state = ("connecting", "open", "closing", "closed")[self.state]
        return f"<ClientConnection {state}>"

    @property
    def close_code(self) -> int | None:
        """The code that ended the connection, 1006 without a close frame, None while it is open."""
        return self.ending.error.code if self.ending else None

    @property
    def close_reason(self) -> str:
        """The reason that came with it."""
        return self.ending.error.reason if self.ending else ""

    def send_frame(self, frame: bytes) -> None:
        """Sends bytes as they are; for tests of servers."""
        self._write(frame)

    async def receive(self) -> str | bytes:
        """The next message.

        Raises:
            ConnectionClosed: there will be none.
        """
        message = await self._inbox.get()
        if message is None:
            assert self.ending is not None
            raise self.ending.error
        return message

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str | bytes:
        message = await self._inbox.get()
        if message is None:
            assert self.ending is not None
            raise StopAsyncIteration if self.ending.is_normal else self.ending.error
        return message

    async def close(self, code: int | None = 1000, reason: str = "") -> None:
        """Closes with the closing handshake (RFC 6455 §7.1.2); a server that does not answer is left after 5 seconds.

        Args:
            code: None for an empty close frame.
        """
        self.begin_close(code, reason)
        await self.wait_closed()

    def message(self, message: str | bytes) -> None:
        """Waits to be received."""
        self._inbox.put(message, self)

    def closed(self, ending: Ending) -> None:
        """What has come can still be received."""
        self._inbox.end()


class open_connection:
    """Opens a WebSocket: ``await open_connection(url)``, or ``async with open_connection(url) as connection``.

    Args:
        url: ``ws://`` or ``wss://``; ``http://`` and ``https://`` stand for them.
        subprotocols: one, or those offered, most wanted first.
        options: see `wireloom.clients.opening.ClientOptions`.

    Raises:
        WebSocketSyntaxError: not a WebSocket URL; or a subprotocol that is twice there or no token.
        HandshakeFailed: the server did not agree.
        OSError: nobody listens there.
        TimeoutError: the time is over.
    """

    def __init__(self, url: str, *, subprotocols: str | Iterable[str] = (), **options: Unpack[ClientOptions]) -> None:
        self._opening = Opening(url, subprotocols, options)
        self._connection: ClientConnection | None = None

    def __await__(self) -> Generator[None, None, ClientConnection]:
        return self._opening.open(ClientConnection).__await__()

    async def __aenter__(self) -> ClientConnection:
        self._connection = await self
        return self._connection

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connection is not None:
            await self._connection.close()
