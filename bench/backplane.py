"""From one process to another: what a publication through Redis or NATS takes until a subscriber elsewhere has it.

`python -m bench.backplane KIND SECONDS` prints one JSON line: two servers of `bench/servers/wireloom.py`, one
backplane, 1,000 publications a second into the first server, every latency read at a subscriber of the second.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from bench.process import Failed, accepts, free_port, serve, spawn, stop
from wireloom.clients.connection import ClientConnection, open_connection

__all__ = ["BACKPLANES", "RATE", "measure"]

RATE = 1_000  # publications a second
WARM_UP = 200  # publications that are not counted

BACKPLANES = {
    "redis": ("redis-server", ("--port", "{port}", "--bind", "127.0.0.1", "--save", "", "--appendonly", "no")),
    "nats": ("nats-server", ("-a", "127.0.0.1", "-p", "{port}")),
}


def measure(kind: str, seconds: float) -> Mapping[str, float]:
    """Latencies at `RATE` in milliseconds, and what was lost.

    Raises:
        Failed: the backplane's server is not installed, or something did not start.
    """
    with _backplane(kind) as url:
        serving = ("-m", "wireloom.cli.main", "serve", "bench/servers/wireloom.py", "--port", "{port}")
        arguments = (*serving, "--log-level", "error", "--backplane", url)
        with serve(arguments, None) as first, serve(arguments, None) as second:
            return asyncio.run(_measure(first.port, second.port, int(seconds * RATE)))


@contextmanager
def _backplane(kind: str) -> Iterator[str]:
    program, arguments = BACKPLANES[kind]
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/bin")
    if path is None:
        raise Failed(f"{program} is not installed")
    port = free_port()
    command = [path, *(argument.replace("{port}", str(port)) for argument in arguments)]
    child = spawn(command, None, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while not accepts(port):
            if time.monotonic() > deadline:
                raise Failed(f"{program} did not start")
            time.sleep(0.02)
        yield f"{kind}://127.0.0.1:{port}"
    finally:
        stop(child)


async def _measure(first: int, second: int, count: int) -> Mapping[str, float]:
    async with (
        open_connection(f"ws://127.0.0.1:{first}/pub") as publisher,
        open_connection(f"ws://127.0.0.1:{second}/sub") as subscriber,
    ):
        await _until_connected(publisher, subscriber)
        receiving = asyncio.create_task(_receive(subscriber, WARM_UP + count))
        begin = time.perf_counter()
        for number in range(WARM_UP + count):
            delay = begin + number / RATE - time.perf_counter()
            if delay > 0:
                await asyncio.sleep(delay)
            publisher.send(repr(time.perf_counter()) + " " + "x" * 80)
        latencies = (await receiving)[WARM_UP:]
    if not latencies:
        raise Failed("nothing arrived")
    cuts = statistics.quantiles(latencies, n=1000)
    return {"p50_ms": cuts[499], "p99_ms": cuts[989], "max_ms": max(latencies), "lost": float(count - len(latencies))}


async def _until_connected(publisher: ClientConnection, subscriber: ClientConnection) -> None:
    """The backplane learns of the subscriber a moment after it has joined."""
    for _ in range(100):
        publisher.send("ready?")
        try:
            async with asyncio.timeout(0.1):
                await subscriber.receive()
        except TimeoutError:
            continue
        return
    raise Failed("no publication reached the other process")


async def _receive(subscriber: ClientConnection, count: int) -> list[float]:
    latencies: list[float] = []
    try:
        while len(latencies) < count:
            async with asyncio.timeout(5):
                message = await subscriber.receive()
            if isinstance(message, str) and message != "ready?":
                latencies.append((time.perf_counter() - float(message.partition(" ")[0])) * 1000)
    except TimeoutError:
        pass  # what is missing is reported as lost
    return latencies


if __name__ == "__main__":
    try:
        print(json.dumps(measure(sys.argv[1], float(sys.argv[2]))))
    except Failed as failure:
        sys.exit(str(failure))
