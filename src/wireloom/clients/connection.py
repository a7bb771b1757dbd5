"""ClientConnection: one WebSocket from the client's side, with messages to await. All our clients stand on it."""

from __future__ import annotations

import asyncio
import base64
import os
import ssl as tls
from collections import deque
from collections.abc import Generator, Iterable, Mapping, Sequence
from types import TracebackType
from urllib.parse import quote, urlsplit

from wireloom.errors import ConnectionClosed, HandshakeFailed, ProtocolError
from wireloom.wire.frames import BINARY, CLOSE, PONG, TEXT, close_payload, mask_frame
from wireloom.wire.handshake import check_answer, upgrade_request
from wireloom.wire.messages import Close, Event, MessageReader, Ping, ReaderRules

__all__ = ["ClientConnection", "connect"]

_MAX_ANSWER_BYTES = 64 * 1024
_CLOSE_TIMEOUT_SECONDS = 5.0


class ClientConnection(asyncio.Protocol):
    """One open WebSocket, made by `connect`.

    Attributes:
        subprotocol: what the server chose, or None.
        close_code: the code that ended the connection, 1006 without a close frame, None while it is open.
        close_reason: the reason that came with it.
    """

    def __init__(self, rules: ReaderRules, key: bytes, subprotocols: Sequence[str]) -> None:
        self.subprotocol: str | None = None
        self.close_code: int | None = None
        self.close_reason = ""
        self._key = key
        self._offered = subprotocols
        self._reader = MessageReader(rules)
        self._transport: asyncio.Transport | None = None
        self._answer = b""
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._messages: deque[str | bytes] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._closing = False

    # -- for the application -----------------------------------------------------------------------------------------

    def send(self, message: str | bytes) -> None:
        """Sends one message, `str` as text and bytes as binary; it is dropped after the close.

        Raises:
            TypeError: anything else.
        """
        if isinstance(message, str):
            self._write(TEXT, message.encode())
        elif isinstance(message, (bytes, bytearray, memoryview)):
            self._write(BINARY, bytes(message))
        else:
            raise TypeError(f"a message is str or bytes, not {type(message).__name__}")

    def send_frame(self, frame: bytes) -> None:
        """Sends bytes as they are; for tests of servers."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(frame)

    async def receive(self) -> str | bytes:
        """The next message.

        Raises:
            ConnectionClosed: there will be none.
        """
        while not self._messages:
            if self._lost.done() or self.close_code is not None:
                await self.wait_closed()
                raise ConnectionClosed(self.close_code or 1006, self.close_reason)
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return self._messages.popleft()

    async def close(self, code: int | None = 1000, reason: str = "") -> None:
        """Closes with the closing handshake (RFC 6455 §7.1.2); a server that does not answer is left after 5 seconds.

        Args:
            code: None for an empty close frame.
        """
        if not self._closing:
            self._closing = True
            self.send_frame(mask_frame(CLOSE, close_payload(code, reason)))
        await self.wait_closed()

    async def wait_closed(self) -> None:
        """Waits until the TCP connection has ended, for some seconds once the end has begun."""
        try:
            timeout = _CLOSE_TIMEOUT_SECONDS if self._closing else None
            await asyncio.wait_for(asyncio.shield(self._lost), timeout)
        except TimeoutError:
            self.abort()
            await self._lost

    def abort(self) -> None:
        """Drops the TCP connection without a word."""
        if self._transport is not None:
            self._transport.abort()

    # -- asyncio's protocol ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """TCP, and TLS where asked for, is up."""
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Bytes of the server's answer, then of frames."""
        if self._opened.done():
            self._handle(self._reader.feed(data))
            return
        self._answer += data
        head_end = self._answer.find(b"\r\n\r\n") + 4
        if head_end < 4:
            if len(self._answer) > _MAX_ANSWER_BYTES:
                self._fail(HandshakeFailed("the server's answer does not end"))
            return
        switching = self._answer.startswith(b"HTTP/1.1 101")
        try:
            self.subprotocol = check_answer(
                self._answer[:head_end] if switching else self._answer, self._key, self._offered
            ).subprotocol
        except HandshakeFailed as error:
            if switching or _is_whole(error) or len(self._answer) > _MAX_ANSWER_BYTES:
                self._fail(error)
            return  # else: more of an error's body is to come
        self._opened.set_result(None)
        if len(self._answer) > head_end:
            self._handle(self._reader.feed(self._answer[head_end:]))
        self._answer = b""

    def connection_lost(self, exc: Exception | None) -> None:
        """TCP has ended."""
        if not self._opened.done():
            self._opened.set_exception(self._why_not_opened())
            self._opened.exception()  # nobody may be waiting for it any more
        self.close_code = self.close_code if self.close_code is not None else 1006
        if not self._lost.done():
            self._lost.set_result(None)
        self._wake()

    # -- inside --------------------------------------------------------------------------------------------------------

    def _why_not_opened(self) -> HandshakeFailed:
        if b"\r\n\r\n" in self._answer:
            try:
                check_answer(self._answer, self._key, self._offered)
            except HandshakeFailed as error:
                return error
        return HandshakeFailed("the server closed the connection during the handshake")

    async def opened(self) -> None:
        """Waits for the handshake."""
        await self._opened

    def _fail(self, error: HandshakeFailed) -> None:
        if not self._opened.done():
            self._opened.set_exception(error)
        self.abort()

    def _handle(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, (str, bytes)):
                self._messages.append(event)
            elif isinstance(event, Ping):
                self._write(PONG, event.payload)
            elif isinstance(event, Close):
                self._end(1005 if event.code is None else event.code, event.reason, event.code)
            elif isinstance(event, ProtocolError):
                self._end(event.code, event.reason, event.code)
        self._wake()

    def _end(self, code: int, reason: str, answer: int | None) -> None:
        self.close_code, self.close_reason = code, reason
        if not self._closing:
            self._closing = True
            self.send_frame(mask_frame(CLOSE, close_payload(answer)))
        if self._transport is not None:
            self._transport.close()

    def _write(self, opcode: int, payload: bytes) -> None:
        if not self._closing:
            self.send_frame(mask_frame(opcode, payload))

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _is_whole(error: HandshakeFailed) -> bool:
    """Whether all of a refusal's body is there, as far as its headers tell."""
    length = error.headers.get("content-length", "")
    return not error.status or (length.isdecimal() and len(error.body) >= int(length))


