"""Reload: watches the files of targets, imports them anew and swaps what they declare into the running App.

Law: a change that cannot be imported or compiled changes nothing: the modules before it are put back and run on.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import aclosing
from pathlib import Path
from types import ModuleType
from typing import Any

from watchfiles import Change, awatch

from wireloom.cli.failure import tell_problems
from wireloom.cli.logs import say
from wireloom.cli.output import explain, plural, relative
from wireloom.cli.target import Assembly, importing, is_foreign, load_app
from wireloom.config import Config, options
from wireloom.doors import SUFFIXES
from wireloom.errors import ConfigError

__all__ = ["Reloader"]

_QUIET_MILLISECONDS = 50  # an editor that saves in several steps has ended when nothing has come for so long ...
_LONGEST_MILLISECONDS = 400  # ... or after this, in any case
_NAMED_FILES = 3
_NOT_THE_USERS = {"__pycache__", "node_modules"}
_SCRATCH = (".swp", ".swx", ".tmp", "~")


class Reloader:
    """Live reload of one running application.

    Args:
        assembly: what the targets held, before it is configured.
        targets: where they are imported from again.
        config: the options in force.

    Raises:
        ConfigError: there are to be several processes.
    """

    def __init__(self, assembly: Assembly, targets: Sequence[str], config: Config) -> None:
        if config.workers > 1:
            raise ConfigError(f"--reload is for one process, not for {config.workers}; leave --workers out with it")
        self._app = assembly.app
        self._chosen = assembly.app.config
        self._notes = assembly.notes
        self._targets = targets
        self._config = config
        self._roots = [root for root in _roots(assembly.modules) if not is_foreign(f"{root}{os.sep}")]
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        # Bytecode is told apart by size and whole seconds of its source; an edit may change neither.
        sys.dont_write_bytecode = True
        _drop_bytecode(self._users_modules().values())

    async def start(self) -> None:
        """Begins to watch; what is saved after this returns is seen."""
        self._task = asyncio.create_task(self._watch())
        await asyncio.sleep(0)  # the task has told the operating system what to watch when it first waits

    async def stop(self) -> None:
        """Watches no longer; a reload that runs is waited for."""
        self._stopping.set()
        if self._task is not None:
            await asyncio.wait([self._task])

    # -- watching ------------------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        try:
            while not self._stopping.is_set():
                await self._watch_folders(self._folders())
        except (OSError, RuntimeError) as error:  # the operating system's, and watchfiles' own
            say(f"files are no longer watched: {error}", logging.ERROR)

    async def _watch_folders(self, folders: list[Path]) -> None:
        """Takes changes below some folders until it is to stop, or until others are to be watched."""
        watching = awatch(
            *folders,
            watch_filter=self._concerns,
            debounce=_LONGEST_MILLISECONDS,
            step=_QUIET_MILLISECONDS,
            stop_event=self._stopping,
        )
        async with aclosing(watching):
            async for changes in watching:
                await self._take(sorted({path for _, path in changes}))
                if self._folders() != folders:
                    return

    def _folders(self) -> list[Path]:
        """What to watch: the folders that lie in none of the others."""
        of_routes = [path if path.is_dir() else path.parent for path in self._route_targets()]
        folders = {folder for folder in (*self._roots, *self._pages(), *of_routes) if folder.is_dir()}
        return sorted(folder for folder in folders if folders.isdisjoint(folder.parents))

    def _pages(self) -> list[Path]:
        return [folder.resolve() for folder in self._app.static_folders]

    def _route_targets(self) -> list[Path]:
        return [target.resolve() for target in self._app.route_targets]

    def _is_of_routes(self, file: Path) -> bool:
        """Whether a file declares routes that are served, or might."""
        return file.suffix in SUFFIXES and any(
            file == target or (file.is_relative_to(target) and not _is_hidden(file, target))
            for target in self._route_targets()
        )

    def _concerns(self, _: Change, path: str) -> bool:
        """Whether anything is to be done about a file: code of the user's, routes, or a file that is served."""
        file = Path(path)
        if file.name.endswith(_SCRATCH):
            return False
        return self._is_of_routes(file) or any(
            file.is_relative_to(folder) and not _is_hidden(file, folder)
            for folder in (self._roots if file.suffix == ".py" else self._pages())
        )

    # -- reloading -----------------------------------------------------------------------------------------------------

    async def _take(self, paths: list[str]) -> None:
        changed = [relative(path) for path in paths]
        if any(path.endswith(".py") or self._is_of_routes(Path(path)) for path in paths):
            try:
                say(await self._reload(changed), err=False)
            except ConfigError as error:
                self._show(error)
                self._tell({"type": "error", "message": explain(error)})
                return
        self._tell({"type": "reload", "changed": changed})

    async def _reload(self, changed: list[str]) -> str:
        """Imports the targets anew and swaps; gives the line that says so.

        Raises:
            ConfigError: nothing was changed.
        """
        before = self._users_modules()
        _forget(before)
        try:
            assembly = load_app(self._targets)
            chosen = assembly.app.config
            with importing():
                swapped = await self._app.reload(assembly.app)
        except BaseException:
            _forget(self._users_modules())
            sys.modules.update(before)
            raise
        self._note(assembly.notes, chosen)
        more = len(changed) - _NAMED_FILES
        names = ", ".join(changed[:_NAMED_FILES]) + (f" and {more} more" if more > 0 else "")
        kept, closed = f"{plural(swapped.kept, 'connection')} kept", f"{swapped.closed} closed" * bool(swapped.closed)
        count = plural(len(self._app.describe()), "endpoint")
        return " · ".join(filter(None, (f"reloaded {names}", count, kept, closed)))

    def _users_modules(self) -> dict[str, ModuleType]:
        """Modules whose files are watched, by name."""
        found = {}
        for name, module in list(sys.modules.items()):
            file = _file_of(module)
            if file is not None and name != "__main__" and not is_foreign(file):
                path = Path(os.path.realpath(file))
                if any(path.is_relative_to(root) and not _is_hidden(path, root) for root in self._roots):
                    found[name] = module
        return found

    # -- telling -------------------------------------------------------------------------------------------------------

    def _note(self, notes: list[str], chosen: Config) -> None:
        """Says what else there is to say, once."""
        names = [option.name for option in options() if _value(chosen, option) != _value(self._chosen, option)]
        if names:
            say(f"note: options take effect at the next start: {', '.join(names)}")
        for note in notes:
            if note not in self._notes:
                say(f"note: {relative(note)}")
        self._notes, self._chosen = notes, chosen

    def _show(self, error: ConfigError) -> None:
        tell_problems(error, dev=self._config.dev)
        say("nothing was changed; the code before it runs on", logging.ERROR)

    def _tell(self, event: dict[str, Any]) -> None:
        if self._app.pages is not None:
            self._app.pages.tell(event)


