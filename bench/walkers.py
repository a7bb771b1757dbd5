"""Walkers: their echo beside a typed handler's, and what a run costs among few and among many stored nodes.

Law: rows that are compared are measured in turns, by the same client, on a server of the same file.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from bench.load import Client
from bench.process import Failed, Running, serve
from wireloom.clients.connection import open_connection

__all__ = ["WALKERS", "measure"]

MESSAGE = '{"text":"Hello","user":"Alice"}'
REPLIES = {"typed": '{"echo":"Hello","from":"Alice"}'}
WALKER_REPLY = '{"ok":true,"data":{"reports":[{"echo":"Hello","from":"Alice"}]}}'
FILL_SECONDS = 120.0
WARM_UP = 20  # runs that are not counted


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table.

    Args:
        path: of the endpoint.
        in_flight: messages on each of 64 connections; 0: one connection, one after the other, of which each is timed.
        resident: nodes that are stored beside those that the run touches.
    """

    path: str
    in_flight: int = 0
    resident: int = 10


WALKERS = {
    "typed handler ×1": Row("/typed", 1),
    "walker ×1": Row("/ws/Echo", 1),
    "typed handler ×16": Row("/typed", 16),
    "walker ×16": Row("/ws/Echo", 16),
    "typed handler that may wait ×1": Row("/typed-waits", 1),
    "walker that may wait ×1": Row("/ws/EchoWaits", 1),
    "read one of 10 nodes": Row("/ws/Look"),
    "read one of 100,000 nodes": Row("/ws/Look", resident=100_000),
    "change one of 10 nodes": Row("/ws/Count"),
    "change one of 100,000 nodes": Row("/ws/Count", resident=100_000),
}


def measure(name: str, client: Client, core: int | None, seconds: float) -> Mapping[str, float]:
    """Messages a second of one row, and the median of one in microseconds.

    Raises:
        Failed: something did not start, or a reply was wrong.
    """
    row = WALKERS[name]
    with _server(row, core) as running:
        if not row.in_flight:
            return asyncio.run(_runs(running.port, row, seconds))
        expected = REPLIES["typed"] if row.path.startswith("/typed") else WALKER_REPLY
        load = ("--path", row.path, "-c", "64", "-p", str(row.in_flight), "--text", MESSAGE, "--expect-text", expected)
        options = ("-H", "127.0.0.1", "-P", str(running.port), "-d", str(seconds), "-w", "0.5", *load)
        result = client.run("echo", options, timeout_seconds=seconds + 30)
        return {"msgs_per_s": result["msgs_per_s"], "p50_us": result["p50_us"], "client_cpu": result["client_cpu"]}


@contextmanager
def _server(row: Row, core: int | None) -> Iterator[Running]:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["BENCH_RESIDENT_NODES"] = str(row.resident)
        serving = ("-m", "wireloom.cli.main", "serve", "bench/servers/walkers.py", "--port", "{port}")
        store = ("--database", f"sqlite:///{folder}/bench.db", "--log-level", "error")
        try:
            with serve((*serving, *store), core) as running:
                yield running
        finally:
            del os.environ["BENCH_RESIDENT_NODES"]


async def _runs(port: int, row: Row, seconds: float) -> Mapping[str, float]:
    async with open_connection(f"ws://127.0.0.1:{port}/ws/Fill") as filling:
        filling.send("{}")
        async with asyncio.timeout(FILL_SECONDS):
            await filling.receive()
    taken: list[float] = []
    async with open_connection(f"ws://127.0.0.1:{port}{row.path}") as connection:
        begin = time.perf_counter()
        while time.perf_counter() < begin + seconds:
            sent = time.perf_counter()
            connection.send("{}")
            reply = await connection.receive()
            taken.append(time.perf_counter() - sent)
            if not str(reply).startswith('{"ok":true'):
                raise Failed(f"a run failed: {str(reply)[:100]}")
    median = statistics.median(taken[WARM_UP:] or taken)
    return {"msgs_per_s": 1 / median, "p50_us": median * 1e6}
