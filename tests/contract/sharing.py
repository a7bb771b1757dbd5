"""Servers that the tests of a module share: of a hundred tests with the same options, one starts it."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar

__all__ = ["BACKEND", "sharing"]

T = TypeVar("T")
BACKEND: tuple[str, dict[str, Any]] = "asyncio", {"use_uvloop": sys.platform != "win32"}
"""What `anyio_backend` is for a module whose servers outlive a test."""


@asynccontextmanager
async def sharing(
    make: Callable[..., AbstractAsyncContextManager[T]],
) -> AsyncIterator[Callable[..., Awaitable[T]]]:
    """Gives what `make` makes of some options, to all who ask for the same; all of it ends with the block."""
    made: dict[str, T] = {}

    async def get(**options: Any) -> T:
        key = str(options)
        if key not in made:
            made[key] = await stack.enter_async_context(make(**options))
        return made[key]

    async with AsyncExitStack() as stack:
        yield get
