"""Endpoints: a compiled route → the endpoints that the server knows: at its path, and below ``/api``."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import msgspec
from starlette.responses import Response

from wireloom.core.codec import Codec
from wireloom.core.endpoint import Door, Endpoint
from wireloom.core.http import WITHOUT_BODY
from wireloom.core.rate import Bucket, TooOften
from wireloom.core.request import Request
from wireloom.core.rest import Incoming
from wireloom.core.schema import compile_message
from wireloom.errors import Deny, Disconnect, InternalError, InvalidJSON, RequestError, ValidationFailed
from wireloom.faces.routes.answer import Answer
from wireloom.faces.routes.compiler import Compiled, Hook
from wireloom.faces.routes.expressions.values import json_of, parse_json, text_of
from wireloom.faces.routes.failure import Failure
from wireloom.faces.routes.failures import Failures
from wireloom.faces.routes.fuel import CAUGHT
from wireloom.faces.routes.messaging import EVERY_ROUTE, channel_name
from wireloom.faces.routes.route import Route
from wireloom.faces.routes.services import Services
from wireloom.faces.routes.visit import Visit
from wireloom.identity.bearer import BEARER_SUBPROTOCOL

__all__ = ["RouteSocket", "adopt", "make_endpoints", "paths_of"]

_UPGRADE_REQUIRED = Deny(
    400, {"error": "WebSocket upgrade required", "message": "This route requires WebSocket protocol"}
)
_REFUSALS = 10  # messages above the rate, one after the other, before the connection ends
_encode = msgspec.json.Encoder().encode


def make_endpoints(route: Route, compiled: Compiled, services: Services) -> list[Endpoint]:
    """The endpoints of a route.

    Raises:
        ConfigError: its message schema cannot be compiled.
    """
    made = _http(route, compiled, services) if route.is_http else RouteSocket(route, compiled, services).endpoint()
    return [made, *(replace(made, path=path, hidden=True) for path in paths_of(route.path)[1:])]


def paths_of(path: str) -> list[str]:
    """Where a route is found: at its path, and below ``/api``."""
    return [path] if path == "/api" or path.startswith("/api/") else [path, f"/api{path}"]


def adopt(visits: Iterable[Visit]) -> None:
    """After a live reload, connections join what every connection of their route does now."""
    for visit in visits:
        socket = getattr(visit.connection.endpoint.on_connect, "__self__", None)
        if isinstance(socket, RouteSocket):
            socket.adopt(visit)
            socket.join_computed(visit)


def _common(route: Route, services: Services) -> dict[str, Any]:
    return {
        "name": route.name,
        "path": route.path,
        "limits": services.config.limits.sized(route.max_message_bytes),
        "summary": route.description.partition("\n")[0],
        "source": route.source,
    }


# -- WebSocket ---------------------------------------------------------------------------------------------------------


class RouteSocket:
    """The connections of one WebSocket route.

    Args:
        route: as it is declared.
        compiled: its hooks.
        services: what the application has.
    """

    def __init__(self, route: Route, compiled: Compiled, services: Services) -> None:
        self._route = route
        self._compiled = compiled
        self._services = services
        self._visits = services.visits
        self._failures = Failures(route.name, compiled)

    def endpoint(self) -> Endpoint:
        """The endpoint at the route's own path."""
        route, hook = self._route, self._compiled.hooks.get("on_message")
        begin: Callable[[Request], Any] | None = None
        if hook is not None and hook.waits:
            on_message = self._waiting(hook)
        else:
            begin = self._beginning(hook)
            on_message = _in_turn(begin)
        protocols = (*route.subprotocols, *([BEARER_SUBPROTOCOL] if route.auth else []))
        return Endpoint(
            door=Door.WEBSOCKET,
            codec=self._codec(),
            on_message=on_message,
            begin=begin,
            on_connect=self.on_connect,
            on_disconnect=self.on_disconnect,
            authorize=self._services.log_in if route.auth else None,
            subprotocols=protocols,
            takes_over=self._visits.__contains__,
            refusal_of_http=_UPGRADE_REQUIRED,
            **_common(route, self._services),
        )

    # -- messages ------------------------------------------------------------------------------------------------------

    def _codec(self) -> Codec:
        route = self._route
        read, schema = _READERS[route.binary], None
        if route.message_schema is not None:
            decoding = compile_message(None, schema=route.message_schema, owner=route.name, source=route.source)
            read, schema = partial(_read_checked, read, decoding.decode), decoding.schema
        return Codec(read, _reply_of, _encode_error, json=False, message_schema=schema)

    def _beginning(self, hook: Hook | None) -> Callable[[Request], Any]:
        """Handles messages at once."""
        visits, failures, rate = self._visits, self._failures, self._route.rate
        run = hook.run if hook is not None else _nothing

        def begin(request: Request) -> Any:
            connection = request.connection
            visit = visits[connection]
            if rate is not None:
                _take(visit, *rate)
            try:
                return run(visit, connection, request.message)
            except CAUGHT as error:
                failures.tell("on_message", visit, error)
                return None

        return begin

    def _waiting(self, hook: Hook) -> Callable[[Request], Any]:
        """Handles messages in a task, as something is waited for."""
        visits, failures, rate, run = self._visits, self._failures, self._route.rate, hook.run

        async def on_message(request: Request) -> Any:
            connection = request.connection
            visit = visits[connection]
            if rate is not None:
                _take(visit, *rate)
            try:
                return await run(visit, connection, request.message)
            except CAUGHT as error:
                failures.tell("on_message", visit, error)
                return None

        return on_message

    # -- life ----------------------------------------------------------------------------------------------------------

    async def on_connect(self, request: Request) -> None:
        """The connection joins its channels, then the hook runs, then it joins those that the hook has made known."""
        connection = request.connection
        visit = self._visits[connection] = Visit(request)
        connection.hear(EVERY_ROUTE)
        self.adopt(visit)
        reply = await self._run("on_connect", visit)
        if reply is not None:
            connection.send(_reply_of(reply))
        self.join_computed(visit)

    def adopt(self, visit: Visit) -> None:
        """Joins what every connection of the route does; a route that took another's place does so, too."""
        try:
            for name in self._compiled.channels:
                visit.meet(name)
        except RequestError as error:
            self._failures.tell("channels", visit, error)

    def join_computed(self, visit: Visit) -> None:
        """Joins the channels of broadcasts that are known by now."""
        if self._compiled.find_channels is None:
            return
        try:
            for value in self._compiled.find_channels(visit, visit.connection):
                if value is not None and value != "":
                    visit.meet(channel_name(value))
        except CAUGHT as error:
            self._failures.tell("channels", visit, error)

    async def on_disconnect(self, request: Request) -> None:
        """The hook runs, whose result nobody is there to take; then the connection is forgotten."""
        visit = self._visits.get(request.connection)
        if visit is not None:
            try:
                await self._run("on_disconnect", visit)
            finally:
                del self._visits[request.connection]

    async def _run(self, name: str, visit: Visit) -> Any:
        hook = self._compiled.hooks.get(name)
        if hook is None:
            return None
        try:
            reply = hook.run(visit, visit.connection, None)
            return await reply if hook.waits else reply
        except CAUGHT as error:
            self._failures.tell(name, visit, error)
            return None


