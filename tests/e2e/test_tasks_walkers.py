"""The walkers of the tasks example, by their doors: rights, what is told to whom, and the webhook."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import importlib.util
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from wireloom.testing import TestServer, TestWebSocket

pytestmark = pytest.mark.anyio

FILE = Path(__file__).resolve().parents[2] / "examples" / "tasks" / "app.py"


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[TestServer]:
    """The example with a database in memory; imported anew, as an App starts with its own module."""
    monkeypatch.setenv("WIRELOOM_DATABASE", "sqlite://")
    name = "wireloom_example_tasks"
    found = importlib.util.spec_from_file_location(name, FILE)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    monkeypatch.setitem(sys.modules, name, module)
    found.loader.exec_module(module)
    async with TestServer(module.app) as server:
        yield server


class Someone:
    """A user with a token."""

    def __init__(self, server: TestServer, login: dict[str, Any]) -> None:
        self.server = server
        self.name: str = login["username"]
        self.headers = {"Authorization": f"Bearer {login['token']}"}

    async def run(self, walker: str, node: str = "", **fields: Any) -> Any:
        """The first report of a walker by REST; its error's code where it was refused."""
        path = f"/walker/{walker}/{node}".rstrip("/")
        method = "GET" if walker == "Lists" else "POST"
        sent = None if method == "GET" else fields
        answer = (await self.server.http.request(method, path, json=sent, headers=self.headers)).json()
        if not answer["ok"]:
            return answer["error"]["code"]
        reports = answer["data"]["reports"]
        return reports if walker == "Lists" else next(iter(reports), None)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[TestWebSocket]:
        """A connection to the event socket, after its first frame."""
        async with self.server.websocket("/websocket", headers=[*self.headers.items()]) as ws:
            assert (await ws.receive_json())["type"] == "connection"
            yield ws


async def someone(server: TestServer, name: str) -> Someone:
    """A new user."""
    answer = await server.http.post("/user/register", json={"username": name, "password": "correct horse"})
    return Someone(server, answer.json()["data"])


async def subscribe(ws: TestWebSocket, *channels: str) -> Any:
    """The answer to a subscription."""
    await ws.send_json({"type": "subscribe", "channel_ids": channels})
    return await ws.receive_json()


def texts(shown: Any) -> list[str]:
    """The tasks of a picture."""
    return [task["text"] for task in shown["tasks"]]


async def test_a_list_is_its_owner_s_until_it_is_shared(server: TestServer) -> None:
    ann, bob = await someone(server, "ann"), await someone(server, "bob")
    made = await ann.run("MakeList", title="Release")
    assert texts(await ann.run("AddTask", made["id"], text="Write notes")) == ["Write notes"]
    assert await bob.run("Lists") == []
    for walker, fields in (("AddTask", {"text": "x"}), ("RenameList", {"title": "x"}), ("DeleteList", {})):
        assert await bob.run(walker, made["id"], **fields) == "NOT_FOUND"
    assert await ann.run("Share", made["id"], name="nobody") == "NO_SUCH_USER"
    assert await ann.run("Share", made["id"], name="ann") == "YOURSELF"
    shared = await ann.run("Share", made["id"], name="bob")
    levels = {person["name"]: person["level"] for person in shared["people"].values()}
    assert levels == {"ann": "own", "bob": "read"}
    assert [texts(each) for each in await bob.run("Lists")] == [["Write notes"]]


async def test_a_reader_changes_nothing_a_writer_all_but_the_sharing(server: TestServer) -> None:
    ann, bob = await someone(server, "ann"), await someone(server, "bob")
    made = await ann.run("MakeList", title="Release")
    [task] = (await ann.run("AddTask", made["id"], text="Write notes"))["tasks"]
    await ann.run("Share", made["id"], name="bob", level="read")
    changes: list[tuple[str, dict[str, Any]]] = [
        ("AddTask", {"text": "Tag"}),
        ("ChangeTask", {"task": task["id"], "done": True}),
        ("RenameList", {"title": "1.0"}),
        ("DeleteTask", {"task": task["id"]}),
    ]
    for walker, fields in changes:
        assert await bob.run(walker, made["id"], **fields) == "FORBIDDEN", walker
    [before] = await ann.run("Lists")
    assert (before["title"], texts(before), before["revision"]) == ("Release", ["Write notes"], 3)
    await ann.run("Share", made["id"], name="bob", level="write")
    for walker, fields in changes:
        assert (await bob.run(walker, made["id"], **fields))["by"] == "bob", walker
    [after] = await ann.run("Lists")
    assert (after["title"], texts(after)) == ("1.0", ["Tag"])
    for walker, fields in (("Share", {"name": "ann"}), ("DeleteList", {})):
        assert await bob.run(walker, made["id"], **fields) == "FORBIDDEN", walker
    assert await bob.run("ChangeTask", made["id"], task=task["id"], done=True) == "GONE"


