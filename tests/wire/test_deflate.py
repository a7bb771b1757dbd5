"""permessage-deflate without I/O: negotiation row by row, messages both ways, bounds while inflating."""

from __future__ import annotations

import os
import tracemalloc
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wireloom.errors import Deny, HandshakeFailed, ProtocolError
from wireloom.wire.deflate import (
    INFLATED_AT_ONCE,
    Agreement,
    Deflater,
    DeflateSettings,
    Inflater,
    ServerDeflate,
    accept_answer,
    agree,
    offer,
)
from wireloom.wire.frames import encode_frame, frame_payload, mask_frame, text_frame
from wireloom.wire.messages import Close, MessageReader, Ping, ReaderRules

PLAIN = b'{"user":"ada","text":"a message that says the same the same the same the same"}' * 8
BOTH = "; server_no_context_takeover; client_no_context_takeover"
TAIL = b"\x00\x00\xff\xff"


def raw_deflate(data: bytes, flush: int = zlib.Z_SYNC_FLUSH, bits: int = 15) -> bytes:
    """A message as any peer's zlib makes it, by RFC 7692 §7.2.1."""
    stream = zlib.compressobj(wbits=-bits)
    deflated = stream.compress(data) + stream.flush(flush)
    return deflated + b"\x00" if flush == zlib.Z_FINISH else deflated.removesuffix(TAIL)


# -- negotiation -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offered", "takeover", "answer", "terms"),
    [
        ("permessage-deflate", False, BOTH, Agreement(False, False, 15, 15)),
        ("permessage-deflate", True, "", Agreement(True, True, 15, 15)),
        ("permessage-deflate; client_max_window_bits", True, "", Agreement(True, True, 15, 15)),
        ("permessage-deflate; client_max_window_bits=10", True, "", Agreement(True, True, 15, 10)),
        ('permessage-deflate; client_max_window_bits="10"', True, "", Agreement(True, True, 15, 10)),
        ("permessage-deflate;client_max_window_bits=8", True, "", Agreement(True, True, 15, 8)),
        (
            "permessage-deflate; server_max_window_bits=9",
            True,
            "; server_max_window_bits=9",
            Agreement(True, True, 9, 15),
        ),
        (
            "permessage-deflate; server_no_context_takeover",
            True,
            "; server_no_context_takeover",
            Agreement(False, True, 15, 15),
        ),
        (
            "permessage-deflate ;  client_no_context_takeover",
            True,
            "; client_no_context_takeover",
            Agreement(True, False, 15, 15),
        ),
        (
            f"permessage-deflate{BOTH}; server_max_window_bits=12",
            False,
            f"{BOTH}; server_max_window_bits=12",
            Agreement(False, False, 12, 15),
        ),
    ],
)
def test_what_a_server_answers(offered: str, takeover: bool, answer: str, terms: Agreement) -> None:
    assert agree((offered,), takeover) == (f"permessage-deflate{answer}", terms)


@pytest.mark.parametrize(
    "offered",
    [
        "permessage-bzip2",
        "permessage-deflate; server_max_window_bits=8",  # zlib has no such window
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; server_max_window_bits=7",
        "permessage-deflate; server_max_window_bits=09",
        "permessage-deflate; client_max_window_bits=zero",
        "permessage-deflate; server_no_context_takeover=true",
        "permessage-deflate; client_no_context_takeover=1",
        "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
        "permessage-deflate; mux",
    ],
)
def test_offers_that_are_declined(offered: str) -> None:
    assert agree((offered,), True) is None
    # the next offer is looked at then (RFC 7692 §5.1)
    assert agree((offered, "permessage-deflate"), True) == ("permessage-deflate", Agreement())


@pytest.mark.parametrize(
    "offered",
    [
        "permessage deflate",
        "permessage-deflate;",
        ";a",
        "permessage-deflate; =9",
        "permessage-deflate; a=b=c",
        'x; a="',
        "é",
    ],
)
def test_what_is_no_extension_is_a_bad_request(offered: str) -> None:
    with pytest.raises(Deny, match="400 Malformed Sec-WebSocket-Extensions"):
        agree((offered,), True)


