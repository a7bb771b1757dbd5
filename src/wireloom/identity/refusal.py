"""Refusals: why a user, token or key is not let through. Law: no refusal carries a secret or tells who exists."""

from __future__ import annotations

from wireloom.errors import RequestError, WireloomError

__all__ = [
    "CredentialsInvalid",
    "FieldInvalid",
    "Forbidden",
    "IdentityTaken",
    "KeyInvalid",
    "NotFound",
    "Overloaded",
    "RateLimited",
    "TokenEnded",
    "TokenInvalid",
]


class TokenInvalid(WireloomError):
    """A token lets nobody in.

    Args:
        reason: what its bearer may read, such as ``"Token expired"``.
    """

    def __init__(self, reason: str = "Token invalid") -> None:
        super().__init__(reason)
        self.reason = reason


class TokenEnded(TokenInvalid):
    """A token that was good once: it has expired, or was revoked."""


class KeyInvalid(WireloomError):
    """An API key lets nobody in.

    Args:
        reason: what its bearer may read.
    """

    def __init__(self, reason: str = "API key invalid") -> None:
        super().__init__(reason)
        self.reason = reason


class FieldInvalid(RequestError):
    """A value that nobody may have.

    Args:
        field: the argument at fault: ``"username"``, ``"email"``, ``"password"``, …
        message: what is wrong with it, without the value.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__("VALIDATION_ERROR", message)
        self.field = field


class IdentityTaken(RequestError):
    """The username or e-mail address belongs to a user already."""

    def __init__(self) -> None:
        super().__init__("IDENTITY_TAKEN", "This username or e-mail address is taken")


class CredentialsInvalid(RequestError):
    """The same answer for an unknown user and a wrong password."""

    def __init__(self) -> None:
        super().__init__("UNAUTHORIZED", "Invalid credentials")


class Forbidden(RequestError):
    """The configuration does not allow this."""

    def __init__(self, message: str) -> None:
        super().__init__("FORBIDDEN", message)


class NotFound(RequestError):
    """There is none, or it is somebody else's."""

    def __init__(self, message: str) -> None:
        super().__init__("NOT_FOUND", message)


class Overloaded(RequestError):
    """Too many passwords wait to be hashed."""

    def __init__(self) -> None:
        super().__init__("OVERLOADED", "Too many logins at once; try again in a moment")


class RateLimited(RequestError):
    """Too many wrong passwords were told, the same for names that exist and names that do not; or too many were added.

    Args:
        retry_after_seconds: whole seconds until an attempt is allowed.
        what: there is too much of.
    """

    def __init__(self, retry_after_seconds: int, what: str = "failed attempts") -> None:
        super().__init__("RATE_LIMITED", f"Too many {what}; try again in {retry_after_seconds} s")
        self.retry_after_seconds = retry_after_seconds
