"""What every key-value store of routes does: the one within the process, and Redis itself."""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.services import Service, free_port, redis_service
from wireloom.errors import ConfigError
from wireloom.faces.routes.failure import Failure
from wireloom.faces.routes.stores import redis as redis_module
from wireloom.faces.routes.stores.choose import make_store
from wireloom.faces.routes.stores.commands import COMMANDS, KeyValueStore
from wireloom.faces.routes.stores.memory import MemoryStore
from wireloom.faces.routes.stores.redis import RedisStore

pytestmark = pytest.mark.anyio

SECONDS = 15
PASSWORD = "pass-word-1"
MIB = 1024 * 1024
_names = (f"test{number}" for number in itertools.count())


class Place:
    """A started store, and keys of the test's own."""

    def __init__(self, store: KeyValueStore, pass_time: Callable[[float], None] | None = None) -> None:
        self.store = store
        self.name = next(_names)
        self._pass_time = pass_time

    async def run(self, command: str, key: Any = "key", *value: Any, **fields: Any) -> Any:
        """Runs a command on a key; a second argument is the value."""
        given = dict(zip(("value",), value, strict=False)) | fields
        return await self.store.run(command, {"key": f"{self.name}:{key}", **given})

    async def refused(self, command: str, *arguments: Any, **fields: Any) -> tuple[str, str]:
        with pytest.raises(Failure) as caught:
            await self.run(command, *arguments, **fields)
        assert caught.value.__cause__ is None and "\n" not in caught.value.message
        return caught.value.code, caught.value.message

    async def ends_between(self, low: float, high: float, key: str) -> bool:
        """Whether a key has an end that comes within these seconds."""
        if self._pass_time is not None:
            self._pass_time(low)
            await self.run("SET", "other", "x")  # a write clears away what has expired
            stays = await self.run("EXISTS", key)
            self._pass_time(high - low)
            return bool(stays) and not await self.run("EXISTS", key)
        milliseconds = await self.store._client.pttl(f"{self.name}:{key}")  # type: ignore[attr-defined]
        return bool(low * 1000 < milliseconds <= high * 1000)

    async def wait_out(self, seconds: float) -> None:
        """Waits until a key has vanished that lives so long."""
        if self._pass_time is not None:
            self._pass_time(seconds)
            return
        await self.run("SET", "canary", "alive", ttl_seconds=seconds)
        with anyio.fail_after(SECONDS):
            while await self.run("EXISTS", "canary"):
                await anyio.lowlevel.checkpoint()


@pytest.fixture(scope="module")
def redis() -> Iterator[Service]:
    """A Redis server that tests share."""
    with redis_service() as service:
        yield service


@pytest.fixture(params=["memory", "redis"])
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    """Every store."""
    now = [1000.0]
    if request.param == "memory":
        made = Place(MemoryStore(clock=lambda: now[0]), lambda seconds: now.insert(0, now[0] + seconds))
    else:
        made = Place(make_store(request.getfixturevalue("redis").url))
    yield made
    await made.store.stop()


# -- commands ----------------------------------------------------------------------------------------------------------


async def test_get_and_set(place: Place) -> None:
    assert await place.run("GET") is None
    assert await place.run("SET", "key", "one") is True
    assert await place.run("GET") == "one"
    assert await place.run("SET", "key", "two") is True
    assert await place.run("GET") == "two"
    assert await place.run("GET", "other") is None


async def test_set_replaces_what_there_is(place: Place) -> None:
    await place.run("LPUSH", "key", "item")
    assert await place.run("SET", "key", "text") is True
    assert await place.run("GET") == "text"


async def test_del(place: Place) -> None:
    assert await place.run("DEL") == 0
    await place.run("SET", "key", "7")
    await place.run("SADD", "set", ["a", "b"])
    assert await place.run("DEL") == 1
    assert await place.run("GET") is None
    assert await place.run("DEL", "set") == 1
    assert await place.run("SMEMBERS", "set") == []
    assert type(await place.run("DEL")) is int


async def test_exists(place: Place) -> None:
    assert await place.run("EXISTS") == 0
    await place.run("SET", "key", "7")
    for _ in range(2):  # nothing is removed, nothing counted
        assert await place.run("EXISTS") == 1
    assert type(await place.run("EXISTS")) is int
    await place.run("HSET", "hash", {"a": 1})
    assert await place.run("EXISTS", "hash") == 1
    assert await place.run("GET") == "7"


