"""CORS: pages of the origins that may open a WebSocket may read the answers over HTTP as well (Fetch standard, §3.3).

Law: no credentials are allowed. A page adds its token itself; cookies of a browser stay where they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from starlette.middleware.cors import CORSMiddleware

from wireloom.wire.handshake import is_origin_allowed

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Scope

__all__ = ["CORS"]

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_ADVICE = ("Retry-After", "WWW-Authenticate")  # what scripts may read besides the body and its type


class CORS(CORSMiddleware):
    """Answers preflights, and tells browsers who may read an answer.

    Args:
        app: what gives the answers.
        origins: as the option `allowed_origins`.
    """

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        super().__init__(app, allow_methods=_METHODS, allow_headers=("*",), expose_headers=_ADVICE)
        self._origins = origins

    def is_allowed_origin(self, origin: str) -> bool:
        """Whether a page may read answers."""
        return is_origin_allowed(origin, "", self._origins)

    def concerns(self, scope: Scope) -> bool:
        """Whether a request comes from a page of an origin that is allowed."""
        origins = [value.decode("latin-1") for name, value in scope["headers"] if name == b"origin"]
        return len(origins) == 1 and self.is_allowed_origin(origins[0])
