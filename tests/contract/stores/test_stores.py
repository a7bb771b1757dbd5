"""What every key-value store of routes does: the one within the process, and Redis itself."""

from __future__ import annotations

import itertools
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.services import Service
from wireloom.faces.routes.failure import Failure
from wireloom.faces.routes.stores.choose import make_store
from wireloom.faces.routes.stores.commands import COMMANDS, KeyValueStore
from wireloom.faces.routes.stores.memory import MemoryStore
from wireloom.faces.routes.stores.redis import RedisStore

from .kit import SECONDS, Place

pytestmark = pytest.mark.anyio

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
