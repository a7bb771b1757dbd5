"""Hub: this process's registry of connections by topic, and the only fan-out.

Laws:
- One publication is encoded once and framed once; every outbox gets the same bytes object.
- Delivery is in publication order per topic.
- What is not subscribed costs nothing: a topic exists while it has a subscriber.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, KeysView
from typing import Any

from wireloom.core.topic import EVERYONE, Topic, as_topic
from wireloom.hub.backplane.base import Backplane, Publication
from wireloom.hub.backplane.memory import MemoryBackplane
from wireloom.hub.connection import Connection, encode_payload
from wireloom.hub.outbox import Flusher, Outbox

__all__ = ["Hub"]

_UNFLUSHED_BYTES = 128 * 1024


class _Subscribers:
    """The connections that hear one topic."""

    __slots__ = ("_append", "dirty", "unflushed_bytes")

    def __init__(self) -> None:
        self._append: dict[Connection, Callable[[bytes], None]] = {}
        self.dirty = False  # some outboxes may have frames that the flusher is about to write
        self.unflushed_bytes = 0

    def __len__(self) -> int:
        return len(self._append)

    @property
    def connections(self) -> KeysView[Connection]:
        return self._append.keys()

    def add(self, connection: Connection) -> None:
        self._append[connection] = connection.outbox.frames.append

    def remove(self, connection: Connection, flusher: Flusher) -> None:
        self._append.pop(connection, None)
        outbox = connection.outbox
        if self.dirty and outbox.frames and not outbox.marked:
            # what was published before it left still goes out; the topic's turn would no longer find it
            outbox.marked = True
            flusher.add(outbox)

    def append(self, frame: bytes, flusher: Flusher) -> None:
        """The same bytes object into every outbox. One list append a subscriber: this is the hottest loop there is."""
        for append in self._append.values():
            append(frame)
        if not self.dirty:
            self.dirty = True
            self.unflushed_bytes = 0
            flusher.add_group(self)
        self.unflushed_bytes += len(frame)
        if self.unflushed_bytes > _UNFLUSHED_BYTES:
            self.unflushed_bytes = 0
            for outbox in list(self.outboxes()):
                outbox.flush()

    def outboxes(self) -> Iterable[Outbox]:
        return [connection.outbox for connection in self._append]


class Hub:
    """Reaches every connection of every process: ``await hub.publish("news", data)``.

    Args:
        backplane: carries publications between processes; by default there is one process.
    """

    def __init__(self, backplane: Backplane | None = None) -> None:
        self._backplane = backplane or MemoryBackplane()
        self._topics: dict[Topic, _Subscribers] = {}
        self._clients: dict[str, Connection] = {}
        self._flusher: Flusher | None = None
        self.publications = 0

    def bind(self, loop: asyncio.AbstractEventLoop) -> None:
        """Names the event loop of all connections to come."""
        self._flusher = Flusher(loop)

    async def start(self) -> None:
        """Connects the backplane; called when the application starts."""
        self.bind(asyncio.get_running_loop())
        await self._backplane.start(self.deliver)

    async def stop(self) -> None:
        """Disconnects the backplane."""
        await self._backplane.stop()

    @property
    def flusher(self) -> Flusher:
        """Empties the outboxes of this hub's event loop.

        Raises:
            RuntimeError: the hub was not started.
        """
        if self._flusher is None:
            raise RuntimeError("the hub is not running; start the application first")
        return self._flusher

    async def publish(self, topic: str, data: Any) -> None:
        """Sends data to every subscriber of a topic, in every process.

        Args:
            topic: a channel's name, or a `Topic` such as `EVERYONE`.
            data: `str` goes out as text, bytes as binary, anything else as JSON; encoded once.
        """
        payload, text = encode_payload(data)
        self.publications += 1
        await self._backplane.publish(Publication(as_topic(topic), payload, text))

    def deliver(self, publication: Publication) -> None:
        """Hands one publication to this process's subscribers."""
        topic = publication.topic
        if topic.startswith("client:"):
            connection = self._clients.get(topic.name)
            if connection is not None:
                connection.outbox.push(publication.frame())
            return
        subscribers = self._topics.get(topic)
        if subscribers is not None:
            subscribers.append(publication.frame(), self.flusher)

    def connections(self, topic: str = EVERYONE) -> list[Connection]:
        """This process's connections that hear a topic."""
        subscribers = self._topics.get(as_topic(topic))
        return list(subscribers.connections) if subscribers is not None else []

    def count(self, topic: str = EVERYONE) -> int:
        """How many connections of this process hear a topic."""
        subscribers = self._topics.get(as_topic(topic))
        return len(subscribers) if subscribers is not None else 0

    def register(self, connection: Connection) -> None:
        """Takes in a connection that has just opened."""
        self.subscribe(connection, EVERYONE)

    def unregister(self, connection: Connection) -> None:
        """Forgets a connection everywhere."""
        for topic in connection.topics:
            self.unsubscribe(connection, topic)
        self.unsubscribe(connection, EVERYONE)
        if self._clients and connection.has_client_id:
            self._clients.pop(connection.client_id, None)

    def subscribe(self, connection: Connection, topic: Topic) -> None:
        """Adds a connection to a topic; called by `Connection.join`."""
        subscribers = self._topics.get(topic)
        if subscribers is None:
            subscribers = self._topics[topic] = _Subscribers()
            self._backplane.subscribe(topic)
        subscribers.add(connection)

    def unsubscribe(self, connection: Connection, topic: Topic) -> None:
        """Takes a connection off a topic; called by `Connection.leave`."""
        subscribers = self._topics.get(topic)
        if subscribers is not None:
            subscribers.remove(connection, self.flusher)
            if not len(subscribers):
                del self._topics[topic]
                self._backplane.unsubscribe(topic)

    def identify(self, connection: Connection, client_id: str) -> None:
        """Makes a connection reachable by `client(client_id)`."""
        self._clients[client_id] = connection
