"""Server: uvicorn with our front on its port, in a process of its own or in an event loop that runs already.

Laws:
- The port is ours before anything is started, so that what stands against it is told in time.
- A stop ends within its time, whatever clients and handlers do.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import inspect
import logging
import math
import os
import signal
import socket
import ssl as tls
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn

from wireloom.config import Config
from wireloom.errors import ConfigError
from wireloom.net.front import Front, Upgraded, find_listener
from wireloom.net.lifespan import Lifespan

__all__ = [
    "INTERRUPTED",
    "DrainingServer",
    "ForegroundServer",
    "LoopServer",
    "bind",
    "check_tls",
    "ending_signals",
    "longest_stop_seconds",
    "url_of",
    "uvicorn_config",
]

logger = logging.getLogger(__name__)

_BACKLOG = 2048
_LEAST_FOR_APPLICATION_SECONDS = 3.0  # to stop in, when all the time of the drain is spent
_AFTER_DRAIN_SECONDS = 5.0  # for that, and for the last hooks
_LOOK_SECONDS = 0.02
INTERRUPTED = "interrupted while the application started"


def longest_stop_seconds(config: Config) -> float:
    """From a signal to the end, at most."""
    return config.drain_delay_seconds + config.drain_timeout_seconds + _AFTER_DRAIN_SECONDS


def uvicorn_config(
    application: Any, config: Config, *, factory: bool = False, ssl: tls.SSLContext | None = None
) -> uvicorn.Config:
    """uvicorn's configuration for an application of ours.

    Args:
        application: the App, or with `factory` a picklable function that makes it.
        config: our options.
        ssl: turns TLS on in place of the options' certificate.
    """
    return uvicorn.Config(
        application,
        factory=factory,
        host=config.host,
        port=config.port,
        workers=config.workers,
        http=Front,
        ws=Upgraded,
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        ssl_certfile=config.ssl_certfile,
        ssl_keyfile=config.ssl_keyfile,
        ssl_context_factory=None if ssl is None else lambda _config, _default: ssl,
        proxy_headers=True,
        forwarded_allow_ips=config.forwarded_allow_ips,
        timeout_graceful_shutdown=max(1, math.ceil(config.drain_timeout_seconds)),
    )


def ending_signals() -> list[signal.Signals]:
    """The signals that begin the end: an interrupt, a termination, and a hangup unless it is ignored, as by `nohup`."""
    ending = [signal.SIGINT, signal.SIGTERM]
    if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        ending.append(signal.SIGHUP)
    return ending


class DrainingServer(uvicorn.Server):
    """uvicorn's server with another end: its connections are drained, and all of it is bounded.

    Args:
        config: from `uvicorn_config`.

    Attributes:
        delay_seconds: how long it serves on after it was told to stop, while it is not ready; None: as the option says.
        interrupted: it was told to stop before it served.
        failed: the application did not start, or did not end as it should.
        owns_process: whether it is all that its process does, so that what exists at its start lives as long.
    """

    lifespan: Lifespan  # uvicorn's own tells of failures in its own log
    owns_process = True

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.delay_seconds: float | None = None
        self.interrupted = self.failed = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts the application and answers connections.

        Raises:
            SystemExit: uvicorn's `STARTUP_FAILURE`; why has been told.
        """
        lifespan = self.lifespan = Lifespan(self.config.loaded_app, lambda: self.should_exit)
        try:
            await super().startup(sockets)
        except SystemExit:
            self.interrupted = lifespan.interrupted
            if self.interrupted:
                self.tell(INTERRUPTED, lifespan.failure)
            else:
                self._tell_failure("the application did not start")
            raise
        except BaseException:  # it may have, but nobody can reach it
            await self._stop_application(_LEAST_FOR_APPLICATION_SECONDS)
            raise
        if self.owns_process:  # the collector need not look at all that again
            gc.collect()
            gc.freeze()

    async def on_tick(self, counter: int) -> bool:
        """Whether to stop: somebody wants it, or the application has ended by itself."""
        self._heed_end()
        return await super().on_tick(counter) or self.failed

    def _heed_end(self) -> None:
        if self.lifespan.has_ended and not self.failed:
            self._tell_failure("the application has ended by itself; what its lifespan runs has failed")

    def tell(self, text: str, error: BaseException | None) -> None:
        """Tells people what came of the application's start or end.

        Args:
            text: what happened.
            error: what it raised; a `CancelledError` was ours, and says where it was.
        """
        is_failure = self.failed and not isinstance(error, asyncio.CancelledError)
        logger.error(text, exc_info=error if is_failure else None)

    def _tell_failure(self, text: str) -> None:
        self.failed = True
        self.tell(text, self.lifespan.failure)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Takes no further connections, lets those that are open end within the drain's time, stops the application."""
        if self.owns_process:
            gc.unfreeze()
        if self.lifespan.has_ended:  # and has cut its connections
            self._close_port(sockets or [])
            return
        listener = find_listener(self.config.loaded_app)
        listener.ready = False
        await self._serve_on(listener.config.drain_delay_seconds)
        await asyncio.sleep(0)  # who has connected is accepted; closing the port would reset it
        self._close_port(sockets or [])
        listener.begin_drain()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        now = asyncio.get_running_loop().time
        ends = now() + min(listener.config.drain_timeout_seconds, self.config.timeout_graceful_shutdown or math.inf)
        state = self.server_state
        while (state.connections or state.tasks) and now() < ends and not self.force_exit:  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_SECONDS)
        for task in state.tasks:
            task.cancel()
        await listener.end_connections()
        self._heed_end()
        await self._stop_application(max(ends - now(), _LEAST_FOR_APPLICATION_SECONDS))

    async def _serve_on(self, seconds: float) -> None:
        """Goes on as before, for load balancers to find that it is no longer ready."""
        now = asyncio.get_running_loop().time
        begun = now()
        while not self.force_exit:
            left = begun + (seconds if self.delay_seconds is None else self.delay_seconds) - now()
            if left <= 0:
                return
            await self.on_tick(0)
            if self.failed:
                return
            await asyncio.sleep(min(left, 0.1))

    def _close_port(self, sockets: list[socket.socket]) -> None:
        for serving in self.servers:
            serving.close()
        for listening in sockets:
            listening.close()

    async def _stop_application(self, seconds: float) -> None:
        if self.lifespan.has_ended:
            return
        await self.lifespan.shutdown(seconds)
        if self.lifespan.timed_out:
            self._tell_failure(f"the application did not stop within its {seconds:.0f} s; ended without it")
        elif self.lifespan.failure is not None:
            self._tell_failure("the application did not end as it should; all that was open is closed")


