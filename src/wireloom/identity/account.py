"""Account: a user as the store keeps it. Law: its repr does not show the password's hash."""

from __future__ import annotations

from dataclasses import dataclass, field

from wireloom.identity.user import User

__all__ = ["Account"]


@dataclass(frozen=True, slots=True)
class Account:
    """A user as the store keeps it.

    Attributes:
        user_id: what tokens name.
        root_id: ``n::<24 hex>``.
        username: as it was registered.
        role: a word of the application's.
        created_at: in unix seconds.
        password_hash: None for users of an external issuer.
    """

    user_id: str
    root_id: str
    username: str
    role: str
    created_at: float
    password_hash: str | None = field(default=None, repr=False)

    def as_user(self, token_id: str = "", expires_at: float | None = None) -> User:
        """The user as a token presents it."""
        return User(self.user_id, self.root_id, self.username, self.role, token_id, expires_at)
