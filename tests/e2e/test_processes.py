"""Several processes, one backplane: users, channels and clients are reached wherever they are connected."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.cli.processes import Running, environment
from tests.services import Service, nats_service, redis_service
from wireloom.clients.connection import ClientConnection, open_connection

pytestmark = pytest.mark.anyio

APP = """\
import os

from wireloom import App, Connection, notify

app = App()
app.events()


@app.event("where")
async def where() -> int:
    return os.getpid()


@app.event("announce")
def announce(message: dict) -> None:
    notify.channels(["lobby"], message)
"""

SECONDS = 30


@pytest.fixture(params=["redis", "nats"])
def service(request: pytest.FixtureRequest) -> Iterator[Service]:
    """A real server of each backplane."""
    with {"redis": redis_service, "nats": nats_service}[request.param]() as running:
        yield running


@pytest.fixture
def serve(tmp_path: Path, service: Service) -> Iterator[Callable[..., str]]:
    """Starts servers of the application in one directory; gives each one's WebSocket URL."""
    (tmp_path / "app.py").write_text(APP)
    started: list[Running] = []

    def start(*arguments: str) -> str:
        command = ("serve", "app.py", "--port", "0", "--backplane", service.url, *arguments)
        started.append(Running(command, tmp_path, {}))
        return started[-1].started()

    yield start
    for running in started:
        running.kill()


class Client:
    """One connection to the event socket."""

    def __init__(self, connection: ClientConnection, hello: dict[str, Any]) -> None:
        self.connection = connection
        self.hello = hello["data"]

    async def receive(self) -> Any:
        async with asyncio.timeout(SECONDS):
            return json.loads(await self.connection.receive())

    async def ask(self, **event: Any) -> Any:
        """Sends an event and takes the next message, which is its answer if nothing else comes."""
        self.connection.send(json.dumps(event))
        return await self.receive()


@asynccontextmanager
async def clients(*places: tuple[str, str | None]) -> AsyncIterator[list[Client]]:
    """Connections to the channel `lobby`, each at a server's URL and with a token or none."""
    async with AsyncExitStack() as stack:
        opened = []
        for url, token in places:
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            opening = open_connection(f"{url}/websocket?channel_id=lobby", headers=headers)
            connection = await stack.enter_async_context(opening)
            async with asyncio.timeout(SECONDS):
                opened.append(Client(connection, json.loads(await connection.receive())))
        yield opened


async def post(url: str, path: str, body: Any, **headers: str) -> Any:
    async with httpx.AsyncClient(timeout=SECONDS) as http:
        return (await http.post(url.replace("ws://", "http://") + path, json=body, headers=headers)).json()


async def test_two_servers_reach_each_others_users_channels_and_clients(serve: Callable[..., str]) -> None:
    here, there = serve(), serve()
    alice = (await post(here, "/user/register", {"username": "alice", "password": "correct horse"}))["data"]
    bob = (await post(there, "/user/register", {"username": "bob", "password": "battery staple"}))["data"]
    async with clients((here, alice["token"]), (there, bob["token"]), (there, None)) as (one, other, public):
        assert [one.hello["root_id"], other.hello["root_id"]] == [alice["root_id"], bob["root_id"]]
        one.connection.send(json.dumps({"type": "user", "root_ids": [bob["root_id"]], "data": {"to": "bob"}}))
        assert await other.receive() == {"to": "bob"}
        one.connection.send(json.dumps({"type": "channel", "channel_ids": ["lobby"], "data": {"to": "lobby"}}))
        assert [await each.receive() for each in (one, other, public)] == [{"to": "lobby"}] * 3
        event = {"type": "client", "client_ids": [public.hello["client_id"]], "data": {"to": "a client"}}
        one.connection.send(json.dumps(event))
        assert await public.receive() == {"to": "a client"}


async def test_a_logout_in_one_server_ends_the_login_in_the_other(serve: Callable[..., str]) -> None:
    here, there = serve(), serve()
    alice = (await post(here, "/user/register", {"username": "alice", "password": "correct horse"}))["data"]
    async with clients((there, alice["token"])) as (remote,):
        await post(here, "/user/logout", None, Authorization=f"Bearer {alice['token']}")
        told = (await remote.receive())["data"]
        assert (told["root_id"], told["auth_error"]) == ("n::000000000000000000000001", "Token revoked")
        assert await remote.ask(type="user", root_ids=[alice["root_id"]]) == {"type": "user", "error": "Not allowed"}


async def test_notify_over_http_and_from_a_process_that_serves_nothing(
    serve: Callable[..., str], service: Service, tmp_path: Path
) -> None:
    here, there = serve(), serve()
    alice = (await post(here, "/user/register", {"username": "alice", "password": "correct horse"}))["data"]
    created = await post(here, "/api-key/create", {"name": "ci"}, Authorization=f"Bearer {alice['token']}")
    async with clients((there, None)) as (listener,):
        key = {"X-API-Key": created["data"]["api_key"]}
        answer = await post(here, "/notify", {"channels": ["lobby"], "data": {"by": "http"}}, **key)
        assert answer["data"] == {"publications": 1}
        assert await listener.receive() == {"by": "http"}
        script = "from wireloom import notify\nfor n in range(100): notify.channels(['lobby'], {'n': n})\n"
        await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-W", "error", "-c", script],
            cwd=tmp_path,
            env=environment(WIRELOOM_BACKPLANE=service.url),
            check=True,
            timeout=SECONDS,
        )
        assert [await listener.receive() for _ in range(100)] == [{"n": number} for number in range(100)]


async def test_workers_of_one_server_reach_each_other(serve: Callable[..., str]) -> None:
    url = serve("--workers", "2")
    async with clients(*[(url, None)] * 2) as (one, first):
        pids = [(await each.ask(type="walker", walker="where", response=True))["reports"][0] for each in (one, first)]
        assert os.getpid() not in pids
        async with AsyncExitStack() as stack:
            other, pid = first, pids[1]
            for _ in range(50):  # the kernel chooses the worker
                if pid != pids[0]:
                    break
                [other] = await stack.enter_async_context(clients((url, None)))
                pid = (await other.ask(type="walker", walker="where", response=True))["reports"][0]
            assert pid != pids[0], "one worker got 50 connections"
            one.connection.send(
                json.dumps({"type": "client", "client_ids": [other.hello["client_id"]], "data": {"from": "elsewhere"}})
            )
            assert await other.receive() == {"from": "elsewhere"}
            one.connection.send(json.dumps({"type": "walker", "walker": "announce", "context": {"hear": "all"}}))
            assert await other.receive() == {"hear": "all"}
