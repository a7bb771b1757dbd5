"""`python -m bench`: measures Wireloom beside its peers, interleaved, and prints or writes the report."""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from bench.backplane import BACKPLANES
from bench.backplane import measure as measure_backplane
from bench.flood import FLOOD
from bench.flood import measure as measure_flood
from bench.load import Client, find_client
from bench.micro import CASES, TABLES
from bench.process import Failed, cores, cpu_seconds_of_others, last_line, serve, spawn, stop
from bench.report import (
    Outcomes,
    Setting,
    Table,
    environment,
    render_backplanes,
    render_flood,
    render_micro,
    render_routes,
    render_scenarios,
    render_walkers,
)
from bench.routes import ROUTES
from bench.routes import measure as measure_routes
from bench.scenarios import SCENARIOS, Scenario, Trial, raise_open_files
from bench.servers import SERVERS, Server
from bench.walkers import WALKERS
from bench.walkers import measure as measure_walkers

INTRODUCTION = """\
# Benchmark results

Made by `python -m bench`. Every server does the same work on the same paths (`bench/servers/`), as one process on
uvloop, without compression and without an access log, otherwise with its own defaults. Rounds are interleaved: each
server once, then each once more. **Compare rows of one table, not tables of two machines.**
"""

_OTHERS = ("backplane", "walkers", "routes", "flood", "micro")

T = TypeVar("T")


def main() -> int:
    """Measure what was asked for, print the report, write it where asked."""
    options = _parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that children are stopped on the way out
    raise_open_files()
    others, begin = cpu_seconds_of_others(), time.monotonic()
    server_core, load_core = cores()
    servers = [SERVERS[name] for name in options.servers]
    scenarios = [scenario for scenario in SCENARIOS if {scenario.name, scenario.group} & options.only]
    with tempfile.TemporaryDirectory() as directory:
        try:
            client = find_client(options.wsload, options.wsload_source, load_core, Path(directory))
        except Failed as failure:
            print(failure, file=sys.stderr)
            return 2
        measured = {scenario: _scenario(scenario, servers, client, server_core, options) for scenario in scenarios}
        backplanes = _backplanes(options) if "backplane" in options.only else {}
        walkers = _walkers(options, client, server_core) if "walkers" in options.only else {}
        routes = _routes(options, client, server_core) if "routes" in options.only else {}
        flood = _flood(options, server_core, load_core) if "flood" in options.only else {}
        micro = _micro(options, server_core) if "micro" in options.only else {}
    after = cpu_seconds_of_others()
    disturbance = None if others is None or after is None else max(0.0, after - others) / (time.monotonic() - begin)
    pinned = load_core is not None
    setting = Setting(options.rounds, options.seconds, client.name, client.is_python, pinned, servers, disturbance)
    _publish(_report(measured, backplanes, walkers, routes, flood, micro, setting), options.write)
    return 0


def _scenario(
    scenario: Scenario, servers: Sequence[Server], client: Client, core: int | None, options: argparse.Namespace
) -> Table:
    def once(server: Server) -> Mapping[str, float]:
        with serve(server.arguments, core) as running:
            return scenario.measure(Trial(server, running, client, options.seconds, options.quick))

    rows = {server.name: server for server in servers}
    return _interleaved(rows, once, options.rounds, scenario.name, scenario.main.key)


