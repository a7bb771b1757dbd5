"""Claims: what a token says, once its signature is known to be good (RFC 7519 §4.1). Law: time is checked here only."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wireloom.identity.refusal import TokenEnded, TokenInvalid

__all__ = ["MAX_TOKEN_CHARACTERS", "Claims"]

MAX_TOKEN_CHARACTERS = 8192
_LEEWAY_SECONDS = 10.0  # another machine's clock may be ahead of ours; an end is an end


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says.

    Attributes:
        subject: ``sub``.
        token_id: ``jti``, or empty.
        expires_at: ``exp``, in unix seconds.
        rest: all claims, these included.
    """

    subject: str
    token_id: str
    expires_at: float
    rest: Mapping[str, Any]

    @classmethod
    def read(cls, payload: Mapping[str, Any], now: float) -> Claims:
        """Takes the claims of a verified payload.

        Args:
            payload: of a token whose signature, issuer and audience are good.
            now: in unix seconds.

        Raises:
            TokenInvalid: its time is over or has not come, or a claim is not what it has to be.
        """
        subject, token_id = payload.get("sub"), payload.get("jti", "")
        expires_at = _time(payload, "exp")
        if not isinstance(subject, str) or not subject or not isinstance(token_id, str) or expires_at is None:
            raise TokenInvalid
        if now >= expires_at:
            raise TokenEnded("Token expired")
        for name in ("nbf", "iat"):
            begins_at = _time(payload, name)
            if begins_at is not None and now < begins_at - _LEEWAY_SECONDS:
                raise TokenInvalid("Token not yet valid")
        return cls(subject, token_id, expires_at, payload)

    def text(self, name: str) -> str:
        """A claim that is text, or the empty string."""
        value = self.rest.get(name)
        return value if isinstance(value, str) else ""


def _time(payload: Mapping[str, Any], name: str) -> float | None:
    value = payload.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TokenInvalid
    return float(value)
