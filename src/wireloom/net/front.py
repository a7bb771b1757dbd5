"""Front: the port's first bytes. A WebSocket upgrade becomes our shell; all else is handed to uvicorn's HTTP protocol.

It is the class behind uvicorn's ``http=`` and ``ws=`` options, so listening, TLS, workers and signals stay uvicorn's.
"""

from __future__ import annotations

import asyncio
import re
import socket
from typing import Any

from uvicorn.config import Config as UvicornConfig
from uvicorn.server import ServerState

from wireloom.errors import Deny
from wireloom.net.http_protocol import LINGER_SECONDS, HTTPProtocol
from wireloom.net.listener import Listener
from wireloom.net.opening import admit, find_endpoint, needs_admission
from wireloom.net.websocket import BufferedWebSocketShell, WebSocketShell
from wireloom.net.wheel import Timed
from wireloom.wire.handshake import (
    RequestHead,
    check_upgrade,
    choose_subprotocol,
    deny_response,
    is_upgrade,
    parse_head,
    switching_protocols,
)

__all__ = ["Front", "Upgraded", "find_listener"]

# HTTP/2, for instance: a server may ignore it (RFC 9110 §7.8), where uvicorn's parser would leave the body unread
_OTHER_UPGRADE = re.compile(rb"\r\nupgrade:[^\r\n]*(?=\r\n[^ \t])", re.IGNORECASE)
_LAST_HEAD_SECONDS = 0.1  # for a request that is on its way when the server stops
_TLS_HANDSHAKE = b"\x16\x03"  # RFC 8446 §5.1: what the first record of a TLS client begins with


def find_listener(application: Any) -> Listener:
    """The listener of the application behind uvicorn's middleware.

    Raises:
        TypeError: there is no Wireloom application there.
    """
    while application is not None:
        listener = getattr(application, "listener", None)
        if isinstance(listener, Listener):
            return listener
        application = getattr(application, "app", None)
    raise TypeError("the Front serves Wireloom applications only, after their start-up")


