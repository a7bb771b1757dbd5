"""Packages of npm for tests, each in a folder of its own that git ignores."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

__all__ = ["NodePackage", "find_node_with_websocket", "find_package", "require_package"]

CACHE = Path(__file__).resolve().parents[1] / ".ci-cache"
INSTALL_SECONDS = 300
NODE_SYSTEMS = {"win32": "win"}
NODE_MACHINES = {"aarch64": "arm64", "arm64": "arm64"}


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
        try:
            fresh.rename(folder)
        except OSError:  # another run of the tests was first
            shutil.rmtree(fresh)
            if not folder.is_dir():
                raise
    return NodePackage(node, folder / "node_modules")


def find_node_with_websocket() -> list[str] | str:
    """The command of a Node that has a global WebSocket; or why there is none.

    Node 22 has it, 20.10 and 21 behind a flag; where an older one is installed, one of npm is taken.
    """
    node = shutil.which("node")
    if node is None:
        return "Node is not installed: apt-get install nodejs npm"
    told = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=INSTALL_SECONDS, check=True)
    version = tuple(int(part) for part in told.stdout.strip().removeprefix("v").split("."))
    if version >= (22,):
        return [node]
    if version >= (20, 10):
        return [node, "--experimental-websocket"]
    name = f"node-{NODE_SYSTEMS.get(sys.platform, sys.platform)}-{NODE_MACHINES.get(platform.machine(), 'x64')}"
    package = find_package(f"{name}@22.21.1")
    return package if isinstance(package, str) else [str(package.modules / name / "bin" / "node")]


def require_package(name: str) -> NodePackage:
    """A package, as `find_package` gives it; where there is none the test is skipped, in CI it fails."""
    package = find_package(name)
    if isinstance(package, str):
        if os.environ.get("CI"):
            pytest.fail(package)
        pytest.skip(package)
    return package