class ForegroundServer(DrainingServer):
    """uvicorn's server from its start to the first signal. The second ends the process at once.

    Args:
        config: from `uvicorn_config`.
        on_ready: called once connections are answered; sync or async.
    """

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], Any]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts the application, then says so."""
        await super().startup(sockets)
        try:
            said = self._on_ready()
            if inspect.isawaitable(said):
                await said
        except BaseException:
            await self.shutdown(sockets)
            raise

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals begin the end. uvicorn would raise them again after it, which is a traceback."""
        if threading.current_thread() is not threading.main_thread():
            yield  # only there can signals be heard
            return
        before = {number: signal.signal(number, self.handle_exit) for number in ending_signals()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal begins the shutdown, the second ends the process."""
        if self.should_exit:
            os._exit(128 + sig)
        super().handle_exit(sig, frame)


class LoopServer(DrainingServer):
    """uvicorn's server within an event loop that runs already, from `start` to `stop`. Signals are not its matter.

    Args:
        config: from `uvicorn_config`.
        sockets: from `bind`; closed with it.
    """

    owns_process = False

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket]) -> None:
        super().__init__(config)
        self.delay_seconds = 0.0
        self._sockets = sockets
        self._ticking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Starts the application and answers connections.

        Raises:
            RuntimeError: the application does not start.
        """
        try:
            self.config.load()
            await self.startup(self._sockets)
        except SystemExit:
            raise RuntimeError("the application did not start; its log says why") from None
        finally:
            if not self.started:
                self._close_sockets()
        self._ticking = asyncio.create_task(self.main_loop())

    def begin_stop(self) -> None:
        """Has every connection end, as a signal does; `stop` waits for it."""
        find_listener(self.config.loaded_app).begin_drain()
        for connection in list(self.server_state.connections):
            connection.shutdown()

    async def stop(self) -> None:
        """Takes no further connections, lets those that are open end within the drain's time, stops the application."""
        assert self._ticking is not None, "it was started"
        self.should_exit = True
        self._ticking.cancel()
        await asyncio.wait([self._ticking])
        await self.shutdown(self._sockets)

    def _close_sockets(self) -> None:
        for listening in self._sockets:
            listening.close()


# -- the port ----------------------------------------------------------------------------------------------------------


def bind(config: Config, *, flags: bool = False) -> list[socket.socket]:
    """Listening sockets, one for each address that the host name stands for.

    Args:
        flags: what is told names the flags of the command line.

    Raises:
        ConfigError: what stands against it, and what to choose instead.
    """
    if not 0 <= config.port <= 65535:
        raise ConfigError(f"port {config.port} does not exist; the last is 65535")
    try:
        found = socket.getaddrinfo(config.host or None, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError):
        see = "; see --host" if flags else ""
        raise ConfigError(f"there is no host {config.host!r} to listen on{see}") from None
    sockets: list[socket.socket] = []
    unavailable: OSError | None = None
    for family, address in dict.fromkeys((entry[0], entry[4]) for entry in found):
        # Port 0: the first address picks the port, the others take the same
        port = sockets[0].getsockname()[1] if sockets else config.port
        try:
            sockets.append(socket.create_server((address[0], port, *address[2:]), family=family, backlog=_BACKLOG))
        except OSError as error:
            unavailable = error
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                for listening in sockets:
                    listening.close()
                raise _bind_error(error, config, flags) from None
    if not sockets and unavailable is not None:
        raise _bind_error(unavailable, config, flags)
    return sockets


def _bind_error(error: OSError, config: Config, flags: bool) -> ConfigError:
    with_port, or_port, with_host = (" with --port", "--port 0", " with --host") if flags else ("", "0", "")
    reasons = {
        errno.EADDRINUSE: f"port {config.port} is in use; choose another{with_port}, or {or_port} for a free one",
        errno.EACCES: f"port {config.port} is for administrators; choose one above 1023{with_port}",
        errno.EADDRNOTAVAIL: f"{config.host} is no address of this machine; choose another{with_host}",
    }
    otherwise = f"cannot listen on {config.host} port {config.port}: {os.strerror(error.errno or 0)}"
    return ConfigError(reasons.get(error.errno or 0, otherwise))


def url_of(config: Config, sockets: list[socket.socket], *, secure: bool = False) -> str:
    """Where HTTP is served, with the port that was found.

    Args:
        secure: over TLS, though the options have no certificate.
    """
    host = f"[{config.host}]" if ":" in config.host else config.host
    return f"http{'s' if secure or config.ssl_certfile else ''}://{host}:{sockets[0].getsockname()[1]}"


def check_tls(config: Config, *, flags: bool = False) -> None:
    """Looks at the certificate before anything is started.

    Args:
        flags: what is told names the flags of the command line.

    Raises:
        ConfigError: a file is missing, or the two do not make a certificate with its key.
    """
    if config.ssl_keyfile and not config.ssl_certfile:
        wanted = "--ssl-certfile" if flags else "ssl_certfile"
        raise ConfigError(f"a TLS key needs its certificate; give {wanted} too")
    for name, path in (("ssl_certfile", config.ssl_certfile), ("ssl_keyfile", config.ssl_keyfile)):
        if path is not None and not Path(path).is_file():
            raise ConfigError(f"there is no file {path!r}", f"--{name.replace('_', '-')}" if flags else name)
    if config.ssl_certfile:
        try:
            tls.SSLContext(tls.PROTOCOL_TLS_SERVER).load_cert_chain(config.ssl_certfile, config.ssl_keyfile)
        except tls.SSLError as error:
            reason = f": {error.reason.replace('_', ' ').lower()}" if error.reason else ""
            raise ConfigError(f"not a certificate with its private key in PEM{reason}", config.ssl_certfile) from None
