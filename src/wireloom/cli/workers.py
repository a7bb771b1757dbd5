"""Workers: processes that share a port, under uvicorn's supervisor, from the first that serves to a bounded end.

Laws:
- A worker is replaced by one that serves already; one that does not start replaces nobody.
- The place of one that died is filled as long as another serves: at once, and by exponential backoff where that one
  does not start.
- What stands against a start, or came of an end, is told by the supervisor, once, however many workers say it.
- Whatever holds a worker, it is killed `longest_stop_seconds` after the first signal, and at once after the second.
"""

from __future__ import annotations

import logging
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
from wireloom.cli.leave import SECONDS_TO_INTERRUPT, SECONDS_TO_LEAVE, STOPPING, leave_within, warn_of_leaving
from wireloom.cli.logs import configure_logging, say
from wireloom.cli.stalls import watch_stalls
from wireloom.cli.target import load_app
from wireloom.config import Config
from wireloom.net.server import INTERRUPTED, DrainingServer, longest_stop_seconds, uvicorn_config

__all__ = ["run_workers"]

_QUIET_SECONDS = 0.5  # an end that is quicker needs no word
_SECONDS_TO_START = 60.0  # for a worker that is to replace another
_LONGEST_PAUSE_SECONDS = 30  # before the next attempt to fill a place
_RETIRE = b"retire"


def run_workers(
    config: Config, targets: tuple[str, ...], sockets: list[socket.socket], announce: Callable[[], None]
) -> int:
    """Serves in `config.workers` processes until a signal comes; gives the exit code, as `run`.

    Args:
        config: the options in force.
        targets: where each worker loads the application from.
        sockets: to listen on.
        announce: called when all of them answer.
    """
    if config.backplane == "memory":
        note = "a publication reaches only the clients of its own worker; give --backplane redis://… or nats://…"
        say(f"{config.workers} workers without a backplane: {note}", logging.WARNING)
    workers = _Workers(config, targets, sockets, announce)
    workers.run()
    workers.close_port()
    workers.heed_failures()
    return workers.exit_code


# -- in a worker's process ---------------------------------------------------------------------------------------------


class _WorkerServer(DrainingServer):
    """uvicorn's server in a worker."""

    def __init__(self, config: uvicorn.Config, options: Config, report: Callable[[Failure], None]) -> None:
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


class _Worker(multiprocess.Process):
    """One worker. A terminal sends Ctrl-C to all processes; the supervisor alone hears it.

    Args:
        options: in force.
        targets: where it loads the application from.
        sockets: to listen on.
        attempt: how many before it were to fill the place and did not start.

    Attributes:
        served: it has answered that it serves.
        has_told: why it has failed.
        successor_at: once it is gone, when the next is to start, by the monotonic clock.
    """

    def __init__(
        self, options: Config, targets: tuple[str, ...], sockets: list[socket.socket], attempt: int = 0
    ) -> None:
        self.served = self.has_told = False
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
            sys.exit(1 if server.started else STARTUP_FAILURE)
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
            self.child_conn.send(self.server.started)

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
        self._reports.close()  # so that a report ends with the worker, whole or not

    def _healthcheck(self, timeout: float) -> bool | None:
        """Whether it serves; None where it does not answer within so many seconds."""
        try:
            while self.parent_conn.poll(0):  # an answer that came too late for the last time
                self.parent_conn.recv()
        except (EOFError, OSError):
            return None
        started = super()._healthcheck(timeout)
        self.served = self.served or started is True
        return started

    def retire(self) -> None:
        """Has it drain while others serve on the port."""
        with suppress(OSError):  # it is gone already
            self.parent_conn.send(_RETIRE)

    def failures(self) -> Iterator[Failure]:
        """What it has told since this was last asked."""
        try:
            while self._failures.poll():
                failure = self._failures.recv()
                self.has_told = True
                yield failure
        except (EOFError, OSError):  # killed while it told something
            return


# -- the supervisor ----------------------------------------------------------------------------------------------------


