"""What tests of walkers share: users to be, doors to knock at, and the words that they answer with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from wireloom import App
from wireloom.identity.login import Login

PASSWORD = "correct horse"
PUBLIC_ROOT = "n::000000000000000000000001"
REFUSED = '{"ok":false,"error":{"code":"UNAUTHORIZED","message":"Invalid or missing token"}}'


async def register(app: App, name: str = "alice") -> Login:
    """A new user, logged in."""
    assert app.identity is not None
    return await app.identity.register({"username": name}, PASSWORD)


async def register_as(app: App, name: str, role: str) -> Login:
    """A new user with a role, logged in."""
    assert app.identity is not None
    return await app.identity.issue_token(await app.identity.add_user({"username": name}, PASSWORD, role))


def bearer(login: Login | str | None) -> dict[str, str]:
    """The header that says who one is; None: nobody."""
    if login is None:
        return {}
    return {"Authorization": f"Bearer {login if isinstance(login, str) else login.token}"}


def replied(*reports: Any) -> dict[str, Any]:
    """The REST envelope of a run that went well."""
    meta = {"extra": {"http_status": 200}}
    return {"ok": True, "type": "response", "data": {"reports": list(reports)}, "error": None, "meta": meta}


def refused(status: int, code: str, message: str, **more: str) -> dict[str, Any]:
    """The REST envelope of one that did not."""
    error = {"code": code, "message": message, **more}
    return {"ok": False, "type": "error", "data": None, "error": error, "meta": {"extra": {"http_status": status}}}


@asynccontextmanager
async def asked(app: App) -> AsyncIterator[httpx.AsyncClient]:
    """A running application without a server, and a client of it."""
    async with app.running(), client_of(app) as client:
        yield client


def client_of(app: Any) -> httpx.AsyncClient:
    """A client of any ASGI application."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test", timeout=10)


async def run(client: httpx.AsyncClient, walker: str, fields: Any = None, login: Login | None = None) -> Any:
    """The reports of one run by the REST door."""
    answer = await client.post(f"/walker/{walker}", json=fields or {}, headers=bearer(login))
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]["reports"]
