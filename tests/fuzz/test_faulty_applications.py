"""What an application must not raise, raised: the client is told, the log knows why, asyncio hears nothing of it."""

from __future__ import annotations

import gc
import logging
from typing import Any

import pytest

from wireloom import App, Deny, Disconnect, Request
from wireloom.errors import HandshakeFailed
from wireloom.testing import TestServer

pytestmark = pytest.mark.anyio


def errors_logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    gc.collect()
    return [record.name for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        ("no", {"X": "a\r\nSet-Cookie: evil=1"}),
        ("no", {"X": "€"}),
        ({"x": object()}, {}),
        ("\ud800", {}),
    ],
    ids=["line break", "not latin-1", "no JSON", "surrogate"],
)
async def test_a_refusal_that_cannot_be_written_is_a_500(
    body: Any, headers: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    app = App()

    @app.websocket("/gate")
    async def gate(message: str) -> None: ...

    @gate.on_handshake
    async def guard(request: Request) -> None:
        raise Deny(403, body, headers)

    async with TestServer(app) as server:
        with pytest.raises(HandshakeFailed) as caught:
            async with server.websocket("/gate"):
                pass
        assert caught.value.status == 500
        assert b"evil" not in caught.value.body
    assert errors_logged(caplog) == ["wireloom.core.dispatch"]


@pytest.mark.parametrize("code", [0, 999, 1005, 1006, 1015, 2999, 5000, 70_000, -1])
async def test_a_close_code_that_must_not_be_sent_is_an_internal_error(
    code: int, caplog: pytest.LogCaptureFixture
) -> None:
    app = App()

    @app.websocket("/x")
    async def handler(message: str) -> str:
        if message == "end":
            raise Disconnect(code)
        return message

    async with TestServer(app) as server, server.websocket("/x") as ws:
        await ws.send_text("end")
        assert (await ws.receive_json())["error"] == "Internal error"
        await ws.send_text("still here")
        assert await ws.receive_text() == "still here"
    assert errors_logged(caplog) == ["wireloom.core.dispatch"]


async def test_a_close_reason_that_is_no_unicode_does_not_keep_the_code_from_being_sent(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = App()

    @app.websocket("/x")
    async def handler(message: str) -> None:
        raise Disconnect(4000, "bad \ud800")

    async with TestServer(app) as server, server.websocket("/x") as ws:
        await ws.send_text("end")
        assert await ws.wait_closed() == 4000
        assert ws.close_reason.startswith("bad ")
    assert errors_logged(caplog) == []
