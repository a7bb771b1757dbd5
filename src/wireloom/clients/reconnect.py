"""connect: the client for programs. One object that lives across connections and comes back by itself.

Laws:
- A message is sent at most once. What is sent while away waits, within bounds, and leaves in its order on the next
  connection, after the subscriptions.
- A request is never sent twice; if its connection is lost before the reply, it fails.
- It is over when it is closed, when the server says so, or when `max_attempts` have failed in a row.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Generator, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, Unpack, overload

import msgspec

from wireloom.clients.advice import Advice, Backoff, after_ending, after_failure
from wireloom.clients.calls import Calls, Reply
from wireloom.clients.inbox import Inbox
from wireloom.clients.opening import ClientOptions, Opening
from wireloom.clients.protocol import ClientProtocol, Ending, Handshake
from wireloom.errors import ConnectionClosed, QueueFull, RequestError, require_sendable

__all__ = ["LastingConnection", "State", "connect"]

_PROVEN_SECONDS = 10.0
_CHANNELS_IN_ONE_EVENT = 1000

State = Literal["connected", "away", "over"]
T = TypeVar("T")
_log = logging.getLogger("wireloom.clients")


@dataclass(frozen=True, slots=True)
class _Terms:
    """The arguments of `connect` besides those of the opening."""

    max_queue: int
    max_queue_bytes: int
    max_attempts: int | None
    backoff_base: float
    backoff_cap: float
    come_back: Collection[int]
    on_state: Callable[[State], object] | None


class LastingConnection:
    """A WebSocket that comes back. Made by `connect`.

    ``async for message in ws`` goes on across connections. It ends when all is over: quietly after `close` or a normal
    end by the server, with what `receive` raises otherwise.

    Args:
        opening: how to connect.
        terms: the rest.
        one_by_one: messages are those of one connection, and the next one is opened when asked for.
    """

    def __init__(self, opening: Opening, terms: _Terms, one_by_one: bool = False) -> None:
        self._opening = opening
        self._terms = terms
        self._one_by_one = one_by_one
        self._backoff = Backoff(terms.backoff_base, terms.backoff_cap)
        self._connection: _Connection | None = None  # the open one
        self._last: _Connection | None = None
        self._inbox = Inbox()
        self._queue: deque[str | bytes] = deque()
        self._queue_bytes = 0
        self._channels: dict[str, None] = {}
        self._calls = Calls()
        self._moved = asyncio.Event()  # set while connected, and when over
        self._state: State = "away"
        self._error: Exception | None = None
        self._is_closing = False
        self._running: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<LastingConnection {self._opening.address.public_url} {self._state}>"

    # -- for the application ------------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """``"connected"``, ``"away"`` or ``"over"``."""
        return self._state

    @property
    def subprotocol(self) -> str | None:
        """What the server chose last."""
        return self._last.subprotocol if self._last is not None else None

    @property
    def close_code(self) -> int | None:
        """The code that ended the last connection, 1006 without a close frame; None while it is open."""
        ending = self._last.ending if self._last is not None else None
        return ending.error.code if ending is not None else None

    @property
    def close_reason(self) -> str:
        """The reason that came with it."""
        ending = self._last.ending if self._last is not None else None
        return ending.error.reason if ending is not None else ""

    async def wait_connected(self) -> None:
        """Waits until there is a connection.

        Raises:
            ConnectionClosed: there will be none.
        """
        await self._open_connection()

    async def send(self, message: str | bytes | bytearray | memoryview) -> None:
        """Sends a message, and waits until the network takes more; while away, it is kept for the next connection.

        Raises:
            QueueFull: too much is kept already.
            ConnectionClosed: all is over.
            TypeError: neither text nor bytes.
        """
        if isinstance(message, (bytearray, memoryview)):
            message = bytes(message)
        if not isinstance(message, (str, bytes)):
            raise TypeError(f"a message is str or bytes, not {type(message).__name__}")
        if self._is_closing or self._state == "over":
            raise self._closed_error()
        connection = self._connection
        if connection is None or not connection.is_open:
            self._keep(message)
            return
        connection.send(message)
        with suppress(ConnectionClosed):  # it was sent, and what became of it nobody knows
            await connection.drain()

    async def send_json(self, value: Any) -> None:
        """Sends a value as JSON text; else as `send`."""
        await self.send(msgspec.json.encode(value).decode())

    async def receive(self) -> str | bytes:
        """The next message.

        Raises:
            ConnectionClosed, HandshakeFailed, OSError: there will be none, and why.
        """
        message = await self._inbox.get()
        if message is None:
            raise self._closed_error()
        return message

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str | bytes:
        message = await self._inbox.get()
        if message is None:
            raise StopAsyncIteration if self._one_by_one or self._error is None else self._error
        return message

    @overload
    async def request(self, event: Mapping[str, Any], *, timeout: float | None = 30.0) -> Reply: ...

    @overload
    async def request(self, event: Mapping[str, Any], *, timeout: float | None = 30.0, type: type[T]) -> list[T]: ...

    async def request(
        self, event: Mapping[str, Any], *, timeout: float | None = 30.0, type: type[T] | None = None
    ) -> Reply | list[T]:
        """Sends an event to an event socket and gives its reply; while away, waits for the connection first.

        Args:
            event: such as ``{"type": "walker", "walker": "order", "context": {…}}``. It gets an id, unless it has one,
                and a ``walker`` event ``"response": true``.
            timeout: seconds for all of it; None for no limit.
            type: what each report of a walker's reply is to be; then the reports are what is returned.

        Raises:
            RequestError: the reply is an error, with its code.
            ConnectionClosed: the connection was lost before the reply, or all is over.
            TimeoutError: the time is over.
            msgspec.ValidationError: a report is not of the type.
        """
        async with asyncio.timeout(timeout):
            connection = await self._open_connection()
            text, coming = self._calls.begin(event)
            connection.send(text)
            reply = await coming
        return reply if type is None else msgspec.convert(reply.get("reports", []), list[type])  # type: ignore[valid-type]

    async def subscribe(self, *channels: str, timeout: float | None = 30.0) -> None:
        """Hears channels of an event socket, on this connection and on all that follow.

        Args:
            timeout: seconds until the server has acknowledged it, across connections; None for no limit.

        Raises:
            RequestError: the server does not allow it.
            ConnectionClosed: all is over.
            TimeoutError: the time is over.
        """
        await self._change_channels("subscribe", channels, timeout)
        self._channels.update(dict.fromkeys(channels))

    async def unsubscribe(self, *channels: str, timeout: float | None = 30.0) -> None:
        """Hears channels no longer; else as `subscribe`."""
        for channel in channels:
            self._channels.pop(channel, None)
        await self._change_channels("unsubscribe", channels, timeout)

    async def close(self, code: int | None = 1000, reason: str = "") -> None:
        """Ends it for good, with a closing handshake if there is a connection. What is kept is dropped.

        Args:
            code: None for an empty close frame.
            reason: at most 123 bytes of UTF-8; longer is cut.

        Raises:
            ValueError: a code that must not be sent (RFC 6455 §7.4).
        """
        if code is not None:
            require_sendable(code)
        self._is_closing = True
        if self._last is not None and self._last.ending is None:
            self._last.begin_close(code, reason)
            await self._last.wait_closed()
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])
        self._finish(None)

    # -- connections, one after another -------------------------------------------------------------------------------

    async def start(self) -> None:
        """Opens the first connection and keeps coming back.

        Raises:
            HandshakeFailed, OSError, ValueError: it is over before it began.
        """
        self._running = asyncio.create_task(self._run())
        await self._moved.wait()
        if self._error is not None:
            raise self._error

    async def _run(self) -> None:
        while await self.next_connection():
            pass

    async def next_connection(self) -> bool:
        """Waits for the end of the connection, stays away for a while and opens the next; False if all is over."""
        try:
            delay = await self._delay()
            while delay is not None and not self._is_closing:
                await asyncio.sleep(delay)
                delay = await self._try()
                if delay is None:
                    return True
            self._finish(self._error)
        except Exception as error:  # an opening that is final; also whatever a function for headers raises
            self._finish(error)
        return False

    def leave(self) -> None:
        """Is done with this connection and wants another."""
        if self._connection is not None and not self._is_closing:
            self._connection.is_left = True
            self._connection.begin_close()

    async def _try(self) -> float | None:
        """Opens a connection: None, or seconds until the next attempt."""
        try:
            await self._opening.open(lambda handshake: _Connection(handshake, self))
        except Exception as error:
            advice = after_failure(error)
            self._backoff.failures += 1
            if not advice.come_back or self._backoff.failures == self._terms.max_attempts:
                raise
            return self._stay_away(advice, str(error) or type(error).__name__)
        return None

    async def _delay(self) -> float | None:
        """Seconds until the next connection, after the end of the last one; None if there is to be none."""
        if self._last is None:
            return 0.0
        await self._last.wait_closed()
        ending = self._last.ending
        assert ending is not None
        proven = self._last.has_proven_itself
        self._backoff.failures = 0 if proven else self._backoff.failures + 1
        advice = Advice(True) if self._last.is_left else after_ending(ending, self._terms.come_back)
        exhausted = not proven and self._backoff.failures == self._terms.max_attempts
        if self._is_closing or exhausted or not advice.come_back:
            self._error = None if self._is_closing or ending.is_normal else ending.error
            return None
        return self._stay_away(advice, str(ending.error))

    def _stay_away(self, advice: Advice, why: str) -> float:
        seconds = self._backoff.delay(advice)
        _log.info("%s: %s; the next attempt is in %.1f s", self._opening.address.public_url, _on_one_line(why), seconds)
        return seconds

    def _finish(self, error: Exception | None) -> None:
        if self._state != "over":
            self._error = error
            self._queue.clear()
            self._inbox.end()
            self._calls.fail(self._closed_error())
            self._set_state("over")

    def _set_state(self, state: State) -> None:
        self._state = state
        if state == "away":
            self._moved.clear()
        else:
            self._moved.set()
        if self._terms.on_state is not None:
            asyncio.get_running_loop().call_soon(self._terms.on_state, state)

    # -- what happens on them -----------------------------------------------------------------------------------------

    def _has_opened(self, connection: _Connection) -> None:
        self._connection = self._last = connection
        if self._one_by_one:
            self._inbox = Inbox()
        names = list(self._channels)
        for start in range(0, len(names), _CHANNELS_IN_ONE_EVENT):
            text, reply = self._calls.begin(_event("subscribe", names[start : start + _CHANNELS_IN_ONE_EVENT]))
            reply.add_done_callback(self._subscribed_again)
            connection.send(text)
        while self._queue:
            connection.send(self._queue.popleft())
        self._queue_bytes = 0
        self._set_state("connected")

    def _has_message(self, message: str | bytes, connection: _Connection) -> None:
        if not self._calls.answer(message):
            self._inbox.put(message, connection)

    def _has_closed(self, ending: Ending) -> None:
        self._connection = None
        self._calls.fail(ending.error)
        if self._one_by_one:
            self._inbox.end()
        if self._state != "over" and not self._is_closing:  # who closes is not away, but over in a moment
            self._set_state("away")

    def _keep(self, message: str | bytes) -> None:
        size = len(message) if isinstance(message, bytes) else len(message.encode())
        terms = self._terms
        if len(self._queue) >= terms.max_queue or self._queue_bytes + size > terms.max_queue_bytes:
            waiting = f"{len(self._queue)} messages of {self._queue_bytes} bytes wait"
            raise QueueFull(f"away from {self._opening.address.public_url}, and {waiting}")
        self._queue.append(message)
        self._queue_bytes += size

    async def _open_connection(self) -> _Connection:
        while self._connection is None or not self._connection.is_open:
            if self._is_closing or self._state == "over" or (self._one_by_one and self._last is not None):
                raise self._closed_error()
            if self._connection is not None:  # the server has closed, TCP is to end
                await self._connection.wait_closed()
            await self._moved.wait()
        return self._connection

    async def _change_channels(self, kind: str, channels: Sequence[str], timeout: float | None) -> None:
        async with asyncio.timeout(timeout):
            while True:
                try:
                    await self.request(_event(kind, channels), timeout=None)
                    return
                except ConnectionClosed:
                    # to be sent again, which does no harm to a subscription
                    if self._state == "over" or self._is_closing or self._one_by_one:
                        raise

    def _subscribed_again(self, reply: asyncio.Future[Reply]) -> None:
        error = None if reply.cancelled() else reply.exception()
        if isinstance(error, RequestError):
            told = _on_one_line(str(error))
            _log.warning("%s: the server refuses to subscribe again: %s", self._opening.address.public_url, told)

    def _closed_error(self) -> Exception:
        if self._error is not None:
            return self._error
        ending = self._last.ending if self._last is not None else None
        return ending.error if ending is not None else ConnectionClosed(1006)


def _on_one_line(told: str) -> str:
    """What a server says, as a log may have it: it cannot write lines of its own, nor much."""
    return "".join(character if character.isprintable() else "\ufffd" for character in told[:500])


def _event(kind: str, channels: Sequence[str]) -> dict[str, Any]:
    return {"type": kind, "channel_ids": list(channels)}


class _Connection(ClientProtocol):
    """Tells its owner what happens.

    Attributes:
        has_proven_itself: whether it was worth something: it has brought a message, or lasted.
        is_left: the application wants another.
    """

    def __init__(self, handshake: Handshake, owner: LastingConnection) -> None:
        super().__init__(handshake)
        self._owner = owner
        self._opened_at = 0.0
        self.has_proven_itself = False
        self.is_left = False

    def opened(self) -> None:
        self._opened_at = self._loop.time()
        self._owner._has_opened(self)

    def message(self, message: str | bytes) -> None:
        self.has_proven_itself = True
        self._owner._has_message(message, self)

    def closed(self, ending: Ending) -> None:
        if self._loop.time() - self._opened_at >= _PROVEN_SECONDS:
            self.has_proven_itself = True
        self._owner._has_closed(ending)


class connect:
    """A WebSocket that comes back.

    ``async with connect(url) as ws`` waits for the first connection and gives one object for all of them; so does
    ``ws = await connect(url)``, which is then yours to close.
    ``async for ws in connect(url)`` gives it once for each connection; ``async for message in ws`` then ends with that
    connection, and the body that ends wants the next.

    Args:
        url: ``ws://`` or ``wss://``; ``http://`` and ``https://`` stand for them.
        subprotocols: one, or those offered, most wanted first.
        max_queue: messages that are kept while away.
        max_queue_bytes: the same in bytes.
        max_attempts: failures in a row after which it is over; None for no limit.
        backoff_base: seconds; the first delay is at most this.
        backoff_cap: seconds; the longest delay is at most this, besides what the server asks for.
        come_back: close codes after which to come back, besides those of the table.
        on_state: called with each new state.
        options: see `wireloom.clients.opening.ClientOptions`.

    Raises:
        WebSocketSyntaxError: not a WebSocket URL; or a subprotocol that is twice there or no token.
        HandshakeFailed: the server does not agree, and it will not.
        OSError: its certificate is not trusted, or the last of `max_attempts` found nobody.
    """

    _kind = LastingConnection

    def __init__(
        self,
        url: str,
        *,
        subprotocols: str | Iterable[str] = (),
        max_queue: int = 1000,
        max_queue_bytes: int = 4 * 1024 * 1024,
        max_attempts: int | None = None,
        backoff_base: float = 0.5,
        backoff_cap: float = 30.0,
        come_back: Collection[int] = (),
        on_state: Callable[[State], object] | None = None,
        **options: Unpack[ClientOptions],
    ) -> None:
        self._opening = Opening(url, subprotocols, options)
        self._terms = _Terms(max_queue, max_queue_bytes, max_attempts, backoff_base, backoff_cap, come_back, on_state)
        self._lasting: LastingConnection | None = None

    def __await__(self) -> Generator[Any, None, LastingConnection]:
        return self._start().__await__()

    async def _start(self) -> LastingConnection:
        lasting = self._kind(self._opening, self._terms)
        try:
            await lasting.start()
        except BaseException:
            await lasting.close()
            raise
        return lasting

    async def __aenter__(self) -> LastingConnection:
        self._lasting = await self
        return self._lasting

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lasting is not None:
            await self._lasting.close()

    async def __aiter__(self) -> AsyncIterator[LastingConnection]:
        lasting = LastingConnection(self._opening, self._terms, one_by_one=True)
        try:
            while await lasting.next_connection():
                yield lasting
                lasting.leave()
            if lasting._error is not None:
                raise lasting._error
        finally:
            await lasting.close()
