"""Loading: files and folders → routes that are checked and compiled. Law: all that is wrong is told, or nothing is."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from wireloom.core.endpoint import Endpoint
from wireloom.errors import ConfigError, ConfigErrors
from wireloom.faces.routes import SUFFIXES
from wireloom.faces.routes.compiler import Compiled, compile_hooks
from wireloom.faces.routes.document import MAX_CHARACTERS, File, Value, read
from wireloom.faces.routes.endpoints import make_endpoints, paths_of
from wireloom.faces.routes.report import MAX_PROBLEMS, Problem, RoutesInvalid, Spot
from wireloom.faces.routes.route import Route, read_route
from wireloom.faces.routes.services import Services

__all__ = ["RouteFiles", "Served", "read_routes", "shared_paths"]

_MAX_ROUTES = 10_000


@dataclass(frozen=True, slots=True)
class Served:
    """One route with what it was compiled to."""

    route: Route
    compiled: Compiled
    endpoints: tuple[Endpoint, ...]


class RouteFiles:
    """A declaration: the routes of some files.

    Args:
        files: their texts.
        targets: the files, and the folders where others may appear.
    """

    def __init__(self, files: Iterable[File], targets: Iterable[Path] = ()) -> None:
        self.files = tuple(files)
        self.targets = tuple(targets)
        self.routes, self.problems = _read_all(self.files)

    def __repr__(self) -> str:
        return f"<routes {', '.join(file.name for file in self.files)}>"

    def compile(self, services: Services) -> list[Served]:
        """The endpoints of all routes.

        Raises:
            RoutesInvalid: with everything that is wrong in any of the files.
        """
        problems, served = list(self.problems), []
        for route in self.routes:
            if _has_enough(problems, route.value):
                continue
            found = _compile(route, services)
            if isinstance(found, Served):
                served.append(found)
            else:
                problems += found
        problems += shared_paths(self.routes)
        if problems:
            raise RoutesInvalid(problems)
        return served


def read_routes(*targets: str | os.PathLike[str]) -> RouteFiles:
    """The routes of files, and of all files in folders and the folders within them.

    Raises:
        ConfigError: there is no such file or folder, or a folder has no route.
    """
    paths: dict[Path, None] = {}
    problems: list[ConfigError] = []
    for path in map(Path, targets):
        if path.is_dir():
            found = sorted(_within(path))
            if not found:
                problems.append(ConfigError(_without_routes(path)))
            paths |= dict.fromkeys(found)
        elif path.is_file():
            paths[path] = None
        else:
            problems.append(ConfigError(f"there is no file or folder {str(path)!r}"))
    if problems:
        raise ConfigErrors(problems)
    return RouteFiles(map(_open, paths), map(Path, targets))


def _without_routes(folder: Path) -> str:
    python = next(iter(sorted(folder.glob("*.py"))), None)
    hint = f"; to serve Python, name its file, such as {python}" if python is not None else ""
    return f"there is no .yaml, .yml or .json file in the folder {str(folder)!r}{hint}"


def _within(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix in SUFFIXES and path.is_file() and not hidden:
            yield path


def _open(path: Path) -> File:
    try:
        with path.open("rb") as file:
            return File(str(path), file.read(4 * MAX_CHARACTERS + 1).decode())
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        return File(str(path), "", f"the file is not UTF-8, in line {line}")
    except OSError as error:
        return File(str(path), "", f"the file cannot be read: {error.strerror}")


def _read_all(files: Iterable[File]) -> tuple[list[Route], list[Problem]]:
    routes: list[Route] = []
    problems: list[Problem] = []
    for file in files:
        try:
            documents = read(file)
        except Problem as problem:
            problems.append(problem)
            continue
        values = [item for value in documents for item in (value.items() if isinstance(value.data, list) else [value])]
        if not values:
            problems.append(Problem(Spot(file.name, 1, 1), "the file has no route"))
        for value in values:
            if _has_enough(problems, value):
                break
            route, found = read_route(value)
            routes.append(route)
            problems += found
    if len(routes) > _MAX_ROUTES:
        raise ConfigError(f"there are more than {_MAX_ROUTES} routes")
    return routes, problems


def _has_enough(problems: list[Problem], value: Value) -> bool:
    """Whether so much is wrong with a file that the rest of it is left for later."""
    return len(problems) >= MAX_PROBLEMS and problems[-MAX_PROBLEMS].spot.file == value.file.name


def _compile(route: Route, services: Services) -> Served | list[Problem]:
    facts = {"name": route.name, "path": route.path, "type": "Http" if route.is_http else "WebSocket"}
    compiled, problems = compile_hooks(
        services,
        route.name,
        route.hooks,
        is_http=route.is_http,
        channels=route.channels,
        message_kind="any" if route.binary == "json" else "text",
        facts=facts,
    )
    if compiled is None:
        return problems
    if not route.is_sound or not route.path:
        return []  # told by whoever read it
    try:
        return Served(route, compiled, tuple(make_endpoints(route, compiled, services)))
    except ConfigError as error:
        message = error.message.removeprefix(f"handler {route.name!r}: ")
        return [Problem(route.value.members()["message_schema"][1].spot(), message, f"route {route.name!r}")]


def shared_paths(routes: Iterable[Route]) -> Iterator[Problem]:
    """Routes that would be found by the same request. A WebSocket route answers every method at its path."""
    first: dict[str, dict[str, Route]] = {}
    for route in routes:
        shapes = list(map(_shape, paths_of(route.path))) if route.path else []
        methods = route.methods if route.is_http else _EVERY_METHOD
        known = [first.get(shape, {}) for shape in shapes]
        clashing = [
            other
            for others in known
            for method, other in others.items()
            if not route.is_http or method in (*methods, *_EVERY_METHOD)
        ]
        for other in dict.fromkeys(clashing):
            written = route.value.members()["path"][1]
            spot = written.spot()
            message = f"the path {written.data!r} is that of route {other.name!r} ({other.source}) already"
            yield Problem(spot, message, f"route {route.name!r}")
        for shape in shapes:
            for method in methods:
                first.setdefault(shape, {}).setdefault(method, route)


_EVERY_METHOD = ("",)


def _shape(path: str) -> str:
    return "/".join("{}" if part.startswith("{") else part for part in path.split("/"))
