"""Signing: tokens of our own, signed and read (RFC 7519). Law: the algorithm is configured, not the token's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from wireloom.config import Config
from wireloom.errors import ConfigError
from wireloom.identity.claims import MAX_TOKEN_CHARACTERS, Claims
from wireloom.identity.refusal import TokenInvalid

__all__ = ["MIN_SECRET_BYTES", "Signing"]

MIN_SECRET_BYTES = 32  # RFC 7518 §3.2: as long as the hash
_MIN_RSA_BITS = 2048  # RFC 7518 §3.3
_REQUIRED = ["sub", "exp", "iat", "jti"]


class Signing:
    """Signs tokens and reads them.

    Args:
        config: the options ``token_…``.
        kept_secret: signs HS256 tokens when the configuration has no secret.

    Raises:
        ConfigError: options that contradict each other, or a key that cannot be used.
    """

    def __init__(self, config: Config, kept_secret: str) -> None:
        self._algorithm = config.token_algorithm
        self._issuer = config.token_issuer
        self._audience = config.token_audience
        self._private, self._public = _keys(config, kept_secret)

    def sign(self, claims: dict[str, Any]) -> str:
        """A token with these claims, and the issuer and audience of the configuration."""
        named = {"iss": self._issuer, "aud": self._audience}
        payload = {**claims, **{name: value for name, value in named.items() if value is not None}}
        return jwt.encode(payload, self._private, algorithm=self._algorithm)

    def read(self, token: str, now: float) -> Claims:
        """The claims of a token.

        Args:
            token: without a scheme.
            now: in unix seconds.

        Raises:
            TokenInvalid: it was not signed here, or its time is over.
        """
        if len(token) > MAX_TOKEN_CHARACTERS:
            raise TokenInvalid
        return Claims.read(self._payload(token), now)

    def _payload(self, token: str) -> dict[str, Any]:
        try:
            return jwt.decode(
                token,
                self._public,
                algorithms=[self._algorithm],
                issuer=self._issuer,
                audience=self._audience,
                # Claims.read checks times, with a clock that can be set
                options={"require": _REQUIRED, "verify_exp": False, "verify_nbf": False, "verify_iat": False},
            )
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            raise TokenInvalid from None


def _keys(config: Config, kept_secret: str) -> tuple[Any, Any]:
    """What signs and what verifies."""
    algorithm, keyfile = config.token_algorithm, config.token_private_keyfile
    if algorithm == "HS256":
        if keyfile is not None:
            raise ConfigError("token_private_keyfile needs token_algorithm RS256 or ES256; HS256 would not use it")
        secret = kept_secret if config.token_secret is None else config.token_secret
        if len(secret.encode()) < MIN_SECRET_BYTES:
            raise ConfigError(f"token_secret must have {MIN_SECRET_BYTES} bytes or more")
        return secret, secret
    if keyfile is None:
        raise ConfigError(f"token_algorithm {algorithm} needs token_private_keyfile")
    if config.token_secret is not None:
        raise ConfigError(f"token_secret needs token_algorithm HS256; {algorithm} would not use it")
    key = _private_key(Path(keyfile))
    fits = (
        isinstance(key, rsa.RSAPrivateKey) and key.key_size >= _MIN_RSA_BITS
        if algorithm == "RS256"
        else isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1)
    )
    if not fits:
        wanted = "an RSA key of 2048 bits or more" if algorithm == "RS256" else "a key on the curve P-256"
        raise ConfigError(f"token_private_keyfile {keyfile}: {algorithm} needs {wanted}")
    return key, key.public_key()


def _private_key(file: Path) -> Any:
    try:
        return load_pem_private_key(file.read_bytes(), password=None)
    except OSError as error:
        raise ConfigError(f"token_private_keyfile {file}: {error.strerror}") from None
    except TypeError:
        raise ConfigError(f"token_private_keyfile {file}: a key with a password cannot be used") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigError(f"token_private_keyfile {file}: not a private key in PEM") from None
