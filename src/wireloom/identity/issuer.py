"""Issuer: tokens of somebody else's, read with the public keys that they publish (RFC 7517).

Law: a key is asked for by https or from this machine, and at most once in a while whatever tokens come.
"""

from __future__ import annotations

import ipaddress
import logging
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

import anyio
import anyio.to_thread
import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from wireloom.config import Config
from wireloom.errors import ConfigError
from wireloom.identity.claims import MAX_TOKEN_CHARACTERS, Claims
from wireloom.identity.refusal import TokenInvalid

__all__ = ["Issuer"]

logger = logging.getLogger(__name__)

_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
_FETCH_SECONDS = 5.0
_MAX_BYTES = 1024 * 1024
_FRESH_SECONDS = 3600.0  # a key that the issuer takes back is believed no longer than this, if the issuer answers
_STALE_SECONDS = 24 * 3600.0  # and this if it does not
_RETRY_SECONDS = 30.0  # between two fetches
_MIN_RSA_BITS = 2048


class Issuer:
    """Reads the tokens of an external issuer.

    Args:
        config: the options ``token_jwks_url``, ``token_issuer``, ``token_audience``.
        monotonic: a clock in seconds.

    Raises:
        ConfigError: no issuer, or a URL that could be tampered with on the way.
    """

    def __init__(self, config: Config, monotonic: Callable[[], float] = time.monotonic) -> None:
        if not config.token_issuer:
            raise ConfigError("token_jwks_url needs token_issuer: the issuer that tokens must name")
        assert config.token_jwks_url is not None
        self._url = _require_safe(config.token_jwks_url)
        self._name = config.token_issuer
        self._audience = config.token_audience
        pinned = config.token_algorithm
        self._algorithms = list(_ALGORITHMS if pinned == "HS256" else (pinned,))  # HS256: the default, not for issuers
        self._monotonic = monotonic
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched_at = self._asked_at = float("-inf")
        self._lock = anyio.Lock()

    def subject_of(self, claims: Claims) -> str:
        """Issuer and subject in one text; no two pairs give the same."""
        return f"{quote(self._name, safe=':/')} {claims.subject}"

    async def read(self, token: str, now: float) -> Claims:
        """The claims of a token.

        Args:
            token: without a scheme.
            now: in unix seconds.

        Raises:
            TokenInvalid: the issuer did not sign it for us, or its time is over.
        """
        if len(token) > MAX_TOKEN_CHARACTERS:
            raise TokenInvalid
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError, RecursionError):
            raise TokenInvalid from None
        if header.get("alg") not in self._algorithms:
            raise TokenInvalid
        key = await self._key(header.get("kid"))
        return Claims.read(self._payload(token, key), now)

    def _payload(self, token: str, key: jwt.PyJWK) -> dict[str, Any]:
        try:
            return jwt.decode(
                token,
                key,
                algorithms=self._algorithms,
                issuer=self._name,
                audience=self._audience,
                options={
                    "require": ["sub", "exp", "iss"],
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                    # An audience that was not configured is not looked at
                    "verify_aud": self._audience is not None,
                },
            )
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            raise TokenInvalid from None

    # -- keys --------------------------------------------------------------------------------------------------------

    async def _key(self, key_id: Any) -> jwt.PyJWK:
        if self._monotonic() - self._fetched_at > _FRESH_SECONDS or self._find(key_id) is None:
            await self._refresh(key_id)
        if self._monotonic() - self._fetched_at > _STALE_SECONDS:
            raise TokenInvalid("The issuer's keys cannot be had")
        found = self._find(key_id)
        if found is None:
            raise TokenInvalid
        return found

    def _find(self, key_id: Any) -> jwt.PyJWK | None:
        if key_id is None:  # RFC 7515 §4.1.4: it is optional; one key needs no name
            return next(iter(self._keys.values())) if len(self._keys) == 1 else None
        return self._keys.get(key_id) if isinstance(key_id, str) else None

    async def _refresh(self, key_id: Any) -> None:
        """Fetches the keys, unless that was done a moment ago; of many that ask at once one does it."""
        async with self._lock:
            fresh = self._monotonic() - self._fetched_at <= _FRESH_SECONDS
            if (fresh and self._find(key_id) is not None) or self._monotonic() - self._asked_at < _RETRY_SECONDS:
                return
            self._asked_at = self._monotonic()
            try:
                body = await anyio.to_thread.run_sync(_fetch, self._url)
                self._keys = _usable(body)
            except (OSError, ValueError) as error:
                logger.warning("the keys of the issuer %s cannot be had: %s", self._name, error)
            else:
                self._fetched_at = self._monotonic()


def _require_safe(url: str) -> str:
    """The URL, if nobody on the way can put keys of theirs in."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "https" and host:
        return url
    if parts.scheme == "http" and (host == "localhost" or _is_loopback(host)):
        return url
    raise ConfigError("token_jwks_url must begin with https:// (http:// only on this machine)")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect could lead to where https does not protect."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _fetch(url: str) -> bytes:
    """Gets a small document; runs in a worker thread."""
    opener = urllib.request.build_opener(_NoRedirects)
    request = urllib.request.Request(url, headers={"Accept": "application/json", "User-Agent": "wireloom"})
    try:
        with opener.open(request, timeout=_FETCH_SECONDS) as answer:
            body: bytes = answer.read(_MAX_BYTES + 1)
    except urllib.error.HTTPError as error:
        error.close()
        raise OSError(f"HTTP status {error.code}") from None
    if len(body) > _MAX_BYTES:
        raise ValueError("the answer is larger than 1 MiB")
    return body


def _usable(body: bytes) -> dict[str, jwt.PyJWK]:
    """The public keys for signatures of a JWK Set (RFC 7517 §5: others are to be ignored)."""
    try:
        entries = msgspec.json.decode(body, type=dict[str, Any]).get("keys")
    except msgspec.DecodeError:
        raise ValueError("the answer is no JWK Set") from None
    if not isinstance(entries, list):
        raise ValueError("the answer is no JWK Set")
    keys = {}
    for entry in entries:
        key = _read_key(entry)
        if key is not None:
            keys[key.key_id or ""] = key
    if not keys:
        raise ValueError("the answer has no usable key")
    return keys


def _read_key(entry: Any) -> jwt.PyJWK | None:
    if not isinstance(entry, Mapping) or entry.get("kty") not in ("RSA", "EC", "OKP") or "d" in entry:
        return None
    if entry.get("use", "sig") != "sig" or not isinstance(entry.get("kid", ""), str):
        return None
    try:
        key = jwt.PyJWK(dict(entry))
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None
    too_small = isinstance(key.key, RSAPublicKey) and key.key.key_size < _MIN_RSA_BITS
    return None if too_small or key.algorithm_name not in _ALGORITHMS else key
