"""Page 4, "Variables": what is always there, what a connection keeps, and when hooks run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from .kit import load_problem, log_lines, serving, socket_route, soon

pytestmark = pytest.mark.anyio

ALL = """
- Return:
    value:
      id: "{{ connection_id }}"
      params: "{{ params }}"
      query: "{{ query }}"
      header: "{{ headers['x-a'] }}"
      user: "{{ user }}"
      route: "{{ route }}"
"""


@pytest.mark.parametrize("hook", ["on_connect", "on_message"])
async def test_what_is_always_there(tmp_path: Path, hook: str) -> None:
    hooks: Any = {hook: ALL}
    async with serving(tmp_path, socket_route(path="/ws/:room/{seat}", **hooks)) as served:
        client = await served.connect("/api/ws/a%2Fb%20c/%C3%A9?x=1&x=2&y=%26", headers={"X-A": "yes"})
        await client.send_text("")
        told = await client.receive_json()
        (visit,) = served.app._visits.values()
        assert told == {
            "id": visit.connection.client_id,
            "params": {"room": "a/b c", "seat": "é"},
            "query": {"x": "2", "y": "&"},
            "header": "yes",
            "user": None,
            "route": {"name": "Test /ws/:room/{seat}", "path": "/ws/{room}/{seat}", "type": "WebSocket"},
        }


async def test_they_are_there_in_on_disconnect_too(tmp_path: Path, caplog: Any) -> None:
    caplog.set_level("INFO")
    leaving = "- Log: {message: \"{{ params.room }} {{ query.x }} {{ headers['x-a'] }} {{ user }} {{ route.name }}\"}"
    async with serving(tmp_path, socket_route(path="/ws/:room", on_disconnect=leaving)) as served:
        client = await served.connect("/ws/a?x=1", headers={"X-A": "yes"})
        await served.until(lambda: served.app._visits)
        await client.close()
        await served.until(lambda: log_lines(caplog) == ["a 1 yes  Test /ws/:room"])


@pytest.mark.parametrize("path", ["/ws", "/ws/", "/ws/a/b", "/ws//", "/wsx/a", "/WS/a"])
async def test_a_parameter_is_one_whole_segment(tmp_path: Path, path: str) -> None:
    async with serving(tmp_path, socket_route("- Comment", path="/ws/:room")) as served:
        assert (await served.http.get(path)).status_code == 404
        assert (await served.http.get("/ws/a")).status_code == 400


async def test_a_parameter_that_is_no_text(tmp_path: Path) -> None:
    route = socket_route(on_connect='- WsOp: {command: send, message: "{{ params.room }}"}', path="/ws/:room")
    from wireloom.errors import HandshakeFailed

    async with serving(tmp_path, route) as served:
        try:
            client = await served.connect("/ws/%ff%fe")
        except HandshakeFailed as refused:
            assert refused.status in (400, 404)
        else:
            assert await client.receive_text() == "\ufffd\ufffd"


async def test_the_user_and_claims(tmp_path: Path) -> None:
    async with serving(tmp_path, socket_route("- Return: {value: '{{ user }}'}", more="auth: true")) as served:
        assert served.app.identity is not None
        login = await served.app.identity.register({"username": "ann"}, "correct horse")
        client = await served.connect(headers={"Authorization": f"Bearer {login.token}"})
        await client.send_text("")
        told = await client.receive_json()
        assert (told["id"], told["username"], told["role"]) == (login.user.user_id, "ann", login.user.role)


@pytest.mark.parametrize(
    ("message", "value"),
    [
        ('{"a": [1, 2.5, "x"]}', {"a": [1, 2.5, "x"]}),
        ("[1]", [1]),
        (' \n {"a": 1}', {"a": 1}),
        ("5", None),
        ('"text"', None),
        ("true", None),
        ("null", None),
        ("{not json}", None),
        ("[1", None),
        ("", None),
        ("text", None),
        ('{"a": NaN}', None),
        ("[" * 1000 + "]" * 1000, None),
    ],
)
async def test_json_is_an_object_or_list_and_message_is_the_text(tmp_path: Path, message: str, value: Any) -> None:
    operations = "- WsOp: {command: send, message: '{{ message }}'}\n- Return: {value: ['{{ json }}']}"
    async with serving(tmp_path, socket_route(operations)) as served:
        client = await served.connect()
        await client.send_text(message)
        assert await client.receive_text() == message
        assert await client.receive_json() == [value]


@pytest.mark.parametrize("hook", ["on_connect", "on_disconnect"])
@pytest.mark.parametrize("name", ["message", "json", "payload", "request"])
def test_there_is_no_message_in_other_hooks(tmp_path: Path, hook: str, name: str) -> None:
    hooks: Any = {hook: f"- Log: {{message: '{{{{ {name} }}}}'}}"}
    assert f"there is no variable {name!r}" in load_problem(tmp_path, socket_route(**hooks))


async def test_variables_are_shared_by_hooks_and_belong_to_one_connection(tmp_path: Path, caplog: Any) -> None:
    caplog.set_level("INFO")
    route = socket_route(
        '- SetVar: {name: last, value: "{{ last }}{{ message }}"}\n- Return: {value: "{{ last }}"}',
        on_connect='- SetVar: {name: last, value: "{{ query.name }}:"}',
        on_disconnect="- Log: {message: '{{ last }}'}",
    )
    async with serving(tmp_path, route) as served:
        one, other = await served.connect("/ws?name=one"), await served.connect("/ws?name=other")
        for client, message, expected in ((one, "a", "one:a"), (other, "b", "other:b"), (one, "c", "one:ac")):
            await client.send_text(message)
            assert await client.receive_text() == expected
        await one.close()
        await served.until(lambda: log_lines(caplog) == ["one:ac"])
        again = await served.connect("/ws?name=one")
        await again.send_text("a")
        assert await again.receive_text() == "one:a"  # gone with the connection


async def test_values_are_not_shared_by_connections(tmp_path: Path) -> None:
    operations = """
    - SetVar: {name: list, value: [1, {a: []}]}
    - SetVar: {name: list, value: "{{ list | reverse }}"}
    - Return: {value: "{{ list }}"}
    """
    async with serving(tmp_path, socket_route(operations)) as served:
        assert [await served.ask(), await served.ask()] == ['[{"a":[]},1]'] * 2


# -- when hooks run ----------------------------------------------------------------------------------------------------


async def test_hooks_of_one_connection_never_overlap(tmp_path: Path, caplog: Any) -> None:
    caplog.set_level("INFO")
    slow = "- Log: {message: 'begin %s'}\n- Sleep: {duration_ms: 20}\n- Log: {message: 'end %s'}"
    names = ("connect", "{{ message }}", "disconnect")
    connecting, message, leaving = (slow % (name, name) for name in names)
    async with serving(tmp_path, socket_route(message, on_connect=connecting, on_disconnect=leaving)) as served:
        client = await served.connect()
        for name in ("a", "b"):
            await client.send_text(name)
        await served.until(lambda: "begin b" in log_lines(caplog))
        await client.close()
        await served.until(lambda: "end disconnect" in log_lines(caplog))
        assert log_lines(caplog) == [
            f"{when} {name}" for name in ("connect", "a", "b", "disconnect") for when in ("begin", "end")
        ]


@pytest.mark.parametrize("first", ["- Comment", "- RedisOp: {command: EXISTS, key: a}"], ids=["plain", "waiting"])
async def test_messages_that_come_before_on_connect_has_ended_wait_for_it(tmp_path: Path, first: str) -> None:
    slow = "- Sleep: {duration_ms: 50}\n- Return: {value: connected}"
    route = socket_route(first + "\n- Return: {value: 'said {{ message }}'}", on_connect=slow)
    async with serving(tmp_path, route) as served:
        client = await served.connect()
        for text in ("a", "b", "c"):
            await client.send_text(text)
        answers = [await client.receive_text() for _ in range(4)]
        assert answers == ["connected", "said a", "said b", "said c"]
        await client.send_text("d")
        assert await client.receive_text() == "said d"


@pytest.mark.parametrize("way", ["close", "reset", "by the route", "by the server"])
async def test_on_disconnect_runs_exactly_once(tmp_path: Path, caplog: Any, way: str) -> None:
    caplog.set_level("INFO")
    route = socket_route("- WsOp: {command: close, code: 4000}", on_disconnect="- Log: {message: bye}")
    async with serving(tmp_path, route) as served:
        client = await served.connect()
        await served.until(lambda: served.app._visits)
        if way == "close":
            await client.close()
        elif way == "reset":
            assert client.connection._transport is not None
            client.connection._transport.abort()
        elif way == "by the route":
            await client.send_text("")
            await client.send_text("")
            await client.wait_closed()
        else:
            served.server.shutdown()
            await client.wait_closed()
        await served.until(lambda: log_lines(caplog))
        await served.until(lambda: not served.app._visits)
    assert log_lines(caplog) == ["bye"]


async def test_on_disconnect_follows_a_failed_on_connect(tmp_path: Path, caplog: Any) -> None:
    caplog.set_level("INFO")
    route = socket_route(
        "- Return: {value: alive}",
        on_connect="- Throw: {message: no}",
        on_disconnect="- Log: {message: bye}",
    )
    async with serving(tmp_path, route) as served:
        client = await served.connect()
        await client.send_text("")
        assert await client.receive_text() == "alive"
        await client.close()
        await served.until(lambda: log_lines(caplog) == ["bye"])


async def test_a_route_without_hooks(tmp_path: Path) -> None:
    async with serving(tmp_path, socket_route(more="channels: [a]")) as served:
        client = await served.connect()
        await client.send_text("nobody listens")
        await client.send_text("")
        await served.until(lambda: served.channels() == [{"a"}])
        await soon(client.close())
        await served.until(lambda: not served.app._visits)
        assert json.dumps(client.close_code) == "1000"
