"""Run: uvicorn on sockets of ours, in this process or in workers, from the first signal to a bounded end."""

from __future__ import annotations

import errno
import logging
import os
import signal
import socket
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click
import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import multiprocess

from wireloom import App
from wireloom.cli.logs import configure_logging
from wireloom.cli.output import explain
from wireloom.cli.target import load_app
from wireloom.config import Config
from wireloom.errors import ConfigError
from wireloom.net.server import uvicorn_config

if TYPE_CHECKING:
    from wireloom.cli.reload import Reloader

__all__ = ["bind", "check_tls", "run", "url_of"]

logger = logging.getLogger(__name__)

_BACKLOG = 2048
_STOPPING = "Stopping; Ctrl-C again ends at once"
_QUIET_SECONDS = 0.5  # an end that is quicker needs no word
_SECONDS_TO_LEAVE = 5.0  # for what ends after the drain: other threads, exit handlers


def run(
    app: App,
    config: Config,
    targets: tuple[str, ...],
    sockets: list[socket.socket],
    announcement: str,
    reloader: Reloader | None = None,
) -> int:
    """Serves until a signal comes.

    Args:
        app: loaded and configured.
        targets: where workers load it from again.
        sockets: from `bind`.
        announcement: printed when connections are answered.
        reloader: works while one process serves.

    Returns:
        The exit code: 0 after SIGINT or SIGTERM, 1 when the application did not start.
    """
    if config.workers > 1:
        return _run_workers(config, targets, sockets, announcement)
    server = _Server(uvicorn_config(app, config), announcement, reloader)
    try:
        server.run(sockets)
    except SystemExit as error:
        if error.code != STARTUP_FAILURE:
            raise
        return 1
    return 0


# -- one process -------------------------------------------------------------------------------------------------------


class _Server(uvicorn.Server):
    """uvicorn's server, which says when it is ready, leaves signals handled and ends at once on the second."""

    def __init__(self, config: uvicorn.Config, announcement: str, reloader: Reloader | None) -> None:
        super().__init__(config)
        self._reloader = reloader
        self._announcement = announcement

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts the application, then announces it."""
        await super().startup(sockets)
        if self._reloader is not None:
            await self._reloader.start()
        click.echo(self._announcement)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drains; afterwards nothing may hold the process for long."""
        if self._reloader is not None:
            await self._reloader.stop()
        if self.server_state.connections:
            click.echo(_STOPPING, err=True)
        await super().shutdown(sockets)
        _leave_within(_SECONDS_TO_LEAVE)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are ours to the end of the process; uvicorn would raise them again after the shutdown."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self.handle_exit)
        yield

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal begins the shutdown, the second ends the process."""
        if self.should_exit:
            os._exit(128 + sig)
        super().handle_exit(sig, frame)


def _leave_within(seconds: float) -> None:
    """Ends the process if a thread, such as one of a plain `def` handler, still holds it after so long."""

    def leave() -> None:
        logger.warning("a thread is still busy; ended without it")
        os._exit(0)

    timer = threading.Timer(seconds, leave)
    timer.daemon = True
    timer.start()


# -- workers -----------------------------------------------------------------------------------------------------------


def _run_workers(config: Config, targets: tuple[str, ...], sockets: list[socket.socket], announcement: str) -> int:
    if config.backplane == "memory":
        note = "a publication reaches only the clients of its own worker; give --backplane redis://… or nats://…"
        click.echo(f"warning: {config.workers} workers without a backplane: {note}", err=True)
    factory = partial(_load_in_worker, targets, config)
    multiprocess.Process = _Worker  # type: ignore[misc]  # uvicorn's supervisor offers no other way to choose the server
    workers = _Workers(uvicorn_config(factory, config, factory=True), sockets, announcement)
    workers.run()
    for listening in sockets:
        listening.close()
    if workers.impatient:
        return 128 + signal.SIGINT
    return 1 if any(process.exitcode == STARTUP_FAILURE for process in workers.processes) else 0


def _load_in_worker(targets: tuple[str, ...], config: Config) -> App:
    """The application once more, in a worker's process."""
    try:
        app = load_app(targets).app
    except ConfigError as error:
        click.echo(explain(error), err=True)
        sys.exit(STARTUP_FAILURE)
    configure_logging(config)
    app.configure(config)
    return app


