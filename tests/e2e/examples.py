"""Examples as processes, and the browsers of their people."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.e2e.conftest import Demo
from tests.e2e.relay import Relay

__all__ = ["NARROW", "PASSWORD", "ROOT", "WIDE", "Example", "arrive", "enter", "is_live", "person", "window"]

ROOT = Path(__file__).resolve().parents[2]
WIDE, NARROW = (1280, 800), (400, 800)
PASSWORD = "correct horse"

# Remembers every frame of every socket from now on, and lets the test send its own.
WATCH_WIRE = """
  const Plain = WebSocket;
  window.heard = [];
  window.WebSocket = class extends Plain {
    constructor(...parts) {
      super(...parts);
      window.wire = this;
      this.addEventListener("message", ({ data }) => window.heard.push(data));
    }
  };
"""


class Example(Demo):
    """`wireloom serve examples/NAME/app.py` as a process; its database is in the folder that it runs in.

    Args:
        name: of the example.
        folder: where it runs.
        options: of the command line.
    """

    def __init__(self, name: str, folder: Path, options: tuple[str, ...] = ()) -> None:
        super().__init__(folder)
        self.target = str(ROOT / "examples" / name / "app.py")
        self.options = options

    def start(self) -> None:
        """Starts it and waits for its first line, which names the port."""
        command = [sys.executable, "-m", "wireloom", "serve", self.target, "--port", str(self.port), *self.options]
        self.process = subprocess.Popen(
            command, cwd=self.folder, stderr=subprocess.STDOUT, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)", line)
        assert found, line
        self.port = int(found[1])


@contextmanager
def window(browser: Browser, size: tuple[int, int] = WIDE) -> Iterator[BrowserContext]:
    """A browser of somebody's own; no error may have been thrown in its pages."""
    problems: list[str] = []
    context = browser.new_context(viewport={"width": size[0], "height": size[1]})
    context.on("weberror", lambda error: problems.append(str(error.error)))
    context.add_init_script(WATCH_WIRE)
    yield context
    context.close()
    assert problems == []


def enter(page: Page, name: str, button: str, password: str = PASSWORD) -> None:
    """Fills in the door's form."""
    page.fill("#username", name)
    page.fill("#password", password)
    page.get_by_role("button", name=button).click()


def is_live(page: Page, timeout: float = 20_000) -> None:
    """The page is connected and has fetched what there is."""
    expect(page.locator("#status")).to_have_attribute("data-state", "open", timeout=timeout)


def arrive(context: BrowserContext, example: Example | Relay, name: str, button: str = "Create account") -> Page:
    """A page on which somebody has logged in."""
    page = context.new_page()
    page.goto(example.url)
    enter(page, name, button)
    is_live(page)
    return page


@contextmanager
def person(browser: Browser, example: Example | Relay, name: str, size: tuple[int, int] = WIDE) -> Iterator[Page]:
    """A new user's page in a browser of their own."""
    with window(browser, size) as context:
        yield arrive(context, example, name)
