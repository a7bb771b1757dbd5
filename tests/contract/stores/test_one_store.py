"""What one key-value store of routes does by itself: bounds within the process, a server that is away, the choice."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream

from tests.services import Service, free_port, redis_service
from wireloom.errors import ConfigError
from wireloom.faces.routes.failure import Failure
from wireloom.faces.routes.stores import redis as redis_module
from wireloom.faces.routes.stores.choose import make_store
from wireloom.faces.routes.stores.commands import COMMANDS
from wireloom.faces.routes.stores.memory import MemoryStore
from wireloom.faces.routes.stores.redis import RedisStore

from .kit import PASSWORD, SECONDS, Place

pytestmark = pytest.mark.anyio

# -- the store within the process --------------------------------------------------------------------------------------


def clocked(**options: Any) -> tuple[MemoryStore, list[float]]:
    now = [0.0]
    return MemoryStore(clock=lambda: now[-1], **options), now


@pytest.mark.parametrize(
    ("command", "grow"),
    [
        ("SET", lambda number: {"key": f"k{number}", "value": "x" * 100}),
        ("HSET", lambda number: {"key": "k", "value": {f"{number}" + "x" * 100: ""}}),
        ("LPUSH", lambda number: {"key": "k", "value": ["x" * 100]}),
        ("SADD", lambda number: {"key": "k", "value": [f"{number}" + "x" * 100]}),
        ("INCR", lambda number: {"key": f"k{number}" + "x" * 100}),
    ],
)
async def test_the_store_is_bounded(command: str, grow: Callable[[int], dict[str, Any]]) -> None:
    store, _ = clocked(max_bytes=10_000)
    with pytest.raises(Failure) as caught:
        for number in range(101):
            before = store.used_bytes
            await store.run(command, grow(number))
            assert before + 100 <= store.used_bytes <= 10_000
    assert caught.value.code == "STORE_FULL" and number >= 20
    assert store.used_bytes == before
    assert await store.run("GET", {"key": "new"}) is None
    await store.run("DEL", {"key": grow(0)["key"]})
    await store.run(command, grow(number))


async def test_what_does_not_fit_changes_nothing() -> None:
    store, _ = clocked(max_bytes=2000)
    await store.run("SET", {"key": "k", "value": "old", "ttl_seconds": 5})
    await store.run("HSET", {"key": "h", "value": {"a": "old"}})
    for command, value in (("SET", "x" * 2000), ("HSET", {"a": "new", "b": "x" * 2000})):
        with pytest.raises(Failure, match="full"):
            await store.run(command, {"key": "k" if command == "SET" else "h", "value": value})
    with pytest.raises(Failure, match="full"):
        await store.run("SADD", {"key": "s", "value": "x" * 2000})
    assert await store.run("GET", {"key": "k"}) == "old"
    assert await store.run("HGETALL", {"key": "h"}) == {"a": "old"}
    assert await store.run("EXISTS", {"key": "s"}) == 0


async def test_what_is_replaced_or_removed_takes_no_room() -> None:
    store, _ = clocked(max_bytes=2000)
    for number in range(100):
        await store.run("SET", {"key": "k", "value": f"{number}" + "x" * 1000})
        await store.run("HSET", {"key": "h", "value": {"a": "y" * (number % 7)}})
    await store.run("SET", {"key": "k", "value": 9})
    for _ in range(100):
        await store.run("INCR", {"key": "k"})
    assert store.used_bytes < 1000
    for key in ("k", "h"):
        await store.run("DEL", {"key": key})
    assert store.used_bytes == 0


async def test_wide_characters_count_for_what_they_take() -> None:
    store, _ = clocked()
    await store.run("SET", {"key": "k", "value": "😀" * 1000})
    assert store.used_bytes >= 4000


async def test_the_room_of_what_has_expired_is_used() -> None:
    store, now = clocked(max_bytes=100_000)
    for number in range(200):
        await store.run("SET", {"key": f"k{number}", "value": "x" * 150, "ttl_seconds": 10})
    now.append(11.0)
    used = store.used_bytes
    await store.run("SET", {"key": "one", "value": "x"})
    assert used // 2 < store.used_bytes < used  # a write clears away some of them
    await store.run("SET", {"key": "large", "value": "x" * 90_000})  # and as many as it must
    assert store.used_bytes < 92_000


async def test_what_expires_is_noted_once() -> None:
    store, now = clocked()
    for number in range(10_000):
        now.append(number / 1000)
        await store.run("SET", {"key": f"k{number % 3}", "value": "x", "ttl_seconds": 1000})
        await store.run("EXPIRE", {"key": "k0", "ttl_seconds": 1000})
    assert len(store._due) < 100
    now.append(2000.0)
    await store.run("SET", {"key": "new", "value": "x"})
    assert len(store._entries) == 1


async def test_results_are_not_what_is_kept() -> None:
    store, _ = clocked()
    await store.run("HSET", {"key": "h", "value": {"a": 1}})
    await store.run("LPUSH", {"key": "l", "value": ["a"]})
    (await store.run("HGETALL", {"key": "h"})).clear()
    (await store.run("LRANGE", {"key": "l"})).clear()
    assert await store.run("HGETALL", {"key": "h"}) == {"a": "1"}
    assert await store.run("LRANGE", {"key": "l"}) == ["a"]


async def test_the_clock_is_the_process_s() -> None:
    store = MemoryStore()
    await store.run("SET", {"key": "long", "value": "x", "ttl_seconds": 1000})
    await store.run("SET", {"key": "short", "value": "x", "ttl_seconds": 0.02})
    with anyio.fail_after(SECONDS):
        while await store.run("EXISTS", {"key": "short"}):
            await anyio.lowlevel.checkpoint()
    assert await store.run("EXISTS", {"key": "long"}) == 1


# -- a server that is away, or refuses ---------------------------------------------------------------------------------


async def test_a_server_that_is_away_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    with redis_service("--requirepass", PASSWORD) as service:
        url = f"redis://:{PASSWORD}@127.0.0.1:{service.port}/0"
        place = Place(make_store(url))
        assert await place.run("SET", "key", "a") is True
        service.kill()
        for _ in range(2):
            code, message = await place.refused("GET")
            assert code == "UNAVAILABLE" and f"127.0.0.1:{service.port}" in message and PASSWORD not in message
        service.start()
        assert await place.run("INCR") == 1
        await place.store.stop()


async def test_a_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_module, "_ANSWER_SECONDS", 1.0)
    with redis_service() as service:
        place = Place(make_store(service.url))
        assert await place.run("INCR") == 1
        service.stop_answering()
        with anyio.fail_after(4):
            assert (await place.refused("INCR"))[0] == "UNAVAILABLE"
        service.go_on()
        number = await place.run("INCR")
        assert number in (2, 3)  # the one without an answer was sent once at most
        await place.store.stop()


async def test_a_command_is_sent_once() -> None:
    """The server ends the connection when it has got it: nobody knows whether it was done."""
    counted = 0

    async def serve(stream: SocketStream) -> None:
        nonlocal counted
        async with stream:
            async for data in stream:
                if b"INCR" in data:
                    counted += 1
                    return
                await stream.send(b"+OK\r\n" * data.count(b"*"))

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        place = Place(make_store(f"redis://127.0.0.1:{listener.extra(SocketAttribute.local_port)}"))
        assert (await place.refused("INCR"))[0] == "UNAVAILABLE"
        await place.store.stop()
        tasks.cancel_scope.cancel()
    assert counted == 1


async def test_answers_go_to_who_asked_though_others_are_cancelled(redis: Service) -> None:
    place = Place(make_store(redis.url))
    for key in range(20):
        await place.run("SET", key, f"value {key}")

    async def ask(key: int, scope: anyio.CancelScope) -> None:
        with scope:
            assert await place.run("GET", key) == f"value {key}"

    for _ in range(5):
        async with anyio.create_task_group() as tasks:
            scopes = [anyio.CancelScope() for _ in range(20)]
            for key, scope in enumerate(scopes):
                tasks.start_soon(ask, key, scope)
            for _ in range(6):
                await anyio.lowlevel.checkpoint()
            for scope in scopes[::2]:
                scope.cancel()
    await place.store.stop()


async def test_more_at_once_than_connections(redis: Service) -> None:
    place = Place(make_store(redis.url))
    async with anyio.create_task_group() as tasks:
        for _ in range(300):
            tasks.start_soon(place.run, "INCR")
    assert await place.run("GET") == "300"
    await place.store.stop()


async def test_nothing_is_asked_before_the_first_command() -> None:
    store = make_store(f"redis://127.0.0.1:{free_port()}")
    await store.stop()


async def test_a_wrong_password() -> None:
    with redis_service("--requirepass", PASSWORD) as service:
        for secret in ("wrong%20word", ""):
            url = service.url.replace("//", f"//:{secret}@" if secret else "//")
            place = Place(make_store(url))
            code, message = await place.refused("GET")
            assert code == "UNAVAILABLE" and "wrong" not in message.replace("WRONGPASS", "")
            await place.store.stop()


async def test_a_server_that_is_full() -> None:
    with redis_service("--maxmemory", "1") as service:
        place = Place(make_store(service.url))
        assert await place.refused("SET", "key", "a") == ("STORE_FULL", "the key-value store is full")
        await place.store.stop()


async def test_a_server_that_forbids_a_command() -> None:
    with redis_service("--rename-command", "SADD", "") as service:
        place = Place(make_store(service.url))
        code, message = await place.refused("SADD", "key", "a")
        assert code == "REDIS_ERROR" and "unknown command" in message
        await place.store.stop()


async def test_a_unix_socket() -> None:
    with redis_service("--unixsocket", "redis.sock") as service:
        place = Place(make_store(f"unix://{service.directory}/redis.sock?db=3"))
        assert await place.run("DECR") == -1
        await place.store.stop()


async def test_a_store_can_be_stopped_and_used_again(redis: Service) -> None:
    place = Place(make_store(redis.url.replace("redis:", "valkey:")))
    await place.run("SET", "key", "a")
    await place.store.stop()
    assert await place.run("GET") == "a"
    await place.store.stop()


# -- choosing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "no key-value store's URL; write memory, redis://, rediss://, valkey://, valkeys://, unix://"),
        (PASSWORD, "no key-value store's URL"),
        ("rediz://host", "unknown key-value store rediz://; did you mean 'redis://'?"),
        ("nats://host", "unknown key-value store nats://"),
        (f"redis://:{PASSWORD}@host:port", "the key-value store's URL redis://:***@host:port is wrong"),
        (f"redis://:{PASSWORD}@host?socket_timeout=x", "is wrong"),
    ],
)
def test_no_url_of_a_store(url: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make_store(url)
    assert message in str(caught.value) and PASSWORD not in str(caught.value)


def test_stores_by_their_urls() -> None:
    assert isinstance(make_store("memory"), MemoryStore)
    for scheme in ("redis", "rediss", "valkey", "valkeys"):
        assert isinstance(make_store(f"{scheme}://host"), RedisStore)


def test_the_package_of_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert isinstance(make_store("memory"), MemoryStore)
    with pytest.raises(ConfigError, match=r"redis:// needs the extra: pip install 'wireloom\[redis\]'"):
        make_store("redis://host")


def test_commands_explain_themselves() -> None:
    names = "GET SET DEL EXPIRE INCR DECR EXISTS HGET HSET HGETALL LPUSH LRANGE SADD SMEMBERS PUBLISH".split()
    assert list(COMMANDS) == names
    for command in COMMANDS.values():
        assert command.help.endswith(".") and command.gives
        assert set(command.fields) <= {"key", "value", "field", "ttl_seconds", "start", "stop"}
        assert command.needs[0] == "key"
