"""The public validator of AsyncAPI documents, `@asyncapi/parser`, in a folder that git ignores."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

__all__ = ["AsyncAPIParser", "find_asyncapi_parser"]

PACKAGE = "@asyncapi/parser@3.6.6"
CACHE = Path(__file__).resolve().parents[1] / ".ci-cache" / PACKAGE.replace("/", "-").lstrip("@")
SCRIPT = Path(__file__).with_name("asyncapi_check.cjs")
INSTALL_SECONDS, CHECK_SECONDS = 300, 60


class AsyncAPIParser:
    """The installed validator.

    Args:
        node: the interpreter.
        modules: where its packages are.
    """

    def __init__(self, node: str, modules: Path) -> None:
        self._node = node
        self._environment = {**os.environ, "NODE_PATH": str(modules)}

    def problems(self, document: dict[str, Any]) -> list[str]:
        """What is wrong with a document."""
        done = subprocess.run(
            [self._node, str(SCRIPT)],
            input=json.dumps(document),
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=CHECK_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return list(json.loads(done.stdout))


def find_asyncapi_parser() -> AsyncAPIParser | str:
    """The validator, installed where it is not; or why there is none."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return "Node is not installed: apt-get install nodejs npm"
    if not CACHE.is_dir():
        CACHE.parent.mkdir(exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix="asyncapi-", dir=CACHE.parent))
        (fresh / "package.json").write_text('{"private": true}')
        command = [npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", PACKAGE]
        done = subprocess.run(command, cwd=fresh, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
        if done.returncode != 0:
            shutil.rmtree(fresh)
            return f"{PACKAGE} could not be installed: {done.stderr[-300:]}"
        fresh.rename(CACHE)
    return AsyncAPIParser(node, CACHE / "node_modules")
