"""Run: uvicorn on sockets of ours, in this process or in workers, from the first signal to a bounded end.

Laws:
- Whatever holds a process, it is gone `longest_stop_seconds` after the first signal, and at once after the second.
- A worker is replaced by one that serves already; one that does not start replaces nobody.
"""

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
from types import FrameType
from typing import TYPE_CHECKING

import click
import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import multiprocess

from wireloom import App
from wireloom.cli.logs import configure_logging, say
from wireloom.cli.output import explain
from wireloom.cli.target import failed, load_app
from wireloom.config import Config
from wireloom.errors import ConfigError
from wireloom.net.server import DrainingServer, ForegroundServer, ending_signals, longest_stop_seconds, uvicorn_config

if TYPE_CHECKING:
    from wireloom.cli.reload import Reloader

__all__ = ["run"]

logger = logging.getLogger(__name__)

_STOPPING = "Stopping; Ctrl-C again ends at once"
_QUIET_SECONDS = 0.5  # an end that is quicker needs no word
_SECONDS_TO_LEAVE = 5.0  # for what ends after the drain: other threads, exit handlers
_SECONDS_TO_START = 60.0  # for a worker that is to replace another
_RETIRE = b"retire"


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
    _tell_failure(app, config)
    server = _Server(uvicorn_config(app, config), announcement, reloader, longest_stop_seconds(config))
    try:
        server.run(sockets)
    except SystemExit as error:
        if error.code != STARTUP_FAILURE:
            raise
        return 1
    return 0


class _Failure(logging.Filter):
    """Tells why an application did not start, as a mistake with its place, instead of uvicorn's log."""

    def __init__(self, app: App, config: Config) -> None:
        super().__init__()
        self._app = app
        self._config = config
        self._told = False

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is logged."""
        error = self._app.failure
        if error is not None and not self._told:
            self._told = True
            problem = error if isinstance(error, ConfigError) else failed(error)
            if self._config.dev:
                click.echo(getattr(problem, "traceback", ""), err=True, nl=False)
            click.echo(explain(problem), err=True)
        return error is None


def _tell_failure(app: App, config: Config) -> None:
    logging.getLogger("uvicorn.error").addFilter(_Failure(app, config))


# -- one process -------------------------------------------------------------------------------------------------------


class _Server(ForegroundServer):
    """Announces itself, leaves signals handled to the end of the process, and lets nothing hold it for long."""

    def __init__(
        self, config: uvicorn.Config, announcement: str, reloader: Reloader | None, longest_stop_seconds: float
    ) -> None:
        super().__init__(config, self._announce)
        self._reloader = reloader
        self._longest_stop_seconds = longest_stop_seconds
        self._announcement = announcement

    async def _announce(self) -> None:
        if self._reloader is not None:
            await self._reloader.start()
        click.echo(self._announcement)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal begins the shutdown, which is bounded also where the event loop is held up."""
        super().handle_exit(sig, frame)
        _leave_within(self._longest_stop_seconds)

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
        for number in ending_signals():
            signal.signal(number, self.handle_exit)
        yield


def _leave_within(seconds: float) -> None:
    """Ends the process if something, such as the thread of a plain `def` handler, still holds it after so long."""

    def leave() -> None:
        logger.warning("something still holds the process, such as a busy thread; ended without it")
        os._exit(0)

    timer = threading.Timer(seconds, leave)
    timer.daemon = True
    timer.start()


# -- workers -----------------------------------------------------------------------------------------------------------


def _run_workers(config: Config, targets: tuple[str, ...], sockets: list[socket.socket], announcement: str) -> int:
    if config.backplane == "memory":
        note = "a publication reaches only the clients of its own worker; give --backplane redis://… or nats://…"
        say(f"{config.workers} workers without a backplane: {note}", logging.WARNING)
    # a worker has told its reason itself
    logging.getLogger("uvicorn.error").addFilter(lambda record: "failed to start" not in record.getMessage())
    factory = partial(_load_in_worker, targets, config)
    multiprocess.Process = _Worker  # type: ignore[misc]  # uvicorn's supervisor offers no other way to choose the server
    served = uvicorn_config(factory, config, factory=True)
    workers = _Workers(served, sockets, announcement, longest_stop_seconds(config))
    workers.run()
    workers.close_port()
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
    _tell_failure(app, config)
    return app


