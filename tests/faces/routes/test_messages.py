"""Page 4, "Operations": WsOp and Log."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from .kit import failures, load_problem, log_lines, serving, socket_route

pytestmark = pytest.mark.anyio


async def test_send_goes_to_this_connection(tmp_path: Path) -> None:
    async with serving(tmp_path, socket_route('- WsOp: {command: send, message: "to {{ message }}"}')) as served:
        one, other = await served.members("/ws", 2)
        await one.send_text("one")
        await other.send_text("other")
        assert await one.receive_text() == "to one"
        assert await other.receive_text() == "to other"


@pytest.mark.parametrize(
    ("message", "sent"),
    [
        ("plain", "plain"),
        ("5", "5"),
        ("true", "true"),
        ("null", ""),
        ("[1, {a: b}]", '[1,{"a":"b"}]'),
        ("'{{ [message] }}'", '["m"]'),
        ("'{{ 3.0 }} {{ null }}{{ true }}'", "3 true"),
        ("'{{ user }}'", ""),
    ],
)
async def test_whatever_is_sent_is_written_as_text(tmp_path: Path, message: str, sent: str) -> None:
    async with serving(tmp_path, socket_route(f"- WsOp: {{command: send, message: {message}}}")) as served:
        assert await served.ask("m") == sent


async def test_close_says_code_and_reason_after_what_was_sent(tmp_path: Path) -> None:
    operations = """
    - WsOp: {command: send, message: last words}
    - WsOp: {command: close, code: 4123, reason: "enough of {{ message }}"}
    """
    async with serving(tmp_path, socket_route(operations)) as served:
        one, other = await served.members("/ws", 2)
        await one.send_text("you")
        assert await one.receive_text() == "last words"
        assert await one.wait_closed() == 4123
        assert one.close_reason == "enough of you"
        await other.send_text("me")  # it is open still
        assert await other.receive_text() == "last words"


async def test_close_is_a_normal_end_where_nothing_is_said(tmp_path: Path) -> None:
    async with serving(tmp_path, socket_route("- WsOp: {command: close}")) as served:
        client = await served.connect()
        await client.send_text("")
        assert await client.wait_closed() == 1000
        assert client.close_reason == ""


async def test_a_long_reason_is_cut(tmp_path: Path) -> None:
    route = socket_route('- WsOp: {command: close, code: 4000, reason: "{{ message }}"}')
    async with serving(tmp_path, route) as served:
        client = await served.connect()
        await client.send_text("é" * 100)
        assert await client.wait_closed() == 4000
        assert client.close_reason == "é" * 61


@pytest.mark.parametrize("code", ["999", "1005", "1006", "1015", "2999", "5000", "1000.5", "-1", "70000"])
async def test_codes_that_must_not_be_sent(tmp_path: Path, caplog: Any, code: str) -> None:
    problem = load_problem(tmp_path, socket_route(f"- WsOp: {{command: close, code: {code}}}"))
    assert "must not be sent in a close frame" in problem
    operations = '- WsOp: {command: close, code: "{{ message }}"}\n- Return: {value: too far}'
    async with serving(tmp_path, socket_route(operations)) as served:
        client = await served.connect()
        await client.send_text(code)
        await client.send_text("4001")
        assert await client.wait_closed() == 4001
        (failure,) = failures(caplog)
        assert "must not be sent in a close frame" in failure.getMessage()


async def test_on_connect_may_turn_away(tmp_path: Path) -> None:
    turns_away = """
    - If:
        condition: query.key != 'right'
        then: [{WsOp: {command: close, code: 4401, reason: no}}, {Return: {value: go away}}]
    """
    async with serving(tmp_path, socket_route(on_connect=turns_away, on_message="- Return: {value: in}")) as served:
        wrong, right = await served.connect(), await served.connect("/ws?key=right")
        assert await wrong.wait_closed() == 4401
        await right.send_text("")
        assert await right.receive_text() == "in"


async def test_what_is_sent_in_on_disconnect_is_dropped(tmp_path: Path, caplog: Any) -> None:
    caplog.set_level(logging.INFO)
    leaving = """
    - WsOp: {command: send, message: too late}
    - WsOp: {command: close}
    - WsOp: {command: join, channel: late}
    - WsOp: {command: leave, channel: late}
    - Log: {message: all done}
    """
    async with serving(tmp_path, socket_route(on_disconnect=leaving)) as served:
        client = await served.connect()
        await served.until(lambda: served.app._visits)
        await client.close()
        await served.until(lambda: log_lines(caplog) == ["all done"])
        assert failures(caplog) == []


# -- Log ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("level", "number"),
    [
        ("debug", logging.DEBUG),
        ("info", logging.INFO),
        ("warning", logging.WARNING),
        ("error", logging.ERROR),
        ("ERROR", logging.ERROR),
        (None, logging.INFO),
    ],
)
async def test_a_line_of_the_log_has_route_and_connection(tmp_path: Path, caplog: Any, level: Any, number: int) -> None:
    caplog.set_level(logging.DEBUG, logger="wireloom.routes")
    written = "" if level is None else f", level: {level}"
    operations = (
        f'- Log: {{message: "said {{{{ message }}}}"{written}}}\n- Return: {{value: "{{{{ connection_id }}}}"}}'
    )
    async with serving(tmp_path, socket_route(operations)) as served:
        connection_id = await served.ask("it")
        (record,) = [record for record in caplog.records if record.name == "wireloom.routes"]
        assert record.levelno == number
        assert record.getMessage() == f"route 'Test /ws', {connection_id}: said it"
        assert (record.route, record.connection) == ("Test /ws", connection_id)


async def test_lines_below_the_level_are_not_written(tmp_path: Path, caplog: Any) -> None:
    caplog.set_level(logging.WARNING, logger="wireloom.routes")
    operations = "- Log: {message: quiet}\n- Log: {message: loud, level: warning}\n- Return: {value: done}"
    async with serving(tmp_path, socket_route(operations)) as served:
        assert await served.ask() == "done"
        assert log_lines(caplog) == ["loud"]


@pytest.mark.parametrize(
    ("message", "written"),
    [
        ("a\nb", "a\\x0ab"),
        ("a\r\nERROR forged", "a\\x0d\\x0aERROR forged"),
        ("\x1b[31mred\x00", "\\x1b[31mred\\x00"),
        ("a\x85b\x9bc\x7f", "a\\x85b\\x9bc\\x7f"),
        ("a\u2028b\u2029c", "a\\u2028b\\u2029c"),
        ("tabs\tstay visible", "tabs\\x09stay visible"),
        ("%s %d {} é", "%s %d {} é"),
    ],
)
async def test_no_message_begins_another_line(tmp_path: Path, caplog: Any, message: str, written: str) -> None:
    caplog.set_level(logging.INFO, logger="wireloom.routes")
    operations = '- Log: {message: "{{ message }}"}\n- Return: {value: done}'
    async with serving(tmp_path, socket_route(operations)) as served:
        assert await served.ask(message) == "done"
        assert log_lines(caplog) == [written]


async def test_nor_does_the_message_of_a_failure(tmp_path: Path, caplog: Any) -> None:
    async with serving(tmp_path, socket_route('- Throw: {message: "{{ message }}", code: "{{ message }}"}')) as served:
        client = await served.connect()
        await client.send_text("a\nWARNING forged\x1b[0m\u2028")
        await served.until(lambda: failures(caplog))
        (failure,) = failures(caplog)
        assert "a\\x0aWARNING forged\\x1b[0m\\u2028 (a\\x0aWARNING" in failure.getMessage()
        assert failure.getMessage().isprintable()


# -- what fits ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ("command: sent, message: a", "must be one of send, broadcast, join, leave, close; did you mean 'send'?"),
        ("command: send", "send needs 'message'"),
        ("command: broadcast, channel: a", "broadcast needs 'message'"),
        ("command: join", "join needs 'channel'"),
        ("command: leave", "leave needs 'channel'"),
        ("command: send, message: a, channel: b", "send has none"),
        ("command: join, channel: a, message: b", "join has none"),
        ("command: close, message: a", "close has none"),
        ("command: broadcast, message: a, channel: ''", "from 1 to 255 characters"),
        ("message: a", "WsOp needs 'command'"),
    ],
)
def test_what_does_not_fit_is_told(tmp_path: Path, fields: str, problem: str) -> None:
    assert problem in load_problem(tmp_path, socket_route(f"- WsOp: {{{fields}}}"))
