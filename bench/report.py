"""The report: medians of the rounds, their spread, ratios to Wireloom, as markdown, with the machine they hold for.

Law: a failed round is told, never dropped; a number is never made of anything but measured rounds.
"""

from __future__ import annotations

import os
import platform
import statistics
import sysconfig
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bench.process import ROOT
from bench.scenarios import Column, Scenario
from bench.servers import Server

__all__ = ["BASELINE", "Outcomes", "Setting", "Table", "environment", "render_micro", "render_scenarios"]

BASELINE = "wireloom"
QUIET_CORES = 0.1
BUSY_CLIENT = 0.95  # a load client above this share of its core may be what is measured


@dataclass(slots=True)
class Outcomes:
    """What the rounds of one server in one scenario gave."""

    results: list[Mapping[str, float]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def median(self, column: Column) -> float | None:
        values = self.values(column)
        return statistics.median(values) if values else None

    def shown(self, column: Column) -> str:
        """The median as text, or why there is none."""
        value = self.median(column)
        if value is not None:
            return _number(value, column.decimals)
        return "overloaded" if self.results else "**failed**"

    def values(self, column: Column) -> list[float]:
        return [result[column.key] / column.divisor for result in self.results if column.key in result]

    def notes(self, clients_cpu_counts: bool) -> str:
        rounds = len(self.results) + len(self.failures)
        notes = []
        if self.failures:
            notes.append(f"{len(self.failures)} of {rounds} rounds failed: {'; '.join(dict.fromkeys(self.failures))}")
        overloaded = sum(bool(result.get("overloaded")) for result in self.results)
        if 0 < overloaded < rounds:
            notes.append(f"{overloaded} of {rounds} rounds overloaded")
        client = max((result.get("client_cpu", 0.0) for result in self.results), default=0.0)
        if clients_cpu_counts and client > BUSY_CLIENT:
            notes.append(f"the client itself used {client:.0%} of its core: it may be what is measured")
        return "; ".join(notes)


Table = Mapping[str, Outcomes]  # by server, or by case


@dataclass(frozen=True, slots=True)
class Setting:
    """How this run was made."""

    rounds: int
    seconds: float
    client: str
    client_is_python: bool
    pinned: bool
    servers: Sequence[Server]
    others_cores: float | None


def render_scenarios(measured: Mapping[Scenario, Table], setting: Setting) -> str:
    """A summary of all scenarios, then one table for each."""
    if not measured:
        return ""
    legend = "\nMedians. ↓: less is better. Failed: no round succeeded; the tables below say why.\n"
    parts = ["## Summary\n", _summary(measured), legend]
    for scenario, table in measured.items():
        better = "less is better" if scenario.lower_is_better else "more is better"
        parts.append(f"## {scenario.title}\n\n`--only {scenario.name}`, {better}. {scenario.remark}".rstrip() + "\n")
        labels = {name: name for name in table}
        clients_cpu_counts = scenario.clients_cpu_counts or setting.client_is_python
        parts.append(_table(table, labels, "server", scenario.main, scenario.others, clients_cpu_counts))
        if scenario.group == "typed":
            parts += ["", *(f"- {server.name}: {server.typed_how}." for server in setting.servers)]
        parts.append("")
    return "\n".join(parts)


def render_micro(title: str, table: Table, labels: Mapping[str, str]) -> str:
    """One table of in-process cases."""
    main = Column("thousand calls/s", "per_second", 1_000, 0)
    others = (Column("µs a call", "each_us", 1, 3),)
    return f"## {title}\n\n`--only micro`, more is better.\n\n{_table(table, labels, 'case', main, others, False)}\n"


def render_backplanes(table: Table) -> str:
    """Publications from one process to another."""
    main = Column("p99 ms", "p99_ms", 1, 2)
    others = (Column("p50 ms", "p50_ms", 1, 2), Column("longest ms", "max_ms", 1, 1), Column("lost", "lost", 1, 0))
    title = "From a process to another: 1,000 publications a second through a backplane"
    note = "Publisher, two servers, the backplane and the subscriber all on this machine's cores."
    labels = {name: name for name in table}
    text = _table(table, labels, "backplane", main, others, False)
    return f"## {title}\n\n`--only backplane`, less is better. {note}\n\n{text}\n"


def render_walkers(table: Table) -> str:
    """Walkers beside typed handlers, and among few and many nodes."""
    main, others = Column("thousand/s", "msgs_per_s", 1_000, 2), (Column("median µs", "p50_us", 1, 0),)
    title = "Walkers: echo beside a typed handler's, and runs among few and many stored nodes"
    note = "Runs that read or change keep their nodes in an SQLite file; a change is on the disk before it is answered."
    labels = {name: name for name in table}
    text = _table(table, labels, "row", main, others, False)
    return f"## {title}\n\n`--only walkers`, more is better. {note}\n\n{text}\n"


def render_routes(table: Table) -> str:
    """Declarative routes beside the same handlers in Python."""
    main, others = Column("thousand/s", "msgs_per_s", 1_000, 1), (Column("median µs", "p50_us", 1, 0),)
    title = "Declarative routes beside the same handlers in Python"
    note = "Of a broadcast, every connection hears a channel of its own, named by an expression."
    labels = {name: name for name in table}
    text = _table(table, labels, "row", main, others, False)
    return f"## {title}\n\n`--only routes`, more is better. {note}\n\n{text}\n"


def render_flood(table: Table) -> str:
    """What well-behaved clients notice of a flood."""
    main = Column("p99 ms", "p99_ms", 1, 1)
    others = (Column("median ms", "p50_ms", 1, 1), Column("max ms", "max_ms", 1, 0), Column("replies", "replies", 1, 0))
    title = "A flood: 100 connections break every limit over and over, 100 others ask and wait for the reply"
    note = "The kinds of abuse are in `bench/abuse.py`. A round with any error or lost reply counts as failed."
    values = [outcomes.median(main) for outcomes in table.values()]
    ratio = ""
    if len(values) == 2 and values[0] and values[1]:
        ratio = f" p99 during the flood is {values[1] / values[0]:.1f} times that before."
    text = _table(table, {name: name for name in table}, "row", main, others, False)
    return f"## {title}\n\n`--only flood`, less is better. {note}{ratio}\n\n{text}\n"


def environment(setting: Setting) -> str:
    """Where and how it was measured."""
    optimised = "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
    packages = dict.fromkeys(package for server in setting.servers for package in server.packages)
    versions = ", ".join(f"{package} {_version(package)}" for package in (*packages, "uvloop", "msgspec", "pydantic"))
    slower = " (Python: **the slower measure**, fast servers are measured too low)" if setting.client_is_python else ""
    pinning = "the server on one core, the load on another" if setting.pinned else "nothing pinned"
    facts = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{_cpu()}, {os.cpu_count()} cores, {platform.machine()}",
        "kernel": f"{platform.system()} {platform.release()}",
        "Python": f"{platform.python_version()} {platform.python_implementation()}, built "
        + ("with optimisations (PGO)" if optimised else "without `--enable-optimizations`"),
        "versions": versions,
        "load": f"{setting.client}{slower}; {pinning}",
        "rounds": f"{setting.rounds}, interleaved, {setting.seconds:g} s each after a warm-up, a fresh server for each",
        "disturbance": _disturbance(setting.others_cores),
    }
    return "\n".join(("| | |", "|---|---|", *(f"| {name} | {fact} |" for name, fact in facts.items())))