@pytest.mark.parametrize("takeover", [False, True])
def test_a_client_s_offer_is_what_our_server_accepts(takeover: bool) -> None:
    settings = DeflateSettings(takeover)
    agreed = agree((offer(settings),), takeover)
    assert agreed is not None
    assert accept_answer([agreed[0]], settings) == agreed[1] == Agreement(takeover, takeover, 15, 15)


@pytest.mark.parametrize(
    ("answered", "takeover", "terms"),
    [
        ([], True, None),
        (["permessage-deflate"], True, Agreement(True, True, 15, 15)),
        (["permessage-deflate; server_no_context_takeover"], False, Agreement(False, False, 15, 15)),
        (["permessage-deflate; client_no_context_takeover"], True, Agreement(True, False, 15, 15)),
        (["permessage-deflate; server_max_window_bits=10"], True, Agreement(True, True, 10, 15)),
        (['permessage-deflate; client_max_window_bits="8"'], True, Agreement(True, True, 15, 8)),
    ],
)
def test_what_a_server_s_answer_means(answered: list[str], takeover: bool, terms: Agreement | None) -> None:
    assert accept_answer(answered, DeflateSettings(takeover)) == terms


@pytest.mark.parametrize(
    "answered",
    [
        ["permessage-deflate", "permessage-deflate"],
        ["permessage-bzip2"],
        ["permessage deflate"],
        ["permessage-deflate; client_max_window_bits"],  # has a value in an answer (RFC 7692 §7.1.2.2)
        ["permessage-deflate; server_max_window_bits"],
        ["permessage-deflate; server_max_window_bits=20"],
        ["permessage-deflate; client_max_window_bits=10; client_max_window_bits=10"],
        ["permessage-deflate; server_no_context_takeover=yes"],
        ["permessage-deflate; unheard_of"],
    ],
)
def test_answers_that_fail_the_handshake(answered: list[str]) -> None:
    with pytest.raises(HandshakeFailed):
        accept_answer(answered, DeflateSettings(True))


def test_an_answer_to_no_offer_fails_the_handshake() -> None:
    with pytest.raises(HandshakeFailed, match="not offered"):
        accept_answer(["permessage-deflate"], None)


def test_a_server_that_keeps_its_context_though_asked_not_to_fails_the_handshake() -> None:
    with pytest.raises(HandshakeFailed, match="context takeover"):
        accept_answer(["permessage-deflate"], DeflateSettings(False))


# -- deflating ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", range(9, 16))
@pytest.mark.parametrize("takeover", [False, True])
def test_any_zlib_reads_what_is_deflated(bits: int, takeover: bool) -> None:
    deflater = Deflater(bits, takeover, DeflateSettings(takeover))
    reader = zlib.decompressobj(-bits)
    for payload in (PLAIN, os.urandom(5000) + PLAIN * 500, PLAIN):
        deflated = deflater.deflate(payload)
        assert deflated is not None
        assert len(deflated) < len(payload)
        assert reader.decompress(deflated + TAIL) == payload
        if not takeover:
            reader = zlib.decompressobj(-bits)


def test_without_takeover_every_message_stands_alone() -> None:
    deflater = Deflater(15, False, DeflateSettings())
    assert deflater.deflate(PLAIN) == deflater.deflate(PLAIN)


def test_with_takeover_a_repeated_message_is_a_reference() -> None:
    deflater = Deflater(15, True, DeflateSettings(True))
    first, second = deflater.deflate(PLAIN), deflater.deflate(PLAIN)
    assert first is not None
    assert second is not None
    assert len(second) < len(first) // 4


def test_small_messages_leave_as_they_are() -> None:
    deflater = Deflater(15, False, DeflateSettings(min_bytes=100))
    assert deflater.deflate(b"x" * 99) is None
    assert deflater.deflate(b"x" * 100) is not None
    assert Deflater(15, True, DeflateSettings(min_bytes=0)).deflate(b"") is None


def test_what_does_not_shrink_leaves_as_it_is_unless_the_peer_s_window_needs_it() -> None:
    noise = os.urandom(1000)
    assert Deflater(15, False, DeflateSettings()).deflate(noise) is None
    assert Deflater(15, True, DeflateSettings(True)).deflate(noise) is not None


