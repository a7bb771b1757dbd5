"""A server that is faster than the asynchronous listeners of its client."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from wireloom import WebSocket
from wireloom.clients import browser

from ..wire.oracle import frame
from .peer import TIMEOUT_SECONDS, Peer, serving

pytestmark = pytest.mark.anyio

COUNT = 3000
SIZE = 1000
MOST = browser._MAX_RUNNING + 2 * 256 * 1024 // SIZE  # and what the reads that were under way have brought


async def flood(peer: Peer) -> None:
    await peer.accept()
    peer.keep_little()
    with suppress(ConnectionError):
        for number in range(COUNT):
            peer.write(frame(0x81, f"{number:06d}".ljust(SIZE).encode(), None))
            if number % 100 == 0:
                await peer.writer.drain()
        peer.write(frame(0x88, b"\x03\xe8", None))
    await peer.read_end()


async def test_no_more_is_read_while_many_listeners_run_and_nothing_is_lost() -> None:
    started: list[int] = []
    ended: list[int] = []
    most, go = 0, asyncio.Event()

    async def listen(event: Any) -> None:
        nonlocal most
        started.append(int(event.data))
        await go.wait()
        most = max(most, len(ws._tasks))
        ended.append(int(event.data))

    async with serving(flood) as url:
        ws = WebSocket(url)
        ws.onmessage = listen
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while ws._connection is None or ws._connection._reading:  # noqa: ASYNC110
                await asyncio.sleep(0)
            before = len(ws._tasks)
            for _ in range(1000):
                await asyncio.sleep(0)
            assert before == len(ws._tasks) < MOST
            go.set()
            await ws.wait_closed()
            while ws._tasks:  # noqa: ASYNC110
                await asyncio.sleep(0)
    assert ended == started == list(range(COUNT))
    assert most < MOST


async def test_listeners_that_do_not_wait_hear_everything() -> None:
    seen = 0

    async def listen(event: Any) -> None:
        nonlocal seen
        seen += 1

    async with serving(flood) as url:
        ws = WebSocket(url)
        ws.onmessage = listen
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await ws.wait_closed()
            while ws._tasks:  # noqa: ASYNC110
                await asyncio.sleep(0)
    assert seen == COUNT


async def test_a_close_in_a_listener_ends_a_connection_that_does_not_read() -> None:
    async def listen(event: Any) -> None:
        if len(ws._tasks) >= browser._MAX_RUNNING - 1 and not closing:
            closing.append(True)
            ws.close()
        await over.wait()

    closing: list[bool] = []
    over = asyncio.Event()
    async with serving(flood) as url:
        ws = WebSocket(url)
        ws.onmessage = listen
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await ws.wait_closed()
        over.set()
    assert closing
