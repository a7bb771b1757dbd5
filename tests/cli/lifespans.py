"""Applications whose lifespan does what a test wants, served by processes of the command line, and their clients."""

from __future__ import annotations

import re
from pathlib import Path

from wireloom.clients.connection import ClientConnection, open_connection

from .processes import Running, Start

HEAD = """\
import asyncio, multiprocessing, os, time
from contextlib import asynccontextmanager

from wireloom import App


@asynccontextmanager
async def lifespan(app):
"""
ENDING = HEAD + "    yield\n{end}\n\napp = App(lifespan=lifespan, drain_timeout_seconds=1)\n"
STARTING = HEAD + "{start}\n    yield\n\n\napp = App(lifespan=lifespan)\n"
IS_WORKER = "multiprocessing.parent_process() is not None"

# A handler that says which process it is in; before that it waits for a file, or ends the process
HANDLER = """

@app.websocket("/do")
async def do(message: str) -> str:
    if message == "leave":
        os._exit(9)
    if message == "wait":
        print("begun", flush=True)
        while not os.path.exists("go"):
            await asyncio.sleep(0.01)
    return str(os.getpid())
"""


def begin(start: Start, directory: Path, text: str, *more: str, **variables: str) -> Running:
    """Serves this application on a free port."""
    (directory / "main.py").write_text(text)
    return start("serve", "main.py", "--port", "0", *more, **variables)


def lines(process: Running) -> list[str]:
    """What was said on stderr, with N for the number of a process, without the warning of every start of workers and
    the word of an end that takes long.
    """
    said = re.sub(r"\bworker \d+", "worker N", process.stderr).splitlines()
    return [line for line in said if not re.match(r"warning: \d+ workers without|Stopping;", line)]


async def one_of(url: str, unwanted: frozenset[int] = frozenset()) -> tuple[ClientConnection, int]:
    """A connection to a worker that is none of these, and the worker's process."""
    while True:
        connection = await open_connection(url)
        connection.send("who")
        worker = int(await connection.receive())
        if worker not in unwanted:
            return connection, worker
        await connection.close()