async def test_incr_and_decr(place: Place) -> None:
    assert await place.run("INCR") == 1
    assert await place.run("INCR") == 2
    assert await place.run("GET") == "2"
    assert await place.run("DECR", "other") == -1
    await place.run("SET", "key", 41.0)
    assert await place.run("INCR") == 42
    assert await place.run("DECR") == 41
    assert type(await place.run("DECR")) is int


async def test_hashes(place: Place) -> None:
    assert await place.run("HGET", field="a") is None
    assert await place.run("HGETALL") == {}
    assert await place.run("HSET", "key", "one", field="a") == 1
    assert await place.run("HSET", "key", "uno", field="a") == 0
    assert await place.run("HSET", "key", {"a": "eins", "b": 2, "c": [3]}) == 2
    assert await place.run("HSET", "key", {"x": 1}, field="d") == 1
    assert await place.run("HGET", field="a") == "eins"
    assert await place.run("HGET", field="z") is None
    assert await place.run("HGETALL") == {"a": "eins", "b": "2", "c": "[3]", "d": '{"x":1}'}


async def test_lists(place: Place) -> None:
    assert await place.run("LRANGE") == []
    assert await place.run("LPUSH", "key", "a") == 1
    assert await place.run("LPUSH", "key", "a") == 2
    assert await place.run("LPUSH", "key", ["b", 3, ["c"]]) == 5
    assert await place.run("LRANGE") == ['["c"]', "3", "b", "a", "a"]
    assert await place.run("LRANGE", start=1, stop=2) == ["3", "b"]


async def test_ranges_of_lists(place: Place) -> None:
    items = ["a", "b", "c", "d"]
    await place.run("LPUSH", "key", items[::-1])
    ends = [0, 1, 3, 4, 9, -1, -3, -4, -5, -9, 2**63 - 1, -(2**63)]
    for start, stop in itertools.product(ends, ends):
        first, last = (end + len(items) if end < 0 else end for end in (start, stop))
        within = [item for number, item in enumerate(items) if first <= number <= last]
        assert await place.run("LRANGE", start=start, stop=stop) == within, (start, stop)
    assert await place.run("LRANGE", start="-1") == await place.run("LRANGE", start=3, stop=None) == ["d"]
    assert await place.run("LRANGE", stop=1) == ["a", "b"]


async def test_sets(place: Place) -> None:
    assert await place.run("SMEMBERS") == []
    assert await place.run("SADD", "key", "b") == 1
    assert await place.run("SADD", "key", "b") == 0
    assert await place.run("SADD", "key", ["c", "a", "b", "a"]) == 2
    assert await place.run("SMEMBERS") == ["a", "b", "c"]


async def test_members_are_sorted(place: Place) -> None:
    members = [str(number) for number in range(50)] + ["ü", "😀", "", "\uffff", "Z"]
    await place.run("SADD", "key", members)
    assert await place.run("SMEMBERS") == sorted(members)


async def test_publish_keeps_nothing(place: Place) -> None:
    assert await place.run("PUBLISH", "key", "hello") == 0
    assert await place.run("EXISTS") == 0
    await place.run("SADD", "key", "a")  # a channel is no key
    assert await place.run("PUBLISH", "key", "b") == 0
    assert await place.run("SMEMBERS") == ["a"]


async def test_publish_reaches_subscribers_of_redis(redis: Service) -> None:
    from redis.asyncio import Redis

    place = Place(make_store(redis.url))
    async with Redis.from_url(redis.url) as server, server.pubsub() as listener:
        await listener.subscribe(f"{place.name}:news")
        assert (await listener.get_message(timeout=SECONDS))["type"] == "subscribe"
        assert await place.run("PUBLISH", "news", {"a": [1]}) == 1
        message = await listener.get_message(timeout=SECONDS)
        assert (message["type"], message["data"]) == ("message", b'{"a":[1]}')
    await place.store.stop()


# -- values ------------------------------------------------------------------------------------------------------------

VALUES = [
    ("", ""),
    ("  text\r\n\x00 ü 😀 ", "  text\r\n\x00 ü 😀 "),
    ("null", "null"),
    (0, "0"),
    (-7, "-7"),
    (2**63 - 1, "9223372036854775807"),
    (3.0, "3"),
    (0.1, "0.1"),
    (1e300, "1e+300"),
    (True, "true"),
    (False, "false"),
    ([], "[]"),
    ([1, "ü", None, [True]], '[1,"ü",null,[true]]'),
    ({}, "{}"),
    ({"a": {"b": 1.5}}, '{"a":{"b":1.5}}'),
    ("x" * 100_000, "x" * 100_000),
]


