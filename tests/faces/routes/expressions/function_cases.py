"""What every function gives: the table that `test_functions` runs and `test_mutations` tries to fool."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from .filter_cases import (
    LARGEST,
    LONG,
    MANY,
    MEBI,
    NOT_A_NUMBER,
    NUMBER_ONLY,
    SMALLEST,
    TEXT_ONLY,
    WRONG_TYPE,
    WRONG_VALUE,
    also,
)
from .kit import Refused, Row

EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
HMAC_OF_RFC_4231 = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"  # test case 2
HASH = "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI"  # of nothing


def _matches(pattern: str) -> Any:
    return lambda text: isinstance(text, str) and re.fullmatch(pattern, text) is not None


def _is_now(text: str) -> bool:
    return re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", text) is not None and abs(
        datetime.now(UTC) - datetime.fromisoformat(text)
    ) < timedelta(minutes=1)


def _is_today(text: str) -> bool:
    now = datetime.now(UTC)
    return text in (str(now.date()), str((now - timedelta(minutes=1)).date()))


FUNCTION_CASES: dict[str, list[Row]] = {
    "len": [
        Row(("a😀",), 2),
        Row(([1],), 1),
        Row(({"a": 1, "b": 2},), 2),
        Row((LONG,), MEBI),
        Row((MANY,), 100_000),
        Row((None,), WRONG_TYPE),
        Row((1,), WRONG_TYPE),
        Row((False,), WRONG_TYPE),
        Row((), Refused("len takes 1 argument, not 0")),
        Row(("a", "b"), Refused("len takes 1 argument, not 2")),
    ],
    "min": [
        Row((3, 1, 2), 1),
        Row(([3, 1, 2],), 1),
        Row(("b", "a"), "a"),
        Row(("2", 10), "2"),
        Row((5,), 5),
        Row(([],), None),
        Row((MANY,), 0),
        Row((1, "x"), WRONG_TYPE),
        Row((1, None), WRONG_TYPE),
        Row(([1], [2]), WRONG_TYPE),
        Row((), Refused("min takes 1 or more arguments, not 0")),
    ],
    "max": [
        Row((3, 1, 2), 3),
        Row(([3, 1, 2],), 3),
        Row(("b", "a"), "b"),
        Row(("2", 10), 10),
        Row((MANY,), 99_999),
        Row((1, "x"), WRONG_TYPE),
        Row((True, False), WRONG_TYPE),
    ],
    "abs": [Row((-2,), 2), Row((1.5,), 1.5), Row(("-3",), 3), Row((SMALLEST,), NOT_A_NUMBER), *NUMBER_ONLY],
    "uuid": [
        Row((), _matches("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")),
        Row((1,), Refused("uuid takes 0 arguments, not 1")),
    ],
    "now": [Row((), _is_now)],
    "now_unix": [Row((), lambda seconds: type(seconds) is int and abs(seconds - datetime.now(UTC).timestamp()) < 60)],
    "today": [Row((), _is_today)],
    "format_timestamp": [
        Row((0,), "1970-01-01 00:00:00"),
        Row((1735689599.5, "%Y-%m-%dT%H:%M:%S.%f"), "2024-12-31T23:59:59.500000"),
        Row((-1, "%H:%M:%S"), "23:59:59"),
        Row(("86400", "%j"), "002"),
        Row((0, ""), ""),
        Row((0, "%%d é"), "%d é"),
        Row((0, 5), "5"),
        Row((1e18,), WRONG_VALUE),
        Row((1e300,), WRONG_VALUE),
        Row((-1e300,), WRONG_VALUE),
        Row((LARGEST,), WRONG_VALUE),
        Row((0, "x" * 201), WRONG_VALUE),
        Row((0, LONG), WRONG_VALUE),
        Row((0, None), WRONG_TYPE),
        *NUMBER_ONLY,
    ],
    "parse_timestamp": [
        Row(("1970-01-02",), 86400),
        Row(("1970-01-01T00:00:01Z",), 1),
        Row(("1970-01-01T01:00:00+01:00",), 0),
        Row(("1970-01-01 00:00:00.5",), 0.5),
        Row(("02.01.1970", "%d.%m.%Y"), 86400),
        Row(("1970", "%Y"), 0),
        Row(("70 +0100", "%y %z"), -3600),
        Row(("1970-01-02", None), 86400),
        Row(("31 12", "%d %m"), -2177539200),  # of 1900, as Python has it
        Row(("12:30", "%H:%M"), -2208943800),
        Row(("%Y 1", "%%Y %d"), -2208988800),
        Row(("0001-01-01T00:00:00+14:00",), -62135647200),
        Row(("9999-12-31T23:59:59-14:00",), 253402351199),
        Row(("yesterday",), WRONG_VALUE),
        Row(("",), WRONG_VALUE),
        Row((1,), WRONG_VALUE),
        Row(("1970-02-30",), WRONG_VALUE),
        Row(("1970 1970", "%Y %Y"), WRONG_VALUE),
        Row(("1", "%Q"), WRONG_VALUE),
        Row(("1", "%"), WRONG_VALUE),
        Row(("1", "(" * 100), WRONG_VALUE),
        Row(("1", "x" * 201), WRONG_VALUE),
        Row(("1", []), WRONG_TYPE),
        Row(("1", 5), WRONG_TYPE),
        Row((LONG,), WRONG_VALUE),
        Row((LONG, "%Y"), WRONG_VALUE),
        *TEXT_ONLY,
    ],
    "random_int": [
        Row((5, 5), 5),
        Row((1, 3), lambda number: number in (1, 2, 3)),
        Row(("-1", "0"), lambda number: number in (-1, 0)),
        Row((2.0, 2), 2),
        Row((SMALLEST, LARGEST), lambda number: type(number) is int and SMALLEST <= number <= LARGEST),
        Row((3, 1), WRONG_VALUE),
        Row((0.5, 1), WRONG_VALUE),
        Row((0, 1e300), WRONG_VALUE),
        Row((None, 1), WRONG_TYPE),
        Row((0, "x"), WRONG_TYPE),
    ],
    "random_string": [
        Row((), _matches("[A-Za-z0-9]{16}")),
        Row((0,), ""),
        Row((5,), _matches("[A-Za-z0-9]{5}")),
        Row(("7",), _matches("[A-Za-z0-9]{7}")),
        Row((1024,), _matches("[A-Za-z0-9]{1024}")),
        Row((1025,), WRONG_VALUE),
        Row((-1,), WRONG_VALUE),
        Row((1.5,), WRONG_VALUE),
        Row((1e300,), WRONG_VALUE),
        *NUMBER_ONLY,
    ],
    "is_email": [
        Row(("ann@example.com",), True),
        Row(("a.b+c@x-y.example.org",), True),
        Row(("ann@localhost",), False),
        Row(("ann",), False),
        Row(("@example.com",), False),
        Row(("ann@-x.com",), False),
        Row(("ann@x..com",), False),
        Row(("ann@example.com\n",), False),
        Row(("ann @example.com",), False),
        Row(("ann@" + "a" * 64 + ".com",), False),
        Row(("a" * 65 + "@example.com",), False),
        Row(("a@" + "b." * 130 + "com",), False),
        Row((LONG,), False),
        Row((None,), False),
        Row((1,), False),
        Row(([],), False),
    ],
    "is_url": [
        Row(("https://example.com/a?b=c#d",), True),
        Row(("http://[::1]:80/",), True),
        Row(("ws://localhost",), True),
        Row(("WSS://Example.com",), True),
        Row(("http://user:pw@host:65535",), True),
        Row(("https://müller.de/ä",), True),
        Row(("ftp://example.com",), False),
        Row(("javascript:alert(1)",), False),
        Row(("//example.com",), False),
        Row(("http://",), False),
        Row(("http:///path",), False),
        Row(("http://a:99999",), False),
        Row(("http://a:x",), False),
        Row(("http://a b",), False),
        Row(("http://a\n",), False),
        Row(("http://a\0b",), False),
        Row(("http://[::1",), False),
        Row(("ann@example.com",), False),
        Row((LONG,), False),
        Row((None,), False),
        Row(({},), False),
    ],
    "sha256": [
        Row(("",), EMPTY_SHA256),
        Row(("abc",), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        Row(("é",), "4a99557e4033c3539de2eb65472017cad5f9557f7a0625a09f1c3f6e2ba69c4c"),
        Row((1,), "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"),
        *TEXT_ONLY,
    ],
    "hmac_sha256": [
        Row(("what do ya want for nothing?", "Jefe"), HMAC_OF_RFC_4231),
        Row(("", ""), "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad"),
        Row(("a", None), WRONG_TYPE),
        *also(TEXT_ONLY, "key"),
    ],
    "hash_password": [
        Row(("secret",), _matches(r"\$argon2id\$v=19\$.+")),
        Row(("x" * 1024,), _matches(r"\$argon2id\$v=19\$.+")),
        Row(("x" * 1025,), WRONG_VALUE),
        *TEXT_ONLY,
    ],
    "verify_password": [
        Row(("secret", HASH), False),
        Row(("secret", "no hash"), False),
        Row(("secret", None), False),
        Row(("secret", 5), False),
        Row(("x" * 1025, HASH), False),
        *also(TEXT_ONLY, HASH),
    ],
}

FUNCTION_ROWS = [(name, row) for name, rows in FUNCTION_CASES.items() for row in rows]
