"""Places: servers of backplanes, and what stands for the processes over them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager

from tests.services import Service, nats_service, redis_service
from wireloom.core.topic import Topic, channel
from wireloom.hub.backplane.base import Backplane, Publication
from wireloom.hub.backplane.choose import make_backplane

SERVERS: dict[str, Callable[..., AbstractContextManager[Service]]] = {"redis": redis_service, "nats": nats_service}
PASSWORDS = {
    "redis": ["--requirepass", "pass-word-1"],
    "nats": ["--user", "wireloom", "--pass", "pass-word-1"],
}
SECONDS = 30
NEWS = channel("news")
MIB = 1024 * 1024

_prefixes = (f"test{number}" for number in itertools.count())


class Process:
    """Stands for a process: a backplane, and notes of what it is given."""

    def __init__(self, backplane: Backplane) -> None:
        self.backplane = backplane
        self.heard: list[Publication] = []
        self._more = asyncio.Event()

    def receive(self, publication: Publication) -> None:
        assert type(publication.topic) is Topic
        assert type(publication.payload) is bytes
        assert type(publication.text) is bool
        self.heard.append(publication)
        self._more.set()

    def publish(self, topic: Topic, payload: bytes, text: bool = True, key: str = "") -> None:
        self.backplane.publish(Publication(topic, payload, text, key))

    async def subscribe(self, *topics: Topic) -> None:
        for topic in topics:
            self.backplane.subscribe(topic)
        await asyncio.wait_for(self.backplane.settle(), SECONDS)

    async def wait_for(self, count: int) -> list[bytes]:
        """The payloads heard, as soon as there are so many."""
        async with asyncio.timeout(SECONDS):
            while len(self.heard) < count:
                self._more.clear()
                await self._more.wait()
        return [publication.payload for publication in self.heard]

    async def wait_until_heard(self, payload: bytes) -> list[bytes]:
        """The payloads heard, as soon as this one is the last of them."""
        async with asyncio.timeout(SECONDS):
            while not self.heard or self.heard[-1].payload != payload:
                self._more.clear()
                await self._more.wait()
        return [publication.payload for publication in self.heard]


class Place:
    """A server, and the processes over it that one test has started."""

    def __init__(self, name: str, url: str) -> None:
        self.name = name
        self.url = url
        self.prefix = next(_prefixes)
        self.stack = AsyncExitStack()

    def make(self) -> Backplane:
        return make_backplane(self.url, self.prefix)

    async def process(self, *topics: Topic) -> Process:
        process = Process(self.make())
        await process.backplane.start(process.receive)
        self.stack.push_async_callback(process.backplane.stop)
        await process.subscribe(*topics)
        return process


@asynccontextmanager
async def placed(name: str, url: str) -> AsyncIterator[Place]:
    """A place that leaves no task behind."""
    before = asyncio.all_tasks()
    place = Place(name, url)
    async with place.stack:
        yield place
    await no_tasks_but(before)


async def until(condition: Callable[[], bool]) -> None:
    """Waits for what nothing announces."""
    async with asyncio.timeout(SECONDS):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def no_tasks_but(before: set[asyncio.Task[object]]) -> None:
    left = {task for task in asyncio.all_tasks() - before if "TestRunner" not in repr(task)}  # anyio's own
    if left:  # those that were cancelled last have a turn to end
        await asyncio.wait(left, timeout=1)
    still = [task for task in left if not task.done()]
    assert not still, "\n".join(str(task.get_stack()) for task in still) + f"\n{still}"
