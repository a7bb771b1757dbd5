"""Our clients talk to servers that we did not write: plain and by TLS, with and without compression."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import picows
import pytest
import websockets
from aiohttp import WSMsgType, web

from tests.node import NodePackage
from wireloom import WebSocket, connect
from wireloom.clients.connection import open_connection

from .conversation import CLOSE, MESSAGES, node, soon, trusting

pytestmark = pytest.mark.anyio

Certificate = tuple[str, str] | None
Told = tuple[str, list[Any], tuple[int | None, str] | None]  # extensions, what came back, how it was closed
Serve = Callable[[NodePackage, Certificate, bool], AbstractAsyncContextManager[int]]


@pytest.fixture(params=["ws", "wss"])
def tls(request: pytest.FixtureRequest, certificate: tuple[str, str]) -> Certificate:
    return certificate if request.param == "wss" else None


def serving(tls: Certificate) -> ssl.SSLContext | None:
    if tls is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*tls)
    return context


# -- servers -----------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def of_websockets(package: NodePackage, tls: Certificate, compress: bool) -> AsyncIterator[int]:
    async def echo(ws: websockets.ServerConnection) -> None:
        async for message in ws:
            await ws.send(message)

    compression = "deflate" if compress else None
    async with websockets.serve(echo, "127.0.0.1", 0, ssl=serving(tls), compression=compression) as server:
        yield server.sockets[0].getsockname()[1]


@asynccontextmanager
async def of_aiohttp(package: NodePackage, tls: Certificate, compress: bool) -> AsyncIterator[int]:
    async def echo(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(compress=compress)
        await ws.prepare(request)
        async for message in ws:
            if message.type == WSMsgType.TEXT:
                await ws.send_str(message.data)
            else:
                await ws.send_bytes(message.data)
        return ws

    app = web.Application()
    app.add_routes([web.get("/", echo)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=serving(tls))
    try:
        await site.start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


class Echo(picows.WSListener):
    """Sends every frame back."""

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        """A message, or a close, which is answered."""
        if frame.msg_type == picows.WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()
        else:
            transport.send(frame.msg_type, frame.get_payload_as_bytes())


@asynccontextmanager
async def of_picows(package: NodePackage, tls: Certificate, compress: bool) -> AsyncIterator[int]:
    server = await picows.ws_create_server(lambda request: Echo(), "127.0.0.1", 0, ssl=serving(tls))
    async with server:
        yield server.sockets[0].getsockname()[1]


@asynccontextmanager
async def of_node(package: NodePackage, tls: Certificate, compress: bool) -> AsyncIterator[int]:
    async with node(package, "server.cjs", *(tls or ("", "")), "yes" if compress else "no") as process:
        assert process.stdout is not None
        yield int(await soon(process.stdout.readline()))


SERVERS = [of_websockets, of_aiohttp, of_picows, of_node]


# -- clients -----------------------------------------------------------------------------------------------------------


async def by_connection(url: str, **options: Any) -> Told:
    echoes = []
    async with open_connection(url, **options) as connection:
        for message in MESSAGES:
            connection.send(message)
            echoes.append(await soon(connection.receive()))
        await connection.close(*CLOSE)
        return connection.extensions, echoes, (connection.close_code, connection.close_reason)


async def by_browsers_interface(url: str, **options: Any) -> Told:
    echoes: list[Any] = []
    ended = asyncio.get_running_loop().create_future()
    ws = WebSocket(url, **options)

    def send_next(event: Any) -> None:
        if event.type == "message":
            echoes.append(event.data)
        if len(echoes) < len(MESSAGES):
            ws.send(MESSAGES[len(echoes)])
        else:
            ws.close(*CLOSE)

    ws.onopen = ws.onmessage = send_next
    ws.onclose = ended.set_result
    closed = await soon(ended)
    assert closed.was_clean
    return ws.extensions, echoes, (closed.code, closed.reason)


async def by_coming_back(url: str, **options: Any) -> Told:
    echoes: list[Any] = []
    async with connect(url, **options) as client:
        for message in MESSAGES:
            await client.send(message)
        async for message in client:
            echoes.append(message)
            if len(echoes) == len(MESSAGES):
                break
    return "", echoes, None


CLIENTS = [by_connection, by_browsers_interface, by_coming_back]


@pytest.mark.parametrize("compress", [False, True], ids=["plain", "compressed"])
@pytest.mark.parametrize("talk", CLIENTS)
@pytest.mark.parametrize("serve", SERVERS)
async def test_all_come_back_as_they_went(
    serve: Serve,
    talk: Callable[..., Awaitable[Told]],
    tls: Certificate,
    compress: bool,
    node_ws: NodePackage,
) -> None:
    async with serve(node_ws, tls, compress) as port:
        url = f"{'wss' if tls else 'ws'}://127.0.0.1:{port}/"
        extensions, echoes, close = await talk(url, ssl=trusting(tls[0]) if tls else None, compression=compress)
    assert echoes == MESSAGES
    if talk is not by_coming_back:
        assert close == ((1000, "") if serve is of_aiohttp else CLOSE)  # aiohttp answers with a code of its own
        agrees = compress and serve is not of_picows  # which has no compression
        assert extensions.startswith("permessage-deflate") if agrees else extensions == ""


@pytest.mark.parametrize("serve", [of_websockets, of_aiohttp, of_node])
async def test_servers_that_compress_meet_a_client_that_does_not(serve: Serve, node_ws: NodePackage) -> None:
    async with serve(node_ws, None, True) as port:
        extensions, echoes, _ = await by_connection(f"ws://127.0.0.1:{port}/")
    assert (extensions, echoes) == ("", MESSAGES)


@pytest.mark.parametrize("serve", [of_websockets, of_node])
async def test_an_untrusted_certificate_is_refused(
    serve: Serve, certificate: tuple[str, str], node_ws: NodePackage
) -> None:
    async with serve(node_ws, certificate, False) as port:
        with pytest.raises(ssl.SSLCertVerificationError):
            async with open_connection(f"wss://127.0.0.1:{port}/"):
                pass
