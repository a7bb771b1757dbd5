"""A stranger who follows README.md and the tutorial to the letter: files are saved, commands typed, outputs compared.

    python tests/e2e/stranger.py [--keep] [--skip-demo]

Blocks with a title that names a file are that file. ``console`` blocks are typed into the terminal of their title:
``$ `` a command, ``> `` a line for the program that runs, ``^C`` Ctrl-C, all else what is shown; ``…`` is anything,
and alone any number of lines. A command that serves stays until ``^C``, or the end of a section of README.md.
Needs redis-server.

Three things are not to the letter: ports are free ones, ``pip install wireloom`` takes a wheel that is built from this
repository, and ``python3 dev.py`` runs in a copy of it.

Law: ends with 1 where anything differs, and ends only processes that it has started.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TUTORIAL = ("chat.md", "page.md", "test.md", "processes.md")
BLOCK = re.compile(r'^```(?P<language>\w+)(?: title="(?P<title>[^"]+)")?\n(?P<text>.*?)^```', re.MULTILINE | re.DOTALL)
STEP = re.compile(rf"{BLOCK.pattern}|^(?P<section>## [^\n]*)$|Open <(?P<url>http://[^>]+)>", re.MULTILINE | re.DOTALL)
STAYS = re.compile(
    r"wireloom (serve|demo)|python echo\.py|redis-server|python3 dev\.py demo|wireloom connect(?!.*--once)"
)
COMMAND_SECONDS, SHOWN_SECONDS, DEMO_SECONDS = 300.0, 20.0, 600.0
KEPT = (  # of the environment: where pip finds packages, and little else
    *("HOME", "LANG", "TMPDIR", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE"),
    *("PIP_CACHE_DIR", "PIP_CERT", "PIP_CONFIG_FILE", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_INDEX_URL"),
)
PIP_SAYS = re.compile(r"WARNING: |\[notice\]|$")  # of the machine's own pip; and empty lines
PORTS = ("8000", "8001", "3000", "6379")


class Mismatch(Exception):
    """The documentation says something else than what happens."""


@dataclass(frozen=True)
class Machine:
    """What is mapped: ports, the package, and where the repository's copy is."""

    wheel: Path
    clone: Path
    ports: dict[str, str]

    def mapped(self, text: str) -> str:
        """A text with the ports of this run."""
        return re.sub(r"\b(" + "|".join(PORTS) + r")\b", lambda port: self.ports[port[0]], text)

    def command(self, text: str) -> str:
        """A command with the ports, the wheel and the Python of this run."""
        text = re.sub(r"^python3 ", f"{shlex.quote(base_python())} ", self.mapped(text))
        return re.sub(
            r"^(pip install) '?wireloom(\[[a-z,]+\])?'?$",
            lambda found: f"{found[1]} '{self.wheel}{found[2] or ''}'",
            text,
        )


def base_python() -> str:
    """The Python below the virtual environment that may run this."""
    return getattr(sys, "_base_executable", None) or sys.executable


def path_of_a_stranger() -> str:
    """PATH without the environment that runs this: nobody has wireloom before it is installed."""
    own = str(Path(sys.executable).parent)
    return os.pathsep.join(each for each in os.environ["PATH"].split(os.pathsep) if each != own)


