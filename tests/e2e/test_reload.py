"""A page that includes ``/__reload.js``, in a real browser, while its files and its server's code are edited."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.conftest import Demo

PAGE = """\
<!doctype html>
<title>Page</title>
<p id="file">first</p>
<p id="code"></p>
<script src="/__reload.js"></script>
<script>
const socket = new WebSocket(`ws://${location.host}/word`);
socket.onopen = () => socket.send("");
socket.onmessage = ({ data }) => { document.getElementById("code").textContent = data; };
</script>
"""
CODE = """\
from wireloom import App

app = App()
app.static("/", "public")


@app.websocket("/word")
async def word(message: str) -> str:
    return "old"
"""


class Site(Demo):
    """`wireloom serve app.py --reload` in a folder with one page."""

    def start(self) -> None:
        """Starts it and waits for its first line, which names the port."""
        (self.folder / "public").mkdir(exist_ok=True)
        self.edit("public/index.html", PAGE)
        self.edit("app.py", CODE)
        command = [sys.executable, "-m", "wireloom", "serve", "app.py", "--reload", "--port", str(self.port)]
        self.process = subprocess.Popen(
            command, cwd=self.folder, stderr=subprocess.STDOUT, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)", line)
        assert found, line
        self.port = int(found[1])

    def edit(self, name: str, text: str) -> None:
        """Saves a file."""
        (self.folder / name).write_text(text)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A running site."""
    site = Site(tmp_path)
    site.start()
    yield site
    site.stop()


def visit(browser: Browser, site: Site) -> Page:
    """The page, once its script hears of reloads."""
    page = browser.new_page()
    with page.expect_websocket(lambda socket: socket.url.endswith("/__reload")) as opened:
        page.goto(site.url)
    assert opened.value.url == f"ws://127.0.0.1:{site.port}/__reload"
    expect(page.locator("#code")).to_have_text("old")  # asked for after the script's socket, so that is open too
    return page


def test_a_page_reloads_itself(browser: Browser, site: Site) -> None:
    page = visit(browser, site)
    site.edit("public/index.html", PAGE.replace("first", "second"))
    expect(page.locator("#file")).to_have_text("second")
    expect(page.locator("#code")).to_have_text("old")
    site.edit("app.py", CODE.replace("old", "new"))
    expect(page.locator("#code")).to_have_text("new")
    page.close()


def test_a_page_says_what_is_wrong_and_stays(browser: Browser, site: Site) -> None:
    page = visit(browser, site)
    page.evaluate("window.stayed = true")
    with page.expect_console_message(lambda message: message.type == "error") as told:
        site.edit("app.py", "1 / 0\n")
    assert told.value.text == "reload failed: app.py:1: ZeroDivisionError: division by zero"
    assert page.evaluate("window.stayed")
    page.close()


def test_a_page_comes_back_after_a_restart(browser: Browser, site: Site) -> None:
    page = visit(browser, site)
    page.evaluate("window.stayed = true")
    site.stop()
    site.start()
    page.wait_for_function("!window.stayed && document.getElementById('code')?.textContent === 'old'")
    page.close()
