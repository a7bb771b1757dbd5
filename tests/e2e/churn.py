"""churn.py URL ROUNDS: opens and closes connections in every way there is, 2,000 a round.

After each it tells, in JSON, what this process and the server hold: tasks, file descriptors, objects, resident bytes.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import json
import os
import sys
from urllib.request import urlopen

from wireloom import HandshakeFailed, WebSocket, connect
from wireloom.clients.connection import open_connection

AT_ONCE = 50
ROUND = 2000


async def closes(url: str) -> None:
    """We close."""
    async with open_connection(url, compression=True) as connection:
        connection.send("hello " * 100)
        await connection.receive()


async def is_closed(url: str) -> None:
    """The server closes."""
    async with open_connection(url) as connection:
        connection.send("close")
        await connection.wait_closed()


async def aborts(url: str) -> None:
    """Nobody says a word."""
    connection = await open_connection(url)
    connection.send("hello")
    connection.abort()
    await connection.wait_closed()


async def is_refused(url: str) -> None:
    """There is no connection."""
    try:
        await open_connection(f"{url}/nothing")
    except HandshakeFailed as refused:
        assert refused.status == 404
    else:
        raise AssertionError("the server let it in")


async def by_events(url: str) -> None:
    """By the browser's interface."""
    over = asyncio.get_running_loop().create_future()
    ws = WebSocket(url, compression=True)
    ws.onopen = lambda event: ws.send("hello")
    ws.onmessage = lambda event: ws.close()
    ws.onclose = over.set_result
    await over


async def by_coming_back(url: str) -> None:
    """By the client for programs."""
    async with connect(url) as client:
        await client.send("hello")
        assert await client.receive() == "hello"


WAYS = [closes, is_closed, aborts, is_refused, by_events, by_coming_back]


async def cycle(url: str) -> None:
    """A round of connections, some at a time."""
    numbers = iter(range(ROUND))

    async def work() -> None:
        for number in numbers:
            await asyncio.wait_for(WAYS[number % len(WAYS)](url), 20)

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))


def held() -> dict[str, int]:
    """What this process holds now."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what was freed goes back, rather than being counted as held
    pages = int(open("/proc/self/statm").read().split()[1])
    resident = pages * os.sysconf("SC_PAGE_SIZE")
    return {
        "tasks": len(asyncio.all_tasks()),
        "files": len(os.listdir("/proc/self/fd")),
        "objects": len(gc.get_objects()),
        "resident": resident,
    }


def held_by_server(url: str) -> dict[str, int]:
    """What the server says that it holds."""
    with urlopen(url.replace("ws", "http", 1).replace("/echo", "/held/"), timeout=20) as answer:
        told: dict[str, int] = json.load(answer)
        return told


async def main(url: str, rounds: str) -> None:
    """Tells after every round what this process holds, and what the server does."""
    for _ in range(int(rounds)):
        await cycle(url)
        print(json.dumps([held(), held_by_server(url)]), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
