"""What every backplane does. Redis and NATS join by one more entry of `BACKPLANES`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import pytest

from wireloom import EVERYONE
from wireloom.core.topic import Topic, channel, client, user
from wireloom.hub.backplane.base import Backplane, Publication
from wireloom.hub.backplane.memory import MemoryBackplane
from wireloom.wire.frames import binary_frame, text_frame

pytestmark = pytest.mark.anyio


@dataclass(frozen=True)
class Kind:
    """A backplane under test.

    Args:
        make: gives a new one; all that are made within one test reach each other where `spans`.
        spans: whether it reaches other processes' hubs.
    """

    make: Callable[[], Backplane]
    spans: bool


BACKPLANES = {"memory": Kind(MemoryBackplane, spans=False)}


@pytest.fixture(params=BACKPLANES)
def kind(request: pytest.FixtureRequest) -> Kind:
    return BACKPLANES[request.param]


class Hub:
    """A process's hub: notes what it is given."""

    def __init__(self, backplane: Backplane) -> None:
        self.backplane = backplane
        self.heard: list[tuple[str, bytes, bool]] = []
        self._more = asyncio.Event()

    def deliver(self, publication: Publication) -> None:
        assert type(publication.topic) is Topic
        assert type(publication.payload) is bytes
        self.heard.append((publication.topic, publication.payload, publication.text))
        self._more.set()

    async def wait_for(self, count: int) -> list[tuple[str, bytes, bool]]:
        """What was heard, as soon as it is so much."""
        async with asyncio.timeout(5):
            while len(self.heard) < count:
                self._more.clear()
                await self._more.wait()
        return self.heard

    async def publish(self, topic: Topic, payload: bytes, text: bool = True) -> None:
        await self.backplane.publish(Publication(topic, payload, text))


@asynccontextmanager
async def started(kind: Kind, *topics: Topic) -> AsyncIterator[Hub]:
    hub = Hub(kind.make())
    await hub.backplane.start(hub.deliver)
    for topic in topics:
        hub.backplane.subscribe(topic)
    try:
        yield hub
    finally:
        await hub.backplane.stop()


async def test_a_hub_gets_back_its_own_publication_unchanged(kind: Kind) -> None:
    topics = [EVERYONE, channel("news"), channel("a b:ü/*>.{}"), client("1:abc"), user("root")]
    async with started(kind, *topics) as hub:
        expected = []
        payloads = ((b"", True), ("ü".encode(), True), (bytes(range(256)), False), (b"x" * 300_000, False))
        for topic in topics:
            for payload, text in payloads:
                await hub.publish(topic, payload, text)
                expected.append((topic, payload, text))
        assert await hub.wait_for(len(expected)) == expected


async def test_publications_to_a_topic_keep_their_order(kind: Kind) -> None:
    async with started(kind, channel("news")) as hub:
        for number in range(500):
            await hub.publish(channel("news"), b"%d" % number)
        assert [payload for _, payload, _ in await hub.wait_for(500)] == [b"%d" % number for number in range(500)]


async def test_many_publishers_at_once_each_keep_their_order(kind: Kind) -> None:
    async with started(kind, channel("news")) as hub:

        async def publish(name: int) -> None:
            for number in range(50):
                await hub.publish(channel("news"), b"%d %d" % (name, number))

        await asyncio.gather(*map(publish, range(5)))
        heard = [tuple(map(int, payload.split())) for _, payload, _ in await hub.wait_for(250)]
        for name in range(5):
            assert [number for who, number in heard if who == name] == list(range(50))


async def test_nothing_is_delivered_after_the_stop_and_stopping_twice_is_harmless(kind: Kind) -> None:
    async with started(kind, EVERYONE) as hub:
        await hub.publish(EVERYONE, b"1")
        await hub.wait_for(1)
        await hub.backplane.stop()
        await hub.publish(EVERYONE, b"2")
        await asyncio.sleep(0.02)
        assert len(hub.heard) == 1


async def test_nothing_is_delivered_before_the_start(kind: Kind) -> None:
    hub = Hub(kind.make())
    await hub.publish(EVERYONE, b"early")
    await hub.backplane.start(hub.deliver)
    hub.backplane.subscribe(EVERYONE)
    await hub.publish(EVERYONE, b"in time")
    assert await hub.wait_for(1) == [(EVERYONE, b"in time", True)]
    await hub.backplane.stop()


async def test_it_starts_again_after_a_stop(kind: Kind) -> None:
    async with started(kind, EVERYONE) as hub:
        await hub.backplane.stop()
        await hub.backplane.start(hub.deliver)
        hub.backplane.subscribe(EVERYONE)
        await hub.publish(EVERYONE, b"again")
        assert await hub.wait_for(1) == [(EVERYONE, b"again", True)]


async def test_subscribing_and_unsubscribing_may_be_repeated(kind: Kind) -> None:
    async with started(kind, EVERYONE) as hub:
        for _ in range(3):
            hub.backplane.subscribe(channel("news"))
            hub.backplane.unsubscribe(channel("news"))
        hub.backplane.unsubscribe(channel("never subscribed"))
        hub.backplane.subscribe(channel("news"))
        await hub.publish(channel("news"), b"1")
        await hub.publish(EVERYONE, b"2")
        assert sorted(payload for _, payload, _ in await hub.wait_for(2)) == [b"1", b"2"]


async def test_what_a_delivery_raises_does_not_end_later_ones(kind: Kind) -> None:
    async with started(kind, EVERYONE) as hub:
        real, hub.deliver = hub.deliver, _failing  # type: ignore[method-assign]
        await hub.backplane.stop()
        await hub.backplane.start(hub.deliver)
        hub.backplane.subscribe(EVERYONE)
        try:
            await hub.publish(EVERYONE, b"1")
        except ZeroDivisionError:
            pass  # in memory the publisher's own call delivers
        await hub.backplane.stop()
        await hub.backplane.start(real)
        hub.backplane.subscribe(EVERYONE)
        await hub.publish(EVERYONE, b"2")
        assert (await hub.wait_for(1))[-1] == (EVERYONE, b"2", True)


def _failing(publication: Publication) -> None:
    raise ZeroDivisionError


async def test_hubs_hear_each_other_where_the_backplane_spans_processes(kind: Kind) -> None:
    async with AsyncExitStack() as stack:
        hubs = [await stack.enter_async_context(started(kind, channel("news"))) for _ in range(3)]
        for number, hub in enumerate(hubs):
            await hub.publish(channel("news"), b"%d" % number)
        for number, hub in enumerate(hubs):
            expected = {b"0", b"1", b"2"} if kind.spans else {b"%d" % number}
            assert {payload for _, payload, _ in await hub.wait_for(len(expected))} == expected


async def test_a_hub_does_not_hear_what_it_does_not_subscribe_to(kind: Kind) -> None:
    """A hint, not a promise: the memory backplane delivers everything, as there is one hub that looks anyway."""
    async with started(kind, channel("mine")) as hub:
        await hub.publish(channel("other"), b"other")
        await hub.publish(channel("mine"), b"mine")
        await hub.wait_for(1 if kind.spans else 2)
        assert hub.heard[-1] == (channel("mine"), b"mine", True)
        assert len(hub.heard) == (1 if kind.spans else 2)


def test_a_publication_frames_itself_by_its_kind() -> None:
    assert Publication(EVERYONE, b"x", True).frame() == text_frame(b"x")
    assert Publication(EVERYONE, b"x", False).frame() == binary_frame(b"x")
