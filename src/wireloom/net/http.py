"""Plain HTTP on the same port: an ASGI application made of routes, mounts and the answers for WebSocket paths."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request as HTTPRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Match, Mount, Route, Router
from starlette.staticfiles import StaticFiles

from wireloom.core.describe import Description, describe_mount
from wireloom.core.endpoint import ANY_PATH, Endpoint
from wireloom.core.router import Router as EndpointRouter
from wireloom.errors import Deny
from wireloom.net.cors import CORS
from wireloom.net.rest import RestDoor

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from wireloom.config import Config
    from wireloom.hub.hub import Hub
    from wireloom.net.listener import Listener

__all__ = ["HEALTH", "METRICS_PATH", "HTTPDoor", "metrics_routes", "own_paths"]

METRICS_PATH = "/metrics"
HEALTH = ("/healthz/live", "/healthz/ready")


def own_paths(config: Config) -> tuple[str, ...]:
    """Paths of our own that no declaration may take."""
    return (*HEALTH, METRICS_PATH) if config.metrics else HEALTH


def metrics_routes(config: Config, hub: Hub, endpoints: Iterable[Endpoint]) -> list[BaseRoute]:
    """Where metrics are served, if they are."""
    if not config.metrics:
        return []
    from wireloom.net.metrics import metrics_route  # and with it prometheus-client

    return [metrics_route(config, hub, endpoints)]


class HTTPDoor:
    """Answers HTTP requests: its own paths, endpoints, health, what was added, then the endpoint that takes any path.
    At the path of a WebSocket, 426 stands in the place of that last one, and of a 404.

    Law: a path that is written out wins over a template with parameters, whoever declared them; and the server's own
    templates win over those that were declared.
    """

    def __init__(self) -> None:
        self._added: list[BaseRoute] = []
        self._described: list[Description] = []
        self._written_out: dict[str, list[set[str] | None]] = {}  # methods of routes without parameters; None: any
        self._templates: list[Route] = []  # the server's own with parameters
        self._own: Mapping[str, ASGIApp] = {}
        self._router = Router(default=self._no_route)
        self._answer = ExceptionMiddleware(self._router, handlers={HTTPException: _tell})
        self._listener: Listener | None = None
        self._cors: CORS | None = None
        self._rest = RestDoor(EndpointRouter())

    def add(self, mount: Mount, source: str = "") -> None:
        """Adds a Starlette mount; they are asked in order.

        Args:
            mount: what answers below its path.
            source: ``file:line`` of who added it.
        """
        self._added.append(mount)
        self._described.append(describe_mount(mount.path, _name_of(mount), source))
        self._order([*self._router.routes, mount])

    def attach(
        self,
        listener: Listener,
        rest: EndpointRouter,
        routes: Sequence[BaseRoute] = (),
        own: Mapping[str, ASGIApp] | None = None,
    ) -> None:
        """Learns of the WebSocket endpoints beside it, of those of HTTP, of routes that are asked before those added,
        and of what answers certain paths before everything.
        """
        self._listener = listener
        self._rest.tracing = listener.tracing
        origins = listener.config.allowed_origins
        self._cors = CORS(self._respond, origins) if origins else None
        self._own = own or {}
        self._serve(rest, routes)

    def replace(self, other: HTTPDoor, rest: EndpointRouter, routes: Sequence[BaseRoute]) -> None:
        """Has what was added to another door in place of what was added here; requests that run go on."""
        self._added, self._described = other._added, other._described
        self._serve(rest, routes)

    def _serve(self, rest: EndpointRouter, routes: Sequence[BaseRoute]) -> None:
        self._rest.router = rest
        self._templates = [route for route in routes if isinstance(route, Route) and route.param_convertors]
        self._order([*routes, *self._added])

    def _order(self, routes: Sequence[BaseRoute]) -> None:
        """Has these routes asked, one after the other."""
        self._router.routes[:] = routes
        self._written_out = {path: [None] for path in HEALTH}
        for route in routes:
            if isinstance(route, Route) and not route.param_convertors:
                self._written_out.setdefault(route.path, []).append(route.methods)

    def describe(self) -> list[Description]:
        """What was added, in the order in which it is asked."""
        return list(self._described)

    @property
    def folders(self) -> list[Path]:
        """The directories whose files are served."""
        mounted = [route.app for route in self._added if isinstance(route, Mount)]
        return [Path(app.directory) for app in mounted if isinstance(app, StaticFiles) and app.directory is not None]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if self._cors is not None and self._cors.concerns(scope) and self._is_ours(scope):
            await self._cors(scope, receive, send)
        else:
            await self._respond(scope, receive, send)

    def _is_ours(self, scope: Scope) -> bool:
        """Whether an endpoint or a path of our own answers. What is mounted, and a handler of any path, has its own
        policy; metrics are no page's.
        """
        path = _path_of(scope)
        methods = self._methods_of(path)
        found = self._find(_encoded(scope, path), scope["method"], bool(methods))
        return path != METRICS_PATH and (bool(methods) or path in self._own or found is not None)

    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        listener = self._listener
        path = _path_of(scope)
        encoded, methods = _encoded(scope, path), self._methods_of(path)
        written_out = bool(methods)
        found = self._find(encoded, scope["method"], written_out)
        if (refusal := self._refusal_of_host(scope, path)) is not None:
            await refusal(scope, receive, send)
        elif path in self._own:
            await self._own[path](scope, receive, send)
        elif found is not None and found[0].takes_method(scope["method"]):
            await self._rest.answer(*found, scope, receive, send)
        elif asked := _find_websocket(listener, encoded, scope["query_string"].decode("latin-1"), written_out):
            await self._ask_added(_upgrade_required(asked, scope), scope, receive, send)
        elif path == "/healthz/live":
            await JSONResponse({"status": "ok"})(scope, receive, send)
        elif path == "/healthz/ready":
            await _readiness(listener)(scope, receive, send)
        elif found is not None:  # by another method
            await self._rest.answer(*found, scope, receive, send)
        elif allowed := _other_methods(methods, scope["method"]):
            await _not_allowed(scope["method"], allowed)(scope, receive, send)
        else:
            await self._answer(scope, receive, send)

    def _refusal_of_host(self, scope: Scope, path: str) -> Response | None:
        """The answer to a request that names a host which is not ours. Balancers ask for health by address."""
        if self._listener is None or path in HEALTH:
            return None
        try:
            self._listener.allowed_hosts.check(scope["headers"])
        except Deny as deny:
            return JSONResponse(deny.body, deny.status)
        return None

    def _methods_of(self, path: str) -> list[set[str] | None]:
        """Those of each of the server's own routes that has the path; None: any."""
        templates = [route.methods for route in self._templates if route.path_regex.match(path)]
        return self._written_out.get(path, []) + templates

    def _find(self, path: str, method: str, written_out: bool) -> tuple[Endpoint, dict[str, str]] | None:
        """The endpoint of a path, percent-encoded; none with parameters where a route has the path written out, and not
        the one that takes what no route does either.
        """
        found = self._rest.router.match(path, method)
        if found is None or found[0].takes_any_path or (written_out and found[1]):
            return None
        return found

    async def _ask_added(self, otherwise: Response, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers by what was added, such as the page that uses the WebSocket at its own path, or as it is said."""
        is_refused = False

        async def take(message: Message) -> None:
            nonlocal is_refused
            if message["type"] == "http.response.start" and message["status"] in (404, 405):
                is_refused = True
                await otherwise(scope, receive, send)
            elif not is_refused:
                await send(message)

        added = [route for route in self._added if route.matches(scope)[0] is Match.FULL]
        if added:
            await ExceptionMiddleware(Router(added), handlers={HTTPException: _tell})(scope, receive, take)
        else:
            await otherwise(scope, receive, send)

    async def _no_route(self, scope: Scope, receive: Receive, send: Send) -> None:
        last = self._rest.router.match(ANY_PATH)
        if last is not None:
            await self._rest.answer(*last, scope, receive, send)
            return
        request, path = HTTPRequest(scope), _path_of(scope)
        hint = "; /docs shows what there is" if path == "/" and "/docs" in self._written_out else ""
        message = f"No route found for {request.method} {request.url.path}{hint}"
        await JSONResponse({"error": "Not Found", "message": message}, 404)(scope, receive, send)


def _name_of(mount: Mount) -> str:
    """What is mounted, for people."""
    if isinstance(mount.app, StaticFiles):
        return f"files of {mount.app.directory}"
    return mount.name or str(getattr(mount.app, "__name__", type(mount.app).__name__))


async def _tell(request: HTTPRequest, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = f"{request.method} {request.url.path}"
    return JSONResponse({"error": error.detail, "message": message}, error.status_code, error.headers)


def _other_methods(methods: Iterable[set[str] | None], method: str) -> list[str]:
    """What routes of one path are asked by, where none of them is by this method."""
    allowed: set[str] = set().union(*(each or {method} for each in methods))
    return [] if method in allowed else sorted(allowed)


def _not_allowed(method: str, allowed: list[str]) -> Response:
    names = ", ".join(allowed)  # RFC 9110 §15.5.6: a 405 MUST name what is allowed
    body = {"error": "Method Not Allowed", "message": f"{method} is not allowed here; {names} is"}
    return JSONResponse(body, 405, {"Allow": names})


def _path_of(scope: Scope) -> str:
    """The path below the mount point."""
    path: str = scope["path"].removeprefix(scope.get("root_path", "").rstrip("/"))
    return path or "/"


def _encoded(scope: Scope, path: str) -> str:
    """The path below the mount point, percent-encoded as it came: a slash in a parameter is no separator."""
    raw: bytes | None = scope.get("raw_path")
    if raw is None:
        return quote(path)
    root = quote(scope.get("root_path", "").rstrip("/"))
    return raw.decode("latin-1").partition("?")[0].removeprefix(root) or "/"


def _find_websocket(listener: Listener | None, path: str, query_string: str, written_out: bool) -> Endpoint | None:
    """The endpoint that an upgrade on this path, percent-encoded, would find; none with parameters where a route for
    HTTP has the path written out.
    """
    match = listener.router.match(path) if listener is not None else None
    if match is None or match[0].takes_any_path or (written_out and match[1]):
        return None
    endpoint, raw = match
    try:
        if endpoint.bind is not None:
            endpoint.bind(raw, query_string)
    except Deny as deny:
        return None if deny.status == 404 else endpoint
    return endpoint


def _upgrade_required(endpoint: Endpoint, scope: Scope) -> Response:
    if endpoint.refusal_of_http is not None:
        refusal = endpoint.refusal_of_http
        return JSONResponse(refusal.body, refusal.status, refusal.headers)
    # RFC 9110 §15.5.22: a 426 MUST name the protocol required
    message = f"{scope['path']} speaks WebSocket; connect with ws:// or wss://"
    headers = {"Upgrade": "websocket", "Connection": "Upgrade"}
    return JSONResponse({"error": "Upgrade Required", "message": message}, 426, headers)


def _readiness(listener: Listener | None) -> Response:
    ready = listener is not None and listener.ready
    body = {"status": "ready" if ready else "not ready"}
    if listener is not None:
        body["backplane"] = "degraded" if listener.hub.degraded else "ok"
    return JSONResponse(body, 200 if ready else 503)
