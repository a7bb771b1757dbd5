"""Courier over a link that is as stubborn as libraries can be."""

from __future__ import annotations

import asyncio

import pytest

from wireloom.core.topic import Topic, channel
from wireloom.hub.backplane import courier
from wireloom.hub.backplane.base import Publication
from wireloom.hub.backplane.courier import Arrive, Courier, Link

pytestmark = pytest.mark.anyio


class StubbornLink(Link):
    """Swallows the first cancellation in each of its methods, as `asyncio.wait_for` does at times on Python 3.11."""

    def __init__(self) -> None:
        self.begun: dict[str, asyncio.Event] = {name: asyncio.Event() for name in ("send", "change", "check")}
        self.batches: list[list[tuple[str, bytes]]] = []
        self.joined: list[list[str]] = []

    async def _be_stubborn(self, name: str) -> None:
        if not self.begun[name].is_set():
            self.begun[name].set()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.Event().wait()
        else:
            await asyncio.Event().wait()

    async def send(self, batch: list[tuple[str, bytes]]) -> int:
        self.batches.append(batch)
        await self._be_stubborn("send")
        return 0

    async def change(self, joined: list[str], left: list[str]) -> None:
        self.joined.append(joined)
        await self._be_stubborn("change")

    async def check(self) -> None:
        await self._be_stubborn("check")

    async def lost(self) -> None:
        await asyncio.Event().wait()

    async def abort(self) -> None:
        pass


class StubbornCourier(Courier):
    """Over one stubborn link."""

    def __init__(self) -> None:
        super().__init__("stubborn://", "")
        self.link = StubbornLink()

    async def connect(self, arrive: Arrive) -> Link:
        return self.link

    def name_of(self, topic: Topic) -> str:
        return str(topic)


@pytest.mark.parametrize("waiting", [0, 1])
async def test_stopping_ends_all_work_on_a_link_that_swallows_cancellations(
    monkeypatch: pytest.MonkeyPatch, waiting: int
) -> None:
    monkeypatch.setattr(courier, "BATCH_ENVELOPES", 1)
    monkeypatch.setattr(courier, "BATCH_NAMES", 1)
    monkeypatch.setattr(courier, "HEARTBEAT_SECONDS", 0.001)
    monkeypatch.setattr(courier, "STOP_SECONDS", 0.0)
    before = asyncio.all_tasks()
    backplane = StubbornCourier()
    await backplane.start(lambda publication: None)
    for number in range(1 + waiting):
        publication = Publication(channel(f"news{number}"), b"x", text=False)
        backplane.subscribe(publication.topic)
        backplane.publish(publication)
    async with asyncio.timeout(5):
        for begun in backplane.link.begun.values():
            await begun.wait()
        await backplane.stop()
    assert asyncio.all_tasks() == before
    assert (len(backplane.link.batches), len(backplane.link.joined), backplane.dropped) == (1, 1, waiting)
