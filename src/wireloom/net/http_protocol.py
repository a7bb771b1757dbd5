"""HTTPProtocol: uvicorn's HTTP protocol, in which the heads of later requests have the bounds of the first.

uvicorn bounds the time between two requests of a connection, but not that in which a head arrives, nor its size, nor
trailers, nor the time of a body that nobody waits for. Law: a refusal comes after the answers to earlier requests, and
nothing after it (RFC 9112 §9.3.2).
"""

from __future__ import annotations

from typing import Any

from uvicorn.config import Config as UvicornConfig
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from wireloom.errors import Deny
from wireloom.net.listener import Listener
from wireloom.net.wheel import Timed
from wireloom.wire.handshake import deny_response

__all__ = ["LINGER_SECONDS", "HTTPProtocol"]

LINGER_SECONDS = 2.0  # for a refused client to take its answer
_HEADER_LINE_BYTES = len(": \r\n")
_REQUEST_LINE_BYTES = len("  HTTP/1.1\r\n\r\n")
_STALL_SECONDS = 60.0  # in which a client has to take something of its answer


class _Stall:
    """Ends a connection whose client takes nothing of what is on its way.

    Args:
        protocol: whose transport holds it.
    """

    __slots__ = ("_held", "_protocol", "bucket")

    def __init__(self, protocol: HTTPProtocol) -> None:
        self._protocol = protocol
        self._held = 0
        self.bucket: set[Timed] | None = None

    def watch(self) -> None:
        """From now on, as long as something is held."""
        self._held = self._protocol.transport.get_write_buffer_size()
        if self._held:
            self._protocol.wheel.add(self, _STALL_SECONDS)

    def on_timeout(self) -> None:
        """Looks whether it has become less."""
        if self._protocol.transport.get_write_buffer_size() >= self._held:
            self._protocol.transport.abort()
        else:
            self.watch()


