"""User: a user as one token presents them. Law: nothing here is secret, so it may be logged and sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["User"]


@dataclass(frozen=True, slots=True)
class User:
    """A user as one token presents them.

    Attributes:
        user_id: what tokens name as ``sub``.
        root_id: ``n::<24 hex>``, random; never `wireloom.core.topic.PUBLIC_ROOT_ID`.
        username: as it was registered, or as an external issuer writes it.
        role: ``"user"``, ``"admin"`` or another word of the application's.
        token_id: the token's ``jti``; empty where there was no token.
        expires_at: when the token does, in unix seconds; None where there was no token.
        claims: all that the token says.
    """

    user_id: str
    root_id: str
    username: str
    role: str = "user"
    token_id: str = ""
    expires_at: float | None = None
    claims: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
