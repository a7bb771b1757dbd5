"""Golden files: routes as they are written, beside what loading them must give, letter by letter."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from wireloom import App
from wireloom.config import Config
from wireloom.faces.routes import SUFFIXES
from wireloom.faces.routes.document import File
from wireloom.faces.routes.loading import RouteFiles, Served
from wireloom.faces.routes.report import RoutesInvalid
from wireloom.faces.routes.services import Services
from wireloom.faces.routes.stores.stores import Stores

FOLDER = Path(__file__).parent
BAD, GOOD = FOLDER / "bad", FOLDER / "good"


def sources(folder: Path) -> list[Path]:
    """The routes of a folder: files, and folders of files that are loaded together."""
    return sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES or path.is_dir())


def expected_beside(source: Path) -> Path:
    """Where it stands what a source must give."""
    return source.with_name(f"{source.stem}.{'report' if source.parent == BAD else 'compiled'}.txt")


def given_by(source: Path) -> str:
    """What a source gives: the report, or the description of what was compiled."""
    return (report if source.parent == BAD else description)(files_of(source))


def files_of(source: Path) -> list[File]:
    """The files of a source, by names that are the same everywhere."""
    found = sorted(source.iterdir()) if source.is_dir() else [source]
    return [File(path.name, path.read_bytes().decode()) for path in found]


def make_services() -> Services:
    """What a new application has for its routes."""
    stores = Stores(Config(routes_http_hosts=("api.example.com",)))

    async def refuse(*_: Any) -> Any:
        raise AssertionError("nothing runs here")

    return Services(stores.config, App().hub, stores.sql, stores.store, stores.outbound, refuse, refuse)


def load(files: list[File]) -> list[Served]:
    """Compiles the routes of files.

    Raises:
        RoutesInvalid: they cannot be.
    """
    return RouteFiles(files).compile(make_services())


def report(files: list[File]) -> str:
    """All problems of files, as the command line tells them; empty where there are none."""
    try:
        load(files)
    except RoutesInvalid as invalid:
        return "".join(f"{problem}\n" for problem in invalid.problems)
    return ""


def description(files: list[File]) -> str:
    """What the routes of files are compiled to."""
    return "\n".join(_described(served) for served in load(files))


def _described(served: Served) -> str:
    compiled = served.compiled
    lines = [f"route {served.route.name!r} ({served.route.source})"]
    for endpoint in served.endpoints:
        methods = f" {' '.join(endpoint.methods)}" if endpoint.methods else ""
        auth = " auth" if endpoint.authorize is not None else ""
        lines.append(f"  {endpoint.door.value}{methods} {endpoint.path}{auth}{' hidden' if endpoint.hidden else ''}")
    for name, hook in compiled.hooks.items():
        lines.append(f"  {name} {'waits' if hook.waits else 'does not wait'}")
    lines.append(f"  channels: {', '.join(compiled.channels) or 'none'}")
    lines += [f"  calls walker {name}" for name, _ in compiled.walkers]
    places = [f"  {number:>3} is {place.path} ({place.source})" for number, place in compiled.places.items()]
    code = compiled.source.splitlines()
    numbered = [f"{number:>4} {line}".rstrip() for number, line in enumerate(code, 1)]
    return "\n".join([*lines, *_runs(places), "", *numbered, ""])


def _runs(places: list[str]) -> list[str]:
    """Only the first line of each operation."""
    kept, before = [], ""
    for place in places:
        operation = re.sub(r"^\s*\d+", "", place)
        if operation != before:
            kept.append(place)
        before = operation
    return kept
