"""Pages of the documentation in Chromium: the tutorial's chat, and the client that takes Socket.IO's place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.cli.processes import Running
from tests.docs.blocks import ROOT, blocks_of

Serve = Callable[..., str]
SOCKET_PAGE = """\
<!doctype html>
<meta charset="utf-8"><title>Socket</title><ul id="said"></ul>
<script>function show(data) {
  document.getElementById("said").append(Object.assign(document.createElement("li"), { textContent: data.text })); }
</script>
<script type="module" src="main.js"></script>
"""


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Saves a page's files and serves one of the folder; gives the URL."""
    started: list[Running] = []

    def begin(page: str, target: str = "chat.py") -> str:
        for block in blocks_of(ROOT / "docs" / page):
            if block.title and block.language in ("python", "html", "js"):
                file = tmp_path / block.title
                file.parent.mkdir(exist_ok=True)
                file.write_text(block.text, encoding="utf-8")
        started.append(Running(("serve", target, "--port", "0"), tmp_path, {}))
        return started[-1].started().replace("ws://", "http://").rstrip("/") + "/"

    yield begin
    for each in started:
        each.kill()


def open_as(browser: Browser, url: str, name: str) -> Page:
    """A window of its own, whose question is answered with a name."""
    page = browser.new_page()
    page.on("dialog", lambda dialog: dialog.accept(name))
    page.goto(url)
    return page


def test_the_chat_of_the_tutorial(browser: Browser, serve: Serve) -> None:
    url = serve("tutorial/page.md")
    ann = open_as(browser, url, "Ann")
    expect(ann.locator("#here")).to_have_text("Here: Ann")
    ann.get_by_label("Message").fill("Is <b>anybody</b> here?")
    ann.get_by_role("button", name="Send").click()
    expect(ann.locator("#said li")).to_have_text(["Ann: Is <b>anybody</b> here?"])
    bob = open_as(browser, url, "Bob")
    expect(bob.locator("#said li")).to_have_text(["Ann: Is <b>anybody</b> here?"])
    expect(ann.locator("#here")).to_have_text("Here: Ann, Bob")
    bob.get_by_label("Message").fill("I am")
    bob.keyboard.press("Enter")
    expect(ann.locator("#said li")).to_have_text(["Ann: Is <b>anybody</b> here?", "Bob: I am"])
    bob.close()
    expect(ann.locator("#here")).to_have_text("Here: Ann")
    ann.close()


def test_the_client_that_takes_socket_ios_place(browser: Browser, serve: Serve, tmp_path: Path) -> None:
    main = next(block for block in blocks_of(ROOT / "docs/how-to/from-socketio.md", "js") if "import {" in block.text)
    (tmp_path / "public").mkdir()
    (tmp_path / "public" / "index.html").write_text(SOCKET_PAGE)
    (tmp_path / "public" / "main.js").write_text(f"{main.text}\nwindow.socket = socket;\n")
    (tmp_path / "site.py").write_text("from chat import app\n\napp.static('/', 'public')\n")
    url = serve("how-to/from-socketio.md", "site.py")  # the page leaves to its reader how files are served
    page = browser.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(url)
    expect(page.locator("#said li")).to_have_text(["Hello"])
    refused = page.evaluate("socket.emit('say', {room: 'coffee', text: 'x'}).catch((error) => error.message)")
    assert refused == "you are not in coffee"
    wrong = page.evaluate("socket.emit('join', {}).catch((error) => error.message)")
    assert "room" in wrong
    assert problems == []
    page.close()