class HTTPProtocol(HttpToolsProtocol):
    """One connection of plain HTTP, from a whole first request on.

    Args:
        config: uvicorn's configuration.
        server_state: uvicorn's registry of protocols.
        app_state: the lifespan's state.
        listener: whose options bound the heads.

    Attributes:
        wheel: the listener's.
    """

    def __init__(
        self, config: UvicornConfig, server_state: ServerState, app_state: dict[str, Any], listener: Listener
    ) -> None:
        super().__init__(config, server_state, app_state, listener.loop)
        self._listener = listener
        self.wheel = listener.wheel
        self._stall = _Stall(self)
        self._in_head = self._in_body = False
        self._has_moved = False  # whether what was received has begun or ended something, or was part of a body
        self._barren_bytes = 0  # received since it last did
        self._header_bytes = 0  # of the head that is being read
        self._refused = False
        self._refusal: Deny | None = None  # that waits for the answers to earlier requests
        self.bucket: set[Timed] | None = None

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        if self._refused:
            return
        super().on_message_begin()
        self._header_bytes = 0
        self._in_head = self._has_moved = True
        self.wheel.add(self, self._listener.config.handshake_timeout_seconds)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer, which may be discarded (RFC 9110 §6.5.1); uvicorn would add it to the headers."""
        if self._in_head:
            self._header_bytes += len(name) + len(value) + _HEADER_LINE_BYTES
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is there."""
        if self._refused:
            return
        self._in_head, self._has_moved = False, True
        self.wheel.remove(self)
        if self.cycle is not None and self._head_bytes > self._listener.config.max_header_bytes:
            self._refuse(Deny(431, "The request head is too large"))  # of the first, the Front has seen every byte
            return
        if self.parser.should_upgrade() and self._has_body:
            # the parser would take the body for the next request
            self._refuse(Deny(400, "A request that asks for another protocol has no body"))
            return
        super().on_headers_complete()  # which fails for a target that is none; then it is no request
        self._in_body = True

    @property
    def _has_body(self) -> bool:
        """Whether the head announces one."""
        return any(
            name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0 \t"))
            for name, value in self.headers
        )

    @property
    def _head_bytes(self) -> int:
        """The size of a head that came at once, as it is usually written."""
        return len(self.parser.get_method()) + len(self.url) + self._header_bytes + _REQUEST_LINE_BYTES

    def on_body(self, body: bytes) -> None:
        """Some of the body."""
        if self._refused:
            return
        self._has_moved = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is there."""
        if self._refused:
            return
        self._in_body, self._has_moved = False, True
        self.wheel.remove(self)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """A response has left. A body that nobody waits for any more has its time."""
        is_last = not self.pipeline
        super().on_response_complete()
        if self._refusal is not None and is_last and not self.transport.is_closing():
            self._tell(self._refusal)
            return
        if self._in_body and self.cycle.response_complete and not self.transport.is_closing():
            self.wheel.add(self, self._listener.config.handshake_timeout_seconds)

    def data_received(self, data: bytes) -> None:
        """Bytes of heads and bodies. What came together with a head's beginning is not counted as its own."""
        if self._refused:
            return
        self._has_moved = False
        super().data_received(data)
        if self._has_moved:
            self._barren_bytes = 0
        elif not self._refused and (self._in_head or self._in_body):
            # of a head, an extension of a chunk, or trailers
            self._barren_bytes += len(data)
            if self._barren_bytes > self._listener.config.max_header_bytes:
                self._refuse(Deny(431, "The request head is too large"))
        self._bound_idleness()

    def send_400_response(self, msg: str) -> None:
        """What was received is no HTTP. uvicorn would say so before, or within, the answer to an earlier request."""
        self._refuse(Deny(400, "Malformed request"))

    def handle_websocket_upgrade(self) -> None:
        """A WebSocket is asked for. Behind a response that has not left, the 101 would come before it or within it."""
        if self._refused:
            return
        if self.cycle is None or self.cycle.response_complete:
            super().handle_websocket_upgrade()
        else:
            self._refuse(Deny(400, "A WebSocket can be asked for once earlier requests have their answers"))

    def _bound_idleness(self) -> None:
        """uvicorn takes every byte for a request's, and keep-alive has no end then. It need not be: the end of a body
        whose answer has left already, or a line's end too many (RFC 9112 §2.2).
        """
        is_ours = self in self.connections and not self.transport.is_closing()  # neither upgraded nor refused
        is_idle = not self._in_head and not self._in_body and self.cycle is not None and self.cycle.response_complete
        if is_ours and is_idle and self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def on_timeout(self) -> None:
        """A head took too long; one that waits behind a response has its time after that."""
        if self._refused:
            self.transport.abort()
        elif self._in_body:
            self._end_soon()
        elif self.cycle is not None and not self.cycle.response_complete:
            self.wheel.add(self, self._listener.config.handshake_timeout_seconds)
        else:
            self._refuse(Deny(408, "The request head took too long"))

    def pause_writing(self) -> None:
        """The client does not take its answer as fast as it is made."""
        super().pause_writing()
        self._stall.watch()

    def resume_writing(self) -> None:
        """It has taken most of it."""
        self.wheel.remove(self._stall)
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        """No further request came; the last answer may be on its way still."""
        super().timeout_keep_alive_handler()
        self._stall.watch()

    def shutdown(self) -> None:
        """The server stops: the answer that is being made is the last. Called by uvicorn."""
        self._listener.begin_drain()
        super().shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self.wheel.remove(self._stall)
        self.wheel.remove(self)
        super().connection_lost(exc)

    def _refuse(self, deny: Deny) -> None:
        """Refuses the request that is being read, after the answers to those before it; it is the last."""
        self._refused = True
        self.wheel.remove(self)
        cycle = self.cycle
        if self._in_body and self.pipeline and self.pipeline[0][0] is cycle:
            self.pipeline.popleft()  # it waits for those before it, and is not to be asked any more
            self._tell_later(deny)
        elif self._in_body and not cycle.response_started:
            cycle.disconnected = True  # so that the application does not answer, too
            cycle.message_event.set()
            self.transport.write(deny_response(deny))
            self._end_soon()
        elif self._in_body:
            self._end_soon()
        elif cycle is not None and not cycle.response_complete:
            self._tell_later(deny)
        else:
            self._tell(deny)

    def _tell_later(self, deny: Deny) -> None:
        self._refusal = deny
        self.flow.pause_reading()  # what comes is not looked at

    def _tell(self, deny: Deny) -> None:
        """Writes the refusal, and ends the connection."""
        transport, self._refusal = self.transport, None
        self._unset_keepalive_if_required()
        transport.write(deny_response(deny))
        if transport.can_write_eof():
            # The client may still be sending. Closing now would reset the connection and lose the answer on its way.
            transport.write_eof()
            self.wheel.add(self, LINGER_SECONDS)
        else:
            self._end_soon()

    def _end_soon(self) -> None:
        """Ends the connection, also if the client does not take what is on its way."""
        self._refused = True
        self.transport.close()
        self.wheel.add(self, LINGER_SECONDS)
