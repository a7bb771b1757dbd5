"""Dispatch: payload → decode → handler → encode → send, and the only place where exceptions become replies."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from typing import Any, TypeAlias

from wireloom.core.codec import ReplyInvalid
from wireloom.core.endpoint import Endpoint
from wireloom.core.request import Caller, Request
from wireloom.errors import ConnectionClosed, Disconnect, InternalError, RequestError, new_error_id

__all__ = ["Dispatch", "compile_dispatch", "run_hook"]

logger = logging.getLogger(__name__)

Dispatch: TypeAlias = Callable[[Caller, str | bytes], Coroutine[Any, Any, None]]


def compile_dispatch(endpoint: Endpoint) -> Dispatch:
    """The coroutine function that handles one message of an endpoint, from payload to reply.

    Everything that depends on the endpoint alone is looked up here, once.
    """
    return _stream(endpoint) if endpoint.streams else _call(endpoint)


def _call(endpoint: Endpoint) -> Dispatch:
    decode, encode, json = endpoint.codec.decode, endpoint.codec.encode, endpoint.codec.json
    on_message = endpoint.on_message

    async def dispatch(connection: Caller, payload: str | bytes) -> None:
        try:
            reply = await on_message(Request(endpoint, connection, decode(payload)))
            if reply is not None:
                connection.send_payload(encode(reply), json)
        except Exception as error:
            _answer(endpoint, connection, error)

    return dispatch


def _stream(endpoint: Endpoint) -> Dispatch:
    decode, encode, json = endpoint.codec.decode, endpoint.codec.encode, endpoint.codec.json
    on_message = endpoint.on_message

    async def dispatch(connection: Caller, payload: str | bytes) -> None:
        try:
            async with aclosing(on_message(Request(endpoint, connection, decode(payload)))) as replies:
                async for reply in replies:
                    connection.send_payload(encode(reply), json)
                    await connection.drain()
        except Exception as error:
            _answer(endpoint, connection, error)

    return dispatch


async def run_hook(endpoint: Endpoint, hook: str, connection: Caller) -> bool:
    """Runs ``on_connect`` or ``on_disconnect``.

    Returns:
        Whether it ended well. A `Disconnect` has closed the connection; any other error was logged.
    """
    handler = getattr(endpoint, hook)
    if handler is None:
        return True
    try:
        await handler(Request(endpoint, connection))
    except Disconnect as error:
        connection.close(error.code, error.reason)
        return False
    except Exception as error:
        log_bug(endpoint, error, hook)
        return False
    return True


def log_bug(endpoint: Endpoint, error: Exception, where: str) -> str:
    """Logs an unexpected exception once, with its traceback, and gives the id that the log line carries."""
    error_id = new_error_id()
    place = f" ({endpoint.source})" if endpoint.source else ""
    logger.error(
        "error %s in %s of %s %s%s", error_id, where, endpoint.door.value, endpoint.path, place, exc_info=error
    )
    return error_id


def _answer(endpoint: Endpoint, connection: Caller, error: Exception) -> None:
    """What an exception does, by its class."""
    if isinstance(error, RequestError):
        connection.send_payload(endpoint.codec.encode_error(error), True)
    elif isinstance(error, Disconnect):
        connection.close(error.code, error.reason)
    elif isinstance(error, ReplyInvalid):
        logger.error("reply of %s %s dropped: %s", endpoint.door.value, endpoint.path, error.reason)
    elif not isinstance(error, ConnectionClosed):
        told = InternalError(log_bug(endpoint, error, "handler"))
        connection.send_payload(endpoint.codec.encode_error(told), True)
