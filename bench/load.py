"""The load: finds or builds the load generator, runs it against one server, gives its numbers or says why it has none.

Law: a result with any error in it is not a result. Two clients speak the same options and result keys: `wsload`, in C
and several times faster than any server measured, and `bench.client`, in Python, which is the slower measure.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.process import ROOT, Failed, last_line, spawn, stop

__all__ = ["Client", "find_client"]

Result = dict[str, Any]

NEIGHBOUR = ROOT.parent / "shared" / "tools" / "wsload.c"
TROUBLES = {
    "failed": "handshakes failed",
    "closed_by_server": "connections closed by the server",
    "protocol_errors": "protocol errors",
    "wrong": "wrong replies",
    "extra": "deliveries too many",
    "unanswered": "messages unanswered",
}


@dataclass(frozen=True, slots=True)
class Client:
    """A load generator.

    Args:
        name: what the report calls it.
        command: how it is started, before mode and options.
        core: where it runs; None: anywhere.
        is_python: whether it is the slower measure.
    """

    name: str
    command: tuple[str, ...]
    core: int | None
    is_python: bool

    def run(self, mode: str, options: Sequence[str], *, timeout_seconds: float) -> Result:
        """One whole load.

        Raises:
            Failed: with the first trouble of the run.
        """
        with self._started(mode, options, timeout_seconds) as child:
            output, errors = child.communicate()
        return _result(output, errors, child.returncode)

    def hold(self, options: Sequence[str], *, while_open: Callable[[], None], timeout_seconds: float) -> Result:
        """Open idle connections, call `while_open` when all stand, then let the client prove them alive."""
        with self._started("idle", options, timeout_seconds) as child:
            assert child.stdout is not None
            if child.stdout.readline().startswith(b"READY"):
                while_open()
            output, errors = child.communicate()
        return _result(output, errors, child.returncode)

    @contextmanager
    def _started(self, mode: str, options: Sequence[str], timeout_seconds: float) -> Iterator[subprocess.Popen[bytes]]:
        command = [*self.command, mode, "--json", *options]
        child = spawn(command, self.core, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        alarm = threading.Timer(timeout_seconds, child.kill)  # bounds the whole run, reads included
        alarm.start()
        try:
            yield child
        finally:
            alarm.cancel()
            stop(child)


def find_client(binary: str | None, source: str | None, core: int | None, directory: Path) -> Client:
    """The fastest client there is: the given binary, `$WSLOAD`, one compiled into `directory`, else the Python one.

    Raises:
        Failed: a client that was asked for by name cannot be had.
    """
    if binary := binary or os.environ.get("WSLOAD"):
        if not (path := shutil.which(binary)):
            raise Failed("the wsload named by --wsload or $WSLOAD is not an executable file")
        return Client("wsload", (str(Path(path).resolve()),), core, is_python=False)
    if source or (NEIGHBOUR.exists() and sys.platform == "linux" and shutil.which("gcc")):
        return Client("wsload", (_compile(Path(source) if source else NEIGHBOUR, directory),), core, is_python=False)
    return Client("bench/client.py", (sys.executable, "-m", "bench.client"), core, is_python=True)


def _compile(source: Path, directory: Path) -> str:
    target = str(directory / "wsload")
    try:
        subprocess.run(["gcc", "-O2", "-o", target, str(source)], check=True, capture_output=True)
    except FileNotFoundError:
        raise Failed("gcc is needed to compile wsload.c") from None
    except subprocess.CalledProcessError as error:
        raise Failed(f"wsload.c does not compile: {last_line(error.stderr.decode(errors='replace'))}") from None
    return target


def _result(output: bytes, errors: bytes, code: int) -> Result:
    complaint = _complaint(errors.decode(errors="replace"))
    lines = output.decode(errors="replace").splitlines()
    try:
        result: Result = json.loads(lines[-1])
    except (IndexError, ValueError):
        raise Failed(complaint or f"the load client ended with code {code} and no result") from None
    troubles = [f"{result[key]:,} {words}" for key, words in TROUBLES.items() if result.get(key)]
    if troubles or code or "error" in result:
        said = [complaint] if complaint else []
        raise Failed("; ".join(troubles + said) or str(result.get("error", f"the load client ended with code {code}")))
    return result


def _complaint(errors: str) -> str:
    """What the client said last; the first handshake refused goes before all that follows from it."""
    refusals = [line for line in errors.splitlines() if "handshake refused" in line]
    return last_line(refusals[0] if refusals else errors)
