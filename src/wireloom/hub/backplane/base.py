"""Publication, and the interface of what carries it between hubs.

Laws of every backplane:
- It carries publications to *other* hubs; a hub has delivered its own already and never gets them back.
- What one hub publishes to one topic arrives everywhere in that order.
- Losing its server raises nothing and stops nothing: it is `degraded` until it has come back by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

from wireloom.core.topic import Topic
from wireloom.hub.outbox import KeyedFrame
from wireloom.wire.frames import binary_frame, text_frame

__all__ = ["Backplane", "Publication", "Receive"]


class Publication:
    """One encoded payload addressed to a topic.

    Args:
        topic: whom it is for.
        payload: the bytes of the message.
        text: whether it is a text message.
        key: what it is the newest state of; a reader that is too slow may get only the newest of a key. Empty: none.
    """

    __slots__ = ("key", "payload", "text", "topic")

    def __init__(self, topic: Topic, payload: bytes, text: bool, key: str = "") -> None:
        self.topic = topic
        self.payload = payload
        self.text = text
        self.key = key

    def frame(self) -> bytes:
        """The publication framed for the wire; made once a process."""
        frame = text_frame(self.payload) if self.text else binary_frame(self.payload)
        if not self.key:
            return frame
        keyed = KeyedFrame(frame)
        keyed.key = (self.topic, self.key)
        return keyed


Receive: TypeAlias = Callable[[Publication], None]


class Backplane(Protocol):
    """Carries publications between hubs."""

    @property
    def degraded(self) -> bool:
        """Whether other hubs cannot be reached now."""

    @property
    def dropped(self) -> int:
        """Publications that other hubs did not get, because its server was away or too slow."""

    @property
    def reconnects(self) -> int:
        """How often its server was lost and has come back."""

    @property
    def waiting_bytes(self) -> int:
        """Bytes of publications that its server has not taken yet."""

    async def start(self, receive: Receive) -> None:
        """Connects; from now on calls `receive` in this event loop for every publication of other hubs.

        Raises:
            ConfigError: its server cannot be reached, or its URL is wrong.
        """

    async def stop(self) -> None:
        """Sends what still waits, for a second at most, and disconnects."""

    def publish(self, publication: Publication) -> None:
        """Takes a publication for every other hub that subscribes to its topic; returns at once, never raises."""

    async def drain(self) -> None:
        """Waits while too much waits to be sent; returns at once when there is room, or when `degraded`."""

    async def flush(self) -> None:
        """Waits until everything taken so far has reached its server; returns at once when `degraded`."""

    def subscribe(self, topic: Topic) -> None:
        """This hub has a first subscriber to a topic; returns at once."""

    def unsubscribe(self, topic: Topic) -> None:
        """This hub's last subscriber to a topic has gone; returns at once."""

    async def settle(self) -> None:
        """Waits until its server has acknowledged every subscription asked for so far."""