def test_frames() -> None:
    deflater = Deflater(15, False, DeflateSettings())
    frame = text_frame(PLAIN)
    deflated = deflater.deflate_frame(frame)
    assert deflated[0] == 0xC1
    assert zlib.decompressobj(-15).decompress(frame_payload(deflated) + TAIL) == PLAIN
    assert deflater.deflate_frame(frame) is deflated  # the same object, for all who hear it
    for untouched in (encode_frame(9, b"x" * 125), text_frame(b"small"), encode_frame(1, PLAIN, fin=False)):
        assert deflater.deflate_frame(untouched) is untouched


# -- inflating ---------------------------------------------------------------------------------------------------------


def read(messages: list[bytes], inflater: Inflater, limit: int = 1 << 20, step: int = 0, **frame: Any) -> list[Any]:
    """What a server's reader makes of these payloads, each in one masked frame, given in steps of so many bytes."""
    reader = MessageReader(ReaderRules(max_message_bytes=limit), inflater)
    stream = b"".join(mask_frame(1, message, reserved=0x40, **frame) for message in messages)
    pieces = [stream[at : at + step] for at in range(0, len(stream), step)] if step else [stream]
    return [event for piece in pieces for event in fed(reader, piece)]


def fed(reader: MessageReader, data: bytes) -> list[Any]:
    """All that the bytes stand for, also what the reader has held back."""
    events: list[Any] = reader.feed(data)
    while reader.holds:
        events += reader.feed(b"")
    return events


@pytest.mark.parametrize("step", [0, 1, 7])
@pytest.mark.parametrize("takeover", [False, True])
def test_messages_are_inflated_however_they_arrive(step: int, takeover: bool) -> None:
    deflater = Deflater(15, takeover, DeflateSettings(takeover))
    messages = [deflated for _ in range(3) if (deflated := deflater.deflate(PLAIN)) is not None]
    assert read(messages, Inflater(15, takeover), step=step) == [PLAIN.decode()] * 3


def test_fragments_with_a_ping_between_and_plain_messages_around() -> None:
    deflated = raw_deflate(PLAIN)
    reader = MessageReader(ReaderRules(), Inflater())
    stream = (
        mask_frame(1, b"plain")
        + mask_frame(1, deflated[:10], fin=False, reserved=0x40)
        + mask_frame(9, b"?")
        + mask_frame(0, b"", fin=False)
        + mask_frame(0, deflated[10:])
        + mask_frame(2, b"plain")
    )
    events = reader.feed(stream)
    assert events[0] == "plain"
    assert events[2:] == [PLAIN.decode(), b"plain"]


@pytest.mark.parametrize("flush", [zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH, zlib.Z_FINISH])
@pytest.mark.parametrize("takeover", [False, True])
def test_all_of_the_rfc_s_ways_to_end_a_message(flush: int, takeover: bool) -> None:
    messages = [raw_deflate(PLAIN, flush), raw_deflate(b"other" * 20, flush)]
    assert read(messages, Inflater(15, takeover)) == [PLAIN.decode(), "other" * 20]


@pytest.mark.parametrize(
    ("payload", "plain"),
    [
        (bytes.fromhex("f248cdc9c90700"), "Hello"),  # RFC 7692 §7.2.3.1
        (bytes.fromhex("000500faff48656c6c6f00"), "Hello"),  # §7.2.3.3, a block without compression
        (bytes.fromhex("f348cdc9c9070000"), "Hello"),  # §7.2.3.4, BFINAL
        (bytes.fromhex("f248050000 00ffffcac9c90700"), "Hello"),  # §7.2.3.5, two blocks
        (b"\x00", ""),  # §7.2.3.6
    ],
)
def test_the_rfc_s_examples(payload: bytes, plain: str) -> None:
    assert read([payload], Inflater()) == [plain]


def test_the_rfc_s_example_of_a_shared_window() -> None:
    first, second = bytes.fromhex("f248cdc9c90700"), bytes.fromhex("f200110000")  # §7.2.3.2
    assert read([first, second], Inflater(15, True)) == ["Hello", "Hello"]
    [hello, error] = read([first, second], Inflater(15, False))
    assert hello == "Hello"
    assert isinstance(error, ProtocolError)
    assert error.code == 1007