def _in_turn(begin: Callable[[Request], Any]) -> Callable[[Request], Any]:
    """Handles messages that had to wait for others, or for `on_connect`."""

    async def on_message(request: Request) -> Any:
        return begin(request)

    return on_message


def _nothing(visit: Visit, connection: Any, message: Any) -> None:
    """What a route does with messages that it has no hook for."""


def _take(visit: Visit, per_minute: int, burst: int) -> None:
    """Counts one message of a connection.

    Raises:
        TooOften: it sends too many.
        Disconnect: it goes on all the same (1008).
    """
    now = time.monotonic()
    bucket = visit.bucket
    if bucket is None:
        bucket = visit.bucket = Bucket(burst, now)
    try:
        bucket.take(per_minute, burst, now)
    except TooOften as error:
        visit.refusals += 1
        if visit.refusals > _REFUSALS:
            raise Disconnect(1008, "Too many messages") from error
        raise
    visit.refusals = 0


def _reply_of(value: Any) -> str:
    """What a hook returns, as a message: a text as it is, anything else as JSON."""
    return str(value) if isinstance(value, str) else json_of(value)


def _encode_error(error: RequestError) -> bytes:
    """An error as clients of routes are told of it."""
    told: dict[str, Any] = {"error": error.message, "code": error.code}
    if isinstance(error, InternalError):
        told["id"] = error.error_id
    if isinstance(error, ValidationFailed) and error.details:
        first = error.details[0]
        told |= {"error": f"{error.message}: {first['message']}", "path": first["path"]}
    if isinstance(error, TooOften):
        told["retry_after_seconds"] = error.retry_after_seconds
    return _encode(told)


