"""Targets: what the command line names becomes one App.

Law: a mistake in a target is told with the target's own file and line; no frame of ours is shown.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import sys
import sysconfig
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from wireloom import App, CallbackHandler, EventHandler, Server, Walker, WebSocketHandler
from wireloom.doors import Declaration, is_of_routes, is_runnable
from wireloom.errors import ConfigError, ConfigErrors, did_you_mean

__all__ = ["Assembly", "ImportFailed", "assemble", "failed", "find_own", "importing", "is_foreign", "load_app"]


class ImportFailed(ConfigError):
    """A target's own code raised while it was imported, or while its application started.

    Args:
        error: what it raised.
        source: where.
    """

    def __init__(self, error: BaseException, source: str) -> None:
        super().__init__(_last_line(error), source)
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None and is_foreign(trace.tb_frame.f_code.co_filename):
            trace = trace.tb_next
        self.traceback = "".join(traceback.format_exception(type(error), error, trace))


@dataclass(slots=True)
class Assembly:
    """All targets together.

    Attributes:
        app: serves everything that could be loaded.
        problems: why it must not be started.
        notes: what is probably not meant, but works.
        modules: what the targets were imported as.
    """

    app: App
    problems: list[ConfigError] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    modules: list[ModuleType] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Found:
    """What one target holds: an App, or declarations without one."""

    target: str
    app: App | None = None
    declarations: tuple[Declaration, ...] = ()
    loose: tuple[Declaration, ...] = ()  # declared beside the App


def load_app(targets: Sequence[str]) -> Assembly:
    """The App of all targets: the one that is found in them, with the declarations of the others; else a new one.

    Args:
        targets: ``module``, ``module:name``, ``file.py``, ``file.py:name``, a file of declarative routes, or a folder
            of such files.

    Raises:
        ConfigError: all that is wrong.
    """
    assembly = assemble(targets)
    if len(assembly.problems) == 1:
        raise assembly.problems[0]
    if assembly.problems:
        raise ConfigErrors(assembly.problems)
    return assembly


def assemble(targets: Sequence[str]) -> Assembly:
    """As `load_app`, with every problem instead of the first."""
    problems: list[ConfigError] = []
    found: list[_Found] = []
    modules: list[ModuleType] = []
    routes = [target for target in targets if is_of_routes(Path(target))]
    for target in targets:
        if target not in routes:
            try:
                modules.append(_import(target))
                found.append(_find(target, modules[-1]))
            except ConfigError as error:
                problems += error.problems
    owners = {id(one.app): one for one in found if one.app is not None}
    if len(owners) > 1:
        names = " and ".join(one.target for one in owners.values())
        problems.append(ConfigError(f"{names} have an App each; there can be only one"))
    app = next((one.app for one in owners.values() if one.app is not None), None) or App()
    problems += _add(app, [declaration for one in found for declaration in one.declarations])
    problems += _add_routes(app, routes) + _check(app)
    notes = [_loose_note(declaration) for one in found for declaration in one.loose if not _serves(app, declaration)]
    return Assembly(app, problems, notes, modules)


def _add_routes(app: App, targets: Sequence[str]) -> list[ConfigError]:
    """Adds the routes of all targets together, so that all of their problems are told."""
    if not targets:
        return []
    try:
        app.add_routes(*targets)
    except ConfigError as error:
        if len(targets) == 1 or any(problem.source for problem in error.problems):
            return list(error.problems)
        # some are not there; the others are looked at all the same
        return [problem for target in targets for problem in _add_routes(app, [target])]
    return []


def _check(app: App) -> list[ConfigError]:
    """What is wrong only when all declarations are looked at together."""
    try:
        app.check()
    except ConfigError as error:
        return list(error.problems)
    return []


def _add(app: App, declarations: Sequence[Declaration]) -> list[ConfigError]:
    problems = []
    for declaration in declarations:
        try:
            if not _serves(app, declaration):
                app.add(declaration)
        except ConfigError as error:
            problems.append(error)
    return problems


def _serves(app: App, declaration: Declaration) -> bool:
    if declaration in app.declarations:
        return True
    own = [row for row in App([declaration]).describe() if row.source]
    return bool(own) and any((row.path, row.source) == (own[0].path, own[0].source) for row in app.describe())


def _loose_note(declaration: Declaration) -> str:
    named = declaration if isinstance(declaration, type) else getattr(declaration, "function", declaration)
    if isinstance(declaration, CallbackHandler):
        named = declaration.handler
    name = getattr(named, "__name__", repr(named))
    source = next((row.source for row in App([declaration]).describe() if row.source), "")
    return f"{source}: {name!r} is declared but not served; add it with app.add({name})"


# -- what a module holds ---------------------------------------------------------------------------------------------


def _find(target: str, module: ModuleType) -> _Found:
    where, name = _split(target)
    if name:
        return _named(target, where, name, module)
    apps = _apps(module)
    declarations = tuple(_declarations(module))
    if len(apps) > 1:
        raise ConfigError(f"{where} has several Apps: {', '.join(apps)}; name one, such as {where}:{next(iter(apps))}")
    if apps:
        own = tuple(each for each in declarations if _is_of(each, module))
        return _Found(target, next(iter(apps.values())), loose=own)
    if not declarations:
        raise ConfigError(
            f"{where} has nothing to serve; it needs an App, functions decorated with websocket(path), or walkers"
        )
    return _Found(target, declarations=declarations)


def _is_of(declaration: Declaration, module: ModuleType) -> bool:
    function = declaration.handler if isinstance(declaration, CallbackHandler) else declaration
    return getattr(function, "__module__", None) == module.__name__


def _apps(module: ModuleType) -> dict[str, App]:
    """A module's Apps, and those of its servers, each by its first name."""
    servers = {name: _app_of(server, name) for name, server in _by_name(module, Server).items()}
    apps = _by_name(module, App)
    return {**apps, **{name: app for name, app in servers.items() if app not in apps.values()}}


