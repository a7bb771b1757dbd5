"""Hub: this process's registry of connections by topic, and the only fan-out.

Laws:
- One publication is encoded once and framed once a process; every outbox gets the same bytes object. It is compressed
  once for all connections of equal parameters without takeover.
- It is delivered here first, then handed to the backplane for the other processes: without them, all goes on here.
- Delivery is in publication order per topic.
- What is not subscribed costs nothing: a topic exists while it has a subscriber.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

from wireloom.core.topic import CONTROL, EVERYONE, PUBLIC_ROOT_ID, Topic, as_topic, client
from wireloom.hub.backplane.base import Backplane, Publication
from wireloom.hub.backplane.memory import MemoryBackplane
from wireloom.hub.census import Census
from wireloom.hub.connection import Connection, encode_payload
from wireloom.hub.logins import Logins, encode_revocation
from wireloom.hub.outbox import Flusher, FrameDeflater, Outbox, deflate
from wireloom.metrics import Counts

__all__ = ["Hub"]

_UNFLUSHED_BYTES = 128 * 1024

_Appends: TypeAlias = dict[Connection, Callable[[bytes], None]]


class _Subscribers:
    """The connections that hear one topic: those whose frames leave as they are, and those of each deflater."""

    __slots__ = ("_append", "_deflated", "dirty", "unflushed_bytes")

    def __init__(self) -> None:
        self._append: _Appends = {}
        self._deflated: dict[FrameDeflater, _Appends] | None = None
        self.dirty = False  # some outboxes may have frames that the flusher is about to write
        self.unflushed_bytes = 0

    def __len__(self) -> int:
        return len(self._append) + sum(map(len, (self._deflated or {}).values()))

    def __bool__(self) -> bool:
        """Whether anyone is there; with takeover, counting them is a step for each."""
        return bool(self._append or self._deflated)

    @property
    def connections(self) -> list[Connection]:
        return [connection for appends in (self._append, *(self._deflated or {}).values()) for connection in appends]

    def add(self, connection: Connection) -> None:
        outbox = connection.outbox
        deflater = outbox.deflater
        if deflater is None:
            self._append[connection] = outbox.frames.append
        else:
            self._deflated = {} if self._deflated is None else self._deflated
            self._deflated.setdefault(deflater, {})[connection] = outbox.frames.append

    def remove(self, connection: Connection, flusher: Flusher) -> None:
        outbox = connection.outbox
        deflater = outbox.deflater
        if deflater is None:
            self._append.pop(connection, None)
        elif self._deflated is not None and deflater in self._deflated:
            self._deflated[deflater].pop(connection, None)
            if not self._deflated[deflater]:
                del self._deflated[deflater]
        if self.dirty and outbox.frames and not outbox.marked:
            # what was published before it left still goes out; the topic's turn would no longer find it
            outbox.marked = True
            flusher.add(outbox)

    def append(self, frame: bytes, flusher: Flusher) -> int:
        """The same bytes object into every outbox. One list append a subscriber: this is the hottest loop there is.

        Returns:
            How many subscribers there are.
        """
        count = len(self._append)
        for append in self._append.values():
            append(frame)
        if self._deflated:
            for deflater, appends in self._deflated.items():
                deflated = deflate(deflater, frame)
                count += len(appends)
                for append in appends.values():
                    append(deflated)
        if not self.dirty:
            self.dirty = True
            self.unflushed_bytes = 0
            flusher.add_group(self)
        self.unflushed_bytes += len(frame)
        if self.unflushed_bytes > _UNFLUSHED_BYTES:
            self.unflushed_bytes = 0
            for outbox in list(self.outboxes()):
                outbox.flush()
        return count

    def outboxes(self) -> Iterable[Outbox]:
        return [connection.outbox for connection in self.connections]


class Hub:
    """Reaches every connection of every process: ``await hub.publish("news", data)``.

    Args:
        backplane: carries publications to other processes; by default there is one process.

    Attributes:
        publications: that were published in this process.
        arrivals: publications of other processes.
        deliveries: of publications to this process's connections, one for each that got it.
        counts: of the application's endpoints.
    """

    def __init__(self, backplane: Backplane | None = None) -> None:
        self.backplane: Backplane = backplane or MemoryBackplane()
        self.logins = Logins()
        self.census = Census()
        self._topics: dict[Topic, _Subscribers] = {}
        self._clients: dict[str, Connection] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._flusher: Flusher | None = None
        self.publications = self.arrivals = self.deliveries = 0
        self.counts = Counts()

    def bind(self, loop: asyncio.AbstractEventLoop) -> None:
        """Names the event loop of all connections to come."""
        self._loop = loop
        self._flusher = Flusher(loop)

    async def start(self) -> None:
        """Connects the backplane; called when the application starts.

        Raises:
            ConfigError: the backplane cannot be reached.
        """
        self.bind(asyncio.get_running_loop())
        await self.backplane.start(self._arrive)
        self.backplane.subscribe(CONTROL)

    async def stop(self) -> None:
        """Disconnects the backplane."""
        self.logins.stop()
        await self.backplane.stop()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop of this hub's connections.

        Raises:
            RuntimeError: the hub was not started.
        """
        if self._loop is None:
            raise RuntimeError("the hub is not running; start the application first")
        return self._loop

    @property
    def flusher(self) -> Flusher:
        """Empties the outboxes of this hub's event loop.

        Raises:
            RuntimeError: the hub was not started.
        """
        if self._flusher is None:
            raise RuntimeError("the hub is not running; start the application first")
        return self._flusher

    @property
    def degraded(self) -> bool:
        """Whether publications do not reach other processes now."""
        return self.backplane.degraded

    # -- publishing --------------------------------------------------------------------------------------------------

    async def publish(self, topic: str, data: Any, *, key: str = "") -> None:
        """Sends data to every subscriber of a topic, in every process. Waits while the backplane has too much to send.

        Args:
            topic: a channel's name, or a `Topic` such as `EVERYONE`.
            data: `str` goes out as text, bytes as binary, anything else as JSON; encoded once.
            key: what this is the newest state of, for readers whose policy is to conflate.
        """
        self.publish_nowait(topic, data, key=key)
        await self.backplane.drain()

    def publish_nowait(self, topic: str, data: Any, *, key: str = "") -> None:
        """As `publish`, but returns at once. Only for the hub's own event loop; `wireloom.notify` is for any thread."""
        payload, text = encode_payload(data)
        self.send(Publication(as_topic(topic), payload, text, key))

    def publish_payload(self, topics: Sequence[Topic], payload: bytes) -> None:
        """Sends JSON that is already encoded to every subscriber of each topic, in every process; framed once."""
        frame = None
        for topic in topics:
            publication = Publication(topic, payload, True)
            frame = frame or publication.frame()
            self.send(publication, frame)

    def send(self, publication: Publication, frame: bytes | None = None) -> None:
        """Delivers a publication here and hands it to the backplane.

        Args:
            frame: the publication's, where the caller has it already.
        """
        self.publications += 1
        self.deliver(publication, frame)
        self.backplane.publish(publication)

    def _arrive(self, publication: Publication) -> None:
        """Takes a publication of another process."""
        self.arrivals += 1
        self.deliver(publication)

    def deliver(self, publication: Publication, frame: bytes | None = None) -> None:
        """Hands one publication to this process's subscribers. It is framed before anyone looks who they are, so that
        the time it takes does not tell whether there is one.
        """
        topic = publication.topic
        frame = frame or publication.frame()
        if topic.startswith("client:"):
            connection = self._clients.get(topic.name)
            if connection is not None:
                self.deliveries += 1
                connection.outbox.push(frame)
        elif topic is CONTROL or topic == CONTROL:
            self.logins.revoke(publication.payload)
        else:
            subscribers = self._topics.get(topic)
            if subscribers is not None:
                self.deliveries += subscribers.append(frame, self.flusher)

    @property
    def topics(self) -> int:
        """How many topics somebody hears in this process."""
        return len(self._topics)

    async def settle(self) -> None:
        """Waits until every subscription made so far is in force in every process."""
        await self.backplane.settle()

    def revoke(self, *, user_id: str = "", token_id: str = "") -> None:
        """Ends what logins allow on the connections of every process: all logins of a user, or those of one token."""
        self.publish_payload([CONTROL], encode_revocation(user_id, token_id))

    # -- looking -----------------------------------------------------------------------------------------------------

    def connections(self, topic: str = EVERYONE) -> list[Connection]:
        """This process's connections that hear a topic."""
        found = as_topic(topic)
        if found.startswith("client:"):
            connection = self._clients.get(found.name)
            return [] if connection is None else [connection]
        subscribers = self._topics.get(found)
        return subscribers.connections if subscribers is not None else []

    def count(self, topic: str = EVERYONE) -> int:
        """How many connections of this process hear a topic."""
        found = as_topic(topic)
        if found.startswith("client:"):
            return int(found.name in self._clients)
        subscribers = self._topics.get(found)
        return len(subscribers) if subscribers is not None else 0

    def users(self) -> list[str]:
        """Root ids of those who are logged in on a connection of this process."""
        return [topic.name for topic in self._topics if topic.startswith("user:") and topic.name != PUBLIC_ROOT_ID]

    # -- connections come and go -------------------------------------------------------------------------------------

    def register(self, connection: Connection, since: int | None = None) -> None:
        """Takes in a connection that has just opened, with the user whom its endpoint has let in.

        Args:
            since: `Logins.revocations` before its endpoint was asked.
        """
        self.subscribe(connection, EVERYONE)
        if connection.user is not None:
            connection.change_user(connection.user)
            self.logins.track(connection, _close_connection, since=since)
        if connection.has_client_id:
            self.identify(connection, connection.client_id)

    def unregister(self, connection: Connection) -> None:
        """Forgets a connection everywhere."""
        for topic in connection.topics:
            self.unsubscribe(connection, topic)
        self.unsubscribe(connection, EVERYONE)
        self.logins.forget(connection)
        if connection.has_client_id and connection.client_id in self._clients:
            del self._clients[connection.client_id]
            self.backplane.unsubscribe(client(connection.client_id))

    def subscribe(self, connection: Connection, topic: Topic) -> None:
        """Adds a connection to a topic; called by `Connection.join`."""
        subscribers = self._topics.get(topic)
        if subscribers is None:
            subscribers = self._topics[topic] = _Subscribers()
            self.backplane.subscribe(topic)
        subscribers.add(connection)

    def unsubscribe(self, connection: Connection, topic: Topic) -> None:
        """Takes a connection off a topic; called by `Connection.leave`."""
        subscribers = self._topics.get(topic)
        if subscribers is not None:
            subscribers.remove(connection, self.flusher)
            if not subscribers:
                del self._topics[topic]
                self.backplane.unsubscribe(topic)

    def change_user(self, connection: Connection, user: Any) -> None:
        """Counts a connection as another user's; called by `Connection.change_user`."""
        self.census.change_user(connection, user)

    def identify(self, connection: Connection, client_id: str) -> None:
        """Makes a connection reachable by `client(client_id)`."""
        self._clients[client_id] = connection
        self.backplane.subscribe(client(client_id))


def _close_connection(connection: Connection, reason: str) -> None:
    """What the end of a login does where the endpoint let only that user in."""
    connection.close(4401, reason)
