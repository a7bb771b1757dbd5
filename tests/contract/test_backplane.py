"""What every backplane does, over the servers themselves: memory, Redis, NATS."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from types import SimpleNamespace

import pytest

from tests.hub.fakes import member
from tests.services import Service, free_port, redis_service
from wireloom.core.topic import CONTROL, EVERYONE, channel, client, user
from wireloom.errors import ConfigError
from wireloom.hub.backplane import courier
from wireloom.hub.backplane.base import Publication
from wireloom.hub.backplane.choose import make_backplane
from wireloom.hub.backplane.memory import MemoryBackplane
from wireloom.hub.hub import Hub
from wireloom.wire.frames import binary_frame, text_frame

from .places import MIB, NEWS, PASSWORDS, SECONDS, SERVERS, Place, Process, no_tasks_but, placed, until

pytestmark = pytest.mark.anyio


# -- what is carried -------------------------------------------------------------------------------------------------


async def test_an_own_publication_never_comes_back(anywhere: Place) -> None:
    one = await anywhere.process(NEWS)
    one.publish(NEWS, b"mine")
    await one.backplane.drain()
    if anywhere.name != "memory":
        two = await anywhere.process(NEWS)
        one.publish(NEWS, b"mine too")
        await two.wait_for(1)  # so the server has had it
        two.publish(NEWS, b"theirs")
        assert await one.wait_for(1) == [b"theirs"]
    assert b"mine" not in [publication.payload for publication in one.heard]


async def test_another_hub_gets_a_publication_unchanged(place: Place) -> None:
    one, two = await place.process(), await place.process(NEWS)
    everything = [
        (b"text", True, ""),
        ("ünïcode \u2028".encode(), True, "key"),
        (bytes(range(256)), False, "ein Schlüssel: *"),
        (b"", True, ""),
        (b"", False, "\ud800"),
        (b"\r\n+OK\r\nMSG x 1 1\r\n", False, ""),
    ]
    for payload, text, key in everything:
        one.publish(NEWS, payload, text, key)
    await two.wait_for(len(everything))
    assert [(heard.payload, heard.text, heard.key) for heard in two.heard] == everything
    assert {heard.topic for heard in two.heard} == {NEWS}


async def test_all_of_many_publications_come_in_their_order(place: Place) -> None:
    one, two, three = await place.process(), await place.process(), await place.process(NEWS, EVERYONE)
    for number in range(2500):
        one.publish(NEWS, b"one %d" % number)
        two.publish(EVERYONE, b"two %d" % number)
        if number % 100 == 0:
            await one.backplane.drain()
    heard = await three.wait_for(5000)
    for name in (b"one", b"two"):
        assert [each for each in heard if each.startswith(name)] == [b"%s %d" % (name, each) for each in range(2500)]
    assert one.backplane.dropped == two.backplane.dropped == 0


async def test_hubs_hear_only_what_they_subscribe_to(place: Place) -> None:
    one, two, three = await place.process(), await place.process(channel("a")), await place.process(channel("b"))
    one.publish(channel("a"), b"for two")
    one.publish(channel("b"), b"for three")
    assert await two.wait_for(1) == [b"for two"]
    assert await three.wait_for(1) == [b"for three"]
    assert len(two.heard) == 1


async def test_applications_with_different_prefixes_do_not_hear_each_other(place: Place) -> None:
    one = await place.process()
    place.prefix += "-other"
    two, three = await place.process(NEWS), await place.process()
    one.publish(NEWS, b"elsewhere")
    await one.backplane.stop()
    three.publish(NEWS, b"here")
    assert await two.wait_for(1) == [b"here"]


async def test_after_the_last_has_left_nothing_comes(place: Place) -> None:
    one, two = await place.process(), await place.process(NEWS, EVERYONE)
    two.backplane.unsubscribe(NEWS)
    two.backplane.unsubscribe(channel("never subscribed"))
    await asyncio.wait_for(two.backplane.settle(), SECONDS)
    one.publish(NEWS, b"not heard")
    one.publish(EVERYONE, b"heard")
    assert await two.wait_for(1) == [b"heard"]
    await two.subscribe(NEWS)
    one.publish(NEWS, b"heard again")
    assert await two.wait_for(2) == [b"heard", b"heard again"]


async def test_the_server_is_told_of_the_last_that_leaves(place: Place, services: Callable[[str], Service]) -> None:
    two = await place.process(NEWS)
    name = two.backplane.name_of(NEWS)  # type: ignore[attr-defined]
    assert await count_subscribers(place, name) == 1
    two.backplane.unsubscribe(NEWS)
    await asyncio.wait_for(two.backplane.settle(), SECONDS)
    assert await count_subscribers(place, name) == 0


async def count_subscribers(place: Place, name: str) -> int:
    """What the server says."""
    if place.name == "redis":
        from redis.asyncio import Redis

        async with Redis.from_url(place.url) as server:
            [(_, count)] = await server.pubsub_numsub(name)
            return int(count)
    import nats

    server = await nats.connect(place.url)
    try:
        await server.request(name, b"is anyone there?", timeout=0.2)
    except nats.errors.NoRespondersError:
        return 0
    except nats.errors.TimeoutError:
        return 1
    finally:
        await server.close()
    raise AssertionError("a backplane never responds")


@pytest.mark.parametrize("steps", ["+-+", "+-+-", "-+", "-+-+-", "-"], ids=str)
@pytest.mark.parametrize("before", [False, True])
async def test_the_last_of_many_changes_at_once_counts(place: Place, steps: str, before: bool) -> None:
    one = await place.process()
    two = await place.process(EVERYONE, *[NEWS] * before)
    for turn in (lambda: asyncio.sleep(0), lambda: asyncio.sleep(0.001), None):
        for step in steps:
            (two.backplane.subscribe if step == "+" else two.backplane.unsubscribe)(NEWS)
            if turn is not None:
                await turn()
        await asyncio.wait_for(two.backplane.settle(), SECONDS)
        two.heard.clear()
        one.publish(NEWS, b"heard")
        one.publish(EVERYONE, b"end")
        expected = [b"heard", b"end"] if steps[-1] == "+" else [b"end"]
        assert await two.wait_until_heard(b"end") == expected


@pytest.mark.parametrize(
    "name",
    [
        "a b",
        "ünï ☃",
        "a:b:c",
        "*",
        ">",
        "a.*.b",
        "a.>",
        "[a-z]?\\",
        "",
        ".",
        "\r\n",
        "\x00",
        "$SYS",
        "\ud800",
        "x" * 2000,
        "☃" * 2000,
    ],
    ids=ascii,
)
async def test_topics_may_have_any_name(place: Place, name: str) -> None:
    one, two = await place.process(), await place.process(channel(name), user(name), channel(name + "-"))
    for topic in (channel(name), user(name), channel(name + "-"), channel(name + "+"), channel("axb"), EVERYONE):
        one.publish(topic, topic.encode("utf-8", "surrogatepass"))
    await two.subscribe(CONTROL)
    one.publish(CONTROL, b"end")
    await two.wait_until_heard(b"end")
    expected = [channel(name), user(name), channel(name + "-"), CONTROL]
    assert [heard.topic for heard in two.heard] == expected


async def test_ten_thousand_topics(place: Place) -> None:
    one, two = await place.process(), await place.process()
    topics = [client(f"{number:05}") for number in range(10_000)]
    await two.subscribe(*topics)
    for topic in topics:
        one.publish(topic, topic.encode())
    await two.wait_for(10_000)
    assert [heard.topic for heard in two.heard] == topics
    for topic in topics[1:]:
        two.backplane.unsubscribe(topic)
    await asyncio.wait_for(two.backplane.settle(), SECONDS)
    two.heard.clear()
    for topic in reversed(topics):
        one.publish(topic, topic.encode())
    await two.wait_for(1)
    assert [heard.topic for heard in two.heard] == topics[:1]


async def test_large_payloads(place: Place) -> None:
    one, two = await place.process(), await place.process(NEWS, EVERYONE)
    payloads = [bytes([number]) * size for number, size in enumerate((MIB - 1, MIB, MIB + 1, 3 * MIB, 1, 15 * MIB))]
    for number, payload in enumerate(payloads):
        one.publish(NEWS, payload, False, f"key {number}")
        one.publish(EVERYONE, b"small")
        await two.wait_for(2 * number + 2)
    large = [heard for heard in two.heard if heard.topic == NEWS]
    assert [heard.payload for heard in large] == payloads
    assert [heard.key for heard in large] == [f"key {number}" for number in range(len(payloads))]
    assert one.backplane.dropped == 0


async def test_what_a_receiver_raises_ends_nothing(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    one, two = await place.process(), Process(place.make())

    def receive(publication: Publication) -> None:
        two.receive(publication)
        if publication.payload == b"bad":
            raise ZeroDivisionError

    await two.backplane.start(receive)
    place.stack.push_async_callback(two.backplane.stop)
    await two.subscribe(NEWS)
    one.publish(NEWS, b"bad")
    one.publish(NEWS, b"good")
    assert await two.wait_for(2) == [b"bad", b"good"]
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize(
    "data", [b"", b"hello", b"\xb7\x02" + bytes(50), b"\xb7\x01\x02" + bytes(40), b"\xb7\x01" * 99]
)
async def test_garbage_is_ignored(place: Place, data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    one, two = await place.process(), await place.process(NEWS)
    name = two.backplane.name_of(NEWS)  # type: ignore[attr-defined]
    for _ in range(3):
        await publish_raw(place, name, data)
    one.publish(NEWS, b"good")
    assert await two.wait_for(1) == [b"good"]
    assert two.backplane.ignored == 3  # type: ignore[attr-defined]
    assert len([record for record in caplog.records if "ignored" in record.getMessage()]) == 1
    assert "hello" not in caplog.text


async def publish_raw(place: Place, name: str, data: bytes) -> None:
    """As somebody else's program does."""
    if place.name == "redis":
        from redis.asyncio import Redis

        async with Redis.from_url(place.url) as server:
            await server.publish(name, data)
    else:
        import nats

        server = await nats.connect(place.url)
        await server.publish(name, data)
        await asyncio.sleep(0)
        await server.flush()
        await server.flush()
        await server.close()


