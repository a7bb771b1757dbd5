"""The chat example: two pages in a real browser and the terminal's client, all as processes, talk to each other."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.cli.processes import Running, environment
from tests.e2e.conftest import Demo
from tests.e2e.examples import NARROW, ROOT, WIDE, is_live, window

CHAT = ROOT / "examples" / "chat"


class Chat(Demo):
    """`python examples/chat/server.py` as a process."""

    def start(self) -> None:
        """Starts it and waits for its first line, which names the port."""
        command = [sys.executable, "-W", "error", str(CHAT / "server.py"), str(self.port)]
        self.process = subprocess.Popen(
            command,
            cwd=self.folder,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        found = re.fullmatch(r"Open http://127\.0\.0\.1:(\d+) in two windows; Ctrl-C stops\n", line)
        assert found, line
        self.port = int(found[1])

    def interrupt(self) -> tuple[int, str]:
        """Ctrl-C; gives the exit code and what else was printed."""
        assert self.process is not None and self.process.stdout is not None
        self.process.send_signal(signal.SIGINT)
        rest = self.process.stdout.read()
        self.process.stdout.close()
        return self.process.wait(20), rest


@pytest.fixture
def chat(tmp_path: Path) -> Iterator[Chat]:
    """A running chat."""
    chat = Chat(tmp_path)
    chat.start()
    yield chat
    chat.stop()


Client = Callable[..., Running]


@pytest.fixture
def client(chat: Chat, tmp_path: Path) -> Iterator[Client]:
    """Starts the terminal's client."""
    running: list[Running] = []

    def start(name: str) -> Running:
        url = chat.url.replace("http", "ws")
        command = (sys.executable, "-W", "error", str(CHAT / "client.py"))
        running.append(Running((url, "--name", name), tmp_path, {}, command))
        return running[-1]

    yield start
    for each in running:
        each.kill()


def join(page: Page, chat: Chat, name: str) -> Page:
    """Somebody comes in."""
    page.goto(chat.url)
    page.fill("#name", name)
    page.press("#name", "Enter")
    is_live(page)
    return page


@contextmanager
def person(browser: Browser, chat: Chat, name: str, size: tuple[int, int] = WIDE) -> Iterator[Page]:
    """The page of somebody who has come in, in a browser of their own."""
    with window(browser, size) as context:
        yield join(context.new_page(), chat, name)


def say(page: Page, text: str) -> None:
    """Types a message and sends it by Enter."""
    page.fill("#text", text)
    page.press("#text", "Enter")


def test_two_pages_and_a_terminal_talk_to_each_other(browser: Browser, chat: Chat, client: Client) -> None:
    with person(browser, chat, "Ann") as ann:
        tom = client("Tom")
        tom.until(r"\d\d:\d\d \* You are Tom\. Here: Ann, Tom\n")
        with person(browser, chat, "Bob") as bob:
            tom.until(r"\* Bob has joined\n")
            expect(ann.locator("#people li")).to_have_text(["Ann (you)", "Bob", "Tom"])
            expect(ann.locator("#count")).to_have_text("3")
            say(ann, "Good morning")
            tom.until(r"\d\d:\d\d Ann: Good morning\n")
            expect(bob.locator("#log .body")).to_have_text(["Good morning"])
            tom.type("Hej ✓\n")
            expect(ann.locator("#log .body")).to_have_text(["Good morning", "Hej ✓"])
            expect(ann.locator("#log .author")).to_have_text(["You", "Tom"])
            expect(bob.locator("#log .author")).to_have_text(["Ann", "Tom"])
            assert re.fullmatch(
                r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00",
                ann.locator("#log time").first.get_attribute("datetime") or "",
            )
        tom.until(r"\* Bob has left\n")
        expect(ann.locator("#people li")).to_have_text(["Ann (you)", "Tom"])
        tom.type("/quit\n")
        assert tom.end() == 0 and tom.stderr == ""
        expect(ann.locator("#people li")).to_have_text(["Ann (you)"])
        expect(ann.locator("#log .news").last).to_contain_text("Tom has left")


def test_names_change_and_are_one_person_s_alone(browser: Browser, chat: Chat, client: Client) -> None:
    with person(browser, chat, "Ann") as ann, person(browser, chat, "Bob") as bob:
        bob.fill("#new-name", "ANN")
        bob.press("#new-name", "Enter")
        expect(bob.locator("#error")).to_have_text("ANN is taken")
        bob.fill("#new-name", "  Bobby   Tables ")
        bob.press("#new-name", "Enter")
        expect(bob.locator("#people .me")).to_have_text("Bobby Tables (you)")
        expect(bob.locator("#error")).to_be_hidden()
        expect(ann.locator("#log .news").last).to_contain_text("Bob is now Bobby Tables")
        tom = client("Tom")
        tom.until("You are Tom")
        tom.type("/rename ann\n")
        tom.until("! ann is taken")
        tom.type("/rename Tim\n")
        tom.until(r"\* Tom is now Tim\n")
        tom.type("it is me\n")
        expect(ann.locator("#log .author").last).to_have_text("Tim")
        other = client("tim")
        assert other.end() == 1
        assert other.stderr == "tim is taken; choose another name by --name\n"


