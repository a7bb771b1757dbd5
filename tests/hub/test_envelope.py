"""Envelopes: what was put in comes out, and nothing that is not one does harm."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wireloom.core.topic import EVERYONE, Topic, channel
from wireloom.hub.backplane import envelope
from wireloom.hub.backplane.base import Publication
from wireloom.hub.backplane.courier import mask_url
from wireloom.hub.backplane.envelope import EnvelopeReader, encode_envelope, new_origin, split_envelope

OURS, THEIRS, OTHERS = b"ours----", b"theirs--", b"others--"
NEWS = channel("news")


def make(payload: bytes = b"payload", text: bool = True, key: str = "", origin: bytes = THEIRS) -> bytes:
    return encode_envelope(Publication(NEWS, payload, text, key), origin)


@given(st.binary(), st.booleans(), st.text(st.characters()))
def test_what_was_put_in_comes_out(payload: bytes, text: bool, key: str) -> None:
    publication = EnvelopeReader(OURS).read(NEWS, make(payload, text, key))
    assert publication is not None
    assert (publication.topic, publication.payload, publication.text, publication.key) == (NEWS, payload, text, key)
    assert type(publication.topic) is Topic
    assert type(publication.payload) is bytes


def test_the_bytes_are_those_of_the_documentation() -> None:
    assert make(b"hi", True, "k") == b"\xb7\x01\x01" + THEIRS + b"\x00\x00\x00\x01" + b"k" + b"hi"
    assert make(b"", False) == b"\xb7\x01\x00" + THEIRS + b"\x00\x00\x00\x00"


def test_an_echo_is_nothing_and_no_garbage() -> None:
    reader = EnvelopeReader(OURS)
    assert reader.read(NEWS, make(origin=OURS)) is None
    assert [reader.read(NEWS, part) for part in split_envelope(make(bytes(100), origin=OURS), 1, 60)] == [None] * 4
    assert (reader.ignored, reader.joining_bytes) == (0, 0)


def test_origins_differ() -> None:
    assert len({new_origin() for _ in range(100)}) == 100
    assert len(new_origin()) == 8


@given(st.binary(max_size=80), st.booleans())
def test_garbage_never_raises(data: bytes, marked: bool) -> None:
    EnvelopeReader(OURS).read(NEWS, b"\xb7\x01" + data if marked else data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x",
        b"\xb6" + make()[1:],
        b"\xb7\x00" + make()[2:],
        b"\xb7\x02" + make()[2:],
        b"\xb7\x01\x04" + make()[3:],
        make()[:14],
        b"\xb7\x01\x01" + THEIRS + b"\x00\x00\x00\x05" + b"keys",
        b"\xb7\x01\x01" + THEIRS + b"\xff\xff\xff\xff" + b"key",
        b"\xb7\x01\x01" + THEIRS + b"\x00\x00\x00\x01" + b"\xff",
        split_envelope(make(bytes(100)), 1, 60)[1],
        split_envelope(make(bytes(100)), 1, 60)[0][:27],
    ],
    ids=range(12),
)
def test_garbage_is_counted(data: bytes) -> None:
    reader = EnvelopeReader(OURS)
    assert reader.read(NEWS, data) is None
    assert reader.ignored == 1
    assert reader.read(NEWS, make()) is not None


# -- parts -----------------------------------------------------------------------------------------------------------


@given(st.integers(0, 300), st.integers(28, 200))
def test_parts_fit_and_are_joined(size: int, limit: int) -> None:
    payload = bytes(number % 251 for number in range(size))
    parts = split_envelope(make(payload, False, "key"), 7, limit)
    assert all(len(part) <= limit for part in parts)
    reader = EnvelopeReader(OURS)
    *before, last = [reader.read(NEWS, part) for part in parts]
    assert before == [None] * (len(parts) - 1)
    assert last is not None
    assert (last.payload, last.text, last.key) == (payload, False, "key")
    assert (reader.ignored, reader.joining_bytes) == (0, 0)


def test_parts_of_several_publishers_and_topics_may_be_mixed() -> None:
    reader = EnvelopeReader(OURS)
    ways = [(origin, topic) for origin in (THEIRS, OTHERS) for topic in (NEWS, EVERYONE)]
    payloads = {way: bytes([number]) * 100 for number, way in enumerate(ways)}
    rows = [split_envelope(make(payloads[way], origin=way[0]), 1, 60) for way in ways]
    read = [
        reader.read(way[1], row[index]) for index in range(len(rows[0])) for way, row in zip(ways, rows, strict=True)
    ]
    whole = [publication for publication in read if publication is not None]
    assert [(each.topic, each.payload) for each in whole] == [(way[1], payloads[way]) for way in ways]


@pytest.mark.parametrize("missing", [0, 1, 3])
def test_an_envelope_with_a_part_missing_never_comes(missing: int) -> None:
    reader = EnvelopeReader(OURS)
    parts = split_envelope(make(bytes(100)), 1, 60)
    assert len(parts) == 4
    for part in parts[:missing] + parts[missing + 1 :]:
        assert reader.read(NEWS, part) is None
    *_, last = [reader.read(NEWS, part) for part in split_envelope(make(b"x" * 100), 2, 60)]
    assert last is not None
    assert last.payload == b"x" * 100
    assert reader.joining_bytes == 0


def test_parts_of_different_envelopes_are_not_joined() -> None:
    reader = EnvelopeReader(OURS)
    first, second = split_envelope(make(b"1" * 100), 1, 60), split_envelope(make(b"2" * 100), 2, 60)
    assert [reader.read(NEWS, part) for part in first[:2] + second[2:]] == [None] * 4


def test_parts_of_a_publisher_that_has_vanished_are_forgotten() -> None:
    reader = EnvelopeReader(OURS)
    reader.read(NEWS, split_envelope(make(bytes(100)), 1, 60)[0])
    reader.forget_parts(older_than_seconds=60)
    assert reader.joining_bytes > 0
    reader.forget_parts(older_than_seconds=0)
    assert reader.joining_bytes == 0


def test_parts_wait_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(envelope, "MAX_JOINING_BYTES", 1000)
    reader = EnvelopeReader(OURS)
    for number in range(100):
        reader.read(NEWS, split_envelope(make(bytes(300), origin=b"%08d" % number), 1, 200)[0])
        assert reader.joining_bytes <= 1000
    parts = split_envelope(make(bytes(5000)), 1, 200)
    assert {reader.read(NEWS, part) for part in parts} == {None}
    assert reader.joining_bytes <= 1000


# -- URLs in logs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("redis://:secret@host:1/0", "redis://:***@host:1/0"),
        ("redis://me:secret@host", "redis://me:***@host"),
        ("redis://me:se/c@r:et@host", "redis://me:***@host"),
        ("nats://token@host", "nats://***@host"),
        ("unix:///run/redis.sock?db=1&password=secret&x=2", "unix:///run/redis.sock?db=1&password=***&x=2"),
        ("memory", "memory"),
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert mask_url(url) == shown