class Terminal:
    """A terminal: a folder, an environment, and at most one program that runs."""

    def __init__(self, name: str, folder: Path, machine: Machine) -> None:
        self.name, self.folder, self.machine = name, folder, machine
        self.environment = {name: os.environ[name] for name in KEPT if name in os.environ} | {
            "PATH": path_of_a_stranger(),
            "PIP_REQUIRE_VIRTUALENV": "1",  # a page that forgets to activate changes nothing on the machine
            "PYTHONIOENCODING": "utf-8",
            "PYTHONUNBUFFERED": "1",  # as in a terminal
            "WIRELOOM_PORT": machine.ports["8000"],
        }
        self.process: subprocess.Popen[str] | None = None
        self.unread = ""
        self._lock = threading.Lock()  # between what is read and what is compared
        self._reader: threading.Thread | None = None
        self._command = ""

    def type_block(self, text: str) -> int:
        """Types a block and compares what is shown; gives the number of commands."""
        commands = 0
        for typed, shown in _parts(text):
            if typed.startswith("$ "):
                commands += 1
                self._run(typed[2:], shown)
            elif typed.startswith("> "):
                self._say(typed[2:])
                self._expect(shown)
            elif typed == "^C":
                self.stop()
                if "connect" in self._command and self.unread.strip():
                    raise Mismatch(f"{self.name}: `{self._command}` also showed\n{self.unread}")
            else:
                self._expect(shown)
        return commands

    def _run(self, typed: str, shown: str) -> None:
        if self.process is not None:
            raise Mismatch(f"{self.name}: `{typed}` cannot be typed, `{self._command}` is running")
        print(f"  {self.name}$ {typed}")
        if typed == ". .venv/bin/activate":
            binaries = self.folder / ".venv" / "bin"
            if not (binaries / "activate").is_file():
                raise Mismatch(f"{self.name}: there is no {binaries / 'activate'}")
            self.environment["PATH"] = f"{binaries}{os.pathsep}{self.environment['PATH']}"
        elif typed.startswith("export "):
            words = shlex.split(self.machine.mapped(typed))[1:]
            self.environment.update(word.split("=", 1) for word in words)
        else:
            self._start(typed)
            if STAYS.search(typed):
                self._expect(shown, DEMO_SECONDS if "dev.py" in typed else SHOWN_SECONDS)
            else:
                self._finish(shown)

    def _start(self, typed: str) -> None:
        folder = self.machine.clone if "dev.py" in typed else self.folder
        self._command, self.unread = typed, ""
        self.process = subprocess.Popen(
            ["bash", "-c", self.machine.command(typed)],
            cwd=folder,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, args=(self.process,), daemon=True)
        self._reader.start()

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            if not PIP_SAYS.match(line):
                with self._lock:
                    self.unread += line

    def _say(self, text: str) -> None:
        if self.process is None or self.process.stdin is None:
            raise Mismatch(f"{self.name}: nothing runs that could be told {text!r}")
        print(f"  {self.name}> {text}")
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def _expect(self, shown: str, seconds: float = SHOWN_SECONDS) -> None:
        """Waits until exactly these lines are shown next."""
        if not shown:
            return
        pattern, end = _pattern(self.machine.mapped(shown)), time.monotonic() + seconds
        while not (found := pattern.match(self.unread)):
            if time.monotonic() > end or self._gone or _contradicts(self.machine.mapped(shown), self.unread):
                raise Mismatch(_difference(self.name, self._command, self.machine.mapped(shown), self.unread))
            if self._reader is not None:
                self._reader.join(0.02)
        with self._lock:
            self.unread = self.unread[found.end() :]
        _print(shown)

    @property
    def _gone(self) -> bool:
        """Whether nothing more can come."""
        ended = self.process is None or self.process.poll() is not None
        return ended and not (self._reader is not None and self._reader.is_alive())

    def _finish(self, shown: str) -> None:
        """Waits for the end of a command, which shows exactly these lines, or whatever it likes where none are told."""
        assert self.process is not None and self._reader is not None and self.process.stdin is not None
        self.process.stdin.close()
        try:
            code = self.process.wait(COMMAND_SECONDS)
        except subprocess.TimeoutExpired:
            raise Mismatch(f"{self.name}: `{self._command}` did not end; it showed\n{self.unread}") from None
        self._reader.join(SHOWN_SECONDS)
        self.process = None
        told = self.unread
        if code != 0:
            raise Mismatch(f"{self.name}: `{self._command}` ended with {code}; it showed\n{told}")
        if shown and not _pattern(self.machine.mapped(shown)).fullmatch(told):
            raise Mismatch(_difference(self.name, self._command, self.machine.mapped(shown), told))
        self.unread = ""
        _print(shown)

    def stop(self) -> None:
        """Ctrl-C, if anything runs."""
        if self.process is None:
            return
        if self.process.poll() is None:
            print(f"  {self.name} ^C")
            os.killpg(self.process.pid, signal.SIGINT)
        try:
            self.process.wait(SHOWN_SECONDS)
        except subprocess.TimeoutExpired:
            raise Mismatch(f"{self.name}: `{self._command}` goes on after Ctrl-C; it showed\n{self.unread}") from None
        finally:
            self.kill()

    def kill(self) -> None:
        """Leaves nothing behind."""
        if self.process is not None:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self.process.wait()
            self.process = None


def _parts(text: str) -> Iterator[tuple[str, str]]:
    """What is typed, each with what is shown after it."""
    typed, shown = "", ""
    for line in text.splitlines(keepends=True):
        if line.startswith(("$ ", "> ", "^C")):
            if typed or shown:
                yield typed, shown
            typed, shown = line.rstrip("\n"), ""
        else:
            shown += line
    yield typed, shown


def _pattern(shown: str) -> re.Pattern[str]:
    lines = []
    for line in shown.splitlines():
        if line == "…":
            lines.append(r"(?:.*\n)*?")
        else:
            lines.append(".*".join(map(re.escape, line.split("…"))) + r"[ \t]*\n")
    return re.compile("".join(lines))


