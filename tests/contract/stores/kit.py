"""A key-value store, and keys of a test's own."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from wireloom.faces.routes.failure import Failure
from wireloom.faces.routes.stores.commands import KeyValueStore

__all__ = ["MIB", "PASSWORD", "SECONDS", "Place"]

SECONDS = 30
PASSWORD = "pass-word-1"
MIB = 1024 * 1024
_names = (f"test{number}" for number in itertools.count())


class Place:
    """A started store, and keys of the test's own."""

    def __init__(self, store: KeyValueStore, pass_time: Callable[[float], None] | None = None) -> None:
        self.store = store
        self.name = next(_names)
        self._pass_time = pass_time

    async def run(self, command: str, key: Any = "key", *value: Any, **fields: Any) -> Any:
        """Runs a command on a key; a second argument is the value."""
        given = dict(zip(("value",), value, strict=False)) | fields
        return await self.store.run(command, {"key": f"{self.name}:{key}", **given})

    async def refused(self, command: str, *arguments: Any, **fields: Any) -> tuple[str, str]:
        with pytest.raises(Failure) as caught:
            await self.run(command, *arguments, **fields)
        assert caught.value.__cause__ is None and "\n" not in caught.value.message
        return caught.value.code, caught.value.message

    async def ends_between(self, low: float, high: float, key: str) -> bool:
        """Whether a key has an end that comes within these seconds."""
        if self._pass_time is not None:
            self._pass_time(low)
            await self.run("SET", "other", "x")  # a write clears away what has expired
            stays = await self.run("EXISTS", key)
            self._pass_time(high - low)
            return bool(stays) and not await self.run("EXISTS", key)
        milliseconds = await self.store._client.pttl(f"{self.name}:{key}")  # type: ignore[attr-defined]
        return bool(low * 1000 < milliseconds <= high * 1000)

    async def wait_out(self, seconds: float) -> None:
        """Waits until a key has vanished that lives so long."""
        if self._pass_time is not None:
            self._pass_time(seconds)
            return
        await self.run("SET", "canary", "alive", ttl_seconds=seconds)
        with anyio.fail_after(SECONDS):
            while await self.run("EXISTS", "canary"):
                await anyio.lowlevel.checkpoint()
