"""Code that holds up the event loop: told with its line in development mode, while it does so, once."""

from __future__ import annotations

import logging
import re
import threading
from pathlib import Path
from types import FrameType

import pytest

from wireloom.cli.stalls import StallWatch

from .processes import Run, Start

pytestmark = pytest.mark.anyio

SECONDS = 30

# What is held up here goes on when the warning is there, so that no time has to be right.
BLOCKS = """\
import logging
import threading

from wireloom import App

app = App()
told = threading.Event()


class Release(logging.Handler):
    def emit(self, record):
        told.set()


logging.getLogger("wireloom.cli.stalls").addHandler(Release())


def wait():
    return told.wait(30)


@app.websocket("/block")
async def block(message: str) -> str:
    return "told" if wait() else "never told"
"""
LINE = BLOCKS.splitlines().index("    return told.wait(30)") + 1


@pytest.mark.parametrize("options", [["--dev"], ["--reload"], ["--dev", "--workers", "2"]], ids=" ".join)
def test_a_handler_that_blocks_the_event_loop_is_told(
    start: Start, run: Run, directory: Path, options: list[str]
) -> None:
    (directory / "main.py").write_text(BLOCKS)
    server = start("serve", "main.py", "--port", "0", *options)
    reply = run("connect", f"{server.started()}/block", "--once", "--send", "x", "--timeout", str(SECONDS))
    assert reply.stdout == "told\n", reply.stderr
    warning = rf"warning wireloom\.cli\.stalls: main\.py:{LINE} in wait: the event loop has been blocked for \d\.\d s; "
    server.until(warning)


def test_nobody_watches_outside_development_mode(start: Start, run: Run, directory: Path) -> None:
    (directory / "main.py").write_text(
        "import threading\n\nfrom wireloom import App\n\napp = App()\n\n\n@app.websocket('/threads')\n"
        "async def threads(message: str) -> str:\n    return ' '.join(each.name for each in threading.enumerate())\n"
    )
    url = start("serve", "main.py", "--port", "0").started()
    assert "stalls" not in run("connect", f"{url}/threads", "--once", "--send", "x").stdout
    url = start("serve", "main.py", "--port", "0", "--dev").started()
    assert "stalls" in run("connect", f"{url}/threads", "--once", "--send", "x").stdout


class Noticing(StallWatch):
    """Says when it has noticed something, told or not."""

    def __init__(self) -> None:
        super().__init__()
        self.noticed = threading.Semaphore(0)

    def _notice(self, frame: FrameType, seconds: float) -> None:
        super()._notice(frame, seconds)
        self.noticed.release()


async def test_each_line_is_told_once_and_others_too(caplog: pytest.LogCaptureFixture) -> None:
    watch = Noticing()
    watch.start()

    def hold() -> None:
        assert watch.noticed.acquire(timeout=SECONDS)

    for _ in range(2):
        hold()
        watch._beat()
    assert watch.noticed.acquire(timeout=SECONDS)
    watch.stop()
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    places = [re.match(r"(\S+):\d+ in (\w+): ", text) for text in told]
    assert [place and place[2] for place in places] == ["hold", "test_each_line_is_told_once_and_others_too"]
