"""The WebSocket shell: an asyncio protocol that drives `wire` and conducts messages to dispatch.

Laws:
- States only go forward: ASKED → OPENING → OPEN → CLOSING → CLOSED.
- Messages of a connection are handled in order; `on_connect` ends before the first, `on_disconnect` follows the last.
- What one read brings about leaves in one write (cork); while a handler is slow, reading pauses at the queue's limit.
- An idle connection owns no task, no timer, no buffer and no queue.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from contextvars import Context
from typing import Any, NamedTuple, TypeAlias

from wireloom.core.caller import current_caller
from wireloom.core.dispatch import Direct, context_of, run_hook, time_direct, time_rest
from wireloom.errors import ConnectionClosed, ProtocolError, require_sendable
from wireloom.hub.connection import Connection
from wireloom.hub.outbox import DeflatingOutbox, Outbox
from wireloom.net.drain import advise
from wireloom.net.forwarded import forwarded_client
from wireloom.net.listener import Listener, Plan
from wireloom.net.wheel import Timed
from wireloom.wire.frames import PING, PONG, close_frame, encode_frame
from wireloom.wire.handshake import RequestHead
from wireloom.wire.messages import Close, Event, MessageReader, Ping

__all__ = ["WebSocketShell"]

Work: TypeAlias = "str | bytes | Close | ProtocolError | _Restart"


# States. ASKED: before the 101, while the application decides; OPENING: on_connect has not ended; CLOSING: a close
# frame was sent, what arrives is read to find the peer's; CLOSED: the transport is gone.
_ASKED, _OPENING, _OPEN, _CLOSING, _CLOSED = range(5)
_LARGE_READ_BYTES = 32 * 1024  # above which what was read waits when the loop has much to do
_NOT_SINCE_PING = -1.0  # in the place of the time when something was last heard


class _Restart(NamedTuple):
    """Waits in the queue behind running handlers: the server stops, or what it served is gone."""

    reason: str


class WebSocketShell(asyncio.Protocol):
    """The server's transport side of one connection.

    Args:
        listener: what all connections share.
        plan: what the connections of this endpoint share.
        transport: where bytes come from and go to.
        head: the upgrade request.
        connections: the server's set of protocols to shut down.

    Attributes:
        extensions: the answer to the client's offer of compression; empty: none.

    Raises:
        Deny: 400 for extensions that are none.
    """

    __slots__ = (
        "_cancelled",
        "_concurrency",
        "_connections",
        "_context",
        "_deaf",
        "_direct",
        "_dispatch",
        "_drained",
        "_listener",
        "_outbox",
        "_pings",
        "_plan",
        "_queue",
        "_reader",
        "_reading",
        "_state",
        "_tasks",
        "_transport",
        "_turn",
        "bucket",
        "close_code",
        "close_reason",
        "connection",
        "extensions",
        "seen",
        "subprotocol",
    )

    def __init__(
        self, listener: Listener, plan: Plan, transport: asyncio.Transport, head: RequestHead, connections: set[Any]
    ) -> None:
        self._listener = listener
        self._plan = plan
        self._transport = transport
        self._connections = connections
        self.extensions = ""
        self._reader, self._outbox = self._compressed(head) or (
            MessageReader(plan.reader_rules),
            Outbox(None, listener.hub.flusher, plan.outbox_rules, self._overflow),
        )
        self._context: Context | None = None  # made with the first message that is handled directly
        self._dispatch = plan.dispatch
        self._direct = plan.direct
        self._concurrency = plan.endpoint.concurrency
        self._state = _ASKED
        self._tasks: set[asyncio.Task[None]] | None = None  # handlers that have not ended
        self._queue: list[Work] | None = None  # what arrived while they run
        self._drained: list[asyncio.Future[None]] | None = None
        self._reading = True
        self._pings = 0  # of ours that were not answered
        self._turn = False  # whether what the reader holds will be handled in a turn to come
        self._deaf = False  # nothing more is handled: the connection was closed, or nobody waits for its streams
        self._cancelled = False
        self.bucket: set[Timed] | None = None
        self.seen = listener.wheel.now
        self.subprotocol: str | None = None
        self.close_code: int | None = None
        self.close_reason = ""
        self.connection = Connection(plan.endpoint, head, self, listener.hub, self._outbox)

    def _compressed(self, head: RequestHead) -> tuple[MessageReader, Outbox] | None:
        """Reader and outbox of a connection that agrees on permessage-deflate."""
        deflate, flusher, plan = self._listener.deflate, self._listener.hub.flusher, self._plan
        offers = head.tokens(b"sec-websocket-extensions") if deflate is not None else ()
        agreed = deflate.agree(offers) if deflate is not None and offers else None
        if agreed is None:
            return None
        self.extensions, deflater, inflater = agreed
        reader = MessageReader(plan.reader_rules, inflater)
        return reader, DeflatingOutbox(deflater, flusher, plan.outbox_rules, self._overflow)

    def _descriptor(self) -> int:
        """Where bytes may go past the transport. It closes the descriptor only after `connection_lost`."""
        return -1 if sys.platform == "win32" else self._transport.get_extra_info("socket").fileno()

    # -- opening ---------------------------------------------------------------------------------------------------

    def open(self, since: int | None = None) -> None:
        """The 101 is on its way: the connection exists from now on.

        Args:
            since: `Logins.revocations` before the endpoint was asked.
        """
        listener, endpoint = self._listener, self._plan.endpoint
        self._state = _OPENING
        self._outbox.begin(self._transport, self._descriptor())
        self._connections.add(self)
        listener.hub.register(self.connection, since)
        interval = endpoint.limits.ping_interval_seconds
        if interval:
            listener.wheel.add(self, interval)
        if endpoint.on_connect is None:
            self._state = _OPEN
        else:
            self._start(self._open())

    async def _open(self) -> None:
        went_well = await run_hook(self._plan.endpoint, "on_connect", self.connection)
        self._deaf = self._deaf or not went_well
        if self._state == _OPENING:
            self._state = _OPEN
            if not went_well:
                self.close(1011, "Internal error")

    # -- messages --------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Takes what arrived; everything it brings about at once is written before this returns."""
        self.seen = self._listener.wheel.now
        outbox, reader = self._outbox, self._reader
        if len(data) > _LARGE_READ_BYTES and self._state == _OPEN and not self._listener.turns.has_time():
            outbox.counts.received_bytes += len(data)
            reader.hold(data)
            self._wait_for_turn()
            return
        outbox.marked = True
        events, counts = reader.feed(data), outbox.counts
        counts.received += len(events)
        counts.received_bytes += len(data)
        self._handle(events)
        outbox.marked = False
        if outbox.frames:
            outbox.flush()
        if reader.holds and self._reading:
            self._wait_for_turn()

    def _handle(self, events: list[Event]) -> None:
        if self._state == _OPEN and self._tasks is None and self._direct is not None:
            self._call_directly(self._direct, events)
        elif events:
            self._take(events)

    def _wait_for_turn(self) -> None:
        self._reading = False
        self._transport.pause_reading()
        self._take_turn()

    def _take_turn(self) -> None:
        """Handles what the reader holds after the others' turn, so that a flood delays nobody else for long."""
        if not self._turn:
            self._turn = True
            self._listener.turns.wait(self._read_on)

    def _read_on(self) -> None:
        """Goes on with what the reader holds; when that is handled, with what arrives."""
        self._turn = False
        if self._state != _CLOSED and self._may_read():
            if self._reader.holds:
                self.data_received(b"")
            self._resume_reading()

    def _call_directly(self, direct: Direct, events: list[Event]) -> None:
        """Handles messages without a task, up to the first event that is none."""
        connection, context = self.connection, self._context
        if context is None:
            context = self._context = context_of(connection)
        counts = self._outbox.counts
        if counts.timed_until != self.seen:
            direct = time_direct(direct, counts, self.seen)
        left = iter(events)
        for event in left:
            if (type(event) is not str and type(event) is not bytes) or self._state != _OPEN:
                self._take([event, *left])
                break
            rest = direct(context, connection, event)
            if rest is not None:
                self._start(rest)
                if self._tasks is not None:
                    self._take([*left])
                    break

    def _take(self, events: list[Event]) -> None:
        counts = self._outbox.counts
        if self._state == _CLOSING:
            counts.received -= len(events)
            if any(isinstance(event, (Close, ProtocolError)) for event in events):
                self._transport.close()
            return
        work: list[Work] = []
        for event in events:
            if isinstance(event, (str, bytes)):
                work.append(event)
                continue
            counts.received -= 1
            if isinstance(event, (Close, ProtocolError)):
                work.append(event)
            elif isinstance(event, Ping):
                # RFC 6455 §5.5.2: a pong MUST carry the ping's payload, as soon as is practical
                counts.control += 1
                if self._plan.is_refused is None or not self._plan.is_refused(self.connection):
                    self._outbox.push(encode_frame(PONG, event.payload))
            elif self._pings:
                self._pings -= 1
            elif self._plan.is_refused is not None:  # a pong that nobody asked for costs what a ping does
                self._plan.is_refused(self.connection)
        if work and self._plan.endpoint.streams and isinstance(work[-1], (Close, ProtocolError)):
            # nobody waits for a stream any more: those that run end now, those in the queue never begin
            work, self._queue = work[-1:], None
            self._cancel()
        self._enqueue(work)

    def _enqueue(self, work: list[Work]) -> None:
        """Handles work now if nothing runs, else lets it wait its turn."""
        if self._state == _OPENING:
            self._wait(work)
        elif self._concurrency > 1:
            self._spread(work)
        elif self._tasks is None and work:
            self._start(self._drain(work))
        else:
            self._wait(work)

    def _spread(self, work: list[Work]) -> None:
        """Concurrent handling: a task for each message up to the limit; the end waits for all of them."""
        for index, item in enumerate(work):
            busy = len(self._tasks or ())
            if self._queue or busy >= self._concurrency or (busy and not isinstance(item, (str, bytes))):
                del work[:index]  # of a flood, a copy for each message would cost more than the message
                self._wait(work)
                return
            self._start(self._drain([item]))

    def _wait(self, work: list[Work]) -> None:
        """Lets work wait for its turn; the list is the queue's from now on."""
        if self._queue:
            self._queue += work
        else:
            self._queue = work or None
        if self._reading and self.is_open and self._is_full():
            self._reading = False
            self._transport.pause_reading()

    def _is_full(self) -> bool:
        """Whether nothing more is read before a handler has ended."""
        queue = self._queue or ()
        return self._plan.is_full(len(queue), sum(len(item) for item in queue if isinstance(item, (str, bytes))))

    async def _drain(self, work: list[Work]) -> None:
        connection = self.connection
        current_caller.set(connection)
        turns = self._listener.turns if len(work) > 1 else None
        for item in work:
            if turns is not None and not turns.has_time():
                await turns.pause()
            if isinstance(item, (Close, ProtocolError)):
                self._end(item)
            elif self._deaf:
                continue
            elif isinstance(item, _Restart):
                self.close(1012, item.reason)
            else:
                # looked up for each: a live reload may have swapped it
                now, counts = self._listener.wheel.now, self._outbox.counts
                if counts.timed_until == now:
                    await self._dispatch(connection, item)
                else:
                    await time_rest(self._dispatch(connection, item), counts, now)

    def _start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = self._listener.start_task(coroutine)
        if not task.done():
            if self._tasks is None:
                self._tasks = set()
            self._tasks.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        """A handler that had to wait has ended: go on with what arrived meanwhile."""
        if self._tasks is not None:
            self._tasks.discard(task)
            if not self._tasks:
                self._tasks = None
        work, self._queue = self._queue, None
        self._resume_reading()
        if work:
            self._enqueue(work)
        if self._state == _CLOSED and self._tasks is None:
            self._leave()

    # -- sending and closing ---------------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Whether messages can be sent."""
        return _ASKED < self._state < _CLOSING

    @property
    def is_closed(self) -> bool:
        """Whether the transport is gone."""
        return self._state == _CLOSED

    @property
    def cancelled(self) -> bool:
        """Whether its handlers were told to end at once."""
        return self._cancelled or self._listener.stopping

    @property
    def client(self) -> tuple[str, int] | None:
        """The peer's address and port, as seen through trusted proxies."""
        peer = self._transport.get_extra_info("peername")
        address = tuple(peer[:2]) if isinstance(peer, tuple) else None
        return forwarded_client(self.connection.head.headers, address, self._listener.config.forwarded_allow_ips)

    async def drain(self) -> None:
        """Waits until the peer has read enough for more to be sent, for one loop turn at least."""
        await asyncio.sleep(0)
        while self._outbox.paused and self.is_open:
            waiter = self._listener.loop.create_future()
            if self._drained is None:
                self._drained = []
            self._drained.append(waiter)
            await waiter
        if not self.is_open:
            raise ConnectionClosed(self.close_code or 1006, self.close_reason)

    def pause_writing(self) -> None:
        """The transport holds enough. A client that does not take its replies is not asked for more messages."""
        self._outbox.pause()
        if self.is_open and self._reading:
            self._reading = False
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """The transport takes more."""
        self.seen = self._listener.wheel.now
        self._outbox.resume()
        self._wake()
        self._resume_reading()

    def _resume_reading(self) -> None:
        """Reads on, unless messages or bytes still wait for something."""
        if self._reading or not self._may_read():
            return
        if self._reader.holds:
            self._take_turn()
        else:
            self._reading = True
            self._transport.resume_reading()

    def _may_read(self) -> bool:
        return not self.is_open or not (self._is_full() or self._outbox.paused)

    def _wake(self) -> None:
        waiters, self._drained = self._drained, None
        for waiter in waiters or ():
            if not waiter.done():
                waiter.set_result(None)

    def close(self, code: int, reason: str) -> None:
        """Sends a close frame after all that was sent before, and waits for the peer's for so long and no longer."""
        require_sendable(code)
        if self.is_open:
            self._say_close(code, reason)
        self._deaf = self._state != _ASKED

    def _say_close(self, code: int | None, reason: str) -> None:
        frame = close_frame(code, reason)
        self._state = _CLOSING
        self._deaf = True
        self.close_code, self.close_reason = code, reason
        self._outbox.finish(frame)
        self._wake()
        self._listener.wheel.add(self, self._plan.endpoint.limits.close_timeout_seconds)
        self._resume_reading()

    def _end(self, cause: Close | ProtocolError) -> None:
        """The peer closes, or broke the protocol."""
        if not self.is_open:
            if self._state == _CLOSING:
                self._transport.close()
            return
        if isinstance(cause, Close):
            # RFC 6455 §5.5.1: answer with the code received; an empty close stays empty
            self._say_close(cause.code, cause.reason)
            self._transport.close()
            return
        self._say_close(cause.code, cause.reason)
        # The peer may still be sending. Closing now would reset the connection and lose the close frame on its way.
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()

    def _overflow(self) -> None:
        if self.is_open:
            self._say_close(1013, "Too slow")

    def shutdown(self) -> None:
        """The server stops; its drain has this connection's turn come. Called by uvicorn."""
        self._listener.begin_drain()

    def restart(self, reason: str | None = None) -> None:
        """Lets running handlers end, then closes with 1012.

        Args:
            reason: by default the advice to come back within two seconds.
        """
        if not self.is_open:
            return
        reason = advise() if reason is None else reason
        if self._tasks is None or self._plan.endpoint.streams:
            self.close(1012, reason)
        else:
            self._wait([_Restart(reason)])

    def cut(self, reason: str) -> None:
        """Closes at once: with 1001 where a handler runs, whose reply will not come, else with 1012."""
        self.close(1012 if self._tasks is None else 1001, reason)

    @property
    def path(self) -> str:
        """What the router found it by."""
        path: str = self.connection.head.path
        return path

    def swap(self, plan: Plan) -> bool:
        """Handles what comes from now on by another plan, while handlers that run end by the old one.

        Returns:
            Whether it goes on. How running handlers end is another matter for streams, so there it does not.
        """
        if self._tasks is not None and plan.endpoint.streams != self._plan.endpoint.streams:
            return False
        self._plan, self._dispatch, self._direct = plan, plan.dispatch, plan.direct
        self._concurrency = plan.endpoint.concurrency
        self._reader.obey(plan.reader_rules)
        return True

    def abort(self) -> None:
        """Ends the connection without a word."""
        self._deaf = True
        self._cancel()
        self._transport.abort()

    def _cancel(self) -> None:
        self._cancelled = True
        for task in tuple(self._tasks or ()):
            task.cancel()

    # -- the end ---------------------------------------------------------------------------------------------------

    def eof_received(self) -> None:
        """The peer sends no more; the transport closes itself."""

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is gone."""
        if self.close_code is None and self._state != _CLOSING:
            self.close_code = 1006
        self._state = _CLOSED
        self._outbox.end()
        listener = self._listener
        listener.wheel.remove(self)
        listener.leave(self)
        self._connections.discard(self)
        listener.hub.unregister(self.connection)
        self._outbox.release()
        self._reader.end()
        self._wake()
        if self._plan.endpoint.streams:
            self._deaf = True
            self._cancel()
        if self._tasks is None:
            self._leave()
        else:
            for task in self._tasks:
                listener.keep(task)

    def _leave(self) -> None:
        """Everything was handled: the last hook, once."""
        endpoint = self._plan.endpoint
        if endpoint.on_disconnect is not None:
            self._listener.keep(self._listener.start_task(self._disconnect()))

    async def _disconnect(self) -> None:
        await run_hook(self._plan.endpoint, "on_disconnect", self.connection)

    # -- time ------------------------------------------------------------------------------------------------------

    def on_timeout(self) -> None:
        """Pings after silence, gives up on a peer that does not answer, ends one that does not close."""
        wheel, limits = self._listener.wheel, self._plan.endpoint.limits
        if self._state == _CLOSING:
            self._transport.abort()
            return
        if not self._reading and not self._outbox.paused:
            # It is we who do not listen; writing tells whether the peer is still there.
            self._ping()
            wheel.add(self, limits.ping_interval_seconds)
            return
        silence = wheel.now - self.seen
        if self.seen == _NOT_SINCE_PING:
            self._say_close(1011, "Ping timeout")
            self._transport.close()
        elif silence >= limits.ping_interval_seconds:
            self.seen = _NOT_SINCE_PING
            self._ping()
            wheel.add(self, limits.ping_timeout_seconds)
        else:
            wheel.add(self, limits.ping_interval_seconds - silence)

    def _ping(self) -> None:
        self._outbox.counts.control += 1
        self._pings += 1
        self._outbox.push(encode_frame(PING, b""))


class BufferedWebSocketShell(WebSocketShell, asyncio.BufferedProtocol):
    """The shell over TLS: there, reading into one shared buffer costs a fifth of being handed bytes."""

    __slots__ = ()

    def _descriptor(self) -> int:
        """What is written has to be encrypted by the transport."""
        return -1

    def get_buffer(self, sizehint: int) -> memoryview:
        """The read buffer that all connections share."""
        return _READ_BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        """So many bytes were read."""
        self.data_received(bytes(_READ_BUFFER[:nbytes]))


_READ_BUFFER = memoryview(bytearray(256 * 1024))
