"""Run: uvicorn on sockets of ours, in this process or in workers, from the first signal to a bounded end.

Law: whatever holds the process, it is gone `longest_stop_seconds` after the first signal, a second or two where it does
not serve yet, and at once after the second.
"""

from __future__ import annotations

import signal
import socket
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from uvicorn.config import STARTUP_FAILURE

from wireloom import App
from wireloom.cli.failure import Failure, describe_failure, describe_interruption
from wireloom.cli.leave import SECONDS_TO_INTERRUPT, SECONDS_TO_LEAVE, STOPPING, leave_within, warn_of_leaving
from wireloom.cli.logs import say
from wireloom.cli.stalls import watch_stalls
from wireloom.cli.workers import run_workers
from wireloom.config import Config
from wireloom.net.server import ForegroundServer, ending_signals, longest_stop_seconds, uvicorn_config

if TYPE_CHECKING:
    from wireloom.cli.reload import Reloader

__all__ = ["run"]


def run(
    app: App,
    config: Config,
    targets: tuple[str, ...],
    sockets: list[socket.socket],
    announce: Callable[[], None],
    reloader: Reloader | None = None,
) -> int:
    """Serves until a signal comes.

    Args:
        app: loaded and configured.
        targets: where workers load it from again.
        sockets: to listen on.
        announce: called when connections are answered.
        reloader: works while one process serves.

    Returns:
        The exit code: 0 after SIGINT or SIGTERM, 128 and the signal's number where it came before anything was served,
        1 when the application did not start or did not end as it should.
    """
    if config.workers > 1:
        return run_workers(config, targets, sockets, announce)
    server = _Server(app, config, announce, reloader)
    try:
        server.run(sockets)
    except SystemExit as error:
        if error.code != STARTUP_FAILURE:
            raise
    return server.exit_code


class _Server(ForegroundServer):
    """Announces itself, leaves signals handled to the end of the process, and lets nothing hold it for long."""

    def __init__(self, app: App, config: Config, announce: Callable[[], None], reloader: Reloader | None) -> None:
        super().__init__(uvicorn_config(app, config), self._announce)
        self._options = config
        self._reloader = reloader
        self._say_ready = announce
        self._stalls = watch_stalls(config)
        self._signal = 0

    @property
    def exit_code(self) -> int:
        """What `run` says of it."""
        return 128 + self._signal if self.interrupted else int(self.failed)

    async def _announce(self) -> None:
        if self._stalls is not None:
            self._stalls.start()
        if self._reloader is not None:
            await self._reloader.start()
        self._say_ready()

    def tell(self, text: str, error: BaseException | None) -> None:
        """Tells people what came of the application's start or end."""
        dev, interrupted = self._options.dev, self.interrupted
        describe_failure(text, error, dev=dev, interrupted=interrupted, served=self.started).tell()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal begins the shutdown, which is bounded also where the event loop is held up."""
        super().handle_exit(sig, frame)
        self._signal = sig
        if self.started:
            leave_within(longest_stop_seconds(self._options), self._leave_busy)
        else:
            held = describe_interruption(traceback.extract_stack(frame))
            leave_within(SECONDS_TO_INTERRUPT, lambda: self._leave_starting(held))

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts the application; when it does not start, nothing may hold the process for long."""
        try:
            await super().startup(sockets)
        except SystemExit:
            leave_within(SECONDS_TO_LEAVE, self._leave_busy)
            raise

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drains; afterwards nothing may hold the process for long."""
        if self._stalls is not None:
            self._stalls.stop()
        if self._reloader is not None:
            await self._reloader.stop()
        if self.server_state.connections:
            say(STOPPING)
        await super().shutdown(sockets)
        leave_within(SECONDS_TO_LEAVE, self._leave_busy)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are ours to the end of the process."""
        for number in ending_signals():
            signal.signal(number, self.handle_exit)
        yield

    def _leave_busy(self) -> int:
        warn_of_leaving()
        return int(self.failed)

    def _leave_starting(self, held: Failure) -> int | None:
        if self.started:  # at that very moment
            leave_within(longest_stop_seconds(self._options), self._leave_busy)
            return None
        if not self.interrupted:  # else it is told already
            held.tell()
        return 128 + self._signal
