"""The hub: who hears what, encoded once and framed once."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from wireloom import EVERYONE, Hub
from wireloom.core.topic import Topic, client, user
from wireloom.hub import connection as connection_module
from wireloom.hub.backplane import base
from wireloom.hub.backplane.base import Publication
from wireloom.hub.backplane.memory import MemoryBackplane
from wireloom.hub.outbox import OutboxRules
from wireloom.wire.frames import binary_frame, text_frame

from .fakes import Member, member

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def running(hub: Hub | None = None) -> AsyncIterator[Hub]:
    hub = hub or Hub()
    await hub.start()
    try:
        yield hub
    finally:
        await hub.stop()


async def turn() -> None:
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_only_subscribers_hear_a_topic() -> None:
    async with running() as hub:
        inside, outside = member(hub), member(hub)
        inside.connection.join("news")
        await hub.publish("news", "hello")
        await turn()
        assert inside.sink.data == text_frame(b"hello")
        assert outside.sink.data == b""
        await hub.publish(EVERYONE, "all")
        await turn()
        assert outside.sink.data == text_frame(b"all")
        assert inside.sink.data == text_frame(b"hello") + text_frame(b"all")


async def test_payloads() -> None:
    async with running() as hub:
        one = member(hub)
        for data in ("text", b"bytes", bytearray(b"array"), memoryview(b"view"), {"json": "ü"}, None, 5):
            await hub.publish(EVERYONE, data)
        await turn()
        assert one.sink.data == b"".join(
            (
                text_frame(b"text"),
                binary_frame(b"bytes"),
                binary_frame(b"array"),
                binary_frame(b"view"),
                text_frame('{"json":"ü"}'.encode()),
                text_frame(b"null"),
                text_frame(b"5"),
            )
        )


async def test_what_cannot_be_encoded_is_the_publishers_error_and_reaches_nobody() -> None:
    async with running() as hub:
        one = member(hub)
        with pytest.raises(TypeError):
            await hub.publish(EVERYONE, object())
        await turn()
        assert one.sink.data == b""


async def test_every_outbox_gets_the_same_object_encoded_and_framed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded, framed = [], []
    real_encode, real_frame = msgspec.json.encode, base.text_frame

    def encode(data: Any) -> bytes:
        encoded.append(data)
        return real_encode(data)

    def frame(payload: bytes) -> bytes:
        framed.append(payload)
        return real_frame(payload)

    monkeypatch.setattr(connection_module, "encode_plain", encode)
    monkeypatch.setattr(base, "text_frame", frame)
    async with running() as hub:
        members = [member(hub) for _ in range(100)]
        await hub.publish(EVERYONE, {"n": 1})
        frames = [one.outbox.frames for one in members]
        assert all(len(each) == 1 for each in frames)
        assert all(each[0] is frames[0][0] for each in frames)
        assert encoded == [{"n": 1}]
        assert framed == [b'{"n":1}']
        await turn()
        assert all(one.sink.writes[0] is members[0].sink.writes[0] for one in members)


async def test_order_is_kept_across_topics_and_single_sends() -> None:
    async with running() as hub:
        one = member(hub)
        one.connection.join("a")
        one.connection.join("b")
        for number in range(30):
            await hub.publish("a" if number % 2 else "b", f"{number}")
            if number % 3 == 0:
                one.connection.send(f"own {number}")
            if number % 7 == 0:
                await turn()
        await turn()
        expected = b""
        for number in range(30):
            expected += text_frame(b"%d" % number) + (text_frame(b"own %d" % number) if number % 3 == 0 else b"")
        assert one.sink.data == expected


async def test_joining_twice_is_joining_once() -> None:
    async with running() as hub:
        one = member(hub)
        one.connection.join("news")
        one.connection.join("news")
        assert hub.count("news") == 1
        assert one.connection.channels == {"news"}
        await hub.publish("news", "x")
        await turn()
        assert one.sink.data == text_frame(b"x")
        one.connection.leave("news")
        one.connection.leave("news")
        one.connection.leave("never joined")
        assert hub.count("news") == 0
        assert one.connection.channels == frozenset()


async def test_leaving_ends_hearing() -> None:
    async with running() as hub:
        one, other = member(hub), member(hub)
        for each in (one, other):
            each.connection.join("news")
        one.connection.leave("news")
        await hub.publish("news", "x")
        await turn()
        assert one.sink.data == b""
        assert other.sink.data == text_frame(b"x")


async def test_what_was_published_before_leaving_still_leaves_within_the_turn() -> None:
    async with running() as hub:
        one, other = member(hub), member(hub)
        for each in (one, other):
            each.connection.join("news")
        await hub.publish("news", "before")
        one.connection.leave("news")
        await turn()
        assert other.sink.data == text_frame(b"before")
        assert one.sink.data == text_frame(b"before")


async def test_what_was_published_before_the_last_one_left_still_leaves_within_the_turn() -> None:
    async with running() as hub:
        one = member(hub)
        one.connection.join("news")
        await hub.publish("news", "before")
        one.connection.leave("news")
        await turn()
        assert one.sink.data == text_frame(b"before")


async def test_a_connection_that_joins_after_a_publication_does_not_hear_it() -> None:
    async with running() as hub:
        one, late = member(hub), member(hub)
        one.connection.join("news")
        await hub.publish("news", "1")
        late.connection.join("news")
        await hub.publish("news", "2")
        await turn()
        assert one.sink.data == text_frame(b"1") + text_frame(b"2")
        assert late.sink.data == text_frame(b"2")


async def test_a_closed_connection_does_not_join() -> None:
    async with running() as hub:
        one = member(hub)
        one.link.is_open = False
        one.connection.join("news")
        assert hub.count("news") == 0
        assert one.connection.channels == frozenset()


async def test_unregistering_forgets_everything() -> None:
    async with running() as hub:
        one, other = member(hub), member(hub)
        for name in ("a", "b"):
            one.connection.join(name)
            other.connection.join(name)
        client_id = one.connection.client_id
        assert one.connection.has_client_id
        hub.unregister(one.connection)
        assert hub.count() == hub.count("a") == hub.count("b") == 1
        assert hub.connections("a") == [other.connection]
        await hub.publish(client(client_id), "x")
        await hub.publish("a", "y")
        await turn()
        assert one.sink.data == b""
        hub.unregister(one.connection)
        hub.unregister(other.connection)
        assert not hub._topics
        assert not hub._clients


async def test_a_client_id_is_asked_for_before_it_is_known() -> None:
    async with running() as hub:
        one, other = member(hub), member(hub)
        assert not one.connection.has_client_id
        assert not hub._clients
        client_id = one.connection.client_id
        assert one.connection.client_id == client_id
        seconds, _, digits = client_id.partition(":")
        assert seconds.isdigit()
        assert len(digits) == 32
        assert int(digits, 16)
        await hub.publish(client(client_id), {"to": "one"})
        await hub.publish(client("1:unknown"), "nobody")
        await turn()
        assert one.sink.data == text_frame(b'{"to":"one"}')
        assert other.sink.data == b""


async def test_kinds_of_topic_do_not_mix() -> None:
    async with running() as hub:
        one = member(hub)
        one.connection.join("everyone:")
        one.connection.join("client:x")
        await hub.publish(EVERYONE, "1")
        await hub.publish(client("x"), "2")
        await hub.publish("channel:everyone:", "3")
        await hub.publish(user("x"), "4")
        await hub.publish("client:x", "5")  # text from outside is a channel's name, whatever it looks like
        await turn()
        assert one.sink.data == text_frame(b"1") + text_frame(b"5")
        assert one.connection.channels == {"everyone:", "client:x"}
        assert isinstance(EVERYONE, Topic)


async def test_publications_are_counted_and_cost_nothing_without_subscribers() -> None:
    async with running() as hub:
        await hub.publish("nobody", "x")
        assert hub.publications == 1
        assert not hub._topics
        assert hub.connections("nobody") == []
        assert hub.count("nobody") == 0


async def test_the_backplane_learns_of_the_first_and_the_last_subscriber() -> None:
    calls: list[str] = []

    class Noting(MemoryBackplane):
        async def start(self, receive: Any) -> None:
            calls.append("start")

        async def stop(self) -> None:
            calls.append("stop")

        def publish(self, publication: Publication) -> None:
            calls.append(f"publish {publication.topic} {publication.payload!r} {publication.text}")

        def subscribe(self, topic: Topic) -> None:
            calls.append(f"+{topic}")

        def unsubscribe(self, topic: Topic) -> None:
            calls.append(f"-{topic}")

    async with running(Hub(Noting())) as hub:
        one, other = member(hub), member(hub)
        for each in (one, other):
            each.connection.join("news")
        await hub.publish("news", b"x")
        await turn()
        assert one.sink.data == binary_frame(b"x")  # here at once, whatever the backplane does
        hub.deliver(Publication(Topic("channel:news"), b"y", True))
        await turn()
        assert one.sink.data == binary_frame(b"x") + text_frame(b"y")
        for each in (one, other):
            each.connection.leave("news")
        hub.unregister(one.connection)
        hub.unregister(other.connection)
    assert calls == [
        "start",
        "+control:",
        "+everyone:",
        "+channel:news",
        "publish channel:news b'x' False",
        "-channel:news",
        "-everyone:",
        "stop",
    ]


async def test_large_publications_do_not_pile_up_within_a_turn() -> None:
    async with running() as hub:
        members = [member(hub) for _ in range(3)]
        for number in range(40):
            await hub.publish(EVERYONE, bytes((number,)) * 10_000)
        waiting = [one.outbox.waiting_bytes for one in members]
        assert max(waiting) <= 160_000
        await turn()
        expected = b"".join(binary_frame(bytes((number,)) * 10_000) for number in range(40))
        assert all(one.sink.data == expected for one in members)


async def test_one_that_does_not_read_is_held_within_its_bound_and_the_others_hear_all() -> None:
    async with running() as hub:
        rules = OutboxRules(500_000, "drop_oldest")
        stopped: Member = member(hub, rules=rules)
        live = member(hub)
        stopped.outbox.pause()
        for number in range(300):
            await hub.publish(EVERYONE, b"%06d" % number * 2000)
            assert stopped.outbox.waiting_bytes <= 500_000 + 150_000
            if number % 10 == 0:
                await turn()
                assert stopped.outbox.waiting_bytes <= 500_000
        await turn()
        assert len(live.sink.data) == 300 * len(binary_frame(bytes(12_000)))
        stopped.outbox.resume()
        kept = stopped.sink.data
        assert kept
        newest = b"".join(binary_frame(b"%06d" % number * 2000) for number in range(300))
        assert newest.endswith(kept)


def test_a_hub_that_was_not_started_says_so() -> None:
    with pytest.raises(RuntimeError, match="not running"):
        _ = Hub().flusher


def test_public_names_survive_the_import_of_every_room() -> None:
    """A subpackage of the same name as a function takes the function's place."""
    wireloom = importlib.import_module("wireloom")
    importlib.import_module("wireloom.clients.connection")
    assert callable(wireloom.client)
    assert wireloom.client("1:x") == Topic("client:1:x")
