"""Real servers for tests: Redis and NATS processes on free ports, without persistence.

Law: only processes that were started here are ended here.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

__all__ = ["Service", "free_port", "nats_service", "redis_service"]

READY_SECONDS = 30.0


def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class Service:
    """One server process, which can be killed and started again on its port.

    Args:
        command: the program and its arguments; ``{port}`` and ``{directory}`` are filled in.
        scheme: of its URL.
        hello: what is sent to learn whether it is ready; empty: it speaks first.
    """

    def __init__(self, command: list[str], scheme: str, hello: bytes) -> None:
        self.port = free_port()
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        self.directory = tempfile.mkdtemp(prefix="wireloom-service-")
        self._command = [part.format(port=self.port, directory=self.directory) for part in command]
        self._hello = hello
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """What the process has written."""
        path = Path(self.directory, "log")
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self) -> None:
        """Starts the process and waits until it answers."""
        with open(Path(self.directory, "log"), "ab") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.directory
            )
        deadline = time.monotonic() + READY_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"{self._command[0]} did not start:\n{self.log}")

    def _answers(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
            connection.sendall(self._hello)
            return connection.recv(1) in (b"+", b"-", b"I")
        time.sleep(0.005)  # the kernel refuses at once: do not ask it all the time
        return False

    def kill(self) -> None:
        """Ends the process as a crash would."""
        if self._process is not None:
            self.go_on()
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def stop_answering(self) -> None:
        """Halts the process: its port stays open, nothing is read (SIGSTOP)."""
        self._signal(signal.SIGSTOP)
        if self._process is not None and self._process.poll() is None:
            os.waitpid(self._process.pid, os.WUNTRACED)  # its last thread has halted

    def go_on(self) -> None:
        """Lets a halted process run again (SIGCONT)."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(number)

    def end(self) -> None:
        """Ends the process and removes what it has left."""
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)


def _require(program: str) -> str:
    """The path of a program. Where there is none, the test is skipped; in CI it fails."""
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin:/usr/local/bin")
    if path is None:
        message = f"{program} is not installed"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return path


@contextmanager
def redis_service(*arguments: str) -> Iterator[Service]:
    """A running Redis server.

    Args:
        arguments: further ones for redis-server, such as ``"--requirepass", "secret"``.
    """
    command = [_require("redis-server"), "--port", "{port}", "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with _running(Service([*command, "--dir", "{directory}", *arguments], "redis", b"PING\r\n")) as service:
        yield service


@contextmanager
def nats_service(*arguments: str) -> Iterator[Service]:
    """A running NATS server.

    Args:
        arguments: further ones for nats-server, such as ``"--user", "u", "--pass", "p"``.
    """
    command = [_require("nats-server"), "--addr", "127.0.0.1", "--port", "{port}"]
    with _running(Service([*command, *arguments], "nats", b"")) as service:
        yield service


@contextmanager
def _running(service: Service) -> Iterator[Service]:
    try:
        service.start()
        yield service
    finally:
        service.end()
