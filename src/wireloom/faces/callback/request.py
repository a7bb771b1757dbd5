"""CallbackRequest: what a callback is called with, an HTTP request or one message of a WebSocket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec
from starlette.datastructures import QueryParams
from starlette.requests import cookie_parser

from wireloom.errors import InvalidJSON
from wireloom.faces.callback.connection import CallbackConnection
from wireloom.faces.callback.head import headers_of, url_of

if TYPE_CHECKING:
    from wireloom.core.caller import Caller

__all__ = ["CallbackRequest"]


class CallbackRequest(msgspec.Struct, eq=False):
    """An HTTP request or one message of a WebSocket. (A Struct, because one is made for every message.)

    Args:
        data: the message: `str`, or `bytes` of a binary one; the body of an HTTP request, `bytes`.
        ws: the WebSocket that the message came by; None of an HTTP request.
    """

    data: Any
    ws: Any
    _caller: Caller
    _headers: dict[str, str] | None = None

    @property
    def type(self) -> Literal["http", "websocket"]:
        """What it is."""
        return "http" if self.ws is None else "websocket"

    @property
    def body(self) -> Any:
        """The same as `data`."""
        return self.data

    @property
    def json(self) -> Any:
        """The value of `data`, which is JSON.

        Raises:
            RequestError: it is not; left alone, it answers an HTTP request with 400.
        """
        try:
            return msgspec.json.decode(self.data)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise InvalidJSON(str(error)) from error

    @property
    def method(self) -> str:
        """The HTTP method in capitals; of a WebSocket ``"GET"``."""
        return self._caller.head.method

    @property
    def url(self) -> str:
        """Path and query as they were sent; of a WebSocket those of its upgrade request."""
        return url_of(self._caller.head)

    @property
    def pathname(self) -> str:
        """The path as it was sent, percent-encoded."""
        return self._caller.head.path

    @property
    def query(self) -> QueryParams:
        """The query's parameters as text."""
        return QueryParams(self._caller.head.query_string)

    @property
    def headers(self) -> dict[str, str]:
        """The headers, names in lower case; of a WebSocket those of its upgrade request."""
        if self._headers is None:
            ws: CallbackConnection | None = self.ws
            self._headers = headers_of(self._caller.head) if ws is None else ws.headers
        return self._headers

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies that came with it."""
        return cookie_parser(self.headers.get("cookie", ""))

    @property
    def client(self) -> tuple[str, int] | None:
        """The peer's address and port, as seen through trusted proxies."""
        return self._caller.client
