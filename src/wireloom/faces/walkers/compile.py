"""Compile: a walker becomes one endpoint for each of its doors."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

from starlette.datastructures import UploadFile

from wireloom.core.codec import Codec
from wireloom.core.endpoint import Door, Endpoint
from wireloom.core.request import Request
from wireloom.core.rest import Incoming
from wireloom.core.topic import PUBLIC_ROOT_ID
from wireloom.errors import ConfigError, Disconnect, RequestError, Unauthorized
from wireloom.faces.walkers.abilities import Abilities
from wireloom.faces.walkers.callers import require_role
from wireloom.faces.walkers.envelope import event_errors, http_errors, http_reply
from wireloom.faces.walkers.fields import Fields, split_token
from wireloom.faces.walkers.run import Runner
from wireloom.faces.walkers.services import Services
from wireloom.faces.walkers.socket import WalkerSocket
from wireloom.faces.walkers.spec import Spec, spec_of
from wireloom.faces.walkers.walker import Walker
from wireloom.faces.walkers.webhook import WebhookDoor
from wireloom.graph.declared import source_of_class
from wireloom.graph.edge import Edge
from wireloom.graph.node import Node
from wireloom.identity.refusal import KeyInvalid

__all__ = ["compile_call", "compile_unknown", "compile_walker"]


def compile_walker(walker: type[Walker], services: Services) -> list[Endpoint]:
    """The endpoints of a walker.

    Raises:
        ConfigError: something in the declaration cannot be.
    """
    return _Compiler(walker, services).endpoints()


def compile_call(walker: type[Walker], services: Services) -> Endpoint:
    """An endpoint that nobody reaches from outside, for other declarations that run the walker: JSON of its fields in,
    JSON of the list of its reports out. Whoever may not run the walker otherwise may not here.
    """
    return _Compiler(walker, services).call()


class _Compiler:
    """Makes the endpoints of one walker."""

    def __init__(self, walker: type[Walker], services: Services) -> None:
        self._walker = walker
        self._services = services
        self._spec: Spec = spec_of(walker)
        self._source = source_of_class(walker)
        self._fields = Fields(walker)
        self._abilities = Abilities(walker)
        services.types.declare({*self._abilities.kinds, *_kinds_beside(walker)})
        self._runner = Runner(
            self._abilities, services.graph, services.find_user, services.threads, self._spec.timeout_seconds
        )
        per_minute, name = self._spec.rate_per_minute, f"walker {walker.__module__}.{walker.__qualname__}"
        self._rate = services.rates.of(name, per_minute) if per_minute else None
        self._check()

    def _check(self) -> None:
        if not self._abilities.all:
            raise ConfigError(f"{self._walker.__name__} has no ability; mark a method with @entry(Root)", self._source)
        if self._spec.protocol == "websocket" and not all(ability.is_async for ability in self._abilities.all):
            raise ConfigError(f"{self._walker.__name__}: abilities of a WebSocket walker are async def", self._source)
        if self._fields.has_files and (self._spec.protocol == "websocket" or self._spec.is_event):
            raise ConfigError(f"{self._walker.__name__}: files come over the REST door only", self._source)

    def endpoints(self) -> list[Endpoint]:
        """One for each door."""
        spec, name = self._spec, self._walker.__name__
        if spec.protocol == "websocket":
            return [self._socket(spec.path or f"/ws/{name}")]
        if spec.protocol == "webhook":
            return [self._webhook(spec.path or f"/webhook/{name}")]
        made = [self._event()] if spec.is_event else []
        if spec.http_methods:
            paths = [spec.path] if spec.path else [f"/walker/{name}", f"/walker/{name}/{{node_id}}"]
            made += [self._rest(path) for path in paths]
        return made

    def _endpoint(self, path: str, door: Door, codec: Codec, on_message: Any, **further: Any) -> Endpoint:
        own_doc = vars(self._walker).get("__doc__") and inspect.getdoc(self._walker)
        return Endpoint(
            name=self._walker.__name__,
            path=path,
            door=door,
            codec=codec,
            on_message=on_message,
            limits=self._services.config.limits.sized(self._spec.max_message_bytes),
            tags=self._spec.tags,
            summary=self._spec.summary or (own_doc or "").partition("\n")[0],
            source=self._source,
            **further,
        )

    # -- doors -------------------------------------------------------------------------------------------------------

    def _socket(self, path: str) -> Endpoint:
        name, services = self._walker.__name__, self._services
        socket = WalkerSocket(name, self._spec, self._fields, self._runner, self._rate, services)
        login = not self._spec.public
        return self._endpoint(path, Door.WEBSOCKET, socket.codec, socket.on_message, login=login, **socket.hooks)

    def call(self) -> Endpoint:
        """The endpoint of an event, also where the walker is none."""
        return self._event()

    def _event(self) -> Endpoint:
        fields, spec = self._fields, self._spec
        codec = Codec(
            _with_source(fields), bytes, event_errors(self._services.config.dev), message_schema=fields.schema
        )

        async def authorize(request: Request) -> Any:
            require_role(request.user, spec.roles)

        allowed = None if spec.public else authorize
        return self._endpoint(self._walker.__name__, Door.EVENT, codec, self._run, authorize=allowed)

    def _rest(self, path: str) -> Endpoint:
        spec, fields, callers, rate = self._spec, self._fields, self._services.callers, self._rate
        in_query = self._services.config.allow_token_in_query

        async def authorize(request: Request) -> Any:
            assert callers is not None
            request.connection.user = await callers.of_http(request, in_query=in_query, public=spec.public)
            if not spec.public:
                require_role(request.user, spec.roles)
            if rate is not None:
                rate.take(request)

        read = partial(_read_rest, fields, spec)
        codec = Codec(read, http_reply, http_errors(self._services.config.dev), message_schema=fields.schema)
        return self._endpoint(
            path,
            Door.REST,
            codec,
            self._run,
            authorize=authorize,
            login=not spec.public,
            methods=spec.http_methods,
        )

    def _webhook(self, path: str) -> Endpoint:
        door = WebhookDoor(self._walker.__name__, self._spec, self._fields, self._rate, self._services)
        on_message = door.forgetting(self._run)
        return self._endpoint(path, Door.WEBHOOK, door.codec, on_message, authorize=door.authorize, methods=("POST",))

    async def _run(self, request: Request) -> bytes:
        walker, again = request.message
        if self._rate is not None and request.endpoint.door is Door.EVENT:
            self._rate.take(request)
        root_id = getattr(request.user, "root_id", PUBLIC_ROOT_ID)
        return await self._runner.run(request, root_id, walker, again, request.node)


def _kinds_beside(walker: type[Walker]) -> Iterator[type[Node] | type[Edge]]:
    """The classes of nodes and edges that a walker's module knows."""
    for value in vars(sys.modules.get(walker.__module__, object)).values():
        if isinstance(value, type) and issubclass(value, (Node, Edge)):
            yield value


