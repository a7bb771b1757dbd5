"""Publication, and the interface of what carries it between hubs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

from wireloom.core.topic import Topic
from wireloom.wire.frames import binary_frame, text_frame

__all__ = ["Backplane", "Deliver", "Publication"]


class Publication:
    """One encoded payload addressed to a topic.

    Args:
        topic: whom it is for.
        payload: the bytes of the message.
        text: whether it is a text message.
    """

    __slots__ = ("payload", "text", "topic")

    def __init__(self, topic: Topic, payload: bytes, text: bool) -> None:
        self.topic = topic
        self.payload = payload
        self.text = text

    def frame(self) -> bytes:
        """The publication framed for the wire; made once a process."""
        return text_frame(self.payload) if self.text else binary_frame(self.payload)


Deliver: TypeAlias = Callable[[Publication], None]


class Backplane(Protocol):
    """Carries publications between hubs; a hub gets back its own."""

    async def start(self, deliver: Deliver) -> None:
        """Connects, and calls `deliver` in the running event loop for every publication to a topic subscribed to."""

    async def stop(self) -> None:
        """Disconnects."""

    async def publish(self, publication: Publication) -> None:
        """Sends a publication to every hub that subscribes to its topic, in order per publisher and topic."""

    def subscribe(self, topic: Topic) -> None:
        """This hub has a first subscriber to a topic."""

    def unsubscribe(self, topic: Topic) -> None:
        """This hub's last subscriber to a topic has gone."""