def _app_of(server: Server, name: str) -> App:
    if server.ssl_context is not None:
        wanted = "give it files, ssl=(certfile, keyfile)"
        raise ConfigError(f"{name} has an ssl.SSLContext, which only its own listen() and start() can use; {wanted}")
    return server.app


def _declarations(module: ModuleType) -> Iterator[Declaration]:
    """What a module declares without an App. Walkers from elsewhere, or without an ability, are bases of others."""
    yield from _by_name(module, WebSocketHandler).values()
    yield from _by_name(module, EventHandler).values()
    yield from _by_name(module, CallbackHandler).values()
    for value in _by_name(module, type).values():
        if issubclass(value, Walker) and value.__module__ == module.__name__ and is_runnable(value):
            yield value


_DECLARED = (WebSocketHandler, EventHandler, CallbackHandler)


def _split(target: str) -> tuple[str, str]:
    where, colon, name = target.rpartition(":")
    return (where, name) if colon and not target.endswith(".py") else (target, "")


def _by_name(module: ModuleType, kind: type[Any]) -> dict[str, Any]:
    """A module's objects of a type, each by its first name."""
    first: dict[int, tuple[str, Any]] = {}
    for name, value in vars(module).items():
        if isinstance(value, kind):
            first.setdefault(id(value), (name, value))
    return dict(first.values())


def _named(target: str, where: str, name: str, module: ModuleType) -> _Found:
    try:
        value: Any = reduce(getattr, name.split("."), module)
    except AttributeError:
        known = [name for kind in (App, Server, *_DECLARED) for name in _by_name(module, kind)]
        raise ConfigError(f"{where} has no {name!r}{did_you_mean(name, known)}") from None
    if isinstance(value, (App, Server)):
        return _Found(target, _app_of(value, name) if isinstance(value, Server) else value)
    if isinstance(value, _DECLARED) or (isinstance(value, type) and issubclass(value, Walker)):
        return _Found(target, declarations=(value,))
    advice = (
        f"; an ASGI server, such as uvicorn, serves it, or app.mount('/', {name}) of an App" if callable(value) else ""
    )
    raise ConfigError(f"{target} is neither an App nor a declaration, but of type {type(value).__name__}{advice}")


# -- importing -------------------------------------------------------------------------------------------------------


def _import(target: str) -> ModuleType:
    where, _ = _split(target)
    if where.endswith(".jac"):
        raise ConfigError(
            f"{where!r} is a Jac program, and Wireloom serves Python: write its walkers as classes of wireloom.Walker"
        )
    return _import_file(where) if where.endswith(".py") else _import_module(where)


