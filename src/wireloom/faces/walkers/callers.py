"""Callers: who a run is for, by the token that came with it. Law: a token is looked at for every message."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wireloom.core.request import Request
from wireloom.errors import RequestError, Unauthorized
from wireloom.identity.bearer import bare_token, find_token
from wireloom.identity.refusal import TokenInvalid

if TYPE_CHECKING:
    from wireloom.hub.hub import Hub
    from wireloom.identity.user import User

__all__ = ["Authenticate", "Callers", "require_role"]

Authenticate = Callable[[str], Awaitable[Any]]
"""A token → its user. Raises `TokenInvalid`."""

_FRESH_SECONDS = 1.0  # a token that was just looked up is not looked up again so soon
_MAX_FRESH = 10_000


@dataclass(frozen=True, slots=True)
class _Fresh:
    """A token that was looked up a moment ago."""

    user: Any
    until: float
    revocations: int


class Callers:
    """Knows users by their tokens.

    A token that was looked up within the last second is believed, unless any login was revoked since: revocations of
    this process, and of others over the backplane, count at once.

    Args:
        authenticate: looks a token up.
        hub: counts revocations.
    """

    def __init__(self, authenticate: Authenticate, hub: Hub) -> None:
        self._authenticate = authenticate
        self._logins = hub.logins
        self._fresh: dict[str, _Fresh] = {}

    def known(self, token: str) -> User | None:
        """The user of a token that was looked up a moment ago; None: it has to be looked up."""
        fresh = self._fresh.get(token)
        if fresh is None or fresh.revocations != self._logins.revocations or time.monotonic() > fresh.until:
            return None
        ends = getattr(fresh.user, "expires_at", None)
        return None if ends is not None and time.time() >= ends else fresh.user

    async def find(self, token: Any) -> User | None:
        """The user of a token; None: it lets nobody in.

        Args:
            token: as it came; what is no text is no token.
        """
        if not isinstance(token, str) or not token:
            return None
        bare = bare_token(token)
        known = self.known(bare)
        if known is not None:
            return known
        revocations = self._logins.revocations
        try:
            user = await self._authenticate(bare)
        except TokenInvalid:
            return None
        if len(self._fresh) >= _MAX_FRESH:
            self._fresh.clear()
        self._fresh[bare] = _Fresh(user, time.monotonic() + _FRESH_SECONDS, revocations)
        found: User = user
        return found

    async def of_http(self, request: Request, *, in_query: bool) -> User | None:
        """The user of an HTTP request, by its ``Authorization`` or, where that is allowed, its query."""
        return await self.find(find_token(request.headers, request.query, [], in_query=in_query))


def require_role(user: Any, roles: tuple[str, ...]) -> None:
    """Refuses who is not logged in, or has none of some roles.

    Args:
        user: None is the public.
        roles: one of them is needed; none: a login is enough.

    Raises:
        RequestError: ``UNAUTHORIZED`` or ``FORBIDDEN``.
    """
    if user is None:
        raise Unauthorized()
    if roles and getattr(user, "role", None) not in roles:
        raise RequestError("FORBIDDEN", "Not allowed")
