"""Router: from a path to its endpoint and raw parameters. Static paths win over parameters, segment by segment.

Several endpoints may have one path, where each has HTTP methods of its own. One endpoint may take what no other does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote

from wireloom.core.endpoint import ANY_PATH, Endpoint
from wireloom.errors import ConfigError

__all__ = ["Router", "parameter_names"]

_PARAMETER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}\Z")


class _Branch:
    """One segment's continuations."""

    __slots__ = ("any", "ends", "segments")

    def __init__(self) -> None:
        self.segments: dict[str, _Branch] = {}
        self.any: _Branch | None = None
        self.ends: list[tuple[Endpoint, list[str]]] = []  # endpoints with the names of their parameters

    def choose(self, method: str) -> tuple[Endpoint, list[str]]:
        """The endpoint that has a method; where none has, the first. HEAD is asked of the endpoint of GET."""
        wanted = (method, "GET") if method == "HEAD" else (method,)
        return next((end for each in wanted for end in self.ends if each in end[0].methods), self.ends[0])


class Router:
    """The endpoints of one door by path."""

    def __init__(self) -> None:
        self._root = _Branch()
        self._rest = _Branch()  # ends with what takes any path
        self._static: dict[str, _Branch] = {}
        self._endpoints: list[Endpoint] = []

    def __iter__(self) -> Iterator[Endpoint]:
        return iter(self._endpoints)

    def add(self, endpoint: Endpoint) -> None:
        """Adds an endpoint.

        Raises:
            ConfigError: the template is malformed, or another endpoint has the same path.
        """
        names = [] if endpoint.takes_any_path else parameter_names(endpoint.path, endpoint.source)
        branch = self._branch(endpoint.path)
        for other, _ in branch.ends:
            if not endpoint.methods or not other.methods or set(endpoint.methods) & set(other.methods):
                raise ConfigError(
                    f"{endpoint.path!r} is already served by {other.name!r} ({other.source})", endpoint.source
                )
        branch.ends.append((endpoint, names))
        self._endpoints.append(endpoint)
        if not names:
            self._static[endpoint.path] = branch

    def _branch(self, path: str) -> _Branch:
        """The end of a template."""
        if path == ANY_PATH:
            return self._rest
        branch = self._root
        for segment in path.split("/")[1:]:
            if segment.startswith("{"):
                branch.any = branch = branch.any or _Branch()
            else:
                branch = branch.segments.setdefault(segment, _Branch())
        return branch

    def match(self, path: str, method: str = "") -> tuple[Endpoint, dict[str, str]] | None:
        """The endpoint of a percent-encoded path with its parameters, decoded; None when there is none.

        Args:
            method: decides where several endpoints have the path.
        """
        branch = self._static.get(path)
        if branch is not None:
            return branch.choose(method)[0], {}
        found = self._walk(self._root, path.split("/")[1:], 0, [])
        if found is None:
            return (self._rest.choose(method)[0], {}) if self._rest.ends else None
        endpoint, names = found[0].choose(method)
        return endpoint, dict(zip(names, found[1], strict=True))

    def methods(self, path: str) -> list[str]:
        """The HTTP methods of all endpoints of a template."""
        return [method for endpoint, _ in self._branch(path).ends for method in endpoint.methods]

    def _walk(
        self, branch: _Branch, segments: list[str], index: int, values: list[str]
    ) -> tuple[_Branch, list[str]] | None:
        if index == len(segments):
            return (branch, values) if branch.ends else None
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
