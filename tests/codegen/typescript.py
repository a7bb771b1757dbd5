"""TypeScript's compiler and Node, for tests of generated clients."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.node import find_node_with_websocket, find_package

__all__ = ["TypeScript", "find_typescript"]

VERSION = "typescript@5.9.3"
COMPILE_SECONDS = 180
OPTIONS = (
    "--moduleResolution",
    "bundler",
    "--strict",
    "--target",
    "ES2022",
    "--lib",
    "ES2022,DOM,DOM.Iterable",
    "--module",
    "esnext",
)


@dataclass(frozen=True, slots=True)
class TypeScript:
    """What compiles and what runs.

    Args:
        compiler: the command of ``tsc``.
        node: the command of a Node with a global WebSocket.
    """

    compiler: tuple[str, ...]
    node: tuple[str, ...]

    def problems(self, files: Iterable[Path], *options: str) -> str:
        """What the compiler says of files; empty where nothing is wrong."""
        command = [*self.compiler, *OPTIONS, *(options or ("--noEmit",)), *map(str, files)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMPILE_SECONDS, check=False)
        return done.stdout + done.stderr

    def compile(self, folder: Path, sources: Iterable[Path]) -> Path:
        """Compiles sources in a folder as modules; gives where the JavaScript is."""
        (folder / "package.json").write_text('{"type": "module"}')
        copies = [Path(shutil.copy(source, folder)) for source in sources]
        told = self.problems(copies, "--outDir", str(folder / "out"))
        assert told == "", told
        return folder / "out"


def find_typescript() -> TypeScript | str:
    """The compiler and Node, installed where they are not; or why there are none."""
    package = find_package(VERSION)
    node = find_node_with_websocket()
    if isinstance(package, str):
        return package
    if isinstance(node, str):
        return node
    return TypeScript((package.node, str(package.modules / "typescript" / "bin" / "tsc")), tuple(node))
