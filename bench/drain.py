"""A server with many connections stops beside another: how its clients leave, come back, and what others feel of it.

`python -m bench.drain COUNT [FLAG…]` prints one JSON line: two servers of `bench/servers/wireloom.py`, COUNT
connections to the first, which is told to stop with the flags given; each client goes to the second when it was told.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import statistics
import sys
import time
from collections.abc import Mapping, Sequence

from bench.crowd import Crowd, Member
from bench.process import Failed, Running, serve
from bench.scenarios import raise_open_files
from wireloom.clients.connection import open_connection
from wireloom.errors import ConnectionClosed

__all__ = ["measure"]

_PROBES = 10  # connections that echo, one message after another, at each server
_PAUSE_SECONDS = 0.02
_BEFORE_SECONDS = 3.0
_PATIENCE_SECONDS = 60.0


class _Leaving(Crowd):
    """Clients of the first server, who note when they leave and when they are back at the second."""

    def __init__(self, count: int, other_port: int) -> None:
        super().__init__("/echo")
        self._other_port = other_port
        self._returning: set[asyncio.Task[None]] = set()
        self._count = count
        self.left: list[float] = []
        self.back: list[float] = []
        self.away: list[float] = []
        self.all_back = asyncio.Event()
        self.others = Crowd("/echo")

    def has_closed(self, member: Member) -> None:
        self.left.append(time.perf_counter())
        task = asyncio.ensure_future(self._return(json.loads(member.reason)["reconnect_in_ms"] / 1000))
        self._returning.add(task)
        task.add_done_callback(self._returning.discard)

    async def _return(self, seconds: float) -> None:
        left = time.perf_counter()
        await asyncio.sleep(seconds)
        loop = asyncio.get_running_loop()
        _, member = await loop.create_connection(lambda: Member(self.others), "127.0.0.1", self._other_port)
        self.others.members.append(member)
        await member.opened
        now = time.perf_counter()
        self.back.append(now)
        self.away.append(now - left)
        if len(self.back) == self._count:
            self.all_back.set()


def measure(count: int, flags: Sequence[str]) -> Mapping[str, float]:
    """Times in seconds, latencies of probes in milliseconds.

    Raises:
        Failed: something did not start or end.
    """
    arguments = ("-m", "wireloom.cli.main", "serve", "bench/servers/wireloom.py", "--port", "{port}")
    quiet = ("--log-level", "error")
    with serve((*arguments, *quiet, *flags), None) as first, serve((*arguments, *quiet), None) as second:
        return asyncio.run(_measure(count, first, second))


async def _measure(count: int, first: Running, second: Running) -> Mapping[str, float]:
    crowd = _Leaving(count, second.port)
    await crowd.connect(first.port, count)
    latencies: dict[str, list[tuple[float, float]]] = {"first": [], "second": []}
    probes = [asyncio.ensure_future(_probe(first.port, latencies["first"])) for _ in range(_PROBES)]
    probes += [asyncio.ensure_future(_probe(second.port, latencies["second"])) for _ in range(_PROBES)]
    await asyncio.sleep(_BEFORE_SECONDS)
    told = time.perf_counter()
    os.kill(first.pid, signal.SIGTERM)
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            await crowd.over.wait()
            gone = time.perf_counter()
            await crowd.all_back.wait()
    except TimeoutError:
        raise Failed(f"{len(crowd.back)} of {count} were back in {_PATIENCE_SECONDS:.0f} s") from None
    finally:
        for probe in probes:
            probe.cancel()
        await asyncio.gather(*probes, return_exceptions=True)
        crowd.others.leave()
    return {
        "connections": float(count),
        "drain_s": gone - told,
        "closes_last_s": max(crowd.left) - told,
        "most_closes_in_100_ms": _most(crowd.left),
        "returns_last_s": max(crowd.back) - told,
        "most_returns_in_100_ms": _most(crowd.back),
        "away_median_s": statistics.median(crowd.away),
        "away_longest_s": max(crowd.away),
        **_percentiles(latencies, told),
    }


async def _probe(port: int, latencies: list[tuple[float, float]]) -> None:
    """Echoes until its connection ends."""
    async with open_connection(f"ws://127.0.0.1:{port}/echo") as connection:
        try:
            while True:
                begun = time.perf_counter()
                connection.send("probe")
                await connection.receive()
                latencies.append((begun, (time.perf_counter() - begun) * 1000))
                await asyncio.sleep(_PAUSE_SECONDS)
        except ConnectionClosed:
            return


def _most(times: list[float]) -> float:
    """The most of them within any tenth of a second."""
    ordered, most, first = sorted(times), 0, 0
    for last, each in enumerate(ordered):
        while each - ordered[first] > 0.1:
            first += 1
        most = max(most, last - first + 1)
    return float(most)


def _percentiles(latencies: Mapping[str, list[tuple[float, float]]], told: float) -> Mapping[str, float]:
    result = {}
    for name, measured in latencies.items():
        parts = {
            "before": [latency for begun, latency in measured if begun < told],
            "meanwhile": [latency for begun, latency in measured if begun >= told],
        }
        for part, values in parts.items():
            if len(values) > 1:
                result[f"p99_{name}_{part}_ms"] = statistics.quantiles(values, n=100)[98]
    return result


if __name__ == "__main__":
    raise_open_files()
    try:
        print(json.dumps(measure(int(sys.argv[1]), sys.argv[2:])))
    except Failed as failure:
        sys.exit(str(failure))
