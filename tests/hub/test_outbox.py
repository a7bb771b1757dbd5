"""The outbox: order, one write a turn, a bound and its policies, writes past the sink; and the flusher behind."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from wireloom.hub import outbox as outbox_module
from wireloom.hub.outbox import Flusher, KeyedFrame, Outbox, OutboxRules

from .fakes import Sink

pytestmark = pytest.mark.anyio


class Flushes:
    """Stands where the flusher does and only counts."""

    def __init__(self) -> None:
        self.added: list[Outbox] = []

    def add(self, outbox: Outbox) -> None:
        self.added.append(outbox)


class Box:
    """An outbox with a sink, a counting flusher and a note of its overflow."""

    def __init__(self, limit: int = 1000, policy: Any = "close") -> None:
        self.sink = Sink()
        self.flushes = Flushes()
        self.overflows = 0
        self.rules = OutboxRules(limit, policy)
        flusher: Any = self.flushes
        self.outbox = Outbox(self.sink, flusher, self.rules, self.overflow)

    def overflow(self) -> None:
        """As a connection does it."""
        self.overflows += 1
        self.outbox.finish(b"close 1013")


def test_frames_leave_in_order_and_in_one_write() -> None:
    box = Box()
    for number in range(10):
        box.outbox.push(b"%d," % number)
    assert box.sink.writes == []
    assert box.flushes.added == [box.outbox]  # once
    box.outbox.flush()
    assert box.sink.writes == [b"0,1,2,3,4,5,6,7,8,9,"]
    box.outbox.flush()
    assert len(box.sink.writes) == 1


def test_a_single_frame_is_passed_on_as_it_is() -> None:
    box, frame = Box(), b"one frame"
    box.outbox.push(frame)
    box.outbox.flush()
    assert box.sink.writes[0] is frame


def test_a_marked_outbox_asks_for_no_flush() -> None:
    box = Box()
    box.outbox.marked = True
    box.outbox.push(b"corked")
    assert box.flushes.added == []


def test_a_long_run_is_written_before_its_turn_ends() -> None:
    box = Box()
    for _ in range(64):
        box.outbox.push(b"x")
    assert box.sink.writes == []
    box.outbox.push(b"x")
    assert box.sink.writes == [b"x" * 65]


def test_a_large_frame_is_written_at_once_after_those_before_it() -> None:
    box = Box()
    box.outbox.push(b"small")
    box.outbox.push(b"x" * (16 * 1024))
    assert box.sink.writes == []
    box.outbox.push(b"y" * (16 * 1024 + 1))
    assert box.sink.data == b"small" + b"x" * (16 * 1024) + b"y" * (16 * 1024 + 1)


def test_a_paused_outbox_holds_and_resumes_in_order() -> None:
    box = Box()
    box.outbox.pause()
    for number in range(5):
        box.outbox.push(b"%d" % number)
        box.outbox.flush()
    assert box.sink.writes == []
    assert box.outbox.waiting_bytes == 5
    box.outbox.resume()
    assert box.sink.writes == [b"01234"]
    assert box.outbox.waiting_bytes == 0
    box.outbox.push(b"5")
    box.outbox.flush()
    assert box.sink.data == b"012345"


def test_waiting_bytes_counts_the_queue_and_the_sink() -> None:
    box = Box()
    box.sink.held = 100
    box.outbox.push(b"12345")
    assert box.outbox.waiting_bytes == 105
    box.outbox.end()
    assert box.outbox.waiting_bytes == 0


def test_the_bound_is_exact_and_counts_what_the_sink_holds() -> None:
    box = Box(limit=1000)
    box.sink.held = 400
    box.outbox.pause()
    for _ in range(6):
        box.outbox.push(b"x" * 100)
        box.outbox.flush()
    assert box.overflows == 0
    box.outbox.push(b"y")
    box.outbox.flush()
    assert box.overflows == 1
    assert box.outbox.frames == []


def test_held_bytes_are_counted_once_however_often_it_is_flushed() -> None:
    box = Box(limit=1000)
    box.outbox.pause()
    box.outbox.push(b"x" * 900)
    for _ in range(10):
        box.outbox.flush()
    assert box.overflows == 0
    box.outbox.resume()
    box.outbox.pause()
    for _ in range(2):
        box.outbox.push(b"x" * 450)  # what was held before has left
        box.outbox.flush()
    assert box.overflows == 0


def test_the_close_policy_drops_what_waits_says_why_and_takes_nothing_more() -> None:
    box = Box(limit=10)
    box.outbox.pause()
    for _ in range(5):
        box.outbox.push(b"x" * 20)
        box.outbox.flush()
    assert box.overflows == 1
    box.outbox.resume()
    assert box.sink.writes == [b"close 1013"]
    assert box.outbox.frames == []


def test_the_drop_oldest_policy_keeps_the_newest_in_order_within_the_bound() -> None:
    box = Box(limit=100, policy="drop_oldest")
    box.outbox.pause()
    for number in range(50):
        box.outbox.push(b"%010d" % number)
        box.outbox.flush()
        assert box.outbox.waiting_bytes <= 100
    assert box.overflows == 0
    assert box.rules.counts.dropped["drop_oldest"] == 40
    box.outbox.resume()
    assert box.sink.writes == [b"".join(b"%010d" % number for number in range(40, 50))]


def test_drop_oldest_drops_whole_frames_and_only_as_many_as_it_must() -> None:
    box = Box(limit=100, policy="drop_oldest")
    box.sink.held = 50
    box.outbox.pause()
    for frame in (b"a" * 10, b"b" * 30, b"c" * 10, b"d" * 11):
        box.outbox.push(frame)
    box.outbox.flush()
    assert box.outbox.frames == [b"c" * 10, b"d" * 11]
    assert box.rules.counts.dropped["drop_oldest"] == 2


def test_a_burst_within_one_turn_stays_within_the_bound() -> None:
    box = Box(limit=1000, policy="drop_oldest")
    box.outbox.pause()
    for number in range(1000):
        box.outbox.push(b"%04d" % number)
    box.outbox.flush()
    assert box.outbox.waiting_bytes <= 1000
    assert box.outbox.frames[-1] == b"0999"
    assert box.outbox.frames == sorted(box.outbox.frames)


def test_finish_hands_over_everything_even_when_paused_and_ends() -> None:
    box = Box()
    box.outbox.pause()
    box.outbox.push(b"a")
    box.outbox.push(b"b")
    box.outbox.finish(b"last")
    assert box.sink.writes == [b"ablast"]
    box.outbox.push(b"too late")
    box.outbox.flush()
    box.outbox.finish(b"again")
    assert box.sink.writes == [b"ablast"]
    assert box.outbox.frames == []


def test_the_list_of_frames_is_always_the_same() -> None:
    """The hub holds its append method."""
    box = Box(limit=10, policy="drop_oldest")
    frames = box.outbox.frames
    box.outbox.push(b"1")
    box.outbox.flush()
    box.outbox.pause()
    box.outbox.push(b"x" * 30)
    box.outbox.flush()
    box.outbox.resume()
    box.outbox.finish(b"")
    assert box.outbox.frames is frames


# -- conflate --------------------------------------------------------------------------------------------------------


def keyed(data: bytes, key: str, topic: str = "topic") -> KeyedFrame:
    frame = KeyedFrame(data)
    frame.key = (topic, key)
    return frame


def test_conflate_keeps_the_newest_of_every_key_where_it_stands_and_all_without_one() -> None:
    box = Box(policy="conflate")
    box.outbox.pause()
    frames = [b"1", keyed(b"a1", "a"), b"2", keyed(b"b1", "b"), keyed(b"a2", "a"), b"3", keyed(b"a3", "a"), b"4"]
    for frame in frames:
        box.outbox.push(frame)
    box.outbox.flush()
    assert box.outbox.frames == [b"1", b"2", b"b1", b"3", b"a3", b"4"]
    assert box.rules.counts.dropped["conflate"] == 2
    box.outbox.push(keyed(b"b2", "b"))
    box.outbox.flush()
    box.outbox.flush()
    assert box.outbox.frames == [b"1", b"2", b"3", b"a3", b"4", b"b2"]
    assert box.rules.counts.dropped["conflate"] == 3
    box.outbox.resume()
    assert box.sink.writes == [b"123a34b2"]
    assert box.overflows == 0


def test_conflate_does_not_mix_up_the_keys_of_different_topics() -> None:
    box = Box(policy="conflate")
    box.outbox.pause()
    for topic in ("one", "other", "one"):
        box.outbox.push(keyed(topic.encode(), "key", topic))
    box.outbox.flush()
    assert box.outbox.frames == [b"other", b"one"]


def test_conflate_bounds_what_one_key_costs_however_much_is_published() -> None:
    box = Box(limit=100, policy="conflate")
    box.outbox.pause()
    for number in range(10_000):
        box.outbox.push(keyed(b"%050d" % number, "ab"[number % 2]))
        box.outbox.flush()
        assert box.outbox.waiting_bytes <= 100
    assert box.overflows == 0
    assert box.rules.counts.dropped["conflate"] == 9998
    box.outbox.resume()
    assert box.sink.data == b"%050d%050d" % (9998, 9999)


@pytest.mark.parametrize("different", [True, False])
def test_conflate_closes_where_too_much_waits_all_the_same(different: bool) -> None:
    box = Box(limit=100, policy="conflate")
    box.outbox.pause()
    for number in range(11):
        frame = b"x" * 10
        box.outbox.push(keyed(frame, f"{number}") if different else frame)
        box.outbox.flush()
        assert box.overflows == (number == 10)
    box.outbox.resume()
    assert box.sink.writes == [b"close 1013"]


@pytest.mark.parametrize("policy", ["close", "drop_oldest"])
def test_other_policies_do_not_look_at_keys(policy: str) -> None:
    box = Box(limit=100, policy=policy)
    box.outbox.pause()
    for number in range(5):
        box.outbox.push(keyed(b"%d" % number, "key"))
    box.outbox.flush()
    assert box.outbox.frames == [b"0", b"1", b"2", b"3", b"4"]
    assert not box.rules.counts.dropped


# -- past the sink ---------------------------------------------------------------------------------------------------


class Pair:
    """An outbox that writes past its sink into a real socket with a small buffer; the sink notes what comes to it."""

    def __init__(self, policy: Any = "close") -> None:
        self.near, self.far = socket.socketpair()
        self.near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        self.near.setblocking(False)
        self.far.setblocking(False)
        self.sink = Sink()
        flusher: Any = Flushes()
        self.rules = OutboxRules(1 << 30, policy)
        self.outbox = Outbox(self.sink, flusher, self.rules, lambda: None, self.near.fileno())

    def send(self, *frames: bytes) -> None:
        for frame in frames:
            self.outbox.push(frame)
        self.outbox.flush()
        self.sink.held = len(self.sink.data)  # as a transport: what it was given waits in it

    def read(self) -> bytes:
        """All that the peer can read now."""
        parts = []
        try:
            while part := self.far.recv(1 << 20):
                parts.append(part)
        except BlockingIOError:
            pass
        return b"".join(parts)

    def pass_on(self) -> bytes:
        """The peer reads; the sink writes all that it holds, as a transport does."""
        data = self.read()
        while waiting := self.sink.data:
            sent = os.write(self.near.fileno(), waiting)
            self.sink.writes[:] = [waiting[sent:]]
            data += self.read()
        self.sink.writes.clear()
        self.sink.held = 0
        return data


@pytest.fixture
def pair() -> Iterator[Pair]:
    pair = Pair()
    yield pair
    pair.near.close()
    pair.far.close()


def test_what_the_socket_takes_in_part_goes_on_in_the_sink_and_nothing_overtakes_it(pair: Pair) -> None:
    data = os.urandom(1 << 20)
    pair.send(b"one")
    pair.send(b"two", b"three")
    assert (pair.read(), pair.sink.writes) == (b"onetwothree", [])
    pair.send(data)
    assert 0 < len(pair.sink.data) < len(data)
    assert data.endswith(pair.sink.data)
    pair.send(b"after")
    assert pair.sink.data.endswith(b"after")
    first = pair.read()  # now the socket has room, but the sink's bytes are first
    pair.send(b"last")
    assert pair.sink.data.endswith(b"afterlast")
    assert first + pair.pass_on() == data + b"afterlast"
    pair.send(b"past again")
    assert pair.sink.writes == []
    assert pair.read() == b"past again"


def test_a_full_socket_gives_everything_to_the_sink_in_order(pair: Pair) -> None:
    sent = []
    for number in range(2000):
        sent.append(b"%06d" % number * 10)
        pair.send(sent[-1])
    assert pair.sink.writes
    assert pair.read() + pair.pass_on() == b"".join(sent)


def test_order_is_kept_through_pauses(pair: Pair) -> None:
    data = b"a" * (1 << 19)
    pair.send(data)
    pair.outbox.pause()
    pair.send(b"held")
    assert not pair.sink.data.endswith(b"held")
    got = pair.pass_on()
    pair.outbox.resume()
    pair.send(b"then")
    assert got + pair.read() + pair.pass_on() == data + b"heldthen"


def test_a_broken_pipe_is_for_the_sink_to_find_out(pair: Pair) -> None:
    pair.send(b"fine")
    pair.far.close()
    pair.send(b"broken")
    assert pair.sink.writes == [b"broken"]


def test_a_descriptor_that_is_closed_raises_nothing() -> None:
    pair = Pair()
    pair.send(b"fine")
    pair.near.close()
    pair.send(b"lost")
    assert pair.sink.writes == [b"lost"]
    pair.far.close()


def test_nothing_goes_past_a_sink_that_holds_bytes(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bytes] = []
    monkeypatch.setattr(outbox_module, "_write", lambda descriptor, data: written.append(data) or len(data))
    pair.sink.held = 1  # such as the answer to the handshake
    pair.outbox.push(b"first")
    pair.outbox.flush()
    assert (pair.sink.data, written) == (b"first", [])
    pair.sink.held = 0
    pair.outbox.push(b"second")
    pair.outbox.flush()
    assert (pair.sink.data, written) == (b"first", [b"second"])


def test_nothing_goes_past_the_sink_after_the_end(pair: Pair) -> None:
    pair.send(b"first")
    pair.outbox.push(b"waits")
    pair.outbox.finish(b"close")
    assert pair.outbox.direct < 0
    assert pair.sink.data == b"waitsclose"
    assert pair.read() == b"first"
    pair.send(b"too late")
    assert pair.read() == b""
    assert pair.sink.data == b"waitsclose"


async def test_the_flusher_writes_past_the_sink_in_order_and_never_while_it_holds_bytes(pair: Pair) -> None:
    flusher = Flusher(asyncio.get_running_loop())
    pair.outbox._flusher = flusher
    sent = []
    for number in range(3000):
        sent.append(b"%05d" % number)
        pair.outbox.push(sent[-1])
        await turn()
        pair.sink.held = len(pair.sink.data)
    assert pair.sink.writes  # so much does not fit
    assert pair.read() + pair.pass_on() == b"".join(sent)
    pair.outbox.push(b"on")
    await turn()
    assert pair.read() == b"on"


# -- the flusher -----------------------------------------------------------------------------------------------------


class Counted(Outbox):
    """An outbox that notes its flushes."""

    __slots__ = ("flushed", "on_flush")

    def __init__(self, sink: Sink, flusher: Flusher) -> None:
        super().__init__(sink, flusher, OutboxRules(1 << 20, "close"), lambda: None)
        self.flushed = 0
        self.on_flush: Callable[[], None] = lambda: None

    def flush(self, joined: bytes | None = None) -> None:
        self.flushed += 1
        super().flush(joined)
        self.on_flush()


class Group:
    """A topic."""

    def __init__(self, members: list[Outbox]) -> None:
        self.dirty = True
        self.members = members

    def outboxes(self) -> Iterable[Outbox]:
        return self.members


async def turn() -> None:
    """Lets everything that is ready run, once."""
    await asyncio.sleep(0)


async def turns(done: Callable[[], bool], most: int = 50) -> int:
    """Turns of the loop until something holds."""
    for count in range(most):
        if done():
            return count
        await turn()
    raise AssertionError(f"not done after {most} turns")


async def test_each_outbox_is_flushed_once_a_turn() -> None:
    flusher = Flusher(asyncio.get_running_loop())
    boxes = [Counted(Sink(), flusher) for _ in range(10)]
    for _ in range(5):
        for box in boxes:
            box.push(b"x")
    assert all(box.flushed == 0 for box in boxes)
    await turn()
    assert all(box.flushed == 1 for box in boxes)
    boxes[0].push(b"y")
    await turn()
    assert [box.flushed for box in boxes] == [2] + [1] * 9


async def test_large_batches_let_other_callbacks_run_in_between() -> None:
    loop = asyncio.get_running_loop()
    flusher = Flusher(loop)
    boxes = [Counted(Sink(), flusher) for _ in range(1000)]
    for number, box in enumerate(boxes):
        box.push(b"%d" % number)
    progress: list[int] = []

    def look() -> None:
        progress.append(sum(box.flushed for box in boxes))
        if progress[-1] < len(boxes):
            loop.call_soon(look)

    loop.call_soon(look)
    await turns(lambda: bool(progress) and progress[-1] == len(boxes))
    assert progress == [256, 512, 768, 1000]
    assert all(box.flushed == 1 for box in boxes)


async def test_nothing_is_lost_that_is_marked_during_a_flush() -> None:
    flusher = Flusher(asyncio.get_running_loop())
    sinks = [Sink() for _ in range(600)]
    boxes = [Counted(sink, flusher) for sink in sinks]
    late = Counted(Sink(), flusher)

    def more() -> None:
        boxes[0].on_flush = lambda: None
        boxes[0].push(b"second")  # flushed already
        boxes[599].push(b"second")  # still waits its turn
        late.push(b"new")

    boxes[0].on_flush = more
    for box in boxes:
        box.push(b"first")
    assert isinstance(late._sink, Sink)
    late_sink = late._sink
    await turns(lambda: bool(late_sink.writes) and len(boxes[0]._sink.writes) == 2)  # type: ignore[union-attr]
    assert sinks[0].writes == [b"first", b"second"]
    assert sinks[599].data == b"firstsecond"
    assert late_sink.data == b"new"
    assert all(sink.writes == [b"first"] for sink in sinks[1:599])


@pytest.mark.parametrize("size", [1, 255, 256, 257, 512])
async def test_the_flusher_comes_to_rest_and_starts_again(size: int) -> None:
    flusher = Flusher(asyncio.get_running_loop())
    boxes = [Counted(Sink(), flusher) for _ in range(size)]
    for round in (1, 2):
        for box in boxes:
            box.push(b"x")
        await turns(lambda: all(box.flushed == round for box in boxes))  # noqa: B023
        await turns(lambda: not flusher._scheduled)
    assert all(not box.marked for box in boxes)


async def test_a_group_is_asked_when_its_turn_comes_and_marked_clean() -> None:
    flusher = Flusher(asyncio.get_running_loop())
    boxes = [Counted(Sink(), flusher) for _ in range(3)]
    members: list[Outbox] = [boxes[0]]
    group = Group(members)
    for box in boxes:
        box.frames.append(b"x")
    flusher.add_group(group)
    members.append(boxes[1])
    await turn()
    assert not group.dirty
    assert [box.flushed for box in boxes] == [1, 1, 0]


async def test_outboxes_without_frames_are_left_alone() -> None:
    flusher = Flusher(asyncio.get_running_loop())
    box, sink = Counted(Sink(), flusher), Sink()
    flusher.add_group(Group([box]))
    flusher.add(box)
    await turn()
    assert box.flushed == 0
    assert sink.writes == []


async def test_one_sink_that_fails_does_not_stop_the_others() -> None:
    """A flusher that stays scheduled without being so would end all delivery of the process."""
    loop, failures = asyncio.get_running_loop(), []
    loop.set_exception_handler(lambda loop, context: failures.append(context["exception"]))

    class Broken(Sink):
        def write(self, data: bytes) -> None:
            raise RuntimeError("this transport is broken")

    flusher = Flusher(loop)
    broken, good = Counted(Broken(), flusher), Counted(Sink(), flusher)
    broken.push(b"x")
    good.push(b"x")
    await turn()
    good.push(b"y")
    assert isinstance(good._sink, Sink)
    sink = good._sink
    await turns(lambda: sink.data == b"xy")
