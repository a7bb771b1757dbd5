"""Doors: the endpoints of one application, and how its declarations become them, whichever face they are of."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard

import msgspec

from wireloom.config import Config
from wireloom.core.actions import Actions
from wireloom.core.endpoint import Door, Endpoint
from wireloom.core.operation import Operation
from wireloom.core.rates import Rates
from wireloom.core.request import Request
from wireloom.core.router import Router
from wireloom.errors import ConfigError, Deny, Unauthorized, did_you_mean
from wireloom.faces.callback.handler import CallbackHandler, compile_callback
from wireloom.faces.routes import SUFFIXES
from wireloom.faces.websocket import EventHandler, WebSocketHandler, compile_event, compile_websocket
from wireloom.hub.hub import Hub
from wireloom.metrics import Counts

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

    from wireloom.faces.routes.dynamic import DynamicRoutes
    from wireloom.faces.routes.loading import RouteFiles, Served
    from wireloom.faces.routes.services import Services as RouteServices
    from wireloom.faces.routes.stores.stores import Stores
    from wireloom.faces.routes.visit import Visit
    from wireloom.faces.walkers.services import Services
    from wireloom.faces.walkers.walker import Walker
    from wireloom.graph.graph import Graph
    from wireloom.hub.connection import Connection
    from wireloom.identity.bearer import Authenticate
    from wireloom.identity.identity import Identity

__all__ = [
    "SUFFIXES",
    "Compiler",
    "Declaration",
    "Doors",
    "is_event_walker",
    "is_of_routes",
    "is_runnable",
    "needs_users",
    "refuse_paths",
    "route_services",
    "user_operations",
    "user_routes",
    "walker_services",
]

Declaration: TypeAlias = "WebSocketHandler | EventHandler | CallbackHandler | type[Walker] | RouteFiles"


@dataclass(frozen=True, slots=True)
class Doors:
    """The endpoints of an application, by the door where they listen.

    Args:
        websocket: by path.
        rest: by path; webhooks too.
        events: by name.
        counts: of the application; an endpoint that is compiled anew goes on with those of the one before.
    """

    websocket: Router = field(default_factory=Router)
    rest: Router = field(default_factory=Router)
    events: Actions = field(default_factory=Actions)
    counts: Counts = field(default_factory=Counts)

    def __iter__(self) -> Iterator[Endpoint]:
        yield from self.websocket
        yield from self.rest
        yield from self.events

    def add(self, endpoint: Endpoint) -> None:
        """Opens a door.

        Raises:
            ConfigError: another endpoint has its path or its name.
        """
        endpoint = replace(endpoint, counts=self.counts.of(endpoint.door.value, endpoint.label))
        if endpoint.door is Door.EVENT:
            self.events.add(endpoint)
        else:
            (self.websocket if endpoint.door is Door.WEBSOCKET else self.rest).add(endpoint)

    def keep_counts(self) -> None:
        """These are the endpoints from now on: what was counted at others is told as one sum."""
        self.counts.keep({(endpoint.door.value, endpoint.label) for endpoint in self})

    def add_unless_taken(self, endpoint: Endpoint) -> None:
        """Opens a door where nothing was declared."""
        with contextlib.suppress(ConfigError):
            self.add(endpoint)


class Compiler:
    """Makes endpoints of declarations.

    Args:
        config: the options in force.
        hub: reaches connections.
        authenticate: gives the user of a token.
        make_services: gives what walkers need; asked once, and only when there is a walker.
        make_route_services: gives what routes need, likewise.

    Attributes:
        services: of walkers; None where there are none.
        served: the declarative routes.
    """

    def __init__(
        self,
        config: Config,
        hub: Hub,
        authenticate: Authenticate,
        make_services: Callable[[], Services],
        make_route_services: Callable[[Compiler], RouteServices],
    ) -> None:
        self._config = config
        self._hub = hub
        self._authenticate = authenticate
        self._make_services = make_services
        self._make_route_services = make_route_services
        self._route_services: RouteServices | None = None
        self.services: Services | None = None
        self.served: list[Served] = []
        self._walkers: dict[str, Door] = {}  # those that have no WebSocket
        self._classes: dict[str, type[Walker]] = {}
        self._called: dict[str, Endpoint] = {}  # what CallWalker runs

    def compile(self, declaration: Declaration) -> list[Endpoint]:
        """The endpoints of one declaration.

        Raises:
            ConfigError: something in it cannot be.
        """
        if isinstance(declaration, EventHandler):
            return [compile_event(declaration, self._config, self._hub, _require_user)]
        if isinstance(declaration, WebSocketHandler):
            return [compile_websocket(declaration, self._config, self._hub, self.log_in)]
        if isinstance(declaration, CallbackHandler):
            return compile_callback(declaration, self._config)
        if _is_routes(declaration):
            return self._compile_routes(declaration)
        from wireloom.faces.walkers.compile import compile_walker
        from wireloom.faces.walkers.walker import Walker

        if not isinstance(declaration, type) or not issubclass(declaration, Walker):
            raise ConfigError(f"{declaration!r:.100} is no declaration: a decorated function or a class of walkers")
        if self.services is None:
            self.services = self._make_services()
        endpoints = compile_walker(declaration, self.services)
        self._classes[declaration.__name__] = declaration
        if endpoints[0].door is not Door.WEBSOCKET:
            self._walkers[declaration.__name__] = endpoints[-1].door  # REST, where it has that too
        return endpoints

    def _compile_routes(self, files: RouteFiles) -> list[Endpoint]:
        if self._route_services is None:
            self._route_services = self._make_route_services(self)
        served = files.compile(self._route_services)
        self.served += served
        return [endpoint for one in served for endpoint in one.endpoints]

    def check(self) -> None:
        """Looks at what can be known only when everything is declared: the walkers that routes call, and paths that
        an HTTP and a WebSocket route of different declarations share.

        Raises:
            RoutesInvalid: some are not there, or shared.
        """
        if not self.served:
            return
        from wireloom.faces.routes.loading import shared_paths
        from wireloom.faces.routes.report import Problem, RoutesInvalid

        problems = list(shared_paths(one.route for one in self.served))
        for one in self.served:
            for name, value in one.compiled.walkers:
                if name not in self._classes:
                    message = f"there is no walker {name!r}{did_you_mean(name, self._classes)}"
                    problems.append(Problem(value.spot(), message, f"route {one.route.name!r}"))
        if problems:
            raise RoutesInvalid(problems)

    async def walk(self, visit: Any, name: str, context: dict[str, Any]) -> list[Any]:
        """Runs a walker for the user of a connection, and gives what it reports.

        Raises:
            RequestError: it must not be run, its fields are not such, or it fails.
        """
        from wireloom.core.dispatch import invoke
        from wireloom.faces.walkers.compile import compile_call

        assert self.services is not None  # `check` has found the walker
        endpoint = self._called.get(name)
        if endpoint is None:
            endpoint = self._called[name] = compile_call(self._classes[name], self.services)
        request = Request(endpoint, visit.connection, caller=visit.connection.user)
        reports: list[Any] = msgspec.json.decode(await invoke(request, msgspec.json.encode(context)))
        return reports

    def close_off(self, doors: Doors) -> None:
        """Adds what answers for names that no walker has, wherever nothing else was declared."""
        if self.services is None:
            return
        from wireloom.faces.walkers.compile import compile_unknown

        for endpoint in compile_unknown(self._walkers, self.services):
            doors.add_unless_taken(endpoint)

    async def log_in(self, request: Request) -> Any:
        """The user whose token a handshake brings: what ``auth=True`` asks for.

        Raises:
            Deny: 401.
        """
        from wireloom.identity.bearer import find_token
        from wireloom.identity.refusal import TokenInvalid

        in_query = self._config.allow_token_in_query
        token = find_token(request.headers, request.query, request.subprotocols, in_query=in_query)
        try:
            if token is None:
                raise TokenInvalid("Token missing")
            return await self._authenticate(token)
        except TokenInvalid as invalid:
            body = {"error": "Unauthorized", "message": invalid.reason}
            raise Deny(401, body, {"WWW-Authenticate": "Bearer"}) from invalid


async def _require_user(request: Request) -> Any:
    """What ``auth=True`` asks of an event: that its connection is logged in."""
    if request.user is None:
        raise Unauthorized()
    return request.user


def _is_routes(declaration: Any) -> TypeGuard[RouteFiles]:
    """Whether a declaration is of routes; known by its name, so that nothing is imported where there are none."""
    return type(declaration).__name__ == "RouteFiles"


def refuse_paths(doors: Doors, ours: Iterable[str]) -> None:
    """Refuses declarations at paths of our own, which they would hide.

    Raises:
        ConfigError: there is one.
    """
    taken = set(ours)
    for endpoint in (*doors.websocket, *doors.rest):
        if endpoint.path in taken:
            raise ConfigError(f"{endpoint.path!r} is a path of Wireloom's own; choose another", endpoint.source)


def is_of_routes(path: Path) -> bool:
    """Whether a path is of a file of declarative routes, or of a folder of such files that is no package."""
    return path.suffix in SUFFIXES or (path.is_dir() and not (path / "__init__.py").is_file())


def needs_users(declaration: Declaration) -> bool:
    """Whether a declaration asks who somebody is."""
    if _is_routes(declaration):
        return any(route.auth for route in declaration.routes)
    if isinstance(declaration, WebSocketHandler | EventHandler):
        return declaration.options.auth is True
    return not isinstance(declaration, CallbackHandler)


def is_event_walker(declaration: Declaration) -> bool:
    """Whether a declaration is a walker that the event socket reaches."""
    if not isinstance(declaration, type):
        return False
    from wireloom.faces.walkers.spec import spec_of

    return spec_of(declaration).is_event


def is_runnable(walker: type[Walker]) -> bool:
    """Whether a class of walkers does something; else it is a base of others."""
    from wireloom.faces.walkers.abilities import Abilities

    return not walker.__name__.startswith("_") and bool(Abilities(walker).all)


def walker_services(
    config: Config,
    hub: Hub,
    authenticate: Authenticate,
    identity: Identity | None,
    graph: Graph | None,
    tokens: dict[Connection, str],
    rates: Rates,
) -> Services:
    """What an application has for its walkers; before it has started, no users and no nodes."""
    from wireloom.faces.walkers.callers import Callers
    from wireloom.faces.walkers.services import Services

    callers = Callers(authenticate, hub)
    if identity is None:
        return Services(config, hub, None, callers, rates=rates)
    found, begin = identity.find_root, identity.begin_webhook
    return Services(config, hub, graph, callers, find_user=found, begin_webhook=begin, tokens=tokens, rates=rates)


def route_services(
    config: Config, hub: Hub, compiler: Compiler, stores: Stores, visits: dict[Connection, Visit], rates: Rates
) -> RouteServices:
    """What an application has for its routes."""
    from wireloom.faces.routes.services import Services

    stored = stores.sql, stores.store, stores.outbound
    return Services(config, hub, *stored, compiler.log_in, compiler.walk, visits, rates)


def user_operations(config: Config, events: bool) -> list[Operation]:
    """What documents say of the HTTP endpoints that come with users.

    Args:
        events: whether there is an event socket.
    """
    from wireloom.faces.accounts import account_operations
    from wireloom.faces.notify import notify_operation

    operations = [*account_operations(), *([notify_operation()] if events else [])]
    if config.dynamic_routes:
        from wireloom.faces.routes.register import register_operations

        operations += register_operations()
    return operations


def user_routes(
    config: Config, hub: Hub, identity: Identity, dynamic: DynamicRoutes | None, admins_only: bool | None
) -> list[BaseRoute]:
    """The HTTP endpoints that come with users.

    Args:
        admins_only: whether only administrators' keys may notify; None: there is no event socket, so nobody may.
    """
    from wireloom.faces.accounts import account_routes
    from wireloom.faces.notify import notify_route

    routes: list[BaseRoute] = [*account_routes(identity, config)]
    if admins_only is not None:
        routes.append(notify_route(hub, identity.check_api_key, admins_only=admins_only, limits=config.limits))
    if dynamic is not None:
        from wireloom.faces.routes.register import register_routes

        routes += register_routes(dynamic, identity.authenticate, config.limits)
    return routes
