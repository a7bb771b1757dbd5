"""A client of the endpoints of an identity, which holds every answer against the envelope."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import httpx
from starlette.applications import Starlette
from tests.identity.kit import PASSWORD, Clock, config

from wireloom.faces.accounts import account_routes
from wireloom.identity.identity import Identity

Start = Callable[..., Awaitable["Client"]]


BOB = {"username": "Bob", "password": PASSWORD}


class Client:
    """Asks the endpoints of an identity; every answer has to be in the envelope."""

    def __init__(self, identity: Identity, clock: Clock, **options: Any) -> None:
        self.identity, self.clock = identity, clock
        self._app = Starlette(routes=account_routes(identity, config("sqlite://", **options)))
        self.from_address("127.0.0.1")

    def from_address(self, host: str | None) -> None:
        """Asks from another address, or from one that the server does not know."""
        transport = httpx.ASGITransport(self._app, client=None if host is None else (host, 1))  # type: ignore[arg-type]
        self.http = httpx.AsyncClient(transport=transport, base_url="http://test")

    async def ask(self, method: str, path: str, payload: Any = None, token: str | None = None, **more: Any) -> Any:
        """The data of an answer that went well."""
        answer = await self.raw(method, path, payload, token, **more)
        assert answer.json()["ok"], answer.text
        return answer.json()["data"]

    async def refused(self, method: str, path: str, payload: Any = None, token: str | None = None, **more: Any) -> Any:
        """Status and error of an answer that did not."""
        answer = await self.raw(method, path, payload, token, **more)
        assert not answer.json()["ok"], answer.text
        return answer.status_code, answer.json()["error"]

    async def raw(self, method: str, path: str, payload: Any = None, token: str | None = None, **more: Any) -> Any:
        headers = {**({"Authorization": f"Bearer {token}"} if token is not None else {}), **more.pop("headers", {})}
        if payload is not None:
            more["json"] = payload
        answer = await self.http.request(method, path, headers=headers, **more)
        _require_envelope(answer)
        return answer

    async def register(self, **payload: Any) -> Any:
        return await self.ask("POST", "/user/register", payload or BOB)


def _require_envelope(answer: httpx.Response) -> None:
    body = answer.json()
    assert list(body) == ["ok", "type", "data", "error", "meta"]
    assert body["meta"] == {"extra": {"http_status": answer.status_code}}
    assert answer.headers["content-type"] == "application/json" and answer.headers["cache-control"] == "no-store"
    if answer.status_code < 400:
        assert (body["ok"], body["type"], body["error"]) == (True, "response", None)
    else:
        assert (body["ok"], body["type"], body["data"]) == (False, "error", None)
        further = {"path"} if answer.status_code == 422 else {"id"} if answer.status_code == 500 else set()
        assert {"code", "message"} <= set(body["error"]) <= {"code", "message", *further}
    assert (answer.headers.get("www-authenticate") == "Bearer") == (answer.status_code == 401)


def moment(seconds: float) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
