"""Names: which usernames, e-mail addresses and passwords there may be. Law: two names that look alike fold alike."""

from __future__ import annotations

import unicodedata

from wireloom.identity.refusal import FieldInvalid

__all__ = ["MAX_PASSWORD_BYTES", "MIN_PASSWORD_CHARACTERS", "fold", "require_name", "require_password"]

MIN_PASSWORD_CHARACTERS = 8
MAX_PASSWORD_BYTES = 1024
_MAX_CHARACTERS = {"username": 150, "email": 254}  # RFC 5321 §4.5.3.1.3, as RFC 3696's erratum reads it
_MAX_RAW_CHARACTERS = 4 * 254  # before composing, which shortens what is written in pieces
# Control and format characters (also the invisible and those that turn the direction of writing), surrogates, private
# and unassigned ones, separators of lines.
_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def fold(name: str) -> str:
    """The form in which names are compared: compatibility-composed, without case.

    What is too long to be anybody's name stays as it is: composing takes time by the square of some texts' length.
    """
    if len(name) > _MAX_RAW_CHARACTERS:
        return name
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def require_name(kind: str, value: str) -> str:
    """A username or e-mail address without the spaces around it.

    Args:
        kind: ``"username"`` or ``"email"``.
        value: as its owner wrote it.

    Raises:
        FieldInvalid: nobody may be called so.
    """
    if kind not in _MAX_CHARACTERS:
        raise FieldInvalid("type", "must be 'username' or 'email'")
    if len(value) > _MAX_RAW_CHARACTERS:
        raise FieldInvalid(kind, f"must have at most {_MAX_CHARACTERS[kind]} characters")
    name = unicodedata.normalize("NFC", value).strip()
    if not name or not fold(name).strip():
        raise FieldInvalid(kind, "must not be empty")
    if len(name) > _MAX_CHARACTERS[kind] or len(fold(name)) > 2 * _MAX_CHARACTERS[kind]:
        raise FieldInvalid(kind, f"must have at most {_MAX_CHARACTERS[kind]} characters")
    if any(unicodedata.category(character) in _UNSEEN for character in name):
        raise FieldInvalid(kind, "must have visible characters only")
    if kind == "email" and not _is_address(name):
        raise FieldInvalid(kind, "must be an e-mail address")
    return name


def _is_address(name: str) -> bool:
    """Whether mail might go there; only sending some could tell more."""
    local, at, domain = name.partition("@")
    spaced = any(character.isspace() for character in name)
    return bool(local and at and domain) and "@" not in domain and not spaced and not domain.startswith(".")


def require_password(password: str, field: str = "password", *, new: bool = True) -> str:
    """A password in the form that is hashed (RFC 8265 §4.2.2: composed, so that every keyboard's é is one).

    Args:
        password: as it was typed.
        field: what an error calls it.
        new: it is being chosen, not told, so it must be long enough.

    Raises:
        FieldInvalid: empty, too short or too long, or not text.
    """
    if len(password) > MAX_PASSWORD_BYTES:
        raise FieldInvalid(field, f"must have at most {MAX_PASSWORD_BYTES} bytes")
    text = unicodedata.normalize("NFC", password)
    if not text:
        raise FieldInvalid(field, "must not be empty")
    if new and len(text) < MIN_PASSWORD_CHARACTERS:
        raise FieldInvalid(field, f"must have at least {MIN_PASSWORD_CHARACTERS} characters")
    try:
        size_bytes = len(text.encode())
    except UnicodeEncodeError:
        raise FieldInvalid(field, "must be text") from None
    if size_bytes > MAX_PASSWORD_BYTES:
        raise FieldInvalid(field, f"must have at most {MAX_PASSWORD_BYTES} bytes")
    return text
