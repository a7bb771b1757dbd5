"""Page 4, "The document's examples must show": every example as the document has it, with several clients."""

from __future__ import annotations

import contextlib
import json
import logging
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from wireloom.core.topic import channel

from .kit import failures, log_lines, serving

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("prefix", ["", "/api"])]

CHAT_ROOM = """\
name: "Chat Room"
description: "Real-time chat with broadcast support"
path: "/ws/chat"
route_type: "WebSocket"

ws_hooks:
  on_connect:
    - Return:
        value: "Welcome! You are connected as {{ connection_id }}"
  
  on_message:
    - Log:
        message: "User {{ connection_id }} sent: {{ message }}"
    
    - WsOp:
        command: "broadcast"
        message: "{{ message }}"
        channel: "chat-room"
  
  on_disconnect:
    - Log:
        message: "User {{ connection_id }} disconnected"
"""  # noqa: W293 - the document's own blanks

CHAT_ROOM_JSON = """\
{
  "name": "Chat Room",
  "description": "Real-time chat with broadcast support",
  "path": "/ws/chat",
  "route_type": "WebSocket",
  "ws_hooks": {
    "on_connect": [
      {
        "Return": {
          "value": "Welcome! You are connected as {{ connection_id }}"
        }
      }
    ],
    "on_message": [
      {
        "Log": {
          "message": "User {{ connection_id }} sent: {{ message }}"
        }
      },
      {
        "WsOp": {
          "command": "broadcast",
          "message": "{{ message }}",
          "channel": "chat-room"
        }
      }
    ],
    "on_disconnect": [
      {
        "Log": {
          "message": "User {{ connection_id }} disconnected"
        }
      }
    ]
  }
}
"""

ECHO = """\
name: "Echo Server"
path: "/ws/echo"
route_type: "WebSocket"

ws_hooks:
  on_message:
    - WsOp:
        command: "send"
        message: "Echo: {{ message }}"
"""

MULTI_ROOM = """\
name: "Multi-Room Chat"
path: "/ws/chat/:room"
route_type: "WebSocket"

ws_hooks:
  on_connect:
    - SetVar:
        name: "room"
        value: "{{ params.room }}"
    
    - WsOp:
        command: "send"
        message: "Joined room: {{ room }}"
    
    - WsOp:
        command: "broadcast"
        message: "{{ connection_id }} joined"
        channel: "{{ room }}"
  
  on_message:
    - WsOp:
        command: "broadcast"
        message: "{{ message }}"
        channel: "{{ room }}"
  
  on_disconnect:
    - WsOp:
        command: "broadcast"
        message: "{{ connection_id }} left"
        channel: "{{ room }}"
"""  # noqa: W293

GAME = """\
name: "Game Server"
path: "/ws/game"
route_type: "WebSocket"

ws_hooks:
  on_connect:
    - SetVar:
        name: "player_id"
        value: "{{ connection_id }}"
    
    - SetVar:
        name: "score"
        value: "0"
    
    - WsOp:
        command: "send"
        message: "Game started! Player ID: {{ player_id }}"
  
  on_message:
    - If:
        condition: "{{ message == 'score' }}"
        then:
          - SetVar:
              name: "score"
              value: "{{ score + 1 }}"
          
          - WsOp:
              command: "send"
              message: "Score: {{ score }}"
          
          - WsOp:
              command: "broadcast"
              message: "{{ player_id }} scored! Total: {{ score }}"
              channel: "game"
"""  # noqa: W293

NOTIFICATIONS = """\
name: "Notification Hub"
path: "/ws/notifications"
route_type: "WebSocket"

ws_hooks:
  on_connect:
    - SetVar:
        name: "user_id"
        value: "{{ query.user_id }}"
    
    - Log:
        message: "User {{ user_id }} subscribed to notifications"
  
  on_message:
    - If:
        condition: "{{ message | startsWith('subscribe:') }}"
        then:
          - SetVar:
              name: "channel"
              value: "{{ message | split(':') | last }}"
          
          - WsOp:
              command: "send"
              message: "Subscribed to {{ channel }}"
        else:
          - WsOp:
              command: "send"
              message: "Invalid command"
"""  # noqa: W293

HEAD = """\
name: "Piece"
path: "/ws/piece"
route_type: "WebSocket"
ws_hooks:
"""

# The pieces below are the document's, put below `ws_hooks` as they are, two blanks further to the right.
ON_CONNECT = """\
  on_connect:
    - SetVar:
        name: "user_name"
        value: "{{ query.name }}"  # From URL query params
    
    - WsOp:
        command: "send"
        message: "Welcome {{ user_name }}!"
    
    - Log:
        message: "New connection: {{ connection_id }}"
"""  # noqa: W293

