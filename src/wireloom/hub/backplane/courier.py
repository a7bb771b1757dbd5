"""Courier: the backplane of a server, whatever its protocol, over a small link that each protocol supplies.

Laws:
- The queue is bounded in bytes. What does not fit, or waits when the server is lost, is dropped and counted:
  there is one delivery at most, never a second, and none to whom the server did not know then.
- What a Courier subscribes to is known here; a new link is told all of it before the backplane stops being degraded.
- No log holds a payload or a password, and an outage is logged once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import re
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from itertools import islice
from typing import Any, TypeAlias
from urllib.parse import unquote, urlsplit

from wireloom.core.topic import CONTROL, Topic
from wireloom.errors import ConfigError
from wireloom.hub.backplane.base import Publication, Receive
from wireloom.hub.backplane.envelope import VERSION, EnvelopeReader, encode_envelope, new_origin

__all__ = [
    "ANSWER_SECONDS",
    "CLOSE_SECONDS",
    "CONNECT_SECONDS",
    "HEARTBEAT_SECONDS",
    "Arrive",
    "Courier",
    "Link",
    "mask_url",
]

QUEUE_BYTES = 16 * 1024 * 1024
ROOM_BYTES = 4 * 1024 * 1024  # below this, publishers that waited go on
BATCH_BYTES = 1024 * 1024
BATCH_ENVELOPES = 1000
BATCH_NAMES = 500
CONNECT_SECONDS = 4.0
ANSWER_SECONDS = 5.0
HEARTBEAT_SECONDS = 4.0
PART_SECONDS = 30.0  # a large publication's parts wait so long for the rest
STOP_SECONDS = 1.0
CLOSE_SECONDS = 0.5
BACKOFF_SECONDS = (0.05, 2.0)
STEADY_SECONDS = 5.0  # a link that has lasted less belongs to the outage before it

_logger = logging.getLogger(__name__)


def mask_url(url: str) -> str:
    """A URL that may be shown: without passwords and tokens."""
    scheme, mark, rest = url.partition("://")
    before, at, after = rest.rpartition("@")
    user, colon, _ = before.partition(":")
    shown = f"{scheme}{mark}{user + ':' if colon else ''}***@{after}" if at else url
    return re.sub(r"([?&][^=&]*(?:pass|token|secret|user)[^=&]*)=[^&]*", r"\1=***", shown, flags=re.I)


def _explain(error: BaseException | None, url: str) -> str:
    """What went wrong, without the URL's secrets, which libraries may repeat."""
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    with contextlib.suppress(ValueError):
        parts = urlsplit(url)
        for secret in (parts.password, parts.username if parts.password is None else None):
            for spelling in (secret, unquote(secret or "")):
                text = text.replace(spelling, "***") if spelling else text
    return text.replace(url, mask_url(url))


Arrive: TypeAlias = Callable[[str, bytes], None]


class Link(ABC):
    """One living connection to a server. Every method but `abort` raises when it has ended."""

    @abstractmethod
    async def send(self, batch: list[tuple[str, bytes]]) -> int:
        """Sends envelopes to names, in order; returns how many the server has refused, once it has taken the others."""

    @abstractmethod
    async def change(self, joined: list[str], left: list[str]) -> None:
        """Subscribes and unsubscribes names; returns once the server has acknowledged it."""

    @abstractmethod
    async def check(self) -> None:
        """Asks the server for a sign of life."""

    @abstractmethod
    async def lost(self) -> None:
        """Raises when the connection has ended; does not return before."""

    @abstractmethod
    async def abort(self) -> None:
        """Ends the connection at once, raises nothing."""


