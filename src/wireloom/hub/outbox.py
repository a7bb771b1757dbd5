"""Outbox: a connection's bounded queue of framed bytes, and the flusher that empties all of them once a loop turn.

Laws:
- What one loop turn produces for a connection leaves in one write.
- Bytes leave in the order in which they were put in, whoever put them.
- Between two turns an outbox holds little: a long run or a large frame is written at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from itertools import islice
from os import write as _write  # a global of this module, because it is looked up for every delivery
from typing import Literal, Protocol

from wireloom.metrics import EndpointCounts

__all__ = [
    "DeflatingOutbox",
    "Flushable",
    "Flusher",
    "FrameDeflater",
    "KeyedFrame",
    "Outbox",
    "OutboxRules",
    "Sink",
    "deflate",
]

_FLUSH_FRAMES = 64
_FLUSH_FRAME_BYTES = 16 * 1024
_WRITES_PER_TURN = 256

Policy = Literal["close", "drop_oldest", "conflate"]


class KeyedFrame(bytes):
    """A frame that a newer one of the same key replaces, where a reader is too slow to get both."""

    key: tuple[str, str]


class FrameDeflater(Protocol):
    """Compresses frames for the connections that share it."""

    def deflate_frame(self, frame: bytes) -> bytes:
        """The frame as it leaves; the same object where nothing is won."""


def deflate(deflater: FrameDeflater, frame: bytes) -> bytes:
    """A frame as it leaves for the connections of a deflater; its key stays."""
    deflated = deflater.deflate_frame(frame)
    if deflated is frame or not isinstance(frame, KeyedFrame):
        return deflated
    keyed = KeyedFrame(deflated)
    keyed.key = frame.key
    return keyed


class OutboxRules:
    """What all outboxes of an endpoint share.

    Args:
        limit_bytes: bytes that may wait for the peer, those in the transport included.
        policy: what happens above the limit.
        counts: of the endpoint.
    """

    __slots__ = ("counts", "limit_bytes", "policy")

    def __init__(self, limit_bytes: int, policy: Policy, counts: EndpointCounts | None = None) -> None:
        self.limit_bytes = limit_bytes
        self.policy = policy
        self.counts = counts or EndpointCounts()


class Sink(Protocol):
    """Where an outbox puts its bytes: the transport of a connection."""

    def write(self, data: bytes) -> None:
        """Takes bytes; what the operating system does not take at once waits in the sink."""

    def get_write_buffer_size(self) -> int:
        """Bytes that wait in the sink."""


class Outbox:
    """One connection's queue of frames.

    Args:
        sink: where the bytes go; None: nowhere before `begin`.
        flusher: empties this outbox within the loop turn.
        rules: its bound.
        overflow: called when the policy is to close; it finishes the outbox with a close frame.
        descriptor: the sink's non-blocking file descriptor, where bytes may go past the sink while it holds none;
            -1 where they must not.
    """

    __slots__ = (
        "_descriptor",
        "_flusher",
        "_held_bytes",
        "_held_frames",
        "_overflow",
        "_rules",
        "_sink",
        "counts",
        "direct",
        "frames",
        "marked",
        "paused",
    )

    def __init__(
        self,
        sink: Sink | None,
        flusher: Flusher,
        rules: OutboxRules,
        overflow: Callable[[], None],
        descriptor: int = -1,
    ) -> None:
        self.frames: list[bytes] = []
        self.marked = False  # someone will call flush; the connection's own reading sets it to cork
        self.paused = False  # the sink has enough
        self.direct = -1  # the descriptor, while the sink is known to hold nothing
        self.counts = rules.counts
        self._descriptor = descriptor
        self._sink = sink
        self._flusher = flusher
        self._rules = rules
        self._overflow = overflow
        self._held_frames = 0  # of the frames: how many are counted in _held_bytes
        self._held_bytes = 0

    @property
    def deflater(self) -> FrameDeflater | None:
        """What compresses its frames. Who puts frames into `frames` itself asks it first."""
        return None

    def begin(self, sink: Sink, descriptor: int = -1) -> None:
        """The connection has opened: from now on what is pushed goes to the sink."""
        self._sink = sink
        self._descriptor = descriptor

    def push(self, frame: bytes) -> None:
        """Takes one frame; it leaves within this loop turn if the peer reads."""
        if self._sink is None:
            return
        self.frames.append(frame)
        if not self.marked:
            self.marked = True
            self._flusher.add(self)
        if len(frame) > _FLUSH_FRAME_BYTES or len(self.frames) > _FLUSH_FRAMES:
            self.flush()

    def flush(self, joined: bytes | None = None) -> None:
        """Writes what waits, or holds it within the bound while the peer does not read.

        Args:
            joined: all the frames in one, where the caller has it already.
        """
        frames = self.frames
        if self.paused:
            self._hold()
        elif self._sink is None:
            frames.clear()
        elif frames:
            counts = self.counts
            counts.sent += len(frames)
            if len(frames) == 1:
                data = frames.pop()
            else:
                data = b"".join(frames) if joined is None else joined
                frames.clear()
            counts.sent_bytes += len(data)
            self.write(data)

    def write(self, data: bytes) -> None:
        """Writes at once what was counted, past the sink while it holds nothing: that saves a tenth of a delivery."""
        if self.direct < 0 and not self._go_direct():
            self._sink.write(data)  # type: ignore[union-attr]  # callers know that there is one
            return
        try:
            sent = _write(self.direct, data)
        except OSError:  # full, or broken: the sink will find out which
            sent = 0
        if sent < len(data):
            self.direct = -1
            self._sink.write(data[sent:])  # type: ignore[union-attr]

    def _go_direct(self) -> bool:
        if self._descriptor >= 0 and not self._sink.get_write_buffer_size():  # type: ignore[union-attr]
            self.direct = self._descriptor
        return self.direct >= 0

    def pause(self) -> None:
        """The sink has enough for now."""
        self.paused = True
        self.counts.paused.add(self)

    def resume(self) -> None:
        """The sink takes more."""
        self.paused = False
        self.counts.paused.discard(self)
        self._held_frames = self._held_bytes = 0
        self.flush()

    def finish(self, last: bytes) -> None:
        """Hands everything that waits and one last frame to the sink, whatever its state, and ends."""
        if self._sink is not None:
            sink, frames = self._sink, [*self.frames, last]
            self.counts.sent += len(frames) - 1
            self.counts.sent_bytes += sum(map(len, frames))
            self.end()
            self._write_all(sink, frames)

    def _write_all(self, sink: Sink, frames: list[bytes]) -> None:
        sink.write(b"".join(frames))

    def end(self) -> None:
        """Forgets the sink; whatever is pushed from now on is dropped."""
        self._sink = None
        self.direct = -1
        if self.paused:
            self.paused = False
            self.counts.paused.discard(self)
        self.frames.clear()

    def release(self) -> None:
        """The connection is over and nobody refers to it by its deflater any more."""

    @property
    def waiting_bytes(self) -> int:
        """Bytes that wait for the peer, in this queue and in the sink."""
        in_sink = self._sink.get_write_buffer_size() if self._sink is not None else 0
        return in_sink + sum(map(len, self.frames))

    def _hold(self) -> None:
        frames = self.frames
        if self._rules.policy == "conflate":
            self._conflate()
        self._held_bytes += sum(map(len, islice(frames, self._held_frames, None)))
        self._held_frames = len(frames)
        in_sink = self._sink.get_write_buffer_size() if self._sink is not None else 0
        excess = self._held_bytes + in_sink - self._rules.limit_bytes
        if excess <= 0:
            return
        if self._rules.policy == "drop_oldest":
            self._drop_oldest(excess)
        else:
            self.counts.dropped["close"] += len(frames)
            frames.clear()
            self._overflow()

    def _conflate(self) -> None:
        """Keeps the newest frame of every key, where it stands in the order, and all frames that have none."""
        if not any(isinstance(frame, KeyedFrame) for frame in islice(self.frames, self._held_frames, None)):
            return
        seen: set[tuple[str, str]] = set()
        kept: list[bytes] = []
        for frame in reversed(self.frames):
            if isinstance(frame, KeyedFrame):
                if frame.key in seen:
                    continue
                seen.add(frame.key)
            kept.append(frame)
        self.counts.dropped["conflate"] += len(self.frames) - len(kept)
        self.frames[:] = reversed(kept)  # in place: topics hold this list's append
        self._held_frames = self._held_bytes = 0

    def _drop_oldest(self, excess: int) -> None:
        count = 0
        for frame in self.frames:
            if excess <= 0:
                break
            excess -= len(frame)
            self._held_bytes -= len(frame)
            count += 1
        del self.frames[:count]
        self._held_frames -= count
        self.counts.dropped["drop_oldest"] += count


class DeflatingOutbox(Outbox):
    """The outbox of a connection that has agreed on permessage-deflate.

    Args:
        deflater: shared by all connections of the same agreement, or this connection's own.
    """

    __slots__ = ("_deflater",)

    def __init__(
        self, deflater: FrameDeflater, flusher: Flusher, rules: OutboxRules, overflow: Callable[[], None]
    ) -> None:
        super().__init__(None, flusher, rules, overflow)
        self._deflater: FrameDeflater | None = deflater

    @property
    def deflater(self) -> FrameDeflater | None:
        """What compresses its frames."""
        return self._deflater

    def push(self, frame: bytes) -> None:
        """Takes one frame, and compresses it where that wins something."""
        if self._sink is not None and self._deflater is not None:
            super().push(deflate(self._deflater, frame))

    def release(self) -> None:
        """A deflater may hold 300 KiB; the garbage collector might come for a dead connection much later."""
        self._deflater = None


class Flushable(Protocol):
    """Something that names outboxes in need of a flush: an outbox itself is added directly, a topic as this."""

    dirty: bool

    def outboxes(self) -> Iterable[Outbox]:
        """The outboxes that may have got something."""


class Flusher:
    """Empties outboxes once a loop turn; a large batch lets the loop do other work every few hundred writes.

    Args:
        loop: the event loop of all these outboxes.
    """

    __slots__ = ("_batch", "_groups", "_loop", "_outboxes", "_scheduled")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._outboxes: list[Outbox] = []
        self._groups: list[Flushable] = []
        self._batch: list[Outbox] = []
        self._scheduled = False

    def add(self, outbox: Outbox) -> None:
        """Notes an outbox; the caller has set its `marked`."""
        self._outboxes.append(outbox)
        if not self._scheduled:
            self._schedule()

    def add_group(self, group: Flushable) -> None:
        """Notes all outboxes of a topic; the caller has set its `dirty`."""
        self._groups.append(group)
        if not self._scheduled:
            self._schedule()

    def _schedule(self) -> None:
        self._scheduled = True
        self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        if not self._batch:
            self._batch = self._take()
        batch = self._batch
        last: list[bytes] = []
        joined = frame = b""
        counts: EndpointCounts | None = None
        repeats = 0  # how often the frame was written for that endpoint: counted once for all of them
        try:
            for _ in range(min(len(batch), _WRITES_PER_TURN)):
                outbox = batch.pop()
                outbox.marked = False
                frames = outbox.frames
                if len(frames) == 1 and outbox.direct >= 0:
                    if frames[0] is frame and outbox.counts is counts:
                        repeats += 1
                    else:
                        _count(counts, frame, repeats)
                        frame, counts, repeats = frames[0], outbox.counts, 1
                    outbox.write(frames.pop())
                elif len(frames) > 1:
                    # Subscribers of one topic wait for the same objects: joined once, written to all of them.
                    if frames != last:
                        last, joined = frames[:], b"".join(frames)
                    outbox.flush(joined)
                elif frames:
                    outbox.flush()
        finally:  # a transport that fails must not keep the others waiting
            _count(counts, frame, repeats)
            if batch or self._outboxes or self._groups:
                self._loop.call_soon(self._flush)
            else:
                self._scheduled = False

    def _take(self) -> list[Outbox]:
        """All that were noted, singly or by a topic."""
        outboxes, groups = self._outboxes, self._groups
        self._outboxes, self._groups = [], []
        for group in groups:
            group.dirty = False
            outboxes.extend(group.outboxes())
        return outboxes


def _count(counts: EndpointCounts | None, frame: bytes, repeats: int) -> None:
    if counts is not None:
        counts.sent += repeats
        counts.sent_bytes += repeats * len(frame)
