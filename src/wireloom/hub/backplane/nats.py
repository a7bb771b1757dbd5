"""The backplane of a NATS server: its core publish/subscribe.

Laws:
- At most once: who is not subscribed on the server when a publication arrives there never gets it. Nothing is stored.
- The library never reconnects by itself; the Courier makes a new connection. The server keeps our own publications
  from us (`no_echo`).
- A batch counts as sent when the server has answered a PING that was written after it.
- What exceeds the server's `max_payload` goes in parts, one behind the other.
- A topic is one token of a subject: subjects have meaning in dots, blanks, ``*`` and ``>``, and are short.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import logging
import re
from typing import TYPE_CHECKING, Any

from wireloom.core.topic import Topic
from wireloom.errors import ConfigError
from wireloom.hub.backplane.courier import (
    ANSWER_SECONDS,
    CLOSE_SECONDS,
    CONNECT_SECONDS,
    Arrive,
    Courier,
    Link,
    mask_url,
)
from wireloom.hub.backplane.envelope import split_envelope

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

__all__ = ["NatsBackplane"]

_LONGEST_TOPIC_BYTES = 120
_NO_QUEUE: asyncio.Queue[Any] = asyncio.Queue()
_PREFIX = re.compile(r"[^\s.*>\x00-\x1f]+(\.[^\s.*>\x00-\x1f]+)*")

_logger = logging.getLogger(__name__)


class NatsBackplane(Courier):
    """Carries publications by PUB and SUB.

    Args:
        url: ``nats://`` or ``tls://``, as the nats-py package reads it.
        prefix: a topic is the subject ``<prefix>.<the topic in base64url>``, a long one ``<prefix>.=<its SHA-256>``.

    Raises:
        ConfigError: the prefix cannot begin a subject.
    """

    def __init__(self, url: str, prefix: str) -> None:
        super().__init__(url, prefix)
        if not _PREFIX.fullmatch(prefix):
            raise ConfigError(f"the backplane's prefix {prefix!r} cannot begin a NATS subject: no blanks, '*' or '>'")

    def name_of(self, topic: Topic) -> str:
        """The subject of a topic."""
        data = topic.encode("utf-8", "surrogatepass")
        mark = ""
        if len(data) > _LONGEST_TOPIC_BYTES:
            mark, data = "=", hashlib.sha256(data).digest()
        return f"{self.prefix}.{mark}{base64.urlsafe_b64encode(data).decode().rstrip('=')}"

    async def connect(self, arrive: Arrive) -> Link:
        """A new connection."""
        from nats.aio.client import Client

        client = Client()
        link = _NatsLink(client, arrive)
        try:
            await client.connect(
                self.url,
                error_cb=link.note,
                closed_cb=link.end,
                allow_reconnect=False,
                max_reconnect_attempts=1,  # 0 would be for ever, also the first time
                reconnect_time_wait=0,
                connect_timeout=int(CONNECT_SECONDS) - 1,
                ping_interval=60,  # the Courier asks more often
                no_echo=True,
                pending_size=0,  # nothing is written before the flusher's turn: the Courier bounds what waits
            )
            _require_tls(client, self.url)
        except ConfigError:
            await link.abort()
            raise
        except BaseException as error:
            await link.abort()
            if "connect url" in str(error):
                raise ConfigError(
                    f"the backplane's URL {mask_url(self.url)} is wrong; write nats://user:password@host:4222"
                ) from None
            raise (link.reason if link.reason and isinstance(error, Exception) else error) from None
        return link


def _require_tls(client: Client, url: str) -> None:
    """The library takes ``tls://`` for a hint; who writes it wants no other."""
    writer = getattr(getattr(client, "_transport", None), "_io_writer", None)
    if url.startswith("tls://") and writer is not None and writer.get_extra_info("ssl_object") is None:
        raise ConfigError(f"the NATS server {mask_url(url)} offers no TLS; configure it there, or write nats://")


