"""Typed handlers: a function with annotations becomes an endpoint, on a path of its own or as a named event."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import msgspec

from wireloom.config import Config
from wireloom.core.codec import Codec, error_object
from wireloom.core.endpoint import Authorize, Door, Endpoint
from wireloom.core.provide import (
    Parameters,
    compile_bind,
    compile_call,
    describe_parameters,
    hints_of,
    may_wait,
    read_parameters,
    source_of,
    uses_query,
)
from wireloom.core.request import Request
from wireloom.core.router import parameter_names
from wireloom.core.schema import compile_message, compile_response, encode_raw, require_raw_response
from wireloom.errors import ConfigError, InternalError, InvalidJSON, RequestError, Unauthorized, ValidationFailed
from wireloom.hub.connection import Connection
from wireloom.hub.hub import Hub
from wireloom.identity.bearer import BEARER_SUBPROTOCOL

__all__ = ["EventHandler", "WebSocketHandler", "compile_event", "compile_websocket", "event", "websocket"]

Function = Callable[..., Any]
Hook = Literal["on_handshake", "on_connect", "on_disconnect"]

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class _Options:
    """What `websocket` was called with."""

    path: str
    message_schema: dict[str, Any] | bool | None
    response_schema: dict[str, Any] | bool | None
    name: str | None
    auth: bool | Authorize
    concurrency: int
    subprotocols: tuple[str, ...]
    max_message_bytes: int | None


class WebSocketHandler:
    """A declared handler. It is still the function: calling it calls the function.

    Args:
        function: the decorated function.
        options: the decorator's arguments.
    """

    def __init__(self, function: Function, options: _Options) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.options = options
        self.hooks: dict[Hook, Function] = {}
        compile_websocket(self, Config(), None)  # every mistake of the declaration is told where it is written

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the function as it was written."""
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<websocket {self.options.path} {self.function.__qualname__}>"

    def on_handshake(self, hook: Function) -> Function:
        """Declares a function that runs before the upgrade and may raise `Deny`; it gets the request, no connection."""
        return self._hook("on_handshake", hook)

    def on_connect(self, hook: Function) -> Function:
        """Declares a function that runs after the upgrade and ends before the first message is handled."""
        return self._hook("on_connect", hook)

    def on_disconnect(self, hook: Function) -> Function:
        """Declares a function that runs exactly once, after the last message was handled."""
        return self._hook("on_disconnect", hook)

    def _hook(self, name: Hook, hook: Function) -> Function:
        if name in self.hooks:
            raise ConfigError(
                f"{self.function.__name__!r} has its {name} already: {self.hooks[name].__name__!r}", source_of(hook)
            )
        if inspect.isgeneratorfunction(hook) or inspect.isasyncgenfunction(hook):
            raise ConfigError(f"{hook.__name__!r}: a hook is a function, not a generator", source_of(hook))
        _hook_parameters(self, name, hook, None)
        self.hooks[name] = hook
        return hook


def websocket(
    path: str,
    *,
    message_schema: dict[str, Any] | bool | None = None,
    response_schema: dict[str, Any] | bool | None = None,
    name: str | None = None,
    auth: bool | Callable[[Request], Awaitable[Any]] = False,
    concurrency: int = 1,
    subprotocols: Sequence[str] = (),
    max_message_bytes: int | None = None,
) -> Callable[[Function], WebSocketHandler]:
    """Declares a WebSocket handler. Needs no App yet: give the result to ``App([chat])`` or ``app.add(chat)``.

    Args:
        path: a path template; ``{room}`` is a whole segment and reaches the handler's parameter of that name.
        message_schema: JSON Schema for messages; the handler then gets plain values.
        response_schema: JSON Schema for replies.
        name: what logs and documents call it; by default the function's name.
        auth: True: only with a token of this application's users; or an async function of the request that gives the
            user or raises `Deny`.
        concurrency: how many messages of one connection are handled at a time; above 1 replies are unordered.
        subprotocols: those spoken, most wanted first.
        max_message_bytes: size of one message; by default the application's option of that name.

    Raises:
        ConfigError: a parameter that nothing explains, a type that has no schema, a schema that is none.
    """

    if callable(path):
        raise ConfigError(
            f'{getattr(path, "__name__", path)!r}: websocket needs a path: @app.websocket("/…")', source_of(path)
        )

    def declare(function: Function) -> WebSocketHandler:
        if isinstance(subprotocols, str):
            raise ConfigError(f"{function.__name__!r}: subprotocols is a list, not a text", source_of(function))
        options = _Options(
            path, message_schema, response_schema, name, auth, concurrency, tuple(subprotocols), max_message_bytes
        )
        return WebSocketHandler(_bare(function), options)

    return declare


