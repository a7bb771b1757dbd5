"""What is JSON and what is not, and how a problem with a payload is told.

Law: whatever a client sends, the answer is a value, ``InvalidJSON`` or ``ValidationFailed``; no other exception is the
client's doing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from wireloom.errors import InvalidJSON, RequestError, ValidationFailed

__all__ = [
    "CLIENT_ERRORS",
    "MAX_DEPTH",
    "MAX_DETAILS",
    "cut",
    "is_shallow",
    "path_of",
    "problem",
    "problem_of",
    "refusal_of",
    "require_json",
]

MAX_DETAILS = 20  # entries of one ValidationFailed
MAX_MESSAGE = 300  # characters of one entry's message; parts of it may be the client's
MAX_DEPTH = 200  # levels of nesting for decoders in Rust; jiter, pydantic's JSON parser, has the same limit

_NAMED_FIELD = re.compile(r"^Object (?:missing required|contains unknown) field `([^`]*)`$")

# What msgspec raises for reasons that lie in the payload. DecodeError: syntax, shape; UnicodeError: invalid UTF-8, lone
# surrogates; RecursionError: nesting; TypeError: a list or object as the member of a set. (What ``__post_init__`` or an
# attrs validator raises as TypeError or ValueError arrives as DecodeError.)
CLIENT_ERRORS = (msgspec.DecodeError, UnicodeError, RecursionError, TypeError)

# ``Raw`` checks the whole grammar and builds nothing; an untyped decode would stop at a number out of range.
_scan = msgspec.json.Decoder(msgspec.Raw).decode


def require_json(text: str | bytes) -> None:
    """Raise ``InvalidJSON`` unless all of the text is one JSON value (RFC 8259) in UTF-8."""
    try:
        _scan(text if isinstance(text, str) else str(text, "utf-8"))
    except RecursionError as error:
        raise InvalidJSON("nested too deeply") from error
    except (msgspec.DecodeError, UnicodeError) as error:
        raise InvalidJSON(cut(str(error))) from error


def refusal_of(error: Exception, text: str | bytes) -> RequestError:
    """The error for the client: a typed decoder may report a wrong type before it meets the syntax error behind it."""
    if isinstance(error, RecursionError):
        return InvalidJSON("nested too deeply")
    try:
        require_json(text)
    except InvalidJSON as invalid:
        return invalid
    return ValidationFailed([problem_of(error)])


def problem_of(error: Exception) -> dict[str, str]:
    """The entry of ``details`` for an error of msgspec, whose text ends in `` - at `$.path` `` below the top.

    The path of a field that is missing or unknown is the field's own.
    """
    message, found, path = str(error).rpartition(" - at `")
    if not found or not path.endswith("`"):
        message, path = str(error), "$"
    path = path.removesuffix("`")
    if path.startswith("key` in `"):
        return problem(path.removeprefix("key` in `"), f"{message} (a key)")
    named = _NAMED_FIELD.search(message)
    return problem(f"{path}.{named[1]}" if named else path, message)


def problem(path: str, message: str) -> dict[str, str]:
    """One entry of ``details``, both parts cut to a length that is safe to send."""
    return {"path": cut(path), "message": cut(message)}


def path_of(parts: Iterable[Any]) -> str:
    """``["a", 0, "b"]`` → ``$.a[0].b``."""
    return "$" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)


def cut(message: str) -> str:
    """The message, at most 300 characters of it."""
    return message if len(message) <= MAX_MESSAGE else message[: MAX_MESSAGE - 1] + "…"


def is_shallow(value: Any) -> bool:
    """Whether a decoded JSON value has at most 200 levels; iterative, so that no depth can harm it."""
    level = [value]
    for _ in range(MAX_DEPTH):
        children: list[Any] = []
        for item in level:
            children += item if isinstance(item, list) else item.values() if isinstance(item, dict) else ()
        level = [child for child in children if isinstance(child, list | dict)]
        if not level:
            return True
    return False