async def test_who_may_read_hears_and_who_is_shut_out_does_not(server: TestServer) -> None:
    ann, bob, eve = [await someone(server, name) for name in ("ann", "bob", "eve")]
    made = await ann.run("MakeList", title="Release")
    shared = await ann.run("Share", made["id"], name="bob")
    async with bob.listening() as ws, eve.listening() as other, server.websocket("/websocket") as nobody:
        await nobody.receive_json()
        refused = {"type": "subscribe", "error": "Not allowed"}
        assert await subscribe(other, shared["channel"]) == refused
        assert await subscribe(nobody, shared["channel"]) == refused
        ahead = f"list:{made['id']}:2"  # where it will be told once somebody is shut out
        for name in (ahead, f"list:{made['id']}", made["id"], "list::1", "list:n:TaskList:1:1", "*"):
            assert await subscribe(ws, shared["channel"], name) == refused
        assert (await subscribe(ws, shared["channel"]))["type"] == "subscribed"
        await ws.send_json({"type": "channel", "channel_ids": [shared["channel"]], "data": {}})
        assert await ws.receive_json() == {"type": "channel", "error": "Not allowed"}
        assert await ann.run("AddTask", made["id"], text=" ") == "VALIDATION_ERROR"
        added = await ann.run("AddTask", made["id"], text="Tag")
        assert await ws.receive_json() == ["list", added]
        await bob.run("AddTask", made["id"], text="not kept, so not told")
        left = await ann.run("Unshare", made["id"], name="bob")
        assert await ws.receive_json() == ["lists"]
        assert (left["channel"], len(left["people"])) == (ahead, 1)
        await ann.run("AddTask", made["id"], text="secret")
        assert await subscribe(ws, ahead) == refused  # the next thing that comes: nothing was heard before it
        assert await bob.run("Lists") == []


async def test_the_event_socket_runs_the_same_walkers(server: TestServer) -> None:
    ann = await someone(server, "ann")
    async with ann.listening() as ws:
        await ws.send_json({"type": "walker", "walker": "MakeList", "context": {"title": "Release"}, "response": True})
        answers = [await ws.receive_json(), await ws.receive_json()]
        [made] = next(answer for answer in answers if answer != ["lists"])["reports"]
        add = {"type": "walker", "walker": "AddTask", "context": {"text": "Tag"}, "node": made["id"]}
        await ws.send_json({**add, "response": True})
        assert texts((await ws.receive_json())["reports"][0]) == ["Tag"]
        await ws.send_json({**add, "node": "n:TaskList:0", "id": 1})
        assert (await ws.receive_json())["error"]["code"] == "NOT_FOUND"


async def test_changes_at_the_same_moment_are_all_kept_and_told(server: TestServer) -> None:
    ann, bob = await someone(server, "ann"), await someone(server, "bob")
    made = await ann.run("MakeList", title="Release")
    shared = await ann.run("Share", made["id"], name="bob", level="write")
    async with bob.listening() as ws:
        await subscribe(ws, shared["channel"])
        wanted = [f"{number}" for number in range(16)]
        both = [(ann, bob)[index % 2].run("AddTask", made["id"], text=text) for index, text in enumerate(wanted)]
        answers = await asyncio.gather(*both)
        told = [(await ws.receive_json())[1]["revision"] for _ in wanted]
    [shown] = await ann.run("Lists")
    assert sorted(texts(shown)) == sorted(wanted), answers
    assert sorted(told) == [*range(3, 19)]


async def test_deleting_a_list_leaves_nothing(server: TestServer) -> None:
    ann, bob = await someone(server, "ann"), await someone(server, "bob")
    made = await ann.run("MakeList", title="Release")
    await ann.run("AddTask", made["id"], text="Tag")
    await ann.run("Share", made["id"], name="bob", level="write")
    async with bob.listening() as ws:
        await ann.run("DeleteList", made["id"])
        assert await ws.receive_json() == ["lists"]
    assert (await ann.run("Lists"), await bob.run("Lists")) == ([], [])
    assert server.app.graph is not None
    assert await server.app.graph.count() == (1, 0)  # ann's root


async def test_a_webhook_adds_a_task_where_its_key_s_user_may(server: TestServer) -> None:
    ann, bob = await someone(server, "ann"), await someone(server, "bob")
    made = await ann.run("MakeList", title="Release")
    order = {"name": "ci", "allowed_walkers": ["TaskFromElsewhere"]}
    key = (await server.http.post("/api-key/create", json=order, headers=bob.headers)).json()["data"]

    async def send(secret: str = key["signing_secret"], text: str = "Build 7 is red") -> int:
        body, now = json.dumps({"to": made["id"], "text": text}).encode(), str(int(time.time()))
        signature = hmac.new(secret.encode(), f"{now}.".encode() + body, hashlib.sha256).hexdigest()
        headers = {"X-API-Key": key["api_key"], "X-Webhook-Timestamp": now, "X-Webhook-Signature": signature}
        return (await server.http.post("/webhook/TaskFromElsewhere", content=body, headers=headers)).status_code

    assert await send("wls_guessed") == 401
    assert await send() == 404
    await ann.run("Share", made["id"], name="bob", level="read")
    assert await send(text="Build 8 is red") == 403
    await ann.run("Share", made["id"], name="bob", level="write")
    assert await send(text="Build 9 is red") == 200
    [shown] = await ann.run("Lists")
    assert [(task["text"], task["by"]) for task in shown["tasks"]] == [("Build 9 is red", "bob")]
