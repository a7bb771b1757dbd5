"""CallbackHandler: one function for all HTTP requests and WebSocket messages that nothing else takes, as two endpoints.

Laws:
- A plain function is called on the event loop itself, as Node does: nothing else runs meanwhile, so a list of clients
  needs no lock, and what blocks in it blocks everyone.
- What a WebSocket peer is sent, the callback has sent: there is no reply and no envelope. Only a `RequestError`, which
  is raised for the caller to read, is told.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.responses import Response

from wireloom.config import Config
from wireloom.core.codec import Codec
from wireloom.core.dispatch import log_bug
from wireloom.core.endpoint import ANY_PATH, Door, Endpoint
from wireloom.core.provide import Parameters, may_wait, source_of
from wireloom.core.request import Request
from wireloom.core.rest import Incoming
from wireloom.errors import ConfigError, ConnectionClosed, Deny, Disconnect, InternalError, RequestError
from wireloom.faces.callback.answer import response_of
from wireloom.faces.callback.connection import CallbackConnection, connection_of
from wireloom.faces.callback.request import CallbackRequest

__all__ = ["CallbackHandler", "compile_callback"]

logger = logging.getLogger(__name__)

Callback = Callable[[CallbackRequest], Any]
Hook = Callable[[CallbackConnection], Any]

_encode = msgspec.json.Encoder().encode
_RETURNED = "a WebSocket message was answered by return"  # what the peer reads beside 1011


@dataclass(frozen=True, slots=True)
class CallbackHandler:
    """A declared callback: ``App([CallbackHandler(handler)])``. It takes what nothing else in the App does.

    Args:
        handler: called with every HTTP request and every WebSocket message; sync or async.
        on_open: called with every WebSocket before its first message; sync or async.
        on_close: called with it exactly once, after its last message was handled; sync or async.
        subprotocols: those spoken, most wanted first.

    Raises:
        ConfigError: what is called cannot be called with one argument, or subprotocols are no list.
    """

    handler: Callback
    on_open: Hook | None = None
    on_close: Hook | None = None
    subprotocols: Sequence[str] = ()

    def __post_init__(self) -> None:
        _require_callable("handler", self.handler)
        for name, hook in (("on_open", self.on_open), ("on_close", self.on_close)):
            if hook is not None:
                _require_callable(name, hook)
        if isinstance(self.subprotocols, str) or not all(isinstance(each, str) for each in self.subprotocols):
            raise ConfigError("subprotocols is a list of texts", source_of(self.handler))

    @property
    def name(self) -> str:
        """What logs and route tables call it."""
        return str(getattr(self.handler, "__name__", type(self.handler).__name__))


def _require_callable(name: str, function: Any) -> None:
    source = source_of(function) if callable(function) else ""
    if not callable(function):
        raise ConfigError(f"{name} is a function, not {function!r:.100}")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise ConfigError(f"{name} is a function, not a generator", source)
    try:
        inspect.signature(function).bind(None)
    except TypeError:
        wanted = "the request" if name == "handler" else "the WebSocket"
        raise ConfigError(f"{name} is called with one argument, {wanted}", source) from None
    except ValueError:
        pass  # of something built in; nothing is known


def compile_callback(declaration: CallbackHandler, config: Config) -> list[Endpoint]:
    """The two endpoints of a callback.

    Args:
        config: the application's options.
    """
    function = declaration.handler
    common: dict[str, Any] = {
        "name": declaration.name,
        "path": ANY_PATH,
        "limits": config.limits,
        "summary": (inspect.getdoc(function) or "").partition("\n")[0] if inspect.isroutine(function) else "",
        "source": source_of(function),
    }
    on_open, on_close = declaration.on_open, declaration.on_close
    websocket = Endpoint(
        door=Door.WEBSOCKET,
        codec=Codec(_as_it_is, _as_it_is, _encode_request_error, json=False),
        on_message=_compile_message(function),
        begin=None if inspect.iscoroutinefunction(function) else _compile_begin(function),
        waits=may_wait(function, Parameters()),
        on_connect=None if on_open is None else _compile_hook("on_open", on_open),
        on_disconnect=None if on_close is None else _compile_hook("on_close", on_close),
        subprotocols=tuple(declaration.subprotocols),
        **common,
    )
    http = Endpoint(
        door=Door.REST,
        codec=Codec(_body_of, _as_it_is, _encode_error(config.dev)),
        on_message=_compile_http(function),
        as_is=True,
        **common,
    )
    return [websocket, http]


# -- WebSocket messages ------------------------------------------------------------------------------------------------


def _compile_begin(function: Callback) -> Callable[[Request], Any]:
    """Calls a plain function; what it gives to be awaited, such as that of a lambda around a coroutine, is awaited."""

    def begin(request: Request) -> Any:
        connection = request.connection
        try:
            returned = function(CallbackRequest(request.message, connection_of(connection), connection))
        except ConnectionClosed as error:
            _judge_closed(error, request)
        else:
            if returned is not None:
                return _finish(request, returned) if inspect.isawaitable(returned) else _refuse(request, returned)
        return None

    return begin


def _compile_message(function: Callback) -> Callable[[Request], Awaitable[None]]:
    async def on_message(request: Request) -> None:
        connection = request.connection
        try:
            returned = function(CallbackRequest(request.message, connection_of(connection), connection))
            if inspect.isawaitable(returned):
                returned = await returned
        except ConnectionClosed as error:
            _judge_closed(error, request)
        else:
            if returned is not None:
                _refuse(request, returned)

    return on_message


async def _finish(request: Request, returned: Awaitable[Any]) -> None:
    try:
        answer = await returned
    except ConnectionClosed as error:
        _judge_closed(error, request)
    else:
        if answer is not None:
            _refuse(request, answer)


def _refuse(request: Request, returned: Any) -> None:
    """A message has no response: ends the connection of a handler that returned one, and says so in the log."""
    where = f"{request.endpoint.name!r} ({request.endpoint.source})"
    told = "%s returned %s for a WebSocket message; closed with 1011: send with req.ws.send(…), return None"
    logger.error(told, where, type(returned).__name__)
    raise Disconnect(1011, _RETURNED)


def _judge_closed(error: ConnectionClosed, request: Request) -> None:
    """That the peer of this message has gone away meanwhile is nobody's mistake; that another has, was to be looked at.

    Raises:
        ConnectionClosed: it is this connection that has ended.
        RuntimeError: it is another.
    """
    if request.connection.is_open:
        raise RuntimeError(_OTHER_CLOSED) from error
    raise error


_OTHER_CLOSED = "another WebSocket was sent to after its end; look first whether its ready_state is 1, which is open"


def _compile_hook(name: str, hook: Hook) -> Callable[[Request], Awaitable[None]]:
    async def run(request: Request) -> None:
        try:
            returned = hook(connection_of(request.connection))
            if inspect.isawaitable(returned):
                await returned
        except Disconnect:
            raise
        except Exception as error:  # logged here, as the author knows the hook by this name only
            log_bug(request.endpoint, error, name)
            raise Disconnect(1011, "Internal error") from error

    return run


def _as_it_is(value: Any) -> Any:
    return value


# -- HTTP requests -----------------------------------------------------------------------------------------------------


def _compile_http(function: Callback) -> Callable[[Request], Awaitable[Response]]:
    async def on_message(request: Request) -> Response:
        try:
            answer = function(CallbackRequest(request.message, None, request.connection))
            if inspect.isawaitable(answer):
                answer = await answer
        except Deny as deny:
            body = {"error": deny.body} if isinstance(deny.body, str) else deny.body
            answer = {"status": deny.status, "headers": deny.headers, "body": body}
        except (ConnectionClosed, Disconnect) as error:  # which the door would take for a refusal
            raise RuntimeError(_OTHER_CLOSED if isinstance(error, ConnectionClosed) else _NO_CONNECTION) from error
        return response_of(answer, request.method)

    return on_message


_NO_CONNECTION = "an HTTP request has no connection for Disconnect to close"


def _body_of(incoming: Incoming) -> bytes:
    return incoming.body


# -- errors ------------------------------------------------------------------------------------------------------------


def _encode_request_error(error: RequestError) -> bytes:
    """What a peer is told of an error: of a bug nothing."""
    return b"" if isinstance(error, InternalError) else _encode(_told(error))


def _encode_error(dev: bool) -> Callable[[RequestError], bytes]:
    """What an HTTP client is told of an error."""

    def encode(error: RequestError) -> bytes:
        told = _told(error)
        if dev and isinstance(error, InternalError) and error.cause is not None:
            told["detail"] = f"{type(error.cause).__name__}: {error.cause}"
        return _encode(told)

    return encode


def _told(error: RequestError) -> dict[str, str]:
    told = {"error": error.message, "code": error.code}
    if isinstance(error, InternalError):
        told["id"] = error.error_id
    return told
