"""churn.py URL CYCLES: opens and closes connections in every way, and tells before and after what this process holds.

What it tells is JSON: tasks, file descriptors and resident bytes of this process.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys

from wireloom import HandshakeFailed, WebSocket, connect
from wireloom.clients.connection import open_connection

AT_ONCE = 50
WARM_UP = 2000


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


async def cycle(url: str, count: int) -> None:
    """So many connections, some at a time."""
    numbers = iter(range(count))

    async def work() -> None:
        for number in numbers:
            await asyncio.wait_for(WAYS[number % len(WAYS)](url), 20)

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))


def held() -> dict[str, int]:
    """What this process holds now."""
    gc.collect()
    pages = int(open("/proc/self/statm").read().split()[1])
    resident = pages * os.sysconf("SC_PAGE_SIZE")
    return {"tasks": len(asyncio.all_tasks()), "files": len(os.listdir("/proc/self/fd")), "resident": resident}


async def main(url: str, cycles: str) -> None:
    """Warms up, then tells, then goes through all cycles, then tells."""
    await cycle(url, WARM_UP)
    print("before:", json.dumps(held()), flush=True)
    await asyncio.to_thread(sys.stdin.readline)  # the server is looked at meanwhile
    await cycle(url, int(cycles))
    print("after:", json.dumps(held()), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
