"""Plain: the JSON of any value that a handler may send, whether or not an annotation says what it is."""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = ["encode_plain", "plain_of"]


def plain_of(value: Any) -> Any:
    """A pydantic model as plain values; known by its method, so that nothing is imported.

    Raises:
        TypeError: a value that has no JSON form.
    """
    dump = getattr(value, "model_dump", None)
    if dump is None:
        raise TypeError(f"a reply with {type(value).__qualname__} in it has no JSON form")
    return dump(mode="json", by_alias=True)


encode_plain = msgspec.json.Encoder(enc_hook=plain_of).encode
"""A value → compact UTF-8 JSON."""
