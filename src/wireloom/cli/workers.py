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
import time
from collections.abc import Callable

from uvicorn.supervisors import multiprocess

from wireloom.cli.failure import Failure
from wireloom.cli.leave import SECONDS_TO_INTERRUPT, STOPPING
from wireloom.cli.logs import say
from wireloom.cli.worker import Worker
from wireloom.config import Config
from wireloom.net.server import INTERRUPTED, longest_stop_seconds, uvicorn_config

__all__ = ["run_workers"]

_QUIET_SECONDS = 0.5  # an end that is quicker needs no word
_LEAST_SECONDS_TO_START = 60.0  # for a worker that is to replace another
_LOOK_SECONDS = 0.1  # after which signals are looked for
_LONGEST_PAUSE_SECONDS = 30  # before the next attempt to fill a place


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


class _Workers(multiprocess.Multiprocess):
    """uvicorn's supervisor, which says when all workers are ready, replaces them one by one and has a bounded end."""

    processes: list[Worker]  # type: ignore[assignment]

    def __init__(
        self, options: Config, targets: tuple[str, ...], sockets: list[socket.socket], announce: Callable[[], None]
    ) -> None:
        super().__init__(uvicorn_config(None, options, factory=True), sockets)
        self._options = options
        self._targets = targets
        self._announce = announce
        self._longest_stop_seconds = longest_stop_seconds(options)
        self._others: list[Worker] = []  # those that are to replace one, and those that drain while others serve
        self._retired: dict[Worker, float] = {}  # that nobody replaces, and when they are to be gone
        self._is_restart_wanted = self._is_restarting = False
        self._told: set[str | tuple[str, ...]] = set()
        self._seconds_to_start = _LEAST_SECONDS_TO_START
        self._announced = self._impatient = self._failed = False
        self._signal = 0

    @property
    def exit_code(self) -> int:
        """What `run_workers` says of it."""
        if self._impatient or (self._interrupted and not self._failed):
            return 128 + self._signal
        return int(self._failed or any(worker.failed for worker in self.processes))

    @property
    def _interrupted(self) -> bool:
        return bool(self._signal) and not self._announced

    def _all(self) -> tuple[Worker, ...]:
        return (*self.processes, *self._others, *self._retired)

    def _make_worker(self, attempt: int = 0) -> Worker:
        worker = Worker(self._options, self._targets, self.sockets, attempt)
        worker.start()
        return worker

    def init_processes(self) -> None:
        """Starts the workers and waits until they serve."""
        begun = time.monotonic()
        self.processes += [self._make_worker() for _ in range(self.processes_num)]
        while not self.should_exit.is_set():
            self.heed_failures()
            if any(not worker.process.is_alive() for worker in self.processes):
                self._give_up()
            elif all(worker.served for worker in self.processes):
                self._announced = True
                self._seconds_to_start = max(_LEAST_SECONDS_TO_START, 2 * (time.monotonic() - begun))
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

    # -- places --------------------------------------------------------------------------------------------------------

    def keep_subprocess_alive(self) -> None:
        """Puts others in the places of workers that are gone, or of no use."""
        self._dismiss()
        for index, worker in enumerate(self.processes):
            if self.should_exit.is_set():
                return
            if worker.successor_at is None:
                fault = self._find_fault(worker)
                if not fault:
                    self._tell_recovery(worker)
                    continue
                worker.successor_at = time.monotonic() + self._see_off(worker, fault)
            if time.monotonic() >= worker.successor_at and not self.should_exit.is_set():
                self.processes[index] = self._make_worker(0 if worker.served else worker.attempt + 1)

    def _find_fault(self, worker: Worker) -> str:
        """What a worker is to be killed for, if it is not gone; empty: nothing."""
        if not self._answers(worker):
            return "did not answer"
        if not worker.served and time.monotonic() - worker.started_at > self._seconds_to_start:
            return f"did not serve within {self._seconds_to_start:.0f} s"
        return ""

    def _answers(self, worker: Worker) -> bool:
        """Whether it does, in time. A signal does not wait for that."""
        deadline = time.monotonic() + self.config.timeout_worker_healthcheck
        worker.ask()
        while worker.process.is_alive():
            if worker.has_answered(_LOOK_SECONDS) or self.signal_queue:
                return True
            if time.monotonic() > deadline:
                return False
        return False

    def _see_off(self, worker: Worker, fault: str) -> int:
        """Ends one that is not gone, and tells of it; gives the seconds until the next is to start."""
        how = f"{fault} and was killed" if worker.process.is_alive() else ""
        worker.kill()
        worker.join()
        self.heed_failures()
        if worker.served:
            say(f"worker {worker.pid} {how or worker.how_it_ended()}; another takes its place", logging.WARNING)
            self._told.clear()  # of that one it is news
            return 0
        self._tell_death(worker, how)
        if not any(map(_serves, self.processes)):
            self._failed = True
            self.should_exit.set()
            return 0
        pause = min(1 << worker.attempt, _LONGEST_PAUSE_SECONDS)
        say(f"worker {worker.pid} did not start; the others go on, the next attempt is in {pause} s", logging.WARNING)
        return pause

    def _tell_recovery(self, worker: Worker) -> None:
        if worker.attempt and worker.served:
            worker.attempt = 0
            say(f"worker {worker.pid} serves")

    # -- what workers say ----------------------------------------------------------------------------------------------

    def heed_failures(self) -> None:
        """Tells what workers have told. What has stopped because another failed has nothing to tell."""
        for worker in self._all():
            for failure in worker.failures():
                if not failure.interrupted or self._interrupted:
                    self._tell(failure)

    def _tell_death(self, worker: Worker, how: str = "") -> None:
        """Tells of one that is gone before it served, and has told nothing itself."""
        if not worker.has_told:
            self._tell(Failure((f"a worker {how or worker.how_it_ended() + ' before it served'}",)))

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
        idle = [worker for worker in self.processes if not _serves(worker)]
        worker = (idle or self.processes)[-1]  # one that serves goes only where all serve
        self.processes.remove(worker)
        worker.retire()
        self._retired[worker] = time.monotonic() + self._longest_stop_seconds

    def _dismiss(self) -> None:
        """Lets go of retired workers that are gone, or have had their time."""
        for worker, deadline in list(self._retired.items()):
            if time.monotonic() > deadline:
                self._kill(worker)
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
            if self.should_exit.is_set():
                new.retire()
                return False
            is_gone = not new.process.is_alive()
            new.kill()
            new.join()
            self.heed_failures()
            self._others.remove(new)
            if is_gone:
                self._tell_death(new)
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
                self._kill(old)
        if not self.should_exit.is_set():
            self.heed_failures()
            self._others.remove(old)
        return not self.should_exit.is_set()

    def _await_ready(self, worker: Worker) -> bool:
        deadline = time.monotonic() + self._seconds_to_start
        while worker.process.is_alive() and time.monotonic() < deadline and not self.should_exit.wait(_LOOK_SECONDS):
            self.handle_signals()
            self.keep_subprocess_alive()
            if worker.served:
                return True
        return False

    # -- the end -------------------------------------------------------------------------------------------------------

    def terminate_all(self) -> None:
        """Has all workers drain. Nobody connects any more: the port is open as long as one process holds it."""
        self.close_port()
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
            self.heed_failures()  # it may have begun to serve
            if self._signal and not is_told and passed > _QUIET_SECONDS:
                say(STOPPING)
                is_told = True
            for worker in alive:
                longest = self._longest_stop_seconds if worker.served else SECONDS_TO_INTERRUPT
                if self._impatient or passed > longest:
                    self._kill(worker)
            time.sleep(0.02)
        self.heed_failures()
        for worker in self.processes:
            if worker.failed and not (worker.has_told or worker.was_killed):
                say(f"worker {worker.pid} {worker.how_it_ended()} while the server stopped", logging.ERROR)
        if self._interrupted and not self._told:
            say(INTERRUPTED.capitalize())

    def _kill(self, worker: Worker) -> None:
        """Ends one whose time is over."""
        if worker.was_killed:
            return
        worker.was_killed = True
        worker.process.kill()
        if worker.served and not self._impatient:
            say(f"worker {worker.pid} did not end in time and was killed", logging.WARNING)


def _serves(worker: Worker) -> bool:
    return worker.served and worker.process.is_alive()