# -- start and stop --------------------------------------------------------------------------------------------------


async def test_it_is_silent_before_its_start_and_after_its_stop(anywhere: Place) -> None:
    process = Process(anywhere.make())
    process.publish(NEWS, b"early")
    process.backplane.subscribe(NEWS)
    await process.backplane.drain()
    assert not process.backplane.degraded
    await process.backplane.start(process.receive)
    assert not process.backplane.degraded
    await asyncio.wait_for(process.backplane.settle(), SECONDS)
    for _ in range(2):
        await process.backplane.stop()
        process.publish(NEWS, b"late")
        process.backplane.subscribe(NEWS)
        process.backplane.unsubscribe(NEWS)
        await asyncio.wait_for(process.backplane.drain(), SECONDS)
        await asyncio.wait_for(process.backplane.settle(), SECONDS)
    assert (process.heard, process.backplane.dropped, process.backplane.degraded) == ([], 0, False)


async def test_what_waits_is_sent_before_it_stops(place: Place) -> None:
    one, two = await place.process(), await place.process(NEWS)
    for number in range(3000):
        one.publish(NEWS, b"%d" % number)
    await one.backplane.stop()
    assert await two.wait_for(3000) == [b"%d" % number for number in range(3000)]
    assert one.backplane.dropped == 0


