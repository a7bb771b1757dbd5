"""A process that counts: runs a walker over REST again and again, and prints each count that was answered.

``python -m tests.graph.counting URL TIMES`` waits for a line on stdin before it begins. TIMES 0: until it is killed.
"""

from __future__ import annotations

import asyncio
import sys

import httpx

from wireloom import App, Node, Root, Walker, entry, spec

__all__ = ["COUNT", "Count", "Counter", "Fail", "Peek", "make_app"]

COUNT = "/walker/Count"


class Counter(Node):
    count: int = 0


@spec(methods=["post"], public=True)
class Count(Walker):
    @entry(Root)
    async def add(self, here: Root) -> None:
        [counter] = await here.nodes(Counter) or [here.connect(Counter())]
        counter.count += 1
        self.report(counter.count)


@spec(methods=["post"], public=True)
class Peek(Walker):
    @entry(Root)
    async def look(self, here: Root) -> None:
        self.report([counter.count for counter in await here.nodes(Counter)])


@spec(methods=["post"], public=True)
class Fail(Walker):
    @entry(Root)
    async def break_off(self, here: Root) -> None:
        [counter] = await here.nodes(Counter) or [here.connect(Counter())]
        counter.count += 1000
        raise ValueError("a bug")


def make_app(url: str) -> App:
    """The application of every process."""
    return App([Count, Peek, Fail], database=url)


async def count(url: str, times: int) -> None:
    """Prints ``ready``; then every count that was answered; then how many runs were refused as conflicts."""
    app, conflicts, answered = make_app(url), 0, 0
    async with app.running(), httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://t") as client:
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        while not times or answered < times:
            reply = await client.post(COUNT, json={})
            if reply.status_code == 409:
                conflicts += 1
                continue
            assert reply.status_code == 200, reply.text
            answered += 1
            print(reply.json()["data"]["reports"][0], flush=True)
    print(f"conflicts {conflicts}", flush=True)


if __name__ == "__main__":
    asyncio.run(count(sys.argv[1], int(sys.argv[2])))
