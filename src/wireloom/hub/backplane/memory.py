"""The backplane of a single process: there is nobody else to carry anything to."""

from __future__ import annotations

from wireloom.core.topic import Topic
from wireloom.hub.backplane.base import Publication, Receive

__all__ = ["MemoryBackplane"]


class MemoryBackplane:
    """Carries nothing: the hub itself delivers what it publishes."""

    degraded = False
    dropped = reconnects = waiting_bytes = 0

    async def start(self, receive: Receive) -> None:
        """Nothing to connect to."""

    async def stop(self) -> None:
        """Nothing to disconnect from."""

    def publish(self, publication: Publication) -> None:
        """Nobody else is to get it."""

    async def drain(self) -> None:
        """Nothing waits."""

    async def flush(self) -> None:
        """Nothing waits."""

    def subscribe(self, topic: Topic) -> None:
        """Nobody else is to know."""

    def unsubscribe(self, topic: Topic) -> None:
        """Nobody else is to know."""

    async def settle(self) -> None:
        """Nothing is outstanding."""
