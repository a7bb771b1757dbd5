"""Bearer: where a request carries its token. Law: the header wins over the subprotocol, that over the query."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from starlette.datastructures import Headers, QueryParams

__all__ = ["BEARER_SUBPROTOCOL", "Authenticate", "bare_token", "find_token"]

Authenticate: TypeAlias = Callable[[str], Awaitable[Any]]
"""A token → its user. Raises `TokenInvalid`."""

BEARER_SUBPROTOCOL = "wireloom.bearer"


def find_token(headers: Headers, query: QueryParams, subprotocols: Sequence[str], *, in_query: bool) -> str | None:
    """The token of a request, without its scheme, or None.

    ``Authorization: Bearer x``, the scheme in any case; else the pair of subprotocols ``wireloom.bearer, x``; else
    ``?token=x``, the last one.

    Args:
        headers: of the request or handshake.
        query: of its URL.
        subprotocols: those that were offered, in order.
        in_query: whether the query counts.
    """
    for value in headers.getlist("authorization"):
        scheme, _, token = value.strip().partition(" ")
        if scheme.lower() == "bearer" and token.strip():
            return token.strip()
    if BEARER_SUBPROTOCOL in subprotocols:
        after = list(subprotocols)[list(subprotocols).index(BEARER_SUBPROTOCOL) + 1 :]
        if after and after[0]:
            return after[0]
    if in_query and query.get("token"):
        return bare_token(query["token"]) or None
    return None


def bare_token(token: str) -> str:
    """``"x"`` of ``"x"`` or ``"Bearer x"``, the scheme in any case."""
    token = token.strip()
    scheme, _, rest = token.partition(" ")
    return rest.strip() if scheme.lower() == "bearer" else token