@pytest.mark.parametrize(("value", "text"), VALUES, ids=lambda value: str(value)[:20])
async def test_values_are_kept_as_text(place: Place, value: Any, text: str) -> None:
    await place.run("SET", "text", value)
    await place.run("HSET", "hash", value, field=text[:50])
    await place.run("HSET", "hash", {"all": value})
    await place.run("LPUSH", "list", [value])
    await place.run("SADD", "set", [value])
    assert await place.run("GET", "text") == text
    assert await place.run("HGETALL", "hash") == {text[:50]: text, "all": text}
    assert await place.run("HGET", "hash", field=text[:50]) == text
    assert await place.run("LRANGE", "list") == [text]
    assert await place.run("SMEMBERS", "set") == [text]


async def test_keys_and_fields_may_be_numbers(place: Place) -> None:
    run = place.store.run
    await run("SET", {"key": 5, "value": "five"})
    assert await run("GET", {"key": "5"}) == "five"
    await run("DEL", {"key": 5.0})
    assert await run("EXISTS", {"key": 5}) == 0
    await place.run("HSET", "hash", "x", field=True)
    assert await place.run("HGET", "hash", field="true") == "x"


@pytest.mark.parametrize("key", ["", " ", "a b", "ünï ☃", "\r\n", "\x00", "*", "x" * 2000])
async def test_keys_may_be_any_text(place: Place, key: str) -> None:
    assert await place.store.run("SET", {"key": key, "value": key + "!"}) is True
    assert await place.store.run("GET", {"key": key}) == key + "!"
    assert await place.store.run("DEL", {"key": key}) == 1


async def test_bytes_that_others_put_there_are_replaced(redis: Service) -> None:
    from redis.asyncio import Redis

    place = Place(make_store(redis.url))
    async with Redis.from_url(redis.url) as server:
        await server.set(f"{place.name}:key", b"a\xffb")
    assert await place.run("GET") == "a\ufffdb"
    await place.store.stop()


# -- refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "fields", "message"),
    [
        ("GETT", {"key": "k"}, "there is no command 'GETT'; did you mean 'GET'?"),
        ("get", {"key": "k"}, "there is no command 'get'"),
        ("FLUSHALL", {}, "there is no command 'FLUSHALL'"),
        ("GET", {}, "GET needs key"),
        ("SET", {"key": "k"}, "SET needs value"),
        ("EXPIRE", {"key": "k"}, "EXPIRE needs ttl_seconds"),
        ("HGET", {"key": "k"}, "HGET needs field"),
        ("GET", {"key": "k", "value": "v"}, "GET has no field 'value'"),
        ("SET", {"key": "k", "value": "v", "ttl": 5}, "SET has no field 'ttl'"),
        ("GET", {"key": None}, "GET takes no null as key"),
        ("SET", {"key": "k", "value": None}, "SET takes no null as value"),
        ("LPUSH", {"key": "k", "value": ["a", None]}, "LPUSH takes no null as value"),
        ("HSET", {"key": "k", "value": {"a": None}}, "HSET takes no null as value"),
        ("PUBLISH", {"key": "k", "value": None}, "PUBLISH takes no null as value"),
        ("GET", {"key": ["k"]}, "GET takes text as key, not a list"),
        ("HGET", {"key": "k", "field": {"a": 1}}, "HGET takes text as field, not an object"),
        ("LPUSH", {"key": "k", "value": []}, "LPUSH takes no empty list"),
        ("SADD", {"key": "k", "value": []}, "SADD takes no empty list"),
        ("HSET", {"key": "k", "value": {}}, "HSET needs a field, or an object as value, not an empty one"),
        ("HSET", {"key": "k", "value": "v"}, "HSET needs a field, or an object as value, not text"),
        ("SET", {"key": "k", "value": "v", "ttl_seconds": 0}, "ttl_seconds of SET must be above 0"),
        ("SET", {"key": "k", "value": "v", "ttl_seconds": -1.5}, "ttl_seconds of SET must be above 0"),
        ("EXPIRE", {"key": "k", "ttl_seconds": 1e13}, "ttl_seconds of EXPIRE is beyond"),
        ("EXPIRE", {"key": "k", "ttl_seconds": float("nan")}, "ttl_seconds of EXPIRE is beyond"),
        ("LRANGE", {"key": "k", "start": 1.5}, "start of LRANGE must be a whole number"),
        ("LRANGE", {"key": "k", "stop": 2**63}, "stop of LRANGE must be a whole number"),
        ("SET", {"key": "k", "value": "\ud800"}, "half of a surrogate pair"),
        ("HSET", {"key": "k", "value": {"\ud800": "v"}}, "half of a surrogate pair"),
    ],
)
async def test_arguments_that_are_refused(place: Place, command: str, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(Failure) as caught:
        await place.store.run(command, fields)
    assert caught.value.code == "INVALID_ARGUMENT" and message in caught.value.message
    assert await place.store.run("EXISTS", {"key": "k"}) == 0


@pytest.mark.parametrize(
    ("command", "fields", "code"),
    [
        ("SET", {"value": "v", "ttl_seconds": "soon"}, "WRONG_TYPE"),
        ("LRANGE", {"start": [1]}, "WRONG_TYPE"),
        ("SET", {"value": float("inf")}, "NOT_A_NUMBER"),
        ("SET", {"value": ["\ud800"]}, "WRONG_VALUE"),
    ],
)
async def test_values_that_are_none(place: Place, command: str, fields: dict[str, Any], code: str) -> None:
    assert (await place.refused(command, **fields))[0] == code
    assert await place.run("EXISTS") == 0


MAKERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "SET": ("text", {}),
    "HSET": ({"a": 1}, {}),
    "LPUSH": ("item", {}),
    "SADD": ("member", {}),
}
WORKS_ON: dict[str, tuple[str, dict[str, Any]]] = {
    "GET": ("SET", {}),
    "INCR": ("SET", {}),
    "DECR": ("SET", {}),
    "HGET": ("HSET", {"field": "a"}),
    "HSET": ("HSET", {"field": "a", "value": "b"}),
    "HGETALL": ("HSET", {}),
    "LPUSH": ("LPUSH", {"value": "b"}),
    "LRANGE": ("LPUSH", {}),
    "SADD": ("SADD", {"value": "b"}),
    "SMEMBERS": ("SADD", {}),
}


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("command", WORKS_ON)
async def test_a_key_of_another_kind(place: Place, maker: str, command: str) -> None:
    kind, fields = WORKS_ON[command]
    value, more = MAKERS[maker]
    await place.run(maker, "key", value, **more)
    if maker == kind:
        if command not in ("INCR", "DECR"):
            await place.run(command, **fields)
        return
    said = await place.refused(command, **fields)
    assert said == ("WRONG_TYPE", f"the key holds another kind of value than {command} works on")
    assert await place.run("DEL") == 1


