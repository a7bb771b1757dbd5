"""``wireloom connect`` in a terminal: prompt, colours, history, and the keys that end it."""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from wireloom.cli import prompt

from .processes import COMMAND, TIMEOUT_SECONDS, environment

if sys.platform == "win32":
    pytest.skip("no pseudo-terminals", allow_module_level=True)

CTRL_C, CTRL_D = "\x03", "\x04"


class Terminal:
    """A command with a pseudo-terminal."""

    def __init__(self, arguments: tuple[str, ...], variables: dict[str, str]) -> None:
        self._controller, terminal = os.openpty()
        self.seen = b""
        # Opened by the first process of a session, it is the terminal whose Ctrl-C is a signal to that process: while
        # the prompt gives way to output, no key is read.
        take_terminal = 'exec "$@" <"$0" >"$0" 2>&1'
        self.process = subprocess.Popen(
            ["sh", "-c", take_terminal, os.ttyname(terminal), *COMMAND, *arguments],
            env=environment(TERM="xterm", PROMPT_TOOLKIT_NO_CPR="1", **variables),
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
        )
        os.close(terminal)

    def type(self, keys: str) -> None:
        """Presses keys."""
        os.write(self._controller, keys.encode())

    def until(self, *expected: bytes) -> bytes:
        """Reads what the terminal shows until all of it was there; gives and forgets what was read."""
        while not all(part in self.seen for part in expected):
            data = self._read()
            assert data, f"no {expected!r} in {self.seen!r}"
            self.seen += data
        seen, self.seen = self.seen, b""
        return seen

    def rest(self) -> bytes:
        """All that is shown until the command has ended."""
        while data := self._read():
            self.seen += data
        return self.seen

    def _read(self) -> bytes:
        """What comes next; nothing when the command has ended."""
        readable, _, _ = select.select([self._controller], [], [], TIMEOUT_SECONDS)
        assert readable, f"nothing came after {self.seen!r}"
        try:
            return os.read(self._controller, 4096)
        except OSError:  # Linux: nobody has the other side open any more
            return b""

    def end(self) -> int:
        """Waits for the end; gives the exit code."""
        return self.process.wait(TIMEOUT_SECONDS)

    def end_by(self, key: str) -> int:
        """Presses a key until the end comes of it: what is pressed while the prompt gives way to output may be lost."""
        for _ in range(int(TIMEOUT_SECONDS)):
            self.type(key)
            with suppress(subprocess.TimeoutExpired):
                return self.process.wait(1)
        raise AssertionError(f"{key!r} ended nothing; the terminal shows {self.rest()!r}")

    def kill(self) -> None:
        """Leaves nothing behind."""
        self.process.kill()
        self.process.wait()
        os.close(self._controller)


Open = Callable[..., Terminal]


@pytest.fixture
def open_terminal(tmp_path: Path) -> Iterator[Open]:
    """Starts ``wireloom …`` in a terminal; keyword arguments are environment variables."""
    opened: list[Terminal] = []

    def begin(*arguments: str, **variables: str) -> Terminal:
        opened.append(Terminal(arguments, {"XDG_STATE_HOME": str(tmp_path / "state"), **variables}))
        return opened[-1]

    yield begin
    for terminal in opened:
        terminal.kill()


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """Where the history is kept."""
    return tmp_path / "state" / "wireloom" / "connect_history"


def test_what_is_typed_is_sent_and_what_comes_is_shown_in_colours(open_terminal: Open, chat_url: str) -> None:
    terminal = open_terminal("connect", f"{chat_url}/raw")
    terminal.until(b"connected", b">")
    terminal.type('{"n":1}\r')
    terminal.until(b"< ", b"\x1b[1;36m1")  # the number in colour
    terminal.type("go\r")
    terminal.until(b"closed by the server: 1008 go yourself (a policy was broken)")
    assert terminal.end() == 1


def test_no_color(open_terminal: Open, chat_url: str) -> None:
    terminal = open_terminal("connect", f"{chat_url}/raw", "--once", "--send", '{"n":1}', NO_COLOR="1")
    shown = terminal.rest()
    assert re.sub(rb"\x1b\[[0-9;]*m", b"", shown) == b'{"n":1}\r\n'
    assert re.search(rb"\x1b\[[0-9;]*3[0-9]", shown) is None
    assert terminal.end() == 0


