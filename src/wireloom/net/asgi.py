"""A WebSocket on somebody else's server: the same endpoints over ASGI's ``websocket`` scope."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from wireloom.core.caller import current_caller
from wireloom.core.dispatch import run_hook, time_rest
from wireloom.errors import ConnectionClosed, Deny, require_sendable
from wireloom.hub.connection import Connection
from wireloom.hub.outbox import Outbox, Sink
from wireloom.net.drain import advise
from wireloom.net.listener import Listener, Plan
from wireloom.net.opening import admit, find_endpoint
from wireloom.wire.frames import frame_payload, is_text_frame
from wireloom.wire.handshake import RequestHead, choose_subprotocol, deny_body

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

__all__ = ["serve_websocket"]


async def serve_websocket(listener: Listener, scope: Scope, receive: Receive, send: Send) -> None:
    """Serves one WebSocket from its handshake to its end; returns when its last hook has run."""
    head = _head(scope)
    await receive()  # websocket.connect
    try:
        endpoint, path_params, query_params = find_endpoint(listener, head, _path(scope))
        carrier = _Carrier(listener, listener.plan(endpoint), head, scope, send)
        carrier.connection.path_params, carrier.connection.query_params = path_params, query_params
        since = listener.hub.logins.revocations
        await _admit(listener, carrier.connection)
        listener.enter(carrier)
    except Deny as deny:
        listener.hub.counts.refused[deny.status] += 1
        await _refuse(deny, scope, send)
        return
    try:
        await carrier.run(receive, since)
    finally:
        listener.leave(carrier)


async def _admit(listener: Listener, connection: Connection) -> None:
    """Asks the endpoint, for no longer than a handshake may take. The head has come within the server's own time.

    Raises:
        Deny: 408, or what `admit` says.
    """
    too_long = Deny(408, "The handshake took too long")
    limit = asyncio.timeout(listener.config.handshake_timeout_seconds)
    try:
        async with limit:
            await admit(listener, connection)
    except TimeoutError:
        raise too_long from None
    if limit.expired():  # a hook has survived its cancellation
        raise too_long


def _head(scope: Scope) -> RequestHead:
    query = scope.get("query_string", b"").decode("latin-1")
    raw_path = scope.get("raw_path") or scope["path"].encode()
    target = raw_path.decode("latin-1").partition("?")[0] + (f"?{query}" if query else "")
    headers = [(name.lower(), value) for name, value in scope["headers"]]
    return RequestHead("GET", target, scope.get("http_version", "1.1"), b"", headers)


def _path(scope: Scope) -> str:
    """The path below the mount point, as the router wants it: percent-encoded."""
    raw = (scope.get("raw_path") or b"").decode("latin-1").partition("?")[0] or scope["path"]
    root = scope.get("root_path", "").rstrip("/")
    return (raw.removeprefix(root) if raw.startswith(root) else raw) or "/"


async def _refuse(deny: Deny, scope: Scope, send: Send) -> None:
    """An HTTP answer where the server can give one, else the close that becomes a 403."""
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008})
        return
    content_type, body = deny_body(deny)
    headers = {"content-type": content_type, "content-length": str(len(body)), **deny.headers}
    pairs = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "websocket.http.response.start", "status": deny.status, "headers": pairs})
    await send({"type": "websocket.http.response.body", "body": body})


class _Carrier:
    """The link of a connection whose frames are somebody else's: one task receives, one sends.

    Its outbox writes into a list that the sender empties; messages are handled in order as on our own port.
    """

    def __init__(self, listener: Listener, plan: Plan, head: RequestHead, scope: Scope, send: Send) -> None:
        self._listener = listener
        self._plan = plan
        self._scope = scope
        self._send = send
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._more = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._close: tuple[int, str] | None = None
        self._accepted = False
        self._gone = False
        self._queue: asyncio.Queue[str | bytes] = asyncio.Queue()  # bounded by what is received
        self._queued_bytes = 0
        self._may_receive = asyncio.Event()  # as not so much waits for handlers that nothing more is read
        self._may_receive.set()
        self._busy = 0  # handlers that run
        self._leaving: asyncio.Task[None] | None = None  # closes behind the messages that have come
        self.cancelled = False
        self.close_code: int | None = None
        self.close_reason = ""
        self.subprotocol = choose_subprotocol(head, plan.endpoint.subprotocols)
        self._outbox = _MessageOutbox(None, listener.hub.flusher, plan.outbox_rules, self._overflow)
        self.connection = Connection(plan.endpoint, head, self, listener.hub, self._outbox)

    # -- link --------------------------------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Whether messages can be sent."""
        return self._accepted and self._close is None and not self._gone

    @property
    def is_closed(self) -> bool:
        """Whether the peer is gone."""
        return self._gone

    @property
    def client(self) -> tuple[str, int] | None:
        """The peer's address as the server reports it."""
        client = self._scope.get("client")
        return (client[0], client[1]) if client else None

    def close(self, code: int, reason: str) -> None:
        """Closes after everything that was sent before."""
        require_sendable(code)
        if self.is_open:
            self._outbox.finish(b"")
            self._close = (code, reason)
            self.close_code, self.close_reason = code, reason
            self._room.set()
            self._more.set()

    async def drain(self) -> None:
        """Waits until the peer has read enough for more to be sent."""
        await asyncio.sleep(0)
        await self._room.wait()
        if not self.is_open:
            raise ConnectionClosed(self.close_code or 1006, self.close_reason)

    def cut(self, reason: str) -> None:
        """Closes at once: with 1001 where a handler runs, whose reply will not come, else with 1012."""
        if self.is_open:
            self.close(1001 if self._busy else 1012, reason)

    def abort(self) -> None:
        """Ends it; ASGI knows no harder way than a close."""
        self.cut(advise())

    def restart(self, reason: str | None = None) -> None:
        """Lets running handlers end, then closes with 1012; what comes meanwhile is not handled any more."""
        reason = advise() if reason is None else reason
        if self._plan.endpoint.streams and self.is_open:
            self.close(1012, reason)
        elif self.is_open and self._leaving is None:
            self._leaving = asyncio.ensure_future(self._close_behind(reason))

    async def _close_behind(self, reason: str) -> None:
        await self._queue.join()
        if self.is_open:
            self.close(1012, reason)

    @property
    def path(self) -> str:
        """What the router found it by."""
        return _path(self._scope)

    def swap(self, plan: Plan) -> bool:
        """Handles what comes from now on by another plan; how many messages at a time stays as it was."""
        self._plan = plan
        return True

    def _overflow(self) -> None:
        self._waiting.clear()
        self._gone = True
        self._close = (1013, "Too slow")
        self.close_code, self.close_reason = self._close
        self._outbox.end()
        self._room.set()
        self._more.set()

    # -- sink --------------------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Takes one frame for the sender."""
        self._waiting.append(data)
        self._waiting_bytes += len(data)
        self._more.set()
        if self._waiting_bytes > _HIGH_WATER_BYTES:
            self._room.clear()
            self._outbox.pause()

    def get_write_buffer_size(self) -> int:
        """Bytes that the sender has not passed on."""
        return self._waiting_bytes

    # -- life --------------------------------------------------------------------------------------------------------

    async def run(self, receive: Receive, since: int) -> None:
        """From the acceptance to the last hook."""
        listener = self._listener
        await self._send({"type": "websocket.accept", "subprotocol": self.subprotocol, "headers": []})
        self._accepted = True
        self._outbox.begin(self)
        listener.hub.register(self.connection, since)
        sender = asyncio.ensure_future(self._pass_on())
        try:
            if await run_hook(self._plan.endpoint, "on_connect", self.connection):
                await self._receive(receive)
            else:
                self.close(1011, "Internal error")
                await sender
        finally:
            self._gone = True
            self._room.set()
            sender.cancel()
            if self._leaving is not None:
                self._leaving.cancel()
            listener.leave(self)
            listener.hub.unregister(self.connection)
            self._outbox.end()
            await run_hook(self._plan.endpoint, "on_disconnect", self.connection)

    async def _receive(self, receive: Receive) -> None:
        """Reads ahead by the queue's limit while handlers run in order, `concurrency` at a time."""
        queue = self._queue
        workers = [asyncio.ensure_future(self._work(queue)) for _ in range(self._plan.endpoint.concurrency)]
        try:
            while True:
                await self._may_receive.wait()
                event = await receive()
                if event["type"] == "websocket.disconnect":
                    break
                text = event.get("text")
                payload = text if text is not None else event["bytes"]
                self._count(payload)
                if self._is_too_large(payload):
                    self.close(1009, "message too big")
                elif self._leaving is None:
                    queue.put_nowait(payload)
                    self._count_queued(len(payload))
            self.close_code = self.close_code or event.get("code", 1005)
            self._gone = True
            self._room.set()
            if not self._plan.endpoint.streams:
                await queue.join()
        finally:
            self.cancelled = True
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    def _count(self, payload: str | bytes) -> None:
        counts = self._outbox.counts
        counts.received += 1
        counts.received_bytes += len(payload.encode() if isinstance(payload, str) else payload)

    def _count_queued(self, size: int) -> None:
        self._queued_bytes += size
        if self._plan.is_full(self._queue.qsize(), self._queued_bytes):
            self._may_receive.clear()
        else:
            self._may_receive.set()

    def _is_too_large(self, payload: str | bytes) -> bool:
        limit = self._plan.endpoint.limits.max_message_bytes
        if not limit or 4 * len(payload) <= limit:
            return False
        return len(payload.encode() if isinstance(payload, str) else payload) > limit

    async def _work(self, queue: asyncio.Queue[str | bytes]) -> None:
        while True:
            payload = await queue.get()
            self._count_queued(-len(payload))
            if self._close is None:
                current_caller.set(self.connection)
                self._busy += 1
                now, counts = self._listener.wheel.now, self._outbox.counts
                if counts.timed_until == now:
                    await self._plan.dispatch(self.connection, payload)
                else:
                    await time_rest(self._plan.dispatch(self.connection, payload), counts, now)
                self._busy -= 1
            queue.task_done()

    async def _pass_on(self) -> None:
        """The sender: frames become ASGI messages again."""
        while True:
            await self._more.wait()
            self._more.clear()
            frames, self._waiting = self._waiting, []
            for frame in frames:
                await self._send(_message(frame))
            self._waiting_bytes = sum(map(len, self._waiting))
            if self._close is not None and not self._waiting:
                await self._send({"type": "websocket.close", "code": self._close[0], "reason": self._close[1]})
                return
            if not self._room.is_set():
                self._room.set()
                self._outbox.resume()


_HIGH_WATER_BYTES = 64 * 1024


def _message(frame: bytes) -> dict[str, Any]:
    payload = frame_payload(frame)
    if is_text_frame(frame):
        return {"type": "websocket.send", "text": payload.decode()}
    return {"type": "websocket.send", "bytes": payload}


class _MessageOutbox(Outbox):
    """Hands frames on one by one, as the ASGI server makes a message of each."""

    __slots__ = ()

    def flush(self, joined: bytes | None = None) -> None:
        """Writes frame by frame."""
        if self.paused or self._sink is None:
            super().flush()
            return
        frames = self.frames[:]
        self.frames.clear()
        self.counts.sent += len(frames)
        self.counts.sent_bytes += sum(map(len, frames))
        self._write_all(self._sink, frames)

    def _write_all(self, sink: Sink, frames: list[bytes]) -> None:
        for frame in frames:
            if frame:
                sink.write(frame)
