"""What is not imported before it is needed: by that, `import wireloom` and the command line start at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import wireloom

HEAVY = {
    *("sqlalchemy", "aiosqlite", "asyncpg", "argon2", "jwt", "cryptography", "httpx", "httpcore", "uvicorn", "uvloop"),
    *("pydantic", "yaml", "rich", "prompt_toolkit", "watchfiles", "redis", "nats", "opentelemetry", "python_socks"),
    "prometheus_client",
}
SERVING = {"starlette", "anyio", "msgspec", "jsonschema_rs", "asyncio"}


@pytest.mark.parametrize(
    ("statement", "unwanted"),
    [
        ("import wireloom", HEAVY | SERVING | {"click"}),
        ("from wireloom import ConfigError, RequestError", HEAVY | SERVING | {"click"}),
        ("from wireloom import App; App()", HEAVY | {"click"}),
        ("from wireloom import connect, WebSocket", HEAVY | {"click", "starlette", "jsonschema_rs"}),
        ("import wireloom.cli.main", HEAVY | SERVING),
    ],
)
def test_what_is_not_imported(statement: str, unwanted: set[str]) -> None:
    program = f"import sys; {statement}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    environment = {**os.environ, "PYTHONPATH": str(Path(wireloom.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert unwanted & set(done.stdout.split()) == set()
