"""A transport that notes what is written, and connections over it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, NamedTuple

from wireloom.config import Limits
from wireloom.hub.connection import Connection
from wireloom.hub.hub import Hub
from wireloom.hub.outbox import Flusher, Outbox, OutboxRules


class Sink:
    """A transport; `held` is what it says waits in it."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.held = 0

    @property
    def data(self) -> bytes:
        return b"".join(self.writes)

    @property
    def size(self) -> int:
        return sum(map(len, self.writes))

    def write(self, data: bytes) -> None:
        self.writes.append(data)

    def get_write_buffer_size(self) -> int:
        return self.held


class Link:
    """The transport's side of a connection that is only in memory."""

    client = ("127.0.0.1", 1)
    subprotocol = None
    is_open = True

    def close(self, code: int, reason: str) -> None:
        self.is_open = False

    async def drain(self) -> None: ...


class Member(NamedTuple):
    """A connection with everything around it."""

    connection: Connection
    sink: Sink
    outbox: Outbox
    link: Link


def member(hub: Hub, flusher: Flusher | None = None, rules: OutboxRules | None = None) -> Member:
    """A registered connection."""
    sink, link, head = Sink(), Link(), None
    rules = rules or OutboxRules(1 << 20, "close")
    outbox = Outbox(sink, flusher or hub.flusher, rules, lambda: None)
    endpoint: Any = SimpleNamespace(limits=Limits())
    connection = Connection(endpoint, head, link, hub, outbox)
    hub.register(connection)
    return Member(connection, sink, outbox, link)
