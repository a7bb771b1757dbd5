"""Packages of npm for tests, each in a folder of its own that git ignores."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

__all__ = ["NodePackage", "find_package", "require_package"]

CACHE = Path(__file__).resolve().parents[1] / ".ci-cache"
INSTALL_SECONDS = 300


@dataclass(frozen=True, slots=True)
class NodePackage:
    """An installed package.

    Args:
        node: the interpreter.
        modules: where the package is.
    """

    node: str
    modules: Path

    @property
    def environment(self) -> dict[str, str]:
        """In which Node finds it."""
        return {**os.environ, "NODE_PATH": str(self.modules)}


def find_package(name: str) -> NodePackage | str:
    """A package, installed where it is not; or why there is none.

    Args:
        name: with its version, such as ``"ws@8.18.0"``.
    """
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return "Node is not installed: apt-get install nodejs npm"
    folder = CACHE / name.replace("/", "-").lstrip("@")
    if not folder.is_dir():
        folder.parent.mkdir(exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix="npm-", dir=folder.parent))
        (fresh / "package.json").write_text('{"private": true}')
        command = [npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", name]
        done = subprocess.run(command, cwd=fresh, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
        if done.returncode != 0:
            shutil.rmtree(fresh)
            return f"{name} could not be installed: {done.stderr[-300:]}"
        fresh.rename(folder)
    return NodePackage(node, folder / "node_modules")


def require_package(name: str) -> NodePackage:
    """A package, as `find_package` gives it; where there is none the test is skipped, in CI it fails."""
    package = find_package(name)
    if isinstance(package, str):
        if os.environ.get("CI"):
            pytest.fail(package)
        pytest.skip(package)
    return package
