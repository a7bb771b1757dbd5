"""Worker: one of several processes that share a port, from within and as its supervisor sees it.

Laws:
- It says itself when it serves, and why it has failed; only its supervisor tells people.
- It drains by itself when its supervisor is gone.
"""

from __future__ import annotations

import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import Pipe

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import multiprocess

from wireloom import App
from wireloom.cli.failure import Failure, describe_failure
from wireloom.cli.leave import SECONDS_TO_LEAVE, leave_within, warn_of_leaving
from wireloom.cli.logs import configure_logging
from wireloom.cli.stalls import watch_stalls
from wireloom.cli.target import load_app
from wireloom.config import Config
from wireloom.net.server import DrainingServer, uvicorn_config

__all__ = ["Worker"]

_RETIRE = b"retire"


class _WorkerServer(DrainingServer):
    """uvicorn's server in a worker."""

    def __init__(self, config: uvicorn.Config, options: Config, report: Callable[[Failure | None], None]) -> None:
        super().__init__(config)
        self._dev = options.dev
        self._stalls = watch_stalls(options)
        self._report = report

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts the application and answers connections; when it does not start, nothing may hold it for long."""
        try:
            await super().startup(sockets)
        except SystemExit:
            leave_within(SECONDS_TO_LEAVE, lambda: STARTUP_FAILURE)
            raise
        self._report(None)
        if self._stalls is not None:
            self._stalls.start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drains; afterwards nothing may hold the process for long."""
        if self._stalls is not None:
            self._stalls.stop()
        await super().shutdown(sockets)
        leave_within(SECONDS_TO_LEAVE, self._leave_busy)

    def _leave_busy(self) -> int:
        warn_of_leaving()
        return int(self.failed)

    def tell(self, text: str, error: BaseException | None) -> None:
        """Has the supervisor tell people what came of the application's start or end."""
        interrupted, served = self.interrupted, self.started
        self._report(describe_failure(text, error, dev=self._dev, interrupted=interrupted, served=served))

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The supervisor's SIGTERM ends it, and is not raised again."""
        signal.signal(signal.SIGTERM, self.handle_exit)
        yield


class Worker(multiprocess.Process):
    """One worker. A terminal sends Ctrl-C to all processes; the supervisor alone hears it.

    Args:
        options: in force.
        targets: where it loads the application from.
        sockets: to listen on.
        attempt: how many before it were to fill the place and did not start.

    Attributes:
        served: it has said that it serves.
        has_told: it has said why it has failed.
        was_killed: its supervisor did, as its time was over.
        started_at: by the monotonic clock.
        successor_at: once it is gone, when the next is to start, by the same.
    """

    def __init__(
        self, options: Config, targets: tuple[str, ...], sockets: list[socket.socket], attempt: int = 0
    ) -> None:
        self.served = self.has_told = self.was_killed = False
        self.started_at = 0.0
        self.attempt = attempt
        self.successor_at: float | None = None
        self._options = options
        self._targets = targets
        self._failures, self._reports = Pipe(duplex=False)
        super().__init__(uvicorn_config(None, options, factory=True), sockets)

    def target(self, sockets: list[socket.socket] | None = None) -> None:
        """What runs in its process; its exit code is 0 unless something has failed."""
        self.parent_conn.close()  # its end is to be the supervisor's alone
        server = self._server = _WorkerServer(self.config, self._options, self._reports.send)
        self.config.app = self._load
        try:
            super().target(sockets)
        except SystemExit:
            if not server.interrupted:
                raise
        except Exception as error:  # the boundary of the process: what is not told here is a traceback of others'
            text = "the worker has failed"
            failure = describe_failure(text, error, dev=self._options.dev, interrupted=False, served=server.started)
            self._reports.send(failure)
            code = 1 if server.started else STARTUP_FAILURE
            leave_within(SECONDS_TO_LEAVE, lambda: code)
            sys.exit(code)
        sys.exit(int(server.failed))

    def _load(self) -> App:
        """The application once more."""
        app = load_app(self._targets).app
        configure_logging(self._options)
        app.configure(self._options)
        return app

    def always_pong(self) -> None:
        """Takes words of the supervisor's, as long as there is one."""
        with suppress(EOFError, OSError):
            super().always_pong()
        self.server.should_exit = True

    def pong(self) -> None:
        """Takes one word of the supervisor's."""
        if self.child_conn.recv() == _RETIRE:
            self.server.delay_seconds = 0.0  # no balancer is to find this port not ready
            self.server.should_exit = True
        else:
            self.child_conn.send(b"pong")

    @property
    def server(self) -> DrainingServer:
        """What runs in its process."""
        assert isinstance(self._server, DrainingServer)
        return self._server

    # -- seen from the supervisor --------------------------------------------------------------------------------------

    def start(self) -> None:
        """Starts the process, deaf to SIGINT from its first instruction on."""
        heard = signal.signal(signal.SIGINT, signal.SIG_IGN)
        super().start()
        signal.signal(signal.SIGINT, heard)
        self.started_at = time.monotonic()
        self._reports.close()  # so that a report ends with the worker, whole or not

    def ask(self) -> None:
        """Asks for a sign of life."""
        with suppress(EOFError, OSError):  # it is gone
            while self.parent_conn.poll(0):  # an answer that came too late for the last time
                self.parent_conn.recv()
            self.parent_conn.send(b"ping")

    def has_answered(self, seconds: float) -> bool:
        """Whether there is one, within so long."""
        try:
            if self.parent_conn.poll(seconds):
                self.parent_conn.recv()
                return True
        except (EOFError, OSError):
            self.process.join(seconds)
        return False

    def retire(self) -> None:
        """Has it drain while others serve on the port."""
        with suppress(OSError):  # it is gone already
            self.parent_conn.send(_RETIRE)

    def failures(self) -> Iterator[Failure]:
        """What has failed, of all that it has said since this was last asked."""
        try:
            while self._failures.poll():
                failure = self._failures.recv()
                if failure is None:
                    self.served = True
                else:
                    self.has_told = True
                    yield failure
        except (EOFError, OSError):  # killed while it told something
            return

    @property
    def failed(self) -> bool:
        """Whether it has ended as it should not; its end before another took its place is no matter any more, nor is
        that of one that was to take a place and has neither served nor said anything.
        """
        code = self.exitcode or 0
        counts = self.served or (code > 0 and self.has_told)
        return self.successor_at is None and code != 0 and counts

    def how_it_ended(self) -> str:
        """For people."""
        code = self.exitcode or 0
        if code >= 0:
            return f"ended with exit code {code}"
        try:
            return f"was ended by {signal.Signals(-code).name}"
        except ValueError:
            return f"was ended by signal {-code}"