HELLO = """\
  on_message:
    - If:
        condition: "{{ message | contains('hello') }}"
        then:
          - WsOp:
              command: "send"
              message: "Hello there!"
        else:
          - WsOp:
              command: "broadcast"
              message: "{{ connection_id }}: {{ message }}"
              channel: "main"
"""

ON_DISCONNECT = """\
  on_disconnect:
    - Log:
        message: "User {{ connection_id }} left the chat"
    
    - WsOp:
        command: "broadcast"
        message: "User {{ connection_id }} has left"
        channel: "main"
"""  # noqa: W293

LENGTH_CHECK = """\
  on_message:
    - If:
        condition: "{{ message | length > 1000 }}"
        then:
          - Return:
              value: "Message too long"
"""

CLEANUP = """\
  on_disconnect:
    - SqlOp:
        operation: "execute"
        query: "UPDATE users SET online = false WHERE id = :id"
        params:
          id: "{{ connection_id }}"
"""

TRY = """\
  on_message:
    - Try:
        operations:
          - WsOp:
              command: "broadcast"
              message: "{{ message }}"
        catch:
          - Log:
              message: "Broadcast failed: {{ error }}"
"""


@pytest.fixture(autouse=True)
def every_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="wireloom")


@pytest.mark.parametrize(("text", "suffix"), [(CHAT_ROOM, ".yaml"), (CHAT_ROOM_JSON, ".json")], ids=["yaml", "json"])
async def test_chat_room(tmp_path: Path, caplog: Any, prefix: str, text: str, suffix: str) -> None:
    async with serving(tmp_path, text, suffix=suffix) as served:
        clients = await served.members(f"{prefix}/ws/chat", 3)
        ids = []
        for client in clients:
            welcome = await client.receive_text()
            assert welcome.startswith("Welcome! You are connected as ")
            ids.append(welcome.removeprefix("Welcome! You are connected as "))
        assert len(set(ids)) == 3
        await clients[0].send_text("Hello everybody")
        await clients[2].send_text("{{ connection_id }}")
        for client in clients:  # the second has never spoken
            assert {await client.receive_text(), await client.receive_text()} == {
                "Hello everybody",
                "{{ connection_id }}",
            }
        await clients[0].close()
        await served.until(lambda: log_lines(caplog)[-1] == f"User {ids[0]} disconnected")
        assert f"User {ids[0]} sent: Hello everybody" in log_lines(caplog)
        await clients[1].send_text("still here")
        assert await clients[2].receive_text() == "still here"


async def test_both_paths_are_one_room(tmp_path: Path, prefix: str) -> None:
    other = "/api" if prefix == "" else ""
    async with serving(tmp_path, CHAT_ROOM) as served:
        here, there = await served.connect(f"{prefix}/ws/chat"), await served.connect(f"{other}/ws/chat")
        await here.receive_text(), await there.receive_text()
        await here.send_text("over there?")
        assert await there.receive_text() == "over there?"


async def test_echo(tmp_path: Path, prefix: str) -> None:
    async with serving(tmp_path, ECHO) as served:
        one, other = await served.members(f"{prefix}/ws/echo", 2)
        await one.send_text("hi")
        assert await one.receive_text() == "Echo: hi"
        await other.send_text("")
        assert await other.receive_text() == "Echo: "


async def test_multi_room_chat(tmp_path: Path, prefix: str) -> None:
    async with serving(tmp_path, MULTI_ROOM) as served:
        first = await served.connect(f"{prefix}/ws/chat/lobby")
        assert await first.receive_text() == "Joined room: lobby"
        first_id = (await first.receive_text()).removesuffix(" joined")  # the newcomer is told, too
        elsewhere = await served.connect(f"{prefix}/ws/chat/cellar")
        assert await elsewhere.receive_text() == "Joined room: cellar"
        assert (await elsewhere.receive_text()).endswith(" joined")
        second = await served.connect(f"{prefix}/ws/chat/lobby")
        assert await second.receive_text() == "Joined room: lobby"
        joined = await second.receive_text()
        assert await first.receive_text() == joined
        assert joined.removesuffix(" joined") not in ("", first_id)
        await second.send_text("good evening")
        assert await first.receive_text() == await second.receive_text() == "good evening"
        await first.close()
        assert await second.receive_text() == f"{first_id} left"
        await elsewhere.send_text("alone")
        assert await elsewhere.receive_text() == "alone"  # and nothing before it


