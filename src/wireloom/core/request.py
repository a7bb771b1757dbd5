"""Request: one invocation of a handler, by whichever door."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from starlette.datastructures import Headers, QueryParams
from starlette.requests import cookie_parser

if TYPE_CHECKING:
    from wireloom.core.endpoint import Endpoint

__all__ = ["Request"]


class Request(msgspec.Struct, eq=False):
    """One invocation of a handler. (A Struct, because one is made for every message and this is the fastest way.)

    Args:
        endpoint: what is invoked.
        connection: where the message came from and replies go.
        message: the decoded message; None in a handshake and in the connect and disconnect hooks.
        node: where in the caller's graph a walk begins; None is at the root.
        caller: whose request it is, where a message says that itself; else it is the connection's user's.
    """

    endpoint: Endpoint
    connection: Any
    message: Any = None
    node: str | None = None
    caller: Any = msgspec.UNSET

    @property
    def method(self) -> str:
        """The HTTP method; ``"GET"`` for a WebSocket."""
        method: str = self.connection.head.method
        return method

    @property
    def path(self) -> str:
        """The path as it was sent, percent-encoded."""
        path: str = self.connection.head.path
        return path

    @property
    def path_params(self) -> dict[str, Any]:
        """The path's parameters, converted."""
        params: dict[str, Any] = self.connection.path_params
        return params

    @property
    def headers(self) -> Headers:
        """The request's headers; names are case-insensitive."""
        return Headers(raw=self.connection.head.headers)

    @property
    def query(self) -> QueryParams:
        """The query's parameters as text."""
        return QueryParams(self.connection.head.query_string)

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies that came with the request."""
        return cookie_parser(self.headers.get("cookie", ""))

    @property
    def subprotocols(self) -> list[str]:
        """The subprotocols that the client offers, in its order."""
        offered = self.headers.getlist("sec-websocket-protocol")
        return [name.strip() for value in offered for name in value.split(",") if name.strip()]

    @property
    def user(self) -> Any:
        """Who is asking; None is the public."""
        return self.connection.user if self.caller is msgspec.UNSET else self.caller

    @property
    def client(self) -> tuple[str, int] | None:
        """Address and port of the peer."""
        client: tuple[str, int] | None = self.connection.client
        return client