class _Worker(multiprocess.Process):
    """One worker as the supervisor sees it. A terminal sends Ctrl-C to all processes; the supervisor alone hears it."""

    def start(self) -> None:
        """Starts the process, deaf to SIGINT from its first instruction on."""
        heard = signal.signal(signal.SIGINT, signal.SIG_IGN)
        super().start()
        signal.signal(signal.SIGINT, heard)

    def retire(self) -> None:
        """Has it drain while others serve on the port."""
        self.parent_conn.send(_RETIRE)

    def pong(self) -> None:
        """In the worker: takes one word of the supervisor's."""
        if self.child_conn.recv() == _RETIRE:
            self.server.delay_seconds = 0.0  # no balancer is to find this port not ready
            self.server.should_exit = True
        else:
            self.child_conn.send(self.server.started)

    @property
    def server(self) -> DrainingServer:
        """What runs in the worker's process."""
        if self._server is None:
            self._server = _WorkerServer(self.config)
        assert isinstance(self._server, DrainingServer)
        return self._server


class _WorkerServer(DrainingServer):
    """uvicorn's server in a worker."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The supervisor's SIGTERM ends it, and is not raised again."""
        signal.signal(signal.SIGTERM, self.handle_exit)
        yield


class _Workers(multiprocess.Multiprocess):
    """uvicorn's supervisor, which says when all workers are ready, replaces them one by one and has a bounded end."""

    def __init__(
        self, config: uvicorn.Config, sockets: list[socket.socket], announcement: str, longest_stop_seconds: float
    ) -> None:
        super().__init__(config, sockets)
        self._announcement = announcement
        self._longest_stop_seconds = longest_stop_seconds
        self._retired: list[multiprocess.Process] = []  # those that drain while others serve
        self._is_restart_wanted = self._is_restarting = False
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

    def handle_hup(self) -> None:
        """Wants all workers to be replaced, also those that have just been."""
        self._is_restart_wanted = True

    def handle_signals(self) -> None:
        """Heeds signals. A restart, which looks for further ones, comes after all that there are."""
        super().handle_signals()
        while self._is_restart_wanted and not self._is_restarting and not self.should_exit.is_set():
            self._is_restart_wanted, self._is_restarting = False, True
            self.restart_all()
            self._is_restarting = False

    def restart_all(self) -> None:
        """Replaces the workers one by one: each begins to drain when another serves, and is gone before the next."""
        click.echo("Restarting the workers, one by one", err=True)
        if all(self._replace(index) for index in range(len(self.processes))):
            click.echo("All workers are new", err=True)

    def _replace(self, index: int) -> bool:
        """Whether there is a new worker in the place of an old one, and the old one is gone."""
        old, new = self.processes[index], _Worker(self.config, self.sockets)
        new.start()
        if not self._await_ready(new):
            new.kill()
            new.join()
            if not self.should_exit.is_set():
                click.echo("The new worker did not start; the old ones go on", err=True)
            return False
        self.processes[index] = new
        self._retired.append(old)
        if isinstance(old, _Worker) and old.process.is_alive():
            old.retire()
        deadline = time.monotonic() + self._longest_stop_seconds
        while old.process.is_alive() and not self.should_exit.wait(0.05):
            self.handle_signals()
            self.keep_subprocess_alive()
            if time.monotonic() > deadline:
                old.kill()
        if not self.should_exit.is_set():
            self._retired.remove(old)
        return not self.should_exit.is_set()

    def _await_ready(self, worker: multiprocess.Process) -> bool:
        deadline = time.monotonic() + _SECONDS_TO_START
        while worker.process.is_alive() and time.monotonic() < deadline and not self.should_exit.is_set():
            if worker.is_ready(timeout=0.2):
                return True
            self.handle_signals()
            self.keep_subprocess_alive()
        return False

    def terminate_all(self) -> None:
        """Has all workers drain. Nobody connects any more: the port is open as long as one process holds it."""
        self.close_port()
        super().terminate_all()

    def close_port(self) -> None:
        """Lets go of the sockets."""
        for listening in self.sockets:
            listening.close()

    def join_all(self) -> None:
        """Waits for the workers, for no longer than they may drain; another signal ends them at once."""
        begun = time.monotonic()
        deadline = begun + self._longest_stop_seconds
        told = False
        while any(process.process.is_alive() for process in (*self.processes, *self._retired)):
            self.handle_signals()
            if not told and time.monotonic() > begun + _QUIET_SECONDS:
                say(_STOPPING)
                told = True
            if self.impatient or time.monotonic() > deadline:
                for process in (*self.processes, *self._retired):
                    process.process.kill()
            time.sleep(0.02)
