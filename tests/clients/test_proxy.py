"""By way of a proxy: a small but real CONNECT proxy and SOCKS proxy in front of a real server."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Literal

import pytest

from wireloom import App, ConfigError, HandshakeFailed, WebSocket, connect, open_connection
from wireloom.clients.address import parse_url
from wireloom.clients.proxy import choose_proxy
from wireloom.testing import TestServer

pytestmark = pytest.mark.anyio

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Greet = Callable[["Proxy", asyncio.StreamReader, asyncio.StreamWriter], Awaitable[tuple[str, int] | None]]


class Proxy:
    """What a proxy was asked for."""

    def __init__(self) -> None:
        self.port = 0
        self.asked: list[tuple[str, int]] = []
        self.login: str | None = None
        self.answer = b"HTTP/1.1 200 Connection established\r\n\r\n"

    async def greet_http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[str, int] | None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, target, _ = head.split(" ", 2)
        assert method == "CONNECT"
        logins = [line.partition(" Basic ")[2] for line in head.split("\r\n") if "Proxy-Authorization" in line]
        self.login = base64.b64decode(logins[0]).decode() if logins else None
        writer.write(self.answer)
        host, _, port = target.rpartition(":")
        return (host.strip("[]"), int(port)) if b" 200 " in self.answer else None

    async def greet_socks5(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[str, int] | None:
        version, count = await reader.readexactly(2)
        methods = await reader.readexactly(count)
        assert version == 5
        method = 2 if 2 in methods else 0
        writer.write(bytes((5, method)))
        if method == 2:  # RFC 1929
            await reader.readexactly(1)
            user = await reader.readexactly((await reader.readexactly(1))[0])
            password = await reader.readexactly((await reader.readexactly(1))[0])
            self.login = f"{user.decode()}:{password.decode()}"
            writer.write(b"\x01\x00")
        kind = (await reader.readexactly(4))[3]
        if kind == 1:
            host = str(ipaddress.IPv4Address(await reader.readexactly(4)))
        else:
            host = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        port = int.from_bytes(await reader.readexactly(2), "big")
        writer.write(b"\x05\x00\x00\x01" + bytes(6))
        return host, port


@asynccontextmanager
async def proxying(greet: Greet) -> AsyncIterator[Proxy]:
    """A proxy on a port of its own."""
    proxy = Proxy()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target = await greet(proxy, reader, writer)
        if target is None:
            writer.close()
            return
        proxy.asked.append(target)
        upstream = await asyncio.open_connection(*target)
        await asyncio.gather(pump(reader, upstream[1]), pump(upstream[0], writer))

    async with asyncio.timeout(10):
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        proxy.port = server.sockets[0].getsockname()[1]
        try:
            yield proxy
        finally:
            server.close()


@pytest.fixture
def app() -> App:
    app = App()

    @app.websocket("/echo")
    async def echo(message: str) -> str:
        return message

    return app


KINDS: dict[str, Greet] = {"http": Proxy.greet_http, "socks5": Proxy.greet_socks5, "socks5h": Proxy.greet_socks5}


@pytest.mark.parametrize("login", ["", "ada:p%3Aw@"])
@pytest.mark.parametrize("scheme", KINDS)
async def test_a_websocket_by_way_of_a_proxy(app: App, scheme: str, login: str) -> None:
    async with TestServer(app) as server, proxying(KINDS[scheme]) as proxy:
        url, way = f"{server.websocket_url}/echo", f"{scheme}://{login}127.0.0.1:{proxy.port}"
        async with open_connection(url, proxy=way) as connection:
            connection.send("Grüße")
            assert await connection.receive() == "Grüße"
        assert proxy.asked == [("127.0.0.1", server.port)]
        assert proxy.login == ("ada:p:w" if login else None)


async def test_tls_goes_through_to_the_server(app: App, certificate: tuple[str, str], trusting: ssl.SSLContext) -> None:
    async with (
        TestServer(app, ssl_certfile=certificate[0], ssl_keyfile=certificate[1]) as server,
        proxying(Proxy.greet_http) as proxy,
    ):
        way = f"http://127.0.0.1:{proxy.port}"
        async with WebSocket(f"{server.websocket_url}/echo", ssl=trusting, proxy=way) as ws:
            ws.send("secret")
            assert await anext(aiter(ws)) == "secret"
        with pytest.raises(ssl.SSLCertVerificationError):  # whoever sits in between is no server of ours
            await open_connection(f"{server.websocket_url}/echo", proxy=way)
        assert proxy.asked == [("127.0.0.1", server.port)] * 2


@pytest.mark.parametrize(("answer", "status"), [(b"HTTP/1.1 407 Login\r\n\r\n", 407), (b"what?\r\n\r\n", 0)])
async def test_a_proxy_that_refuses_is_a_failed_handshake(answer: bytes, status: int) -> None:
    async with proxying(Proxy.greet_http) as proxy:
        proxy.answer = answer
        with pytest.raises(HandshakeFailed, match="the proxy refused") as caught:
            await open_connection("ws://example.invalid/", proxy=f"http://127.0.0.1:{proxy.port}")
        assert caught.value.status == status
        assert proxy.asked == []


async def test_a_refusal_by_the_proxy_ends_connect_where_it_is_final() -> None:
    async with proxying(Proxy.greet_http) as proxy:
        proxy.answer = b"HTTP/1.1 403 Forbidden\r\n\r\n"
        with pytest.raises(HandshakeFailed, match="403"):
            async with connect("ws://example.invalid/", proxy=f"http://127.0.0.1:{proxy.port}"):
                pass


async def test_a_proxy_that_is_not_there_or_does_not_answer() -> None:
    stalled = asyncio.Event()

    async def stall(proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert b"CONNECT" in await reader.read()  # until the client hangs up
        stalled.set()

    with pytest.raises(OSError, match="Could not connect to proxy"):
        await open_connection("ws://example.invalid/", proxy="http://127.0.0.1:1")
    async with proxying(stall) as proxy:
        with pytest.raises(TimeoutError):
            await open_connection("ws://example.invalid/", proxy=f"http://127.0.0.1:{proxy.port}", open_timeout=0.1)
        await stalled.wait()


@pytest.mark.parametrize("url", ["", "https://h:1", "h:1", "http://h", "ftp://h:1", "http://:1", "http://h:1/x"])
def test_other_proxies_are_refused_at_once(url: str) -> None:
    if not url:
        assert choose_proxy(url, parse_url("ws://h/")) is None
        return
    with pytest.raises(ValueError, match="a proxy's URL"):
        open_connection("ws://h/", proxy=url)


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "python_socks.async_.asyncio", None)
    with pytest.raises(ConfigError, match=r"pip install 'wireloom\[proxy\]'"):
        open_connection("ws://h/", proxy="http://h:1")


ENVIRONMENT = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ws_proxy", "wss_proxy")


@pytest.mark.parametrize(
    ("environment", "url", "chosen"),
    [
        ({}, "ws://h/", None),
        ({"http_proxy": "http://a:1"}, "ws://h/", "http://a:1"),
        ({"http_proxy": "http://a:1"}, "wss://h/", None),
        ({"https_proxy": "b:2"}, "wss://h/", "http://b:2"),
        ({"all_proxy": "socks5h://c:3"}, "wss://h/", "socks5://c:3"),
        ({"ws_proxy": "http://d:4", "http_proxy": "http://a:1"}, "ws://h/", "http://d:4"),
        ({"http_proxy": "http://a:1", "no_proxy": "example.com"}, "ws://www.example.com/", None),
        ({"http_proxy": "http://a:1", "no_proxy": "*"}, "ws://h/", None),
    ],
)
@pytest.mark.parametrize("wanted", [True, None])
def test_the_environment_decides_where_it_is_asked(
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    url: str,
    chosen: str | None,
    wanted: Literal[True] | None,
) -> None:
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    proxy: Any = choose_proxy(wanted, parse_url(url))
    assert (proxy and proxy._url) == (chosen if wanted else None)
