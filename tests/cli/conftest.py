"""Fixtures: a directory with an application, and ``wireloom`` run in it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .processes import CHAT, COMMAND, TIMEOUT_SECONDS, Run, Running, Start, environment


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """The current directory of the commands, with a file ``chat.py`` in it."""
    (tmp_path / "chat.py").write_text(CHAT)
    return tmp_path


@pytest.fixture
def start(directory: Path) -> Iterator[Start]:
    """Starts ``wireloom …`` and goes on; keyword arguments are environment variables."""
    running: list[Running] = []

    def begin(*arguments: str, **variables: str) -> Running:
        running.append(Running(arguments, directory, variables))
        return running[-1]

    yield begin
    for process in running:
        process.kill()


@pytest.fixture
def run(directory: Path) -> Run:
    """Runs ``wireloom …`` to its end; keyword arguments are environment variables."""

    def to_the_end(*arguments: str, stdin: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *arguments],
            cwd=directory,
            env=environment(**variables),
            input=stdin,
            capture_output=True,
            encoding="utf-8",
            timeout=TIMEOUT_SECONDS,
        )

    return to_the_end


@pytest.fixture(scope="module")
def chat_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where ``chat.py`` is served, for all tests of a module."""
    directory = tmp_path_factory.mktemp("served")
    (directory / "chat.py").write_text(CHAT)
    server = Running(("serve", "chat.py", "--port", "0"), directory, {})
    try:
        yield server.started()
    finally:
        server.kill()