async def test_a_flush_waits_until_all_is_sent(anywhere: Place) -> None:
    one = await anywhere.process()
    for _ in range(2):
        for number in range(3000):
            one.publish(NEWS, b"%d" % number)
        await asyncio.wait_for(one.backplane.flush(), SECONDS)
        assert not getattr(one.backplane, "_queue", None)
    assert one.backplane.dropped == 0


async def test_after_a_stop_it_starts_again_with_no_subscriptions(place: Place) -> None:
    one, two = await place.process(), await place.process(NEWS)
    await two.backplane.stop()
    await two.backplane.start(two.receive)
    await two.subscribe(EVERYONE)
    one.publish(NEWS, b"not heard")
    one.publish(EVERYONE, b"heard")
    assert await two.wait_for(1) == [b"heard"]


@pytest.mark.parametrize("scheme", ["redis", "valkey", "nats"])
async def test_a_server_that_is_not_there_is_a_configuration_error(scheme: str) -> None:
    before = asyncio.all_tasks()
    port = free_port()
    backplane = make_backplane(f"{scheme}://user:pass-word-1@127.0.0.1:{port}", "test")
    async with asyncio.timeout(6):
        with pytest.raises(ConfigError, match=rf"{scheme}://user:\*\*\*@127.0.0.1:{port}.*start its server") as caught:
            await backplane.start(lambda publication: None)
    assert "pass-word-1" not in str(caught.value)
    assert caught.value.__suppress_context__  # a traceback would show the library's own words
    assert not backplane.degraded
    await backplane.stop()
    await no_tasks_but(before)


