"""A demo server as a process, and Chromium with a fresh profile."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.cli.processes import Running
from tests.e2e.docs_page import open_docs, watch

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

expect.set_options(timeout=20_000)  # ms: a browser beside others waits for the processor


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Headless Chromium; where it is not installed the test is skipped, in CI it fails.

    Playwright holds an event loop while it is open, so it is closed before tests with a loop of their own begin.
    """
    if CHROMIUM is None:
        if os.environ.get("CI"):
            pytest.fail("Chromium is not installed")
        pytest.skip("Chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


class Demo:
    """`wireloom demo` as a process that can be stopped and started again on the same port."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = 0
        self.process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> None:
        """Starts it and waits for its first lines, which name the port."""
        command = [sys.executable, "-m", "wireloom", "demo", "--port", str(self.port)]
        self.process = subprocess.Popen(
            command, cwd=self.folder, stderr=subprocess.STDOUT, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            found = re.search(r"http://127\.0\.0\.1:(\d+)", line)
            if found:
                self.port = int(found[1])
                return
        raise AssertionError(f"the demo ended with {self.process.wait()}")

    def stop(self) -> int:
        """SIGTERM; gives the exit code."""
        assert self.process is not None
        self.process.terminate()
        try:
            return self.process.wait(20)
        finally:
            self.process.kill()
            assert self.process.stdout is not None
            self.process.stdout.close()


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    """A running demo."""
    demo = Demo(tmp_path)
    demo.start()
    yield demo
    demo.stop()


@pytest.fixture(scope="module")
def docs_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where an application with every face is served."""
    target = Path(__file__).with_name("documented.py")
    server = Running(("serve", str(target), "--port", "0"), tmp_path_factory.mktemp("documented"), {})
    try:
        yield server.started().replace("ws://", "http://").rstrip("/")
    finally:
        server.kill()


@pytest.fixture
def docs_page(browser: Browser, docs_url: str) -> Iterator[Page]:
    """Its page /docs, which must meet no error and load nothing from elsewhere."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    problems = watch(page, docs_url)
    open_docs(page, docs_url)
    yield page
    context.close()
    assert problems == []
