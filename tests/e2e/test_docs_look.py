"""How the page /docs looks and reads, in Chromium: accessible by axe, in every width and theme, for applications that
are great, empty, mounted or encrypted.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.cli.processes import Running
from tests.e2e.docs_page import REFUSED_MS, console_of, open_docs, open_entry, send, watch
from tests.node import require_package

Serve = Callable[..., str]

GREAT = """\
from typing import TypedDict
from wireloom import App, Root, Walker, entry, spec, websocket

app = App(database="sqlite://")


class Message(TypedDict):
    text: str


for number in range(250):
    @app.websocket(f"/ws/{number}/{{room}}", name=f"socket{number}")
    async def handle(message: Message, room: int) -> Message:
        return message

    walker = type(f"Walker{number}", (Walker,), {
        "__annotations__": {"text": str}, "__module__": __name__,
        "run": entry(Root)(lambda self, here: None),
    })
    app.add(spec(public=True, path=f"/walker/{number}")(walker))
"""

MOUNTED = """\
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount
from wireloom import App

app = App(database="sqlite://")


@app.websocket("/echo")
async def echo(message: str) -> str:
    return message


app.events()
uvicorn.run(Starlette(routes=[Mount("/rt", app=app)]), port=0)
"""

ECHO = """\
from wireloom import App

app = App()


@app.websocket("/echo")
async def echo(message: str) -> str:
    return message
"""

EMPTY = "from wireloom import App\n\napp = App()\n"


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Serves an application's source; gives its URL."""
    started: list[Running] = []

    def start(source: str, *arguments: str, name: str = "served") -> str:
        (tmp_path / f"{name}.py").write_text(source)
        started.append(Running(("serve", f"{name}.py", "--port", "0", *arguments), tmp_path, {}))
        return started[-1].started().replace("ws", "http", 1).rstrip("/")

    yield start
    for running in started:
        running.kill()


@pytest.fixture(scope="module")
def axe() -> str:
    """The source of axe, which finds what is not accessible."""
    return (require_package("axe-core@4.10.3").modules / "axe-core" / "axe.min.js").read_text("utf-8")


AXE_RUN = """async () => {
  const { violations } = await axe.run(document, { resultTypes: ["violations"] });
  return violations.flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) => [id, html, failureSummary]));
}"""


CUT_OFF = """() => [...document.querySelectorAll('.entry > summary > *, .inside h3, .field, .row, .address')]
  .filter((each) => each.scrollWidth > each.clientWidth + 1 && each.clientWidth > 1 && each.tagName !== "svg")
  .map((each) => each.textContent)"""


def fill_page(page: Page, url: str) -> None:
    """Has something of everything on the page."""
    open_docs(page, url)
    chat = console_of(page, "channel_chat", connect=False)
    chat.get_by_label("floor", exact=True).fill("3")
    chat.get_by_role("button", name="Connect", exact=True).click()
    chat.get_by_role("button", name="Add author").click()
    chat.get_by_role("button", name="Add to tags").click()
    chat.get_by_label("text", exact=True).fill("x" * 300)
    expect(chat.locator(".badge")).to_have_text("Open")
    send(chat)
    chat.locator(".frame.received summary").click()
    chat.locator(".snippet summary").click()
    chat.get_by_label("text", exact=True).fill("")
    secret = console_of(page, "channel_secret", connect=False)
    secret.get_by_role("button", name="Connect", exact=True).click()
    expect(secret.locator(".frame.bad")).to_be_visible(timeout=REFUSED_MS)
    open_entry(page, "channel_events")
    form = open_entry(page, "post_Find_by_node_id").locator("form")
    form.get_by_label("node_id").fill("y" * 200)
    form.get_by_role("button", name="Send").click()
    expect(form.locator(".outcome")).to_contain_text("4")


