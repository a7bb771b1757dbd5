"""What is measured: a table of scenarios, each a function from a running server to numbers.

Law: a scenario names its one main number; the others explain it.
"""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.load import Client
from bench.process import Failed, Running, resident_bytes
from bench.servers import Server

__all__ = ["SCENARIOS", "Column", "Scenario", "Trial", "raise_open_files"]

Numbers = dict[str, float]

TYPED_MESSAGE = '{"text":"Hello","user":"Alice"}'
SUBSCRIBERS = 1_000
NEWS = "n" * 100
IDLE_CONNECTIONS = 10_000
SPARE_FILES = 200  # descriptors a process needs beside its connections
SLACK_SECONDS = 60.0  # what a load may take beyond its measured time before it is stopped


@dataclass(frozen=True, slots=True)
class Trial:
    """One server, running, and how long to load it."""

    server: Server
    running: Running
    client: Client
    seconds: float
    quick: bool

    @property
    def warm_up_seconds(self) -> float:
        return min(1.0, self.seconds / 2)

    def load(self, mode: str, *options: str, timed: bool = True) -> dict[str, Any]:
        times = ("-d", str(self.seconds), "-w", str(self.warm_up_seconds)) if timed else ()
        return self.client.run(
            mode,
            ("-P", str(self.running.port), *options, *times),
            timeout_seconds=self.seconds + self.warm_up_seconds + SLACK_SECONDS,
        )


@dataclass(frozen=True, slots=True)
class Column:
    """A number in the report: its heading, its key in the result, what to divide it by, its decimals."""

    heading: str
    key: str
    divisor: float = 1.0
    decimals: int = 1


@dataclass(frozen=True, slots=True)
class Scenario:
    """One table of the report.

    Args:
        name: unique; `--only` takes it, or its group.
        group: the kind of work.
        title: the table's heading.
        remark: said above the table.
        short: the heading in the summary.
        main: the number that is compared.
        lower_is_better: which way `main` counts.
        others: further numbers.
        measure: does it; raises Failed.
        clients_cpu_counts: whether a busy client casts doubt on the number.
    """

    name: str
    group: str
    title: str
    short: str
    main: Column
    measure: Callable[[Trial], Numbers]
    others: tuple[Column, ...] = ()
    remark: str = ""
    lower_is_better: bool = False
    clients_cpu_counts: bool = True


LATENCIES = (Column("p50 ms", "p50_us", 1_000, 2), Column("p99 ms", "p99_us", 1_000, 2))


def _echo(in_flight: int, size_bytes: int) -> Scenario:
    def measure(trial: Trial) -> Numbers:
        return trial.load("echo", "--path", "/echo", "-c", "64", "-p", str(in_flight), "-s", str(size_bytes))

    size = f"{size_bytes} B" if size_bytes < 1024 else f"{size_bytes // 1024} KiB"
    return Scenario(
        name=f"echo-{size_bytes}-x{in_flight}",
        group="echo",
        title=f"Echo, {size} of text, 64 connections, {in_flight} in flight on each",
        short=f"echo {size} ×{in_flight}, k/s",
        main=Column("thousand messages/s", "msgs_per_s", 1_000),
        measure=measure,
        others=LATENCIES,
    )


def _typed(in_flight: int) -> Scenario:
    def measure(trial: Trial) -> Numbers:
        expected = trial.server.typed_reply
        common = ("--path", "/chat/lobby", "-c", "64", "-p", str(in_flight))
        return trial.load("echo", *common, "--text", TYPED_MESSAGE, "--expect-text", expected)

    return Scenario(
        name=f"typed-x{in_flight}",
        group="typed",
        title=f"Typed JSON message and reply, 64 connections, {in_flight} in flight on each",
        short=f"typed ×{in_flight}, k/s",
        main=Column("thousand messages/s", "msgs_per_s", 1_000),
        measure=measure,
        others=LATENCIES,
    )


def _publish(trial: Trial, *options: str) -> Numbers:
    paths = ("--path", "/sub", "--pub-path", "/pub")
    return trial.load("fanout", "-c", str(SUBSCRIBERS), *paths, "--text", NEWS, "--settle", "1", *options)


def _fan_out() -> Scenario:
    def measure(trial: Trial) -> Numbers:
        result = _publish(trial)
        if result["lost"] or not result["deliveries_per_s"]:
            raise Failed(f"stalled, {result['lost']:,} deliveries lost")
        return result

    return Scenario(
        name="fanout-closed",
        group="fanout",
        title=f"Fan-out of 100 B to {SUBSCRIBERS:,} subscribers, closed loop (publish, await all deliveries, publish)",
        short="fan-out, k/s",
        main=Column("thousand deliveries/s", "deliveries_per_s", 1_000),
        measure=measure,
        others=(Column("publications/s", "publishes_per_s"), *LATENCIES),
    )


