"""HTTPProtocol: uvicorn's HTTP protocol, in which the heads of later requests have the bounds of the first.

uvicorn bounds the time between two requests of a connection, but not that in which a head arrives, nor its size.
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


class HTTPProtocol(HttpToolsProtocol):
    """One connection of plain HTTP, from a whole first request on.

    Args:
        config: uvicorn's configuration.
        server_state: uvicorn's registry of protocols.
        app_state: the lifespan's state.
        listener: whose options bound the heads.
    """

    def __init__(
        self, config: UvicornConfig, server_state: ServerState, app_state: dict[str, Any], listener: Listener
    ) -> None:
        super().__init__(config, server_state, app_state, listener.loop)
        self._listener = listener
        self._in_head = False
        self._head_bytes = 0
        self._refused = False
        self.bucket: set[Timed] | None = None

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        self._in_head = True
        self._head_bytes = 0
        self._listener.wheel.add(self, self._listener.config.handshake_timeout_seconds)

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._in_head = False
        self._listener.wheel.remove(self)
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Bytes of heads and bodies. What came together with a head's beginning is not counted as its own."""
        if self._refused:
            return
        continues = self._in_head
        super().data_received(data)
        if continues and self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > self._listener.config.max_header_bytes:
                self._refuse(Deny(431, "The request head is too large"))

    def on_timeout(self) -> None:
        """A head took too long; one that waits behind a response has its time after that."""
        if self._refused:
            self.transport.abort()
        elif self.cycle is not None and not self.cycle.response_complete:
            self._listener.wheel.add(self, self._listener.config.handshake_timeout_seconds)
        else:
            self._refuse(Deny(408, "The request head took too long"))

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._listener.wheel.remove(self)
        super().connection_lost(exc)

    def _refuse(self, deny: Deny) -> None:
        transport: Any = self.transport
        self._refused = True
        answered = self.cycle is None or self.cycle.response_complete
        if answered and transport.can_write_eof():
            transport.write(deny_response(deny))
            # The client may still be sending. Closing now would reset the connection and lose the answer on its way.
            transport.write_eof()
            self._listener.wheel.add(self, LINGER_SECONDS)
        else:
            if answered:
                transport.write(deny_response(deny))
            transport.close()
