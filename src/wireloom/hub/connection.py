"""Connection: the server's end of one open WebSocket, whichever transport carries it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable
from typing import Any, Protocol

from starlette.datastructures import Headers, QueryParams

from wireloom.core.caller import Head
from wireloom.core.plain import encode_plain
from wireloom.core.topic import PUBLIC_ROOT_ID, Topic, channel
from wireloom.core.topic import user as user_topic
from wireloom.errors import RequestError
from wireloom.hub.outbox import Outbox
from wireloom.wire.frames import binary_frame, text_frame

__all__ = ["Connection", "Link", "Registry", "encode_payload"]


class Link(Protocol):
    """The transport's side of a connection, as the connection sees it."""

    @property
    def client(self) -> tuple[str, int] | None:
        """The peer's address and port."""

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that was agreed on."""

    @property
    def is_open(self) -> bool:
        """Whether messages can be sent."""

    @property
    def is_closed(self) -> bool:
        """Whether the transport is gone."""

    @property
    def close_code(self) -> int | None:
        """The close code, as soon as there is one."""

    @property
    def close_reason(self) -> str:
        """The reason that came with it."""

    @property
    def cancelled(self) -> bool:
        """Whether its handlers were told to end at once."""

    def close(self, code: int, reason: str) -> None:
        """Starts the closing handshake."""

    async def drain(self) -> None:
        """Waits until the peer has read enough for more to be sent."""


class Registry(Protocol):
    """Who remembers which connection hears which topic."""

    def subscribe(self, connection: Connection, topic: Topic) -> None:
        """Adds a connection to a topic."""

    def unsubscribe(self, connection: Connection, topic: Topic) -> None:
        """Takes a connection off a topic."""

    def identify(self, connection: Connection, client_id: str) -> None:
        """Makes a connection reachable under its client id."""

    def change_user(self, connection: Connection, user: Any) -> None:
        """Counts a connection as another user's."""


def encode_payload(data: Any) -> tuple[bytes, bool]:
    """Bytes for the wire and whether they are text: `str` as it is, bytes as binary, anything else as JSON."""
    if isinstance(data, str):
        return data.encode(), True
    if isinstance(data, (bytes, bytearray, memoryview)):
        return bytes(data), False
    return encode_plain(data), True