def _fan_out_at(rate: int) -> Scenario:
    def measure(trial: Trial) -> Numbers:
        result = _publish(trial, "--rate", str(rate))
        result["missing_percent"] = 100 * result["lost"] / (rate * trial.seconds * SUBSCRIBERS)
        if result["lost"]:  # times of only those that did arrive would flatter
            result = {key: value for key, value in result.items() if not key.endswith("_us")}
            result["overloaded"] = True
        return result

    return Scenario(
        name=f"fanout-{rate}",
        group="fanout",
        title=f"Fan-out of 100 B to {SUBSCRIBERS:,} subscribers, open loop of {rate:,} publications/s",
        remark="Overloaded: some of the window's deliveries were still missing when the client gave up, at most "
        "2 s after its end; the times of those that arrived are then not shown. In time: before its end.",
        short=f"fan-out at {rate:,}/s, p99 ms",
        main=Column("p99 ms", "p99_us", 1_000, 1),
        measure=measure,
        others=(
            Column("p50 ms", "p50_us", 1_000, 1),
            Column("thousand deliveries/s in time", "deliveries_per_s", 1_000, 0),
            Column("missing, %", "missing_percent"),
        ),
        lower_is_better=True,
        clients_cpu_counts=False,
    )


def _handshakes() -> Scenario:
    def measure(trial: Trial) -> Numbers:
        count = min(1_000 if trial.quick else 5_000, _most_connections())
        return trial.load("connect", "--path", "/echo", "-c", str(count), "--conc", "64", timed=False)

    return Scenario(
        name="handshakes",
        group="handshakes",
        title="Handshakes, 64 at a time, every connection kept open",
        short="handshakes/s",
        main=Column("handshakes/s", "handshakes_per_s", 1, 0),
        measure=measure,
        others=(*LATENCIES, Column("connections", "open", 1, 0)),
    )


def _memory() -> Scenario:
    return Scenario(
        name="memory",
        group="memory",
        title="Memory of an idle connection (growth of resident memory ÷ connections; each answers an echo at the end)",
        short="KiB per idle connection",
        main=Column("KiB per connection", "bytes_per_connection", 1_024),
        measure=_measure_memory,
        others=(
            Column("connections", "open", 1, 0),
            Column("MiB before", "before", 1_048_576),
            Column("MiB with all", "after", 1_048_576),
        ),
        lower_is_better=True,
        clients_cpu_counts=False,
    )


def _measure_memory(trial: Trial) -> Numbers:
    # what a server loads late, it loads now
    trial.load("connect", "--path", "/echo", "-c", "16", "--close-each", timed=False)
    time.sleep(0.5)
    before = resident_bytes(trial.running.pid)
    seen: list[int] = []

    def look() -> None:
        time.sleep(1)
        seen.append(resident_bytes(trial.running.pid))

    count = min(2_000 if trial.quick else IDLE_CONNECTIONS, _most_connections())
    common = ("-P", str(trial.running.port), "--path", "/echo", "-c", str(count), "--conc", "128", "--prove", "hi")
    options = (*common, "--hold", "3", "--src", str(_source_addresses(count)))
    result = trial.client.hold(options, while_open=look, timeout_seconds=120)
    if result["proved"] != count or not seen:
        raise Failed(f"{result['proved']:,} of {count:,} connections answered at the end")
    return {**result, "before": before, "after": seen[0], "bytes_per_connection": (seen[0] - before) / count}


def raise_open_files() -> None:
    """Raise the limit of open files to the most this user may have; children inherit it."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = IDLE_CONNECTIONS + SPARE_FILES if most == resource.RLIM_INFINITY else most
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def _most_connections() -> int:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0] - SPARE_FILES


def _source_addresses(connections: int) -> int:
    """How many loopback addresses the client must use, so that its ports suffice."""
    try:
        first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    except OSError:
        return 1
    return math.ceil(connections / (0.8 * (last - first)))


SCENARIOS: tuple[Scenario, ...] = (
    *(_echo(in_flight, size) for size in (32, 1024) for in_flight in (1, 16)),
    *(_typed(in_flight) for in_flight in (1, 16)),
    _fan_out(),
    _fan_out_at(1_000),
    _fan_out_at(3_000),
    _handshakes(),
    _memory(),
)
