"""Page 3, Door 1: a WebSocket of a walker's own; each message is one run, and the connection stays."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from wireloom import App
from wireloom.testing import TestServer

from .kit import bearer, register
from .sockets import COMMITTED, ECHOES, OTHERS, EchoMessage, Posted, application, ask

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[TestServer]:
    async with TestServer(application()) as server:
        yield server


# -- every row of the table --------------------------------------------------------------------------------------------

ANSWERS = [
    ('{"message":"hi"}', '{"ok":true,"data":{"reports":[{"echo":"hi","client_id":"anonymous"}]}}'),
    (b'{"message":"h\xc3\xbc"}', '{"ok":true,"data":{"reports":[{"echo":"hü","client_id":"anonymous"}]}}'),
    ('{"client_id":"c","message":""}', '{"ok":true,"data":{"reports":[{"echo":"","client_id":"c"}]}}'),
    (
        "{}",
        '{"ok":false,"error":{"code":"VALIDATION_ERROR","message":"Object missing required field `message`",'
        '"path":"$.message"}}',
    ),
    (
        '{"message":1}',
        '{"ok":false,"error":{"code":"VALIDATION_ERROR","message":"Expected `str`, got `int`","path":"$.message"}}',
    ),
    (
        '{"message":"a","mesage":"b"}',
        '{"ok":false,"error":{"code":"VALIDATION_ERROR","message":"Object contains unknown field `mesage`",'
        '"path":"$.mesage"}}',
    ),
    (
        "[1]",
        '{"ok":false,"error":{"code":"VALIDATION_ERROR","message":"Expected `object`, got `array`","path":"$"}}',
    ),
    (
        "null",
        '{"ok":false,"error":{"code":"VALIDATION_ERROR","message":"Expected `object`, got `null`","path":"$"}}',
    ),
    (
        b'"text"',
        '{"ok":false,"error":{"code":"VALIDATION_ERROR","message":"Expected `object`, got `str`","path":"$"}}',
    ),
    *[
        (bad, '{"ok":false,"error":{"code":"INVALID_JSON","message":"Invalid JSON"}}')
        for bad in (
            "",
            "hello",
            '{"message":"a"',
            '{"message":"a"} x',
            '{"message":1,}',
            "{'message':'a'}",
            "NaN",
            b"",
            b"\xff",
            b'{"message":"\xff"}',
            '{"token":"x","message":"a"',
            '{"token" "x"}',
            '{"message":' + "[" * 5000,
            '{"token":"x","message":' + "[" * 5000,
        )
    ],
    ('{"message":"refuse"}', '{"ok":false,"error":{"code":"NOT_TODAY","message":"Come back tomorrow"}}'),
]


@pytest.mark.parametrize("name", ECHOES)
async def test_every_message_has_its_answer_and_the_connection_stays(server: TestServer, name: str) -> None:
    async with server.websocket(f"/ws/{name}") as ws:
        for message, expected in ANSWERS:
            await (ws.send_bytes(message) if isinstance(message, bytes) else ws.send_text(message))
            assert await ws.receive_text() == expected, message
        assert ws.close_code is None


@pytest.mark.parametrize("name", ECHOES)
async def test_answers_come_in_the_order_of_the_messages(server: TestServer, name: str) -> None:
    async with server.websocket(f"/ws/{name}") as ws:
        for message, _ in ANSWERS * 5:
            await (ws.send_bytes(message) if isinstance(message, bytes) else ws.send_text(message))
        for _, expected in ANSWERS * 5:
            assert await ws.receive_text() == expected


@pytest.mark.parametrize("name", ECHOES)
async def test_a_bug_is_told_by_an_id_that_is_in_the_log_and_by_nothing_else(
    server: TestServer, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with server.websocket(f"/ws/{name}") as ws:
        await ws.send_json({"message": "boom"})
        text = await ws.receive_text()
        error_id = json.loads(text)["error"]["id"]
        told = '{"ok":false,"error":{"code":"EXECUTION_ERROR","message":"Walker execution failed","id":"%s"}}'
        assert text == told % error_id and len(error_id) == 12
        [record] = [record for record in caplog.records if record.levelno >= logging.ERROR]
        assert error_id in record.getMessage() and f"/ws/{name}" in record.getMessage()
        assert record.exc_info and "only developers see" in str(record.exc_info[1])
        await ws.send_json({"message": "still here"})
        assert (await ws.receive_json())["ok"] is True


@pytest.mark.parametrize("name", ECHOES)
async def test_development_mode_adds_the_text_of_the_exception(name: str) -> None:
    async with TestServer(application(dev=True)) as server:
        error = json.loads(await ask(server, f"/ws/{name}", {"message": "boom"}))["error"]
        assert error.pop("detail") == "RuntimeError: a detail that only developers see"
        assert list(error) == ["code", "message", "id"] and "Traceback" not in str(error)
        error = json.loads(await ask(server, f"/ws/{name}", {"message": "refuse"}))["error"]
        assert error == {"code": "NOT_TODAY", "message": "Come back tomorrow"}


@pytest.mark.parametrize(
    ("name", "code", "reason"),
    [
        ("Nobody", 4004, "Walker 'Nobody' not found"),
        ("echomessage", 4004, "Walker 'echomessage' not found"),
        ("placed", 4004, "Walker 'placed' not found"),
        ("Elsewhere", 4004, "Walker 'Elsewhere' not found"),
        ("N%C3%B6", 4004, "Walker 'Nö' not found"),
        ("%0A", 4004, "Walker '\\n' not found"),
        ("x" * 60, 4004, f"Walker '{'x' * 60}' not found"),
        ("x" * 61, 4004, f"Walker '{'x' * 59}…' not found"),
        ("Posted", 4000, "Walker 'Posted' is not a WebSocket walker. Use /walker/Posted instead."),
        ("Named", 4000, "Walker 'Named' is not a WebSocket walker. Use the event socket instead."),
        ("Hooked", 4000, "Walker 'Hooked' is not a WebSocket walker. Use /webhook/Hooked instead."),
    ],
)
async def test_a_name_of_no_websocket_walker_is_accepted_and_closed(
    server: TestServer, name: str, code: int, reason: str
) -> None:
    async with server.websocket(f"/ws/{name}") as ws:
        await ws.send_json({"message": "nobody reads this"})
        assert await ws.wait_closed() == code
        assert ws.close_reason == reason


@pytest.mark.parametrize("name", [OTHERS[-1].__name__, "%F0%9F%98%80" * 60])
async def test_a_reason_that_is_too_long_is_cut(server: TestServer, name: str) -> None:
    async with server.websocket(f"/ws/{name}") as ws:
        assert await ws.wait_closed() == (4000 if name.isascii() and "%" not in name else 4004)
        assert ws.close_reason.startswith("Walker '") and len(ws.close_reason.encode()) <= 123


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1000, "bye"), (4321, "own")])
@pytest.mark.parametrize("name", ECHOES)
async def test_a_close_of_the_client_is_echoed(server: TestServer, name: str, code: int, reason: str) -> None:
    async with server.websocket(f"/ws/{name}") as ws:
        await ws.send_json({"message": "a"})
        await ws.receive_text()
        await ws.connection.close(code, reason)
        assert ws.close_code == code


# -- many messages -----------------------------------------------------------------------------------------------------


async def test_runs_of_one_connection_are_serial(server: TestServer) -> None:
    async with server.websocket("/ws/Slow") as ws:
        for number in range(30):
            await ws.send_json({"number": number})
        assert [(await ws.receive_json())["data"]["reports"] for _ in range(30)] == [[number] for number in range(30)]


async def test_answers_stay_in_order_where_only_some_messages_have_to_wait(server: TestServer) -> None:
    login = await register(server.app, "mixes")
    async with server.websocket("/ws/EchoMessage") as ws:
        for number in range(60):
            token = {"token": login.token if number % 2 else "wrong"} if number % 3 == 0 else {}
            await ws.send_json({"message": str(number), **token})
        for number in range(60):
            assert (await ws.receive_json())["data"]["reports"][0]["echo"] == str(number)


async def test_a_thousand_messages_of_many_connections_are_all_answered(server: TestServer) -> None:
    async def talk(name: str, number: int) -> None:
        async with server.websocket(f"/ws/{name}") as ws:
            for message in range(50):
                await ws.send_json({"message": f"{number}-{message}"})
            for message in range(50):
                assert (await ws.receive_json())["data"]["reports"][0]["echo"] == f"{number}-{message}"

    await asyncio.wait_for(asyncio.gather(*(talk(ECHOES[number % 2], number) for number in range(20))), 30)


async def test_the_size_of_a_message_is_limited_by_the_walker(server: TestServer) -> None:
    async with server.websocket("/ws/Small") as ws:
        await ws.send_text(json.dumps({"text": "x" * 28}))
        assert await ws.receive_text() == '{"ok":true,"data":{"reports":[28]}}'
        await ws.send_text(json.dumps({"text": "x" * 29}))
        assert await ws.wait_closed() == 1009


async def test_a_run_that_takes_too_long_is_told_so(server: TestServer) -> None:
    expected = '{"ok":false,"error":{"code":"RUN_TIMEOUT","message":"The walker did not end within 0.05 s"}}'
    async with server.websocket("/ws/Endless") as ws:
        for _ in range(2):
            await ws.send_text("{}")
            assert await ws.receive_text() == expected


# -- without a task ----------------------------------------------------------------------------------------------------


def test_what_never_waits_needs_no_task() -> None:
    found = {endpoint.name: endpoint.begin is not None for endpoint in application()._doors.websocket}
    direct = ("EchoMessage", "SecureChat", "ForAdmins", "Whose", "Small", "Elsewhere", "Keeping")
    assert {name for name, begins in found.items() if begins} == set(direct)


@pytest.mark.parametrize(
    ("how", "expected", "kept"),
    [
        ("connect", ["connect", 5, 6], 1),
        ("nothing", ["nothing", 5, 6], 0),
        ("disengage", ["disengage"], 1),
        ("raise", None, 0),
        ("unspeakable", None, 0),
    ],
)
async def test_without_a_task_a_run_is_kept_or_not_all_the_same(
    server: TestServer, how: str, expected: Any, kept: int
) -> None:
    login = await register(server.app, f"keeps-{how}")
    for options in ({}, {"headers": bearer(login)}):  # without a token it has nothing to wait for
        COMMITTED.clear()
        async with server.websocket("/ws/Keeping", **options) as ws, server.websocket("/ws/Kept", **options) as count:
            await count.send_text("{}")
            [before] = (await count.receive_json())["data"]["reports"]
            for _ in range(3):
                await ws.send_json({"how": how})
            for _ in range(3):
                answer = await ws.receive_json()
                if expected is None:
                    assert answer["error"]["code"] == "EXECUTION_ERROR"
                else:
                    assert answer["data"]["reports"] == expected
            await count.send_text("{}")
            assert (await count.receive_json())["data"]["reports"] == [before + 3 * kept]
            assert COMMITTED == [how] * (0 if expected is None else 3)


# -- paths -------------------------------------------------------------------------------------------------------------


async def test_a_declared_route_wins_over_the_door(server: TestServer) -> None:
    assert await ask(server, "/ws/chat", "hi") == "chat: hi"
    assert await ask(server, "/live/here", "{}") == '{"ok":true,"data":{"reports":["here"]}}'


async def test_a_declared_route_with_a_parameter_takes_all_names_that_no_walker_has() -> None:
    app = App([EchoMessage, Posted], database="sqlite://")

    @app.websocket("/ws/{room}")
    async def room(message: str, room: str) -> str:
        return f"{room}: {message}"

    async with TestServer(app) as server:
        assert await ask(server, "/ws/Nobody", "hi") == "Nobody: hi"
        assert await ask(server, "/ws/Posted", "hi") == "Posted: hi"
        assert '"echo":"hi"' in await ask(server, "/ws/EchoMessage", {"message": "hi"})


async def test_without_walkers_there_is_no_door() -> None:
    app = App(database="sqlite://")
    app.events()
    async with TestServer(app) as server:
        assert (await server.http.get("/ws/Nobody")).status_code == 404
        assert (await server.http.post("/walker/Nobody")).json()["error"] == "Not Found"


async def test_plain_http_is_told_to_upgrade(server: TestServer) -> None:
    answer = await server.http.get("/ws/EchoMessage")
    assert (answer.status_code, answer.headers["upgrade"].lower()) == (426, "websocket")
