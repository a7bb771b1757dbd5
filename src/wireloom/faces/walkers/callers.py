"""Callers: who a run is for, by the token that came with it. Law: a token is looked at for every message."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wireloom.core.request import Request
from wireloom.errors import RequestError, Unauthorized
from wireloom.identity.bearer import Authenticate, bare_token, find_token
from wireloom.identity.refusal import TokenEnded, TokenInvalid

if TYPE_CHECKING:
    from wireloom.hub.hub import Hub
    from wireloom.identity.user import User

__all__ = ["Callers", "is_allowed", "require_role"]

_FRESH_SECONDS = 1.0  # a token that was just looked up is not looked up again so soon
_MAX_FRESH = 1_000


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

    async def find(self, token: Any, *, public: bool = False) -> User | None:
        """The user of a token; None: it lets nobody in.

        Args:
            token: as it came; what is no text is no token.
            public: whoever is nobody is let in, too.

        Raises:
            Unauthorized: where the public is let in, and a token that was good is not any more: what its user means to
                keep must not become the public's.
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
        except TokenInvalid as invalid:
            if public and isinstance(invalid, TokenEnded):
                raise Unauthorized() from invalid
            return None
        self._believe(bare, _Fresh(user, time.monotonic() + _FRESH_SECONDS, revocations))
        found: User = user
        return found

    def _believe(self, token: str, fresh: _Fresh) -> None:
        if len(self._fresh) >= _MAX_FRESH:
            now = time.monotonic()
            self._fresh = {token: fresh for token, fresh in self._fresh.items() if fresh.until > now}
        if len(self._fresh) < _MAX_FRESH:
            self._fresh[token] = fresh

    async def of_http(self, request: Request, *, in_query: bool, public: bool) -> User | None:
        """The user of an HTTP request, by its ``Authorization`` or, where that is allowed, its query; as `find`."""
        return await self.find(find_token(request.headers, request.query, [], in_query=in_query), public=public)


def is_allowed(user: Any, roles: tuple[str, ...]) -> bool:
    """Whether somebody is logged in, with one of some roles where there are any."""
    return user is not None and (not roles or getattr(user, "role", None) in roles)


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
    if not is_allowed(user, roles):
        raise RequestError("FORBIDDEN", "Not allowed")