def _contradicts(shown: str, told: str) -> bool:
    """Whether a whole line is another one already, so that waiting is of no use."""
    lines = shown.splitlines(keepends=True)
    if "…\n" in lines:
        return False
    pairs = zip(lines, told.splitlines(keepends=True), strict=False)
    return any(line.endswith("\n") and not _pattern(wanted).fullmatch(line) for wanted, line in pairs)


def _difference(name: str, command: str, wanted: str, told: str) -> str:
    return f"{name}: `{command}`\n--- the documentation shows\n{wanted}--- it showed\n{told}---"


def _print(shown: str) -> None:
    for line in shown.splitlines():
        print(f"    {line}")


class Stranger:
    """Follows pages in one folder."""

    def __init__(self, folder: Path, machine: Machine, skip_demo: bool) -> None:
        self.folder, self.machine, self.skip_demo = folder, machine, skip_demo
        self.terminals: dict[str, Terminal] = {}
        self.files = self.commands = 0

    def follow(self, page: Path, sections_stand_alone: bool = False) -> None:
        """Does what a page says, from top to bottom."""
        print(f"== {page.relative_to(ROOT)}")
        for step in STEP.finditer(page.read_text(encoding="utf-8")):
            if step["section"] and sections_stand_alone:
                self.stop()
            elif step["url"]:
                self._open(step["url"])
            elif step["language"] == "console":
                self._type(step["title"] or "Terminal 1", step["text"])
            elif step["title"]:
                self._save(step["title"], step["text"])

    def _type(self, name: str, text: str) -> None:
        if self.skip_demo and "dev.py demo" in text:
            print("  (left out: the demo in the clone)")
            return
        if name not in self.terminals:
            self.terminals[name] = Terminal(name, self.folder, self.machine)
        self.commands += self.terminals[name].type_block(text)

    def _save(self, name: str, text: str) -> None:
        print(f"  saved {name}, {text.count(chr(10))} lines")
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.machine.mapped(text), encoding="utf-8")
        self.files += 1

    def _open(self, url: str) -> None:
        with urllib.request.urlopen(self.machine.mapped(url), timeout=SHOWN_SECONDS) as answer:
            text = answer.read().decode()
        print(f"  opened {url}: {answer.status}")
        if "<title>" not in text:
            raise Mismatch(f"{url} is no page: {text[:200]}")

    def stop(self) -> None:
        """Ctrl-C in every terminal: the last that was opened first."""
        for terminal in reversed(self.terminals.values()):
            terminal.stop()

    def kill(self) -> None:
        """Whatever happened, nothing is left."""
        for terminal in self.terminals.values():
            terminal.kill()


def free_ports() -> dict[str, str]:
    """A free port for each one that the documentation names."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in PORTS]
    found = {name: str(each.getsockname()[1]) for name, each in zip(PORTS, sockets, strict=True)}
    for each in sockets:
        each.close()
    return found


def prepare(folder: Path) -> Machine:
    """Copies what git knows of the repository, and builds the wheel from that."""
    clone, wheels = folder / "clone", folder / "wheels"
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        check=True,
        capture_output=True,
        text=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, clone / name)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(wheels), str(clone)]
    subprocess.run(command, check=True)
    (wheel,) = wheels.glob("wireloom-*.whl")
    print(f"built {wheel.name}")
    return Machine(wheel, clone, free_ports())


def main() -> int:
    """Follows README.md, then the tutorial; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--keep", action="store_true", help="keep the folder")
    parser.add_argument("--skip-demo", action="store_true", help="leave out `python3 dev.py demo`, which installs much")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="wireloom-stranger-"))
    strangers: list[Stranger] = []
    try:
        machine = prepare(folder)
        for name, pages in (("readme", ("README.md",)), ("tutorial", tuple(f"docs/tutorial/{x}" for x in TUTORIAL))):
            (folder / name).mkdir()
            strangers.append(Stranger(folder / name, machine, options.skip_demo))
            for page in pages:
                strangers[-1].follow(ROOT / page, sections_stand_alone=name == "readme")
            strangers[-1].stop()
    except Mismatch as difference:
        print(f"MISMATCH\n{difference}", file=sys.stderr)
        return 1
    finally:
        for stranger in strangers:
            stranger.kill()
        if options.keep:
            print(f"kept {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    files, commands = (sum(getattr(each, what) for each in strangers) for what in ("files", "commands"))
    print(f"ok: {files} files, {commands} commands, and every output as it is shown")
    return 0


if __name__ == "__main__":
    sys.exit(main())
