"""Page 5, `create_server`: what becomes of a WebSocket whose callback fails, and servers that are somebody else's."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from tests.faces.callbacks import echo, errors, serve, soon, vanish

from wireloom import (
    CallbackConnection,
    CallbackRequest,
    Disconnect,
    RequestError,
    create_server,
)
from wireloom.config import Config
from wireloom.net.server import LoopServer, bind
from wireloom.testing import TestWebSocket

pytestmark = pytest.mark.anyio

# -- errors ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", ["sync", "async", "awaiting", "lambda"])
@pytest.mark.parametrize("returned", [{"status": 200}, "text", False, 0])
async def test_a_response_to_a_message_ends_the_connection_and_says_why(
    variant: str, returned: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def respond(req: CallbackRequest) -> Any:
        return returned

    async def respond_async(req: CallbackRequest) -> Any:
        return returned

    async def respond_later(req: CallbackRequest) -> Any:
        await asyncio.sleep(0)
        return returned

    handlers = {"sync": respond, "async": respond_async, "awaiting": respond_later}
    handler = handlers.get(variant) or (lambda req: respond_later(req))
    async with serve(handler) as server, server.websocket("/here") as ws:
        await ws.send_text("x")
        assert await ws.wait_closed() == 1011
    (logged,) = errors(caplog)
    assert f"returned {type(returned).__name__} for" in logged and "req.ws.send" in logged and "1011" in logged


async def test_what_was_returned_is_no_part_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async with serve(lambda req: req.data) as server, server.websocket("/") as ws:
        await ws.send_text("a secret")
        assert await ws.wait_closed() == 1011
    (logged,) = errors(caplog)
    assert "returned str for" in logged and "secret" not in logged


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
async def test_an_exception_closes_nothing_tells_nobody_and_is_logged_once(
    is_async: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def handle(req: CallbackRequest) -> None:
        if req.data == "bug":
            raise KeyError("secret")
        req.ws.send(req.data)

    async def handle_later(req: CallbackRequest) -> None:
        await asyncio.sleep(0)
        handle(req)

    async with serve(handle_later if is_async else handle) as server:
        async with server.websocket("/") as ws, server.websocket("/") as other:
            for text in ("a", "bug", "b"):
                await ws.send_text(text)
            assert [await ws.receive_text(), await ws.receive_text()] == ["a", "b"]
            await other.send_text("undisturbed")
            assert await other.receive_text() == "undisturbed"
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.exc_info is not None and record.exc_info[0] is KeyError
    assert re.match(r"error [0-9a-f]{12} in handler of websocket \* \(.*test_callback_errors.py:", record.getMessage())


async def test_a_request_error_is_told_as_its_class_says(caplog: pytest.LogCaptureFixture) -> None:
    def handler(req: CallbackRequest) -> None:
        if req.data == "refuse":
            raise RequestError("NOT_NOW", "not now")
        req.ws.send(json.dumps(req.json))

    async with serve(handler) as server, server.websocket("/") as ws:
        await ws.send_text("refuse")
        assert await ws.receive_json() == {"error": "not now", "code": "NOT_NOW"}
        await ws.send_text("{")
        assert await ws.receive_json() == {"error": "Invalid JSON", "code": "INVALID_JSON"}
        await ws.send_bytes(b"\xff")
        assert await ws.receive_json() == {"error": "Invalid JSON", "code": "INVALID_JSON"}
        await ws.send_text("[1]")
        assert await ws.receive_json() == [1]
    assert errors(caplog) == []


async def test_a_disconnect_ends_it_with_its_code() -> None:
    def handler(req: CallbackRequest) -> None:
        raise Disconnect(4010, "no more")

    async with serve(handler) as server, server.websocket("/") as ws:
        await ws.send_text("x")
        assert (await ws.wait_closed(), ws.close_reason) == (4010, "no more")


async def test_a_send_to_another_that_has_gone_is_a_bug_of_the_handler(caplog: pytest.LogCaptureFixture) -> None:
    clients: list[CallbackConnection] = []
    gone = asyncio.Event()

    def handler(req: CallbackRequest) -> None:
        for client in clients:
            client.send(req.data)

    async with serve(handler, on_open=clients.append, on_close=lambda ws: gone.set()) as server:
        async with server.websocket("/"):
            pass
        await soon(gone)
        async with server.websocket("/") as ws:
            await ws.send_text("anyone?")
            await ws.close()
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.exc_info is not None and "another WebSocket was sent to" in str(record.exc_info[1])


async def test_that_the_peer_has_gone_while_a_handler_waited_is_nobody_s_mistake(
    caplog: pytest.LogCaptureFixture,
) -> None:
    entered, gone, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def handler(req: CallbackRequest) -> None:
        entered.set()
        await gone.wait()
        try:
            req.ws.send("still there?")
        finally:
            done.set()

    async with serve(handler) as server:
        async with server.websocket("/") as ws:
            await ws.send_text("x")
            await soon(entered)
            assert ws.connection._transport is not None
            ws.connection._transport.abort()
            await asyncio.wait_for(vanish(server), 3)
            gone.set()
            await soon(done)
    assert errors(caplog) == []


async def test_a_message_above_the_limit_ends_it_with_1009() -> None:
    async with serve(echo, max_message_bytes=10) as server, server.websocket("/") as ws:
        await ws.send_text("x" * 10)
        assert await ws.receive_text() == "Echo: " + "x" * 10
        await ws.send_text("x" * 11)
        assert await ws.wait_closed() == 1009


# -- somebody else's server --------------------------------------------------------------------------------------------


@asynccontextmanager
async def elsewhere(handler: Any, **options: Any) -> Any:
    """The same on uvicorn's own WebSockets."""
    sockets = bind(Config(host="127.0.0.1", port=0))
    server = LoopServer(uvicorn.Config(create_server(handler, **options).app, lifespan="on", log_config=None), sockets)
    url = f"ws://127.0.0.1:{sockets[0].getsockname()[1]}"
    await server.start()
    try:
        yield url
    finally:
        await server.stop()


async def test_on_somebody_else_s_server_it_is_the_same() -> None:
    states: asyncio.Queue[Any] = asyncio.Queue()

    def handler(req: CallbackRequest) -> Any:
        if req.data == "bug":
            raise KeyError
        if req.data == "close":
            req.ws.close(4001, "enough")
            states.put_nowait(req.ws.ready_state)
        else:
            req.ws.send(f"{req.pathname} {req.data}")

    def on_close(ws: CallbackConnection) -> None:
        states.put_nowait((ws.ready_state, ws.close_code, ws.close_reason))

    async with elsewhere(handler, on_close=on_close) as url:
        from wireloom.clients.connection import open_connection

        async with TestWebSocket(open_connection(url + "/any/%20path"), "/any/%20path", 3) as ws:
            await ws.send_text("bug")
            await ws.send_text("x")
            assert await ws.receive_text() == "/any/%20path x"
            await ws.send_text("close")
            assert (await ws.wait_closed(), ws.close_reason) == (4001, "enough")
        assert await asyncio.wait_for(states.get(), 3) == 2
        assert await asyncio.wait_for(states.get(), 3) == (3, 4001, "enough")
