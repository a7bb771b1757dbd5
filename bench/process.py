"""Child processes on their own cores: start, wait until they accept, read their memory, stop.

Law: every process started here is stopped here, by its pid, whatever happens in between.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

__all__ = [
    "ROOT",
    "Failed",
    "Running",
    "accepts",
    "cores",
    "cpu_seconds_of_others",
    "free_port",
    "last_line",
    "resident_bytes",
    "serve",
    "spawn",
    "stop",
]

ROOT = Path(__file__).resolve().parent.parent
START_TIMEOUT_SECONDS = 20.0
STOP_TIMEOUT_SECONDS = 5.0


class Failed(Exception):
    """A server or a load did not do its work; the text is what the report says instead of a number."""


@dataclass(frozen=True, slots=True)
class Running:
    """A server that accepts connections."""

    pid: int
    port: int


def cores() -> tuple[int | None, int | None]:
    """The core of the server and the core of the load; no pinning where there is but one, or no way to pin."""
    if not hasattr(os, "sched_getaffinity"):
        return None, None
    available = sorted(os.sched_getaffinity(0))
    return (available[0], available[1]) if len(available) > 1 else (None, None)


def spawn(
    arguments: Sequence[str], core: int | None, *, stdout: int | IO[bytes], stderr: int | IO[bytes]
) -> subprocess.Popen[bytes]:
    """Start `arguments` at the repository's root, pinned to `core`."""
    inherited = os.environ.get("PYTHONPATH", "")
    path = os.pathsep.join(filter(None, (str(ROOT / "src"), str(ROOT), inherited)))
    child = subprocess.Popen(
        arguments,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
    )
    if core is not None:
        with suppress(ProcessLookupError):
            os.sched_setaffinity(child.pid, {core})
    return child


@contextmanager
def serve(arguments: Sequence[str], core: int | None) -> Iterator[Running]:
    """Run a Python server (`{port}` in its arguments is filled in) for the length of a `with` block.

    Raises:
        Failed: it ended, or accepted nothing in 20 s.
    """
    port = free_port()
    command = [sys.executable, *(argument.replace("{port}", str(port)) for argument in arguments)]
    with tempfile.TemporaryFile() as log:
        child = spawn(command, core, stdout=log, stderr=log)
        try:
            _wait_until_it_accepts(child, port, log)
            yield Running(child.pid, port)
        finally:
            stop(child)


def stop(child: subprocess.Popen[bytes]) -> None:
    """End a child, politely first, and whatever processes it started."""
    descendants = _descendants(child.pid) if child.poll() is None else []
    child.terminate()
    try:
        child.wait(STOP_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    for pid in descendants:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def resident_bytes(pid: int) -> int:
    """Resident memory of a process and its descendants.

    Raises:
        Failed: this system has no `/proc`.
    """
    total = 0
    for member in (pid, *_descendants(pid)):
        try:
            pages = int(Path(f"/proc/{member}/statm").read_text().split()[1])
        except OSError:
            raise Failed("resident memory is only readable where /proc is") from None
        total += pages * os.sysconf("SC_PAGE_SIZE")
    return total


def cpu_seconds_of_others() -> float | None:
    """CPU time since boot that neither this process nor its ended children used; None where there is no `/proc`."""
    try:
        total = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    except OSError:
        return None
    user, nice, system, _idle, _iowait, irq, softirq, steal = (int(ticks) for ticks in total)
    busy = (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
    return busy - sum(os.times()[:4])


def last_line(text: str) -> str:
    """The last line that says something, without this machine's paths, short enough for a table."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return ""
    without_paths = re.sub(r"(?<![\w.])/[\w.@-]+/[\w./@-]*", "…", lines[-1])
    return without_paths.removeprefix("…: ").replace("|", "¦")[:160]


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_it_accepts(child: subprocess.Popen[bytes], port: int, log: IO[bytes]) -> None:
    end = time.monotonic() + START_TIMEOUT_SECONDS
    while time.monotonic() < end:
        if child.poll() is not None:
            log.seek(0)
            reason = last_line(log.read().decode(errors="replace"))
            raise Failed(f"did not start: {reason or f'exit code {child.returncode}'}")
        if accepts(port):
            return
        time.sleep(0.05)
    raise Failed(f"did not start: accepted nothing in {START_TIMEOUT_SECONDS:.0f} s")


def accepts(port: int) -> bool:
    """Whether someone accepts connections on a port of the loopback."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in map(int, children.read_text().split()):
                found += [child, *_descendants(child)]
    return found
