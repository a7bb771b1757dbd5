"""Server: an App on a port, without the command line; and `create_server`, which makes both of one function."""

from __future__ import annotations

import asyncio
import socket
import ssl as tls
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self, TypeAlias

from uvicorn.config import STARTUP_FAILURE

from wireloom.app import App
from wireloom.config import Config, choose_options, guard_hosts, load_config
from wireloom.errors import ConfigError
from wireloom.faces.callback.connection import CallbackConnection
from wireloom.faces.callback.handler import CallbackHandler
from wireloom.faces.callback.request import CallbackRequest
from wireloom.net.server import ForegroundServer, LoopServer, bind, check_tls, url_of, uvicorn_config

__all__ = ["Server", "create_server"]

TLS: TypeAlias = "tls.SSLContext | tuple[str, str]"


def create_server(
    handler: Callable[[CallbackRequest], Any],
    *,
    on_open: Callable[[CallbackConnection], Any] | None = None,
    on_close: Callable[[CallbackConnection], Any] | None = None,
    ssl: TLS | None = None,
    subprotocols: Sequence[str] = (),
    **options: Any,
) -> Server:
    """A server that gives every HTTP request and every WebSocket message to one function.

    Args:
        handler: called with a `CallbackRequest`; sync or async. A sync one runs on the event loop and must not block.
            For an HTTP request it returns the answer: a dict with ``status`` = 200, ``headers``, ``body`` (str, bytes,
            or dict and list as JSON) and ``type``, or a Starlette `Response`. For a WebSocket message it returns None
            and sends with ``req.ws.send``.
        on_open: called with every WebSocket before its first message; sync or async.
        on_close: called with it exactly once, after its last message was handled; sync or async.
        ssl: turns TLS on: a context, or the files of certificate chain and private key in PEM.
        subprotocols: those spoken, most wanted first.
        **options: of `App` (`wireloom.Config` and ``lifespan``), such as ``max_message_bytes``; ``docs`` is off here.

    Raises:
        ConfigError: a function that cannot be called with one argument, or an unknown option.
    """
    declaration = CallbackHandler(handler, on_open, on_close, subprotocols)
    choose_options({name: value for name, value in options.items() if name != "lifespan"}, "create_server")
    return Server(App([declaration], **{"docs": False, **options}), ssl=ssl)


class Server:
    """An application on a port: `listen` runs until a signal comes; `start` and `stop` are for a running event loop.

    Args:
        app: the application; further declarations may be added before it starts.
        ssl: turns TLS on: a context, or the files of certificate chain and private key in PEM.

    Attributes:
        app: the application.
        port: where it listens; 0 before it does.
        url: where HTTP is served, without a slash at the end; empty before it is.
        ssl_context: the TLS context that was given; None for files, which are options of the application, or for none.
    """

    def __init__(self, app: App, *, ssl: TLS | None = None) -> None:
        self.app = app
        self.port = 0
        self.url = ""
        self.ssl_context = ssl if isinstance(ssl, tls.SSLContext) else None
        if ssl is not None and self.ssl_context is None:
            certificate, key = _files(ssl)
            # among the options, so that they count wherever the App is served
            app.config = replace(app.config, ssl_certfile=certificate, ssl_keyfile=key)
        self._running: LoopServer | None = None

    def __repr__(self) -> str:
        return f"<Server {self.url or 'not listening'}>"

    def listen(self, port: int, host: str = "127.0.0.1", callback: Callable[[], Any] | None = None) -> None:
        """Serves until SIGINT or SIGTERM, then lets open connections end and returns. A second signal ends at once.

        Args:
            port: 0 picks a free one.
            host: the address to listen on; ``"0.0.0.0"`` is every one.
            callback: called once connections are answered; sync or async.

        Raises:
            ConfigError: the port is in use, the certificate is none, or another option cannot be.
            RuntimeError: an event loop runs here already, or the application did not start.
        """
        if _loop_runs():
            raise RuntimeError("listen() blocks, and an event loop runs here already: use await server.start(port)")
        config = self._configure(port, host)
        sockets = self._bind(config)
        server = ForegroundServer(uvicorn_config(self.app, config, ssl=self.ssl_context), callback or _say_nothing)
        try:
            server.run(sockets)
        except SystemExit as error:
            if error.code != STARTUP_FAILURE:
                raise
            if not server.interrupted:
                raise RuntimeError("the application did not start; its log says why") from None
        finally:
            self.port, self.url = 0, ""
            for listening in sockets:
                listening.close()

    async def start(self, port: int = 0, host: str = "127.0.0.1") -> None:
        """Serves within the running event loop, until `stop`.

        Args:
            port: 0 picks a free one, which `port` then is.
            host: the address to listen on.

        Raises:
            ConfigError: as `listen`.
            RuntimeError: it serves already, or the application did not start.
        """
        if self._running is not None:
            raise RuntimeError(f"it serves already, at {self.url}")
        config = self._configure(port, host)
        sockets = self._bind(config)
        running = self._running = LoopServer(uvicorn_config(self.app, config, ssl=self.ssl_context), sockets)
        try:
            await running.start()
        except BaseException:
            self._running, self.port, self.url = None, 0, ""
            raise

    async def stop(self) -> None:
        """Takes no further connections, lets those that are open end, and stops the application. Does nothing where it
        does not serve.
        """
        running, self._running = self._running, None
        if running is not None:
            await running.stop()
            self.port, self.url = 0, ""

    async def __aenter__(self) -> Self:
        if self._running is None:
            await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def _configure(self, port: int, host: str) -> Config:
        """Puts the options in force; files and environment win over those in code, but not over port and host."""
        if not isinstance(port, int):
            raise ConfigError(f"port is a number, not {port!r:.60}")
        if not isinstance(host, str):
            raise ConfigError(f"host is text, not {host!r:.60}; a function goes to callback=")
        config = guard_hosts(replace(load_config(base=self.app.config), port=port, host=host))
        if self.ssl_context is not None:
            config = replace(config, ssl_certfile=None, ssl_keyfile=None)
        check_tls(config)
        self.app.configure(config)
        return config

    def _bind(self, config: Config) -> list[socket.socket]:
        sockets = bind(config)
        self.port = sockets[0].getsockname()[1]
        self.url = url_of(config, sockets, secure=self.ssl_context is not None)
        return sockets


def _files(ssl: Any) -> tuple[str, str]:
    """The files of certificate and key."""
    if not isinstance(ssl, (tuple, list)) or len(ssl) != 2:
        raise ConfigError(f"ssl is an ssl.SSLContext or (certfile, keyfile), not {ssl!r:.100}")
    return str(ssl[0]), str(ssl[1])


def _loop_runs() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _say_nothing() -> None:
    """Nobody wants to hear that it serves."""
