"""WebSocket: the browser's interface (https://websockets.spec.whatwg.org), over our own protocol.

Laws:
- States, the order of events and what is refused follow the Standard; where this file obeys it, it names the section.
- Events are dispatched in the order of what happened, never inside a call of the application's.
- While many asynchronous listeners have not ended, nothing more is read: a fast server does not fill the memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from types import TracebackType
from typing import ClassVar, Literal, Self, Unpack

from wireloom.clients import protocol
from wireloom.clients.events import CloseEvent, Event, EventTarget, HandlerAttribute, MessageEvent
from wireloom.clients.inbox import Inbox
from wireloom.clients.opening import ClientOptions, Opening
from wireloom.clients.protocol import ClientProtocol, Ending, Handshake
from wireloom.errors import (
    ConnectionClosed,
    HandshakeFailed,
    InvalidAccessError,
    InvalidStateError,
    WebSocketSyntaxError,
)
from wireloom.wire.handshake import Answer

__all__ = ["WebSocket"]

_MAX_REASON_BYTES = 123
_MAX_RUNNING = 256  # asynchronous listeners, above which reading pauses until half of them have ended

BinaryType = Literal["bytes", "memoryview"]


class WebSocket(EventTarget):
    """A WebSocket as browsers have it. It begins to connect at once, so it is made where an event loop runs.

    Events: ``open``, ``message`` (`MessageEvent`), ``error``, and last ``close`` (`CloseEvent`). An end without a
    closing handshake is ``error``, then ``close`` with 1006.

    Also ``async with WebSocket(url) as ws``, which waits until it is open and closes it in the end, and
    ``async for message in ws``. A message goes to the listeners, and to the iteration once there is one; before, it
    waits for it if nobody listens.

    Args:
        url: ``ws://`` or ``wss://``; ``http://`` and ``https://`` stand for them.
        protocols: a subprotocol or several, most wanted first.
        options: see `wireloom.clients.opening.ClientOptions`.

    Raises:
        WebSocketSyntaxError: the URL, or a subprotocol that is twice there or no token.
        RuntimeError: no event loop is running.
    """

    CONNECTING: ClassVar[int] = protocol.CONNECTING
    OPEN: ClassVar[int] = protocol.OPEN
    CLOSING: ClassVar[int] = protocol.CLOSING
    CLOSED: ClassVar[int] = protocol.CLOSED

    onopen = on_open = HandlerAttribute("open")
    onmessage = on_message = HandlerAttribute("message")
    onerror = on_error = HandlerAttribute("error")
    onclose = on_close = HandlerAttribute("close")

    def __init__(self, url: str, protocols: str | Iterable[str] = (), **options: Unpack[ClientOptions]) -> None:
        super().__init__()
        self._opener = Opening(url, protocols, options)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise RuntimeError("a WebSocket needs a running event loop; make it inside of async def") from None
        self._state = protocol.CONNECTING
        self._connection: _Connection | None = None
        self._amount = _Amount()
        self._binary_type: BinaryType = "bytes"
        self._inbox: Inbox | None = None
        self._is_iterated = False
        self._is_busy = False  # reading waits for listeners
        self._failure: BaseException | None = None
        self._over = asyncio.Event()
        self._opening = loop.create_task(self._opener.open(lambda handshake: _Connection(handshake, self)))
        self._opening.add_done_callback(self._has_tried)

    def __repr__(self) -> str:
        return f"<WebSocket {self._opener.address.public_url}>"

    # -- §3.1: attributes ---------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """The URL, serialized."""
        return self._opener.address.url

    @property
    def ready_state(self) -> int:
        """CONNECTING, OPEN, CLOSING or CLOSED."""
        return self._state if self._connection is None else self._connection.state

    @property
    def buffered_amount(self) -> int:
        """Bytes that were sent and that the network has not taken; what is sent after the close is never taken."""
        return self._amount.now(self._connection)

    @property
    def extensions(self) -> str:
        """The extensions that the server chose; empty before it is open."""
        return self._connection.extensions if self._connection is not None else ""

    @property
    def protocol(self) -> str:
        """The subprotocol that the server chose; empty before it is open, or for none."""
        return (self._connection.subprotocol or "") if self._connection is not None else ""

    @property
    def binary_type(self) -> BinaryType:
        """What a binary message comes as: ``"bytes"`` or ``"memoryview"``. Other values are ignored, as in browsers."""
        return self._binary_type

    @binary_type.setter
    def binary_type(self, value: BinaryType) -> None:
        # Web IDL §3.7.6: an attribute that is an enumeration ignores what is no member
        if value in ("bytes", "memoryview"):
            self._binary_type = value

    readyState = ready_state
    bufferedAmount = buffered_amount
    binaryType = binary_type

    # -- §3.1: methods ------------------------------------------------------------------------------------------------

    def send(self, data: str | bytes | bytearray | memoryview) -> None:
        """Sends a message. Once the end has begun, nothing is sent, and `buffered_amount` grows by it.

        Raises:
            InvalidStateError: it is not open yet.
            TypeError: neither text nor bytes.
        """
        if isinstance(data, str):
            data = _scalar_values(data)
            size = len(data.encode())
        elif isinstance(data, (bytes, bytearray, memoryview)):
            size = len(data) if not isinstance(data, memoryview) else data.nbytes
        else:
            raise TypeError(f"a message is str or bytes, not {type(data).__name__}")
        if self.ready_state == protocol.CONNECTING:
            raise InvalidStateError(f"{self!r} is not open yet")
        if self._connection is not None and self._connection.state == protocol.OPEN:
            self._connection.send(data)
            self._amount.sent(size, self._connection)
        else:
            self._amount.lost(size)

    def close(self, code: int | None = None, reason: str | None = None) -> None:
        """Begins the closing handshake; before it is open, gives up. Nothing if the end has begun.

        Args:
            code: 1000 or 3000–4999; None for an empty close frame, or for 1000 if there is a reason.
            reason: at most 123 bytes of UTF-8.

        Raises:
            InvalidAccessError: another code.
            WebSocketSyntaxError: a longer reason.
        """
        if code is not None and code != 1000 and not 3000 <= code <= 4999:
            raise InvalidAccessError(f"a WebSocket is closed with 1000 or 3000 to 4999, not {code}")
        text = _scalar_values(reason or "")
        if len(text.encode()) > _MAX_REASON_BYTES:
            raise WebSocketSyntaxError("a close reason has at most 123 bytes of UTF-8")
        if self._connection is not None:
            self._connection.begin_close(1000 if code is None and text else code, text)
        elif self._state == protocol.CONNECTING:
            self._state = protocol.CLOSING
            self._opening.cancel()

    # -- beyond the Standard ------------------------------------------------------------------------------------------

    @property
    def failure(self) -> BaseException | None:
        """Why it could not be opened, or how it ended if it did not end normally; the Standard's events do not tell."""
        return self._failure

    async def wait_closed(self) -> None:
        """Waits for the end, and until ``close`` has been dispatched."""
        await self._over.wait()

    async def drain(self) -> None:
        """Waits until the network takes more of what is sent.

        Raises:
            InvalidStateError: it is not open yet.
            ConnectionClosed: it takes nothing any more.
        """
        if self.ready_state == protocol.CONNECTING:
            raise InvalidStateError(f"{self!r} is not open yet")
        if self._connection is None:
            raise ConnectionClosed(1006)
        await self._connection.drain()

    async def __aenter__(self) -> Self:
        """Waits until it is open.

        Raises:
            HandshakeFailed, OSError, TimeoutError: why it could not be opened.
            ConnectionClosed: it was closed before.
        """
        self._wanted_inbox()
        try:
            await asyncio.wait([self._opening])
        except asyncio.CancelledError:
            self.close()
            raise
        if self._connection is None and self._failure is not None:
            raise self._failure
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(1000)
        await self.wait_closed()

    def __aiter__(self) -> Self:
        self._wanted_inbox()
        self._is_iterated = True
        return self

    async def __anext__(self) -> str | bytes | memoryview:
        """The next message.

        Raises:
            ConnectionClosed: there will be none, and it did not end normally.
        """
        message = await self._wanted_inbox().get()
        if message is not None:
            return self._as_data(message)
        raise self._failure or StopAsyncIteration

    def _wanted_inbox(self) -> Inbox:
        if self._inbox is None:
            self._inbox = Inbox()
            if self._over.is_set():
                self._inbox.end()
        return self._inbox

    # -- §4: what happens ---------------------------------------------------------------------------------------------

    def _has_tried(self, opening: asyncio.Task[_Connection]) -> None:
        error = ConnectionClosed(1006) if opening.cancelled() else opening.exception()
        if self._connection is None:
            self._failure = error
            self._end(Ending(1006))

    def _has_opened(self, connection: _Connection) -> None:
        if self._state != protocol.CONNECTING:  # closed a moment ago
            connection.abort()
            return
        self._connection = connection
        self.dispatch_event(Event("open"))

    def _has_message(self, message: str | bytes, connection: _Connection) -> None:
        # §4: a message is dropped unless the ready state is OPEN
        if self.ready_state != protocol.OPEN:
            return
        if self._inbox is not None and (self._is_iterated or not self.has_listener("message")):
            self._inbox.put(message, connection)
        if self.has_listener("message"):
            self.dispatch_event(
                MessageEvent("message", data=self._as_data(message), origin=self._opener.address.origin)
            )
            if len(self._tasks) >= _MAX_RUNNING:
                self._is_busy = connection.pause()

    def _has_ended(self) -> None:
        if self._is_busy and 2 * len(self._tasks) < _MAX_RUNNING and self._connection is not None:
            self._is_busy = False
            self._connection.resume()

    def _end(self, ending: Ending) -> None:
        """§4: the state is CLOSED; error, if the connection had to be failed; close."""
        if self._failure is None and not ending.is_normal:
            self._failure = ending.error
        self._state = protocol.CLOSED
        if self._inbox is not None:
            self._inbox.end()
        if ending.was_clean:
            self._amount.all_taken()
        else:
            self.dispatch_event(Event("error"))
        self.dispatch_event(CloseEvent("close", code=ending.code, reason=ending.reason, was_clean=ending.was_clean))
        self._over.set()

    def _as_data(self, message: str | bytes) -> str | bytes | memoryview:
        if isinstance(message, bytes) and self._binary_type == "memoryview":
            return memoryview(message)
        return message