def _roots(modules: Iterable[ModuleType]) -> list[Path]:
    """The folders that modules were found in: for a package, the one above it."""
    roots = {}
    for module in modules:
        file = Path(os.path.realpath(_file_of(module) or os.curdir))
        depth = module.__name__.count(".") + (file.stem == "__init__")
        if module.__name__.startswith("wireloom."):  # the demo
            depth = 0
        roots[file.parents[depth]] = True
    return list(roots)


def _file_of(module: ModuleType) -> str | None:
    """Where a module is; of a package without a file of its own, its folder. Asks no module that makes its names up."""
    names: dict[str, Any] = getattr(module, "__dict__", {})
    file = names.get("__file__")
    if not isinstance(file, str):
        file = next(iter(names.get("__path__") or ()), None)
    return file if isinstance(file, str) else None


def _is_hidden(path: Path, folder: Path) -> bool:
    """Whether a path below a folder is none that the user writes: of caches, installed packages, hidden folders."""
    parts = path.relative_to(folder).parts
    if any(part.startswith(".") or part in _NOT_THE_USERS for part in parts):
        return True
    return any(folder.joinpath(*parts[:depth], "pyvenv.cfg").is_file() for depth in range(1, len(parts)))


def _forget(modules: Iterable[str]) -> None:
    for name in modules:
        del sys.modules[name]
    importlib.invalidate_caches()


def _drop_bytecode(modules: Iterable[ModuleType]) -> None:
    for module in modules:
        cached = vars(module).get("__cached__")
        if cached:
            with contextlib.suppress(OSError):
                os.unlink(cached)


def _value(config: Config, option: Any) -> Any:
    return getattr(config.limits if option.of_limits else config, option.name)
