"""Login: a user and the token that proves it. Law: its repr does not show the token."""

from __future__ import annotations

from dataclasses import dataclass, field

from wireloom.identity.user import User

__all__ = ["Login"]


@dataclass(frozen=True, slots=True)
class Login:
    """What registering, logging in and refreshing give.

    Attributes:
        user: with the token's id and end.
        token: to be shown to nobody else.
    """

    user: User
    token: str = field(repr=False)