def _micro(options: argparse.Namespace, core: int | None) -> Table:
    def once(name: str) -> Mapping[str, float]:
        command = [sys.executable, "-m", "bench.micro", name, str(min(options.seconds, 2.0))]
        child = spawn(command, core, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            output, errors = child.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            raise Failed("nothing in 30 s") from None
        finally:
            stop(child)
        if child.returncode:
            raise Failed(last_line(errors.decode(errors="replace")))
        result: Mapping[str, float] = json.loads(output)
        return result

    return _interleaved({name: name for name in CASES}, once, options.rounds, "micro", "each_us")


def _backplanes(options: argparse.Namespace) -> Table:
    def once(kind: str) -> Mapping[str, float]:
        return measure_backplane(kind, max(options.seconds, 1.0))

    return _interleaved({kind: kind for kind in BACKPLANES}, once, options.rounds, "backplane", "p99_ms")


def _walkers(options: argparse.Namespace, client: Client, core: int | None) -> Table:
    def once(name: str) -> Mapping[str, float]:
        return measure_walkers(name, client, core, options.seconds)

    return _interleaved({name: name for name in WALKERS}, once, options.rounds, "walkers", "msgs_per_s")


def _routes(options: argparse.Namespace, client: Client, core: int | None) -> Table:
    def once(name: str) -> Mapping[str, float]:
        return measure_routes(name, client, core, options.seconds)

    return _interleaved({name: name for name in ROUTES}, once, options.rounds, "routes", "msgs_per_s")


def _flood(options: argparse.Namespace, server_core: int | None, load_core: int | None) -> Table:
    def once(name: str) -> Mapping[str, float]:
        return measure_flood(FLOOD[name], server_core, load_core, options.seconds)

    return _interleaved({name: name for name in FLOOD}, once, options.rounds, "flood", "p99_ms")


def _interleaved(
    rows: Mapping[str, T], once: Callable[[T], Mapping[str, float]], rounds: int, title: str, key: str
) -> Table:
    """Every row once, then every row again, each round beginning with another one."""
    table = {name: Outcomes() for name in rows}
    for number, name in _turns(list(rows), rounds):
        try:
            result = once(rows[name])
        except Failed as failure:
            table[name].failures.append(str(failure))
            said = f"failed: {failure}"
        else:
            table[name].results.append(result)
            said = f"{key} {result[key]:,.1f}" if key in result else "overloaded"
        print(f"{title}, round {number} of {rounds}, {name}: {said}", file=sys.stderr, flush=True)
    return table


def _turns(names: Sequence[str], rounds: int) -> Iterator[tuple[int, str]]:
    for number in range(rounds):
        first = number % len(names)
        yield from ((number + 1, name) for name in (*names[first:], *names[:first]))


def _report(
    measured: Mapping[Scenario, Table],
    backplanes: Table,
    walkers: Table,
    routes: Table,
    flood: Table,
    micro: Table,
    setting: Setting,
) -> str:
    parts = [INTRODUCTION, environment(setting), "", render_scenarios(measured, setting)]
    if backplanes:
        parts.append(render_backplanes(backplanes))
    if walkers:
        parts.append(render_walkers(walkers))
    if routes:
        parts.append(render_routes(routes))
    if flood:
        parts.append(render_flood(flood))
    for key, title in TABLES.items():
        rows = {name: outcomes for name, outcomes in micro.items() if CASES[name].table == key}
        if rows:
            parts.append(render_micro(title, rows, {name: CASES[name].label for name in rows}))
    return "\n".join(parts)


def _publish(report: str, target: Path | None) -> None:
    print(report)
    if target:
        target.write_text(report, encoding="utf-8")


def _choice(known: Sequence[str]) -> Callable[[str], list[str]]:
    def split(text: str) -> list[str]:
        names = [name.strip() for name in text.split(",") if name.strip()]
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}")
        return names

    return split


def _parse() -> argparse.Namespace:
    groups = [*dict.fromkeys(scenario.group for scenario in SCENARIOS), *_OTHERS]
    names = [*groups, *(scenario.name for scenario in SCENARIOS if scenario.name not in groups)]
    parser = argparse.ArgumentParser(prog="python -m bench", description=(__doc__ or "").partition(": ")[2])
    parser.add_argument("--quick", action="store_true", help="one round of one second: a smoke test, not a measurement")
    parser.add_argument("--only", type=_choice(names), default=groups, help=f"some of: {', '.join(names)}")
    peers = list(SERVERS)
    parser.add_argument("--servers", type=_choice(peers), default=peers, help=f"some of: {', '.join(peers)}")
    parser.add_argument("--rounds", type=int, help="default 3")
    parser.add_argument("--seconds", type=float, help="measured time of one load, default 3")
    parser.add_argument("--wsload", metavar="PATH", help="the load generator's binary (or set $WSLOAD)")
    parser.add_argument("--wsload-source", metavar="PATH", help="wsload.c, compiled with gcc for this run")
    parser.add_argument("--write", metavar="FILE", type=Path, help="write the report there too")
    options = parser.parse_args()
    options.only = set(options.only)
    options.rounds = options.rounds or (1 if options.quick else 3)
    options.seconds = options.seconds or (1.0 if options.quick else 3.0)
    if options.rounds < 1 or not 0 < options.seconds <= 60:
        parser.error("--rounds is at least 1, --seconds above 0 and at most 60")
    return options


if __name__ == "__main__":
    sys.exit(main())