class _Worker(multiprocess.Process):
    """One worker as the supervisor sees it. A terminal sends Ctrl-C to all processes; the supervisor alone hears it."""

    def start(self) -> None:
        """Starts the process, deaf to SIGINT from its first instruction on."""
        heard = signal.signal(signal.SIGINT, signal.SIG_IGN)
        super().start()
        signal.signal(signal.SIGINT, heard)

    @property
    def server(self) -> uvicorn.Server:
        """What runs in the worker's process."""
        if self._server is None:
            self._server = _WorkerServer(self.config)
        return self._server


class _WorkerServer(uvicorn.Server):
    """uvicorn's server in a worker."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The supervisor's SIGTERM ends it, and is not raised again."""
        signal.signal(signal.SIGTERM, self.handle_exit)
        yield


class _Workers(multiprocess.Multiprocess):
    """uvicorn's supervisor, which says when all workers are ready and whose end is bounded."""

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket], announcement: str) -> None:
        super().__init__(config, sockets)
        self._announcement = announcement
        self.impatient = False

    def init_processes(self) -> None:
        """Starts the workers and waits until they serve."""
        super().init_processes()
        while not self.should_exit.is_set() and all(process.process.is_alive() for process in self.processes):
            if all(process.is_ready(timeout=0.2) for process in self.processes):
                click.echo(self._announcement)
                return
            self.should_exit.wait(0.05)
            self.handle_signals()

    def handle_int(self) -> None:
        """The first signal begins the shutdown, the second ends the workers."""
        self.impatient = self.should_exit.is_set()
        super().handle_int()

    def handle_term(self) -> None:
        """As SIGINT."""
        self.impatient = self.should_exit.is_set()
        super().handle_term()

    def join_all(self) -> None:
        """Waits for the workers, for no longer than they may drain; another signal ends them at once."""
        begun = time.monotonic()
        deadline = begun + (self.config.timeout_graceful_shutdown or 0) + _SECONDS_TO_LEAVE
        told = False
        while any(process.process.is_alive() for process in self.processes):
            self.handle_signals()
            if not told and time.monotonic() > begun + _QUIET_SECONDS:
                click.echo(_STOPPING, err=True)
                told = True
            if self.impatient or time.monotonic() > deadline:
                for process in self.processes:
                    process.process.kill()
            time.sleep(0.02)


# -- the port ----------------------------------------------------------------------------------------------------------


def bind(config: Config) -> list[socket.socket]:
    """Listening sockets, one for each address that the host name stands for.

    Raises:
        ConfigError: what stands against it, and what to choose instead.
    """
    if config.port > 65535:
        raise ConfigError(f"port {config.port} does not exist; the last is 65535")
    try:
        found = socket.getaddrinfo(config.host or None, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError):
        raise ConfigError(f"there is no host {config.host!r} to listen on; see --host") from None
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
                raise _bind_error(error, config) from None
    if not sockets and unavailable is not None:
        raise _bind_error(unavailable, config)
    return sockets


def _bind_error(error: OSError, config: Config) -> ConfigError:
    reasons = {
        errno.EADDRINUSE: f"port {config.port} is in use; choose another with --port, or --port 0 for a free one",
        errno.EACCES: f"port {config.port} is for administrators; choose one above 1023 with --port",
        errno.EADDRNOTAVAIL: f"{config.host} is no address of this machine; choose another with --host",
    }
    otherwise = f"cannot listen on {config.host} port {config.port}: {os.strerror(error.errno or 0)}"
    return ConfigError(reasons.get(error.errno or 0, otherwise))


def url_of(config: Config, sockets: list[socket.socket]) -> str:
    """Where HTTP is served, with the port that was found."""
    host = f"[{config.host}]" if ":" in config.host else config.host
    return f"http{'s' if config.ssl_certfile else ''}://{host}:{sockets[0].getsockname()[1]}"


def check_tls(config: Config) -> None:
    """Looks at the certificate before anything is started.

    Raises:
        ConfigError: a file is missing, or the two do not make a certificate with its key.
    """
    if config.ssl_keyfile and not config.ssl_certfile:
        raise ConfigError("a TLS key needs its certificate; give --ssl-certfile too")
    for option, path in (("--ssl-certfile", config.ssl_certfile), ("--ssl-keyfile", config.ssl_keyfile)):
        if path is not None and not Path(path).is_file():
            raise ConfigError(f"there is no file {path!r}", option)
    if config.ssl_certfile:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(config.ssl_certfile, config.ssl_keyfile)
        except ssl.SSLError as error:
            reason = f": {error.reason.replace('_', ' ').lower()}" if error.reason else ""
            raise ConfigError(f"not a certificate with its private key in PEM{reason}", config.ssl_certfile) from None
