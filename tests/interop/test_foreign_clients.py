"""Clients that we did not write talk to our server: plain and by TLS, with and without compression."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import picows
import pytest
import websockets
from playwright.async_api import async_playwright

from tests.e2e.conftest import CHROMIUM, FLAGS
from tests.node import NodePackage
from wireloom import App
from wireloom.testing import TestServer

from .conversation import CLOSE, MESSAGES, SECONDS, expected_of_node, node, soon, trusting

pytestmark = pytest.mark.anyio

AGREED = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"


@pytest.fixture(params=["ws", "wss"])
def tls(request: pytest.FixtureRequest, certificate: tuple[str, str]) -> tuple[str, str] | None:
    return certificate if request.param == "wss" else None


@pytest.fixture(params=["plain", "compressed", "takeover"])
async def server(request: pytest.FixtureRequest, tls: tuple[str, str] | None) -> AsyncIterator[TestServer]:
    app = App(
        compression=request.param != "plain",
        compression_takeover=request.param == "takeover",
        compression_min_bytes=1,
        allowed_origins=["*"],
    )

    @app.websocket("/echo", subprotocols=["chat.v2"])
    async def echo(message: str | bytes) -> str | bytes:
        return message

    certificate, key = tls or (None, None)
    async with TestServer(app, ssl_certfile=certificate, ssl_keyfile=key) as running:
        yield running


def agreed(server: TestServer) -> str:
    """What this server answers to one that offers compression without a wish of its own."""
    config = server.app.config
    return "" if not config.compression else "permessage-deflate" if config.compression_takeover else AGREED


async def test_websockets(server: TestServer, tls: tuple[str, str] | None) -> None:
    url = f"{server.websocket_url}/echo"
    client_tls = trusting(tls[0]) if tls else None
    async with websockets.connect(url, subprotocols=["chat.v2"], ssl=client_tls) as ws:  # type: ignore[list-item]
        assert ws.subprotocol == "chat.v2"
        assert ws.response is not None
        assert ws.response.headers.get("Sec-WebSocket-Extensions", "") == agreed(server)
        for message in MESSAGES:
            await ws.send(message)
            assert await soon(ws.recv()) == message
        await ws.send(["in ", "frag", "ments"])
        assert await soon(ws.recv()) == "in fragments"
        await soon(await ws.ping("?"))
        await ws.close(*CLOSE)
        assert (ws.close_code, ws.close_reason) == CLOSE


async def test_websockets_without_an_offer(server: TestServer, tls: tuple[str, str] | None) -> None:
    url = f"{server.websocket_url}/echo"
    async with websockets.connect(url, compression=None, ssl=trusting(tls[0]) if tls else None) as ws:
        for message in MESSAGES:
            await ws.send(message)
            assert await soon(ws.recv()) == message


@pytest.mark.parametrize("compress", [0, 9, 15])
async def test_aiohttp(server: TestServer, tls: tuple[str, str] | None, compress: int) -> None:
    context: ssl.SSLContext | bool = ssl.create_default_context(cafile=tls[0]) if tls else True
    async with aiohttp.ClientSession() as session:
        url = f"{server.url}/echo"
        async with session.ws_connect(url, protocols=["chat.v2"], ssl=context, compress=compress) as ws:
            assert ws.protocol == "chat.v2"
            assert bool(ws.compress) == bool(compress and agreed(server))
            for message in MESSAGES:
                await (ws.send_str(message) if isinstance(message, str) else ws.send_bytes(message))
                assert (await ws.receive(SECONDS)).data == message
            await ws.close(code=CLOSE[0], message=CLOSE[1].encode())
            assert ws.close_code == CLOSE[0]


class Listener(picows.WSListener):
    """Puts what comes into a queue: picows gives frames, which are whole messages here."""

    def __init__(self) -> None:
        self.received: asyncio.Queue[str | bytes | int] = asyncio.Queue()

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        """A message, or the code of a close."""
        if frame.msg_type == picows.WSMsgType.CLOSE:
            self.received.put_nowait(frame.get_close_code())
            transport.disconnect()
        elif frame.msg_type == picows.WSMsgType.TEXT:
            self.received.put_nowait(frame.get_payload_as_utf8_text())
        else:
            self.received.put_nowait(frame.get_payload_as_bytes())


async def test_picows(server: TestServer, tls: tuple[str, str] | None) -> None:
    url = f"{server.websocket_url}/echo"
    transport, listener = await picows.ws_connect(Listener, url, ssl_context=trusting(tls[0]) if tls else None)
    assert isinstance(listener, Listener)
    for message in MESSAGES:
        is_text = isinstance(message, str)
        payload = message.encode() if isinstance(message, str) else message
        transport.send(picows.WSMsgType.TEXT if is_text else picows.WSMsgType.BINARY, payload)
        assert await soon(listener.received.get()) == message
    transport.send_close(picows.WSCloseCode(1000), b"done")
    assert await soon(listener.received.get()) == 1000
    await soon(transport.wait_disconnected())


@pytest.mark.parametrize("compress", ["no", "yes"])
async def test_node_ws(server: TestServer, tls: tuple[str, str] | None, node_ws: NodePackage, compress: str) -> None:
    url = f"{server.websocket_url}/echo"
    async with node(node_ws, "client.cjs", url, tls[0] if tls else "", compress) as process:
        out, _ = await soon(process.communicate(json.dumps(expected_of_node()).encode()))
    seen = json.loads(out)
    assert seen["echoes"] == expected_of_node()
    assert (seen["code"], seen["reason"]) == CLOSE
    assert seen["protocol"] == "chat.v2"
    assert seen["extensions"] == ("permessage-deflate" if compress == "yes" and agreed(server) else "")


SCRIPT = """
([url, messages]) => new Promise((resolve) => {
  const ws = new WebSocket(url, ["chat.v2"]);
  ws.binaryType = "arraybuffer";
  const echoes = [];
  const sendNext = () => {
    const message = messages[echoes.length];
    if (message === undefined) ws.close(4001, "done");
    else ws.send(typeof message === "string" ? message : new Uint8Array(message));
  };
  ws.onopen = sendNext;
  ws.onmessage = ({ data }) => {
    echoes.push(typeof data === "string" ? data : [...new Uint8Array(data)]);
    sendNext();
  };
  ws.onclose = ({ code, reason, wasClean }) =>
    resolve({ echoes, code, reason, wasClean, extensions: ws.extensions, protocol: ws.protocol });
})
"""


async def test_chromium(server: TestServer) -> None:
    assert CHROMIUM is not None, "Chromium is not installed: apt-get install chromium"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            page = await (await browser.new_context(ignore_https_errors=True)).new_page()
            await page.goto(f"{server.url}/healthz/live")
            seen: dict[str, Any] = await soon(
                page.evaluate(SCRIPT, [f"{server.websocket_url}/echo", expected_of_node()])
            )
        finally:
            await browser.close()
    assert seen["echoes"] == expected_of_node()
    assert (seen["code"], seen["reason"], seen["wasClean"]) == (*CLOSE, True)
    assert seen["protocol"] == "chat.v2"
    assert seen["extensions"] == agreed(server)