def _send_at_once(transport: asyncio.Transport) -> None:
    """Turns Nagle's algorithm off, as uvloop does; asyncio's own loop only knows sockets with a protocol number."""
    if type(transport).__module__.startswith("asyncio."):
        connected = transport.get_extra_info("socket")
        if connected is not None and connected.family in (socket.AF_INET, socket.AF_INET6):
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class Front(asyncio.Protocol):
    """Reads the first request head of a TCP connection and decides who goes on. Made by uvicorn for each of them.

    Args:
        config: uvicorn's configuration.
        server_state: uvicorn's registry of protocols.
        app_state: the lifespan's state.
    """

    __slots__ = (
        "_app_state",
        "_config",
        "_listener",
        "_received",
        "_refused",
        "_server_state",
        "_task",
        "_transport",
        "bucket",
    )

    def __init__(
        self,
        config: UvicornConfig,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._config = config
        self._server_state = server_state
        self._app_state = app_state
        self._listener = find_listener(config.loaded_app)
        self._received = b""
        self._refused = False
        self._task: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport | None = None
        self.bucket: set[Timed] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected."""
        self._transport = transport
        _send_at_once(transport)
        self._server_state.connections.add(self)  # type: ignore[arg-type]
        self._listener.wheel.add(self, self._listener.config.handshake_timeout_seconds)
        if self._listener.draining:  # it was accepted just before the port was closed
            self.shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client went away before anything was decided."""
        self._forget()
        if self._task is not None:
            self._task.cancel()

    def eof_received(self) -> None:
        """The client sends no more; the transport closes itself."""

    def pause_writing(self) -> None:
        """Nothing that the front writes is large."""

    def resume_writing(self) -> None:
        """Nothing that the front writes is large."""

    def shutdown(self) -> None:
        """The server stops: what has been asked is still answered. Called by uvicorn."""
        self._listener.begin_drain()
        self._listener.loop.call_later(_LAST_HEAD_SECONDS, self._wait_no_longer)

    def _wait_no_longer(self) -> None:
        """The server stops, and here is nothing that it could still do."""
        undecided: set[Any] = self._server_state.connections
        if self not in undecided:
            return
        assert self._transport is not None
        if self._task is not None:  # whatever the application would say, there will be no connection
            self._task.cancel()
        if self._received or self._task is not None:
            self._refuse(Deny(503, "The server stops", {"Retry-After": "1"}))
        else:
            self._transport.close()

    def on_timeout(self) -> None:
        """The handshake took too long."""
        assert self._transport is not None
        if self._task is not None:
            self._task.cancel()
        if self._refused:
            self._transport.abort()
            return
        if self._task is None and not self._received:
            self._transport.close()  # browsers open connections ahead; one that was never used needs no answer
        self._refuse(Deny(408, "The handshake took too long"))

    def data_received(self, data: bytes) -> None:
        """Collects the request head."""
        if self._refused:
            return
        # Empty lines before a request are no part of it (RFC 9112 §2.2), nor are they a head that has come
        data = self._received + data if self._received or self._task is not None else data.lstrip(b"\r\n")
        if self._task is not None:
            self._received = data  # what follows an upgrade request that is being decided on
            if len(data) > self._listener.config.max_header_bytes and self._transport is not None:
                self._transport.pause_reading()
            return
        end = data.find(b"\r\n\r\n")
        if end >= 0:
            self._decide(data, end + 4)
        elif len(data) > self._listener.config.max_header_bytes:
            self._refuse(Deny(431, "The request head is too large"))
        elif data.startswith(_TLS_HANDSHAKE):
            self._refuse(Deny(400, "There is no TLS on this port; use http:// or ws://"))
        else:
            self._received = data

    def _decide(self, data: bytes, end: int) -> None:
        if end > self._listener.config.max_header_bytes:
            self._refuse(Deny(431, "The request head is too large"))
        elif b"websocket" not in data[:end].lower():
            self._hand_over(data, end)
        else:
            self._upgrade(data, end)

    def _hand_over(self, data: bytes, end: int) -> None:
        """An HTTP request: uvicorn's protocol gets the transport, and the bytes as if they had just arrived."""
        transport = self._transport
        assert transport is not None
        self._forget()
        protocol = HTTPProtocol(self._config, self._server_state, self._app_state, self._listener)
        protocol.connection_made(transport)
        transport.set_protocol(protocol)
        protocol.data_received(_OTHER_UPGRADE.sub(b"", data[:end]) + data[end:])
        if self._listener.draining:
            protocol.shutdown()

    def _upgrade(self, data: bytes, end: int) -> None:
        try:
            head = parse_head(data[:end])
            if not is_upgrade(head):
                self._hand_over(data, end)
                return
            accept = check_upgrade(head)
            shell = self._make_shell(head)
        except Deny as deny:
            self._refuse(deny)
            return
        if needs_admission(shell.connection.endpoint):
            self._received = data[end:]
            self._task = self._listener.loop.create_task(self._admit(shell, head, accept))
        else:
            self._switch(shell, head, accept, data[end:])

    def _make_shell(self, head: RequestHead) -> WebSocketShell:
        """The connection to be, with its endpoint found and its parameters converted."""
        listener, transport = self._listener, self._transport
        assert transport is not None
        endpoint, path_params, query_params = find_endpoint(listener, head)
        shell_class = WebSocketShell if transport.get_extra_info("sslcontext") is None else BufferedWebSocketShell
        connections: set[Any] = self._server_state.connections
        shell = shell_class(listener, listener.plan(endpoint), transport, head, connections)
        shell.connection.path_params, shell.connection.query_params = path_params, query_params
        return shell

    async def _admit(self, shell: WebSocketShell, head: RequestHead, accept: str) -> None:
        since = self._listener.hub.logins.revocations
        try:
            await admit(self._listener, shell.connection)
        except Deny as deny:
            self._refuse(deny)
            return
        assert self._transport is not None
        if self._refused or self._transport.is_closing():  # a hook has survived its cancellation
            return
        self._transport.resume_reading()
        self._switch(shell, head, accept, self._received, since)

    def _switch(
        self, shell: WebSocketShell, head: RequestHead, accept: str, rest: bytes, since: int | None = None
    ) -> None:
        """101: from now on the shell has the transport."""
        transport = self._transport
        assert transport is not None
        try:
            self._listener.enter(shell)
        except Deny as deny:
            self._refuse(deny)
            return
        self._forget()
        shell.subprotocol = choose_subprotocol(head, shell.connection.endpoint.subprotocols)
        head.compact()
        transport.set_protocol(shell)
        extensions = {"Sec-WebSocket-Extensions": shell.extensions} if shell.extensions else None
        transport.write(switching_protocols(accept, shell.subprotocol, extensions))
        shell.open(since)
        if rest:
            shell.data_received(rest)

    def _refuse(self, deny: Deny) -> None:
        transport = self._transport
        assert transport is not None
        self._forget()
        self._refused = True
        self._listener.hub.counts.refused[deny.status] += 1
        if transport.is_closing():
            return
        transport.write(deny_response(deny))
        if transport.can_write_eof():
            # The client may still be sending. Closing now would reset the connection and lose the answer on its way.
            transport.write_eof()
            self._listener.wheel.add(self, LINGER_SECONDS)
        else:
            transport.close()

    def _forget(self) -> None:
        self._listener.wheel.remove(self)
        self._server_state.connections.discard(self)
        self._received = b""


class Upgraded(Front):
    """The front for an upgrade that comes later on a connection that began as HTTP.

    uvicorn's HTTP protocol makes it as its ``ws=`` class, feeds it the request head and then sets it as the transport's
    protocol; the decision waits for that, as it sets a protocol of its own.
    """

    __slots__ = ()

    def data_received(self, data: bytes) -> None:
        """Takes the head that was read already."""
        self._received += data
        if self._task is None:
            self._task = self._listener.loop.create_task(self._begin())

    async def _begin(self) -> None:
        data, self._received, self._task = self._received, b"", None
        Front.data_received(self, data)
