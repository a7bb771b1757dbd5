"""Functions: ``name(arguments)``. Law as for filters; what takes long is done beside the event loop and waited for."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
import time
import uuid
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from anyio.lowlevel import RunVar

from wireloom.faces.routes.expressions.callables import Table
from wireloom.faces.routes.expressions.values import extreme, tidy, utf8_of, whole
from wireloom.faces.routes.failure import Failure
from wireloom.identity.passwords import Passwords
from wireloom.identity.refusal import Overloaded

__all__ = ["FUNCTIONS"]

FUNCTIONS = Table("function")

_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_EMAIL = re.compile(rf"[A-Za-z0-9.!#$%&'*+/=?^_`{{|}}~-]{{1,64}}@{_LABEL}(?:\.{_LABEL})+")
_SCHEMES = ("http", "https", "ws", "wss")
_ALPHABET = string.ascii_letters + string.digits
_LONGEST_PASSWORD = 1024
_LONGEST_RANDOM = 1024
_LONGEST_PATTERN = 200  # of a time; what strftime and strptime need grows faster than their patterns
_YEAR = re.compile(r"%[EO]?[YyGcxs]")


@FUNCTIONS.add("len")
def _len(value: str | list[Any] | dict[str, Any]) -> int:
    """How many characters, items or members."""
    return len(value)


@FUNCTIONS.add("min", slow=("list",))
def _min(first: Any, *others: Any) -> Any:
    """The least of its arguments, numbers or texts; of one list, its least item."""
    return extreme(_values(first, others), lambda found, value: value < found)


@FUNCTIONS.add("max", slow=("list",))
def _max(first: Any, *others: Any) -> Any:
    """The greatest of its arguments, numbers or texts; of one list, its greatest item."""
    return extreme(_values(first, others), lambda found, value: value > found)


def _values(first: Any, others: tuple[Any, ...]) -> list[Any]:
    return first if isinstance(first, list) and not others else [first, *others]


@FUNCTIONS.add("abs")
def _abs(number: float) -> int | float:
    """The number without its sign."""
    return tidy(abs(number))


# -- time and chance -----------------------------------------------------------------------------------------------


@FUNCTIONS.add("uuid")
def _uuid() -> str:
    """A random UUID."""
    return str(uuid.uuid4())


@FUNCTIONS.add("now")
def _now() -> str:
    """The time in UTC, such as ``2026-01-31T23:59:59.123Z``."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@FUNCTIONS.add("now_unix")
def _now_unix() -> int:
    """The time in whole seconds since 1970 (UTC)."""
    return int(time.time())


@FUNCTIONS.add("today")
def _today() -> str:
    """The date in UTC, such as ``2026-01-31``."""
    return datetime.now(UTC).date().isoformat()


@FUNCTIONS.add("format_timestamp")
def _format_timestamp(seconds: float, pattern: str = "%Y-%m-%d %H:%M:%S") -> str:
    """Seconds since 1970 as a time in UTC, by a pattern of `strftime`."""
    _require_short(pattern, "format_timestamp")
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime(pattern)
    except (ValueError, OverflowError, OSError):
        raise Failure(f"format_timestamp cannot write {seconds} that way", "WRONG_VALUE") from None


@FUNCTIONS.add("parse_timestamp")
def _parse_timestamp(text: str, pattern: str | None = None) -> int | float:
    """Seconds since 1970 of a time in ISO 8601, or by a pattern of `strptime`; UTC where no zone is written."""
    try:
        read = datetime.fromisoformat(text) if pattern is None else _by_pattern(text, pattern)
    except (ValueError, re.error):
        raise Failure("parse_timestamp cannot read the text as a time", "WRONG_VALUE") from None
    return tidy((read if read.tzinfo is not None else read.replace(tzinfo=UTC)).timestamp())


def _by_pattern(text: str, pattern: str) -> datetime:
    _require_short(pattern, "parse_timestamp")
    if _YEAR.search(pattern.replace("%%", "")):
        return datetime.strptime(text, pattern)
    return datetime.strptime(f"1900 {text}", f"%Y {pattern}")  # as Python has it; it warns of a day without a year


def _require_short(pattern: str, wanting: str) -> None:
    if len(pattern) > _LONGEST_PATTERN:
        raise Failure(f"{wanting} takes a pattern of at most {_LONGEST_PATTERN} characters", "WRONG_VALUE")


@FUNCTIONS.add("random_int")
def _random_int(least: int, most: int) -> int:
    """A random whole number, both bounds included; nobody can guess it."""
    low, high = tidy(least), tidy(most)
    if isinstance(low, float) or isinstance(high, float) or low > high:
        raise Failure("random_int takes two whole numbers, the lesser first", "WRONG_VALUE")
    return low + secrets.randbelow(high - low + 1)


@FUNCTIONS.add("random_string")
def _random_string(length: int = 16) -> str:
    """Random letters and digits of ASCII; nobody can guess them."""
    count = whole(length, "random_string")
    if not 0 <= count <= _LONGEST_RANDOM:
        raise Failure(f"random_string takes a length up to {_LONGEST_RANDOM}", "WRONG_VALUE")
    return "".join(secrets.choice(_ALPHABET) for _ in range(count))


# -- checks and hashes ---------------------------------------------------------------------------------------------


@FUNCTIONS.add("is_email")
def _is_email(value: Any) -> bool:
    """Whether it looks like an e-mail address, as HTML's input field has it, with a dot in the domain."""
    return isinstance(value, str) and len(value) <= 254 and _EMAIL.fullmatch(value) is not None


@FUNCTIONS.add("is_url")
def _is_url(value: Any) -> bool:
    """Whether it is an address that begins with http, https, ws or wss."""
    if not isinstance(value, str) or len(value) > 2048 or " " in value or not value.isprintable():
        return False
    try:
        parts = urlsplit(value)
        return parts.scheme in _SCHEMES and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False


@FUNCTIONS.add("sha256")
def _sha256(text: str) -> str:
    """The SHA-256 of the text's UTF-8 in hexadecimal; for passwords there is `hash_password`."""
    return hashlib.sha256(utf8_of(text)).hexdigest()


@FUNCTIONS.add("hmac_sha256")
def _hmac_sha256(text: str, key: str) -> str:
    """The HMAC-SHA-256 (RFC 2104) of the text with a key, in hexadecimal."""
    return hmac.new(utf8_of(key), utf8_of(text), hashlib.sha256).hexdigest()


_passwords: RunVar[Passwords] = RunVar("passwords")  # of an event loop: its threads are counted there


def _hashing() -> Passwords:
    passwords = _passwords.get(None)
    if passwords is None:
        passwords = Passwords()
        _passwords.set(passwords)
    return passwords


@FUNCTIONS.add("hash_password")
async def _hash_password(password: str) -> str:
    """The hash of a password to keep, with its own salt (Argon2id, RFC 9106)."""
    if len(password) > _LONGEST_PASSWORD:
        raise Failure(f"hash_password takes at most {_LONGEST_PASSWORD} characters", "WRONG_VALUE")
    try:
        return await _hashing().hash(password)
    except Overloaded as error:
        raise Failure("too many passwords are being hashed", "OVERLOADED") from error


@FUNCTIONS.add("verify_password")
async def _verify_password(password: str, stored: Any) -> bool:
    """Whether a password has this hash; with null the same work is done for nothing."""
    if len(password) > _LONGEST_PASSWORD:
        return False
    try:
        return await _hashing().verify(stored if isinstance(stored, str) else None, password)
    except Overloaded as error:
        raise Failure("too many passwords are being verified", "OVERLOADED") from error
