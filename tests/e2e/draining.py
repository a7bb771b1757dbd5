"""Servers of the command line that are stopped, and what is waited for meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.cli.processes import Running

__all__ = ["APP", "SECONDS", "end_of", "port_of", "serving", "soon", "until"]

SECONDS = 30

APP = """\
import asyncio

from starlette.responses import StreamingResponse
from starlette.routing import Route, Router

from wireloom import App

app = App()


@app.websocket("/echo")
async def echo(message: str) -> str:
    return message


@app.websocket("/slow")
async def slow(message: str) -> str:
    print("begun", message, flush=True)
    while not __import__("os").path.exists(message):
        await asyncio.sleep(0.01)
    return f"done {message}"


@app.websocket("/never")
async def never(message: str) -> str:
    print("begun", message, flush=True)
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if message == "heeds":
                raise


@app.websocket("/much")
async def much(message: str) -> str:
    return "x" * 900_000


async def drip(request):
    async def body():
        yield b"first"
        await asyncio.Event().wait()

    return StreamingResponse(body())


app.mount("/", Router([Route("/drip", drip)]))
"""


@contextmanager
def serving(directory: Path) -> Iterator[Callable[..., Running]]:
    """Starts `wireloom serve` on an application; gives the process."""
    started: list[Running] = []

    def start(*flags: str, source: str = APP) -> Running:
        (directory / "app.py").write_text(source)
        started.append(Running(("serve", "app.py", "--port", "0", *flags), directory, {}))
        return started[-1]

    yield start
    for running in started:
        running.kill()


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


async def until(running: Running, pattern: str, seconds: float = SECONDS) -> None:
    """Waits for what a process prints, while the loop goes on."""
    await asyncio.to_thread(running.until, pattern, seconds)


async def end_of(running: Running) -> int:
    """The exit code of a process; that it comes at all, in time, is what bounds are tested with."""
    return await asyncio.to_thread(running.end)


async def soon(awaitable: Any, seconds: float = SECONDS) -> Any:
    async with asyncio.timeout(seconds):
        return await awaitable