class Courier(ABC):
    """The backplane of a server, whatever its protocol: queue, subscriptions, outages.

    Args:
        url: where the server is.
        prefix: put before every topic's name; applications that share a server have different ones.
    """

    def __init__(self, url: str, prefix: str) -> None:
        self.url = url
        self.shown_url = mask_url(url)
        self.prefix = prefix
        self.dropped = self.reconnects = 0
        self._running = False
        self._receive: Receive = lambda publication: None
        self._reader = EnvelopeReader(b"")
        self._origin = b""
        self._link: Link | None = None  # while it is of use
        self._first_link: Link | None = None  # until the task has it
        self._task: asyncio.Task[None] | None = None
        self._queue: deque[tuple[str, bytes]] = deque()
        self._waiting_bytes = 0
        self._published = 0  # publications that were put in the queue so far
        self._sent = 0  # and those that have left it
        self._overflow_logged = False
        self._ignored_logged = False
        self._topics: dict[str, Topic] = {}
        self._changed: dict[str, None] = {}
        self._in_force: set[str] = set()
        self._asked = 0
        self._acknowledged = 0
        self._make_events()

    def _make_events(self) -> None:
        self._more = asyncio.Event()  # something waits to be sent
        self._changes = asyncio.Event()  # some subscriptions are to be changed
        self._room = asyncio.Event()  # little waits, or nothing can be sent
        self._progress = asyncio.Event()  # replaced whenever subscriptions were acknowledged

    @abstractmethod
    async def connect(self, arrive: Arrive) -> Link:
        """A new link; it calls `arrive` with the name and the bytes of every message. Raises what its library raises,
        or a ConfigError for a URL that can never work.
        """

    @abstractmethod
    def name_of(self, topic: Topic) -> str:
        """What a topic is called on the server."""

    # -- the interface of a backplane --------------------------------------------------------------------------------

    @property
    def degraded(self) -> bool:
        """Whether other hubs cannot be reached now."""
        return self._running and self._link is None

    @property
    def waiting_bytes(self) -> int:
        """Bytes of publications that the server has not taken yet."""
        return self._waiting_bytes

    @property
    def ignored(self) -> int:
        """Messages that were no envelopes of this version."""
        return self._reader.ignored

    async def start(self, receive: Receive) -> None:
        """Connects; from now on calls `receive` for every publication of other hubs.

        Raises:
            ConfigError: the server cannot be reached, or the URL is wrong.
        """
        self._receive = receive
        self._origin = new_origin()
        self._reader = EnvelopeReader(self._origin)
        self._make_events()
        try:
            link = await self._open_link()
        except ConfigError:
            raise
        except Exception as error:
            reason = _explain(error, self.url)
            raise ConfigError(
                f"the backplane {self.shown_url} cannot be used ({reason}); start its server, or correct the URL"
            ) from None
        self._running = True
        self._first_link = link
        self._task = asyncio.get_running_loop().create_task(self._keep(link), name=f"backplane {self.shown_url}")

    async def stop(self) -> None:
        """Sends what still waits, for a second at most, and disconnects."""
        if self._task is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await self.flush()
        self._running = False
        task, self._task = self._task, None
        await _end([task])
        if self._first_link is not None:  # the task never began
            await self._first_link.abort()
        self._lose()
        self._topics.clear()

    def publish(self, publication: Publication) -> None:
        """Takes a publication for every other hub that subscribes to its topic; returns at once, never raises."""
        if not self._running:
            return
        if self._link is None:
            self.dropped += 1
            return
        envelope = encode_envelope(publication, self._origin)
        full = self._waiting_bytes and self._waiting_bytes + len(envelope) > QUEUE_BYTES
        if full and publication.topic != CONTROL:  # revocations are few, small, and always taken
            self.dropped += 1
            self._warn_of_overflow()
            return
        self._queue.append((self.name_of(publication.topic), envelope))
        self._waiting_bytes += len(envelope)
        self._published += 1
        self._more.set()
        if self._waiting_bytes > ROOM_BYTES:
            self._room.clear()

    def _warn_of_overflow(self) -> None:
        if not self._overflow_logged:
            self._overflow_logged = True
            _logger.warning("backplane %s is too slow: the queue is full, publications are dropped", self.shown_url)

    async def drain(self) -> None:
        """Waits while too much waits to be sent; returns at once when there is room, or when `degraded`."""
        if self._waiting_bytes > ROOM_BYTES and self._link is not None:
            await self._room.wait()

    async def flush(self) -> None:
        """Waits until the server has taken everything published so far; returns at once when `degraded`."""
        published = self._published
        while self._link is not None and self._sent < published:
            await self._progress.wait()

    def subscribe(self, topic: Topic) -> None:
        """This hub has a first subscriber to a topic; returns at once."""
        name = self.name_of(topic)
        self._topics[name] = topic
        self._change(name)

    def unsubscribe(self, topic: Topic) -> None:
        """This hub's last subscriber to a topic has gone; returns at once."""
        name = self.name_of(topic)
        if self._topics.pop(name, None) is not None:
            self._change(name)

    def _change(self, name: str) -> None:
        self._changed[name] = None
        self._asked += 1
        self._changes.set()

    async def settle(self) -> None:
        """Waits until the server has acknowledged every subscription asked for so far."""
        asked = self._asked
        while self._running and (self._link is None or self._acknowledged < asked):
            await self._progress.wait()

    # -- one link after the other ------------------------------------------------------------------------------------

    async def _open_link(self) -> Link:
        """A new link that is subscribed to everything and in use."""
        async with asyncio.timeout(CONNECT_SECONDS):
            link = await self.connect(self._arrive)
        try:
            await self._take_up(link)
        except BaseException:
            await link.abort()
            raise
        return link

    async def _keep(self, link: Link) -> None:
        """Uses a link as long as it lasts, then the next."""
        self._first_link = None
        ceiling = 0.0
        while True:
            error: BaseException | None = None
            since = time.monotonic()
            try:
                await self._use(link)
            except Exception as failure:
                error = failure
            finally:
                self._lose()
                await link.abort()
            steady = not ceiling or time.monotonic() - since >= STEADY_SECONDS
            _logger.log(
                logging.WARNING if steady else logging.DEBUG,
                "backplane %s is lost (%s); publications stay in this process until it is back",
                *(self.shown_url, _explain(error, self.url)),
            )
            link, ceiling = await self._reconnect(BACKOFF_SECONDS[0] if steady else ceiling)
            self.reconnects += 1
            _logger.info("backplane %s is back; %d publications dropped so far", self.shown_url, self.dropped)

    async def _take_up(self, link: Link) -> None:
        """Subscribes to everything on a new link."""
        asked, names = self._asked, list(self._topics)
        self._changed.clear()
        self._in_force = set(names)
        for start in range(0, len(names), BATCH_NAMES):
            await link.change(names[start : start + BATCH_NAMES], [])
        self._link = link
        self._acknowledge(asked)

    async def _use(self, link: Link) -> None:
        """Never returns; raises when the link has ended."""
        work: list[Coroutine[Any, Any, None]] = [
            link.lost(),
            self._write(link),
            self._subscribe(link),
            self._watch(link),
        ]
        tasks = [asyncio.get_running_loop().create_task(each) for each in work]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            self._link = None
            await _end(tasks)

    def _lose(self) -> None:
        """What waits is lost with the link."""
        self._link = None
        self.dropped += len(self._queue)
        self._sent += len(self._queue)
        self._queue.clear()
        self._waiting_bytes = 0
        self._in_force.clear()
        self._acknowledged = -1
        self._reader.forget_parts()
        self._room.set()
        self._tell()

    async def _reconnect(self, ceiling: float) -> tuple[Link, float]:
        """The next link, by exponential backoff with full jitter, and the longest wait before a further one."""
        while True:
            await asyncio.sleep(random.uniform(0, ceiling))
            ceiling = min(ceiling * 2, BACKOFF_SECONDS[1])
            try:
                return await self._open_link(), ceiling
            except Exception as error:
                _logger.debug("backplane %s: %s", self.shown_url, _explain(error, self.url))

    # -- what is done on a link: as long as it is in use, since a library may swallow a cancellation -----------------

    async def _write(self, link: Link) -> None:
        while self._link is link:
            await self._more.wait()
            while self._queue and self._link is link:
                batch, size = self._next_batch()
                refused = await link.send(batch)
                self.dropped += refused  # not in one line: more may be dropped in the meantime
                for _ in batch:
                    self._queue.popleft()
                self._waiting_bytes -= size
                self._sent += len(batch)
                self._tell()
                if self._waiting_bytes <= ROOM_BYTES:
                    self._room.set()
            self._overflow_logged = False
            self._more.clear()

    def _next_batch(self) -> tuple[list[tuple[str, bytes]], int]:
        """The first of the queue, which stay in it until they are sent, and their size."""
        batch: list[tuple[str, bytes]] = []
        size = 0
        for item in islice(self._queue, BATCH_ENVELOPES):
            if batch and size + len(item[1]) > BATCH_BYTES:
                break
            batch.append(item)
            size += len(item[1])
        return batch, size

    async def _subscribe(self, link: Link) -> None:
        while self._link is link:
            await self._changes.wait()
            self._changes.clear()
            asked = self._asked
            while self._changed and self._link is link:
                joined, left = self._next_changes()
                if joined or left:
                    await link.change(joined, left)
            self._acknowledge(asked)

    def _next_changes(self) -> tuple[list[str], list[str]]:
        """Names that are wanted and not in force, and the other way round."""
        names = list(islice(self._changed, BATCH_NAMES))
        joined = [name for name in names if name in self._topics and name not in self._in_force]
        left = [name for name in names if name not in self._topics and name in self._in_force]
        self._in_force.update(joined)
        self._in_force.difference_update(left)
        for name in names:
            del self._changed[name]
        return joined, left

    def _acknowledge(self, asked: int) -> None:
        self._acknowledged = max(self._acknowledged, asked)
        self._tell()

    def _tell(self) -> None:
        """Wakes those who wait for anything to have got on."""
        self._progress.set()
        self._progress = asyncio.Event()

    async def _watch(self, link: Link) -> None:
        while self._link is link:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            self._reader.forget_parts(PART_SECONDS)
            await link.check()

    def _arrive(self, name: str, data: bytes) -> None:
        """A message of the server; raises nothing."""
        topic = self._topics.get(name)
        if topic is None:
            return
        ignored = self._reader.ignored
        publication = self._reader.read(topic, data)
        if publication is not None:
            try:
                self._receive(publication)
            except Exception:
                _logger.exception("a publication of another process could not be delivered")
        elif self._reader.ignored > ignored and not self._ignored_logged:
            self._ignored_logged = True
            _logger.warning(
                "backplane %s: ignored a message that is no envelope of version %d; others will not be logged",
                self.shown_url,
                VERSION,
            )


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    """Cancels tasks until they have ended: a library may swallow a cancellation."""
    for _ in _attempts(tasks):
        await asyncio.wait(tasks, timeout=CLOSE_SECONDS)
    for task in tasks:
        if task.done() and not task.cancelled():
            task.exception()  # it has been looked at


def _attempts(tasks: list[asyncio.Task[None]], most: int = 4) -> Iterator[None]:
    for _ in range(most):
        open_tasks = [task for task in tasks if not task.done()]
        if not open_tasks:
            return
        for task in open_tasks:
            task.cancel()
        yield