def _read_text(payload: str | bytes) -> str:
    if isinstance(payload, str):
        return payload
    try:
        return payload.decode()
    except UnicodeDecodeError:
        raise RequestError("INVALID_TEXT", "A binary message must be UTF-8 here") from None


def _read_base64(payload: str | bytes) -> str:
    return payload if isinstance(payload, str) else base64.b64encode(payload).decode()


def _read_json(payload: str | bytes) -> Any:
    if isinstance(payload, str):
        return payload
    try:
        return parse_json(_read_text(payload))
    except Failure as failure:
        if failure.code != "INVALID_JSON":
            raise RequestError("TOO_LARGE", failure.message) from failure
        raise InvalidJSON() from failure


def _read_checked(read: Callable[[Any], Any], check: Callable[[Any], Any], payload: str | bytes) -> Any:
    """A message of the declared shape."""
    check(payload)
    return read(payload)


_READERS: dict[str, Callable[[Any], Any]] = {"text": _read_text, "base64": _read_base64, "json": _read_json}


# -- HTTP --------------------------------------------------------------------------------------------------------------


def _http(route: Route, compiled: Compiled, services: Services) -> Endpoint:
    check, schema = None, None
    if route.message_schema is not None:
        decoding = compile_message(None, schema=route.message_schema, owner=route.name, source=route.source)
        check, schema = decoding.decode, decoding.schema
    return Endpoint(
        door=Door.REST,
        codec=Codec(partial(_read_body, check), _response, _encode_error, message_schema=schema),
        on_message=_answering(route, compiled),
        authorize=_admitting(route, services),
        login=route.auth,
        methods=route.methods,
        enveloped=False,
        **_common(route, services),
    )


def _admitting(route: Route, services: Services) -> Callable[[Request], Any] | None:
    if route.rate is None and not route.auth:
        return None
    what = f"route {', '.join(route.methods)} {route.path}"
    rate = None if route.rate is None else services.rates.of(what, *route.rate)

    async def authorize(request: Request) -> None:
        if route.auth:
            request.connection.user = await services.log_in(request)
        if rate is not None:
            rate.take(request)

    return authorize


def _answering(route: Route, compiled: Compiled) -> Callable[[Request], Any]:
    hook, failures = compiled.hooks["logic"], Failures(route.name, compiled)

    async def on_message(request: Request) -> Any:
        visit = Visit(request)
        visit.payload = request.message
        try:
            answer = hook.run(visit, request.connection, None)
            return await answer if hook.waits else answer
        except Failure as failure:
            if failure.code.isdecimal() and 400 <= int(failure.code) <= 599:
                raise RequestError(failure.code, failure.message, status=int(failure.code)) from failure
            raise InternalError(failures.tell("logic", visit, failure)) from failure

    return on_message


def _read_body(check: Callable[[Any], Any] | None, incoming: Incoming) -> Any:
    """The body of a request: JSON, or the fields of a form; null where there is none."""
    if incoming.form is not None:
        fields = dict(_fields(incoming.form))
        if check is not None:
            check(_encode(fields))
        return fields
    if check is not None and (incoming.body or incoming.method not in ("GET", "HEAD")):
        check(incoming.body)
    if not incoming.body:
        return None
    return _read_json(incoming.body)


def _fields(form: Any) -> Iterator[tuple[str, str]]:
    for name, value in form:
        if not isinstance(value, str):
            raise RequestError("INVALID_FORM", f"{name!r:.60} is a file, which this route does not take")
        yield name, value


def _response(answer: Any) -> Response:
    if not isinstance(answer, Answer):
        return Response(status_code=204)
    if answer.status in WITHOUT_BODY:
        return Response(status_code=answer.status, headers=answer.headers)
    body = text_of(answer.value) if answer.raw else json_of(answer.value)
    kind = "text/plain" if answer.raw else "application/json"
    named = {name.lower() for name in answer.headers}
    return Response(body, answer.status, answer.headers, media_type=None if "content-type" in named else kind)
