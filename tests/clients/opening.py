"""Connections that are opened to raw servers, and how they ended."""

from __future__ import annotations

from typing import Any

import pytest

from wireloom.clients.connection import ClientConnection, open_connection
from wireloom.errors import ConnectionClosed, HandshakeFailed

from .peer import Script, serving


async def failure(script: Script, **options: Any) -> HandshakeFailed:
    async with serving(script) as url:
        with pytest.raises(HandshakeFailed) as caught:
            await open_connection(url, **options)
    return caught.value


async def opened(url: str) -> ClientConnection:
    return await open_connection(url)


async def end_of(connection: ClientConnection) -> tuple[list[str | bytes], int, str]:
    """The messages up to the end, and how it ended."""
    messages: list[str | bytes] = []
    with pytest.raises(ConnectionClosed) as caught:
        while True:
            messages.append(await connection.receive())
    assert (caught.value.code, caught.value.reason) == (connection.close_code, connection.close_reason)
    return messages, caught.value.code, caught.value.reason