class _Connection(ClientProtocol):
    """Tells its WebSocket what happens."""

    def __init__(self, handshake: Handshake, owner: WebSocket) -> None:
        super().__init__(handshake)
        self._owner = owner

    def check_answer(self, data: bytes) -> Answer:
        """Judges the answer as browsers do: who offers subprotocols wants one (§2.2, step 11 of the handshake)."""
        answer = super().check_answer(data)
        if self.handshake.subprotocols and answer.subprotocol is None:
            raise HandshakeFailed("the server chose none of the subprotocols that were offered", 101)
        return answer

    def opened(self) -> None:
        self._owner._has_opened(self)

    def message(self, message: str | bytes) -> None:
        self._owner._has_message(message, self)

    def closed(self, ending: Ending) -> None:
        if self._owner._connection is self:
            self._owner._end(ending)


class _Amount:
    """The ``bufferedAmount`` (§3.1): what was sent and not taken; it does not shrink before the loop's next turn."""

    __slots__ = ("_is_fresh", "_lost", "_pending")

    def __init__(self) -> None:
        self._pending = 0
        self._lost = 0
        self._is_fresh = False

    def sent(self, size: int, connection: ClientProtocol) -> None:
        self._pending += size
        if not self._is_fresh:
            self._is_fresh = True
            asyncio.get_running_loop().call_soon(self._next_turn, connection)

    def lost(self, size: int) -> None:
        self._lost += size

    def all_taken(self) -> None:
        self._pending = 0

    def now(self, connection: ClientProtocol | None) -> int:
        if connection is not None and not self._is_fresh:
            self._settle(connection)
        return self._pending + self._lost

    def _next_turn(self, connection: ClientProtocol) -> None:
        self._is_fresh = False
        self._settle(connection)

    def _settle(self, connection: ClientProtocol) -> None:
        # the backlog is payload and the frames' own bytes, so this is never too little, and 0 when all is taken
        if connection.state != protocol.CLOSED:
            self._pending = min(self._pending, connection.backlog_bytes)


def _scalar_values(text: str) -> str:
    """Text as Web IDL's USVString: lone surrogates become U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
