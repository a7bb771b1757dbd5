"""The flood: what 100 well-behaved clients notice while 100 abusive connections break every limit over and over.

Law: clients and abusers are processes of their own, on another core than the server where there is one.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench.abuse import Peer
from bench.process import Failed, serve, spawn, stop
from wireloom.wire.frames import CLOSE, TEXT, mask_frame

__all__ = ["CLIENTS", "FLOOD", "Clients", "measure"]

CLIENTS = 100
ABUSERS = 100
FLOOD = {"before the flood": False, "during the flood": True}
ENDLESS_ROUNDS = 1_000_000
_OF_ONE_ADDRESS = 10
_PAUSE_SECONDS = 0.05
_REPLY_SECONDS = 30.0
_SERVER = ("-m", "wireloom.cli.main", "serve", "bench/servers/flooded.py", "--port", "{port}")


@dataclass
class Clients:
    """Well-behaved clients: each asks, waits for the reply, pauses, and asks again.

    Args:
        port: the server's.
        count: of clients, ten from one address.

    Attributes:
        delays: seconds from each request to its reply.
        errors: everything that was not as it should be.
    """

    port: int
    count: int = CLIENTS
    delays: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    opened: int = 0

    async def run(self, over: asyncio.Event) -> None:
        """Converses until it is over, and leaves with a closing handshake."""
        await asyncio.gather(*(self._converse(number, over) for number in range(self.count)))

    async def _converse(self, number: int, over: asyncio.Event) -> None:
        peer = Peer("127.0.0.1", self.port, f"127.0.100.{1 + number // _OF_ONE_ADDRESS}")
        try:
            async with asyncio.timeout(_REPLY_SECONDS):
                status = await peer.open()
            self.opened += 1
            if status != 101:
                self.errors.append(f"client {number}: handshake answered with {status}")
                return
            asked = 0
            while not over.is_set():
                asked += 1
                await self._ask(peer, number, asked)
                await asyncio.sleep(_PAUSE_SECONDS)
            peer.say(mask_frame(CLOSE, b"\x03\xe8"))
            async with asyncio.timeout(_REPLY_SECONDS):
                said = await peer.verdict()
            if said != "close 1000":
                self.errors.append(f"client {number}: closed by {said}")
        except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
            self.errors.append(f"client {number}: {type(error).__name__}")
        finally:
            peer.abort()

    async def _ask(self, peer: Peer, number: int, asked: int) -> None:
        begin = time.perf_counter()
        request = f'{{"client":{number},"n":{asked}}}'
        peer.text(request)
        async with asyncio.timeout(_REPLY_SECONDS):
            frame = await peer.message()
        self.delays.append(time.perf_counter() - begin)
        if frame != (TEXT, request.encode()):
            self.errors.append(f"client {number}: {request} answered with {frame!r:.200}")

    def percentile(self, percent: float) -> float:
        """Milliseconds within which so many percent of the replies came."""
        ordered = sorted(self.delays)
        return 1000 * ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def measure(flooded: bool, server_core: int | None, load_core: int | None, seconds: float) -> Mapping[str, float]:
    """Delays and errors of the well-behaved.

    Raises:
        Failed: there was an error; a server that drops good clients has no delay worth telling.
    """
    with serve(_SERVER, server_core) as running:
        # at the lowest priority: who measures waits for the server, not for the processor that the abusers use
        abuse = ["127.0.0.1", str(running.port), str(ABUSERS), str(ENDLESS_ROUNDS), "19"]
        command = [sys.executable, "-m", "bench.abuse", *abuse]
        child = spawn(command, load_core, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) if flooded else None
        try:
            command = [sys.executable, "-m", "bench.flood", str(running.port), str(seconds)]
            clients = spawn(command, load_core, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            try:
                output, _ = clients.communicate(timeout=seconds + 60)
            finally:
                stop(clients)
        finally:
            if child is not None:
                stop(child)
    told = json.loads(output or b"{}")
    if not told or told["errors"]:
        raise Failed(f"{len(told.get('errors', ()))} errors, such as {told.get('errors', ['none told'])[0]}")
    result: Mapping[str, float] = told["measured"]
    return result


def main(arguments: Sequence[str]) -> int:
    """`python -m bench.flood PORT SECONDS`: prints what the well-behaved clients of a server notice."""

    async def run() -> Clients:
        clients, over = Clients(int(arguments[0])), asyncio.Event()
        task = asyncio.create_task(clients.run(over))
        await asyncio.sleep(1.0)
        clients.delays.clear()  # the first second is for handshakes and warming up
        await asyncio.sleep(float(arguments[1]))
        over.set()
        await task
        return clients

    clients = asyncio.run(run())
    measured = {
        "replies": len(clients.delays),
        "p50_ms": clients.percentile(50),
        "p99_ms": clients.percentile(99),
        "max_ms": 1000 * max(clients.delays),
    }
    print(json.dumps({"errors": clients.errors[:20], "measured": measured}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
