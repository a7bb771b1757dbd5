"""Actions: the endpoints that are reached by a name of their own instead of a path."""

from __future__ import annotations

from collections.abc import Iterator

from wireloom.core.endpoint import Endpoint
from wireloom.errors import ConfigError

__all__ = ["Actions"]


class Actions:
    """The endpoints of the event door by name."""

    def __init__(self) -> None:
        self._endpoints: dict[str, Endpoint] = {}

    def __iter__(self) -> Iterator[Endpoint]:
        return iter(self._endpoints.values())

    def add(self, endpoint: Endpoint) -> None:
        """Adds an endpoint.

        Raises:
            ConfigError: another one has the same name.
        """
        other = self._endpoints.setdefault(endpoint.name, endpoint)
        if other is not endpoint:
            raise ConfigError(f"the event {endpoint.name!r} is taken already ({other.source})", endpoint.source)

    def find(self, name: str) -> Endpoint | None:
        """The endpoint of a name; None when there is none."""
        return self._endpoints.get(name)
