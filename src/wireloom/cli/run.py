"""Run: uvicorn on sockets of ours, in this process or in workers, from the first signal to a bounded end."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import click
import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import multiprocess

from wireloom import App
from wireloom.cli.logs import configure_logging, say
from wireloom.cli.output import explain
from wireloom.cli.target import load_app
from wireloom.config import Config
from wireloom.errors import ConfigError
from wireloom.net.server import ForegroundServer, uvicorn_config

if TYPE_CHECKING:
    from wireloom.cli.reload import Reloader

__all__ = ["run"]

logger = logging.getLogger(__name__)

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
        sockets: to listen on.
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


class _Server(ForegroundServer):
    """Announces itself, leaves signals handled to the end of the process, and lets nothing hold it for long."""

    def __init__(self, config: uvicorn.Config, announcement: str, reloader: Reloader | None) -> None:
        super().__init__(config, self._announce)
        self._reloader = reloader
        self._announcement = announcement

    async def _announce(self) -> None:
        if self._reloader is not None:
            await self._reloader.start()
        click.echo(self._announcement)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drains; afterwards nothing may hold the process for long."""
        if self._reloader is not None:
            await self._reloader.stop()
        if self.server_state.connections:
            say(_STOPPING)
        await super().shutdown(sockets)
        _leave_within(_SECONDS_TO_LEAVE)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are ours to the end of the process."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self.handle_exit)
        yield


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
        say(f"{config.workers} workers without a backplane: {note}", logging.WARNING)
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
                say(_STOPPING)
                told = True
            if self.impatient or time.monotonic() > deadline:
                for process in self.processes:
                    process.process.kill()
            time.sleep(0.02)
