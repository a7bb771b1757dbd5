"""Endpoint: a compiled declaration, the one record that the server knows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal, TypeAlias

from wireloom.config import Limits
from wireloom.core.codec import Codec
from wireloom.core.request import Request
from wireloom.errors import Deny
from wireloom.metrics import EndpointCounts

__all__ = ["ANY_PATH", "Authorize", "Bind", "Door", "Endpoint", "Handler", "Parameter"]

ANY_PATH = "*"
"""The path of an endpoint that takes every request of its door that nothing else does."""

Handler: TypeAlias = Callable[[Request], Any]
"""Called with a request; gives an awaitable of the reply, or an asynchronous iterator where `Endpoint.streams`."""

Authorize: TypeAlias = Callable[[Request], Awaitable[Any]]
"""Gives who is asking, or raises `Deny` or `RequestError`."""

Bind: TypeAlias = Callable[[dict[str, str], str], tuple[dict[str, Any], dict[str, Any]]]
"""Converts raw path parameters and the query string to the values that handlers declare, or raises `Deny`."""


class Door(Enum):
    """Where an endpoint listens."""

    WEBSOCKET = "websocket"
    REST = "rest"
    WEBHOOK = "webhook"
    EVENT = "event"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a path or query, as documents tell of it.

    Args:
        name: in the template or the query string.
        place: where it stands.
        schema: JSON Schema of its value, with its default where it has one.
        required: whether it is refused without.
    """

    name: str
    place: Literal["path", "query"]
    schema: dict[str, Any]
    required: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Endpoint:
    """A compiled declaration. Each face makes these; nothing behind this record knows which face it was.

    Args:
        name: what logs, metrics and documents call it.
        path: the path template, such as ``/chat/{room}``; or `ANY_PATH`.
        door: where it listens; a declaration with three doors makes three endpoints.
        codec: how its messages are read and written.
        on_message: called for every message.
        bind: converts path and query parameters once a connection.
        parameters: those of path and query whose types are known.
        on_handshake: may look at the request before the upgrade and raise `Deny`.
        on_connect: called after the upgrade and before the first message.
        on_disconnect: called exactly once after the last message.
        authorize: who may come in; None is everybody. Runs before anything is decoded.
        login: whether documents say that a login is needed; None: where there is `authorize`.
        limits: what a connection may cost.
        subprotocols: those spoken, most wanted first.
        concurrency: messages of one connection handled at a time; above 1 replies are unordered.
        answers: whether documents say that each message is answered by one, in their order.
        streams: whether `on_message` gives an asynchronous iterator of replies.
        waits: whether `on_message` may wait for something; one that never does needs no task.
        begin: as `on_message`, but a plain function: gives the reply at once, or a coroutine of it where there is
            something to wait for. Only then is a task made.
        methods: HTTP methods, of the doors rest and webhook; none: all.
        as_is: requests reach it and responses leave it as they are: a body of any type and with any method, and no
            header but its own; of the door rest.
        enveloped: answers are in the REST envelope, of the door rest.
        refusal_of_http: the answer to an HTTP request without upgrade, of the door websocket; None: a 426.
        tags: what documents group it by.
        hidden: documents and route tables leave it out.
        summary: the first line of the handler's docstring.
        source: ``file:line`` of the declaration.
        takes_over: asked in a live reload whether it goes on with a connection of the endpoint in whose place it comes.
            None: with those of endpoints that have none either.
        counts: what has happened at it.
    """

    name: str
    path: str
    door: Door
    codec: Codec
    on_message: Handler
    bind: Bind | None = None
    parameters: tuple[Parameter, ...] = ()
    on_handshake: Handler | None = None
    on_connect: Handler | None = None
    on_disconnect: Handler | None = None
    authorize: Authorize | None = None
    login: bool | None = None
    limits: Limits = field(default_factory=Limits)
    subprotocols: tuple[str, ...] = ()
    concurrency: int = 1
    answers: bool = False
    streams: bool = False
    waits: bool = True
    begin: Callable[[Request], Any] | None = None
    methods: tuple[str, ...] = ()
    as_is: bool = False
    enveloped: bool = True
    refusal_of_http: Deny | None = None
    tags: tuple[str, ...] = ()
    hidden: bool = False
    summary: str = ""
    source: str = ""
    takes_over: Callable[[Any], bool] | None = None
    counts: EndpointCounts = field(default_factory=EndpointCounts)

    @property
    def takes_any_path(self) -> bool:
        """Whether it takes what nothing else does."""
        return self.path == ANY_PATH

    def takes_method(self, method: str) -> bool:
        """Whether it answers an HTTP method. HEAD is GET, whose body the server leaves out (RFC 9110 §9.3.2)."""
        return not self.methods or method in self.methods or (method == "HEAD" and "GET" in self.methods)

    @property
    def label(self) -> str:
        """What metrics and traces call it: its path template; of the door event, its name."""
        return self.name if self.door is Door.EVENT else self.path

    @property
    def needs_login(self) -> bool:
        """Whether documents say that a login is needed."""
        return self.authorize is not None if self.login is None else self.login