@pytest.mark.parametrize("width", [400, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_accessible_and_not_wider_than_the_window(
    browser: Browser, docs_url: str, axe: str, width: int, scheme: str
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
    page = context.new_page()
    problems = watch(page, docs_url)
    fill_page(page, docs_url)
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(20, 24, 29)")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate(CUT_OFF) == []
    page.evaluate(axe)
    assert page.evaluate(AXE_RUN) == []
    context.close()
    assert problems == []


def test_the_theme_is_chosen_and_remembered(browser: Browser, docs_url: str) -> None:
    context = browser.new_context(color_scheme="light")
    page = context.new_page()
    open_docs(page, docs_url)
    button = page.get_by_role("button", name="Theme")
    expect(button).to_have_text("Theme: auto")
    button.click()
    button.click()
    expect(button).to_have_text("Theme: dark")
    expect(page.locator("body")).to_have_css("background-color", "rgb(20, 24, 29)")
    open_docs(page, docs_url, "?again")
    expect(page.locator("body")).to_have_css("background-color", "rgb(20, 24, 29)")
    page.get_by_role("button", name="Theme").click()
    expect(page.locator("body")).to_have_css("background-color", "rgb(255, 255, 255)")
    context.close()


def test_nothing_moves_for_those_who_do_not_want_it(browser: Browser, docs_url: str) -> None:
    for wish, duration in (("reduce", "0s"), ("no-preference", "0.12s, 0.12s")):
        context = browser.new_context(reduced_motion=wish)  # type: ignore[arg-type]
        page = context.new_page()
        open_docs(page, docs_url)
        expect(page.locator("#theme")).to_have_css("transition-duration", duration)
        context.close()


def test_500_endpoints_are_listed_and_made_only_when_they_are_opened(browser: Browser, serve: Serve) -> None:
    url = serve(GREAT)
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    problems = watch(page, url)
    open_docs(page, url)
    assert page.locator(".entry").count() > 500
    assert page.locator(".inside > *").count() == 0
    assert page.evaluate("document.querySelectorAll('*').length / document.querySelectorAll('.entry').length") < 20
    console = console_of(page, "channel_socket249", connect=False)
    console.get_by_label("room", exact=True).fill("high")
    console.get_by_role("button", name="Connect", exact=True).click()
    expect(console.locator(".frame.bad")).to_contain_text(
        "The server has nothing at this path: 404.", timeout=REFUSED_MS
    )
    page.get_by_label("Find an endpoint").fill("/ws/249")
    assert page.locator(".entry:visible").count() == 1
    page.close()
    assert problems == []


def test_an_application_without_anything(browser: Browser, serve: Serve) -> None:
    url = serve(EMPTY)
    page = browser.new_page()
    problems = watch(page, url)
    open_docs(page, url)
    expect(page.locator("#emptiness")).to_have_text(
        "This application has no WebSocket endpoints and no HTTP endpoints that documents tell of."
    )
    expect(page.get_by_label("Token", exact=True)).to_have_count(0)
    console = console_of(page, "channel", connect=False)
    console.get_by_role("button", name="Connect", exact=True).click()
    expect(console.locator(".frame.bad")).to_contain_text("There is nothing at this path (404).", timeout=REFUSED_MS)
    page.close()
    assert problems == []


def test_below_the_path_where_it_is_mounted(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "mounted.py").write_text(MOUNTED)
    server = Running((), tmp_path, {}, command=[sys.executable, "mounted.py"])
    try:
        url = server.until(r"Uvicorn running on (http://\S+)")[1] + "/rt"
        page = browser.new_page()
        problems = watch(page, url)
        open_docs(page, url)
        console = console_of(page, "channel_echo")
        expect(console.locator(".address")).to_have_text(f"{url.replace('http', 'ws')}/echo")
        console.get_by_label("Text", exact=True).fill("mounted")
        send(console)
        expect(console.locator(".frame.received .line")).to_have_text("mounted")
        form = open_entry(page, "me").locator("form")
        form.get_by_role("button", name="Send").click()
        expect(form.locator(".outcome")).to_contain_text("401")
        page.close()
        assert problems == []
    finally:
        server.kill()


def test_behind_tls(browser: Browser, serve: Serve, certificate: tuple[str, str]) -> None:
    files = ("--ssl-certfile", certificate[0], "--ssl-keyfile", certificate[1])
    url = serve(ECHO, *files)
    assert url.startswith("https://")
    context = browser.new_context(ignore_https_errors=True)
    page = context.new_page()
    problems = watch(page, url)
    open_docs(page, url)
    console = console_of(page, "channel_echo")
    expect(console.locator(".address")).to_have_text(f"{url.replace('https', 'wss')}/echo")
    console.get_by_label("Text", exact=True).fill("encrypted")
    send(console)
    expect(console.locator(".frame.received .line")).to_have_text("encrypted")
    context.close()
    assert problems == []
