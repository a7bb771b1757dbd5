"""The public validator of AsyncAPI documents, `@asyncapi/parser`."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.node import NodePackage, find_package

__all__ = ["AsyncAPIParser", "find_asyncapi_parser"]

SCRIPT = Path(__file__).with_name("asyncapi_check.cjs")
CHECK_SECONDS = 60


class AsyncAPIParser:
    """The installed validator."""

    def __init__(self, package: NodePackage) -> None:
        self._package = package

    def problems(self, document: dict[str, Any]) -> list[str]:
        """What is wrong with a document."""
        done = subprocess.run(
            [self._package.node, str(SCRIPT)],
            input=json.dumps(document),
            env=self._package.environment,
            capture_output=True,
            text=True,
            timeout=CHECK_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return list(json.loads(done.stdout))


def find_asyncapi_parser() -> AsyncAPIParser | str:
    """The validator, installed where it is not; or why there is none."""
    package = find_package("@asyncapi/parser@3.6.6")
    return package if isinstance(package, str) else AsyncAPIParser(package)