def test_every_command_is_tested_for_the_kind_of_its_key() -> None:
    assert set(COMMANDS) - set(WORKS_ON) == {"SET", "DEL", "EXPIRE", "EXISTS", "PUBLISH"}


@pytest.mark.parametrize(
    "text", ["", "x", "1.5", "1e3", " 1", "1 ", "+1", "01", "-0", "--1", "0x1", "١", str(2**63), "9" * 19, "9" * 30]
)
async def test_counting_what_is_no_number(place: Place, text: str) -> None:
    await place.run("SET", "key", text)
    for command in ("INCR", "DECR"):
        said = await place.refused(command)
        assert said == ("NOT_A_NUMBER", f"{command} works on whole numbers that stay within 64 bits")
    assert await place.run("GET") == text


async def test_counting_stays_within_64_bits(place: Place) -> None:
    await place.run("SET", "key", 2**63 - 2)
    assert await place.run("INCR") == 2**63 - 1
    assert (await place.refused("INCR"))[0] == "NOT_A_NUMBER"
    assert await place.run("DECR") == 2**63 - 2
    await place.run("SET", "key", -(2**63) + 1)
    assert await place.run("DECR") == -(2**63)
    assert (await place.refused("DECR"))[0] == "NOT_A_NUMBER"
    assert await place.run("GET") == str(-(2**63))


# -- expiring ----------------------------------------------------------------------------------------------------------


async def test_what_has_expired_is_gone(place: Place) -> None:
    await place.run("SET", "short", "a", ttl_seconds=0.05)
    await place.run("SET", "long", "b", ttl_seconds=100)
    await place.run("SET", "ever", "c")
    await place.run("HSET", "hash", {"a": 1})
    assert await place.run("EXPIRE", "hash", ttl_seconds=0.05) is True
    await place.wait_out(0.06)
    assert await place.run("GET", "short") is None
    assert await place.run("EXISTS", "short") == 0
    assert await place.run("DEL", "hash") == 0
    assert await place.run("EXPIRE", "short", ttl_seconds=10) is False
    assert [await place.run("GET", key) for key in ("long", "ever")] == ["b", "c"]


