"""Dispatch: payload → decode → handler → encode → send, and the only place where exceptions become replies."""

from __future__ import annotations

import logging
import types
from collections.abc import Callable, Coroutine, Generator
from contextlib import aclosing
from contextvars import Context, copy_context
from time import perf_counter
from typing import Any, TypeAlias

import anyio

from wireloom.core.caller import Caller, current_caller
from wireloom.core.codec import ReplyInvalid
from wireloom.core.endpoint import Endpoint
from wireloom.core.rate import MessageRate, TooOften
from wireloom.core.request import Request
from wireloom.errors import (
    ConnectionClosed,
    Deny,
    Disconnect,
    InternalError,
    RequestError,
    Unauthorized,
    new_error_id,
)
from wireloom.metrics import EndpointCounts

__all__ = [
    "Direct",
    "Dispatch",
    "IsRefused",
    "authorize",
    "compile_direct",
    "compile_dispatch",
    "compile_rate",
    "context_of",
    "invoke",
    "log_bug",
    "run_hook",
    "time_direct",
    "time_rest",
]

logger = logging.getLogger(__name__)

Dispatch: TypeAlias = Callable[[Caller, str | bytes], Coroutine[Any, Any, None]]


Direct: TypeAlias = "Callable[[Context, Caller, str | bytes], Coroutine[Any, Any, None] | None]"
"""Handles one message; gives what is left to do where something has to be waited for."""


IsRefused: TypeAlias = Callable[[Any], bool]
"""Whether a connection may send no more for now, which its client has been told then."""


def compile_direct(endpoint: Endpoint) -> Direct | None:
    """A plain function that handles one message of an endpoint whose handler never waits; None for any other.

    It saves the task, a third of what a message costs otherwise. Each message has a copy of the connection's context
    (`context_of`) all the same, so that what a handler puts into context variables is gone with it.
    """
    if endpoint.begin is not None:
        direct = _begin_directly(endpoint)
    elif endpoint.waits or endpoint.streams:
        return None
    else:
        direct = _call_directly(endpoint)
    is_refused = compile_rate(endpoint)
    return direct if is_refused is None else _limit_direct(direct, is_refused)


def _call_directly(endpoint: Endpoint) -> Direct:
    dispatch = _call(endpoint)
    send = _start(dispatch)

    def direct(context: Context, connection: Caller, payload: str | bytes) -> None:
        nonlocal send
        try:
            context.copy().run(send, (connection, payload))
        except BaseException:
            send = _start(dispatch)  # it ended with the exception: SystemExit, KeyboardInterrupt
            raise

    return direct


def _begin_directly(endpoint: Endpoint) -> Direct:
    begin, decode, encode, as_json = endpoint.begin, endpoint.codec.decode, endpoint.codec.encode, endpoint.codec.json
    assert begin is not None

    def send(connection: Caller, reply: Any) -> None:
        payload = encode(reply)
        connection.send_encoded(payload) if as_json else connection.send(payload)

    async def finish(connection: Caller, rest: Coroutine[Any, Any, Any]) -> None:
        current_caller.set(connection)
        try:
            reply = await rest
            if reply is not None:
                send(connection, reply)
        except BaseException as error:
            _answer(endpoint, connection, error)

    def handle(connection: Caller, payload: str | bytes) -> Coroutine[Any, Any, None] | None:
        try:
            reply = begin(Request(endpoint, connection, decode(payload)))
            if reply.__class__ is types.CoroutineType:
                return finish(connection, reply)
            if reply is not None:
                send(connection, reply)
        except BaseException as error:
            _answer(endpoint, connection, error)
        return None

    return lambda context, connection, payload: context.copy().run(handle, connection, payload)


def time_direct(direct: Direct, counts: EndpointCounts, now: float) -> Direct:
    """Handles messages as `direct` does, and counts how long each takes."""

    def timed(context: Context, connection: Caller, payload: str | bytes) -> Coroutine[Any, Any, None] | None:
        begun = perf_counter()
        rest = direct(context, connection, payload)
        if rest is not None:
            return time_rest(rest, counts, now, begun)
        counts.time(perf_counter() - begun, now)
        return None

    return timed


async def time_rest(
    rest: Coroutine[Any, Any, None], counts: EndpointCounts, now: float, begun: float | None = None
) -> None:
    """Goes on with the handling of a message to its end, and counts how long it takes.

    Args:
        begun: when it did; None: now.
    """
    begun = perf_counter() if begun is None else begun
    try:
        await rest
    finally:
        counts.time(perf_counter() - begun, now)


