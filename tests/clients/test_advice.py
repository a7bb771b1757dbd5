"""Whether to come back, and when."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from wireloom.clients.advice import Advice, Backoff, after_ending, after_failure
from wireloom.clients.protocol import Ending
from wireloom.errors import CLOSE_CODES, HandshakeFailed, ProtocolError


@pytest.mark.parametrize("code", CLOSE_CODES)
def test_the_table_of_close_codes_decides(code: int) -> None:
    assert after_ending(Ending(code, was_clean=True)) == Advice(CLOSE_CODES[code].come_back)


@pytest.mark.parametrize(
    ("code", "come_back"), [(1005, False), (1006, True), (1003, False), (1014, True), (3000, False), (4001, False)]
)
def test_codes_that_are_not_in_it(code: int, come_back: bool) -> None:
    assert after_ending(Ending(code)) == Advice(come_back)
    assert after_ending(Ending(code), come_back=(1003, 1005, 3000, 4001, 1006, 1014)) == Advice(True)


def test_a_server_that_broke_the_protocol_is_left() -> None:
    assert not after_ending(Ending(1006, failure=ProtocolError(1002, "masked frame"))).come_back


@pytest.mark.parametrize(
    ("reason", "advice"),
    [
        ('{"reconnect_in_ms": 1500}', Advice(True, 1.5)),
        ('{"reconnect_in_ms": 0, "why": "deploy"}', Advice(True, 0.0)),
        ('{"reconnect_in_ms": -5}', Advice(True, 0.0)),
        ('{"reconnect_in_ms": 1e300}', Advice(True, 600.0)),
        ('{"reconnect_in_ms": "1500"}', Advice(False)),
        ('{"reconnect_in_ms": null}', Advice(False)),
        ('{"reconnect_in_ms": 1500', Advice(False)),
        ("[1]", Advice(False)),
        ("not now", Advice(False)),
        ("", Advice(False)),
    ],
)
def test_a_reason_may_say_when(reason: str, advice: Advice) -> None:
    assert after_ending(Ending(1000, reason, was_clean=True)) == advice


@pytest.mark.parametrize("status", [101, 200, 302, 400, 401, 403, 404, 407, 410, 426])
def test_answers_that_are_final(status: int) -> None:
    assert after_failure(HandshakeFailed("no", status, {"retry-after": "1"})) == Advice(False)


@pytest.mark.parametrize("status", [0, 408, 425, 429, 500, 502, 503, 504])
def test_answers_that_pass(status: int) -> None:
    assert after_failure(HandshakeFailed("no", status)) == Advice(True)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7),
        ("0", 0),
        ("99999999999", 600),
        ("-1", 0),
        ("1.5", 0),
        ("²", 0),
        ("soon", 0),
        ("", 0),
        ("9" * 5000, 600),
    ],
)
def test_retry_after_in_seconds(value: str, seconds: float) -> None:
    assert after_failure(HandshakeFailed("no", 503, {"retry-after": value})) == Advice(True, seconds)


@pytest.mark.parametrize(
    "value",
    [
        "Mon, 01 Jan 99999999999 00:00:00 GMT",
        "Mon, 01 Jan 2024 00:00:00 +9999999999999999",
        "Mon, 9999999999 Jan 1 1:1",
    ],
)
def test_a_retry_after_that_is_no_date_of_any_calendar(value: str) -> None:
    assert after_failure(HandshakeFailed("no", 503, {"retry-after": value})) == Advice(True, 0.0)


@pytest.mark.parametrize(("ahead", "low", "high"), [(100, 60, 101), (-100, 0, 0), (10**6, 600, 600)])
@pytest.mark.parametrize("in_gmt", [True, False])
def test_retry_after_as_a_date(ahead: int, low: float, high: float, in_gmt: bool) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=ahead), usegmt=True)
    if not in_gmt:
        date = date.removesuffix("GMT") + "-0000"
    assert low <= after_failure(HandshakeFailed("no", 429, {"retry-after": date})).at_least_seconds <= high


@pytest.mark.parametrize(
    ("error", "come_back"),
    [
        (ConnectionRefusedError(), True),
        (TimeoutError(), True),
        (ssl.SSLError("record"), True),
        (ssl.SSLCertVerificationError("self-signed"), False),
        (ValueError("a header with a line break"), False),
    ],
)
def test_openings_that_failed_otherwise(error: Exception, come_back: bool) -> None:
    assert after_failure(error) == Advice(come_back)


def test_delays_grow_up_to_a_cap_and_are_random_from_nothing_on() -> None:
    backoff: Any = Backoff(base=0.5, cap=8.0)
    for failures, ceiling in ((0, 0.5), (1, 1.0), (3, 4.0), (4, 8.0), (5, 8.0), (10_000, 8.0)):
        backoff.failures = failures
        delays = [backoff.delay(Advice(True)) for _ in range(500)]
        assert 0 <= min(delays) < ceiling * 0.2
        assert ceiling * 0.8 < max(delays) <= ceiling
    assert 3.0 <= backoff.delay(Advice(True, 3.0)) <= 11.0
