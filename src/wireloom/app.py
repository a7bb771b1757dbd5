"""App: the composition root. Configuration, declarations, users and hub become an ASGI application."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from wireloom.config import Config, choose_options, load_config
from wireloom.core.actions import Actions
from wireloom.core.describe import Description, describe
from wireloom.core.endpoint import Door
from wireloom.core.router import Router
from wireloom.errors import ConfigError, Deny, Unauthorized
from wireloom.faces.websocket import (
    EventHandler,
    WebSocketHandler,
    compile_event,
    compile_websocket,
    event,
    websocket,
)
from wireloom.hub.backplane.choose import make_backplane
from wireloom.hub.hub import Hub
from wireloom.hub.notify import notify
from wireloom.net.asgi import serve_websocket
from wireloom.net.http import HTTPDoor
from wireloom.net.listener import Listener

if TYPE_CHECKING:
    from starlette.routing import BaseRoute
    from starlette.types import ASGIApp, Receive, Scope, Send

    from wireloom.core.endpoint import Endpoint
    from wireloom.core.request import Request
    from wireloom.database.database import Database
    from wireloom.faces.events.policy import Allow
    from wireloom.faces.events.socket import EventOptions
    from wireloom.faces.walkers.services import Services
    from wireloom.faces.walkers.walker import Walker
    from wireloom.graph.graph import Graph
    from wireloom.identity.identity import Identity
    from wireloom.identity.user import User

__all__ = ["App", "Declaration", "is_runnable"]

logger = logging.getLogger(__name__)

W = TypeVar("W", bound="type[Walker]")

_CHECK_SECONDS = 30.0  # between looks at the tokens in use

Declaration: TypeAlias = "WebSocketHandler | EventHandler | type[Walker]"
Lifespan = Callable[["App"], AbstractAsyncContextManager[None]]


class App:
    """An application: typed handlers, walkers, the event socket, static files and other ASGI applications on one port.

    It is an ASGI 3 application, so any ASGI server can run it; ``wireloom serve`` runs it fastest.

    Args:
        declarations: what `websocket` and `event` declared, and walkers.
        lifespan: an asynchronous context manager function of the app, entered at start and left at the end.
        **chosen: options by name (`wireloom.Config`); files, environment and flags win over them.

    Raises:
        ConfigError: an unknown option, or declarations that clash.
    """

    def __init__(
        self,
        declarations: Iterable[Declaration] = (),
        *,
        lifespan: Lifespan | None = None,
        **chosen: Any,
    ) -> None:
        self.config = choose_options(chosen)
        self.hub = Hub()
        self.identity: Identity | None = None
        self.graph: Graph | None = None
        self.listener: Listener | None = None
        self._declarations: list[Declaration] = []
        self._events: EventOptions | None = None
        self._services: Services | None = None
        self._router = Router()
        self._rest = Router()
        self._actions = Actions()
        self._http = HTTPDoor()
        self._lifespan = lifespan
        self._database: Database | None = None
        self._watching: asyncio.Task[None] | None = None
        self._starting: asyncio.Lock | None = None
        self._configured = False
        self.add(*declarations)

    # -- declaring ---------------------------------------------------------------------------------------------------

    def websocket(
        self,
        path: str,
        *,
        message_schema: dict[str, Any] | bool | None = None,
        response_schema: dict[str, Any] | bool | None = None,
        name: str | None = None,
        auth: bool | Callable[[Request], Awaitable[Any]] = False,
        concurrency: int = 1,
        subprotocols: Sequence[str] = (),
        max_message_bytes: int | None = None,
    ) -> Callable[[Callable[..., Any]], WebSocketHandler]:
        """Declares a WebSocket handler of this application; the arguments are those of `wireloom.websocket`."""
        declare = websocket(
            path,
            message_schema=message_schema,
            response_schema=response_schema,
            name=name,
            auth=auth,
            concurrency=concurrency,
            subprotocols=subprotocols,
            max_message_bytes=max_message_bytes,
        )

        def add(function: Callable[..., Any]) -> WebSocketHandler:
            handler = declare(function)
            self.add(handler)
            return handler

        return add

    def event(
        self,
        name: str | None = None,
        *,
        message_schema: dict[str, Any] | bool | None = None,
        response_schema: dict[str, Any] | bool | None = None,
        auth: bool | Callable[[Request], Awaitable[Any]] = False,
    ) -> Callable[[Callable[..., Any]], EventHandler]:
        """Declares a function that clients of the event socket call by name; the arguments are those of
        `wireloom.event`.
        """
        declare = event(name, message_schema=message_schema, response_schema=response_schema, auth=auth)

        def add(function: Callable[..., Any]) -> EventHandler:
            handler = declare(function)
            self.add(handler)
            return handler

        return add

    def walker(self, **spec: Any) -> Callable[[W], W]:
        """Declares a walker of this application; the arguments are those of `wireloom.spec`."""
        from wireloom.faces.walkers.spec import spec as declare

        def add(walker: W) -> W:
            self.add(declare(**spec)(walker))
            return walker

        return add

    def events(
        self,
        path: str = "/websocket",
        *,
        allow: Allow | None = None,
        on_connect: Callable[..., Any] | None = None,
        on_disconnect: Callable[..., Any] | None = None,
    ) -> None:
        """Serves the event socket: users, channels and clients reach each other, and named events, on one connection.

        With it come the endpoints of users: ``/user/register``, ``/user/login`` and the others.

        Args:
            path: where it listens.
            allow: an async function of the connection, the kind (``"user"``, ``"channel"``, ``"client"``,
                ``"subscribe"``) and the ids, which says whether it may; by default as the option ``peer_events`` says.
            on_connect: called once a connection was told who and where it is; its parameters are found as a handler's.
            on_disconnect: called exactly once, after a connection's last event.

        Raises:
            ConfigError: the path is taken, or there is an event socket already.
        """
        from wireloom.faces.events.socket import EventOptions

        if self._events is not None and not self._events.implied:
            raise ConfigError(f"this application has its event socket already, at {self._events.path!r}")
        self._declare_events(EventOptions(path, allow, on_connect, on_disconnect))

    def _declare_events(self, options: EventOptions) -> None:
        before, self._events = self._events, options
        try:
            self._compile(self.config)
        except ConfigError:
            self._events = before
            raise

    def add(self, *declarations: Declaration) -> None:
        """Adds declarations that were made without an application.

        Raises:
            ConfigError: a path that is served already, or a name that is taken.
        """
        for declaration in declarations:
            self._compile_one(declaration, self.config, (self._router, self._rest, self._actions))
            self._declarations.append(declaration)
            if isinstance(declaration, type) and self._events is None:
                self._imply_events(declaration)

    def _imply_events(self, walker: type[Walker]) -> None:
        """A walker that the event socket reaches brings the event socket with it."""
        from wireloom.faces.events.socket import EventOptions
        from wireloom.faces.walkers.compile import is_event_walker

        if is_event_walker(walker):
            self._declare_events(EventOptions("/websocket", implied=True))

    def mount(self, path: str, app: ASGIApp, name: str | None = None) -> None:
        """Gives all HTTP requests below a path to another ASGI application."""
        self._http.add(Mount(path, app=app, name=name))

    def static(self, path: str, directory: str | os.PathLike[str]) -> None:
        """Serves the files of a directory below a path; ``index.html`` stands for the directory itself.

        Raises:
            ConfigError: there is no such directory.
        """
        if not os.path.isdir(directory):
            raise ConfigError(f"there is no directory {os.fspath(directory)!r} to serve at {path!r}")
        self.mount(path, StaticFiles(directory=directory, html=True))

    def configure(self, config: Config) -> None:
        """Puts other options in force; only before the start.

        Raises:
            ConfigError: a backplane that there cannot be.
        """
        if self.listener is not None:
            raise RuntimeError("the application is running; configure it before")
        make_backplane(config.backplane, config.backplane_prefix)
        self.config = config
        self._configured = True

    @property
    def declarations(self) -> tuple[Declaration, ...]:
        """What was added."""
        return tuple(self._declarations)

    def describe(self) -> list[Description]:
        """What this application serves, sorted by path."""
        return describe([*self._router, *self._rest, *self._actions])

    # -- running -----------------------------------------------------------------------------------------------------

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry."""
        if scope["type"] == "lifespan":
            await self._serve_lifespan(receive, send)
            return
        listener = self.listener or await self._start_mounted()
        if scope["type"] == "websocket":
            await serve_websocket(listener, scope, receive, send)
        else:
            await self._http(scope, receive, send)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[App]:
        """The application between start and stop. Servers do this by the ASGI lifespan.

        A host application whose framework does not pass its lifespan on to mounted applications enters this in its own.
        """
        await self._start()
        try:
            async with AsyncExitStack() as stack:
                if self._lifespan is not None:
                    await stack.enter_async_context(self._lifespan(self))
                yield self
        finally:
            await self._stop()

    async def _start(self) -> None:
        if not self._configured:
            self.config = load_config(base=self.config)
        config = self.config
        self.hub.backplane = make_backplane(config.backplane, config.backplane_prefix)
        async with AsyncExitStack() as undo:
            routes: list[BaseRoute] = []
            if self._needs_users():
                routes = await self._start_identity(config, undo)
            self._compile(config)
            listener = Listener(self._router, self.hub, config, asyncio.get_running_loop())
            await listener.start()
            self._http.attach(listener, self._rest, routes)
            self.listener = listener
            notify.attach(self.hub)
            undo.pop_all()

    async def _stop(self) -> None:
        listener, self.listener = self.listener, None
        identity, self.identity = self.identity, None
        database, self._database, self.graph = self._database, None, None
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait([self._watching])
        if identity is not None:
            await identity.stop()  # before the hub, which carries its last revocations
        if listener is not None:
            notify.detach(self.hub)
            await listener.stop()
        if database is not None:
            await database.close()

    def _needs_users(self) -> bool:
        """Whether anything here asks who somebody is."""
        return self._events is not None or any(_asks_who(declaration) for declaration in self._declarations)

    async def _start_identity(self, config: Config, undo: AsyncExitStack) -> list[BaseRoute]:
        """Opens the database of users and nodes; gives the HTTP endpoints that come with it."""
        from wireloom.database.database import Database
        from wireloom.faces.accounts import account_routes
        from wireloom.faces.notify import notify_route
        from wireloom.graph.graph import Graph, erase
        from wireloom.identity.identity import Identity

        database = self._database = Database(config.database)
        undo.push_async_callback(database.close)
        await database.open()
        self.graph = Graph(database)
        await self.graph.start()
        identity = Identity(config, database=database, erase=erase)
        await identity.start()
        undo.push_async_callback(identity.stop)
        identity.on_revoked = lambda user_id, token_id: self.hub.revoke(user_id=user_id, token_id=token_id)
        self.identity = identity
        watching = asyncio.create_task(self._watch_logins(identity))
        undo.callback(watching.cancel)
        self._watching = watching
        routes: list[BaseRoute] = [*account_routes(identity, config)]
        if self._events is not None:
            admins_only = self._events.allow is not None
            routes.append(notify_route(self.hub, identity.check_api_key, admins_only=admins_only))
        return routes

    async def _watch_logins(self, identity: Identity) -> None:
        """Ends what was revoked while nobody could tell this process: a backplane was away, a process was killed."""
        while True:
            await asyncio.sleep(_CHECK_SECONDS)
            try:
                await self.hub.logins.check(identity.standing)
            except Exception:
                logger.exception("the tokens in use could not be checked; it is tried again in %d s", _CHECK_SECONDS)

    def _compile(self, config: Config) -> None:
        """Makes the endpoints of all declarations anew."""
        router, _, actions = doors = Router(), Router(), Actions()
        self._services = None
        for declaration in self._declarations:
            self._compile_one(declaration, config, doors)
        if self._events is not None:
            router.add(self._compile_events(self._events, config, actions))
        if self.identity is not None:
            self._compile_unknown(doors)
        self._router, self._rest, self._actions = doors

    def _compile_one(self, declaration: Declaration, config: Config, doors: tuple[Router, Router, Actions]) -> None:
        router, rest, actions = doors
        if isinstance(declaration, EventHandler):
            actions.add(compile_event(declaration, config, self.hub, _require_user))
        elif isinstance(declaration, type):
            for endpoint in self._compile_walker(declaration, config):
                if endpoint.door is Door.EVENT:
                    actions.add(endpoint)
                else:
                    (router if endpoint.door is Door.WEBSOCKET else rest).add(endpoint)
        else:
            login = partial(self._log_in, in_query=config.allow_token_in_query)
            router.add(compile_websocket(declaration, config, self.hub, login))

    def _compile_walker(self, walker: type[Walker], config: Config) -> list[Endpoint]:
        from wireloom.faces.walkers.compile import compile_walker

        if self._services is None:
            self._services = self._make_services(config)
        return compile_walker(walker, self._services)

    def _make_services(self, config: Config) -> Services:
        from wireloom.faces.walkers.callers import Callers
        from wireloom.faces.walkers.services import Services

        callers, identity = Callers(self._authenticate, self.hub), self.identity
        if identity is None:
            return Services(config, self.hub, None, callers)
        return Services(config, self.hub, self.graph, callers, identity.find_root, identity.begin_webhook)

    def _compile_unknown(self, doors: tuple[Router, Router, Actions]) -> None:
        """Adds what answers for names that no walker has, wherever no declaration has that path."""
        if self._services is None:
            return
        from wireloom.faces.walkers.compile import compile_unknown

        router, rest, actions = doors
        names = {declaration.__name__ for declaration in self._declarations if isinstance(declaration, type)}
        walkers = {endpoint.name: endpoint.door for endpoint in (*actions, *rest) if endpoint.name in names}
        for endpoint in compile_unknown(walkers, self._services):
            with contextlib.suppress(ConfigError):
                (router if endpoint.door is Door.WEBSOCKET else rest).add(endpoint)

    def _compile_events(self, options: EventOptions, config: Config, actions: Actions) -> Endpoint:
        from wireloom.faces.events.socket import compile_event_socket

        return compile_event_socket(options, config, self.hub, actions, self._authenticate)

    async def _authenticate(self, token: str) -> User:
        assert self.identity is not None  # started before anything is served
        return await self.identity.authenticate(token)

    async def _log_in(self, request: Request, *, in_query: bool) -> User:
        """The user whose token a handshake brings: what ``auth=True`` asks for.

        Raises:
            Deny: 401.
        """
        from wireloom.identity.bearer import find_token
        from wireloom.identity.refusal import TokenInvalid

        token = find_token(request.headers, request.query, request.subprotocols, in_query=in_query)
        try:
            if token is None:
                raise TokenInvalid("Token missing")
            return await self._authenticate(token)
        except TokenInvalid as invalid:
            body = {"error": "Unauthorized", "message": invalid.reason}
            raise Deny(401, body, {"WWW-Authenticate": "Bearer"}) from invalid

    async def _start_mounted(self) -> Listener:
        """Mounted in a host that sends no lifespan: the first request starts the application."""
        self._starting = self._starting or asyncio.Lock()
        async with self._starting:
            if self.listener is None:
                if self._lifespan is not None:
                    raise RuntimeError("the host sends no lifespan events; enter app.running() in its own lifespan")
                await self._start()
        assert self.listener is not None
        return self.listener

    async def _serve_lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        kind = "startup"
        try:
            async with self.running():
                await send({"type": "lifespan.startup.complete"})
                kind = "shutdown"
                await receive()
        except Exception as error:
            await send({"type": f"lifespan.{kind}.failed", "message": f"{type(error).__name__}: {error}"})
            raise
        await send({"type": "lifespan.shutdown.complete"})


def _asks_who(declaration: Declaration) -> bool:
    """Whether a declaration needs users."""
    return isinstance(declaration, type) or declaration.options.auth is True


def is_runnable(walker: type[Walker]) -> bool:
    """Whether a class of walkers does something; else it is a base of others."""
    from wireloom.faces.walkers.abilities import Abilities

    return not walker.__name__.startswith("_") and bool(Abilities(walker).all)


async def _require_user(request: Request) -> Any:
    """What ``auth=True`` asks of an event: that its connection is logged in."""
    if request.user is None:
        raise Unauthorized()
    return request.user
