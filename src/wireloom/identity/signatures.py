"""Signatures: whether a webhook was signed with an API key. Law: a good signature is good once.

What needs no body is checked before one is read. A signature is remembered in the database, so that it is refused the
second time in whatever process and after whatever restart.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import delete, insert
from sqlalchemy.exc import IntegrityError

from wireloom.database.database import Database, unbroken
from wireloom.identity.api_key import ApiKey
from wireloom.identity.keys import Keys
from wireloom.identity.refusal import KeyInvalid
from wireloom.identity.tables import signatures

__all__ = ["WINDOW_SECONDS", "Signatures", "WebhookCheck"]

WINDOW_SECONDS = 300.0  # how far a timestamp may be from the clock
_KEPT_SECONDS = 2 * WINDOW_SECONDS  # after its timestamp; clocks of several servers differ
_PRUNE_SECONDS = 600.0
_TIMESTAMP = re.compile(r"[0-9]{1,20}")
_SIGNATURE = re.compile(r"(?:sha256=)?([0-9A-Fa-f]{64})")


class Signatures:
    """Begins the checks of webhooks, and remembers the signatures that were used.

    Args:
        database: opened.
        keys: of the senders.
    """

    def __init__(self, database: Database, keys: Keys) -> None:
        self._database = database
        self._keys = keys
        self._prune_at = float("-inf")

    async def begin(self, headers: Mapping[str, str], walker: str, now: float) -> WebhookCheck:
        """Checks all that needs no body.

        Args:
            headers: of the request; names are asked for in lower case.
            walker: that the webhook is to reach.
            now: in unix seconds.

        Raises:
            KeyInvalid: with the reason that the sender may read.
        """
        api_key = headers.get("x-api-key")
        if not api_key:
            raise KeyInvalid("API key missing")
        key = await self._keys.check(api_key, now)
        if not key.allows(walker):
            raise KeyInvalid("API key does not reach this walker")
        if key.legacy_signature:
            return WebhookCheck(self, key, _read_signature(headers), api_key.encode(), b"", None, now)
        timestamp = _require_timestamp(headers, now)
        signed_before = f"{timestamp}.".encode()
        return WebhookCheck(
            self, key, _read_signature(headers), key.signing_secret.encode(), signed_before, int(timestamp), now
        )

    @unbroken
    async def remember(self, signature_hash: str, timestamp: int, now: float) -> None:
        """Remembers that a signature was used.

        Raises:
            KeyInvalid: it was used before.
        """
        row = insert(signatures).values(signature_hash=signature_hash, expires_at=timestamp + _KEPT_SECONDS)
        try:
            async with self._database.writing() as connection:
                await connection.execute(row)
        except IntegrityError:
            raise KeyInvalid("Signature was used already") from None
        if now >= self._prune_at:
            self._prune_at = now + _PRUNE_SECONDS
            await self._prune(now)

    @unbroken
    async def forget(self, signature_hash: str) -> None:
        """Lets a signature be used again."""
        async with self._database.writing() as connection:
            await connection.execute(delete(signatures).where(signatures.c.signature_hash == signature_hash))

    async def _prune(self, now: float) -> None:
        """Removes the signatures whose timestamps nobody would take any more."""
        async with self._database.writing() as connection:
            await connection.execute(delete(signatures).where(signatures.c.expires_at <= now))


@dataclass(slots=True)
class WebhookCheck:
    """A webhook whose key is good; what remains to be seen is whether its body was signed with it.

    Attributes:
        key: whose `user` is on whose behalf the sender works.
    """

    _signatures: Signatures = field(repr=False)
    key: ApiKey
    _signature: bytes = field(repr=False)
    _secret: bytes = field(repr=False)
    _signed_before: bytes = field(repr=False)
    _timestamp: int | None = field(repr=False)  # None: the signature may be used again and again
    _now: float = field(repr=False)
    _remembered: str | None = field(default=None, init=False, repr=False)

    async def verify(self, body: bytes) -> ApiKey:
        """The key, once the body is known to be signed with it.

        Args:
            body: as it came.

        Raises:
            KeyInvalid: with the reason that the sender may read.
        """
        digest = hmac.new(self._secret, self._signed_before, hashlib.sha256)
        digest.update(body)
        if not hmac.compare_digest(digest.digest(), self._signature):
            raise KeyInvalid("Signature invalid")
        if self._timestamp is not None:
            signature_hash = hashlib.sha256(self.key.key_id.encode() + b"." + self._signature).hexdigest()
            await self._signatures.remember(signature_hash, self._timestamp, self._now)
            self._remembered = signature_hash
        return self.key

    async def forget(self) -> None:
        """Lets the sender send the same request again, because what it asked for was not done."""
        remembered, self._remembered = self._remembered, None
        if remembered is not None:
            await self._signatures.forget(remembered)


def _require_timestamp(headers: Mapping[str, str], now: float) -> str:
    timestamp = headers.get("x-webhook-timestamp", "")
    if not _TIMESTAMP.fullmatch(timestamp):
        raise KeyInvalid("X-Webhook-Timestamp must be unix seconds")
    if abs(now - int(timestamp)) > WINDOW_SECONDS:
        raise KeyInvalid(f"X-Webhook-Timestamp is more than {WINDOW_SECONDS:.0f} s from the time here")
    return timestamp


def _read_signature(headers: Mapping[str, str]) -> bytes:
    """The signature's bytes. One of another form gets the answer of a wrong one."""
    match = _SIGNATURE.fullmatch(headers.get("x-webhook-signature", ""))
    if match is None:
        raise KeyInvalid("Signature invalid")
    return bytes.fromhex(match[1])
