"""HTTP: what names of headers and answers may be (RFC 9110), for the faces that let an application choose them."""

from __future__ import annotations

import re

__all__ = ["WITHOUT_BODY", "is_token"]

WITHOUT_BODY = (204, 205, 304)
"""The statuses whose answers have no body (§15.3.5, §15.3.6, §15.4.5)."""

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


def is_token(text: str) -> bool:
    """Whether a text is a token (§5.6.2), as names of headers and of subprotocols are."""
    return _TOKEN.fullmatch(text) is not None
