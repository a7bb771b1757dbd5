"""What tests of declarative routes share: routes of texts on a real server, clients, and the log."""

from __future__ import annotations

import asyncio
import itertools
import logging
import textwrap
from collections.abc import AsyncIterator, Awaitable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from wireloom import App
from wireloom.testing import TestServer, TestWebSocket

__all__ = [
    "Served",
    "application",
    "failures",
    "http_route",
    "log_lines",
    "serving",
    "socket_route",
    "soon",
    "warnings",
]

T = TypeVar("T")

_numbers = itertools.count()


def soon(awaitable: Awaitable[T]) -> Awaitable[T]:
    """What must come within a time that no test should need."""
    return asyncio.wait_for(awaitable, 5)


def application(
    folder: Path, *texts: str, declarations: Iterable[Any] = (), suffix: str = ".yaml", **chosen: Any
) -> App:
    """An application with the routes of some texts, each a file of its own."""
    routes = folder / f"routes{next(_numbers)}"
    routes.mkdir()
    for number, text in enumerate(texts):
        Path(routes, f"{number}{suffix}").write_text(textwrap.dedent(text), encoding="utf-8")
    chosen.setdefault("database", f"sqlite:///{folder}/users.db")
    chosen.setdefault("routes_database", f"sqlite:///{folder}/routes.db")
    app = App(declarations, **chosen)
    app.add_routes(routes)
    return app


class Served:
    """A running application and its clients, which end with it."""

    def __init__(self, server: TestServer, stack: AsyncExitStack) -> None:
        self.server = server
        self.app = server.app
        self.http = server.http
        self._stack = stack

    async def connect(self, path: str = "/ws", **options: Any) -> TestWebSocket:
        """A client that stays until the end of the test, or until it is closed."""
        return await self._stack.enter_async_context(self.server.websocket(path, **options))

    async def ask(self, message: Any = "", path: str = "/ws") -> str:
        """What one message is answered with, on a connection of its own."""
        async with self.server.websocket(path) as ws:
            if isinstance(message, bytes):
                await ws.send_bytes(message)
            else:
                await ws.send_text(message)
            return await ws.receive_text()

    async def members(self, path: str, count: int) -> list[TestWebSocket]:
        """Some clients of one path."""
        return [await self.connect(path) for _ in range(count)]

    def channels(self) -> list[frozenset[str]]:
        """The channels of every open connection of routes, in the order in which they came."""
        return [connection.channels for connection in self.app._visits]

    async def until(self, done: Any) -> None:
        """Waits until something holds, turn by turn of the event loop."""

        async def turns() -> None:
            while not done():  # noqa: ASYNC110 - what is looked at tells nobody when it changes
                await asyncio.sleep(0)

        await soon(turns())


@asynccontextmanager
async def serving(folder: Path, *texts: str, **options: Any) -> AsyncIterator[Served]:
    """A real server with the routes of some texts."""
    async with TestServer(application(folder, *texts, **options)) as server, AsyncExitStack() as stack:
        yield Served(server, stack)


def socket_route(
    on_message: str = "", *, path: str = "/ws", on_connect: str = "", on_disconnect: str = "", more: str = ""
) -> str:
    """The YAML of a WebSocket route of its hooks' operations."""
    hooks = {"on_connect": on_connect, "on_message": on_message, "on_disconnect": on_disconnect}
    lines = [f"name: Test {path}", f"path: {path}", "route_type: WebSocket", textwrap.dedent(more).strip(), "ws_hooks:"]
    for name, operations in hooks.items():
        if operations:
            lines += [f"  {name}:", textwrap.indent(textwrap.dedent(operations).strip(), "    ")]
    if not any(hooks.values()):
        lines[-1] = "ws_hooks: {}"
    return "\n".join(line for line in lines if line) + "\n"


def http_route(logic: str, *, path: str = "/http", more: str = "") -> str:
    """The YAML of an HTTP route of its operations."""
    head = [f"name: Test {path}", f"path: {path}", "route_type: Http", textwrap.dedent(more).strip(), "logic:"]
    return "\n".join(line for line in [*head, textwrap.indent(textwrap.dedent(logic).strip(), "  ")] if line) + "\n"


def log_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What routes have written to the log, without the route and connection before it."""
    records = [record for record in caplog.records if record.name == "wireloom.routes" and not hasattr(record, "hook")]
    return [record.getMessage().split(": ", 1)[1] for record in records]


def failures(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """The failures of hooks that the log tells of."""
    return [record for record in caplog.records if record.name == "wireloom.routes" and hasattr(record, "hook")]


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Everything in the log that is a warning or worse."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def load_problem(folder: Path, text: str, **options: Any) -> str:
    """Why a text cannot be loaded."""
    from wireloom import ConfigError

    with pytest.raises(ConfigError) as caught:
        app = application(folder, text, **options)
        app.check()
    return str(caught.value)
