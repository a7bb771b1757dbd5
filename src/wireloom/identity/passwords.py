"""Passwords: hashed and verified with Argon2id (RFC 9106) in worker threads. Law: an unknown user costs as much."""

from __future__ import annotations

import base64
import secrets

import anyio
import anyio.to_thread
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from wireloom.identity.refusal import Overloaded

__all__ = ["Passwords"]

# RFC 9106 §4, the second recommended choice.
ITERATIONS = 3
MEMORY_KIB = 64 * 1024
LANES = 4
_SALT_BYTES, _HASH_BYTES = 16, 32
_THREADS = 2  # at once: each takes the memory above
_MAX_WAITING = 128  # beyond, people are asked to come again; a wait of many seconds serves nobody


class Passwords:
    """Hashes and verifies, a few at a time and never in the event loop's thread."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher(ITERATIONS, MEMORY_KIB, LANES, _HASH_BYTES, _SALT_BYTES)
        self._nobody = self._hash_of_nobody()
        self._limiter = anyio.CapacityLimiter(_THREADS)

    async def hash(self, password: str) -> str:
        """The hash to keep, with its salt and parameters (PHC string).

        Raises:
            Overloaded: too many wait already.
        """
        self._require_room()
        return await anyio.to_thread.run_sync(self._hasher.hash, password, limiter=self._limiter)

    async def verify(self, stored: str | None, password: str) -> bool:
        """Whether the password has this hash; with None the same work is done for nothing.

        Raises:
            Overloaded: too many wait already.
        """
        self._require_room()
        fits = await anyio.to_thread.run_sync(self._verify, stored or self._nobody, password, limiter=self._limiter)
        return fits and stored is not None

    def is_outdated(self, stored: str) -> bool:
        """Whether the hash was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(stored)

    def _verify(self, stored: str, password: str) -> bool:
        try:
            return self._hasher.verify(stored, password)
        except (VerificationError, InvalidHashError):
            return False

    def _require_room(self) -> None:
        if self._limiter.statistics().tasks_waiting >= _MAX_WAITING:
            raise Overloaded

    def _hash_of_nobody(self) -> str:
        """A hash of today's parameters that no password has: verifying it does the whole work."""
        salt, tag = (
            base64.b64encode(secrets.token_bytes(size)).rstrip(b"=").decode() for size in (_SALT_BYTES, _HASH_BYTES)
        )
        return f"$argon2id$v=19$m={MEMORY_KIB},t={ITERATIONS},p={LANES}${salt}${tag}"
