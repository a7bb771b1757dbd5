"""App: the composition root. Configuration, declarations, users and hub become an ASGI application."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from wireloom.config import Config, choose_options, load_config
from wireloom.core.actions import Actions
from wireloom.core.describe import Description, describe, describe_own
from wireloom.core.operation import Operation, Sources
from wireloom.core.provide import caller_source
from wireloom.core.rates import Rates
from wireloom.doors import (
    Compiler,
    Declaration,
    Doors,
    is_event_walker,
    needs_users,
    refuse_paths,
    route_services,
    user_operations,
    user_routes,
    walker_services,
)
from wireloom.errors import ConfigError
from wireloom.faces.websocket import (
    EventHandler,
    WebSocketHandler,
    event,
    websocket,
)
from wireloom.hub.backplane.choose import make_backplane
from wireloom.hub.hub import Hub
from wireloom.hub.notify import notify
from wireloom.net.asgi import serve_websocket
from wireloom.net.documents import PATHS as DOCUMENTS
from wireloom.net.documents import Documents
from wireloom.net.http import HTTPDoor, metrics_routes, own_paths
from wireloom.net.listener import Listener, Swapped, make_tracing

if TYPE_CHECKING:
    from starlette.routing import BaseRoute
    from starlette.types import ASGIApp, Receive, Scope, Send

    from wireloom.core.endpoint import Endpoint
    from wireloom.core.request import Request
    from wireloom.faces.events.policy import Allow
    from wireloom.faces.events.socket import EventOptions
    from wireloom.faces.reload import Pages
    from wireloom.faces.routes.loading import RouteFiles
    from wireloom.faces.routes.stores.stores import Stores
    from wireloom.faces.routes.visit import Visit
    from wireloom.faces.walkers.services import Services
    from wireloom.faces.walkers.spec import SpecOptions
    from wireloom.faces.walkers.walker import Walker
    from wireloom.graph.graph import Graph
    from wireloom.hub.connection import Connection
    from wireloom.identity.identity import Identity
    from wireloom.identity.user import User
    from wireloom.storage import Storage

__all__ = ["App"]

W = TypeVar("W", bound="type[Walker]")

_DECLARED = ("_declarations", "_events")  # attributes that a live reload takes from the new application ...
_COMPILED = ("_doors",)  # ... and those that `_compile` makes of them

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
        self.pages: Pages | None = None  # only with the option `reload`
        self._declarations: list[Declaration] = []
        self._events: EventOptions | None = None
        self._doors = Doors(counts=self.hub.counts)
        self._documents = Documents(self._sources)
        self._channels: dict[Connection, str] = {}  # of the event socket's connections
        self._tokens: dict[Connection, str] = {}  # that connections of walkers came with
        self._visits: dict[Connection, Visit] = {}  # of the connections of declarative routes
        self._rates = Rates()  # of walkers and declarative routes
        self._stores: Stores | None = None  # of declarative routes
        self._storage: Storage | None = None  # only where anything asks who somebody is
        self._http = HTTPDoor()
        self._lifespan = lifespan
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

    def walker(self, **options: Unpack[SpecOptions]) -> Callable[[W], W]:
        """Declares a walker of this application; the arguments are those of `wireloom.spec`."""
        from wireloom.faces.walkers.spec import spec

        def add(walker: W) -> W:
            self.add(spec(**options)(walker))
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
        self._declare_events(EventOptions(path, allow, on_connect, on_disconnect, source=caller_source()))

    def _declare_events(self, options: EventOptions | None) -> None:
        from wireloom.faces.events.socket import EventOptions

        before, self._events = self._events, options or EventOptions("/websocket", implied=True)
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
            self._add(declaration)
            if self._events is None and is_event_walker(declaration):
                self._declare_events(None)  # a walker that the event socket reaches brings it
        self._documents.forget()

    def _add(self, declaration: Declaration) -> None:
        try:
            for endpoint in self._compiler(self.config).compile(declaration):
                self._doors.add(endpoint)
        except ConfigError:
            with suppress(ConfigError):  # another declaration's, which `check` tells
                self._compile(self.config)  # without the doors that it did open
            raise
        self._declarations.append(declaration)

    def add_routes(self, *targets: str | os.PathLike[str]) -> None:
        """Adds declarative routes: the files of folders, and files, in YAML (``.yaml``, ``.yml``) and JSON (``.json``).

        Raises:
            ConfigError: everything that is wrong in any of them.
        """
        from wireloom.faces.routes.loading import read_routes

        self.add(read_routes(*targets))

    def check(self) -> None:
        """Looks at all declarations together, as the start does.

        Raises:
            ConfigError: something in them cannot be.
        """
        self._compile(self.config)

    def mount(self, path: str, app: ASGIApp, name: str | None = None) -> None:
        """Gives all HTTP requests below a path to another ASGI application."""
        self._http.add(Mount(path, app=app, name=name), caller_source())

    def static(self, path: str, directory: str | os.PathLike[str]) -> None:
        """Serves the files of a directory below a path; ``index.html`` stands for the directory itself.

        Raises:
            ConfigError: there is no such directory.
        """
        if not os.path.isdir(directory):
            raise ConfigError(f"there is no directory {os.fspath(directory)!r} to serve at {path!r}")
        self.mount(path, StaticFiles(directory=directory, html=True))

    @property
    def static_folders(self) -> list[Path]:
        """The directories whose files are served."""
        return self._http.folders

    @property
    def route_targets(self) -> list[Path]:
        """The files and folders that declarative routes are read from."""
        return [path for declaration in self._declarations for path in getattr(declaration, "targets", ())]

    def configure(self, config: Config) -> None:
        """Puts other options in force; only before the start.

        Raises:
            ConfigError: a backplane or a store of routes that there cannot be, or a package that is missing.
        """
        if self.listener is not None:
            raise RuntimeError("the application is running; configure it before")
        make_backplane(config.backplane, config.backplane_prefix)
        make_tracing(config)
        if self.route_targets:
            self._stores_of(config)
        self.config = config
        self._configured = True

    @property
    def declarations(self) -> tuple[Declaration, ...]:
        """What was added."""
        return tuple(self._declarations)

    def describe(self) -> list[Description]:
        """What this application serves, sorted by path."""
        return describe(self._doors)

    def describe_http(self) -> list[Description]:
        """What this application answers besides: what is mounted, in order, then what Wireloom brings."""
        paths = (*own_paths(self.config), *(DOCUMENTS if self.config.docs else ()))
        return [*self._http.describe(), *describe_own(paths, self._operations())]

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI 3.1 document of its HTTP endpoints."""
        return self._documents.openapi()

    def asyncapi(self) -> dict[str, Any]:
        """The AsyncAPI 3.0 document of its WebSocket endpoints."""
        return self._documents.asyncapi(self.config)

    def _sources(self) -> Sources:
        """What documents are made from."""
        return Sources(tuple(self._doors), tuple(self._operations()), self._events.path if self._events else None)

    def _operations(self) -> list[Operation]:
        """The HTTP endpoints that come with users."""
        return user_operations(self.config, self._events is not None) if self._needs_users() else []

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
        """The application between start and stop, once at a time. Servers do this by the ASGI lifespan.

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
        if self.listener is not None:
            raise RuntimeError("the application is running already; an App serves one event loop at a time")
        config = self.config = self.config if self._configured else load_config(base=self.config)
        self.hub.backplane = make_backplane(config.backplane, config.backplane_prefix)
        async with AsyncExitStack() as undo:
            if self._needs_users():
                await self._open_storage(config, undo)
            self.pages = _make_pages(config)
            self._compile(config)
            listener = Listener(self._doors.websocket, self.hub, config, asyncio.get_running_loop())
            await listener.start()
            own = self.pages.answers() if self.pages is not None else {}
            self._http.attach(listener, self._doors.rest, self._routes(), own)
            self.listener = listener
            notify.attach(self.hub)
            undo.pop_all()

    async def drain(self) -> None:
        """Closes every connection with 1012 and the advice when to come back, within `drain_timeout_seconds`, and lets
        nobody in any more. For servers that leave WebSockets open when they stop; ours does it by itself.
        """
        if self.listener is not None:
            await self.listener.drain()

    async def reload(self, other: App) -> Swapped:
        """Serves what another application declares, while connections stay open: the next message of each runs the new
        code. All or nothing. Options stay as they are, and no lifespan is entered or left.

        Args:
            other: freshly made, and not running. From now on it is this very application under a second name, with its
                users, its hub and everything that was put on it.

        Returns:
            How many connections go on.

        Raises:
            ConfigError: the declarations clash; nothing has changed.
        """
        if self.listener is None:
            raise RuntimeError("the application is not running; there is nothing to reload")
        before = {name: vars(self)[name] for name in (*_DECLARED, *_COMPILED)}
        async with AsyncExitStack() as undo:
            undo.callback(vars(self).update, before)
            vars(self).update({name: vars(other)[name] for name in _DECLARED})
            if self._needs_users() and self.identity is None:
                await self._open_storage(self.config, undo)
            if self.graph is not None:
                undo.callback(setattr, self.graph, "types", self.graph.types)
                self.graph.types = type(self.graph.types)()  # the new classes have the names of the old
            self._compile(self.config)
            undo.pop_all()
        self._http.replace(other._http, self._doors.rest, self._routes())
        vars(self).update({name: value for name, value in vars(other).items() if name not in vars(self)})
        other.hub.__dict__ = vars(self.hub)  # a module may have kept it under a name of its own
        other.__dict__ = vars(self)
        return self._swap()

    def _swap(self) -> Swapped:
        """Has open connections go on with the endpoints of today."""
        assert self.listener is not None
        swapped = self.listener.swap(self._doors.websocket)
        self._doors.keep_counts()
        if self._visits:
            from wireloom.faces.routes.endpoints import adopt

            adopt(self._visits.values())
        return swapped

    async def _stop(self) -> None:
        listener, self.listener = self.listener, None
        storage, self._storage = self._storage, None
        stores, self._stores = self._stores, None
        self.identity = self.graph = None
        if storage is not None:
            await storage.stop()
        if listener is not None:
            notify.detach(self.hub)
            await listener.stop()
        if stores is not None:
            await stores.stop()
        if storage is not None:
            await storage.close()

    def _needs_users(self) -> bool:
        """Whether anything here asks who somebody is."""
        return self.config.dynamic_routes or self._events is not None or any(map(needs_users, self._declarations))

    async def _open_storage(self, config: Config, undo: AsyncExitStack) -> None:
        """Opens the database of users and nodes, and of registered routes."""
        from wireloom.storage import Storage

        storage = Storage(config, self.hub)
        await storage.start()
        undo.callback(vars(self).update, {"_storage": None, "graph": None, "identity": None})
        undo.push_async_callback(storage.close)
        undo.push_async_callback(storage.stop)
        self._storage, self.graph, self.identity = storage, storage.graph, storage.identity
        if config.dynamic_routes:
            await storage.start_dynamic(self._compile_registered)

    def _compile_registered(self, registered: Sequence[RouteFiles]) -> Callable[[], None]:
        """Compiles registered routes beside all else; gives what serves them."""
        made, before = self._make_doors(self.config, registered), self._doors

        def serve() -> None:
            if self.listener is None:
                return
            if self._doors is before:
                self._take(*made)
            else:  # a live reload came between
                self._compile(self.config)
            self._http.replace(self._http, self._doors.rest, self._routes())
            self._swap()

        return serve

    def _routes(self) -> list[BaseRoute]:
        """The HTTP endpoints that come with users, the documents and the metrics."""
        documents = self._documents.routes() if self.config.docs else []
        return [*self._user_routes(), *documents, *metrics_routes(self.config, self.hub, self._doors)]

    def _user_routes(self) -> list[BaseRoute]:
        storage, events = self._storage, self._events
        if storage is None:
            return []
        admins_only = None if events is None else events.allow is not None
        return user_routes(self.config, self.hub, storage.identity, storage.dynamic, admins_only)

    def _compile(self, config: Config) -> None:
        """Makes the endpoints of all declarations anew."""
        dynamic = self._storage.dynamic if self._storage is not None else None
        registered = dynamic.declarations if dynamic is not None else ()
        self._take(*self._make_doors(config, registered))

    def _take(self, doors: Doors, services: Services | None) -> None:
        """Has these endpoints from now on."""
        self._doors = doors
        if self.graph is not None and services is not None:
            self.graph.types = services.types
        self._documents.forget()

    def _make_doors(self, config: Config, registered: Sequence[RouteFiles]) -> tuple[Doors, Services | None]:
        """The endpoints of all declarations, and what walkers among them share."""
        doors, compiler = Doors(counts=self.hub.counts), self._compiler(config)
        for declaration in (*self._declarations, *registered):
            for endpoint in compiler.compile(declaration):
                doors.add(endpoint)
        if self._events is not None:
            doors.add(self._compile_events(self._events, config, doors.events))
        compiler.check()
        refuse_paths(doors, [*own_paths(config), *(each.path for each in self._operations())])
        if self.identity is not None:
            compiler.close_off(doors)
        if self.pages is not None:
            doors.add(self.pages.compile(config))
        return doors, compiler.services

    def _compiler(self, config: Config) -> Compiler:
        return Compiler(
            config,
            self.hub,
            self._authenticate,
            lambda: walker_services(
                config, self.hub, self._authenticate, self.identity, self.graph, self._tokens, self._rates
            ),
            lambda compiler: route_services(
                config, self.hub, compiler, self._stores_of(config), self._visits, self._rates
            ),
        )

    def _stores_of(self, config: Config) -> Stores:
        """What routes reach beside the hub; opened when it is first used."""
        from wireloom.faces.routes.stores.stores import Stores

        if self._stores is None or self._stores.config is not config:
            self._stores = Stores(config)
        return self._stores

    def _compile_events(self, options: EventOptions, config: Config, actions: Actions) -> Endpoint:
        from wireloom.faces.events.socket import compile_event_socket

        return compile_event_socket(options, config, self.hub, actions, self._authenticate, self._channels)

    async def _authenticate(self, token: str) -> User:
        assert self.identity is not None  # started before anything is served
        return await self.identity.authenticate(token)

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


def _make_pages(config: Config) -> Pages | None:
    from wireloom.faces.reload import Pages

    return Pages() if config.reload else None
