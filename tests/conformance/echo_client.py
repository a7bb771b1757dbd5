"""echo_client.py URL AGENT: runs all cases of Autobahn's fuzzing server with our client, which echoes every message."""

from __future__ import annotations

import asyncio
import sys

from wireloom.clients.connection import open_connection
from wireloom.errors import ConnectionClosed


async def main(url: str, agent: str) -> None:
    """Case after case; what each proved is in the server's report."""
    async with open_connection(f"{url}/getCaseCount") as connection:
        count = int(await connection.receive())
    for case in range(1, count + 1):
        async with open_connection(
            f"{url}/runCase?case={case}&agent={agent}", compression=True, max_size=None
        ) as connection:
            try:
                while True:
                    connection.send(await connection.receive())
            except ConnectionClosed:
                pass  # so a case ends
    print(f"{count} cases")


asyncio.run(main(*sys.argv[1:]))