def context_of(connection: Caller) -> Context:
    """The context in which a connection's messages are handled."""
    context = copy_context()
    context.run(current_caller.set, connection)
    return context


def _start(dispatch: Dispatch) -> Callable[[tuple[Caller, str | bytes]], None]:
    steps = _steps(dispatch)
    steps.send(None)
    return steps.send


@types.coroutine
def _steps(dispatch: Dispatch) -> Generator[None, Any, None]:
    """Runs one dispatch for every message sent in. A coroutine that never waits costs no exception this way."""
    message = yield
    while True:
        yield from dispatch(*message)
        message = yield


def compile_dispatch(endpoint: Endpoint) -> Dispatch:
    """The coroutine function that handles one message of an endpoint, from payload to reply.

    Everything that depends on the endpoint alone is looked up here, once. Whoever runs it sets `current_caller` first,
    in the context that messages of the connection are handled in.
    """
    dispatch = _stream(endpoint) if endpoint.streams else _call(endpoint)
    is_refused = compile_rate(endpoint)
    return dispatch if is_refused is None else _limit_dispatch(dispatch, is_refused)


def _call(endpoint: Endpoint) -> Dispatch:
    decode, encode, on_message = endpoint.codec.decode, endpoint.codec.encode, endpoint.on_message

    async def dispatch_json(connection: Caller, payload: str | bytes) -> None:
        try:
            reply = await on_message(Request(endpoint, connection, decode(payload)))
            if reply is not None:
                connection.send_encoded(encode(reply))
        except BaseException as error:
            _answer(endpoint, connection, error)

    async def dispatch_raw(connection: Caller, payload: str | bytes) -> None:
        try:
            reply = await on_message(Request(endpoint, connection, decode(payload)))
            if reply is not None:
                connection.send(encode(reply))
        except BaseException as error:
            _answer(endpoint, connection, error)

    return dispatch_json if endpoint.codec.json else dispatch_raw


def _stream(endpoint: Endpoint) -> Dispatch:
    decode, encode, on_message = endpoint.codec.decode, endpoint.codec.encode, endpoint.on_message
    send: Callable[[Caller, Any], None] = _send_encoded if endpoint.codec.json else _send

    async def dispatch(connection: Caller, payload: str | bytes) -> None:
        try:
            async with aclosing(on_message(Request(endpoint, connection, decode(payload)))) as replies:
                async for reply in replies:
                    if reply is not None:
                        send(connection, encode(reply))
                    await connection.drain()
        except BaseException as error:
            _answer(endpoint, connection, error)

    return dispatch


def _limit_direct(direct: Direct, is_refused: IsRefused) -> Direct:
    """Counts messages before they are decoded, so that those which cannot be read count too."""

    def limited(context: Context, connection: Caller, payload: str | bytes) -> Coroutine[Any, Any, None] | None:
        return None if is_refused(connection) else direct(context, connection, payload)

    return limited


def _limit_dispatch(dispatch: Dispatch, is_refused: IsRefused) -> Dispatch:
    async def limited(connection: Caller, payload: str | bytes) -> None:
        if not is_refused(connection):
            await dispatch(connection, payload)

    return limited


def compile_rate(endpoint: Endpoint) -> IsRefused | None:
    """Counts one message of a connection, one ping, or one pong unasked; None: there is no limit."""
    if not endpoint.limits.messages_per_second:
        return None
    take = MessageRate(endpoint.limits).take

    def is_refused(connection: Any) -> bool:
        try:
            connection.allowance = take(connection.allowance)
        except (TooOften, Disconnect) as refusal:
            _answer(endpoint, connection, refusal)
            return True
        return False

    return is_refused


def _send_encoded(connection: Caller, payload: bytes) -> None:
    connection.send_encoded(payload)


def _send(connection: Caller, payload: str | bytes) -> None:
    connection.send(payload)


async def run_hook(endpoint: Endpoint, hook: str, connection: Caller) -> bool:
    """Runs ``on_connect`` or ``on_disconnect``.

    Returns:
        Whether it ended well. A `Disconnect` has closed the connection; any other error was logged.
    """
    handler = getattr(endpoint, hook)
    if handler is None:
        return True
    current_caller.set(connection)
    try:
        await handler(Request(endpoint, connection))
    except Disconnect as error:
        try:
            connection.close(error.code, error.reason)
        except (TypeError, ValueError, AttributeError) as untellable:
            log_bug(endpoint, untellable, hook)
        return False
    except BaseException as error:
        if _ends_everything(error, connection):
            raise
        log_bug(endpoint, error, hook)
        return False
    return True