class Connection:
    """One open WebSocket. Everything here returns at once; nothing is awaited but `drain`.

    Attributes:
        endpoint: the endpoint that handles its messages.
        head: the head of the upgrade request.
        path_params: the path's parameters, converted as the handler declares them.
        query_params: the declared query parameters, converted.
        user: who is connected; None is the public.
        outbox: the queue of frames on their way to the peer.
        allowance: how many messages it may still send now; None before the first that is counted.
    """

    __slots__ = (
        "_client_id",
        "_link",
        "_registry",
        "_state",
        "_topics",
        "allowance",
        "endpoint",
        "head",
        "outbox",
        "path_params",
        "query_params",
        "user",
    )

    def __init__(self, endpoint: Any, head: Head, link: Link, registry: Registry, outbox: Outbox) -> None:
        self.endpoint = endpoint
        self.head = head
        self.path_params: dict[str, Any] = {}
        self.query_params: dict[str, Any] = {}
        self.user: Any = None
        self.outbox = outbox
        self.allowance: Any = None
        self._link = link
        self._registry = registry
        self._client_id: str | None = None
        self._state: dict[str, Any] | None = None
        self._topics: set[Topic] | None = None

    def __repr__(self) -> str:
        return f"<Connection {self.head.path} {'open' if self.is_open else 'closed'}>"

    @property
    def client_id(self) -> str:
        """An unguessable id: ``<unix seconds>:<32 hex digits>``. Made when first asked for."""
        if self._client_id is None:
            self._client_id = f"{int(time.time())}:{uuid.uuid4().hex}"
            if self.is_open:
                self._registry.identify(self, self._client_id)
        return self._client_id

    @property
    def has_client_id(self) -> bool:
        """Whether anyone has asked for the client id yet."""
        return self._client_id is not None

    @property
    def root_id(self) -> str:
        """The id of the user's root; that of the public where nobody is logged in."""
        root_id: str = getattr(self.user, "root_id", PUBLIC_ROOT_ID)
        return root_id

    @property
    def state(self) -> dict[str, Any]:
        """A dict of the application's own, as old as the connection."""
        if self._state is None:
            self._state = {}
        return self._state

    @property
    def headers(self) -> Headers:
        """The upgrade request's headers; names are case-insensitive."""
        return Headers(raw=self.head.headers)

    @property
    def query(self) -> QueryParams:
        """The upgrade request's query parameters as text."""
        return QueryParams(self.head.query_string)

    @property
    def client(self) -> tuple[str, int] | None:
        """The peer's address and port, as seen through trusted proxies."""
        return self._link.client

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that was agreed on."""
        return self._link.subprotocol

    @property
    def is_open(self) -> bool:
        """Whether messages can still be sent."""
        return self._link.is_open

    @property
    def is_closed(self) -> bool:
        """Whether the transport is gone. A connection that is neither open nor closed waits for the peer's close."""
        return self._link.is_closed

    @property
    def close_code(self) -> int | None:
        """The close code that ended it, whoever closed; None while it is open.

        1005: the peer's close had no code; 1006: there was no close (RFC 6455 §7.1.5).
        """
        return None if self.is_open else self._link.close_code or 1005

    @property
    def close_reason(self) -> str:
        """The reason that came with the close code, possibly empty."""
        return self._link.close_reason

    @property
    def cancelled(self) -> bool:
        """Whether its handlers were told to end at once: a stream that nobody reads, a server that stops."""
        return self._link.cancelled

    @property
    def channels(self) -> frozenset[str]:
        """The channels that it hears."""
        return frozenset(topic.name for topic in self._topics or () if topic.startswith("channel:"))

    @property
    def registry(self) -> Registry:
        """Who remembers what it hears."""
        return self._registry

    @property
    def topics(self) -> Iterable[Topic]:
        """All topics that it hears."""
        return tuple(self._topics or ())

    @property
    def backlog(self) -> int:
        """Bytes that wait for the peer to read."""
        return self.outbox.waiting_bytes

    def send(self, data: Any) -> None:
        """Sends one message: `str` as text, bytes as binary, anything else as JSON text. Dropped when closed."""
        if isinstance(data, str):
            self.outbox.push(text_frame(data.encode()))
        else:
            payload, text = encode_payload(data)
            self.outbox.push(text_frame(payload) if text else binary_frame(payload))

    def send_text(self, text: str) -> None:
        """Sends a text message."""
        self.outbox.push(text_frame(text.encode()))

    def send_bytes(self, data: bytes) -> None:
        """Sends a binary message."""
        self.outbox.push(binary_frame(bytes(data)))

    def send_encoded(self, payload: bytes) -> None:
        """Sends JSON that is already encoded, as text."""
        self.outbox.push(text_frame(payload))

    async def drain(self) -> None:
        """Waits until the peer has read enough for more to be sent; long streams await it between messages.

        Raises:
            ConnectionClosed: the connection has ended.
        """
        await self._link.drain()

    def join(self, name: str) -> None:
        """Hears a channel from now on.

        Raises:
            RequestError: ``TOO_MANY_CHANNELS``: it hears as many as it may (option ``max_channels``).
        """
        limit = self.endpoint.limits.max_channels
        if limit and len(self._topics or ()) >= limit and len(self.channels - {name}) >= limit:
            raise RequestError("TOO_MANY_CHANNELS", f"A connection hears at most {limit} channels")
        self._join(channel(name))

    def leave(self, name: str) -> None:
        """No longer hears a channel."""
        self._leave(channel(name))

    def hear(self, topic: Topic) -> None:
        """Hears any topic from now on; `join` is for channels."""
        self._join(topic)

    def stop_hearing(self, topic: Topic) -> None:
        """No longer hears any topic."""
        self._leave(topic)

    def change_user(self, user: Any) -> None:
        """Is another's connection from now on, reached by the topic of that user's root.

        Args:
            user: anyone with a `root_id`; None is the public, who are reached only where they join this way.

        Raises:
            RequestError: ``TOO_MANY_CONNECTIONS``: the user has as many as may be (option
                ``max_connections_per_user``); nothing has changed.
        """
        self._registry.change_user(self, user)
        for topic in self.topics:
            if topic.startswith("user:"):
                self._leave(topic)
        self.user = user
        root_id = getattr(user, "root_id", PUBLIC_ROOT_ID if user is None else None)
        if root_id is not None:
            self._join(user_topic(root_id))

    def _join(self, topic: Topic) -> None:
        if self._topics is None:
            self._topics = set()
        if self.is_open and topic not in self._topics:
            self._topics.add(topic)
            self._registry.subscribe(self, topic)

    def _leave(self, topic: Topic) -> None:
        if self._topics is not None and topic in self._topics:
            self._topics.discard(topic)
            self._registry.unsubscribe(self, topic)

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Starts the closing handshake; what was sent before still leaves.

        Args:
            code: a close code that may be sent (RFC 6455 §7.4).
            reason: at most 123 bytes of UTF-8; longer is cut.

        Raises:
            ValueError: a code that must not be sent.
        """
        self._link.close(code, reason)
