"""ApiKey: what lets another service in on behalf of a user. Law: its repr shows no secret."""

from __future__ import annotations

from dataclasses import dataclass, field

from wireloom.identity.user import User

__all__ = ["ApiKey", "NewApiKey"]


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key as the store keeps it.

    Attributes:
        key_id: names it; not secret.
        user: on whose behalf it works; has no token.
        name: for people.
        created_at: in unix seconds.
        expires_at: in unix seconds; None: never.
        allowed_walkers: the walkers that it reaches; None: all.
        legacy_signature: webhooks sign with the key itself, without a timestamp.
        signing_secret: what webhooks sign with; empty where it was not asked for.
    """

    key_id: str
    user: User
    name: str
    created_at: float
    expires_at: float | None
    allowed_walkers: tuple[str, ...] | None
    legacy_signature: bool
    signing_secret: str = field(default="", repr=False)

    def allows(self, walker: str) -> bool:
        """Whether it reaches a walker."""
        return self.allowed_walkers is None or walker in self.allowed_walkers


@dataclass(frozen=True, slots=True)
class NewApiKey:
    """A key that was just made: the only time that its text is known.

    Attributes:
        api_key: the text.
        key: all else, with the signing secret.
    """

    api_key: str = field(repr=False)
    key: ApiKey
