"""Runs Autobahn's test suite against our server, our client, or both, and prints a table of the results.

    python tests/conformance/run.py --autobahn PYTHON2.7 [--role both|server|client] [--cases fast|full|1.*,7.9.3]

`--autobahn` is the interpreter of an environment in which the package `autobahntestsuite` is installed. Everything
listens on loopback. The exit code is 1 when a case failed, ended uncleanly, is not implemented, or is missing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from wireloom import WebSocket
from wireloom.clients.connection import open_connection
from wireloom.errors import ConnectionClosed, HandshakeFailed

HERE = Path(__file__).resolve().parent
AGENT = "wireloom"
GOOD = {"OK", "NON-STRICT", "INFORMATIONAL"}
LIMIT_SECONDS = 3600
# limits and performance (9), compression (12, 13): most of the time, and not for every day
EXCLUDED = {"fast": ["9.*", "12.*", "13.*"], "full": []}
COUNTS = {"fast": 247, "full": 517}
# The suite's own servers listen on all addresses; this has them listen on loopback. It is Python 2.7.
WSTEST = """
import sys
import autobahntestsuite.fuzzing as fuzzing
from autobahn.twisted.websocket import listenWS
fuzzing.listenWS = lambda factory, context=None: listenWS(factory, context, 50, "127.0.0.1")
from autobahntestsuite.wstest import run
sys.argv += ["-u", "0"]
run()
"""

Results = dict[str, dict[str, Any]]


def main() -> int:
    """Runs the cases, prints what came of them."""
    options = _parse()
    bad = False
    with tempfile.TemporaryDirectory() as folder:
        for role in ("server", "client") if options.role == "both" else (options.role,):
            begun = time.monotonic()
            results = (_run_server if role == "server" else _run_client)(options, Path(folder) / role)
            print(f"\n{role}: {_summary(results)}, {time.monotonic() - begun:.0f} s\n\n{_table(results)}", flush=True)
            bad |= not _is_good(results, COUNTS.get(options.cases))
    return 1 if bad else 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--autobahn", required=True, metavar="PYTHON2.7")
    parser.add_argument("--role", choices=("both", "server", "client"), default="both")
    parser.add_argument("--cases", default="fast")
    return parser.parse_args()


# -- roles -------------------------------------------------------------------------------------------------------------


def _run_server(options: argparse.Namespace, folder: Path) -> Results:
    """The suite's client against our server."""
    command = [sys.executable, "-m", "wireloom", "serve", str(HERE / "echo.py"), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            found = re.search(r"ws://\S+", server.stdout.readline())
            assert found, "the server did not start"
            servers = [{"agent": AGENT, "url": f"{found[0]}/", "options": {"version": 18}}]
            specification = {"options": {"failByDrop": False}, "servers": servers}
            with _wstest(options, folder, "fuzzingclient", specification) as suite:
                suite.wait(LIMIT_SECONDS)
        finally:
            server.terminate()
    return _results(folder)


def _run_client(options: argparse.Namespace, folder: Path) -> Results:
    """Our client against the suite's server."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"ws://127.0.0.1:{free.getsockname()[1]}"
    with _wstest(options, folder, "fuzzingserver", {"url": url}) as suite:
        asyncio.run(_echo_all(url))
        suite.wait(60)
    return _results(folder)


async def _echo_all(url: str) -> None:
    async with asyncio.timeout(LIMIT_SECONDS):
        count = int(await _ask(f"{url}/getCaseCount"))
        for case in range(1, count + 1):
            await _echo(f"{url}/runCase?case={case}&agent={AGENT}")
        with suppress(HandshakeFailed):  # it may end without an answer when the reports are written
            await _ask(f"{url}/updateReports?agent={AGENT}&shutdownOnComplete=true")


async def _echo(url: str) -> None:
    """One case. By events, because what came before a fault is then answered before the fault is."""
    over = asyncio.Event()
    ws = WebSocket(url, compression=True, max_size=None, open_timeout=None)
    ws.onmessage = lambda event: ws.send(event.data)
    ws.onclose = lambda event: over.set()
    await over.wait()


async def _ask(url: str) -> str | bytes:
    """The one message of a connection, empty if there is none; asks again while the suite is starting."""
    while True:
        try:
            async with open_connection(url, open_timeout=None) as connection:
                return await connection.receive()
        except ConnectionClosed:
            return ""
        except ConnectionRefusedError:
            await asyncio.sleep(0.1)


@contextmanager
def _wstest(options: argparse.Namespace, folder: Path, mode: str, settings: dict[str, Any]) -> Iterator[Any]:
    """The suite as a process."""
    folder.mkdir()
    cases = ["*"] if options.cases in EXCLUDED else options.cases.split(",")
    excluded = EXCLUDED.get(options.cases, [])
    specification = {
        "outdir": str(folder),
        "cases": cases,
        "exclude-cases": excluded,
        "exclude-agent-cases": {},
        **settings,
    }
    (folder / "spec.json").write_text(json.dumps(specification))
    command = [options.autobahn, "-u", "-c", WSTEST, "-m", mode, "-s", str(folder / "spec.json")]
    with (folder / "wstest.log").open("wb") as log:
        with subprocess.Popen(command, cwd=folder, stdout=log, stderr=log) as suite:
            try:
                yield suite
            finally:
                suite.kill()


# -- results -----------------------------------------------------------------------------------------------------------


def _results(folder: Path) -> Results:
    report = folder / "index.json"
    if not report.is_file():
        log = (folder / "wstest.log").read_text(errors="replace")
        raise SystemExit(f"the suite has written no report\n{log[-2000:]}")
    results: Results = json.loads(report.read_text())[AGENT]
    return results


def _is_good(results: Results, count: int | None) -> bool:
    bad = {number: case for number, case in results.items() if not {case["behavior"], case["behaviorClose"]} <= GOOD}
    for number, case in bad.items():
        print(f"case {number}: {case['behavior']}, close {case['behaviorClose']}", file=sys.stderr)
    if count is not None and len(results) != count:
        print(f"{len(results)} cases ran instead of {count}", file=sys.stderr)
    return not bad and len(results) == (count or len(results))


def _summary(results: Results) -> str:
    counts = Counter(case["behavior"] for case in results.values())
    return f"{len(results)} cases, " + ", ".join(f"{count} {name}" for name, count in counts.most_common())


def _table(results: Results) -> str:
    """Markdown: a row for each chapter of the suite."""
    chapters = sorted({int(number.partition(".")[0]) for number in results})
    rows = ["| chapter | cases | OK | other |", "|---|---|---|---|"]
    for chapter in chapters:
        found = [case["behavior"] for number, case in results.items() if number.startswith(f"{chapter}.")]
        others = Counter(behavior for behavior in found if behavior != "OK")
        told = ", ".join(f"{count} {name}" for name, count in others.items())
        rows.append(f"| {chapter} | {len(found)} | {found.count('OK')} | {told} |")
    return "\n".join(rows)


if __name__ == "__main__":
    sys.exit(main())
