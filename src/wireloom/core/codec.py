"""An endpoint's three compiled functions between the payload of a message and the values of a handler.

Law: everything is compiled at registration; a message is never the first to meet a type.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from wireloom.errors import InternalError, RequestError, ValidationFailed

__all__ = ["Codec", "ReplyInvalid", "error_object"]


class ReplyInvalid(ValueError):
    """A handler's reply breaks the response schema: it is logged with the reason and dropped, never sent.

    Args:
        reason: what is wrong with it and where, at most some 300 characters.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Codec:
    """An endpoint's three compiled functions, and what the documents say of the payloads.

    Args:
        decode: one whole message (``str`` a text frame, ``bytes`` a binary frame; ``Incoming`` on the doors rest and
            webhook) → the handler's value. Raises ``InvalidJSON``, ``ValidationFailed`` or another ``RequestError``.
        encode: the handler's reply → the payload. ``str`` leaves as a text frame; ``bytes`` as a text frame where
            ``json``, else as a binary one. Raises ``ReplyInvalid``; any other exception is the handler's bug, such as a
            ``TypeError`` for a value that has no JSON form.
        encode_error: a ``RequestError`` → JSON text in the face's error shape; empty where the caller is not told.
        json: the payloads are JSON; else they go through as they are.
        message_schema: JSON Schema of the message for the documents; ``None``: anything.
        response_schema: JSON Schema of the reply for the documents; ``None``: anything.
    """

    decode: Callable[[Any], Any]
    encode: Callable[[Any], Any]
    encode_error: Callable[[RequestError], bytes]
    json: bool = True
    message_schema: dict[str, Any] | None = None
    response_schema: dict[str, Any] | None = None


def error_object(error: RequestError) -> dict[str, str]:
    """An error as walkers and events tell it: ``{"code", "message"}``, with ``path`` or ``id`` where there is one."""
    if isinstance(error, InternalError):
        return {"code": "EXECUTION_ERROR", "message": "Walker execution failed", "id": error.error_id}
    if isinstance(error, ValidationFailed) and error.details:
        first = error.details[0]
        return {"code": error.code, "message": first["message"], "path": first["path"]}
    return {"code": error.code, "message": error.message}
