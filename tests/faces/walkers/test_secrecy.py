"""What is shown to a door in confidence is in no log at any level, and in no answer."""

from __future__ import annotations

import hashlib
import hmac
import logging
import time
from typing import Any

import pytest

from wireloom import App, Node, Root, Walker, entry, spec
from wireloom.testing import TestServer

from .kit import bearer

pytestmark = pytest.mark.anyio

FIRST, SECOND, WRONG = "the first password", "the second password", "a wrong password"


class Kept(Node):
    text: str = ""


class _Act(Walker):
    text: str = ""

    @entry(Root)
    async def act(self, here: Root) -> None:
        here.connect(Kept(text=self.text))
        if self.text == "boom":
            raise RuntimeError("a bug")
        self.report(len(await here.nodes(Kept)))


@spec(methods=["post", "get", "websocket"])
class Rest(_Act): ...


@spec(protocol="websocket")
class Socket(_Act): ...


@spec(protocol="websocket", public=True)
class Direct(Walker):
    text: str = ""

    @entry(Root)
    async def act(self, here: Root) -> None:
        if self.text == "boom":
            raise RuntimeError("a bug")


@spec(protocol="webhook")
class Hook(_Act): ...


class Knocking:
    """Shows secrets at every door, good and bad ones, and remembers all that is answered."""

    def __init__(self, server: TestServer) -> None:
        self.server, self.http = server, server.http
        self.secrets = {FIRST, SECOND, WRONG}
        self.answers: list[str] = []

    async def http_ask(self, method: str, path: str, *, keep: bool = True, **more: Any) -> Any:
        answer = await self.http.request(method, path, **more)
        if keep:
            self.answers.append(answer.text + str(answer.headers))
        return answer

    async def log_in(self) -> str:
        """A token; those answers tell it on purpose."""
        names = {"username": "alice", "password": FIRST}
        await self.http_ask("POST", "/user/register", json=names, keep=False)
        await self.http_ask("POST", "/user/register", json=names)
        await self.http_ask("POST", "/user/login", json={**names, "password": WRONG})
        old = (await self.http_ask("POST", "/user/login", json=names, keep=False)).json()["data"]["token"]
        change = {"old_password": FIRST, "new_password": SECOND}
        changed = await self.http_ask("PUT", "/user/password", json=change, headers=bearer(old), keep=False)
        token: str = changed.json()["data"]["token"]
        self.secrets |= {old, token, token + "x"}
        return token

    async def rest(self, token: str) -> None:
        for bearing in (token, token + "x"):
            for text in ('{"text":"a"}', '{"text":"boom"}', '{"text":5}', "no json", f'{{"token":"{bearing}"}}'):
                await self.http_ask("POST", "/walker/Rest", content=text, headers=bearer(bearing))
            await self.http_ask("GET", f"/walker/Rest?text=boom&token={bearing}")
            await self.http_ask("GET", f"/walker/Nobody?token={bearing}", headers=bearer(bearing))
            await self.http_ask("DELETE", f"/walker/Rest?token={bearing}", headers=bearer(bearing))
            await self.http_ask(
                "POST", "/walker/Rest", files={"token": ("f", bearing.encode())}, headers=bearer(bearing)
            )

    async def sockets(self, token: str) -> None:
        for path in ("/ws/Socket", "/ws/Direct"):
            for bearing in (token, token + "x"):
                ways: list[dict[str, Any]] = [
                    {"headers": bearer(bearing)},
                    {"subprotocols": ["wireloom.bearer", bearing]},
                    {},
                ]
                for way in ways:
                    async with self.server.websocket(f"{path}?token={bearing}", **way) as ws:
                        for text in ('{"text":"a"}', '{"text":"boom"}', '{"text":5}', '{"token":"%s","text":"boom"}'):
                            await ws.send_text(text.replace("%s", bearing))
                            self.answers.append(await ws.receive_text())
                        await ws.send_text(f'{{"token":"{bearing}"')
                        self.answers.append(await ws.receive_text())
        async with self.server.websocket(f"/ws/Nobody?token={token}", headers=bearer(token)) as ws:
            await ws.wait_closed()
            self.answers.append(ws.close_reason)

    async def events(self, token: str) -> None:
        for bearing in (token, token + "x"):
            async with self.server.websocket(f"/websocket?token={bearing}", headers=bearer(bearing)) as ws:
                self.answers.append(await ws.receive_text())
                for event in (
                    {"type": "change_user", "token": bearing},
                    {"type": "change_user", "token": [bearing]},
                    {"type": "walker", "walker": "Rest", "response": True, "context": {"text": "boom"}},
                    {"type": "walker", "walker": "Rest", "response": True, "context": {"token": bearing}},
                ):
                    await ws.send_json(event)
                    self.answers.append(await ws.receive_text())

    async def webhooks(self, token: str) -> None:
        for legacy in (False, True):
            wanted = {"name": "ci", "legacy_signature": legacy}
            made = await self.http_ask("POST", "/api-key/create", json=wanted, headers=bearer(token), keep=False)
            key, secret = made.json()["data"]["api_key"], made.json()["data"]["signing_secret"]
            self.secrets |= {key, secret, key + "x"}
            for body in (b'{"text":"a"}', b'{"text":"boom"}', b"no json", b'{"text":5}'):
                at = str(int(time.time()))
                signed, by = (body, key) if legacy else (f"{at}.".encode() + body, secret)
                signature = hmac.new(by.encode(), signed, hashlib.sha256).hexdigest()
                self.secrets.add(signature)
                headers = {"X-API-Key": key, "X-Webhook-Timestamp": at, "X-Webhook-Signature": f"sha256={signature}"}
                for change in ({}, {}, {"X-API-Key": key + "x"}, {"X-Webhook-Signature": signature[:-1]}):
                    await self.http_ask("POST", "/webhook/Hook", content=body, headers={**headers, **change})
                await self.http_ask("POST", "/webhook/Hook", content=body + b" ", headers=headers)
        await self.http_ask("GET", "/api-key/list", headers=bearer(token))

    async def everywhere(self) -> None:
        token = await self.log_in()
        for knock in (self.rest, self.sockets, self.events, self.webhooks):
            await knock(token)
        await self.http_ask("DELETE", "/user", json={"password": WRONG}, headers=bearer(token))
        await self.http_ask("DELETE", "/user", json={"password": SECOND}, headers=bearer(token))
        await self.http_ask("POST", "/walker/Rest", headers=bearer(token))


@pytest.mark.parametrize("dev", [False, True])
async def test_no_log_and_no_answer_has_a_secret(dev: bool, file_url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for name in list(logging.root.manager.loggerDict):
        if not name.startswith(("httpx", "httpcore")):  # the client that the test itself uses
            caplog.set_level(logging.DEBUG, logger=name)
    app = App([Rest, Socket, Direct, Hook], database=file_url, dev=dev, allow_token_in_query=True)
    async with TestServer(app) as server:
        knocking = Knocking(server)
        await knocking.everywhere()
    formatter = logging.Formatter("%(name)s %(message)s")
    records = [record for record in caplog.records if not record.name.startswith(("httpx", "httpcore"))]
    lines = [formatter.format(record) + repr(record.args) + repr(record.exc_info) for record in records]
    assert sum("in handler of" in line for line in lines) > 10, "bugs were logged, so logging is captured"
    assert len(knocking.secrets) > 15 and len(knocking.answers) > 80
    assert [line for line in lines if any(secret in line for secret in knocking.secrets)] == []
    told = [answer for answer in knocking.answers if any(secret in answer for secret in knocking.secrets)]
    assert told == []
    assert [answer for answer in knocking.answers if "Traceback" in answer or ".py" in answer] == []
