"""Keys: the rows of API keys. Law: a key is kept as its hash, a signing secret encrypted for its own row."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from typing import Any

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy import Select, delete, insert, select
from sqlalchemy.exc import IntegrityError

from wireloom.database.database import Database, unbroken
from wireloom.identity.api_key import ApiKey, NewApiKey
from wireloom.identity.refusal import FieldInvalid, KeyInvalid, NotFound
from wireloom.identity.tables import api_keys, users
from wireloom.identity.user import User

__all__ = ["Keys"]

_KEY_PREFIX, _SECRET_PREFIX = "wlk_", "wls_"  # tell people, and scanners of leaked secrets, what they are
_RANDOM_BYTES = 32
_NONCE_BYTES = 12  # NIST SP 800-38D §8.2
_MAX_NAME_CHARACTERS = 100
_MAX_WALKERS = 1000
_MAX_WALKER_CHARACTERS = 200
_MAX_EXPIRY_DAYS = 36_500
_DAY_SECONDS = 24 * 3600.0


class Keys:
    """Reads and writes API keys.

    Args:
        database: opened.
        secret: of this database's own; signing secrets are encrypted with it.
    """

    def __init__(self, database: Database, secret: str) -> None:
        self._database = database
        derived = HKDF(SHA256(), 32, None, b"wireloom signing secrets").derive(secret.encode())
        self._cipher = AESGCM(derived)

    @unbroken
    async def create(
        self,
        user: User,
        name: str,
        now: float,
        *,
        expiry_days: int | None,
        allowed_walkers: Sequence[str] | None,
        legacy_signature: bool,
    ) -> NewApiKey:
        """Makes a key.

        Args:
            user: on whose behalf it works.
            name: for people, 1 to 100 characters.
            now: in unix seconds.
            expiry_days: days until it ends; None: never.
            allowed_walkers: those it reaches; None: all.
            legacy_signature: webhooks sign with the key itself.

        Raises:
            FieldInvalid: a value that cannot be.
            NotFound: the user is gone.
        """
        expires_at = None if expiry_days is None else now + _require_days(expiry_days) * _DAY_SECONDS
        key = ApiKey(
            secrets.token_hex(12),
            User(user.user_id, user.root_id, user.username, user.role),
            _require_name(name),
            now,
            expires_at,
            _require_walkers(allowed_walkers),
            legacy_signature,
            _SECRET_PREFIX + secrets.token_urlsafe(_RANDOM_BYTES),
        )
        api_key = _KEY_PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
        try:
            async with self._database.writing() as connection:
                await connection.execute(insert(api_keys).values(**self._values(key, api_key)))
        except IntegrityError:
            raise NotFound("There is no such user") from None
        return NewApiKey(api_key, key)

    @unbroken
    async def check(self, api_key: str, now: float) -> ApiKey:
        """The key of this text.

        Raises:
            KeyInvalid: there is none, or its time is over.
        """
        digest = _digest(api_key)
        async with self._database.reading() as connection:
            row = (await connection.execute(_rows().where(api_keys.c.key_hash == digest))).mappings().one_or_none()
        # The index finds a hash of what was sent, so its time tells nothing of any key; the comparison is for form.
        if row is None or not hmac.compare_digest(row["key_hash"], digest):
            raise KeyInvalid
        if row["expires_at"] is not None and now >= row["expires_at"]:
            raise KeyInvalid("API key expired")
        return _key(row, self._decrypt(row["key_id"], row["signing_secret"]))

    @unbroken
    async def all(self, user_id: str | None) -> Sequence[ApiKey]:
        """The keys of a user, or everybody's, the oldest first, without their secrets."""
        query = _rows().order_by(api_keys.c.created_at, api_keys.c.key_id)
        if user_id is not None:
            query = query.where(api_keys.c.user_id == user_id)
        async with self._database.reading() as connection:
            return [_key(row, "") for row in (await connection.execute(query)).mappings()]

    @unbroken
    async def revoke(self, key_id: str, user_id: str | None) -> None:
        """Removes a key, of this user unless it is None.

        Raises:
            NotFound: there is none, or it is somebody else's.
        """
        condition = api_keys.c.key_id == key_id
        if user_id is not None:
            condition &= api_keys.c.user_id == user_id
        async with self._database.writing() as connection:
            if not (await connection.execute(delete(api_keys).where(condition))).rowcount:
                raise NotFound("There is no such API key")

    def _values(self, key: ApiKey, api_key: str) -> dict[str, Any]:
        walkers = None if key.allowed_walkers is None else msgspec.json.encode(key.allowed_walkers).decode()
        return {
            "key_id": key.key_id,
            "user_id": key.user.user_id,
            "name": key.name,
            "key_hash": _digest(api_key),
            "signing_secret": self._encrypt(key.key_id, key.signing_secret),
            "allowed_walkers": walkers,
            "legacy_signature": key.legacy_signature,
            "created_at": key.created_at,
            "expires_at": key.expires_at,
        }

    def _encrypt(self, key_id: str, secret: str) -> bytes:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, secret.encode(), key_id.encode())

    def _decrypt(self, key_id: str, encrypted: bytes) -> str:
        nonce, rest = encrypted[:_NONCE_BYTES], encrypted[_NONCE_BYTES:]
        try:
            return self._cipher.decrypt(nonce, rest, key_id.encode()).decode()
        except InvalidTag:
            raise KeyInvalid("API key unusable: its signing secret was made in another database") from None


def _digest(api_key: str) -> str:
    # 256 random bits cannot be guessed, so nothing slower than SHA-256 is needed.
    return hashlib.sha256(api_key.encode("utf-8", "surrogatepass")).hexdigest()


def _rows() -> Select[Any]:
    owner = (users.c.root_id, users.c.username, users.c.role)
    return select(api_keys, *owner).join(users, users.c.user_id == api_keys.c.user_id)


def _key(row: Any, signing_secret: str) -> ApiKey:
    walkers = row["allowed_walkers"]
    return ApiKey(
        row["key_id"],
        User(row["user_id"], row["root_id"], row["username"], row["role"]),
        row["name"],
        row["created_at"],
        row["expires_at"],
        None if walkers is None else msgspec.json.decode(walkers, type=tuple[str, ...]),
        row["legacy_signature"],
        signing_secret,
    )


def _require_name(name: str) -> str:
    name = name.strip()
    if not 1 <= len(name) <= _MAX_NAME_CHARACTERS or not name.isprintable():
        raise FieldInvalid("name", f"must have 1 to {_MAX_NAME_CHARACTERS} printable characters")
    return name


def _require_days(days: int) -> int:
    if not 1 <= days <= _MAX_EXPIRY_DAYS:
        raise FieldInvalid("expiry_days", f"must be 1 to {_MAX_EXPIRY_DAYS}")
    return days


def _require_walkers(walkers: Sequence[str] | None) -> tuple[str, ...] | None:
    if walkers is None:
        return None
    names = tuple(dict.fromkeys(walkers))
    if len(names) > _MAX_WALKERS or not all(
        name.isprintable() and 1 <= len(name) <= _MAX_WALKER_CHARACTERS for name in names
    ):
        raise FieldInvalid("allowed_walkers", f"must be at most {_MAX_WALKERS} names of walkers")
    return names