def _disturbance(others_cores: float | None) -> str:
    if others_cores is None:
        return "unknown"
    verdict = "a quiet machine" if others_cores < QUIET_CORES else "**not a quiet machine: read with care**"
    return f"everything else on this machine took {others_cores:.2f} of a core meanwhile: {verdict}"


def _summary(measured: Mapping[Scenario, Table]) -> str:
    servers = dict.fromkeys(name for table in measured.values() for name in table)
    headings = [f"{scenario.short}{' ↓' if scenario.lower_is_better else ''}" for scenario in measured]
    rows = []
    for name in servers:
        rows.append([name, *(table[name].shown(scenario.main) for scenario, table in measured.items())])
    return _markdown(["server", *headings], rows)


def _table(
    table: Table, labels: Mapping[str, str], kind: str, main: Column, others: Sequence[Column], clients_cpu_counts: bool
) -> str:
    baseline = table[BASELINE].median(main) if BASELINE in table else None
    rows = []
    for name, outcomes in table.items():
        value, values = outcomes.median(main), outcomes.values(main)
        spread = f"{_number(min(values), main.decimals)} – {_number(max(values), main.decimals)}" if values else "–"
        further = [_optional(outcomes.median(column), column.decimals) for column in others]
        ratio = f"{value / baseline:.2f}" if value is not None and baseline else "–"
        rows.append([labels[name], outcomes.shown(main), spread, ratio, *further, outcomes.notes(clients_cpu_counts)])
    headings = [kind, main.heading, "min – max", f"÷ {BASELINE}", *(column.heading for column in others), "notes"]
    return _markdown(headings, rows)


def _markdown(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(headings) - 1)]
    if headings[-1] == "notes":
        rule[-1] = "---"
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (headings, rule, *rows))


def _optional(value: float | None, decimals: int) -> str:
    return "–" if value is None else _number(value, decimals)


def _number(value: float, decimals: int) -> str:
    return f"{value:,.{decimals}f}"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        if package != BASELINE:
            return "not installed"
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown CPU"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown CPU")