async def test_game(tmp_path: Path, prefix: str) -> None:
    async with serving(tmp_path, GAME) as served:
        one, other = await served.members(f"{prefix}/ws/game", 2)
        one_id = (await one.receive_text()).removeprefix("Game started! Player ID: ")
        other_id = (await other.receive_text()).removeprefix("Game started! Player ID: ")
        for total in (1, 2):
            await one.send_text("score")
            assert await one.receive_text() == f"Score: {total}"
            assert await one.receive_text() == await other.receive_text() == f"{one_id} scored! Total: {total}"
        await other.send_text("something else")
        await other.send_text("score")
        assert await other.receive_text() == "Score: 1"  # each counts its own
        assert await one.receive_text() == await other.receive_text() == f"{other_id} scored! Total: 1"


async def test_notifications(tmp_path: Path, caplog: Any, prefix: str) -> None:
    async with serving(tmp_path, NOTIFICATIONS) as served:
        one, other = [await served.connect(f"{prefix}/ws/notifications?user_id={name}") for name in ("ann", "ben")]
        await one.send_text("subscribe:news")
        assert await one.receive_text() == "Subscribed to news"
        await other.send_text("news")
        assert await other.receive_text() == "Invalid command"
        assert served.channels() == [{"news"}, set()]
        assert sorted(log_lines(caplog)) == [f"User {name} subscribed to notifications" for name in ("ann", "ben")]
        served.app.hub.publish_nowait(channel("news"), "It rains")
        assert await one.receive_text() == "It rains"
        await one.send_text("subscribe:sports")
        assert await one.receive_text() == "Subscribed to sports"
        assert served.channels() == [{"news", "sports"}, set()]


async def test_on_connect_sample(tmp_path: Path, caplog: Any, prefix: str) -> None:
    async with serving(tmp_path, HEAD + ON_CONNECT) as served:
        one = await served.connect(f"{prefix}/ws/piece?name=Zo%C3%AB")
        other = await served.connect(f"{prefix}/ws/piece")
        assert await one.receive_text() == "Welcome Zoë!"
        assert await other.receive_text() == "Welcome !"
        ids = [visit.connection_id for visit in served.app._visits.values()]
        assert log_lines(caplog) == [f"New connection: {each}" for each in ids]


async def test_hello_sample(tmp_path: Path, prefix: str) -> None:
    async with serving(tmp_path, HEAD + HELLO) as served:
        one, other = await served.members(f"{prefix}/ws/piece", 2)
        await one.send_text("why, hello you")
        assert await one.receive_text() == "Hello there!"
        await one.send_text("good-bye")
        told = await one.receive_text()
        assert told.endswith(": good-bye")
        assert await other.receive_text() == told  # the greeting went to the sender only


async def test_on_disconnect_sample(tmp_path: Path, caplog: Any, prefix: str) -> None:
    async with serving(tmp_path, HEAD + HELLO + ON_DISCONNECT) as served:
        one, other = await served.members(f"{prefix}/ws/piece", 2)
        await one.send_text("me")
        one_id = (await one.receive_text()).removesuffix(": me")
        await other.receive_text()
        await one.close()
        assert await other.receive_text() == f"User {one_id} has left"
        assert log_lines(caplog) == [f"User {one_id} left the chat"]
        assert failures(caplog) == []


async def test_length_check(tmp_path: Path, prefix: str) -> None:
    passes = LENGTH_CHECK + '    - WsOp:\n        command: "send"\n        message: "{{ message | length }}"\n'
    async with serving(tmp_path, HEAD + passes) as served:
        one, other = await served.members(f"{prefix}/ws/piece", 2)
        await one.send_text("é" * 1001)
        assert await one.receive_text() == "Message too long"
        await other.send_text("é" * 1000)
        assert await other.receive_text() == "1000"


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_cleanup_at_disconnect(request: Any, tmp_path: Path, caplog: Any, prefix: str, kind: str) -> None:
    url = f"sqlite:///{tmp_path}/game.db"
    if kind == "postgresql":
        url = request.getfixturevalue("postgresql").make_database()
    hooks = (
        CLEANUP
        + """\
  on_connect:
    - SqlOp:
        operation: execute
        query: CREATE TABLE IF NOT EXISTS users (id text PRIMARY KEY, online boolean)
    - SqlOp:
        operation: execute
        query: INSERT INTO users VALUES (:id, true)
        params: {id: "{{ connection_id }}"}
    - Return: {value: ready}
  on_message:
    - SqlOp:
        operation: query
        query: SELECT count(*) AS online FROM users WHERE online
        output: rows
    - Return:
        value: "{{ rows[0].online }}"
"""
    )
    async with serving(tmp_path, HEAD + hooks, routes_database=url) as served:
        one = await served.connect(f"{prefix}/ws/piece")
        assert await one.receive_text() == "ready"
        other = await served.connect(f"{prefix}/ws/piece")
        assert await other.receive_text() == "ready"
        await one.send_text("who?")
        assert await one.receive_text() == "2"
        await one.close()
        await served.until(lambda: len(served.app._visits) == 1)
        await other.send_text("who?")
        assert await other.receive_text() == "1"
        assert failures(caplog) == []
    if kind == "sqlite":
        with contextlib.closing(sqlite3.connect(tmp_path / "game.db")) as database:
            assert database.execute("SELECT online FROM users").fetchall() == [(0,), (0,)]