def test_no_control_characters_of_the_server(open_terminal: Open, chat_url: str) -> None:
    evil = "\x1b]0;title\x07 \x9b31m"
    for wishes in ((), ("--json",)):
        terminal = open_terminal("connect", f"{chat_url}/raw", "--once", "--send", evil, *wishes)
        shown = terminal.rest()
        assert b"\x1b]" not in shown and b"\x07" not in shown and "\x9b".encode() not in shown
        assert b"title" in shown
        assert terminal.end() == 0


def test_ctrl_d_closes(open_terminal: Open, chat_url: str) -> None:
    terminal = open_terminal("connect", f"{chat_url}/raw")
    terminal.until(b"connected", b">")
    terminal.type(CTRL_D)
    terminal.until(b"closed: 1000 (normal end)")
    assert terminal.end() == 0


def test_ctrl_c_forgets_the_line_and_then_ends_it(open_terminal: Open, chat_url: str, history: Path) -> None:
    terminal = open_terminal("connect", f"{chat_url}/raw")
    terminal.until(b"connected", b">")
    terminal.type("not this")
    terminal.until(b"not this")
    terminal.type(CTRL_C + "hello\r")
    shown = terminal.until(b"< ", b"hello")
    assert b"not this<" not in shown
    assert terminal.end_by(CTRL_C) == 130
    assert b"Traceback" not in terminal.rest()
    assert [line for line in history.read_text().splitlines() if line.startswith("+")] == ["+hello"]


def test_the_history_is_the_users_alone_and_keeps_no_secrets(open_terminal: Open, chat_url: str, history: Path) -> None:
    history.parent.mkdir(parents=True)
    history.touch(0o644)
    terminal = open_terminal("connect", f"{chat_url}/raw")
    terminal.until(b"connected", b">")
    lines = ["plain", ' {"secretly": 1}', '{"token": "x"}', '{"Password":"x"}', "eyJhbGciOi.x", "Bearer 1", "last"]
    for line in lines:
        terminal.type(line + "\r")
        terminal.until(b"< ")
    terminal.type("\x1b[A")  # the arrow up: for this time, all of it is remembered
    terminal.until(b"last")
    terminal.type("\x1b[A")
    terminal.until(b"Bearer 1")
    terminal.type(CTRL_C + CTRL_C)
    assert terminal.end() == 130
    assert [line for line in history.read_text().splitlines() if line.startswith("+")] == ["+plain", "+last"]
    assert history.stat().st_mode & 0o077 == 0


def test_no_history(open_terminal: Open, chat_url: str, history: Path) -> None:
    terminal = open_terminal("connect", f"{chat_url}/raw", "--no-history")
    terminal.until(b"connected", b">")
    terminal.type("hello\r")
    terminal.until(b"< ")
    assert terminal.end_by(CTRL_D) == 0
    assert not history.exists()


def test_a_token_is_asked_for_and_not_shown(open_terminal: Open, chat_url: str) -> None:
    terminal = open_terminal("connect", f"{chat_url}/raw", "--token", "-")
    terminal.until(b"Token: ")
    terminal.type("s3cret\r")
    shown = terminal.until(b"connected", b">")
    assert b"s3cret" not in shown


def test_a_history_that_cannot_be_kept_is_none(open_terminal: Open, chat_url: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    terminal = open_terminal("connect", f"{chat_url}/raw", XDG_STATE_HOME=str(tmp_path / "file"))
    terminal.until(b"connected", b">")
    terminal.type(CTRL_D)
    assert terminal.end() == 0


def test_a_long_history_is_halved(tmp_path: Path) -> None:
    file = tmp_path / "wireloom" / "connect_history"
    file.parent.mkdir()
    entries = [f"\n# 2026-01-01 00:00:00.000000\n+{number} {'x' * 1000}\n" for number in range(2000)]
    file.write_text("".join(entries))
    kept = prompt.history_of(str(tmp_path), keep=True)
    lines = list(kept.load_history_strings())
    assert 400 < len(lines) < 600
    assert lines[0].startswith("1999 ") and all(len(line) > 1000 for line in lines)