def test_what_is_wrong_is_told_to_its_sender_alone(browser: Browser, chat: Chat) -> None:
    with person(browser, chat, "Ann") as ann, person(browser, chat, "Bob") as bob:
        say(ann, "x" * 501)
        expect(ann.locator("#error")).to_have_text("A message has at most 500 characters, this has 501")
        expect(ann.locator("#text")).to_have_value("x" * 501)
        for text, told in [
            ('{"type": "message", "text": "' + "x" * 501 + '"}', "A message has at most 500 characters, this has 501"),
            ('{"type": "message", "text": " "}', "A message needs a text"),
            ('{"type": "message"}', "A message needs a text"),
            ('{"type": "rename", "name": 5}', "A name has 1 to 24 characters"),
            ('{"type": "rename", "name": "a\\u0000b"}', "A name has 1 to 24 characters"),
            ('{"type": "join", "name": "Ann"}', "You are here already, as Ann"),
            ('{"type": "shout"}', "a message is an object with a type: join, rename, message, leave"),
            ("[]", "a message is an object with a type: join, rename, message, leave"),
            ("{", "Invalid JSON"),
        ]:
            ann.evaluate("text => window.wire.send(text)", text)
            expect(ann.locator("#error")).to_have_text(told)
        say(ann, "still here")
        expect(ann.locator("#error")).to_be_hidden()
        expect(bob.locator("#log .body")).to_have_text(["still here"])
        assert not bob.evaluate("heard.some(frame => frame.includes('error'))")


def test_what_others_write_is_text_and_no_html(browser: Browser, chat: Chat) -> None:
    evil = "<img src=x onerror=alert(1)>"
    with person(browser, chat, "<b>Eve</b>") as eve, person(browser, chat, "Ann") as ann:
        say(eve, evil)
        expect(ann.locator("#log .body")).to_have_text(evil)
        expect(ann.locator("#log .author")).to_have_text("<b>Eve</b>")
        expect(ann.locator("#people li").first).to_have_text("<b>Eve</b>")
        assert ann.locator("#log img, #log b, #people b").count() == 0


def test_the_door_tells_why_it_stays_shut(browser: Browser, chat: Chat) -> None:
    with person(browser, chat, "Ann") as ann, window(browser) as context:
        page = context.new_page()
        page.goto(chat.url)
        page.fill("#name", "ann")
        page.press("#name", "Enter")
        expect(page.locator("#enter-error")).to_have_text("ann is taken")
        expect(page.locator("#name")).to_be_focused()
        page.fill("#name", "Bob")
        page.press("#name", "Enter")
        is_live(page)
        page.reload()
        is_live(page)
        expect(page.locator("#people .me")).to_have_text("Bob (you)")
        page.click("#leave")
        expect(page.locator("#name")).to_be_focused()
        expect(ann.locator("#people li")).to_have_text(["Ann (you)"])


def test_everyone_comes_back_when_the_server_does(browser: Browser, chat: Chat, client: Client) -> None:
    with person(browser, chat, "Ann") as ann:
        tom = client("Tom")
        tom.until("You are Tom")
        code, rest = chat.interrupt()
        assert (code, rest) == (0, "")
        expect(ann.locator("#status")).to_have_text("Reconnecting…")
        expect(ann.locator("#say button")).to_be_disabled()
        tom.until(r"! ws://127.0.0.1:\d+/: .*; the next attempt is in \d\.\d s")
        chat.start()
        is_live(ann, 15_000)
        tom.until(r"(?s)You are Tom.*You are Tom")
        expect(ann.locator("#people li")).to_have_text(["Ann (you)", "Tom"])
        say(ann, "back again")
        tom.until("Ann: back again")


def test_the_client_works_in_a_pipe(chat: Chat, client: Client) -> None:
    tom = client("Tom")
    tom.until("You are Tom")
    command = [
        sys.executable,
        "-W",
        "error",
        str(CHAT / "client.py"),
        chat.url.replace("http", "ws"),
        "--name",
        "Robot",
    ]
    done = subprocess.run(
        command, input="one\ntwo\n", env=environment(), capture_output=True, encoding="utf-8", timeout=20, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert [re.sub(r"^\d\d:\d\d ", "", line) for line in done.stdout.splitlines()] == [
        "* You are Robot. Here: Robot, Tom",
        "Robot: one",
        "Robot: two",
    ]
    tom.until(r"(?s)Robot: one.*Robot: two.*\* Robot has left")


def test_ctrl_c_in_the_terminal_leaves_quietly(chat: Chat, client: Client) -> None:
    tom = client("Tom")
    tom.until("You are Tom")
    tom.signal(signal.SIGINT)
    assert tom.end() == 0 and tom.stderr == ""


def test_a_url_that_is_none_is_told() -> None:
    command = [sys.executable, str(CHAT / "client.py"), "127.0.0.1:3000"]
    done = subprocess.run(
        command, input="one\n", env=environment(), capture_output=True, text=True, timeout=20, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[1:] == [
        "client.py: error: '127.0.0.1:3000' is not a WebSocket URL; it begins with ws:// or wss:// and a host"
    ]


def test_a_port_in_use_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, str(CHAT / "server.py"), str(port)]
        done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 1
    assert f"port {port} is in use; choose another, or 0 for a free one" in done.stderr


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_nothing_sticks_out_of_the_page(browser: Browser, chat: Chat, size: tuple[int, int]) -> None:
    with person(browser, chat, "a-name-as-long-as-can-be", size) as page, person(browser, chat, "W" * 24) as other:
        for _ in range(20):
            say(other, "a word that does not end " + "x" * 200)
        expect(page.locator("#log .body")).to_have_count(20)
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
        assert page.evaluate("document.documentElement.scrollHeight") <= size[1]
        box = page.locator("#scroll")
        assert box.evaluate("box => box.scrollWidth") <= box.evaluate("box => box.clientWidth")
        page.evaluate("window.wire.send('{')")  # the error takes room away at the end
        expect(page.locator("#error")).to_be_visible()
        expect(page.locator("#log .body").last).to_be_in_viewport()
        for control in ("#say button", "#leave", "#rename button"):
            expect(page.locator(control)).to_be_in_viewport(ratio=1)
