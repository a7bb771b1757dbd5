"""Arguments: what stores of either kind refuse of an operation's arguments. Law: nothing of it reaches a store."""

from __future__ import annotations

from typing import Any

from wireloom.faces.routes.expressions.values import text_of, tidy
from wireloom.faces.routes.failure import Failure

__all__ = ["as_text", "invalid"]


def as_text(value: Any) -> str:
    """A value as it is kept where there is only text (`text_of`).

    Raises:
        Failure: it has half of a surrogate pair, which UTF-8 has not, is no number of 64 bits, or too large.
    """
    text = text_of(tidy(value) if isinstance(value, float) else value)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise invalid("half of a surrogate pair is no text") from None
    return text


def invalid(message: str) -> Failure:
    """What is raised for an argument that cannot be taken."""
    return Failure(message, "INVALID_ARGUMENT")
