"""Router: from a path to its endpoint and raw parameters. Static paths win over parameters, segment by segment."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote

from wireloom.core.endpoint import Endpoint
from wireloom.errors import ConfigError

__all__ = ["Router", "parameter_names"]

_PARAMETER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}\Z")


class _Branch:
    """One segment's continuations."""

    __slots__ = ("any", "endpoint", "names", "segments")

    def __init__(self) -> None:
        self.segments: dict[str, _Branch] = {}
        self.any: _Branch | None = None
        self.endpoint: Endpoint | None = None
        self.names: list[str] = []


class Router:
    """The endpoints of one door by path."""

    def __init__(self) -> None:
        self._root = _Branch()
        self._static: dict[str, Endpoint] = {}
        self._endpoints: list[Endpoint] = []

    def __iter__(self) -> Iterator[Endpoint]:
        return iter(self._endpoints)

    def add(self, endpoint: Endpoint) -> None:
        """Adds an endpoint.

        Raises:
            ConfigError: the template is malformed, or another endpoint has the same path.
        """
        names = parameter_names(endpoint.path, endpoint.source)
        branch = self._root
        for segment in endpoint.path.split("/")[1:]:
            if segment.startswith("{"):
                branch.any = branch = branch.any or _Branch()
            else:
                branch = branch.segments.setdefault(segment, _Branch())
        if branch.endpoint is not None:
            raise ConfigError(
                f"{endpoint.path!r} is already served by {branch.endpoint.name!r} ({branch.endpoint.source})",
                endpoint.source,
            )
        branch.endpoint, branch.names = endpoint, names
        self._endpoints.append(endpoint)
        if not names:
            self._static[endpoint.path] = endpoint

    def match(self, path: str) -> tuple[Endpoint, dict[str, str]] | None:
        """The endpoint of a percent-encoded path with its parameters, decoded; None when there is none."""
        endpoint = self._static.get(path)
        if endpoint is not None:
            return endpoint, {}
        found = self._walk(self._root, path.split("/")[1:], 0, [])
        if found is None or found[0].endpoint is None:
            return None
        return found[0].endpoint, dict(zip(found[0].names, found[1], strict=True))

    def _walk(
        self, branch: _Branch, segments: list[str], index: int, values: list[str]
    ) -> tuple[_Branch, list[str]] | None:
        if index == len(segments):
            return (branch, values) if branch.endpoint is not None else None
        segment = unquote(segments[index])
        static = branch.segments.get(segment)
        found = self._walk(static, segments, index + 1, values) if static is not None else None
        if found is None and branch.any is not None and segment:
            found = self._walk(branch.any, segments, index + 1, [*values, segment])
        return found


def parameter_names(path: str, source: str = "") -> list[str]:
    """The names of a template's parameters, in order.

    Raises:
        ConfigError: no leading slash, a parameter that is not a whole segment, or a name used twice.
    """
    if not path.startswith("/"):
        raise ConfigError(f"the path {path!r} must begin with a slash", source)
    names = []
    for segment in path.split("/")[1:]:
        match = _PARAMETER.match(segment)
        if match:
            names.append(match[1])
        elif "{" in segment or "}" in segment:
            raise ConfigError(f"in the path {path!r}, {segment!r} must be a whole segment such as {{room}}", source)
    if len(set(names)) < len(names):
        raise ConfigError(f"the path {path!r} names a parameter twice", source)
    return names