def test_the_limit_is_of_the_inflated_size_to_the_byte() -> None:
    assert read([raw_deflate(b"x" * 1000)], Inflater(), 1000) == ["x" * 1000]
    [error] = read([raw_deflate(b"x" * 1001)], Inflater(), 1000)
    assert isinstance(error, ProtocolError)
    assert error.code == 1009


def test_the_limit_counts_all_fragments() -> None:
    deflated = raw_deflate(os.urandom(600))
    reader = MessageReader(ReaderRules(max_message_bytes=599), Inflater())
    assert reader.feed(mask_frame(2, deflated[:300], fin=False, reserved=0x40)) == []
    [error] = reader.feed(mask_frame(0, deflated[300:]))
    assert isinstance(error, ProtocolError)
    assert error.code == 1009


def test_a_bomb_costs_no_more_than_the_limit() -> None:
    bomb = raw_deflate(b"\x00" * (64 << 20))
    assert len(bomb) < 80_000
    tracemalloc.start()
    try:
        [error] = read([bomb], Inflater(), 1 << 20)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert isinstance(error, ProtocolError)
    assert error.code == 1009
    assert peak < 4 << 20


def test_many_bombs_that_arrive_at_once_are_inflated_one_after_the_other() -> None:
    bomb = mask_frame(2, raw_deflate(bytes(1 << 20)), reserved=0x40)
    end = mask_frame(1, b"plain") + mask_frame(8, b"")
    reader = MessageReader(ReaderRules(), Inflater())
    tracemalloc.start()
    try:
        events = reader.feed(bomb * 60 + end)
        while reader.holds:
            assert tracemalloc.get_traced_memory()[0] < 4 << 20
            events += [len(event) if isinstance(event, bytes) else event for event in reader.feed(b"")]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert events == [1 << 20] * 60 + ["plain", Close(None, "")]
    assert peak < 6 << 20


@pytest.mark.parametrize("takeover", [False, True])
@pytest.mark.parametrize("flush", [zlib.Z_SYNC_FLUSH, zlib.Z_FINISH])
def test_a_message_that_stands_for_much_is_inflated_in_parts(takeover: bool, flush: int) -> None:
    plain = bytes(range(256)) * 4096
    stream = mask_frame(2, raw_deflate(plain, flush), reserved=0x40) + mask_frame(9, b"?")
    reader = MessageReader(ReaderRules(), Inflater(15, takeover))
    for _ in range(2):
        events, feeds = reader.feed(stream), 1
        while reader.holds:
            events += reader.feed(b"")
            feeds += 1
        assert events == [plain, Ping(b"?")]
        assert feeds >= len(plain) // INFLATED_AT_ONCE


def test_parts_end_where_frames_do_not() -> None:
    plain = os.urandom(3) * 100_000
    deflated = raw_deflate(plain)
    frames = [mask_frame(2, deflated[:5], fin=False, reserved=0x40)]
    frames += [mask_frame(0, deflated[at : at + 50], fin=False) for at in range(5, len(deflated), 50)]
    stream = b"".join(frames) + mask_frame(0, b"") + mask_frame(1, b"after")
    for step in (1, 13, len(stream)):
        reader = MessageReader(ReaderRules(), Inflater())
        events = [event for at in range(0, len(stream), step) for event in fed(reader, stream[at : at + step])]
        assert events == [plain, "after"]


def test_what_is_held_back_is_forgotten_with_the_end() -> None:
    bomb = mask_frame(2, raw_deflate(bytes(1 << 20)), reserved=0x40)
    reader = MessageReader(ReaderRules(), Inflater())
    reader.feed(bomb * 3)
    assert reader.holds
    reader.end()
    assert not reader.holds
    assert reader.feed(b"") == []


def test_a_limit_that_is_lowered_below_what_has_come_of_a_message_is_a_limit_still() -> None:
    deflated = raw_deflate(os.urandom(600) + bytes(1 << 20))
    reader = MessageReader(ReaderRules(), Inflater())
    assert reader.feed(mask_frame(2, deflated[:500], fin=False, reserved=0x40)) == []
    reader.obey(ReaderRules(max_message_bytes=10))
    [error] = reader.feed(mask_frame(0, deflated[500:]))
    assert isinstance(error, ProtocolError)
    assert error.code == 1009


