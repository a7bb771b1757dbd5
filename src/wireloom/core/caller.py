"""Caller: where a request comes from and its replies go, as far as the core needs to know."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, Protocol

__all__ = ["Caller", "Head", "current_caller"]


class Head(Protocol):
    """The head of the HTTP request that began it all."""

    method: str
    path: str
    query_string: str

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """Names in lower case, with values."""


class Caller(Protocol):
    """What a request needs to know of the connection that it came by."""

    head: Head
    path_params: dict[str, Any]
    query_params: dict[str, Any]
    user: Any

    @property
    def client(self) -> tuple[str, int] | None:
        """Address and port of the peer, as seen through trusted proxies."""

    @property
    def cancelled(self) -> bool:
        """Whether its handlers were told to end at once."""

    def send(self, data: Any) -> None:
        """Sends `str` as text and bytes as binary."""

    def send_encoded(self, payload: bytes) -> None:
        """Sends encoded JSON as text."""

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Ends the connection."""

    async def drain(self) -> None:
        """Waits until the peer has read enough for more to be sent."""


current_caller: ContextVar[Caller] = ContextVar("current_caller")
"""The connection whose message or hook the running code handles; set by dispatch, unset elsewhere."""
