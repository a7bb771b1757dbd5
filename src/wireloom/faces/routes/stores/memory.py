"""MemoryStore: the key-value store within this process.

Laws:
- It gives what Redis gives. Nobody subscribes to it, and it is gone when the process ends.
- It is bounded: a write that would go beyond ``max_bytes`` changes nothing.
- What has expired is never seen, and no write spends long on clearing it away.
"""

from __future__ import annotations

import heapq
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

from wireloom.faces.routes.expressions.values import BITS_64
from wireloom.faces.routes.stores.commands import not_whole, read_call, store_full, wrong_type

__all__ = ["MemoryStore"]

_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,18}")  # what Redis takes for a number
_SWEPT = 20  # expired keys that one write clears away
_KEY_BYTES = 200  # what a key costs beside its text, about
_ITEM_BYTES = 80  # what any other text does


@dataclass(slots=True)
class _Entry:
    """What a key holds: a text, a hash, a list (its first item last) or a set."""

    value: Any
    size: int = 0
    expires: float = inf


class MemoryStore:
    """Keys, and what they hold.

    Args:
        max_bytes: of keys and values, roughly.
        clock: gives seconds.
    """

    def __init__(self, *, max_bytes: int = 64 * 1024 * 1024, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_bytes = max_bytes
        self._clock = clock
        self._now = clock()
        self._entries: dict[str, _Entry] = {}
        self._expiring = 0
        self._due: list[tuple[float, str]] = []  # a heap; what is no longer true of it is skipped
        self._bytes = 0

    @property
    def used_bytes(self) -> int:
        """What keys and values take, roughly."""
        return self._bytes

    async def stop(self) -> None:
        """There is nothing to do; what is kept stays."""

    async def run(self, command: str, arguments: Mapping[str, Any]) -> Any:
        """Runs a command (`KeyValueStore.run`)."""
        name, read = read_call(command, arguments)
        self._now = self._clock()
        return getattr(self, f"_{name.lower()}")(**read)

    # -- commands, by their names --------------------------------------------------------------------------------------

    def _get(self, key: str) -> str | None:
        entry = self._find(key, str, "GET")
        return entry.value if entry else None

    def _set(self, key: str, value: str, ttl: int | None = None) -> bool:
        before = self._find(key)
        self._make_room(_cost(key, _KEY_BYTES) + _cost(value) - (before.size if before else 0))
        self._remove(key)
        entry = _Entry(value)
        self._keep(key, entry, _cost(value))
        if ttl is not None:
            self._let_expire(key, entry, ttl)
        return True

    def _del(self, key: str) -> int:
        return int(self._find(key) is not None and self._remove(key))

    def _expire(self, key: str, ttl: int) -> bool:
        entry = self._find(key)
        if entry is None:
            return False
        if ttl <= 0:
            return self._remove(key)
        self._let_expire(key, entry, ttl)
        return True

    def _incr(self, key: str) -> int:
        return self._add(key, 1, "INCR")

    def _decr(self, key: str) -> int:
        return self._add(key, -1, "DECR")

    def _exists(self, key: str) -> int:
        return int(self._find(key) is not None)

    def _hget(self, key: str, field: str) -> str | None:
        entry = self._find(key, dict, "HGET")
        return entry.value.get(field) if entry else None

    def _hset(self, key: str, fields: dict[str, str]) -> int:
        entry = self._find(key, dict, "HSET") or _Entry({})
        hash_: dict[str, str] = entry.value
        new = [name for name in fields if name not in hash_]
        growth = sum(_cost(text) - (_cost(hash_[name]) if name in hash_ else 0) for name, text in fields.items())
        self._keep(key, entry, growth + _costs(new))
        hash_.update(fields)
        return len(new)

    def _hgetall(self, key: str) -> dict[str, str]:
        entry = self._find(key, dict, "HGETALL")
        return dict(entry.value) if entry else {}

    def _lpush(self, key: str, items: list[str]) -> int:
        entry = self._find(key, list, "LPUSH") or _Entry([])
        self._keep(key, entry, _costs(items))
        entry.value.extend(items)
        return len(entry.value)

    def _lrange(self, key: str, start: int = 0, stop: int = -1) -> list[str]:
        entry = self._find(key, list, "LRANGE")
        if entry is None:
            return []
        length = len(entry.value)
        first = max(start + length if start < 0 else start, 0)
        last = min(stop + length if stop < 0 else stop, length - 1)
        kept_backwards: list[str] = entry.value[length - 1 - last : length - first] if first <= last else []
        return kept_backwards[::-1]

    def _sadd(self, key: str, items: list[str]) -> int:
        entry = self._find(key, set, "SADD") or _Entry(set())
        new = set(items) - entry.value
        self._keep(key, entry, _costs(new))
        entry.value.update(new)
        return len(new)

    def _smembers(self, key: str) -> list[str]:
        entry = self._find(key, set, "SMEMBERS")
        return sorted(entry.value) if entry else []

    def _publish(self, key: str, value: str) -> int:
        return 0

    # -- keeping -------------------------------------------------------------------------------------------------------

    def _add(self, key: str, by: int, command: str) -> int:
        entry = self._find(key, str, command)
        before = "0" if entry is None else entry.value
        if not _WHOLE.fullmatch(before) or int(before) not in BITS_64 or int(before) + by not in BITS_64:
            raise not_whole(command)
        after = str(int(before) + by)
        self._keep(key, entry or _Entry(""), _cost(after) - (_cost(before) if entry else 0))
        self._entries[key].value = after
        return int(after)

    def _find(self, key: str, kind: type | None = None, command: str = "") -> _Entry | None:
        entry = self._entries.get(key)
        if entry is not None and entry.expires <= self._now:
            self._remove(key)
            return None
        if entry is not None and kind is not None and not isinstance(entry.value, kind):
            raise wrong_type(command)
        return entry

    def _keep(self, key: str, entry: _Entry, growth: int) -> None:
        """Keeps a key that may be new and is about to grow.

        Raises:
            Failure: ``STORE_FULL``.
        """
        if key not in self._entries:
            growth += _cost(key, _KEY_BYTES)
        self._make_room(growth)
        self._entries[key] = entry
        entry.size += growth
        self._bytes += growth

    def _remove(self, key: str) -> bool:
        entry = self._entries.pop(key, None)
        if entry is None:
            return False
        self._bytes -= entry.size
        self._expiring -= entry.expires != inf
        return True

    # -- expiring ------------------------------------------------------------------------------------------------------

    def _let_expire(self, key: str, entry: _Entry, ttl: int) -> None:
        self._expiring += entry.expires == inf
        entry.expires = self._now + ttl / 1000
        heapq.heappush(self._due, (entry.expires, key))
        if len(self._due) > 2 * self._expiring + _SWEPT:  # most of it is no longer true
            self._due = [(entry.expires, key) for key, entry in self._entries.items() if entry.expires != inf]
            heapq.heapify(self._due)

    def _make_room(self, growth: int) -> None:
        self._sweep(_SWEPT)
        if growth > 0 and self._bytes + growth > self._max_bytes:
            self._sweep(len(self._due))
            if self._bytes + growth > self._max_bytes:
                raise store_full()

    def _sweep(self, count: int) -> None:
        for _ in range(count):
            if not self._due or self._due[0][0] > self._now:
                return
            expires, key = heapq.heappop(self._due)
            entry = self._entries.get(key)
            if entry is not None and entry.expires == expires:
                self._remove(key)


def _cost(text: str, beside: int = _ITEM_BYTES) -> int:
    return beside + len(text) * (1 if text.isascii() else 4)


def _costs(texts: Iterable[str]) -> int:
    return sum(map(_cost, texts))
