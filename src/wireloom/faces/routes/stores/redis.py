"""RedisStore: the key-value store that is a Redis or Valkey server.

Laws:
- A command is sent once. Whether one was done whose answer did not come, nobody knows: it is never repeated.
- Nothing is asked of the server before the first command; one that is away is tried again by every further command.
- No failure holds a password.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from wireloom.errors import ConfigError
from wireloom.faces.routes.failure import Failure
from wireloom.faces.routes.stores.commands import not_whole, read_call, store_full, wrong_type
from wireloom.hub.backplane.courier import mask_url

if TYPE_CHECKING:
    from redis.asyncio.connection import ConnectionPool

__all__ = ["RedisStore"]

_SAME_PROTOCOL = {"valkey": "redis", "valkeys": "rediss"}
_CONNECT_SECONDS = 3.0
_ANSWER_SECONDS = 5.0
_MAX_CONNECTIONS = 32


class RedisStore:
    """Runs commands on a server.

    Args:
        url: ``redis://``, ``rediss://`` (TLS), ``valkey://``, ``valkeys://`` or ``unix://``, as the redis package
            reads it.

    Raises:
        ConfigError: the URL is wrong.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._pool = _make_pool(url)
        self._client = _make_client(self._pool)

    async def stop(self) -> None:
        """Ends all connections."""
        await self._pool.disconnect()

    async def run(self, command: str, arguments: Mapping[str, Any]) -> Any:
        """Runs a command (`KeyValueStore.run`)."""
        name, read = read_call(command, arguments)
        with self._failures(name):
            return await getattr(self, f"_{name.lower()}")(**read)

    # -- commands, by their names --------------------------------------------------------------------------------------

    async def _get(self, key: str) -> Any:
        return await self._client.get(key)

    async def _set(self, key: str, value: str, ttl: int | None = None) -> bool:
        return bool(await self._client.set(key, value, px=ttl))

    async def _del(self, key: str) -> Any:
        return await self._client.delete(key)

    async def _expire(self, key: str, ttl: int) -> bool:
        return bool(await self._client.pexpire(key, ttl))

    async def _incr(self, key: str) -> Any:
        return await self._client.incr(key)

    async def _decr(self, key: str) -> Any:
        return await self._client.decr(key)

    async def _exists(self, key: str) -> Any:
        return await self._client.exists(key)

    async def _hget(self, key: str, field: str) -> Any:
        return await self._client.hget(key, field)

    async def _hset(self, key: str, fields: dict[str, str]) -> Any:
        return await self._client.hset(key, mapping=fields)

    async def _hgetall(self, key: str) -> Any:
        return await self._client.hgetall(key)

    async def _lpush(self, key: str, items: list[str]) -> Any:
        return await self._client.lpush(key, *items)

    async def _lrange(self, key: str, start: int = 0, stop: int = -1) -> Any:
        return await self._client.lrange(key, start, stop)

    async def _sadd(self, key: str, items: list[str]) -> Any:
        return await self._client.sadd(key, *items)

    async def _smembers(self, key: str) -> list[str]:
        return sorted(await self._client.smembers(key))

    async def _publish(self, key: str, value: str) -> Any:
        return await self._client.publish(key, value)

    # -- what goes wrong -----------------------------------------------------------------------------------------------

    @contextmanager
    def _failures(self, command: str) -> Iterator[None]:
        from redis.exceptions import ConnectionError as Unreachable
        from redis.exceptions import RedisError
        from redis.exceptions import TimeoutError as NoAnswer

        try:
            yield
        except (Unreachable, NoAnswer, OSError) as error:
            where = f"cannot reach the key-value store {mask_url(self._url)}"
            raise Failure(f"{where}: {self._word(error)}", "UNAVAILABLE") from None
        except RedisError as error:
            raise self._refusal(command, error) from None

    def _refusal(self, command: str, error: Exception) -> Failure:
        word = self._word(error)
        if word.startswith("WRONGTYPE"):
            return wrong_type(command)
        if "not an integer" in word or "would overflow" in word:
            return not_whole(command)
        return store_full() if "'maxmemory'" in word else Failure(word, "REDIS_ERROR")

    def _word(self, error: BaseException) -> str:
        """What the library says, in a line, without the URL's password."""
        word = (str(error).strip() or type(error).__name__).splitlines()[0]
        password = urlsplit(self._url).password
        for secret in {password, unquote(password or "")} - {None, ""}:
            word = word.replace(str(secret), "***")
        return word


def _make_pool(url: str) -> ConnectionPool:
    """A pool of connections that never retry; none is open yet."""
    from redis.asyncio.connection import BlockingConnectionPool, parse_url
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    scheme, mark, rest = url.partition("://")
    try:
        options: dict[str, Any] = {
            **parse_url(_SAME_PROTOCOL.get(scheme, scheme) + mark + rest),
            "protocol": 2,
            "decode_responses": True,
            "encoding_errors": "replace",
            "retry": Retry(NoBackoff(), 0),
            "socket_timeout": _ANSWER_SECONDS,
            "socket_connect_timeout": _CONNECT_SECONDS,
        }
        return BlockingConnectionPool(max_connections=_MAX_CONNECTIONS, timeout=_ANSWER_SECONDS, **options)
    except (ValueError, TypeError):
        shown = mask_url(url)  # what they say may repeat a part of the password
        raise ConfigError(
            f"the key-value store's URL {shown} is wrong; write redis://user:password@host:6379/0"
        ) from None


def _make_client(pool: ConnectionPool) -> Any:
    from redis.asyncio import Redis

    return Redis(connection_pool=pool)
