"""Event targets, case by case against the DOM Standard and HTML's event handler attributes."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from wireloom.clients.events import CloseEvent, Event, EventTarget, HandlerAttribute, MessageEvent

pytestmark = pytest.mark.anyio


class Target(EventTarget):
    onping = on_ping = HandlerAttribute("ping")


class Log(list[Any]):
    def writer(self, name: str) -> Callable[[Event], None]:
        return lambda event: self.append(name)


def test_listeners_are_called_in_the_order_of_their_addition() -> None:
    target, log = Target(), Log()
    for name in "abc":
        target.add_event_listener("ping", log.writer(name))
    target.add_event_listener("pong", log.writer("other"))
    assert target.dispatch_event(Event("ping"))
    assert log == ["a", "b", "c"]


def test_the_same_listener_is_added_once() -> None:
    target, log = Target(), Log()
    listener = log.writer("a")
    target.addEventListener("ping", listener)
    target.addEventListener("ping", listener, {"once": True})
    target.add_event_listener("ping", log.append)
    target.add_event_listener("ping", log.append)  # a bound method is another object each time
    for _ in range(2):
        target.dispatch_event(Event("ping"))
    assert [type(entry) for entry in log] == [str, Event] * 2


@pytest.mark.parametrize("spelling", [{"options": {"once": True}}, {"once": True}])
def test_once_is_removed_before_its_call(spelling: dict[str, Any]) -> None:
    target, log = Target(), Log()

    def listener(event: Event) -> None:
        log.append(event.type)
        if len(log) < 5:
            target.dispatch_event(Event("ping"))

    target.add_event_listener("ping", listener, **spelling)
    target.dispatch_event(Event("ping"))
    assert log == ["ping"]


@pytest.mark.parametrize("options", [None, True, {}, {"once": False}, {"capture": True, "passive": True}])
def test_other_options_mean_nothing(options: Any) -> None:
    target, log = Target(), Log()
    target.add_event_listener("ping", log.writer("a"), options)
    for _ in range(2):
        target.dispatch_event(Event("ping"))
    assert log == ["a", "a"]


def test_a_removed_listener_is_not_called() -> None:
    target, log = Target(), Log()
    a, b = log.writer("a"), log.writer("b")
    target.add_event_listener("ping", a)
    target.add_event_listener("ping", b)
    target.remove_event_listener("ping", a)
    target.removeEventListener("ping", log.writer("stranger"))
    target.removeEventListener("pong", b)
    target.removeEventListener("ping", None)
    target.dispatchEvent(Event("ping"))
    assert log == ["b"]


def test_one_removed_during_the_dispatch_is_not_called_in_it() -> None:
    target, log = Target(), Log()
    last = log.writer("last")
    target.add_event_listener("ping", lambda _: target.remove_event_listener("ping", last))
    target.add_event_listener("ping", last)
    target.dispatch_event(Event("ping"))
    assert log == []


def test_one_added_during_the_dispatch_is_called_from_the_next() -> None:
    target, log = Target(), Log()
    late = log.writer("late")
    target.add_event_listener("ping", lambda _: target.add_event_listener("ping", late))
    target.dispatch_event(Event("ping"))
    assert log == []
    target.dispatch_event(Event("ping"))
    assert log == ["late"]


def test_a_listener_may_stop_the_others() -> None:
    target, log = Target(), Log()
    target.add_event_listener("ping", lambda event: event.stopImmediatePropagation())
    target.add_event_listener("ping", log.writer("a"))
    target.dispatch_event(Event("ping"))
    assert log == []


@pytest.mark.parametrize("name", ["handle_event", "handleEvent"])
def test_an_object_may_listen(name: str) -> None:
    target, log = Target(), Log()
    listener = type("Listener", (), {name: lambda self, event: log.append(event.type)})()
    target.add_event_listener("ping", listener)
    target.dispatch_event(Event("ping"))
    target.remove_event_listener("ping", listener)
    target.dispatch_event(Event("ping"))
    assert log == ["ping"]


def test_nothing_is_no_listener_and_other_things_are_refused() -> None:
    target = Target()
    target.add_event_listener("ping", None)
    assert not target.has_listener("ping")
    with pytest.raises(TypeError, match="handle_event"):
        target.add_event_listener("ping", 5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="onping"):
        target.onping = 5  # type: ignore[assignment]


def test_an_attribute_keeps_the_place_of_its_first_setting() -> None:
    target, log = Target(), Log()
    target.onping = log.writer("first")
    target.add_event_listener("ping", log.writer("listener"))
    target.onping = log.writer("second")
    target.dispatch_event(Event("ping"))
    assert log == ["second", "listener"]


def test_an_attribute_that_is_set_to_none_loses_its_place() -> None:
    target, log = Target(), Log()
    target.onping = log.writer("first")
    target.add_event_listener("ping", log.writer("listener"))
    target.onping = None
    target.onping = None
    assert target.onping is None
    target.dispatch_event(Event("ping"))
    target.onping = log.writer("second")
    target.dispatch_event(Event("ping"))
    assert log == ["listener", "listener", "second"]


def test_an_attribute_has_both_spellings_and_is_no_listener() -> None:
    target, log = Target(), Log()
    handler = log.writer("a")
    target.on_ping = handler
    assert target.onping is handler
    target.add_event_listener("ping", handler)
    target.remove_event_listener("ping", handler)
    target.dispatch_event(Event("ping"))
    assert log == ["a"]
    assert isinstance(Target.onping, HandlerAttribute)


def test_an_event_knows_its_target() -> None:
    target, log = Target(), Log()
    event = Event("ping")
    assert (event.target, event.current_target) == (None, None)
    target.onping = lambda event: log.append((event.target, event.current_target, event.currentTarget))
    target.dispatch_event(event)
    assert log == [(target, target, target)]
    assert (event.target, event.current_target) == (target, None)
    assert 0 < event.time_stamp == event.timeStamp <= Event("later").time_stamp


def test_the_events_of_websockets() -> None:
    message = MessageEvent("message", data="x", origin="ws://h")
    assert (message.type, message.data, message.origin) == ("message", "x", "ws://h")
    close = CloseEvent("close", code=1000, reason="r", was_clean=True)
    assert (close.type, close.code, close.reason, close.was_clean, close.wasClean) == ("close", 1000, "r", True, True)


def test_an_event_that_was_stopped_may_be_dispatched_again() -> None:
    target, log, event = Target(), Log(), Event("ping")
    target.add_event_listener("ping", log.writer("a"))
    target.add_event_listener("ping", lambda event: event.stopImmediatePropagation())
    target.add_event_listener("ping", log.writer("b"))
    for _ in range(2):
        target.dispatch_event(event)
    assert log == ["a", "a"]


async def test_an_exception_is_told_to_the_loop_and_stops_nobody() -> None:
    target, log = Target(), Log()
    told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.put_nowait(context))
    broken, failing, cancelled = ValueError("broken"), KeyError("failing"), asyncio.CancelledError("another's")

    def taking_a_result(event: Event) -> None:
        raise cancelled

    def listener(event: Event) -> None:
        raise broken

    async def waiting(event: Event) -> None:
        await asyncio.sleep(0)
        raise failing

    target.add_event_listener("ping", listener)
    target.add_event_listener("ping", taking_a_result)
    target.add_event_listener("ping", waiting)
    target.add_event_listener("ping", log.writer("a"))
    try:
        target.dispatch_event(Event("ping"))
        assert log == ["a"]
        async with asyncio.timeout(5):
            contexts = [await told.get() for _ in range(3)]
    finally:
        asyncio.get_running_loop().set_exception_handler(None)
    assert [context["exception"] for context in contexts] == [broken, cancelled, failing]
    assert all("'ping'" in context["message"] for context in contexts)


async def test_asynchronous_listeners_start_in_order_and_are_held() -> None:
    target, log = Target(), Log()
    done = asyncio.Event()

    def listener(name: str) -> Callable[[Event], Any]:
        async def listen(event: Event) -> None:
            log.append(f"{name} starts")
            await asyncio.sleep(0)
            log.append(f"{name} ends")
            if name == "b":
                done.set()

        return listen

    for name in "ab":
        target.add_event_listener("ping", listener(name))
    target.dispatch_event(Event("ping"))
    async with asyncio.timeout(5):
        await done.wait()
    assert log == ["a starts", "b starts", "a ends", "b ends"]


async def test_an_asynchronous_listener_that_waits_is_not_collected() -> None:
    target = Target()
    waiting: list[weakref.ref[asyncio.Future[None]]] = []

    async def listen(event: Event) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting.append(weakref.ref(future))
        await future

    target.add_event_listener("ping", listen)
    target.dispatch_event(Event("ping"))
    await asyncio.sleep(0)
    gc.collect()
    future = waiting[0]()
    assert future is not None
    future.set_result(None)