@pytest.mark.parametrize("payload", [b"\xff\xff\xff\xff", b"\x06", bytes.fromhex("f248cdc9c90700")[::-1]])
def test_broken_data_is_1007(payload: bytes) -> None:
    [error] = read([payload], Inflater())
    assert isinstance(error, ProtocolError)
    assert error.code == 1007


def test_empty_final_blocks_cannot_be_repeated_for_ever() -> None:
    [error] = read([b"\x03\x00" * 50_000], Inflater())
    assert isinstance(error, ProtocolError)
    assert error.code == 1007


def test_bad_utf_8_within_a_compressed_text_fails_at_the_first_piece_that_proves_it() -> None:
    deflated = raw_deflate(b"good " + b"\xff" + os.urandom(5000))
    frame = mask_frame(1, deflated, reserved=0x40)
    reader = MessageReader(ReaderRules(), Inflater())
    [error] = reader.feed(frame[:2000])
    assert isinstance(error, ProtocolError)
    assert error.code == 1007


@pytest.mark.parametrize("first", [0x80 | 0x40 | 9, 0x80 | 0x20 | 1, 0x80 | 0x10 | 1, 0x80 | 0x60 | 1])
def test_other_reserved_bits_and_compressed_control_frames_are_1002(first: int) -> None:
    [error] = MessageReader(ReaderRules(), Inflater()).feed(bytes((first, 0x80)))
    assert isinstance(error, ProtocolError)
    assert error.code == 1002


def test_a_continuation_with_reserved_bit_1_is_1002() -> None:
    reader = MessageReader(ReaderRules(), Inflater())
    assert reader.feed(mask_frame(1, b"", fin=False, reserved=0x40)) == []
    [error] = reader.feed(mask_frame(0, b"", reserved=0x40))
    assert isinstance(error, ProtocolError)
    assert error.code == 1002


def test_reserved_bit_1_without_an_agreement_is_1002() -> None:
    [error] = MessageReader(ReaderRules()).feed(mask_frame(1, b"", reserved=0x40))
    assert isinstance(error, ProtocolError)
    assert error.code == 1002


@given(
    st.lists(st.tuples(st.binary(max_size=2000), st.integers(1, 30)), max_size=5),
    st.booleans(),
    st.integers(9, 15),
    st.integers(1, 4000),
)
def test_whatever_is_deflated_is_inflated_again(
    parts: list[tuple[bytes, int]], takeover: bool, bits: int, step: int
) -> None:
    deflater = Deflater(bits, takeover, DeflateSettings(takeover, min_bytes=1))
    inflater = Inflater(bits, takeover)
    reader = MessageReader(ReaderRules(), inflater)
    payloads = [part * times for part, times in parts]
    stream = b""
    for payload in payloads:
        deflated = deflater.deflate(payload)
        stream += mask_frame(2, payload) if deflated is None else mask_frame(2, deflated, reserved=0x40)
    pieces = [stream[at : at + step] for at in range(0, len(stream), step)]
    assert [event for piece in pieces for event in reader.feed(piece)] == payloads


# -- the server's side of many connections -----------------------------------------------------------------------------


def test_connections_of_equal_parameters_share_a_deflater_and_others_do_not() -> None:
    deflate = ServerDeflate(DeflateSettings())
    wide, narrower, narrow = (
        deflate.agree([f"permessage-deflate; server_max_window_bits={bits}"]) for bits in (15, 12, 9)
    )
    assert wide is not None
    assert narrower is not None
    assert narrow is not None
    assert wide[1] is narrower[1]  # neither uses more than 12
    assert narrow[1] is not wide[1]


def test_with_takeover_nothing_is_shared() -> None:
    deflate = ServerDeflate(DeflateSettings(True))
    one, two = deflate.agree(["permessage-deflate"]), deflate.agree(["permessage-deflate"])
    assert one is not None
    assert two is not None
    assert one[1] is not two[1]
    assert one[2] is not two[2]
