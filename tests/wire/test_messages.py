"""The reader: every rule of RFC 6455 §5 to §8, and that the cuts of the stream make no difference."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from wireloom.errors import ProtocolError
from wireloom.wire.messages import Close, MessageReader, Ping, Pong, ReaderRules

from .oracle import SENDABLE_CODES, expected, frame, head, read, read_bytewise

KEY = b"\x37\xfa\x21\x3d"
SERVER, CLIENT = ReaderRules(), ReaderRules(masked=False)
FAILED = ("failed", 1002)
BAD_TEXT = ("failed", 1007)
TOO_BIG = ("failed", 1009)
PATTERN = bytes(range(256)) * 260
SIZES = (0, 1, 5, 125, 126, 127, 511, 512, 513, 65535, 65536)


def check(data: bytes, rules: ReaderRules, events: list[Any]) -> None:
    """The events come out whole, byte by byte and, for short streams, at every single cut."""
    assert read(data, rules) == events
    assert [event for _, event in read_bytewise(data, rules)] == events
    for cut in range(1, len(data)) if len(data) < 400 else ():
        assert read(data, rules, [cut]) == events, cut


# Streams of unmasked (first byte, payload) pairs and what they mean, for both roles.
Frames = list[tuple[int, bytes]]
VALID: dict[str, tuple[Frames, list[Any]]] = {
    "text": ([(0x81, "Grüße 😀".encode())], ["Grüße 😀"]),
    "empty text": ([(0x81, b"")], [""]),
    "binary": ([(0x82, b"\x00\xff\xfe")], [b"\x00\xff\xfe"]),
    "empty binary": ([(0x82, b"")], [b""]),
    "many": ([(0x81, b"a"), (0x82, b"b"), (0x81, b"c")], ["a", b"b", "c"]),
    "two fragments": ([(0x01, b"Hel"), (0x80, b"lo")], ["Hello"]),
    "binary fragments": ([(0x02, b"\xff"), (0x00, b"\xfe"), (0x80, b"\xfd")], [b"\xff\xfe\xfd"]),
    "empty fragments": ([(0x01, b""), (0x00, b""), (0x00, b"x"), (0x00, b""), (0x80, b"")], ["x"]),
    "a character across fragments": ([(0x01, b"\xf0\x9f"), (0x00, b"\x98"), (0x80, b"\x80!")], ["😀!"]),
    "a character across a control frame": (
        [(0x01, b"\xe2"), (0x89, b"p"), (0x00, b"\x82"), (0x8A, b""), (0x80, b"\xac")],
        [Ping(b"p"), Pong(b""), "€"],
    ),
    "controls between fragments": (
        [(0x02, b"1"), (0x89, b"a"), (0x8A, b"b"), (0x00, b"2"), (0x89, b""), (0x80, b"3"), (0x89, b"c")],
        [Ping(b"a"), Pong(b"b"), Ping(b""), b"123", Ping(b"c")],
    ),
    "longest controls": ([(0x89, b"p" * 125), (0x8A, b"q" * 125)], [Ping(b"p" * 125), Pong(b"q" * 125)]),
    "a fragment after a message": ([(0x81, b"a"), (0x01, b"b"), (0x80, b"c"), (0x81, b"d")], ["a", "bc", "d"]),
    "empty close": ([(0x88, b"")], [Close(None, "")]),
    "close": ([(0x88, b"\x03\xe8")], [Close(1000, "")]),
    "close with a reason": ([(0x88, b"\x0f\xa0bye \xe2\x82\xac")], [Close(4000, "bye €")]),
    "longest close": ([(0x88, b"\x03\xe8" + b"x" * 123)], [Close(1000, "x" * 123)]),
    "close inside a message": ([(0x01, b"half"), (0x88, b"\x03\xe9")], [Close(1001, "")]),
    "nothing after a close": ([(0x81, b"a"), (0x88, b""), (0x81, b"b"), (0x83, b"")], ["a", Close(None, "")]),
    "nothing": ([], []),
}


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("name", VALID)
def test_valid_streams(name: str, masked: bool) -> None:
    frames, events = VALID[name]
    data = b"".join(frame(first, payload, KEY if masked else None) for first, payload in frames)
    check(data, ReaderRules(masked=masked), events)


# Streams that break a rule, as they arrive at a server. What is whole before the break is still delivered.
BROKEN: dict[str, tuple[bytes, list[Any]]] = {
    "a message before an error": (frame(0x81, b"ok") + b"\x83", ["ok", FAILED]),
    "events before an error, all kinds": (
        frame(0x82, b"1") + frame(0x89, b"2") + frame(0x8A, b"3") + frame(0x01, b"4") + frame(0x80, b"5") + b"\x80",
        [b"1", Ping(b"2"), Pong(b"3"), "45", FAILED],
    ),
    "nothing after an error": (b"\x83" + frame(0x81, b"late"), [FAILED]),
    "continuation of nothing": (b"\x80", [FAILED]),
    "unfinished continuation of nothing": (b"\x00", [FAILED]),
    "continuation after a finished message": (frame(0x01, b"a") + frame(0x80, b"b") + b"\x80", ["ab", FAILED]),
    "text inside a message": (frame(0x01, b"a") + b"\x81", [FAILED]),
    "binary inside a message": (frame(0x02, b"a") + frame(0x00, b"b") + b"\x02", [FAILED]),
    "text inside a message after a ping": (frame(0x01, b"a") + frame(0x89, b"p") + b"\x81", [Ping(b"p"), FAILED]),
    "unmasked text": (b"\x81\x00", [FAILED]),
    "unmasked text of known length": (b"\x81\x05", [FAILED]),
    "unmasked ping": (b"\x89\x00", [FAILED]),
    "unmasked close": (b"\x88\x00", [FAILED]),
    "unmasked after masked": (frame(0x81, b"a") + frame(0x81, b"b", None), ["a", FAILED]),
    "long ping": (b"\x89\xfe", [FAILED]),
    "longer ping": (b"\x89\xff", [FAILED]),
    "long pong": (b"\x8a\xfe", [FAILED]),
    "long close": (b"\x88\xfe", [FAILED]),
    "fragmented ping": (b"\x09\x80", [FAILED]),
    "fragmented pong": (b"\x0a\x81", [FAILED]),
    "fragmented close": (b"\x08\x80", [FAILED]),
    "fragmented ping inside a message": (frame(0x01, b"a") + b"\x09\x80", [FAILED]),
    "close of one byte": (frame(0x88, b"\x03"), [FAILED]),
    "close code 1005": (frame(0x88, b"\x03\xed"), [FAILED]),
    "close code 999 after a message": (frame(0x81, b"a") + frame(0x88, b"\x03\xe7"), ["a", FAILED]),
    "close reason that is not UTF-8": (frame(0x88, b"\x03\xe8\xff"), [BAD_TEXT]),
    "close reason that ends inside a character": (frame(0x88, b"\x03\xe8\xe2\x82"), [BAD_TEXT]),
    "text that ends inside a character": (frame(0x81, b"ok\xe2\x82"), [BAD_TEXT]),
    "fragments that end inside a character": (frame(0x01, b"ok\xe2") + frame(0x80, b"\x82"), [BAD_TEXT]),
    "empty last fragment inside a character": (frame(0x01, b"\xe2\x82") + frame(0x80, b""), [BAD_TEXT]),
    "messages before bad text": (
        frame(0x81, b"1") + frame(0x82, b"\xff") + frame(0x81, b"\xff"),
        ["1", b"\xff", BAD_TEXT],
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_streams(name: str) -> None:
    check(BROKEN[name][0], SERVER, BROKEN[name][1])


def test_the_reason_of_an_error_is_words() -> None:
    for data, _ in BROKEN.values():
        error = MessageReader(SERVER).feed(data)[-1]
        assert isinstance(error, ProtocolError)
        assert error.reason.isprintable()
        assert len(error.reason.encode()) in range(5, 124)


@pytest.mark.parametrize("first", range(256))
def test_every_first_byte(first: int) -> None:
    # RFC 6455 §5.2: reserved bits and opcodes; each wrong one is told by this byte alone
    opcode = first & 0x0F
    good = not first & 0x70 and opcode in (1, 2, 8, 9, 10)
    for rules in (SERVER, CLIENT):
        assert read(bytes((first,)), rules) == ([] if good else [FAILED])
    good_inside = not first & 0x70 and opcode in (0, 8, 9, 10)
    assert read(frame(0x01, b"a") + bytes((first,)), SERVER) == ([] if good_inside else [FAILED])


@pytest.mark.parametrize("rules", [SERVER, CLIENT], ids=["server", "client"])
@pytest.mark.parametrize("first", [0x81, 0x82, 0x01, 0x89, 0x88])
def test_every_second_byte(first: int, rules: ReaderRules) -> None:
    for second in range(256):
        right_mask = (second >= 0x80) == rules.masked
        fits = first < 0x88 or second & 0x7F <= 125
        events = read(bytes((first, second)), rules)
        if right_mask and fits:
            assert FAILED not in events
        else:
            assert events == [FAILED]


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize(
    ("form", "length", "good"),
    [
        (16, 0, False),
        (16, 1, False),
        (16, 125, False),
        (16, 126, True),
        (16, 65535, True),
        (64, 0, False),
        (64, 125, False),
        (64, 126, False),
        (64, 65535, False),
        (64, 65536, True),
        (64, 2**63 - 1, True),
        (64, 2**63, False),
        (64, 2**64 - 1, False),
    ],
)
def test_lengths_are_minimal_and_63_bits(form: int, length: int, good: bool, masked: bool) -> None:
    rules = ReaderRules(masked=masked, max_message_bytes=0)
    for first in (0x81, 0x82, 0x01):
        data = head(first, length, form=form, mask_bit=0x80 if masked else 0)
        assert read(data, rules) == ([] if good else [FAILED])
        # and with a payload behind it, where the fast path could see a whole frame
        behind = (KEY if masked else b"") + bytes(max(0, min(length, 300)))
        assert read(data + behind, rules)[:1] != [FAILED] if good else [FAILED]
        if not good:
            assert read(data + behind, rules) == read(data + behind, rules, [1, 3, 5]) == [FAILED]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("masked", [True, False])
def test_messages_of_every_form_of_length(size: int, masked: bool) -> None:
    payload, text = PATTERN[:size], "x" * size
    key = KEY if masked else None
    data = frame(0x82, payload, key) + frame(0x81, text.encode(), key) + frame(0x89, b"end", key)
    rules = ReaderRules(masked=masked)
    events = [payload, text, Ping(b"end")]
    assert read(data, rules) == events
    edges = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 13, 14, 15}
    second = len(frame(0x82, payload, key))
    for cut in sorted({*edges, *(second + edge for edge in edges), *(len(data) - edge for edge in edges)}):
        assert read(data, rules, [max(0, min(cut, len(data)))]) == events, cut
    assert read(data, rules, range(0, len(data), 1000)) == events
    if size < 1000:
        assert [event for _, event in read_bytewise(data, rules)] == events


def test_every_length_around_the_unmask_switch_at_every_turn_of_the_key() -> None:
    for size in (*range(505, 522), *range(1020, 1030)):
        payload = PATTERN[:size]
        data = frame(0x82, payload, b"\x01\x02\x04\x08")
        assert read(data, SERVER) == [payload]
        for cut in range(6, 14):
            # the key is turned by what came first, whichever way the rest is unmasked
            assert read(data, SERVER, [cut]) == [payload]
            assert read(data, SERVER, [cut, cut + 1, cut + 514]) == [payload]


# -- UTF-8 -------------------------------------------------------------------------------------------------------------

# Autobahn 6.x and Markus Kuhn's stress test: bytes that may still be good, the byte that proves otherwise, and more.
BAD_UTF8 = [
    ("", "80", ""),
    ("", "bf", "bf"),
    ("", "c0", "80"),
    ("", "c0", "20"),
    ("", "c1", "bf"),
    ("c3", "c3", ""),
    ("c3", "20", ""),
    ("e0", "80", "80"),
    ("e0", "9f", "bf"),
    ("f0", "80", "8080"),
    ("f0", "8f", "bfbf"),
    ("", "f8", "88808080"),
    ("", "fb", "bfbfbfbf"),
    ("", "fc", "8480808080"),
    ("", "fd", "bfbfbfbfbf"),
    ("", "fe", ""),
    ("", "ff", ""),
    ("ed", "a0", "80"),
    ("ed", "ad", "bf"),
    ("ed", "ae", "80"),
    ("ed", "b0", "80"),
    ("ed", "bf", "bf"),
    ("ed", "a0", "80edb080"),
    ("f4", "90", "8080"),
    ("f4", "bf", "bfbf"),
    ("", "f5", "808080"),
    ("", "f7", "bfbfbf"),
    ("e2", "e2", ""),
    ("e282", "20", ""),
    ("f09f98", "20", ""),
    ("cebae1bdb9cf83cebcceb5f4", "90", "8080656469746564"),
]


@pytest.mark.parametrize(("good", "proof", "more"), BAD_UTF8, ids=["".join(parts) for parts in BAD_UTF8])
def test_bad_utf8_fails_at_the_first_byte_that_proves_it(good: str, proof: str, more: str) -> None:
    for before in (b"", b"ab", "€".encode(), b"x" * 600):
        start, end = before + bytes.fromhex(good), bytes.fromhex(more) + b"never seen"
        bad = start + bytes.fromhex(proof)
        assert read(frame(0x81, bad + end), SERVER) == [BAD_TEXT]
        for first in (0x81, 0x01):
            stream = frame(first, bad + end)
            assert read_bytewise(stream, SERVER) == [(len(stream) - len(end), BAD_TEXT)]
            assert read(stream[: -len(end)], SERVER) == [BAD_TEXT]
        # a whole fragment that is not the last; and a second one
        assert read(frame(0x01, bad), SERVER) == [BAD_TEXT]
        parts = frame(0x01, start) + frame(0x00, bytes.fromhex(proof))
        assert read_bytewise(parts, SERVER) == [(len(parts), BAD_TEXT)]


@pytest.mark.parametrize(
    "text",
    [
        "\x00",
        "\x7f",
        "\x80",
        "\u07ff",
        "\u0800",
        "\ud7ff",
        "\ue000",
        "\ufffd",
        "\ufffe",
        "\uffff",
        "\U00010000",
        "\U0010ffff",
    ],
    ids=ascii,
)
def test_the_edges_of_utf8_are_good(text: str) -> None:
    check(frame(0x81, text.encode()), SERVER, [text])
    check(frame(0x01, text.encode()[:1]) + frame(0x80, text.encode()[1:] + b"!"), SERVER, [text + "!"])


def test_every_utf8_lead_and_second_byte_as_the_oracle_says() -> None:
    for lead, second in itertools.product(
        range(0x80, 0x100), (0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xFF)
    ):
        data = frame(0x01, bytes((lead, second)))
        assert read(data, SERVER) == expected(data, SERVER), (lead, second)


def test_binary_is_never_looked_at() -> None:
    check(frame(0x02, b"\xff\xc0") + frame(0x80, b"\xed\xa0\x80"), SERVER, [b"\xff\xc0\xed\xa0\x80"])


# -- close -------------------------------------------------------------------------------------------------------------


def test_every_close_code_as_it_arrives() -> None:
    for code in range(5001):
        data = frame(0x88, code.to_bytes(2, "big") + b"r")
        assert read(data, SERVER) == ([Close(code, "r")] if code in SENDABLE_CODES else [FAILED])


@pytest.mark.parametrize("end", [frame(0x88), b"\x83"], ids=["close", "error"])
def test_after_the_end_everything_is_ignored(end: bytes) -> None:
    reader = MessageReader(SERVER)
    assert len(reader.feed(frame(0x01, b"half a message") + end)) == 1
    assert (reader._rest, reader._partial) == (None, None)
    for data in (frame(0x81, b"late"), frame(0x88), b"\xff" * 20, b"", frame(0x01, b"a")):
        assert reader.feed(data) == []


# -- limits ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("limit", [1, 125, 126, 1000, 65535, 65536, 70000])
def test_the_size_limit_of_a_single_frame(limit: int, masked: bool) -> None:
    rules = ReaderRules(masked=masked, max_message_bytes=limit)
    key = KEY if masked else None
    for first, kind in ((0x81, str), (0x82, bytes)):
        fits = frame(first, b"x" * limit, key)
        assert read(fits, rules) == read(fits, rules, [3, 9]) == [kind("x" * limit) if kind is str else b"x" * limit]
        above = frame(first, b"x" * (limit + 1), key)
        assert read(above, rules) == [TOO_BIG]
        # told by the header alone, before any of the key and payload has come
        header = head(first, limit + 1, mask_bit=0x80 if masked else 0)
        assert read_bytewise(header, rules) == [(len(header), TOO_BIG)]


def test_fragments_add_up_to_the_size_limit() -> None:
    rules = ReaderRules(max_message_bytes=10)
    check(frame(0x01, b"12345") + frame(0x00, b"6789") + frame(0x80, b"0"), rules, ["1234567890"])
    check(frame(0x02, b"1234567890") + frame(0x89, b"p" * 50) + frame(0x80), rules, [Ping(b"p" * 50), b"1234567890"])
    check(frame(0x01, b"12345") + frame(0x00, b"67890") + head(0x80, 1), rules, [TOO_BIG])
    check(frame(0x01, b"12345") + head(0x80, 6), rules, [TOO_BIG])
    check(head(0x01, 11), rules, [TOO_BIG])
    # every message has the whole limit for itself
    check((frame(0x01, b"12345") + frame(0x80, b"67890")) * 3, rules, ["1234567890"] * 3)


def test_a_limit_of_zero_is_none() -> None:
    rules = ReaderRules(max_message_bytes=0)
    payload = bytes(1024 * 1024 + 1)
    assert read(frame(0x82, payload, b"\0\0\0\0"), rules) == [payload]
    assert read(head(0x82, 2**62) + KEY, rules) == []
    assert read(frame(0x82, payload, b"\0\0\0\0"), SERVER) == [TOO_BIG]


def test_control_frames_are_not_under_the_size_limit() -> None:
    check(
        frame(0x89, b"p" * 125) + frame(0x88, b"\x03\xe8bye"),
        ReaderRules(max_message_bytes=1),
        [Ping(b"p" * 125), Close(1000, "bye")],
    )


def test_the_limit_of_fragments() -> None:
    rules = ReaderRules(max_fragments=3)
    three = frame(0x02, b"a") + frame(0x00, b"b") + frame(0x89) + frame(0x80, b"c")
    check(three * 2, rules, [Ping(b""), b"abc"] * 2)
    check(frame(0x01) + frame(0x00) * 2 + frame(0x80), rules, [TOO_BIG])
    check(frame(0x82, b"x") * 5, rules, [b"x"] * 5)
    assert read(frame(0x01) + frame(0x00) * 50, rules) == [TOO_BIG]


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        ([frame(0x81, b"%d" % number) for number in range(1000)], [str(number) for number in range(1000)]),
        ([frame(0x89, b"%d" % number) for number in range(1000)], [Ping(b"%d" % number) for number in range(1000)]),
        ([frame(0x01, b"a"), *[frame(0x00, b"b")] * 998, frame(0x80, b"c")], ["a" + "b" * 998 + "c"]),
    ],
    ids=["messages", "pings", "fragments"],
)
def test_many_frames_are_read_a_part_at_a_time(frames: list[bytes], expected: list[Any]) -> None:
    reader, parts = MessageReader(ReaderRules()), 1
    events = reader.feed(b"".join(frames))
    while reader.holds:
        more = reader.feed(b"")
        assert len(more) <= 32
        events, parts = events + more, parts + 1
    assert (events, parts >= 31) == (expected, True)


def test_a_header_that_promises_much_takes_no_memory() -> None:
    reader = MessageReader(ReaderRules(max_message_bytes=0))
    assert reader.feed(head(0x82, 2**40) + KEY + b"x" * 10) == []
    assert reader._partial is not None
    assert len(reader._partial.body) == 10


def test_an_idle_reader_holds_nothing() -> None:
    reader = MessageReader(SERVER)
    for data in (frame(0x01, b"a"), frame(0x80, b"b"), frame(0x82, b"x" * 70000), frame(0x89, b"p")):
        reader.feed(data[:3])
        reader.feed(data[3:])
    assert (reader._rest, reader._partial) == (b"", None)


# -- properties --------------------------------------------------------------------------------------------------------

_LENGTHS = st.sampled_from((0, 1, 2, 3, 4, 5, 125, 126, 127, 511, 512, 513)) | st.integers(0, 40)
_TEXTS = st.text(max_size=40) | _LENGTHS.map(lambda size: "é" * (size // 2) + "x" * (size % 2))


@st.composite
def conversations(draw: Callable[..., Any]) -> tuple[bytes, list[Any], bool]:
    """A valid stream of many messages, fragmented anywhere, with control frames between; and what it says."""
    masked = draw(st.booleans())
    data, events = b"", []

    def put(first: int, payload: bytes) -> None:
        nonlocal data
        data += frame(first, payload, draw(st.binary(min_size=4, max_size=4)) if masked else None)

    for _ in range(draw(st.integers(0, 8))):
        message = draw(_TEXTS | _LENGTHS.map(lambda size: PATTERN[:size]))
        body = message.encode() if isinstance(message, str) else message
        cuts = sorted(draw(st.lists(st.integers(0, len(body)), max_size=3)))
        for number, (start, stop) in enumerate(itertools.pairwise([0, *cuts, len(body)])):
            opcode = 0 if number else 1 if isinstance(message, str) else 2
            put(opcode | (0x80 if number == len(cuts) else 0), body[start:stop])
            if number < len(cuts) and draw(st.booleans()):
                payload = draw(st.binary(max_size=125))
                put(0x89, payload)
                events.append(Ping(payload))
        events.append(message)
    return data, events, masked


@settings(deadline=None, max_examples=150)
@given(conversations(), st.data())
def test_the_cuts_of_a_valid_stream_make_no_difference(conversation: tuple[bytes, list[Any], bool], data: Any) -> None:
    stream, events, masked = conversation
    rules = ReaderRules(masked=masked)
    assert read(stream, rules) == expected(stream, rules) == events
    assert [event for _, event in read_bytewise(stream, rules)] == events
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=12))
    assert read(stream, rules, cuts) == events


@settings(deadline=None, max_examples=25)
@given(
    st.sampled_from((65534, 65535, 65536, 65537)), st.integers(1, 200), st.booleans(), st.binary(min_size=4, max_size=4)
)
@example(65536, 7, True, b"\0\0\0\0")
def test_the_cuts_of_large_frames_make_no_difference(size: int, step: int, text: bool, key: bytes) -> None:
    payload = b"x" * size if text else PATTERN[:size]
    stream = frame(0x81 if text else 0x82, payload, key) + frame(0x01, b"a", key) + frame(0x80, b"b", key)
    events = [payload.decode() if text else payload, "ab"]
    assert read(stream, SERVER) == read(stream, SERVER, range(step, len(stream), step * 100)) == events
