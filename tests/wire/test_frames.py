"""Frames: encoding, masking, close payloads (RFC 6455 §5, §7.4)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wireloom.errors import ProtocolError
from wireloom.wire import frames

from .oracle import SENDABLE_CODES, frame, head

SIZES = (0, 1, 2, 124, 125, 126, 127, 128, 511, 512, 513, 65534, 65535, 65536, 65537)
OPCODES = (frames.CONTINUATION, frames.TEXT, frames.BINARY, frames.CLOSE, frames.PING, frames.PONG)
PATTERN = bytes(range(256)) * 260


def test_the_six_opcodes_are_those_of_the_rfc() -> None:
    assert OPCODES == (0x0, 0x1, 0x2, 0x8, 0x9, 0xA)


# RFC 6455 §5.7, the examples that it prints
@pytest.mark.parametrize(
    ("made", "printed"),
    [
        (frames.encode_frame(frames.TEXT, b"Hello"), "810548656c6c6f"),
        (frames.mask_frame(frames.TEXT, b"Hello", key=bytes.fromhex("37fa213d")), "818537fa213d7f9f4d5158"),
        (frames.encode_frame(frames.TEXT, b"Hel", fin=False), "010348656c"),
        (frames.encode_frame(frames.CONTINUATION, b"lo"), "80026c6f"),
        (frames.encode_frame(frames.PING, b"Hello"), "890548656c6c6f"),
        (frames.mask_frame(frames.PONG, b"Hello", key=bytes.fromhex("37fa213d")), "8a8537fa213d7f9f4d5158"),
        (frames.encode_frame(frames.BINARY, bytes(256))[:4], "827e0100"),
        (frames.encode_frame(frames.BINARY, bytes(65536))[:10], "827f0000000000010000"),
    ],
)
def test_the_rfcs_examples(made: bytes, printed: str) -> None:
    assert made == bytes.fromhex(printed)


@pytest.mark.parametrize("size", SIZES)
def test_server_frames_have_the_shortest_header_and_the_payload_as_it_is(size: int) -> None:
    payload = PATTERN[:size]
    assert frames.text_frame(payload) == head(0x81, size, mask_bit=0) + payload
    assert frames.binary_frame(payload) == head(0x82, size, mask_bit=0) + payload
    for opcode in OPCODES:
        assert frames.encode_frame(opcode, payload) == head(0x80 | opcode, size, mask_bit=0) + payload


@pytest.mark.parametrize("size", SIZES)
def test_client_frames_have_the_shortest_header_the_key_and_the_masked_payload(size: int) -> None:
    payload = PATTERN[:size]
    for opcode in OPCODES:
        assert frames.mask_frame(opcode, payload, key=b"\x01\x80\xff\x7e") == frame(
            0x80 | opcode, payload, b"\x01\x80\xff\x7e"
        )


@pytest.mark.parametrize("reserved", [0, 0x10, 0x20, 0x40, 0x70])
@pytest.mark.parametrize("fin", [True, False])
def test_fin_and_reserved_bits(fin: bool, reserved: int) -> None:
    first = (0x80 if fin else 0) | reserved | 2
    assert frames.encode_frame(2, b"x", fin=fin, reserved=reserved) == frame(first, b"x", None)
    assert frames.mask_frame(2, b"x", fin=fin, reserved=reserved, key=b"abcd") == frame(first, b"x", b"abcd")


def test_every_client_frame_has_a_key_of_its_own() -> None:
    # RFC 6455 §5.3: a fresh masking key for every frame
    keys = {frames.mask_frame(frames.TEXT, b"")[2:6] for _ in range(50)}
    assert len(keys) == 50


def test_masking_is_xor_with_the_repeated_key_at_every_length() -> None:
    key = b"\x12\x34\x56\x78"
    for length in range(1101):
        payload = PATTERN[length : 2 * length]
        masked = frames.unmask(payload, key)
        assert masked == bytes(byte ^ key[index & 3] for index, byte in enumerate(payload)), length
        assert frames.unmask(masked, key) == payload


@given(st.binary(max_size=1100), st.binary(min_size=4, max_size=4))
def test_masking_twice_gives_the_payload_back(payload: bytes, key: bytes) -> None:
    masked = frames.unmask(payload, key)
    assert masked == bytes(byte ^ key[index & 3] for index, byte in enumerate(payload))
    assert frames.unmask(masked, key) == payload


@pytest.mark.parametrize("size", SIZES)
def test_a_frames_payload_and_kind_can_be_read_back(size: int) -> None:
    payload = PATTERN[:size]
    text, binary = frames.text_frame(payload), frames.binary_frame(payload)
    assert frames.frame_payload(text) == frames.frame_payload(binary) == payload
    assert frames.is_text_frame(text)
    assert not frames.is_text_frame(binary)


# -- close -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "reason", "body"),
    [
        (None, "", b""),
        (None, "no code, no reason", b""),
        (1000, "", b"\x03\xe8"),
        (1001, "bye", b"\x03\xe9bye"),
        (4999, "größer", b"\x13\x87" + "größer".encode()),
    ],
)
def test_a_close_frame(code: int | None, reason: str, body: bytes) -> None:
    assert frames.close_frame(code, reason) == frame(0x88, body, None)


@pytest.mark.parametrize("character", ["a", "é", "€", "😀"])
@pytest.mark.parametrize("shift", [0, 1, 2, 3])
def test_a_close_reason_is_cut_to_123_bytes_at_a_characters_edge(character: str, shift: int) -> None:
    width = len(character.encode())
    fitting = "." * shift + character * ((123 - shift) // width)
    payload = frames.frame_payload(frames.close_frame(1000, fitting + character * 50))
    assert payload == b"\x03\xe8" + fitting.encode()
    assert 125 - width < len(payload) <= 125
    assert frames.decode_close(payload) == (1000, fitting)


def test_a_reason_of_exactly_123_bytes_is_kept() -> None:
    reason = "€" * 41
    assert frames.decode_close(frames.frame_payload(frames.close_frame(1000, reason))) == (1000, reason)


def test_an_empty_close_has_neither_code_nor_reason() -> None:
    assert frames.decode_close(b"") == (None, "")


@pytest.mark.parametrize("byte", [0x00, 0x03, 0xE8, 0xFF])
def test_a_close_of_one_byte_breaks_the_protocol(byte: int) -> None:
    with pytest.raises(ProtocolError) as caught:
        frames.decode_close(bytes((byte,)))
    assert caught.value.code == 1002


def test_every_close_code() -> None:
    wrong = []
    for code in (*range(5001), 0x8000, 0xFFFF):
        body = code.to_bytes(2, "big")
        try:
            came: object = frames.decode_close(body + b"why")
        except ProtocolError as error:
            came = error.code
        good = (code, "why") if code in SENDABLE_CODES else 1002
        if came != good or frames.sendable_close_code(code) != (code in SENDABLE_CODES):
            wrong.append((code, came))
    assert wrong == []


@pytest.mark.parametrize(
    "reason", [b"\xff", b"ok\xc3", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80", b"\xce\xba\xe1"]
)
def test_a_close_reason_that_is_not_utf8(reason: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        frames.decode_close(b"\x03\xe8" + reason)
    assert caught.value.code == 1007
