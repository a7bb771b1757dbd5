"""CallbackConnection: one open WebSocket as a callback sees it, the same object for the connection's life."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.datastructures import QueryParams

from wireloom.errors import ConnectionClosed
from wireloom.faces.callback.head import headers_of, url_of

if TYPE_CHECKING:
    from wireloom.hub.connection import Connection

__all__ = ["CallbackConnection", "connection_of"]

_OPEN, _CLOSING, _CLOSED = 1, 2, 3  # https://websockets.spec.whatwg.org/#dom-websocket-readystate
_KEY = "wireloom.callback"  # in the state of a connection


class CallbackConnection:
    """One open WebSocket: ``req.ws``. Hashable, and equal to itself alone, so ``ws in clients`` works.

    Args:
        connection: the connection underneath.
    """

    __slots__ = ("_connection", "_headers")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._headers: dict[str, str] | None = None

    def __repr__(self) -> str:
        state = ("open", "closing", "closed")[self.ready_state - _OPEN]
        return f"<CallbackConnection {self.pathname} {state}>"

    def send(self, data: str | bytes | bytearray | memoryview) -> None:
        """Sends one message, after all that were sent before. Returns at once.

        Args:
            data: `str` leaves as text, bytes as binary.

        Raises:
            ConnectionClosed: the connection has ended, or is about to.
            TypeError: anything else; JSON is ``ws.send(json.dumps(value))``.
        """
        connection = self._connection
        if not connection.is_open:
            raise ConnectionClosed(connection.close_code or 1006, connection.close_reason)
        if isinstance(data, str):
            connection.send_text(data)
        elif isinstance(data, (bytes, bytearray, memoryview)):
            connection.send_bytes(data)  # type: ignore[arg-type]  # it copies whatever holds bytes
        else:
            raise TypeError(f"send takes str or bytes, not {type(data).__name__}; JSON is send(json.dumps(value))")

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Closes, once all that was sent before has left. Does nothing where it is closed already.

        Args:
            code: a close code that may be sent (RFC 6455 §7.4).
            reason: at most 123 bytes of UTF-8; longer is cut.

        Raises:
            ValueError: a code that must not be sent.
        """
        self._connection.close(code, reason)

    async def drain(self) -> None:
        """Waits until the peer has read enough for more to be sent.

        Raises:
            ConnectionClosed: the connection has ended.
        """
        await self._connection.drain()

    def join(self, channel: str) -> None:
        """Hears a channel from now on, which `wireloom.notify.channels` publishes to from anywhere.

        Raises:
            RequestError: ``TOO_MANY_CHANNELS``: it hears as many as it may (option ``max_channels``).
        """
        self._connection.join(channel)

    def leave(self, channel: str) -> None:
        """No longer hears a channel."""
        self._connection.leave(channel)

    @property
    def ready_state(self) -> int:
        """1 open; 2 closing: a close was sent or received; 3 closed."""
        connection = self._connection
        if connection.is_open:
            return _OPEN
        return _CLOSED if connection.is_closed else _CLOSING

    readyState = ready_state  # as browsers and Node write it

    @property
    def buffered_amount(self) -> int:
        """Bytes that wait for the peer to read."""
        return self._connection.backlog

    bufferedAmount = buffered_amount

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that was agreed on."""
        return self._connection.subprotocol

    @property
    def close_code(self) -> int | None:
        """The close code that ended it, whoever closed; None while it is open (RFC 6455 §7.1.5)."""
        return self._connection.close_code

    @property
    def close_reason(self) -> str:
        """The reason that came with the close code, possibly empty."""
        return self._connection.close_reason

    @property
    def pathname(self) -> str:
        """The path of the upgrade request as it was sent, percent-encoded."""
        return self._connection.head.path

    @property
    def url(self) -> str:
        """Path and query of the upgrade request as they were sent."""
        return url_of(self._connection.head)

    @property
    def query(self) -> QueryParams:
        """The query's parameters as text."""
        return self._connection.query

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the upgrade request, names in lower case."""
        if self._headers is None:
            self._headers = headers_of(self._connection.head)
        return self._headers

    @property
    def client(self) -> tuple[str, int] | None:
        """The peer's address and port, as seen through trusted proxies."""
        return self._connection.client

    @property
    def state(self) -> dict[str, Any]:
        """A dict of the application's own, as old as the connection."""
        own: dict[str, Any] = self._connection.state.setdefault(_KEY + ".state", {})
        return own


def connection_of(connection: Connection) -> CallbackConnection:
    """The one `CallbackConnection` of a connection."""
    state = connection.state
    ws: CallbackConnection | None = state.get(_KEY)
    if ws is None:
        ws = state[_KEY] = CallbackConnection(connection)
    return ws
