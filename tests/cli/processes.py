"""Processes of the command line: started, watched with time-outs, and ended whatever happens."""

from __future__ import annotations

import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import wireloom

TIMEOUT_SECONDS = 30.0

# -P: as for an installed command, the current directory is not on the path
COMMAND = (sys.executable, "-P", "-m", "wireloom")

CHAT = """\
from typing import TypedDict

from wireloom import Connection, Disconnect, websocket


class ChatMessage(TypedDict):
    text: str


@websocket("/chat/{room}")
async def chat(message: ChatMessage, room: str) -> dict:
    return {"echo": message["text"], "room": room}


@websocket("/raw", subprotocols=["loud"])
async def raw(message: str | bytes, connection: Connection):
    if message == "go":
        raise Disconnect(1008, "go yourself")
    if message == "header":
        return connection.headers.get("x-who", "nobody")
    if message != "silence":
        return message


@websocket("/any")
async def anything(message) -> dict:
    raise ValueError("a bug")
"""


def environment(**variables: str) -> dict[str, str]:
    """An environment in which this very package is run and nothing configures it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WIRELOOM_")}
    return {**kept, "PYTHONPATH": str(Path(wireloom.__file__).parents[1]), "PYTHONIOENCODING": "utf-8", **variables}


class Running:
    """A command that runs; its output is read as it comes."""

    def __init__(
        self,
        arguments: tuple[str, ...],
        directory: Path,
        variables: dict[str, str],
        command: Sequence[str] = COMMAND,
    ) -> None:
        self.process = subprocess.Popen(
            [*command, *arguments],
            cwd=directory,
            env=environment(**variables),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            start_new_session=True,
        )
        self.stdout, self.stderr = "", ""
        self._lines: queue.Queue[tuple[str, str]] = queue.Queue()
        self._readers = [
            threading.Thread(target=self._read, args=(name,), daemon=True) for name in ("stdout", "stderr")
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, name: str) -> None:
        for line in getattr(self.process, name):
            self._lines.put((name, line))

    def _take(self, name: str, line: str) -> None:
        setattr(self, name, getattr(self, name) + line)

    def until(self, pattern: str, seconds: float = TIMEOUT_SECONDS) -> re.Match[str]:
        """Waits until what was printed matches."""
        end = time.monotonic() + seconds
        while not (found := re.search(pattern, self.stdout + self.stderr)):
            try:
                self._take(*self._lines.get(timeout=0.05))
            except queue.Empty:
                gone = self.process.poll() is not None and not any(reader.is_alive() for reader in self._readers)
                if (gone and self._lines.empty()) or time.monotonic() > end:
                    raise AssertionError(f"no {pattern!r} in\n{self.stdout}{self.stderr}") from None
        return found

    def started(self) -> str:
        """Waits for the start line; gives the WebSocket URL."""
        return self.until(r"(wss?://[^\s\"]+) .* Ctrl-C stops")[1]

    def type(self, text: str) -> None:
        """Writes to its stdin."""
        assert self.process.stdin is not None
        self.process.stdin.write(text)
        self.process.stdin.flush()

    def signal(self, number: int) -> None:
        """Sends a signal to the process, to no other of its group."""
        self.process.send_signal(number)

    def signal_group(self, number: int) -> None:
        """Sends a signal to the process and all its workers, as a terminal does."""
        os.killpg(self.process.pid, number)

    def end(self) -> int:
        """Waits for the end; gives the exit code."""
        code = self.process.wait(TIMEOUT_SECONDS)
        for reader in self._readers:
            reader.join(TIMEOUT_SECONDS)
        while not self._lines.empty():
            self._take(*self._lines.get())
        return code

    def kill(self) -> None:
        """Leaves nothing behind, workers included."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        for reader in self._readers:
            reader.join()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert stream is not None
            try:
                stream.close()
            except BrokenPipeError:
                pass


Start = Callable[..., Running]
Run = Callable[..., subprocess.CompletedProcess[str]]