async def test_a_failing_broadcast_is_caught(tmp_path: Path, caplog: Any, prefix: str, monkeypatch: Any) -> None:
    async with serving(tmp_path, HEAD + TRY) as served:
        one, other = await served.members(f"{prefix}/ws/piece", 2)
        await one.send_text("works")
        assert await one.receive_text() == await other.receive_text() == "works"
        assert log_lines(caplog) == []


async def test_a_failing_broadcast_is_told_of(tmp_path: Path, caplog: Any, prefix: str) -> None:
    failing = TRY.replace('"{{ message }}"', '"{{ message }}"\n              channel: "{{ user.team_id }}"')
    async with serving(tmp_path, HEAD + failing) as served:
        one, other = await served.members(f"{prefix}/ws/piece", 2)
        await one.send_text("to nobody's team")
        await served.until(lambda: log_lines(caplog))
        assert log_lines(caplog) == ["Broadcast failed: the name of a channel is a text, not null"]
        assert failures(caplog) == []
        assert one.close_code is other.close_code is None


# -- the list of what was to come --------------------------------------------------------------------------------------


async def test_rate_limit(tmp_path: Path, prefix: str) -> None:
    limit = "rate_limit:\n  messages_per_minute: 60\n  burst: 10\n"  # as the document writes it
    async with serving(tmp_path, ECHO + limit) as served:
        one, other = await served.members(f"{prefix}/ws/echo", 2)
        for number in range(11):
            await one.send_text(str(number))
        assert [await one.receive_text() for _ in range(10)] == [f"Echo: {number}" for number in range(10)]
        refusal = await one.receive_json()
        assert refusal["code"] == "RATE_LIMITED"
        assert refusal["retry_after_seconds"] == 1
        await other.send_text("mine")
        assert await other.receive_text() == "Echo: mine"


async def test_binary_messages(tmp_path: Path, prefix: str) -> None:
    async with serving(tmp_path, ECHO, ECHO.replace("/ws/echo", "/ws/coded") + "binary: base64\n") as served:
        one, other = await served.connect(f"{prefix}/ws/echo"), await served.connect(f"{prefix}/ws/coded")
        await one.send_bytes("grüß dich".encode())
        assert await one.receive_text() == "Echo: grüß dich"
        await other.send_bytes(b"\x00\xff")
        assert await other.receive_text() == "Echo: AP8="


async def test_auth(tmp_path: Path, prefix: str) -> None:
    from wireloom.errors import HandshakeFailed

    who = "  on_message:\n    - Return:\n        value: '{{ user.username }}'\n"
    async with serving(tmp_path, HEAD + who + "auth: true\n") as served:
        assert served.app.identity is not None
        logins = [await served.app.identity.register({"username": name}, "correct horse") for name in ("ann", "ben")]
        headers = [{"Authorization": f"Bearer {login.token}"} for login in logins]
        one, other = [await served.connect(f"{prefix}/ws/piece", headers=each) for each in headers]
        for client, name in ((one, "ann"), (other, "ben")):
            await client.send_text("who am I?")
            assert await client.receive_text() == name
        with pytest.raises(HandshakeFailed) as refused:
            await served.connect(f"{prefix}/ws/piece")
        assert refused.value.status == 401
        assert json.loads(refused.value.body)["error"] == "Unauthorized"


async def test_redis(tmp_path: Path, prefix: str) -> None:
    import redis.asyncio
    from tests.services import redis_service

    tell = """\
  on_message:
    - RedisOp: {command: PUBLISH, key: "news", value: "{{ message }}", output: heard}
    - Return: {value: "{{ heard }}"}
"""
    with redis_service() as service:
        async with serving(tmp_path, HEAD + tell, routes_redis=service.url) as served:
            one, other = await served.members(f"{prefix}/ws/piece", 2)
            await one.send_text("nobody hears it")
            assert await one.receive_text() == "0"
            client = redis.asyncio.from_url(service.url, decode_responses=True)
            async with client, client.pubsub() as listener:
                await listener.subscribe("news")
                await listener.get_message(timeout=5)
                await other.send_text("It rains")
                assert await other.receive_text() == "1"
                heard = await listener.get_message(timeout=5)
                assert heard is not None
                assert heard["data"] == "It rains"
