"""The backplane of a Redis or Valkey server: its publish/subscribe.

Laws:
- At most once: who is not subscribed on the server when a publication arrives there never gets it. Nothing is stored.
- Two connections, ours alone: one sends, one listens. The library never reconnects by itself; a lost one ends both.
- A batch counts as sent when the server has answered every command of it.
- The server sends our own publications back; they are known by their origin and dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from wireloom.core.topic import Topic
from wireloom.errors import ConfigError
from wireloom.hub.backplane.courier import ANSWER_SECONDS, HEARTBEAT_SECONDS, Arrive, Courier, Link, mask_url

if TYPE_CHECKING:
    from redis.asyncio.connection import AbstractConnection

__all__ = ["RedisBackplane"]

_SAME_PROTOCOL = {"valkey": "redis", "valkeys": "rediss"}

_MESSAGES_PER_TURN = 100

_logger = logging.getLogger(__name__)


class RedisBackplane(Courier):
    """Carries publications by PUBLISH and SUBSCRIBE.

    Args:
        url: ``redis://``, ``rediss://`` (TLS), ``valkey://``, ``valkeys://`` or ``unix://``, as the redis
            package reads it.
        prefix: a topic is the server's channel ``<prefix>:<topic>``.
    """

    def name_of(self, topic: Topic) -> str:
        """The server's channel of a topic."""
        return f"{self.prefix}:{topic}"

    async def connect(self, arrive: Arrive) -> Link:
        """Two new connections."""
        sender = _make_connection(self.url, ANSWER_SECONDS)
        listener = _make_connection(self.url, ANSWER_SECONDS + HEARTBEAT_SECONDS)
        try:
            await sender.connect()  # type: ignore[no-untyped-call]
            await listener.connect()  # type: ignore[no-untyped-call]
        except BaseException:
            await _abort(sender, listener)
            raise
        return _RedisLink(sender, listener, arrive)


def _make_connection(url: str, read_seconds: float) -> AbstractConnection:
    """A connection, not yet open, that never retries and waits so long at most for anything to read."""
    from redis.asyncio.connection import Connection, parse_url
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    scheme, mark, rest = url.partition("://")
    try:
        options: dict[str, Any] = {
            **parse_url(_SAME_PROTOCOL.get(scheme, scheme) + mark + rest),
            "protocol": 2,
            "decode_responses": False,
            "encoding_errors": "surrogatepass",
            "health_check_interval": 0,
            "retry": Retry(NoBackoff(), 0),
            "socket_timeout": read_seconds,
            "socket_connect_timeout": ANSWER_SECONDS,
        }
        connection: AbstractConnection = options.pop("connection_class", Connection)(**options)
    except (ValueError, TypeError):
        # what they say may repeat a part of the password
        raise ConfigError(
            f"the backplane's URL {mask_url(url)} is wrong; write redis://user:password@host:6379/0"
        ) from None
    return connection


class _RedisLink(Link):
    """A connection that sends and one that listens."""

    def __init__(self, sender: AbstractConnection, listener: AbstractConnection, arrive: Arrive) -> None:
        self._sender = sender
        self._listener = listener
        self._arrive = arrive
        self._sending = asyncio.Lock()
        self._marks = itertools.count()
        self._answers: dict[bytes, asyncio.Future[None]] = {}
        self._refusal_logged = False
        self._reading = asyncio.get_running_loop().create_task(self._read())

    async def send(self, batch: list[tuple[str, bytes]]) -> int:
        """PUBLISH for each, in one write; returns how many the server has refused."""
        commands = [("PUBLISH", name.encode("utf-8", "surrogatepass"), envelope) for name, envelope in batch]
        return await self._ask(commands)

    async def check(self) -> None:
        """PING on both connections."""
        await self._ask([("PING",)])
        await self._settle()

    async def change(self, joined: list[str], left: list[str]) -> None:
        """SUBSCRIBE and UNSUBSCRIBE with all names at once, then PING: its answer comes after theirs."""
        for command, names in (("SUBSCRIBE", joined), ("UNSUBSCRIBE", left)):
            if names:
                await self._tell(command, *(name.encode("utf-8", "surrogatepass") for name in names))
        await self._settle()

    async def lost(self) -> None:
        """Raises what ended the listening."""
        await asyncio.shield(self._reading)

    async def abort(self) -> None:
        """Ends both connections."""
        self._reading.cancel()
        await asyncio.wait([self._reading])
        if not self._reading.cancelled():
            self._reading.exception()
        for answer in self._answers.values():
            answer.cancel()
        await _abort(self._sender, self._listener)

    async def _ask(self, commands: Sequence[tuple[str | bytes, ...]]) -> int:
        """Sends commands and reads their answers; returns how many were errors."""
        from redis.exceptions import ResponseError

        refused = 0
        async with self._sending:
            _require_open(self._sender)
            await self._sender.send_packed_command(self._sender.pack_commands(commands), check_health=False)
            for _ in commands:
                try:
                    await self._sender.read_response()
                except ResponseError as error:
                    refused += 1
                    self._log_refusal(error)
        return refused

    async def _settle(self) -> None:
        mark = b"%d" % next(self._marks)
        answer = self._answers[mark] = asyncio.get_running_loop().create_future()
        try:
            await self._tell("PING", mark)
            async with asyncio.timeout(ANSWER_SECONDS):
                await answer
        finally:
            del self._answers[mark]

    async def _tell(self, *command: str | bytes) -> None:
        """A command on the listening connection, whose answer `_read` gets."""
        _require_open(self._listener)
        packed = self._listener.pack_command(*command)
        await self._listener.send_packed_command(packed, check_health=False)

    async def _read(self) -> None:
        """Everything that the listening connection is sent, until it ends."""
        from redis.exceptions import ResponseError

        for count in itertools.count(1):
            if count % _MESSAGES_PER_TURN == 0:
                await asyncio.sleep(0)  # what has come already is read without ever waiting
            try:
                message = await self._listener.read_response()
            except ResponseError as error:
                self._log_refusal(error)
                continue
            if isinstance(message, bytes):
                self._answer(message)  # a PING's, while there is no subscription
            elif message[0] == b"message":
                self._arrive(message[1].decode("utf-8", "surrogatepass"), message[2])
            elif message[0] == b"pong":
                self._answer(message[1])

    def _answer(self, mark: bytes) -> None:
        answer = self._answers.get(mark)
        if answer is not None and not answer.done():
            answer.set_result(None)

    def _log_refusal(self, error: Exception) -> None:
        """Once a link: what the server forbids, it forbids always."""
        if not self._refusal_logged:
            self._refusal_logged = True
            _logger.warning("backplane: the Redis server refuses a command: %s", error)


def _require_open(connection: AbstractConnection) -> None:
    """The library would connect again, without the subscriptions and unseen."""
    if not connection.is_connected:
        raise ConnectionError("the connection to the Redis server has ended")


async def _abort(*connections: AbstractConnection) -> None:
    """Ends connections, also those to a server that no longer reads."""
    for connection in connections:
        writer = getattr(connection, "_writer", None)
        if writer is not None:
            writer.transport.abort()  # a mere close waits until all is written
        with contextlib.suppress(Exception):
            await connection.disconnect(nowait=True)
