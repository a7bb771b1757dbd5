"""Visit: one connection of a route, or one HTTP request, with its variables. Law: it is gone with the connection."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from starlette.datastructures import QueryParams

from wireloom.faces.routes.failure import Failure

if TYPE_CHECKING:
    from wireloom.core.rate import Bucket
    from wireloom.core.request import Request

__all__ = ["Variables", "Visit", "plain_user"]

_MAX_LEFT = 1000  # channels that a connection left, and so does not join by a broadcast; the oldest are forgotten


class Variables(dict[str, Any]):
    """The variables of a visit."""

    __slots__ = ()

    def __missing__(self, name: str) -> Any:
        raise Failure(f"the variable {name!r} is not set yet", "NOT_SET")


class Visit:
    """One connection of a route, or one HTTP request.

    Args:
        request: the first of the connection, or the only one.

    Attributes:
        connection: where it comes from.
        variables: those that the route sets.
        payload: the body of an HTTP request, decoded; else null.
        left: channels that it left by an operation.
        bucket: messages that it may send now, where there is a limit.
        refusals: messages above the limit since the last that was not.
    """

    __slots__ = ("_headers", "_id", "_query", "bucket", "connection", "left", "payload", "refusals", "variables")

    def __init__(self, request: Request) -> None:
        self.connection: Any = request.connection
        self.variables = Variables()
        self.payload: Any = None
        self.left: dict[str, None] = {}
        self.bucket: Bucket | None = None
        self.refusals = 0
        self._id = ""
        self._headers: dict[str, str] | None = None
        self._query: dict[str, str] | None = None

    @property
    def connection_id(self) -> str:
        """The connection's client id; of an HTTP request, an id of its own."""
        if not self._id:
            self._id = getattr(self.connection, "client_id", "") or uuid.uuid4().hex
        return self._id

    @property
    def params(self) -> dict[str, Any]:
        """The path's parameters."""
        params: dict[str, Any] = self.connection.path_params
        return params

    @property
    def query(self) -> dict[str, str]:
        """The query's parameters; of those that occur twice, the last."""
        if self._query is None:
            self._query = dict(QueryParams(self.connection.head.query_string))
        return self._query

    @property
    def headers(self) -> dict[str, str]:
        """The headers, names in small letters."""
        if self._headers is None:
            pairs = self.connection.head.headers
            self._headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in pairs}
        return self._headers

    @property
    def user(self) -> dict[str, Any] | None:
        """Who is asking; null is the public."""
        return plain_user(self.connection.user)

    @property
    def request(self) -> dict[str, Any]:
        """The HTTP request as an object."""
        head, client = self.connection.head, self.connection.client
        return {
            "method": head.method,
            "path": head.path,
            "query": self.query,
            "headers": self.headers,
            "params": self.params,
            "body": self.payload,
            "client": None if client is None else client[0],
        }

    def named(self, name: str, *otherwise: Any) -> Any:
        """A member of the payload of an HTTP request, by its bare name.

        Raises:
            Failure: ``NOT_SET``: there is none, and nothing else in its place.
        """
        if isinstance(self.payload, dict) and name in self.payload:
            return self.payload[name]
        if otherwise:
            return otherwise[0]
        raise Failure(f"there is neither a variable {name!r} nor such a member of the payload", "NOT_SET")

    def leave(self, channel: str) -> None:
        """Hears a channel no longer, also when it broadcasts to it."""
        self.connection.leave(channel)
        self.left.pop(channel, None)
        self.left[channel] = None
        if len(self.left) > _MAX_LEFT:
            del self.left[next(iter(self.left))]

    def join(self, channel: str) -> None:
        """Hears a channel from now on."""
        self.connection.join(channel)
        self.left.pop(channel, None)

    def meet(self, channel: str) -> None:
        """Joins a channel that it broadcasts to, unless it has left it."""
        if channel not in self.left:
            self.connection.join(channel)


def plain_user(user: Any) -> dict[str, Any] | None:
    """A user as ``{{ user }}``: the claims of the token, and what we know ourselves."""
    if user is None:
        return None
    return {
        **user.claims,
        "id": user.user_id,
        "username": user.username,
        "role": user.role,
        "root_id": user.root_id,
        "expires_at": user.expires_at,
    }