class _Inbox:
    """What all subscriptions hand their messages to: the library knows no cheaper receiver than a future.

    It calls `cancelled` and `set_result` for every message of a subscription that was made with ``future=``. A callback
    would cost a task a subscription.
    """

    def __init__(self, arrive: Arrive) -> None:
        self._arrive = arrive

    def cancelled(self) -> bool:
        """It never is."""
        return False

    def set_result(self, message: Msg) -> None:
        """A message."""
        self._arrive(message.subject, message.data)


class _NatsLink(Link):
    """One connection of the library's, and what is subscribed on it."""

    def __init__(self, client: Client, arrive: Arrive) -> None:
        self._client = client
        self._inbox: Any = _Inbox(arrive)
        self._ended = asyncio.Event()
        self._commanding = asyncio.Lock()
        self._subscriptions: dict[str, Subscription] = {}
        self._number = 0
        self._refusal_logged = False
        self._flushes: set[asyncio.Task[None]] = set()
        self.reason: Exception | None = None

    async def note(self, error: Exception) -> None:
        """The library's errors; the last one is why the connection ends."""
        self.reason = error
        if "permissions violation" in str(error).lower() and not self._refusal_logged:
            self._refusal_logged = True
            _logger.warning("backplane: the NATS server refuses a command: %s", error)

    async def end(self) -> None:
        """The library has closed the connection."""
        self._ended.set()

    async def send(self, batch: list[tuple[str, bytes]]) -> int:
        """PUB for each, in one write."""
        async with self._commanding:
            for name, envelope in batch:
                self._number += 1
                for part in split_envelope(envelope, self._number, self._client.max_payload):
                    await self._client.publish(name, part)
            await self._acknowledge()
        return 0

    async def change(self, joined: list[str], left: list[str]) -> None:
        """SUB and UNSUB for each, in one write."""
        async with self._commanding:
            for name in left:
                subscription = self._subscriptions.pop(name, None)
                if subscription is not None:
                    await subscription.unsubscribe()
            for name in joined:
                subscription = await self._client.subscribe(name, future=self._inbox)
                subscription._pending_queue = _NO_QUEUE  # its own is never used, and most of what it weighs
                self._subscriptions[name] = subscription
            await self._acknowledge()

    async def check(self) -> None:
        """PING."""
        async with self._commanding:
            await self._acknowledge()

    async def lost(self) -> None:
        """Raises why the connection has ended."""
        await self._ended.wait()
        raise self.reason or ConnectionError("the NATS server has closed the connection")

    async def abort(self) -> None:
        """Ends the connection."""
        writer = getattr(getattr(self._client, "_transport", None), "_io_writer", None)
        if writer is not None:
            writer.transport.abort()  # a mere close waits until all is written
        with contextlib.suppress(Exception):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._client.close()
        for task in self._flushes:
            task.cancel()
        await asyncio.gather(*self._flushes, return_exceptions=True)

    async def _flush(self) -> None:
        """The library's flush. Cancelled halfway, the library would trip over the answer when it comes."""
        timeout: Any = ANSWER_SECONDS  # annotated as whole seconds there
        task = asyncio.create_task(self._client.flush(timeout))
        self._flushes.add(task)
        task.add_done_callback(self._flushed)
        await asyncio.shield(task)

    def _flushed(self, task: asyncio.Task[None]) -> None:
        self._flushes.discard(task)
        if not task.cancelled():
            task.exception()  # whoever still waits has got it

    async def _acknowledge(self) -> None:
        """Waits until the server has taken everything that was commanded so far.

        The library's `flush` writes its PING at once, before the commands that wait for the flusher: it tells something
        only when nothing waited.
        """
        await asyncio.sleep(0)
        written = False
        while not written:
            written = self._client.pending_data_size == 0
            await self._flush()
            if not self._client.is_connected:
                raise self.reason or ConnectionError("the connection to the NATS server has ended")
