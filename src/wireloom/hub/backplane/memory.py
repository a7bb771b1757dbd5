"""The backplane of a single process: a function call."""

from __future__ import annotations

from wireloom.core.topic import Topic
from wireloom.hub.backplane.base import Deliver, Publication

__all__ = ["MemoryBackplane"]


class MemoryBackplane:
    """Delivers at once, in the publisher's own call."""

    def __init__(self) -> None:
        self._deliver: Deliver = _nobody

    async def start(self, deliver: Deliver) -> None:
        """Begins to deliver."""
        self._deliver = deliver

    async def stop(self) -> None:
        """Ends delivery."""
        self._deliver = _nobody

    async def publish(self, publication: Publication) -> None:
        """Delivers to this process's own hub."""
        self._deliver(publication)

    def subscribe(self, topic: Topic) -> None:
        """Nothing to do: every publication reaches the one hub."""

    def unsubscribe(self, topic: Topic) -> None:
        """Nothing to do."""


def _nobody(publication: Publication) -> None:
    """Where publications go before the start and after the stop."""
