"""What is said in every conversation between our code and that of others, both ways."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from tests.node import NodePackage

__all__ = ["CLOSE", "MESSAGES", "SECONDS", "expected_of_node", "node", "soon", "trusting"]

T = TypeVar("T")
SECONDS = 20.0
FOLDER = Path(__file__).parent
CLOSE = (4001, "done")
# empty, short, of each length of the length field, repetitive and not, beyond ASCII
MESSAGES: list[str | bytes] = [
    "",
    "Grüße, 世界, 😀",
    b"",
    bytes(range(256)),
    "the same " * 50,
    "the same " * 50,
    "€" * 60_000,
    bytes(number * number % 251 for number in range(200_000)),
]


async def soon(waited: Awaitable[T]) -> T:
    """What is awaited, within the time."""
    return await asyncio.wait_for(waited, SECONDS)


def trusting(certificate: str | None) -> ssl.SSLContext | None:
    """A client's TLS that believes this certificate; None for none."""
    return ssl.create_default_context(cafile=certificate) if certificate else None


@asynccontextmanager
async def node(package: NodePackage, script: str, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A script of this folder, run by Node; ended with the context."""
    process = await asyncio.create_subprocess_exec(
        package.node,
        str(FOLDER / script),
        *arguments,
        env=package.environment,
        stdout=asyncio.subprocess.PIPE,
        stdin=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def expected_of_node() -> list[Any]:
    """The messages as the scripts get them: texts, and bytes as lists of numbers."""
    return json.loads(json.dumps([m if isinstance(m, str) else list(m) for m in MESSAGES]))
