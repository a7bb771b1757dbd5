"""The Python client against live servers, and its types under mypy --strict."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

import wireloom
from tests.node import CACHE
from wireloom import App, ConnectionClosed, HandshakeFailed, NoAnswer, RequestError, notify
from wireloom.testing import TestServer

from .application import make_app
from .conftest import GOLDEN, HERE, generate
from .golden.client import Client

pytestmark = pytest.mark.anyio

SECONDS = 20


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """Where the application is served."""
    async with TestServer(make_app()) as server:
        yield server.url


async def test_endpoints(url: str) -> None:
    errors: list[RequestError] = []
    async with Client(url, on_error=errors.append) as client:
        async with client.chat(room="a/b ä", loud=True) as chat:
            heard = await chat.request({"text": "hello", "mood": "calm", "reply-to": 1})
            assert heard == {"room": "a/b ä", "text": "hello", "at": "2030-01-02T00:00:00", "loud": True}
            with pytest.raises(RequestError, match="No such words") as refused:
                await chat.request({"text": "refuse"})
            assert refused.value.code == "REFUSED_HERE"
            await chat.send({"text": "refuse"})
            await chat.send({"text": "one"})  # its answer is a message, and the request's is its own
            assert (await chat.request({"text": "two"}))["text"] == "two"
            async for message in chat:
                assert message["text"] == "one"
                break
            assert [error.code for error in errors] == ["REFUSED_HERE"]
        async with client.board() as board:
            await board.send({"type": "draw", "points": [[0, 1], [2, 3]]})
            twice = [await board.receive(), await board.receive()]
            assert twice == [{"type": "draw", "points": [[0, 1], [2, 3]]}] * 2
        async with client.raw() as raw:
            assert [await raw.request("text"), await raw.request(b"\x01\xff")] == ["text", b"\x01\xff"]
        async with client.echo() as echo:
            assert (await echo.request({"message": "hello"}))["data"]["reports"] == [{"echo": "hello"}]
            with pytest.raises(RequestError, match="It fails on purpose"):
                await echo.request({"message": "fail"})
        upper = await client.upper_case(query={"a": 1}).open()
        await upper.send("quiet")
        assert await upper.receive() == "QUIET"
    assert upper.state == "over"


async def test_http(url: str) -> None:
    async with Client(url) as client:
        assert (await client.rest.post_sum({"numbers": [1, 2], "start": 3}))["reports"] == [6]
        assert (await client.rest.get_sum(numbers=[4, 5]))["reports"] == [9]
        made = await client.rest.register({"username": "ann", "password": "correct horse"})
        with pytest.raises(RequestError) as nobody:
            await client.rest.me()
        assert (nobody.value.code, nobody.value.http_status) == ("UNAUTHORIZED", 401)
        wrong: Any = {"numbers": ["1"]}
        with pytest.raises(RequestError, match=r"at \$\.numbers\[0\]") as invalid:
            await client.rest.post_sum(wrong)
        assert (invalid.value.code, invalid.value.http_status) == ("VALIDATION_ERROR", 422)
        assert await client.rest.post_notes_by_topic({"text": "t"}, topic="x y") == {"topic": "x y", "text": "t"}
        kept = await client.rest.post_upload_by_folder({"label": "l", "file": ("a.txt", b"content")}, folder="f")
        assert kept["reports"] == [["f", "l", "a.txt", "content"]]
        with pytest.raises(HandshakeFailed):
            await client.secret().open()

    async def token() -> str:
        return made["token"]

    async with Client(url, token=token) as ann:
        assert (await ann.rest.me())["root_id"] == made["root_id"]
        async with ann.secret() as secret:
            assert await secret.request({"a": 1, "b": 2}) == {"user": "ann", "count": "2"}
        async with ann.events() as events:
            assert await events.call.delete_all() == []
            assert await anext(aiter(events)) == {"deleted": "ann"}
            assert events.whereabouts is not None and events.whereabouts["root_id"] == made["root_id"]
            assert (await events.change_user(None))["root_id"] != made["root_id"]
            with pytest.raises(RequestError, match="requires to be authenticated"):
                await events.call.delete_all()


async def _ask(url: str, seconds: float = SECONDS) -> NoAnswer:
    """Asks by HTTP and gets no answer."""
    async with Client(url, timeout=seconds) as client:
        with pytest.raises(NoAnswer) as told:
            await client.rest.get_sum(numbers=[4, 5])
    assert told.value.url == f"{url}/walker/Sum"
    assert isinstance(told.value, OSError) and isinstance(told.value.__cause__, httpx.RequestError)
    return told.value


async def test_http_without_a_server() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    told = await _ask(f"http://127.0.0.1:{port}")
    assert re.fullmatch(
        rf"GET http://127.0.0.1:{port}/walker/Sum: nobody answers there \(.+\); start the server, or correct the URL",
        str(told),
    )


async def test_http_with_a_server_that_says_nothing_or_goes_away() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        assert "no answer within 0.1 s; it may have been done" in str(
            await _ask(f"http://127.0.0.1:{listening.getsockname()[1]}", 0.1)
        )

    async def leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(leave, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert "no whole answer came (Server disconnected" in str(await _ask(f"http://127.0.0.1:{port}"))


async def test_http_without_tls(url: str) -> None:
    assert "TLS failed ([SSL: " in str(await _ask(url.replace("http", "https")))


async def test_events(url: str) -> None:
    errors: list[RequestError] = []
    async with Client(url, on_error=errors.append) as client, client.events() as ann, client.events() as bob:
        assert await ann.call.rename({"old": "a", "new": "b"}) == [{"name": "b"}]
        assert await ann.call.sum({"numbers": [1, 2]}) == [3]
        assert await ann.call.class_({"z": 1, "y": 2}) == [["y", "z"]]
        with pytest.raises(RequestError, match="It is called so already"):
            await ann.call.rename({"old": "a", "new": "a"})
        await bob.subscribe("kitchen")
        await ann.subscribe("kitchen")
        await ann.notify_channels(["kitchen"], {"soup": True})
        heard = aiter(bob)
        assert await anext(heard) == {"soup": True}
        await bob.unsubscribe("kitchen")
        await ann.notify_channels(["kitchen"], {"soup": False})
        assert bob.whereabouts is not None
        await ann.notify_users(["n::1"], {})
        await ann.notify_clients([bob.whereabouts["client_id"]], {"direct": 1})
        assert await anext(heard) == {"direct": 1}
        await ann.notify_clients([ann.whereabouts["client_id"]] if ann.whereabouts else [], {"last": 1})
        hears = aiter(ann)
        assert [await anext(hears), await anext(hears)] == [{"soup": True}, {"soup": False}]
        assert await anext(hears) == {"last": 1}
        assert [error.message for error in errors] == ["Not allowed"]


async def test_it_comes_back_with_its_subscriptions_and_what_it_kept() -> None:
    async with TestServer(make_app()) as first:
        port = first.port
        away = asyncio.Semaphore(0)

        def on_state(state: str) -> None:
            if state == "away":
                away.release()

        client = Client(first.url, backoff_base=0.05, on_state=on_state)
        chat, events = await client.chat(room="r").open(), await client.events().open()
        await events.subscribe("kitchen")
        assert (await chat.request({"text": "before"}))["text"] == "before"
    with anyio.fail_after(SECONDS):
        await away.acquire()
        await away.acquire()
    assert (chat.state, events.state) == ("away", "away")
    await chat.send({"text": "one"})
    await chat.send({"text": "two"})
    asked = asyncio.create_task(chat.request({"text": "after"}))
    async with TestServer(make_app(), port=port):
        assert (await asked)["text"] == "after"
        assert [(await chat.receive())["text"], (await chat.receive())["text"]] == ["one", "two"]
        await events.call.sum()  # the subscription went before it
        notify.channels(["kitchen"], {"soup": 1})
        assert await anext(aiter(events)) == {"soup": 1}
        with pytest.raises(ConnectionClosed) as lost:
            await chat.request({"text": "leave"})
        assert lost.value.code == 1012
        assert (await chat.request({"text": "again"}))["text"] == "again"
        await client.close()


async def test_a_late_answer_is_nobody_elses() -> None:
    app, asked_again = App(), anyio.Event()

    @app.websocket("/chat/{room}")
    async def chat(message: dict[str, str]) -> dict[str, str]:
        if message["text"] == "late":
            await asked_again.wait()
        asked_again.set()
        return message

    async with TestServer(app) as server, Client(server.url, backoff_base=0.01) as client:
        async with client.chat(room="r") as connection:
            with pytest.raises(TimeoutError):
                await connection.request({"text": "late"}, timeout=0.1)
            assert (await connection.request({"text": "now"}))["text"] == "now"


async def test_what_cannot_be_asked_for() -> None:
    client = Client("http://127.0.0.1:1")
    for room in ("", ".", ".."):
        with pytest.raises(ValueError, match="a segment of a path"):
            client.chat(room=room)
    with pytest.raises(RuntimeError, match="is not open"):
        await client.chat(room="r").send({"text": "t"})
    with pytest.raises(ValueError, match="is no URL"):
        Client("example.com")


async def test_a_token_is_renewed_before_it_expires() -> None:
    asked = asyncio.Semaphore(0)

    def token() -> str | None:
        asked.release()
        return made["token"]

    async with TestServer(make_app()) as server, Client(server.url) as nobody:
        made = await nobody.rest.register({"username": "ann", "password": "correct horse"})
        async with Client(server.url, token=token) as client, client.events() as events:
            await events.call.sum()
            await asked.acquire()
            assert asked.locked() and events.whereabouts is not None
            notify.clients([events.whereabouts["client_id"]], {"type": "token_expiring", "expires_in": 60})
            assert (await anext(aiter(events)))["type"] == "token_expiring"
            with anyio.fail_after(SECONDS):
                await asked.acquire()


def test_the_golden_client_is_what_is_written() -> None:
    """Else look at the difference, then run ``python -m tests.codegen.renew``."""
    assert (GOLDEN / "client.py").read_text(encoding="utf-8") == generate(".py")


def test_its_types_are_strict_and_refuse_misuse(tmp_path: Path) -> None:
    for file in (GOLDEN / "client.py", HERE / "misuse.py"):
        shutil.copy(file, tmp_path)
    assert mypy(tmp_path, "client.py", "misuse.py") == ""


def mypy(folder: Path, *files: str) -> str:
    """What ``mypy --strict`` says of files; empty where nothing is wrong."""
    source = str(Path(wireloom.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--cache-dir", str(CACHE / "mypy"), *files],
        cwd=folder,
        env={**os.environ, "MYPYPATH": source},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return done.stdout + done.stderr
