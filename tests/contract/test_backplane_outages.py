"""What every backplane does when its server is lost, does not answer, or comes back."""

from __future__ import annotations

import asyncio
import logging

import pytest

from tests.services import Service
from wireloom.core.topic import CONTROL, EVERYONE, channel, client
from wireloom.hub.backplane import courier
from wireloom.hub.backplane import nats as nats_backplane
from wireloom.hub.backplane import redis as redis_backplane

from .places import MIB, NEWS, PASSWORDS, SECONDS, SERVERS, Place, placed, until

pytestmark = pytest.mark.anyio


# -- outages ---------------------------------------------------------------------------------------------------------


async def test_it_comes_back_by_itself(
    own_place: Place, own_service: Service, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(courier, "STEADY_SECONDS", 0.0)
    caplog.set_level(logging.INFO, "wireloom")
    one, two = await own_place.process(), await own_place.process(NEWS, channel("left meanwhile"))
    for outage in range(2):
        own_service.kill()
        await until(lambda: one.backplane.degraded and two.backplane.degraded)
        dropped = one.backplane.dropped
        for _ in range(10):
            one.publish(NEWS, b"lost")
        assert one.backplane.dropped == dropped + 10
        async with asyncio.timeout(SECONDS):
            await one.backplane.drain()
        meanwhile = channel(f"joined meanwhile {outage}")
        two.backplane.subscribe(meanwhile)
        two.backplane.unsubscribe(channel("left meanwhile"))
        settled = asyncio.ensure_future(two.backplane.settle())
        await asyncio.wait([settled], timeout=0.05)
        assert not settled.done()
        own_service.start()
        async with asyncio.timeout(SECONDS):
            await settled
            await one.backplane.settle()
        assert not one.backplane.degraded
        assert not two.backplane.degraded
        await until(lambda: one.backplane.reconnects == two.backplane.reconnects == outage + 1)  # noqa: B023
        two.heard.clear()
        for topic in (channel("left meanwhile"), NEWS, meanwhile):
            one.publish(topic, b"end" if topic == meanwhile else b"news")
        await two.wait_until_heard(b"end")
        assert [heard.topic for heard in two.heard] == [NEWS, meanwhile]
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 4, "one of each process in each outage"
    assert all("is lost" in record.getMessage() for record in warnings)


async def test_ten_thousand_topics_are_subscribed_again(own_place: Place, own_service: Service) -> None:
    one, two = await own_place.process(), await own_place.process()
    topics = [client(f"{number:05}") for number in range(10_000)]
    await two.subscribe(*topics)
    own_service.kill()
    await until(lambda: one.backplane.degraded and two.backplane.degraded)
    own_service.start()
    async with asyncio.timeout(SECONDS):
        await two.backplane.settle()
        await one.backplane.settle()
    for topic in topics:
        one.publish(topic, b"")
    await two.wait_for(10_000)
    assert [heard.topic for heard in two.heard] == topics


async def test_publishing_through_an_outage_raises_nothing_and_disorders_nothing(
    own_place: Place, own_service: Service
) -> None:
    one, two = await own_place.process(), await own_place.process(NEWS)
    for number in range(1000):
        one.publish(NEWS, b"%d" % number)
    own_service.kill()  # some are in the queue, some on their way
    for number in range(1000, 2000):
        one.publish(NEWS, b"%d" % number)
        await asyncio.sleep(0)
    await until(lambda: one.backplane.degraded and two.backplane.degraded)
    own_service.start()
    async with asyncio.timeout(SECONDS):
        await two.backplane.settle()
        await one.backplane.settle()
    one.publish(NEWS, b"9999")
    heard = [int(payload) for payload in await two.wait_until_heard(b"9999")]
    assert heard == sorted(set(heard))
    assert 0 < one.backplane.dropped
    assert one.backplane.dropped + len(heard) >= 2001


async def test_an_outage_without_an_end_is_logged_once(
    own_place: Place, own_service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    one = await own_place.process()
    for _ in range(4):
        own_service.kill()
        await until(lambda: one.backplane.degraded)
        own_service.start()
        await asyncio.wait_for(one.backplane.settle(), SECONDS)
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 1


async def test_what_waited_when_the_server_was_lost_is_dropped_and_counted(
    own_place: Place, own_service: Service
) -> None:
    one, two = await own_place.process(), await own_place.process(NEWS)
    own_service.stop_answering()
    for _ in range(5):
        one.publish(NEWS, b"lost" + bytes(8 * MIB // 5))
    own_service.kill()
    await until(lambda: two.backplane.degraded and one.backplane.dropped == 5)
    own_service.start()
    async with asyncio.timeout(SECONDS):
        await two.backplane.settle()
        await one.backplane.settle()
    one.publish(NEWS, b"end")
    assert await two.wait_until_heard(b"end") == [b"end"]


async def test_a_subscription_is_settled_when_the_server_has_answered(own_place: Place, own_service: Service) -> None:
    one = await own_place.process(NEWS)
    own_service.stop_answering()
    one.backplane.subscribe(EVERYONE)
    settled = asyncio.ensure_future(one.backplane.settle())
    await asyncio.wait([settled], timeout=0.1)
    assert not settled.done()
    own_service.go_on()
    await asyncio.wait_for(settled, SECONDS)


async def test_it_tries_again_ever_more_seldom(
    own_place: Place, own_service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    ceilings: list[float] = []
    monkeypatch.setattr(courier.random, "uniform", lambda low, high: ceilings.append(high) or low)
    await own_place.process(NEWS)
    own_service.kill()
    await until(lambda: len(ceilings) >= 8)
    assert ceilings[:8] == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]


async def test_stopping_in_an_outage(own_place: Place, own_service: Service) -> None:
    one = await own_place.process(NEWS)
    own_service.kill()
    await until(lambda: one.backplane.degraded)
    settled = asyncio.ensure_future(one.backplane.settle())
    await asyncio.sleep(0)
    async with asyncio.timeout(SECONDS):
        await one.backplane.flush()
        await one.backplane.stop()
        await settled
    assert not one.backplane.degraded


async def test_a_settle_that_is_given_up_leaves_nothing(own_place: Place, own_service: Service) -> None:
    one = await own_place.process(NEWS)
    own_service.kill()
    await until(lambda: one.backplane.degraded)
    before = asyncio.all_tasks()
    for _ in range(3):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(one.backplane.settle(), 0.01)
    assert {task for task in asyncio.all_tasks() - before if "settle" in repr(task)} == set()


async def test_publishers_wait_for_a_server_that_does_not_read(
    own_place: Place, own_service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    one, two = await own_place.process(), await own_place.process(NEWS)
    own_service.stop_answering()
    payloads = [bytes([number]) * MIB for number in range(40)]
    for payload in payloads:
        one.publish(NEWS, payload, False)
        await asyncio.sleep(0)
    assert not one.backplane.degraded
    dropped = one.backplane.dropped
    assert 24 <= dropped < 30, "16 MiB wait"
    assert [record.getMessage().count("queue is full") for record in caplog.records] == [1]
    one.publish(CONTROL, bytes(MIB))
    assert one.backplane.dropped == dropped, "revocations always fit"
    drained = asyncio.ensure_future(one.backplane.drain())
    await asyncio.wait([drained], timeout=0.1)
    assert not drained.done()
    own_service.go_on()
    await asyncio.wait_for(drained, SECONDS)
    assert await two.wait_for(40 - dropped) == payloads[: 40 - dropped]
    assert one.backplane.dropped == dropped


async def test_a_server_that_no_longer_answers_is_noticed(
    own_place: Place, own_service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(courier, "HEARTBEAT_SECONDS", 0.05)
    for module in (redis_backplane, nats_backplane):
        monkeypatch.setattr(module, "ANSWER_SECONDS", 0.3)
    idle, busy = await own_place.process(NEWS), await own_place.process()
    own_service.stop_answering()
    for _ in range(10):
        busy.publish(NEWS, bytes(MIB))
    waiting = asyncio.ensure_future(busy.backplane.drain())
    await until(lambda: idle.backplane.degraded and busy.backplane.degraded)
    await asyncio.wait_for(waiting, SECONDS)
    own_service.go_on()
    async with asyncio.timeout(SECONDS):
        await idle.backplane.settle()
        await busy.backplane.settle()
    busy.publish(NEWS, b"again")
    await idle.wait_until_heard(b"again")


async def test_stopping_while_the_server_does_not_answer(own_place: Place, own_service: Service) -> None:
    one = await own_place.process(NEWS)
    own_service.stop_answering()
    for _ in range(10):
        one.publish(NEWS, bytes(MIB))
    async with asyncio.timeout(5):
        await one.backplane.stop()
    assert one.backplane.dropped > 0


async def test_no_log_holds_a_password_or_a_payload(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "wireloom")
    for name, start in SERVERS.items():
        with start(*PASSWORDS[name]) as service:
            url = service.url.replace("//", f"//{'wireloom' if name == 'nats' else ''}:pass-word-1@")
            async with placed(name, url) as place:
                one = await place.process(NEWS)
                service.kill()
                one.publish(NEWS, b"pay-load-1")
                await until(lambda one=one: one.backplane.degraded)  # type: ignore[misc]
                one.publish(NEWS, b"pay-load-1")
                await until(lambda name=name: f"{name}: " in caplog.text or "Connect" in caplog.text)  # type: ignore[misc]
    assert "***@127.0.0.1" in caplog.text
    assert "pass-word-1" not in caplog.text
    assert "pay-load-1" not in caplog.text
