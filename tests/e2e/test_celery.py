"""docs/how-to/celery.md as it stands: a server, a worker of Celery, a script, and Redis between them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.processes import Running, environment
from tests.docs.blocks import ROOT, blocks_of
from tests.services import Service, redis_service
from wireloom import open_connection

pytestmark = pytest.mark.anyio

PAGE = ROOT / "docs" / "how-to" / "celery.md"
LISTENER = """

@app.websocket("/news")
async def news(message: str) -> None: ...


@news.on_connect
async def joined(connection: Connection) -> None:
    connection.join("news")
    connection.send({"joined": True})
"""


@pytest.fixture(scope="module")
def redis() -> Iterator[Service]:
    with redis_service() as service:
        yield service


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the page; the application has one endpoint more, which hears the script."""
    folder = tmp_path_factory.mktemp("celery")
    for block in blocks_of(PAGE, "python"):
        text = block.text + (LISTENER if block.title == "app.py" else "")
        (folder / block.title).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def url(folder: Path, redis: Service) -> Iterator[str]:
    options = ("serve", "app.py", "--port", "0", "--backplane", redis.url)
    server = Running(options, folder, {"REDIS_URL": redis.url})
    try:
        yield server.started().rstrip("/")
    finally:
        server.kill()


async def test_a_task_tells_its_client_how_far_it_is(folder: Path, redis: Service, url: str) -> None:
    command = (sys.executable, "-m", "celery", "-A", "tasks", "worker", "--concurrency", "2", "--loglevel", "info")
    worker = Running((), folder, {"REDIS_URL": redis.url}, command)
    try:
        worker.until(r"celery@\S+ ready")
        async with open_connection(f"{url}/reports") as one, open_connection(f"{url}/reports") as other:
            one.send('{"pages": 3}')
            told = [await one.receive() for _ in range(4)]
            assert told == ['{"page":1,"of":3}', '{"page":2,"of":3}', '{"page":3,"of":3}', '{"ready":true}']
            other.send('{"pages": 1}')  # nothing of the first one's is here before this
            assert [await other.receive() for _ in range(2)] == ['{"page":1,"of":1}', '{"ready":true}']
    finally:
        worker.kill()


async def test_a_script_reaches_a_channel(folder: Path, redis: Service, url: str) -> None:
    async with open_connection(f"{url}/news") as reader:
        assert await reader.receive() == '{"joined":true}'
        done = run_news(folder, WIRELOOM_BACKPLANE=redis.url)
        assert done.returncode == 0, done.stderr
        assert str(await reader.receive()).startswith('{"headline":"It is ')


def test_a_script_without_a_backplane_says_so(folder: Path) -> None:
    done = run_news(folder)
    assert done.returncode == 1
    assert "NoHub" in done.stderr


def run_news(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """The script to its end."""
    return subprocess.run(
        [sys.executable, "news.py"],
        cwd=folder,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=30,
    )