class connect:
    """Opens a WebSocket: ``await connect(url)``, or ``async with connect(url) as connection``.

    Args:
        url: ``ws://`` or ``wss://``.
        headers: further request headers.
        subprotocols: those offered, most wanted first.
        ssl: a TLS context for ``wss://``; by default the system's certificates decide.
        open_timeout: seconds for TCP, TLS and the handshake together.
        max_message_bytes: size of one message, above it the connection ends with 1009.

    Raises:
        ValueError: not a WebSocket URL.
        HandshakeFailed: the server did not agree.
        OSError: nobody listens there.
        TimeoutError: the time is over.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        subprotocols: Sequence[str] = (),
        ssl: tls.SSLContext | None = None,
        open_timeout: float = 10.0,
        max_message_bytes: int = 16 * 1024 * 1024,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("ws", "wss") or not parts.hostname:
            raise ValueError(f"{url!r} is not a WebSocket URL; it begins with ws:// or wss:// and a host")
        self._host = parts.hostname
        self._port = parts.port or (443 if parts.scheme == "wss" else 80)
        self._netloc = parts.netloc.rpartition("@")[2]
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._target = quote(target, safe="/?%:@!$&'()*+,;=~-._[]")
        self._headers = list(headers.items()) if isinstance(headers, Mapping) else list(headers)
        self._subprotocols = list(subprotocols)
        self._ssl = (ssl or tls.create_default_context()) if parts.scheme == "wss" else None
        self._open_timeout = open_timeout
        self._rules = ReaderRules(masked=False, max_message_bytes=max_message_bytes)
        self._connection: ClientConnection | None = None

    def __await__(self) -> Generator[None, None, ClientConnection]:
        return self._open().__await__()

    async def __aenter__(self) -> ClientConnection:
        self._connection = await self._open()
        return self._connection

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connection is not None:
            await self._connection.close()

    async def _open(self) -> ClientConnection:
        key = base64.b64encode(os.urandom(16))
        request = upgrade_request(self._netloc, self._target, key, self._subprotocols, self._headers)
        connection = ClientConnection(self._rules, key, self._subprotocols)
        try:
            async with asyncio.timeout(self._open_timeout):
                loop = asyncio.get_running_loop()
                await loop.create_connection(lambda: connection, self._host, self._port, ssl=self._ssl)
                connection.send_frame(request)
                await connection.opened()
        except BaseException:
            connection.abort()
            raise
        return connection