def _bare(function: Function) -> Function:
    """The function inside another declaration: one function may be reached both ways."""
    return function.function if isinstance(function, (WebSocketHandler, EventHandler)) else function


class EventHandler:
    """A function that clients call by name over the event socket. It is still the function: calling it calls it.

    Args:
        function: the decorated function.
        options: the decorator's arguments; the path is the name.
    """

    def __init__(self, function: Function, options: _Options) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.options = options
        compile_event(self, Config(), None)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the function as it was written."""
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<event {self.options.path} {self.function.__qualname__}>"


def event(
    name: str | None = None,
    *,
    message_schema: dict[str, Any] | bool | None = None,
    response_schema: dict[str, Any] | bool | None = None,
    auth: bool | Callable[[Request], Awaitable[Any]] = False,
) -> Callable[[Function], EventHandler]:
    """Declares a function that clients of the event socket call by name, with a ``walker`` event.

    Its message is the event's ``context``, decoded and validated as for `websocket`; what it returns, or all that it
    yields, are the ``reports``.

    Args:
        name: by default the function's.
        message_schema: JSON Schema for the context; the function then gets plain values.
        response_schema: JSON Schema for each report.
        auth: True: only for connections that are logged in; or an async function of the request that raises `Deny`.

    Raises:
        ConfigError: as `websocket` does.
    """

    if callable(name):
        raise ConfigError(
            f"{getattr(name, '__name__', name)!r}: event needs parentheses: @app.event()", source_of(name)
        )

    def declare(function: Function) -> EventHandler:
        target = _bare(function)
        options = _Options(name or target.__name__, message_schema, response_schema, None, auth, 1, (), None)
        return EventHandler(target, options)

    return declare


def compile_event(handler: EventHandler, config: Config, hub: Hub | None, login: Authorize | None = None) -> Endpoint:
    """The endpoint of a named event.

    Args:
        config: the application's options.
        hub: what parameters annotated `Hub` get; None where only the declaration is checked.
        login: what ``auth=True`` stands for.

    Raises:
        ConfigError: what cannot be served as it is declared.
    """
    function, options = handler.function, handler.options
    source = source_of(function)
    _refuse_generator(function, source)
    parameters = read_parameters(function, [], _services(hub), takes_message=True)
    if uses_query(parameters):
        raise ConfigError(f"{function.__name__!r}: an event has no query parameters; put them into the context", source)
    annotation = parameters.message[1] if parameters.message is not None else dict[str, Any]
    return Endpoint(
        name=options.path,
        path=options.path,
        door=Door.EVENT,
        codec=_compile_event_codec(handler, annotation, source),
        on_message=compile_call(function, parameters),
        authorize=_authorize(options.auth, function.__name__, source, login),
        limits=config.limits,
        streams=inspect.isasyncgenfunction(function),
        waits=may_wait(function, parameters),
        summary=(inspect.getdoc(function) or "").partition("\n")[0],
        source=source,
    )


def _compile_event_codec(handler: EventHandler, annotation: Any, source: str) -> Codec:
    """Context → message, and what is returned → the JSON array of reports."""
    function, options = handler.function, handler.options
    owner = function.__name__
    message = compile_message(annotation, schema=options.message_schema, owner=owner, source=source)
    if not message.json:
        raise ConfigError(f"{owner!r}: an event's context is a JSON object, so its message is no str or bytes", source)
    returned = _return_annotation(function)
    response = compile_response(returned, schema=options.response_schema, owner=owner, source=source)
    write = response.encode

    def encode(reply: Any) -> bytes:
        replies = reply if streams else (reply,)
        return b"[%b]" % b",".join(write(each) for each in replies if each is not None)

    streams = inspect.isasyncgenfunction(function)
    return Codec(message.decode, encode, _encode_error_object, True, message.schema, response.schema)


def compile_websocket(
    handler: WebSocketHandler, config: Config, hub: Hub | None, login: Authorize | None = None
) -> Endpoint:
    """The endpoint of a declaration.

    Args:
        config: the application's options.
        hub: what parameters annotated `Hub` get; None where only the declaration is checked.
        login: what ``auth=True`` stands for.

    Raises:
        ConfigError: what cannot be served as it is declared.
    """
    function, options = handler.function, handler.options
    source = source_of(function)
    if options.concurrency < 1:
        raise ConfigError(f"{function.__name__!r}: concurrency must be 1 or more", source)
    _refuse_generator(function, source)
    names = parameter_names(options.path, source)
    parameters = read_parameters(function, names, _services(hub), takes_message=True)
    if parameters.message is None:
        raise ConfigError(f"{function.__name__!r}: no parameter takes the message", source)
    hooks = {name: (hook, _hook_parameters(handler, name, hook, hub)) for name, hook in handler.hooks.items()}
    compiled: dict[str, Any] = {name: compile_call(hook, found) for name, (hook, found) in hooks.items()}
    declared = [parameters, *(found for _, found in hooks.values())]
    return Endpoint(
        name=options.name or function.__name__,
        path=options.path,
        door=Door.WEBSOCKET,
        codec=_compile_codec(handler, parameters.message[1], source, config),
        on_message=compile_call(function, parameters),
        bind=compile_bind(declared),
        parameters=describe_parameters(declared),
        authorize=_authorize(options.auth, function.__name__, source, login),
        limits=config.limits.sized(options.max_message_bytes),
        subprotocols=options.subprotocols if options.auth is False else (*options.subprotocols, BEARER_SUBPROTOCOL),
        concurrency=options.concurrency,
        answers=options.concurrency == 1 and _always_replies(function),
        streams=inspect.isasyncgenfunction(function),
        waits=may_wait(function, parameters),
        summary=(inspect.getdoc(function) or "").partition("\n")[0],
        source=source,
        **compiled,
    )


def _refuse_generator(function: Function, source: str) -> None:
    if inspect.isgeneratorfunction(function):
        raise ConfigError(f"{function.__name__!r}: a generator that streams is an async def", source)


def _services(hub: Hub | None) -> dict[Any, Any]:
    """What an annotation alone explains. Without a hub any expression does: only the declaration is looked at."""
    return {Connection: "request.connection", Request: "request", Hub: hub if hub is not None else "request"}


def _hook_parameters(handler: WebSocketHandler, name: Hook, hook: Function, hub: Hub | None) -> Parameters:
    services = _services(hub)
    if name == "on_handshake":
        del services[Connection]  # there is none yet
    names = parameter_names(handler.options.path, source_of(hook))
    return read_parameters(hook, names, services, takes_message=False)


def _is_async(function: Function) -> bool:
    target = function if inspect.isroutine(function) else type(function).__call__
    return inspect.iscoroutinefunction(target)


def _authorize(auth: bool | Authorize, name: str, source: str, login: Authorize | None) -> Authorize | None:
    if auth is False:
        return None
    if auth is True:
        return login or _nobody
    if not callable(auth) or not _is_async(auth):
        raise ConfigError(
            f"{name!r}: auth is True, or an async function of the request that gives the user or raises Deny", source
        )
    return auth


async def _nobody(request: Request) -> Any:
    """Stands for ``auth=True`` while no application serves the declaration."""
    raise Unauthorized()


def _compile_codec(handler: WebSocketHandler, annotation: Any, source: str, config: Config) -> Codec:
    options, owner = handler.options, handler.function.__name__
    returned = _return_annotation(handler.function)
    message = compile_message(annotation, schema=options.message_schema, owner=owner, source=source)
    encode_error = _encode_error_with_details if config.dev or config.validation_details else _encode_error
    if not message.json:
        if options.response_schema is not None:
            raise ConfigError(
                f"{owner!r} takes str or bytes as they are, so its replies have no response_schema", source
            )
        require_raw_response(returned, owner=owner, source=source)
        return Codec(message.decode, encode_raw, encode_error, json=False, message_schema=message.schema)
    response = compile_response(returned, schema=options.response_schema, owner=owner, source=source)
    return Codec(message.decode, response.encode, encode_error, True, message.schema, response.schema)


def _return_annotation(function: Function) -> Any:
    annotation = hints_of(function).get("return", inspect.Parameter.empty)
    return None if annotation is type(None) else annotation


def _always_replies(function: Function) -> bool:
    """Whether a function says that it returns one reply, and never None."""
    annotation = hints_of(function).get("return")
    if annotation in (None, Any, object) or inspect.isasyncgenfunction(function):
        return False
    return type(None) not in (annotation, *get_args(annotation))


def _encode_error(error: RequestError) -> bytes:
    """This face's error shapes."""
    if isinstance(error, InvalidJSON):
        return _encode({"message": "Invalid JSON", "type": "error"})
    if isinstance(error, ValidationFailed):
        return _encode({"error": error.message})
    if isinstance(error, InternalError):
        return _encode({"error": error.message, "id": error.error_id})
    return _encode({"error": error.message, "code": error.code})


def _encode_error_object(error: RequestError) -> bytes:
    return _encode(error_object(error))


def _encode_error_with_details(error: RequestError) -> bytes:
    if isinstance(error, ValidationFailed):
        return _encode({"error": error.message, "details": error.details})
    return _encode_error(error)