@pytest.mark.parametrize("name", SERVERS)
async def test_a_server_that_does_not_answer_is_a_configuration_error(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(courier, "CONNECT_SECONDS", 0.2)
    before = asyncio.all_tasks()
    with SERVERS[name]() as service:
        service.stop_answering()
        backplane = make_backplane(service.url, "test")
        async with asyncio.timeout(5):
            with pytest.raises(ConfigError, match="cannot be used"):
                await backplane.start(lambda publication: None)
    await no_tasks_but(before)


@pytest.mark.parametrize("name", SERVERS)
async def test_a_wrong_password_is_a_configuration_error_and_a_right_one_is_not(name: str) -> None:
    before = asyncio.all_tasks()
    with SERVERS[name](*PASSWORDS[name]) as service:
        user_name = "wireloom" if name == "nats" else ""
        wrong = service.url.replace("//", f"//{user_name}:pass-word-2@")
        with pytest.raises(ConfigError, match=r"\*\*\*@") as caught:
            await make_backplane(wrong, "test").start(lambda publication: None)
        assert "pass-word-2" not in str(caught.value)
        right = make_backplane(service.url.replace("//", f"//{user_name}:pass-word-1@"), "test")
        await right.start(lambda publication: None)
        await right.stop()
    await no_tasks_but(before)


@pytest.mark.parametrize(
    "url",
    ["redis://:pass-word-1@host:port", "redis://:pass-word-1@h?db=x", "nats://u:pass-word-1@host:port", "nats://"],
)
async def test_a_url_that_can_never_work(url: str) -> None:
    with pytest.raises(ConfigError, match=r"URL .* is wrong; write") as caught:
        await make_backplane(url, "test").start(lambda publication: None)
    assert "pass-word-1" not in str(caught.value)


async def test_tls_is_not_given_up_for_a_server_without_it(services: Callable[[str], Service]) -> None:
    url = services("nats").url.replace("nats://", "tls://")
    with pytest.raises(ConfigError, match="offers no TLS"):
        await make_backplane(url, "test").start(lambda publication: None)


async def test_a_prefix_that_cannot_begin_a_subject() -> None:
    for prefix in ("a b", "", "a.", "*", ">"):
        with pytest.raises(ConfigError, match="prefix"):
            make_backplane("nats://127.0.0.1", prefix)


# -- by its URL ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("memory", "MemoryBackplane"),
        ("redis://host", "RedisBackplane"),
        ("rediss://host", "RedisBackplane"),
        ("valkey://host", "RedisBackplane"),
        ("valkeys://host", "RedisBackplane"),
        ("unix:///run/redis.sock", "RedisBackplane"),
        ("nats://host", "NatsBackplane"),
        ("tls://host", "NatsBackplane"),
    ],
)
def test_the_url_names_the_backplane(url: str, kind: str) -> None:
    assert type(make_backplane(url, "test")).__name__ == kind


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redi://host", "did you mean 'redis"),
        ("natss://host", "did you mean 'nats://'"),
        ("kafka://user:pass-word-1@host", "unknown backplane kafka://; write memory, redis://"),
        ("pass-word-1", "write memory, redis://"),
        ("", "write memory, redis://"),
    ],
)
def test_an_unknown_backplane(url: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make_backplane(url, "test")
    assert said in str(caught.value)
    assert "pass-word-1" not in str(caught.value)


@pytest.mark.parametrize(("url", "extra"), [("rediss://host", "redis"), ("tls://host", "nats")])
def test_a_package_that_is_not_installed(url: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=rf"needs the extra: pip install 'wireloom\[{extra}\]'"):
        make_backplane(url, "test")


async def test_a_unix_socket() -> None:
    with redis_service("--unixsocket", "redis.sock") as service:
        async with placed("redis", f"unix://{service.directory}/redis.sock") as place:
            one, two = await place.process(), await place.process(NEWS)
            one.publish(NEWS, b"hello")
            assert await two.wait_for(1) == [b"hello"]


# -- hubs ------------------------------------------------------------------------------------------------------------


async def test_hubs_reach_each_others_connections(place: Place) -> None:
    here, there = Hub(place.make()), Hub(place.make())
    for hub in (here, there):
        await hub.start()
        place.stack.push_async_callback(hub.stop)
    local, remote, other = member(here), member(there), member(there)
    for each in (local, remote):
        each.connection.join("news")
    remote.connection.change_user(SimpleNamespace(root_id="root:1"))
    client_id = remote.connection.client_id
    for hub in (here, there):
        await asyncio.wait_for(hub.settle(), SECONDS)
    await here.publish("news", "to the channel")
    await here.publish(user("root:1"), {"to": "the user"})
    await here.publish(client(client_id), b"to the client")
    await here.publish(EVERYONE, "to everyone")
    channel_frame, everyone_frame = text_frame(b"to the channel"), text_frame(b"to everyone")
    mine = text_frame(b'{"to":"the user"}') + binary_frame(b"to the client")
    await until(lambda: everyone_frame in remote.sink.data and everyone_frame in other.sink.data)
    assert remote.sink.data == channel_frame + mine + everyone_frame
    assert other.sink.data == everyone_frame
    await there.publish("news", "back")
    await until(lambda: text_frame(b"back") in local.sink.data)
    assert local.sink.data == channel_frame + everyone_frame + text_frame(b"back")
    there.unregister(remote.connection)
    await asyncio.wait_for(there.settle(), SECONDS)
    assert [name for name in there.backplane._topics.values() if name != EVERYONE] == [CONTROL]  # type: ignore[attr-defined]


async def test_five_thousand_publications_to_a_thousand_subscribers_come_whole_and_in_order(anywhere: Place) -> None:
    here = Hub(anywhere.make())
    there = here if anywhere.name == "memory" else Hub(anywhere.make())
    for hub in {here, there}:
        await hub.start()
        anywhere.stack.push_async_callback(hub.stop)
    subscribers = [member(there) for _ in range(1000)]
    for each in subscribers:
        each.connection.join("news")
    await asyncio.wait_for(there.settle(), SECONDS)
    for number in range(5000):
        await here.publish("news", number)
        if number % 100 == 99:
            await asyncio.sleep(0)  # a loop that does nothing else for long is no publisher that we know
    expected = b"".join(text_frame(b"%d" % number) for number in range(5000))
    await until(lambda: all(each.sink.size >= len(expected) for each in subscribers))
    assert all(each.sink.data == expected for each in subscribers)


async def test_a_revoked_login_ends_in_the_other_process(place: Place) -> None:
    here, there = Hub(place.make()), Hub(place.make())
    for hub in (here, there):
        await hub.start()
        place.stack.push_async_callback(hub.stop)
        await asyncio.wait_for(hub.settle(), SECONDS)
    guest = member(there)
    guest.connection.change_user(SimpleNamespace(root_id="r", user_id="u1", token_id="t", expires_at=None))
    there.logins.track(guest.connection, lambda connection, reason: connection.close(4401, reason))
    here.revoke(user_id="u1")
    await until(lambda: not guest.link.is_open)


async def test_hubs_go_on_alone_through_an_outage(own_place: Place, own_service: Service) -> None:
    here, there = Hub(own_place.make()), Hub(own_place.make())
    for hub in (here, there):
        await hub.start()
        own_place.stack.push_async_callback(hub.stop)
    local, remote = member(here), member(there)
    local.connection.join("news")
    own_service.kill()
    await until(lambda: here.degraded and there.degraded)
    await here.publish("news", "only here")
    remote.connection.join("news")
    await until(lambda: local.sink.data == text_frame(b"only here"))
    own_service.start()
    for hub in (here, there):
        await asyncio.wait_for(hub.settle(), SECONDS)
    await here.publish("news", "everywhere")
    await until(lambda: text_frame(b"everywhere") in remote.sink.data)
    assert remote.sink.data == text_frame(b"everywhere")


async def test_the_memory_backplane_is_never_degraded() -> None:
    backplane = MemoryBackplane()
    assert not backplane.degraded
    assert backplane.dropped == 0
    with suppress(TimeoutError):
        await asyncio.wait_for(backplane.settle(), SECONDS)


def test_a_publication_frames_itself_by_its_kind() -> None:
    assert Publication(EVERYONE, b"x", True).frame() == text_frame(b"x")
    assert Publication(EVERYONE, b"x", False).frame() == binary_frame(b"x")
