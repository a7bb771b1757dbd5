"""Prompt: what a person types to ``wireloom connect``, with a history that keeps no secrets."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.patch_stdout import patch_stdout

__all__ = ["Interrupted", "below_output", "history_of", "typed"]

# What a line with a secret looks like: a key that is named so, or a token
_SECRET = re.compile(r"token|passw|secret|api[-_]?key|authorization|bearer|\beyJ[\w-]+\.", re.IGNORECASE)
_MAX_HISTORY_BYTES = 1024 * 1024


class Interrupted(Exception):
    """Ctrl-C, and there was no line to forget."""


async def typed(history: History) -> AsyncIterator[str]:
    """What a person types; ends with Ctrl-D. Ctrl-C forgets the line.

    Raises:
        Interrupted: Ctrl-C, and there was no line to forget.
    """
    prompt: PromptSession[str] = PromptSession("> ", history=history)
    while True:
        try:
            line = await prompt.prompt_async()
        except EOFError:
            return
        except KeyboardInterrupt:
            if not prompt.default_buffer.text:
                raise Interrupted from None
            continue
        if line:
            yield line


def history_of(state_home: str | None, *, keep: bool) -> History:
    """What was typed before, in a file for the user alone; only for this time where that cannot be.

    Args:
        state_home: the variable ``XDG_STATE_HOME``.
        keep: whether there is to be a file.
    """
    if not keep:
        return InMemoryHistory()
    try:
        # XDG Base Directory Specification: a path that is not absolute is to be ignored
        home = Path(state_home) if state_home and os.path.isabs(state_home) else Path.home() / ".local" / "state"
        file = home / "wireloom" / "connect_history"
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            os.chmod(file, 0o600)
            _shorten(descriptor)
        finally:
            os.close(descriptor)
    except (OSError, RuntimeError):  # RuntimeError: the user has no home
        return InMemoryHistory()
    return _DiscreetHistory(str(file))


def _shorten(descriptor: int) -> None:
    """Forgets the older half of a long history."""
    size = os.fstat(descriptor).st_size
    if size > _MAX_HISTORY_BYTES:
        os.lseek(descriptor, size - _MAX_HISTORY_BYTES // 2, os.SEEK_SET)
        _, begin, newer = os.read(descriptor, _MAX_HISTORY_BYTES).partition(b"\n# ")
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.truncate(descriptor, 0)
        os.write(descriptor, begin + newer)


class _DiscreetHistory(FileHistory):
    """Lines that begin with a space, and such as seem to have a secret, are remembered for this time only."""

    def store_string(self, string: str) -> None:
        """Keeps a line."""
        if not string.startswith(" ") and not _SECRET.search(string):
            super().store_string(string)


@contextmanager
def below_output() -> Iterator[None]:
    """Output appears above the line that is being typed."""
    with patch_stdout(raw=True):
        yield
