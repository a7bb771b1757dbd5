"""Random bytes into the reader: however they come, events or one ProtocolError come out, as the oracle says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wireloom.errors import ProtocolError
from wireloom.wire.messages import Close, MessageReader, Ping, Pong, ReaderRules

from ..wire.oracle import Oracle, frame, head, plain, read, read_bytewise

LIMIT = 300
HEADER_BYTES = 14  # the longest: two bytes, a length of 64 bits, a key
CONTROL_BYTES = 2 + 4 + 125


RULES = [
    ReaderRules(masked, limit, fragments)
    for masked in (True, False)
    for limit, fragments in ((0, 100_000), (LIMIT, 4), (5, 2))
]
_bytes = st.integers(0, 255)
# Text that is good, almost good, or cut inside a character.
_pieces = st.sampled_from(
    [
        b"a",
        "é".encode(),
        "€".encode(),
        "😀".encode(),
        b"\xe2\x82",
        b"\xf0\x9f",
        b"\xed\xa0",
        b"\xf4\x90",
        b"\xc0",
        b"\x80",
        b"\xff",
    ]
)
_payloads = st.one_of(
    st.binary(max_size=40),
    st.lists(_pieces, max_size=6).map(b"".join),
    st.integers(110, 140).map(lambda size: b"x" * size),
    st.sampled_from([b"", b"\x03\xe8", b"\x03", b"\x03\xed", b"\x0f\xa0bye", b"\x03\xe8\xff"]),
    st.sampled_from([b"z" * 295, b"z" * 300, b"z" * 301, b"y" * 520]),
)
_firsts = st.one_of(
    st.sampled_from((0x81, 0x82, 0x01, 0x02, 0x00, 0x80, 0x89, 0x8A, 0x88, 0xC1, 0xC2, 0x41)),
    st.sampled_from((0x00, 0x00, 0x80)),
    _bytes,
)


@st.composite
def streams(draw: Callable[..., Any]) -> bytes:
    """Frames that are mostly sound, in an order that is mostly sound, the last of them perhaps cut."""
    masked = draw(st.booleans())
    data = b""
    for _ in range(draw(st.integers(1, 8))):
        payload = draw(_payloads)
        key = draw(st.binary(min_size=4, max_size=4)) if masked != (draw(st.integers(0, 15)) == 0) else None
        form = draw(st.sampled_from((None,) * 8 + (16, 64)))
        first = draw(_firsts)
        if draw(st.integers(0, 15)):
            data += frame(first, payload, key, **({} if form is None else {"form": form}))
        else:  # a header that promises what does not come
            data += head(first, draw(st.sampled_from((200, 301, 70_000, 2**40, 2**63))), mask_bit=0x80 if key else 0)
    return data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data


@st.composite
def mutated(draw: Callable[..., Any]) -> bytes:
    """A sound stream in which a few bytes were changed, lost, put in or doubled."""
    masked = draw(st.booleans())
    key = b"\x0f\xf0\x55\xaa" if masked else None
    sound = (
        frame(0x81, "Grüße".encode(), key)
        + frame(0x01, b"\xf0\x9f", key)
        + frame(0x89, b"ping", key)
        + frame(0x80, b"\x98\x80", key)
        + frame(0x82, bytes(range(200)), key)
        + frame(0x88, b"\x03\xe8bye", key)
    )
    data = bytearray(sound)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, min(len(data) - 1, 60))))
        change = draw(st.sampled_from(("set", "flip", "cut", "insert", "double")))
        if change == "insert":
            data[at:at] = draw(st.binary(min_size=1, max_size=5))
        elif change == "double":
            data[at:at] = data[at : at + draw(st.integers(1, 20))]
        elif change == "cut":
            del data[at : at + draw(st.integers(1, 20))]
        elif data:
            data[at] = draw(_bytes) if change == "set" else data[at] ^ (1 << draw(st.integers(0, 7)))
    return bytes(data)


def check(data: bytes, rules: ReaderRules, cuts: list[int]) -> None:
    known = Oracle(rules).read(data)
    events = [event for _, event in known]
    assert read(data, rules) == events
    assert read(data, rules, [cut % (len(data) + 1) for cut in cuts]) == events
    assert read_bytewise(data, rules) == known
    check_compressed(data, rules, cuts)
    kinds = [type(event) for event in MessageReader(rules).feed(data)]
    assert set(kinds) <= {str, bytes, Ping, Pong, Close, ProtocolError}
    assert not {Close, ProtocolError} & set(kinds[:-1])


def check_compressed(data: bytes, rules: ReaderRules, cuts: list[int]) -> None:
    """As above with an extension. Where a text is both too long and bad, it depends on the cuts which is told."""
    known = Oracle(rules, doubling=True).read(data)
    events = alike([event for _, event in known])
    assert alike(read(data, rules, doubling=True)) == events
    assert alike(read(data, rules, [cut % (len(data) + 1) for cut in cuts], doubling=True)) == events
    assert read_bytewise(data, rules, doubling=True) == known


def alike(events: list[Any]) -> list[Any]:
    return [("failed", 1009) if event == ("failed", 1007) else event for event in events]


_rules = st.sampled_from(RULES)
_cuts = st.lists(st.integers(0, 5000), max_size=6)


@settings(deadline=None, max_examples=800)
@given(st.binary(max_size=80), _rules, _cuts)
def test_arbitrary_bytes(data: bytes, rules: ReaderRules, cuts: list[int]) -> None:
    check(data, rules, cuts)


@settings(deadline=None, max_examples=1000)
@given(streams(), _rules, _cuts)
def test_frames_that_are_mostly_sound(data: bytes, rules: ReaderRules, cuts: list[int]) -> None:
    check(data, rules, cuts)


@settings(deadline=None, max_examples=800)
@given(mutated(), _rules, _cuts)
def test_sound_streams_with_a_few_faults(data: bytes, rules: ReaderRules, cuts: list[int]) -> None:
    check(data, rules, cuts)


@settings(deadline=None, max_examples=400)
@given(st.one_of(streams(), mutated(), st.binary(max_size=80)), _rules, st.integers(1, 20))
def test_a_reader_holds_no_more_than_its_limit(data: bytes, rules: ReaderRules, step: int) -> None:
    reader = MessageReader(rules)
    for at in range(0, len(data), step):
        events = plain(reader.feed(data[at : at + step]))
        partial, rest = reader._partial, reader._rest
        assert len(rest or b"") < max(HEADER_BYTES, CONTROL_BYTES)
        if partial is not None:
            assert partial.fragments <= rules.max_fragments
            assert len(partial.body) <= (rules.max_message_bytes or at + step)
        if events and isinstance(events[-1], (Close, tuple)):
            assert (partial, rest) == (None, None)


@pytest.mark.parametrize("limit", [1000, 65536])
def test_a_flood_never_grows_past_the_limit(limit: int) -> None:
    rules = ReaderRules(max_message_bytes=limit)
    reader = MessageReader(rules)
    flood = frame(0x02, b"") + frame(0x00, b"x" * 99) * (2 * limit // 99)
    most, events = 0, []
    for at in range(0, len(flood), 50):
        events += plain(reader.feed(flood[at : at + 50]))
        most = max(most, len(reader._partial.body) if reader._partial else 0)
    assert events == [("failed", 1009)]
    assert limit - 150 < most <= limit
