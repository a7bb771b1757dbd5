"""A backplane by its URL. Law: no package of a server is imported before it is chosen."""

from __future__ import annotations

import importlib.util

from wireloom.errors import ConfigError, did_you_mean
from wireloom.hub.backplane.base import Backplane
from wireloom.hub.backplane.memory import MemoryBackplane

__all__ = ["make_backplane"]

_EXTRAS = {
    **dict.fromkeys(("redis", "rediss", "valkey", "valkeys", "unix"), "redis"),
    **dict.fromkeys(("nats", "tls"), "nats"),
}


def make_backplane(url: str, prefix: str) -> Backplane:
    """The backplane that a URL names, not yet connected.

    Args:
        url: ``memory``, ``redis://``, ``rediss://``, ``valkey://``, ``valkeys://``, ``unix://``, ``nats://`` or ``tls://``.
        prefix: put before every topic's name on the server.

    Raises:
        ConfigError: no such scheme, or the package for it is not installed.
    """
    if url == "memory":
        return MemoryBackplane()
    scheme, mark, _ = url.partition("://")
    extra = _EXTRAS.get(scheme.lower()) if mark else None
    if extra is None:
        raise ConfigError(_unknown(scheme if mark else ""))
    if importlib.util.find_spec(extra) is None:
        raise ConfigError(f"a backplane {scheme}:// needs the extra: pip install 'wireloom[{extra}]'")
    if extra == "redis":
        from wireloom.hub.backplane.redis import RedisBackplane

        return RedisBackplane(url, prefix)
    from wireloom.hub.backplane.nats import NatsBackplane

    return NatsBackplane(url, prefix)


def _unknown(scheme: str) -> str:
    """What is said of a URL without a known scheme; without one, nothing of it is repeated, it may be a password."""
    known = [f"{name}://" for name in _EXTRAS]
    nearest = did_you_mean(f"{scheme}://", known) if scheme else ""
    what = f"unknown backplane {scheme}://" if scheme else "the backplane is no URL"
    return f"{what}{nearest}" if nearest else f"{what}; write memory, {', '.join(known)}"
