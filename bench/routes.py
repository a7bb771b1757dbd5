"""Declarative routes beside the same handlers in Python. Law: as in `walkers`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench.load import Client
from bench.process import serve

__all__ = ["ROUTES", "measure"]

MESSAGE = "hello there"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table: what is asked, by which way, and how many messages are in flight on 64 connections."""

    path: str
    reply: str
    in_flight: int


_CASES = {"echo": f"Echo: {MESSAGE}", "broadcast": MESSAGE}
ROUTES = {
    f"{way}, {'If + contains + broadcast' if case == 'broadcast' else case} ×{in_flight}": Row(
        f"/{way}/{case}", reply, in_flight
    )
    for case, reply in _CASES.items()
    for in_flight in (1, 16)
    for way in ("handler", "route")
}


def measure(name: str, client: Client, core: int | None, seconds: float) -> Mapping[str, float]:
    """Messages a second of one row.

    Raises:
        Failed: something did not start, or a reply was wrong.
    """
    row = ROUTES[name]
    command = (
        "-m",
        "wireloom.cli.main",
        "serve",
        "bench/servers/routes.py",
        "--port",
        "{port}",
        "--log-level",
        "error",
    )
    with serve(command, core) as running:
        load = ("--path", row.path, "-c", "64", "-p", str(row.in_flight), "--text", MESSAGE, "--expect-text", row.reply)
        options = ("-H", "127.0.0.1", "-P", str(running.port), "-d", str(seconds), "-w", "0.5", *load)
        result = client.run("echo", options, timeout_seconds=seconds + 30)
    return {"msgs_per_s": result["msgs_per_s"], "p50_us": result["p50_us"], "client_cpu": result["client_cpu"]}
