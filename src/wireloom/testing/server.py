"""TestServer: an application on a real port of its own, in the event loop of the test."""

from __future__ import annotations

import asyncio
import json
import ssl as tls
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from wireloom.app import App
from wireloom.clients.connection import ClientConnection, open_connection
from wireloom.errors import ConnectionClosed
from wireloom.net.server import LoopServer, bind, uvicorn_config

if TYPE_CHECKING:
    import httpx

__all__ = ["TestServer", "TestWebSocket"]


class TestServer:
    """A server on a free loopback port: ``async with TestServer(app) as server``.

    Args:
        app: the application.
        timeout: seconds that its clients wait for something before they fail.
        port: 0 for a free one.
        ssl_certfile: certificate chain in PEM; turns TLS on.
        ssl_keyfile: its private key.
    """

    __test__ = False  # not a test, whatever pytest makes of the name

    def __init__(
        self,
        app: App,
        *,
        timeout: float = 10.0,
        port: int = 0,
        ssl_certfile: str | None = None,
        ssl_keyfile: str | None = None,
    ) -> None:
        self.app = app
        self.timeout = timeout
        self.port = port
        self._certificate = ssl_certfile
        self._key = ssl_keyfile
        self._stack = AsyncExitStack()
        self._http: httpx.AsyncClient | None = None
        self._server: LoopServer | None = None

    async def __aenter__(self) -> Self:
        options = replace(
            self.app.config,
            host="127.0.0.1",
            port=self.port,
            ssl_certfile=self._certificate,
            ssl_keyfile=self._key,
            drain_timeout_seconds=5,
        )
        sockets = bind(options)
        self.port = sockets[0].getsockname()[1]
        server = self._server = LoopServer(uvicorn_config(self.app, options), sockets)
        await server.start()
        self._stack.push_async_callback(server.stop)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    @property
    def url(self) -> str:
        """Where HTTP is served, without a slash at the end."""
        return f"http{'s' if self._certificate else ''}://127.0.0.1:{self.port}"

    @property
    def websocket_url(self) -> str:
        """Where WebSockets are served, without a slash at the end."""
        return f"ws{'s' if self._certificate else ''}://127.0.0.1:{self.port}"

    @property
    def http(self) -> httpx.AsyncClient:
        """An HTTP client of this server (package ``httpx``)."""
        if self._http is None:
            import httpx

            self._http = httpx.AsyncClient(base_url=self.url, timeout=self.timeout, verify=self._client_tls() or True)
            self._stack.push_async_callback(self._http.aclose)
        return self._http

    def websocket(
        self,
        path: str,
        *,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        subprotocols: Sequence[str] = (),
        timeout: float | None = None,
    ) -> TestWebSocket:
        """A client of one endpoint: ``async with server.websocket("/chat/lobby") as ws``."""
        opening = open_connection(
            self.websocket_url + path,
            headers=headers,
            subprotocols=subprotocols,
            ssl=self._client_tls(),
            open_timeout=10,
        )
        return TestWebSocket(opening, path, self.timeout if timeout is None else timeout)

    def shutdown(self) -> None:
        """Begins to stop, as SIGTERM does; leaving the context waits for the end."""
        assert self._server is not None
        self._server.begin_stop()

    def _client_tls(self) -> tls.SSLContext | None:
        return tls.create_default_context(cafile=self._certificate) if self._certificate else None


class TestWebSocket:
    """A client whose every wait has a time-out that says what was awaited and what came instead.

    Made by `TestServer.websocket`.
    """

    __test__ = False

    def __init__(self, opening: open_connection, path: str, timeout: float) -> None:
        self._opening = opening
        self._path = path
        self._timeout = timeout
        self._connection: ClientConnection | None = None

    async def __aenter__(self) -> Self:
        self._connection = await self._opening
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.connection.close()

    @property
    def connection(self) -> ClientConnection:
        """The client connection underneath."""
        assert self._connection is not None, "use it as: async with server.websocket(path) as ws"
        return self._connection

    @property
    def subprotocol(self) -> str | None:
        """What the server chose."""
        return self.connection.subprotocol

    @property
    def close_code(self) -> int | None:
        """The code that ended the connection, None while it is open."""
        return self.connection.close_code

    @property
    def close_reason(self) -> str:
        """The reason that came with it."""
        return self.connection.close_reason

    async def send_text(self, text: str) -> None:
        """Sends a text message."""
        self.connection.send(text)

    async def send_bytes(self, data: bytes) -> None:
        """Sends a binary message."""
        self.connection.send(bytes(data))

    async def send_json(self, value: Any) -> None:
        """Sends a value as JSON text."""
        self.connection.send(json.dumps(value, ensure_ascii=False, separators=(",", ":")))

    async def receive(self, timeout: float | None = None) -> str | bytes:
        """The next message of either kind."""
        return await self._receive("a message", timeout)

    async def receive_text(self, timeout: float | None = None) -> str:
        """The next message, which must be text."""
        message = await self._receive("a text message", timeout)
        if not isinstance(message, str):
            raise AssertionError(f"{self._path}: awaited a text message, got {len(message)} bytes: {message[:80]!r}")
        return message

    async def receive_bytes(self, timeout: float | None = None) -> bytes:
        """The next message, which must be binary."""
        message = await self._receive("a binary message", timeout)
        if not isinstance(message, bytes):
            raise AssertionError(f"{self._path}: awaited a binary message, got text: {message[:80]!r}")
        return message

    async def receive_json(self, timeout: float | None = None) -> Any:
        """The value of the next message, which must be JSON."""
        message = await self._receive("a JSON message", timeout)
        try:
            return json.loads(message)
        except ValueError:
            raise AssertionError(f"{self._path}: awaited JSON, got {message[:80]!r}") from None

    async def expect_nothing(self, seconds: float) -> None:
        """Fails when a message comes within so many seconds, or the connection ends."""
        try:
            message = await asyncio.wait_for(self.connection.receive(), seconds)
        except TimeoutError:
            return
        except ConnectionClosed as error:
            raise AssertionError(f"{self._path}: awaited nothing, but the {error}") from None
        raise AssertionError(f"{self._path}: awaited nothing, got {message[:80]!r}")

    async def wait_closed(self, timeout: float | None = None) -> int:
        """Waits for the end and gives its close code; messages that come before it are dropped."""
        seconds = self._timeout if timeout is None else timeout
        try:
            async with asyncio.timeout(seconds):
                while True:
                    await self.connection.receive()
        except ConnectionClosed as error:
            return error.code
        except TimeoutError:
            raise AssertionError(f"{self._path}: awaited the end for {seconds} s, the connection is open") from None

    async def close(self, code: int | None = 1000, reason: str = "") -> None:
        """Closes with a closing handshake."""
        await self.connection.close(code, reason)

    async def _receive(self, what: str, timeout: float | None) -> str | bytes:
        seconds = self._timeout if timeout is None else timeout
        try:
            return await asyncio.wait_for(self.connection.receive(), seconds)
        except TimeoutError:
            raise AssertionError(f"{self._path}: awaited {what} for {seconds} s, nothing came") from None
        except ConnectionClosed as error:
            raise AssertionError(f"{self._path}: awaited {what}, but the {error}") from error