class _Workers(multiprocess.Multiprocess):
    """uvicorn's supervisor, which says when all workers are ready, replaces them one by one and has a bounded end."""

    processes: list[_Worker]  # type: ignore[assignment]

    def __init__(
        self, options: Config, targets: tuple[str, ...], sockets: list[socket.socket], announce: Callable[[], None]
    ) -> None:
        super().__init__(uvicorn_config(None, options, factory=True), sockets)
        self._options = options
        self._targets = targets
        self._announce = announce
        self._longest_stop_seconds = longest_stop_seconds(options)
        self._others: list[_Worker] = []  # those that are to replace one, and those that drain while others serve
        self._retired: dict[_Worker, float] = {}  # that nobody replaces, and when they are to be gone
        self._is_restart_wanted = self._is_restarting = False
        self._told: set[str | tuple[str, ...]] = set()
        self._announced = self._impatient = self._failed = False
        self._signal = 0

    @property
    def exit_code(self) -> int:
        """What `run_workers` says of it."""
        if self._impatient or (self._interrupted and not self._failed):
            return 128 + self._signal
        return int(self._failed or any((worker.exitcode or 0) > 0 for worker in self.processes))

    @property
    def _interrupted(self) -> bool:
        return bool(self._signal) and not self._announced

    def _all(self) -> tuple[_Worker, ...]:
        return (*self.processes, *self._others, *self._retired)

    def _make_worker(self, attempt: int = 0) -> _Worker:
        worker = _Worker(self._options, self._targets, self.sockets, attempt)
        worker.start()
        return worker

    def init_processes(self) -> None:
        """Starts the workers and waits until they serve."""
        self.processes += [self._make_worker() for _ in range(self.processes_num)]
        while not self.should_exit.is_set():
            if any(not worker.process.is_alive() for worker in self.processes):
                self._give_up()
            elif all([worker.is_ready(timeout=0.2) for worker in self.processes]):
                self._announced = True
                self._announce()
                return
            self.should_exit.wait(0.05)
            self.handle_signals()

    def _give_up(self) -> None:
        """One that does not start would not do so again."""
        self._failed = True
        self.should_exit.set()
        self.heed_failures()
        for worker in self.processes:
            if not worker.process.is_alive():
                self._tell_death(worker)

    def keep_subprocess_alive(self) -> None:
        """Puts others in the places of workers that are gone, or do not answer."""
        self._dismiss()
        for index, worker in enumerate(self.processes):
            if self.should_exit.is_set():
                return
            if worker.is_alive(self.config.timeout_worker_healthcheck):
                if worker.attempt and worker.served:
                    worker.attempt = 0
                    say(f"worker {worker.pid} serves")
                continue
            if worker.successor_at is None:
                worker.successor_at = time.monotonic() + self._see_off(worker)
            if time.monotonic() >= worker.successor_at and not self.should_exit.is_set():
                self.processes[index] = self._make_worker(0 if worker.served else worker.attempt + 1)

    def _see_off(self, worker: _Worker) -> int:
        """Tells of the end of one that is gone or does not answer; gives the seconds until the next is to start."""
        how = "did not answer and was killed" if worker.process.is_alive() else ""
        worker.kill()
        worker.join()
        self.heed_failures()
        if worker.served:
            say(f"worker {worker.pid} {how or _how_ended(worker)}; another takes its place", logging.WARNING)
            self._told.clear()  # of that one it is news
            return 0
        self._tell_death(worker)
        if not any(other.served and other.process.is_alive() for other in self.processes):
            self._failed = True
            self.should_exit.set()
            return 0
        pause = min(1 << worker.attempt, _LONGEST_PAUSE_SECONDS)
        say(f"worker {worker.pid} did not start; the others go on, the next attempt is in {pause} s", logging.WARNING)
        return pause

    # -- what workers say ----------------------------------------------------------------------------------------------

    def heed_failures(self) -> None:
        """Tells what workers have told. What has stopped because another failed has nothing to tell."""
        for worker in self._all():
            for failure in worker.failures():
                if not failure.interrupted or self._interrupted:
                    self._tell(failure)

    def _tell_death(self, worker: _Worker) -> None:
        """Tells of one that is gone before it served, and has told nothing itself."""
        if not worker.has_told:
            self._tell(Failure((f"a worker {_how_ended(worker)} before it served",)))

    def _tell(self, failure: Failure) -> None:
        what = failure.source or failure.lines
        if what not in self._told:
            self._told.add(what)
            failure.tell()

    # -- signals -------------------------------------------------------------------------------------------------------

    def handle_int(self) -> None:
        """The first signal begins the shutdown, the second ends the workers."""
        self._heed_signal(signal.SIGINT)

    def handle_term(self) -> None:
        """As SIGINT."""
        self._heed_signal(signal.SIGTERM)

    def _heed_signal(self, number: int) -> None:
        self._impatient = bool(self._signal)
        self._signal = number
        self.should_exit.set()

    def handle_hup(self) -> None:
        """Wants all workers to be replaced, also those that have just been."""
        self._is_restart_wanted = True

    def handle_ttin(self) -> None:
        """One more."""
        if self.should_exit.is_set():
            return
        self.processes_num += 1
        self.processes.append(self._make_worker())

    def handle_ttou(self) -> None:
        """One fewer, which drains while others serve."""
        if self.should_exit.is_set() or self._is_restarting or self.processes_num <= 1:
            return
        self.processes_num -= 1
        worker = self.processes.pop()
        worker.retire()
        self._retired[worker] = time.monotonic() + self._longest_stop_seconds

    def _dismiss(self) -> None:
        """Lets go of retired workers that are gone, or have had their time."""
        for worker, deadline in list(self._retired.items()):
            if time.monotonic() > deadline:
                worker.process.kill()
            if not worker.process.is_alive():
                self.heed_failures()
                del self._retired[worker]

    def handle_signals(self) -> None:
        """Heeds signals, and what workers say. A restart, which looks for further signals, comes after all of them."""
        super().handle_signals()
        self.heed_failures()
        while self._is_restart_wanted and not self._is_restarting and not self.should_exit.is_set():
            self._is_restart_wanted, self._is_restarting = False, True
            self.restart_all()
            self._is_restarting = False

    # -- replacing all -------------------------------------------------------------------------------------------------

    def restart_all(self) -> None:
        """Replaces the workers one by one: each begins to drain when another serves, and is gone before the next."""
        say("Restarting the workers, one by one")
        self._told.clear()
        if all(self._replace(index) for index in range(len(self.processes))):
            say("All workers are new")

    def _replace(self, index: int) -> bool:
        """Whether there is a new worker in the place of an old one, and the old one is gone."""
        new = self._make_worker()
        self._others.append(new)
        if not self._await_ready(new):
            new.kill()
            new.join()
            self.heed_failures()
            self._others.remove(new)
            if not self.should_exit.is_set():
                say("The new worker did not start; the old ones go on", logging.ERROR)
            return False
        self._others.remove(new)
        old, self.processes[index] = self.processes[index], new
        self._others.append(old)
        if old.process.is_alive():
            old.retire()
        deadline = time.monotonic() + self._longest_stop_seconds
        while old.process.is_alive() and not self.should_exit.wait(0.05):
            self.handle_signals()
            self.keep_subprocess_alive()
            if time.monotonic() > deadline:
                old.kill()
        if not self.should_exit.is_set():
            self.heed_failures()
            self._others.remove(old)
        return not self.should_exit.is_set()

    def _await_ready(self, worker: _Worker) -> bool:
        deadline = time.monotonic() + _SECONDS_TO_START
        while worker.process.is_alive() and time.monotonic() < deadline and not self.should_exit.is_set():
            if worker.is_ready(timeout=0.2):
                return True
            self.handle_signals()
            self.keep_subprocess_alive()
        return False

    # -- the end -------------------------------------------------------------------------------------------------------

    def terminate_all(self) -> None:
        """Has all workers drain. Nobody connects any more: the port is open as long as one process holds it."""
        self.close_port()
        for worker in self.processes:
            if not worker.served:  # it may have begun to, since it was last asked
                worker.is_ready(timeout=0.2)
        super().terminate_all()

    def close_port(self) -> None:
        """Lets go of the sockets."""
        for listening in self.sockets:
            listening.close()

    def join_all(self) -> None:
        """Waits for the workers, for no longer than they may drain; another signal ends them at once. One that does not
        serve yet has nothing to drain.
        """
        begun = time.monotonic()
        is_told = not self._announced
        while alive := [worker for worker in self._all() if worker.process.is_alive()]:
            self.handle_signals()
            passed = time.monotonic() - begun
            if not is_told and passed > _QUIET_SECONDS:
                say(STOPPING)
                is_told = True
            for worker in alive:
                longest = self._longest_stop_seconds if worker.served else SECONDS_TO_INTERRUPT
                if self._impatient or passed > longest:
                    worker.process.kill()
            time.sleep(0.02)
        self.heed_failures()
        if self._interrupted and not self._told:
            say(INTERRUPTED.capitalize())


def _how_ended(worker: _Worker) -> str:
    code = worker.exitcode or 0
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"