def _import_module(name: str) -> ModuleType:
    if Path(name).is_file() or not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", name):
        nearest = did_you_mean(name, _files_beside(Path(name)))
        if os.sep in name and not Path(name).exists():
            raise ConfigError(f"there is no file or folder {name!r}{nearest}")
        raise ConfigError(f"{name!r} is neither a .py file, a module, nor a file or folder of routes{nearest}")
    _make_importable(Path.cwd())
    with importing():
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise
            raise ConfigError(f"there is no module {name!r}{did_you_mean(name, _files_beside(Path(name)))}") from None


def _import_file(where: str) -> ModuleType:
    path = Path(where).absolute()
    if not path.is_file():
        raise ConfigError(f"there is no file {where!r}{did_you_mean(where, _files_beside(Path(where)))}")
    package, parents = path.parent, [path.stem]
    while (package / "__init__.py").is_file():
        parents.insert(0, package.name)
        package = package.parent
    _make_importable(package)
    name = ".".join(parents)
    with importing():
        if len(parents) > 1:
            return importlib.import_module(name.removesuffix(".__init__"))
        return _import_script(name, path)


def _import_script(name: str, path: Path) -> ModuleType:
    """Imports a file that is in no package under its own name, or another where that is taken."""
    present = sys.modules.get(name)
    if present is not None and getattr(present, "__file__", None) == str(path):
        return present
    if present is not None:
        name = f"wireloom_target_{name}_{len(sys.modules)}"
    found = importlib.util.find_spec(name) if name.isidentifier() else None
    if found is not None and found.origin == str(path):
        return importlib.import_module(name)  # which has words of its own for a circular import
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None, "a .py file has a loader"
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _make_importable(directory: Path) -> None:
    if str(directory) not in sys.path:
        sys.path.insert(0, str(directory))


def _files_beside(path: Path) -> Iterator[str]:
    """Python files that may have been meant, written as the path is."""
    with_suffix = (str(path.parent / file.name) for file in path.parent.glob("*.py"))
    return with_suffix if path.suffix == ".py" or len(path.parts) > 1 else (name[:-3] for name in with_suffix)


@contextmanager
def importing() -> Iterator[None]:
    """What the target's own code raises becomes its file, line and exception."""
    try:
        yield
    except ImportFailed:
        raise
    except ConfigError as error:
        for problem in error.problems:
            if not problem.source and error.__traceback__ is not None:
                problem.source = _place(error.__traceback__)
        raise
    except (Exception, SystemExit) as error:
        raise failed(error) from None


def failed(error: BaseException) -> ImportFailed:
    """What the user's own code raised, as a mistake with its place. Of a group with one member, that."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if isinstance(error, SyntaxError):
        return ImportFailed(error, f"{error.filename}:{error.lineno}")
    return ImportFailed(error, _place(error.__traceback__) if error.__traceback__ is not None else "")


def _place(trace: TracebackType) -> str:
    """The innermost line of the user's own, or the empty string."""
    own = find_own(traceback.extract_tb(trace))
    return f"{own.filename}:{own.lineno}" if own is not None else ""


def find_own(stack: traceback.StackSummary) -> traceback.FrameSummary | None:
    """The innermost frame of the user's own code."""
    return next((frame for frame in reversed(stack) if not is_foreign(frame.filename)), None)


def is_foreign(filename: str) -> bool:
    """Whether a frame is of Python, of an installed package or ours, and so not where the user looks first."""
    return filename.startswith(("<", *_FOREIGN_FOLDERS)) and not filename.startswith(_DEMO_FOLDER)


_WIRELOOM = Path(__file__).parents[1]
_DEMO_FOLDER = str(_WIRELOOM / "cli" / "demo") + os.sep
_LIBRARIES = map(sysconfig.get_path, ("stdlib", "platstdlib", "purelib", "platlib"))
_FOREIGN_FOLDERS = {str(folder) + os.sep for folder in (_WIRELOOM, *_LIBRARIES)}


def _last_line(error: BaseException) -> str:
    """An exception as Python's own last line says it."""
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error.msg}"
    return "".join(traceback.format_exception_only(error)).splitlines()[0]