def _with_source(fields: Fields) -> Any:
    """A walker, and what makes another of the same message."""

    def decode(payload: str | bytes) -> Any:
        again = partial(fields.from_json, payload)
        return again(), again

    return decode


def _read_rest(fields: Fields, spec: Spec, incoming: Incoming) -> Any:
    """A walker of an HTTP request: of its body, and of its query and path where the declaration says so."""
    again = partial(_read_once, fields, spec, incoming)
    return again(), again


def _read_once(fields: Fields, spec: Spec, incoming: Incoming) -> Walker:
    wanted = None if incoming.method == "GET" or spec.as_query == "*" else set(spec.as_query)
    pairs = [(name, value) for name, value in incoming.query if name != "token" and (wanted is None or name in wanted)]
    pairs += [(name, value) for name, value in incoming.path.items() if name != "node_id"]
    if incoming.form is not None:
        for _, value in incoming.form:
            if isinstance(value, UploadFile):
                value.file.seek(0)  # a second try reads it from its beginning, as the first did
        own = [(name, value) for name, value in incoming.form if name != "token"]
        return fields.from_members(fields.members([*own, *pairs]))
    if wanted is None:
        return fields.from_members(fields.members(pairs))
    body: str | bytes = incoming.body or b"{}"
    if b"token" in incoming.body or b"\\" in incoming.body:  # which may spell the name otherwise
        _, body = split_token(body)
    if pairs:
        return fields.from_json_beside(body, fields.members(pairs))
    return fields.from_json(body)


# -- names that no walker has ------------------------------------------------------------------------------------------


def compile_unknown(doors: dict[str, Door], services: Services) -> list[Endpoint]:
    """The endpoints that answer for all names that no walker of their door has.

    Args:
        doors: the walkers of the application by name, each with one of its doors.
    """
    return [_unknown_socket(doors, services), *(_unknown_http(path, services) for path in _HTTP_PATHS)]


_HTTP_PATHS = ("/walker/{name}", "/walker/{name}/{node_id}", "/webhook/{name}")


def _unknown_socket(doors: dict[str, Door], services: Services) -> Endpoint:
    async def on_connect(request: Request) -> None:
        name = request.path_params["walker_name"]
        door = doors.get(name)
        if door is None:
            raise Disconnect(4004, f"Walker {_short(name)!r} not found")
        instead = {Door.WEBHOOK: f"/webhook/{name}", Door.EVENT: "the event socket"}.get(door, f"/walker/{name}")
        raise Disconnect(4000, f"Walker {name!r} is not a WebSocket walker. Use {instead} instead.")

    async def on_message(request: Request) -> None:
        """Nothing is asked of a connection that closes."""

    codec = Codec(lambda payload: payload, bytes, lambda error: b"")
    return Endpoint(
        name="unknown walker",
        path="/ws/{walker_name}",
        door=Door.WEBSOCKET,
        codec=codec,
        on_message=on_message,
        on_connect=on_connect,
        limits=services.config.limits,
        hidden=True,
    )


def _unknown_http(path: str, services: Services) -> Endpoint:
    async def authorize(request: Request) -> None:
        if path.startswith("/webhook/") and services.begin_webhook is not None:
            try:  # whoever cannot prove a key learns nothing of names
                await services.begin_webhook(request.headers, request.path_params["name"])
            except KeyInvalid as invalid:
                raise Unauthorized(invalid.reason) from invalid
        raise RequestError("NOT_FOUND", f"Walker {_short(request.path_params['name'])!r} not found")

    async def on_message(request: Request) -> None:
        """Nobody comes so far."""

    return Endpoint(
        name="unknown walker",
        path=path,
        door=Door.REST,
        codec=Codec(lambda incoming: incoming, bytes, http_errors(services.config.dev)),
        on_message=on_message,
        authorize=authorize,
        hidden=True,
    )


def _short(name: str) -> str:
    return name if len(name) <= 60 else name[:59] + "…"
