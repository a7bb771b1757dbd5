"""ClientProtocol: the client's end of one WebSocket, from the request to the end of TCP. All our clients stand on it.

Laws:
- Every message out goes by `ClientProtocol.send`, every byte in by one `MessageReader`.
- `opened` is called at most once, `message` only after it, `closed` exactly once and last, if `opened` was.
- Whatever the server does, what is kept for it is bounded, and an end that has begun is over within seconds.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from wireloom.errors import ConnectionClosed, HandshakeFailed, ProtocolError, require_sendable
from wireloom.wire.deflate import Deflater, DeflateSettings, client_deflater, server_inflater
from wireloom.wire.frames import BINARY, CLOSE, PING, PONG, TEXT, close_payload, mask_frame
from wireloom.wire.handshake import Answer, check_answer
from wireloom.wire.messages import Close, Event, MessageReader, Ping, ReaderRules

__all__ = ["CLOSED", "CLOSING", "CONNECTING", "NORMAL_CODES", "OPEN", "ClientProtocol", "Ending", "Handshake"]

CONNECTING, OPEN, CLOSING, CLOSED = 0, 1, 2, 3
NORMAL_CODES = (1000, 1001, 1005)  # 1005: an empty close frame

_MAX_ANSWER_BYTES = 64 * 1024
_CLOSE_SECONDS = 5.0
_FLUSH_BYTES = 16 * 1024
_PONG_SECONDS = 8.0
_TIMER_SECONDS = 0.001  # a timer's precision
_STATUS_LINE = b"HTTP/"
_INTERIM = re.compile(rb"HTTP/1\.1 1(?!01)[0-9][0-9][ \r]")  # RFC 9110 §15.2: another answer follows


@dataclass(frozen=True, slots=True)
class Handshake:
    """What a connection begins with.

    Attributes:
        request: the opening request's bytes.
        key: the key in it.
        subprotocols: those offered.
        max_size: bytes of one message, 0 for no limit.
        ping_interval: seconds of silence before a ping, 0 for none.
        deflate: what is offered of permessage-deflate (RFC 7692); None: nothing.
    """

    request: bytes
    key: bytes
    subprotocols: Sequence[str] = ()
    max_size: int = 0
    ping_interval: float = 0.0
    deflate: DeflateSettings | None = None


@dataclass(frozen=True, slots=True)
class Ending:
    """How a connection ended.

    Attributes:
        code: of the server's close frame (RFC 6455 §7.1.5): 1005 if it had none, 1006 if no close frame came.
        reason: of the server's close frame.
        was_clean: whether the closing handshake was completed (RFC 6455 §7.1.4).
        failure: what the server broke, if that was the end.
    """

    code: int
    reason: str = ""
    was_clean: bool = False
    failure: ProtocolError | None = None

    @property
    def is_normal(self) -> bool:
        """Whether both sides had done with each other, rather than that something went wrong."""
        return self.was_clean and self.code in NORMAL_CODES

    @property
    def error(self) -> ConnectionClosed:
        """The same as an exception, with the code and the reason of the failure where there was one."""
        told = self.failure or self
        return ConnectionClosed(told.code, told.reason)


class ClientProtocol(asyncio.Protocol):
    """The client's end of one WebSocket. Made by `wireloom.clients.opening.Opening.open`.

    Args:
        handshake: what to begin with.

    Attributes:
        handshake: what it began with.
        state: CONNECTING, OPEN, CLOSING or CLOSED.
        subprotocol: what the server chose, or None.
        extensions: what the server chose, as in its answer.
        ending: how it ended; None before.
    """

    def __init__(self, handshake: Handshake) -> None:
        self.state = CONNECTING
        self.subprotocol: str | None = None
        self.extensions = ""
        self.ending: Ending | None = None
        self.handshake = handshake
        self._loop = asyncio.get_running_loop()
        self._reader = MessageReader(ReaderRules(masked=False, max_message_bytes=handshake.max_size))
        self._deflater: Deflater | None = None
        self._transport: asyncio.Transport | None = None
        self._answer = b""
        self._interim_bytes = 0
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._lost: asyncio.Future[None] = self._loop.create_future()
        self._closed_by: Close | None = None
        self._failure: ProtocolError | None = None
        self._pongs: list[bytes] = []
        self._unflushed: list[bytes] = []  # leaves within this turn of the loop, in one write
        self._unflushed_bytes = 0
        self._writable: asyncio.Future[None] | None = None  # while the transport wants no more
        self._reading = True
        self._heard_at = 0.0
        self._written_bytes = 0
        self._taken_bytes = 0  # when last looked at
        self._timer: asyncio.TimerHandle | None = None

    # -- what a client makes of it ------------------------------------------------------------------------------------

    def opened(self) -> None:
        """The handshake went well."""

    def message(self, message: str | bytes) -> None:
        """A message has arrived; also while the connection is CLOSING."""

    def closed(self, ending: Ending) -> None:
        """The connection has ended, TCP with it."""

    # -- out ----------------------------------------------------------------------------------------------------------

    def send(self, message: str | bytes | bytearray | memoryview) -> None:
        """Sends one message, `str` as text and bytes as binary; it is dropped after the close.

        Raises:
            TypeError: anything else.
        """
        if isinstance(message, str):
            self._send_message(TEXT, message.encode())
        elif isinstance(message, (bytes, bytearray, memoryview)):
            self._send_message(BINARY, bytes(message))
        else:
            raise TypeError(f"a message is str or bytes, not {type(message).__name__}")

    def _send_message(self, opcode: int, payload: bytes) -> None:
        """The way of every message out."""
        if self.state != OPEN:
            return
        deflated = self._deflater.deflate(payload) if self._deflater is not None else None
        if deflated is None:
            self._write(mask_frame(opcode, payload))
        else:
            self._write(mask_frame(opcode, deflated, reserved=0x40))  # RFC 7692 §6: the bit says that it is compressed

    async def drain(self) -> None:
        """Waits until the network takes more.

        Raises:
            ConnectionClosed: it takes nothing any more.
        """
        while self._writable is not None and self.state == OPEN:
            await asyncio.shield(self._writable)
        if not self.is_open:
            raise self.ending.error if self.ending else ConnectionClosed(1006)

    @property
    def is_open(self) -> bool:
        """Whether a message that is sent now may arrive."""
        return self.state == OPEN and self._transport is not None and not self._transport.is_closing()

    @property
    def backlog_bytes(self) -> int:
        """Bytes that the network has not taken yet."""
        return self._unflushed_bytes + self._transport.get_write_buffer_size() if self._transport is not None else 0

    def begin_close(self, code: int | None = 1000, reason: str = "") -> None:
        """Begins the closing handshake (RFC 6455 §7.1.2); nothing if it has begun.

        Args:
            code: None for an empty close frame.
            reason: at most 123 bytes of UTF-8; longer is cut.

        Raises:
            ValueError: a code that must not be sent (RFC 6455 §7.4).
        """
        if code is not None:
            require_sendable(code)
        if self.state == OPEN:
            self._send_close(close_payload(code, reason))

    async def wait_closed(self) -> None:
        """Waits until the TCP connection has ended."""
        await asyncio.shield(self._lost)

    def abort(self) -> None:
        """Drops the TCP connection without a word."""
        if self._transport is not None:
            self._transport.abort()

    async def wait_opened(self) -> None:
        """Waits for the handshake.

        Raises:
            HandshakeFailed: the server did not agree.
        """
        await asyncio.shield(self._opened)

    # -- in -----------------------------------------------------------------------------------------------------------

    def pause(self) -> bool:
        """Reads no more for now; False, and reads on, once the end has begun."""
        if self.state != OPEN or self._transport is None:
            return False
        if self._reading:
            self._reading = False
            self._transport.pause_reading()
        return True

    def resume(self) -> None:
        """Reads on."""
        if not self._reading and self._transport is not None:
            self._reading = True
            self._heard_at = self._loop.time()
            if not self._transport.is_closing():
                self._transport.resume_reading()
            if self._reader.holds:
                self._loop.call_soon(self._read_frames)

    # -- asyncio's protocol -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """TCP, and TLS where asked for, is up."""
        self._transport = transport  # type: ignore[assignment]
        self._write(self.handshake.request)
        self._flush()

    def data_received(self, data: bytes) -> None:
        """Bytes of the server's answer, then of frames."""
        self._heard_at = self._loop.time()
        if self.state == CONNECTING:
            self._answer += data
            data = self._read_answer()
        if data:
            self._read_frames(data)

    def pause_writing(self) -> None:
        """The transport's buffer is full."""
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        """The transport's buffer has room."""
        if self._writable is not None:
            self._writable.set_result(None)
            self._writable = None
        self._write_pongs()

    def connection_lost(self, exc: Exception | None) -> None:
        """TCP has ended."""
        if self._timer is not None:
            self._timer.cancel()
        was, self.state = self.state, CLOSED
        self._unflushed.clear()
        self._unflushed_bytes = 0
        if self._writable is not None:
            self._writable.set_result(None)
            self._writable = None
        if was == CONNECTING:
            self._fail_opening(self.refusal or HandshakeFailed("the server closed the connection during the handshake"))
        else:
            told = self._closed_by
            code = 1006 if told is None else 1005 if told.code is None else told.code
            self.ending = Ending(code, told.reason if told else "", told is not None, self._failure)
            self.closed(self.ending)
        # contexts of compression are large, and the garbage collector might come for this much later
        self._reader.end()
        self._deflater = None
        self._lost.set_result(None)

    # -- the handshake ------------------------------------------------------------------------------------------------

    @property
    def refusal(self) -> HandshakeFailed | None:
        """What the server has answered instead of a 101, as far as it came; None before the end of its head."""
        if self.state == OPEN or b"\r\n\r\n" not in self._answer:
            return None
        try:
            self.check_answer(self._answer)
        except HandshakeFailed as error:
            return error
        return None

    def _read_answer(self) -> bytes:
        """Judges the answer once it is there; gives the bytes of frames that came with it."""
        head, end, rest = self._answer.partition(b"\r\n\r\n")
        while end and _INTERIM.match(head) and self._interim_bytes <= _MAX_ANSWER_BYTES:
            self._interim_bytes += len(head)
            self._answer = rest
            head, end, rest = rest.partition(b"\r\n\r\n")
        answer = self._answer
        if not answer.startswith(_STATUS_LINE[: len(answer)]):
            self._refuse(HandshakeFailed("the server does not answer in HTTP/1.1"))
        elif len(head) + self._interim_bytes > _MAX_ANSWER_BYTES:
            self._refuse(HandshakeFailed("the server's answer does not end"))
        elif end and not answer.startswith(b"HTTP/1.1 101"):
            error = self.refusal
            if error is not None and (_is_whole(error) or len(answer) > _MAX_ANSWER_BYTES):
                self._refuse(error)  # else: more of an error's body is to come
        elif end:
            try:
                self._open(self.check_answer(head + end))
            except HandshakeFailed as error:
                self._refuse(error)
            else:
                return rest
        return b""

    def check_answer(self, data: bytes) -> Answer:
        """Judges a whole answer.

        Raises:
            HandshakeFailed: it is not what was asked for.
        """
        handshake = self.handshake
        return check_answer(data, handshake.key, handshake.subprotocols, handshake.deflate)

    def _open(self, answer: Answer) -> None:
        self.subprotocol, self.extensions = answer.subprotocol, ", ".join(answer.extensions)
        if answer.deflate is not None and self.handshake.deflate is not None:
            rules = ReaderRules(masked=False, max_message_bytes=self.handshake.max_size)
            self._reader = MessageReader(rules, server_inflater(answer.deflate))
            self._deflater = client_deflater(answer.deflate, self.handshake.deflate)
        self.state = OPEN
        self._answer = b""
        if not self._opened.done():
            self._opened.set_result(None)
        if self.handshake.ping_interval:
            self._set_timer(self.handshake.ping_interval, self._check_silence)
        self.opened()

    def _refuse(self, error: HandshakeFailed) -> None:
        self._fail_opening(error)
        self.abort()

    def _fail_opening(self, error: HandshakeFailed) -> None:
        if not self._opened.done():
            self._opened.set_exception(error)
            self._opened.exception()  # nobody may be waiting for it any more

    # -- frames -------------------------------------------------------------------------------------------------------

    def _read_frames(self, data: bytes = b"") -> None:
        self._handle(self._reader.feed(data))
        while self._reader.holds and self._reading:
            self._handle(self._reader.feed(b""))

    def _handle(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, (str, bytes)):
                if self._pongs:
                    self._write_pongs()  # RFC 6455 §5.5.2: as soon as is practical
                self.message(event)
            elif isinstance(event, Ping):
                if self.state == OPEN:
                    self._pongs.append(mask_frame(PONG, event.payload))
            elif isinstance(event, Close):
                self._closed_by = event
                self._finish(close_payload(event.code))
            elif isinstance(event, ProtocolError):
                self._failure = event
                self._finish(close_payload(event.code))
        self._write_pongs()

    def _write_pongs(self) -> None:
        # RFC 6455 §5.5.3: a pong for only the newest ping will do; that bounds what a server that does not read costs
        if self._writable is not None:
            del self._pongs[:-1]
        elif self._pongs:
            pongs, self._pongs = self._pongs, []
            self._write(b"".join(pongs))

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            if not self._unflushed:
                self._loop.call_soon(self._flush)
            self._unflushed.append(data)
            self._unflushed_bytes += len(data)
            self._written_bytes += len(data)
            if self._unflushed_bytes > _FLUSH_BYTES:
                self._flush()

    def _flush(self) -> None:
        """Every write is a system call, so what one turn of the loop brings about leaves in one."""
        if self._unflushed and self._transport is not None and not self._transport.is_closing():
            data = b"".join(self._unflushed)
            self._unflushed.clear()
            self._unflushed_bytes = 0
            self._transport.write(data)

    # -- the end ------------------------------------------------------------------------------------------------------

    def _finish(self, payload: bytes) -> None:
        """Nothing more is to come: answers with a close frame unless we have sent one, then ends TCP."""
        if self.state == OPEN:
            self._send_close(payload)
        if self._transport is not None:
            self._flush()
            self._transport.close()

    def _send_close(self, payload: bytes) -> None:
        self._write_pongs()
        self._pongs.clear()
        self.state = CLOSING
        self._write(mask_frame(CLOSE, payload))
        self.resume()  # the answer may wait behind messages that nobody takes
        self._bound_close(self.backlog_bytes)

    def _bound_close(self, backlog: int) -> None:
        """Drops the connection unless the end comes; data on its way out has time as long as some of it leaves."""

        def due() -> None:
            if self.backlog_bytes < backlog:
                self._bound_close(self.backlog_bytes)
            else:
                self.abort()

        self._set_timer(_CLOSE_SECONDS, due)

    def _set_timer(self, seconds: float, call: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, call)

    # -- silence ------------------------------------------------------------------------------------------------------

    def _check_silence(self) -> None:
        """Sends a ping where nothing came for a while."""
        interval = self.handshake.ping_interval
        wanted = interval if self._is_excused() else self._heard_at + interval - self._loop.time()
        if wanted > _TIMER_SECONDS:
            self._set_timer(wanted, self._check_silence)
            return
        if self._writable is None:
            self._write(mask_frame(PING, b""))
        self._check_answered(self._loop.time())

    def _check_answered(self, asked_at: float) -> None:
        """Gives up a server that stayed silent (1011 to it, 1006 here)."""
        left = asked_at + _PONG_SECONDS - self._loop.time()
        if self._heard_at >= asked_at or self._is_excused():
            self._check_silence()
        elif left > _TIMER_SECONDS:
            seconds = min(left, self.handshake.ping_interval)
            self._set_timer(seconds, lambda: self._check_answered(asked_at))
        else:
            self._finish(close_payload(1011, "no answer to a ping"))

    def _is_excused(self) -> bool:
        """Whether silence means nothing: we do not listen, or the server is busy taking what a ping would wait for."""
        before, self._taken_bytes = self._taken_bytes, self._written_bytes - self.backlog_bytes
        return not self._reading or (self._writable is not None and self._taken_bytes > before)


def _is_whole(error: HandshakeFailed) -> bool:
    """Whether all of a refusal's body is there, as far as its headers tell."""
    if "chunked" in error.headers.get("transfer-encoding", "").lower():
        return error.body.endswith(b"0\r\n\r\n")
    length = error.headers.get("content-length", "")
    # of more digits than any length has, int() would raise
    return not error.status or (length.isdecimal() and len(length) < 20 and len(error.body) >= int(length))