async def invoke(request: Request, payload: Any, *, authorized: bool = False) -> Any:
    """Runs an endpoint once, for a door whose replies are not messages of their own.

    Args:
        request: without a message.
        payload: what the message is decoded from, once the caller was let in.
        authorized: the caller was let in already, by `authorize`.

    Returns:
        The encoded reply; of a stream, that of the list of all replies.

    Raises:
        RequestError: everything that the caller is told; `InternalError` for a bug, which is then in the log.
        Disconnect: the handler ends the connection.
        ConnectionClosed: the handler found its connection ended.
    """
    endpoint = request.endpoint
    begun = perf_counter()
    try:
        if endpoint.authorize is not None and not authorized:
            await _authorize(request)
        request.message = endpoint.codec.decode(payload)
        if endpoint.streams:
            async with aclosing(endpoint.on_message(request)) as replies:
                return endpoint.codec.encode([reply async for reply in replies])
        return endpoint.codec.encode(await endpoint.on_message(request))
    except (RequestError, Disconnect, ConnectionClosed):
        raise
    except BaseException as error:
        if _ends_everything(error, request.connection):
            raise
        raise InternalError(log_bug(endpoint, error, "handler"), error) from error
    finally:
        endpoint.counts.timings.add(perf_counter() - begun)


async def authorize(request: Request) -> None:
    """Asks an endpoint whether it lets a caller in, for a door that reads the payload afterwards.

    Raises:
        RequestError: it does not; `InternalError` for a bug, which is then in the log.
    """
    if request.endpoint.authorize is None:
        return
    try:
        await _authorize(request)
    except RequestError:
        raise
    except BaseException as error:
        if _ends_everything(error, request.connection):
            raise
        raise InternalError(log_bug(request.endpoint, error, "handler"), error) from error


async def _authorize(request: Request) -> None:
    assert request.endpoint.authorize is not None
    try:
        await request.endpoint.authorize(request)
    except Deny as deny:
        if deny.status == 401:
            raise Unauthorized() from deny
        told = deny.body if isinstance(deny.body, str) and deny.body else "Not allowed"
        raise RequestError("FORBIDDEN", told) from deny


def log_bug(endpoint: Endpoint, error: BaseException, where: str) -> str:
    """Logs an unexpected exception once, with its traceback, and gives the id that the log line carries."""
    error_id = new_error_id()
    endpoint.counts.bug(where, error, error_id)
    place = f" ({endpoint.source})" if endpoint.source else ""
    door = endpoint.door.value
    told = {"error_id": error_id, "door": door, "endpoint": endpoint.label}
    logger.error("error %s in %s of %s %s%s", error_id, where, door, endpoint.path, place, exc_info=error, extra=told)
    return error_id


def _ends_everything(error: BaseException, connection: Caller) -> bool:
    """Whether an exception is not about this one call: the process ends, or the connection's handlers were cancelled.

    A cancellation that nobody asked for, such as that of a task that the handler awaited, is a bug like any other.
    """
    if isinstance(error, Exception):
        return False
    return connection.cancelled or not isinstance(error, anyio.get_cancelled_exc_class())


def _answer(endpoint: Endpoint, connection: Caller, error: BaseException) -> None:
    """What an exception does, by its class."""
    if _ends_everything(error, connection):
        raise error
    try:
        if isinstance(error, RequestError):
            _tell(endpoint, connection, error)
        elif isinstance(error, Disconnect):
            connection.close(error.code, error.reason)
        elif isinstance(error, ReplyInvalid):
            dropped = "reply of %s %s dropped: %s (%s)"
            logger.error(dropped, endpoint.door.value, endpoint.path, error.reason, endpoint.source)
        elif not isinstance(error, ConnectionClosed):
            _tell_bug(endpoint, connection, error)
    except (TypeError, ValueError, AttributeError) as untellable:  # a code, message or reason that is no such thing
        _tell_bug(endpoint, connection, untellable)


def _tell_bug(endpoint: Endpoint, connection: Caller, error: BaseException) -> None:
    _tell(endpoint, connection, InternalError(log_bug(endpoint, error, "handler"), error))


def _tell(endpoint: Endpoint, connection: Caller, error: RequestError) -> None:
    endpoint.counts.tell(error.code, error)
    told = endpoint.codec.encode_error(error)
    if told:
        connection.send_encoded(told)
