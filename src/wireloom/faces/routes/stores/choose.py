"""A key-value store by its URL. Law: no package of a server is imported before it is chosen."""

from __future__ import annotations

import importlib.util

from wireloom.errors import ConfigError, did_you_mean
from wireloom.faces.routes.stores.commands import KeyValueStore
from wireloom.faces.routes.stores.memory import MemoryStore

__all__ = ["make_store"]

_SCHEMES = ("redis", "rediss", "valkey", "valkeys", "unix")


def make_store(url: str) -> KeyValueStore:
    """The key-value store that a URL names, not yet connected.

    Args:
        url: ``memory``, ``redis://``, ``rediss://``, ``valkey://``, ``valkeys://`` or ``unix://``.

    Raises:
        ConfigError: no such scheme, a wrong URL, or the package for it is not installed.
    """
    if url == "memory":
        return MemoryStore()
    scheme, mark, _ = url.partition("://")
    if not mark or scheme not in _SCHEMES:
        raise ConfigError(_unknown(scheme if mark else ""))
    if importlib.util.find_spec("redis") is None:
        raise ConfigError(f"a key-value store {scheme}:// needs the extra: pip install 'wireloom[redis]'")
    from wireloom.faces.routes.stores.redis import RedisStore

    return RedisStore(url)


def _unknown(scheme: str) -> str:
    """What is said of a URL without a known scheme; without one, nothing of it is repeated, it may be a password."""
    known = [f"{name}://" for name in _SCHEMES]
    hint = did_you_mean(f"{scheme}://", known)
    what = f"unknown key-value store {scheme}://{hint}" if scheme else "no key-value store's URL"
    return f"{what}; write memory, {', '.join(known)}"
