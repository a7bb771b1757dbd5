"""App: the composition root. Configuration, declarations and hub become an ASGI application."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from wireloom.config import Config, choose_options, load_config
from wireloom.core.describe import Description, describe
from wireloom.core.router import Router
from wireloom.errors import ConfigError
from wireloom.faces.websocket import WebSocketHandler, compile_websocket, websocket
from wireloom.hub.hub import Hub
from wireloom.net.asgi import serve_websocket
from wireloom.net.http import HTTPDoor
from wireloom.net.listener import Listener

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from wireloom.core.request import Request

__all__ = ["App"]

Lifespan = Callable[["App"], AbstractAsyncContextManager[None]]


class App:
    """An application: typed WebSocket handlers, static files and other ASGI applications on one port.

    It is an ASGI 3 application, so any ASGI server can run it; ``wireloom serve`` runs it fastest.

    Args:
        declarations: what `websocket` declared.
        lifespan: an asynchronous context manager function of the app, entered at start and left at the end.
        **chosen: options by name (`wireloom.Config`); files, environment and flags win over them.

    Raises:
        ConfigError: an unknown option, or declarations that clash.
    """

    def __init__(
        self, declarations: Iterable[WebSocketHandler] = (), *, lifespan: Lifespan | None = None, **chosen: Any
    ) -> None:
        self.config = choose_options(chosen)
        self.hub = Hub()
        self.listener: Listener | None = None
        self._declarations: list[WebSocketHandler] = []
        self._router = Router()
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

    def add(self, *declarations: WebSocketHandler) -> None:
        """Adds declarations that were made without an application.

        Raises:
            ConfigError: a path that is served already.
        """
        for handler in declarations:
            self._router.add(compile_websocket(handler, self.config, self.hub))
            self._declarations.append(handler)

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
        """Puts other options in force; only before the start."""
        if self.listener is not None:
            raise RuntimeError("the application is running; configure it before")
        self.config = config
        self._configured = True

    def describe(self) -> list[Description]:
        """What this application serves, sorted by path."""
        return describe(self._router)

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
        router = Router()
        for handler in self._declarations:
            router.add(compile_websocket(handler, self.config, self.hub))
        self._router = router
        listener = Listener(router, self.hub, self.config, asyncio.get_running_loop())
        await listener.start()
        self._http.attach(listener)
        self.listener = listener

    async def _stop(self) -> None:
        listener, self.listener = self.listener, None
        if listener is not None:
            await listener.stop()

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
        try:
            async with self.running():
                await send({"type": "lifespan.startup.complete"})
                await receive()
        except Exception as error:
            kind = "startup" if self.listener is None else "shutdown"
            await send({"type": f"lifespan.{kind}.failed", "message": f"{type(error).__name__}: {error}"})
            raise
        await send({"type": "lifespan.shutdown.complete"})