async def test_a_key_that_has_expired_begins_anew(place: Place) -> None:
    await place.run("SET", "number", 40, ttl_seconds=0.05)
    await place.run("LPUSH", "list", ["a", "b"])
    await place.run("EXPIRE", "list", ttl_seconds="0.05")
    await place.wait_out(0.06)
    assert await place.run("INCR", "number") == 1
    assert await place.run("SADD", "list", "c") == 1
    await place.wait_out(0.06)  # and has no end any more
    assert await place.run("GET", "number") == "1"


async def test_expire(place: Place) -> None:
    assert await place.run("EXPIRE", ttl_seconds=5) is False
    await place.run("SET", "key", "a")
    assert await place.run("EXPIRE", ttl_seconds=5) is True
    assert await place.run("GET") == "a"


@pytest.mark.parametrize("seconds", [0, -1, -0.001, "-5"])
async def test_expiring_in_the_past_removes(place: Place, seconds: Any) -> None:
    await place.run("SET", "key", "a")
    assert await place.run("EXPIRE", ttl_seconds=seconds) is True
    assert await place.run("EXISTS") == 0
    assert await place.run("EXPIRE", ttl_seconds=seconds) is False


async def test_the_least_time_is_a_millisecond(place: Place) -> None:
    assert await place.run("SET", "key", "a", ttl_seconds=0.0001) is True
    await place.wait_out(0.01)
    assert await place.run("GET") is None


async def test_set_without_an_end_has_none(place: Place) -> None:
    await place.run("SET", "key", "a", ttl_seconds=0.05)
    await place.run("SET", "key", "b", ttl_seconds=None)
    await place.wait_out(0.06)
    assert await place.run("GET") == "b"


@pytest.mark.parametrize(
    ("command", "first", "then"),
    [("INCR", 1, {}), ("HSET", {"a": 1}, {"b": 1}), ("LPUSH", "a", "b"), ("SADD", "a", "b")],
)
async def test_changing_a_key_keeps_its_end(place: Place, command: str, first: Any, then: Any) -> None:
    await place.run("SET" if command == "INCR" else command, "key", first)
    await place.run("EXPIRE", ttl_seconds=100)
    await place.run(command, "key", *[then] * bool(then))
    assert await place.ends_between(50, 100, "key")


@pytest.mark.parametrize(("before", "after"), [(30, 100), (200, 100), (100.4, 100)])
async def test_the_last_end_counts(place: Place, before: float, after: float) -> None:
    await place.run("SET", "key", "a", ttl_seconds=before)
    await place.run("EXPIRE", ttl_seconds=after)
    assert await place.ends_between(60, 100.1, "key")
    await place.run("SET", "key", "b", ttl_seconds=before)
    await place.run("SET", "key", "c", ttl_seconds=after)
    assert await place.ends_between(60, 100.1, "key")


# -- the same sequence of commands, the same results -------------------------------------------------------------------

KEYS = st.sampled_from(["a", "b", "c"])
TEXTS = st.sampled_from(["", "x", "y", "1", "-5", str(2**63 - 1), "ü"]) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=3
)
SIMPLE = TEXTS | st.integers(-(2**63), 2**63 - 1) | st.booleans() | st.floats(allow_nan=False, allow_infinity=False)
ANY = SIMPLE | st.none() | st.lists(SIMPLE, max_size=3) | st.dictionaries(TEXTS, SIMPLE, max_size=3)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "key": KEYS,
    "value": ANY,
    "field": TEXTS,
    "ttl_seconds": st.sampled_from([100, 1000.5, "50", 0, -1]),
    "start": st.integers(-4, 4),
    "stop": st.integers(-4, 4),
}
CALLS = st.one_of(
    [
        st.fixed_dictionaries(
            {"command": st.just(command.name), **{field: FIELDS[field] for field in command.needs}},
            optional={field: FIELDS[field] for field in command.takes},
        )
        for command in COMMANDS.values()
    ]
)


async def result_of(store: KeyValueStore, call: dict[str, Any]) -> tuple[str, Any]:
    fields = {name: value for name, value in call.items() if name != "command"}
    try:
        result = await store.run(call["command"], fields)
    except Failure as failure:
        return failure.code, failure.message
    return type(result).__name__, result


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(calls=st.lists(CALLS, min_size=5, max_size=40))
def test_both_stores_give_the_same(redis: Service, calls: list[dict[str, Any]]) -> None:
    async def compare() -> None:
        memory, server = MemoryStore(), RedisStore(redis.url)
        for key in ("a", "b", "c"):
            await server.run("DEL", {"key": key})
        for call in calls:
            assert await result_of(memory, call) == await result_of(server, call), call
        await server.stop()

    anyio.run(compare)


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
