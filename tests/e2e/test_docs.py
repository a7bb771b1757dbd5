"""The page /docs in Chromium: what it lists, what it sends, by mouse and by keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.cli.processes import Running

APPLICATION = """\
from dataclasses import replace
from typing import Annotated

import msgspec

from tests.declared import rest, schema
from wireloom import App


class Say(msgspec.Struct):
    text: Annotated[str, msgspec.Meta(min_length=1, description="<img src=x onerror=alert(1)>")]
    answers: list["Say"] = []


class Upload(msgspec.Struct):
    title: str


upload = schema(Upload)
upload["$defs"]["Upload"]["properties"]["file"] = {"type": "string", "format": "binary"}
upload["x-wireloom-multipart"] = True
ADDED = (
    rest("Find", "/walker/Find/{node_id}", "GET", message=schema(Say), response=schema(Say), tags=("walkers",)),
    rest("Upload", "/walker/Upload", "POST", message=upload, tags=("walkers",)),
)


class Documented(App):
    def _sources(self):
        sources = super()._sources()
        return replace(sources, endpoints=(*sources.endpoints, *ADDED))


app = Documented(database="sqlite://")
app.events()


@app.websocket("/chat/{room}", auth=True)
async def chat(message: Say, room: str) -> Say:
    \"\"\"Says <b>something</b>.\"\"\"
    return message

"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    directory = tmp_path_factory.mktemp("docs")
    (directory / "documented.py").write_text(APPLICATION)
    root = Path(__file__).parents[2]
    python_path = f"{root / 'src'}:{root}"
    server = Running(("serve", "documented.py", "--port", "0"), directory, {"PYTHONPATH": python_path})
    try:
        yield server.started().replace("ws://", "http://").rstrip("/")
    finally:
        server.kill()


@pytest.fixture
def page(browser: Browser, url: str) -> Iterator[Page]:
    """The page, which must meet no error and load nothing from elsewhere."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("dialog", lambda dialog: (problems.append(dialog.message), dialog.dismiss()))
    page.on("console", lambda told: problems.append(told.text) if "Content Security Policy" in told.text else None)
    page.on(
        "request", lambda request: problems.append(request.url) if not request.url.startswith((url, "data:")) else None
    )
    page.goto(f"{url}/docs")
    expect(page.locator("#groups")).to_have_attribute("aria-busy", "false")
    yield page
    page.close()
    assert problems == []


def open_entry(page: Page, name: str) -> None:
    page.locator(f"[id='{name}'] > summary").click()


def test_everything_is_listed_by_tag(page: Page) -> None:
    expect(page).to_have_title("Wireloom application")
    headings = page.locator("section.group > h2")
    assert headings.all_text_contents() == ["Walkers", "Users", "API keys", "Publishing", "WebSocket"]
    assert page.locator("section[aria-label=WebSocket] .path").all_text_contents() == ["/chat/{room}", "/websocket"]
    assert page.locator("#register > summary .lock").count() == 0
    expect(page.locator("#me > summary").get_by_role("img", name="needs a token")).to_be_visible()
    expect(page.locator("#channel_chat > summary").get_by_role("img", name="needs a token")).to_be_visible()


def test_texts_of_the_application_are_no_markup(page: Page) -> None:
    open_entry(page, "channel_chat")
    expect(page.locator("#channel_chat > summary")).to_contain_text("Says <b>something</b>.")
    expect(page.locator("#channel_chat .inside")).to_contain_text("<img src=x onerror=alert(1)>")
    assert page.locator("img, #channel_chat b:has-text('something')").count() == 0


def test_a_type_that_contains_itself_opens_step_by_step(page: Page) -> None:
    open_entry(page, "channel_chat")
    rows = page.locator("#channel_chat .message").first
    for depth in range(3):
        rows.locator("summary", has_text="Say").nth(depth).click()
        expect(rows.locator(".name", has_text="answers")).to_have_count(depth + 2)


def test_a_request_is_tried_and_its_token_used(page: Page) -> None:
    open_entry(page, "register")
    form = page.locator("#register form")
    expect(form.locator("textarea")).to_have_value('{\n  "username": "bob",\n  "password": "correct horse"\n}')
    form.locator("textarea").fill('{"username": "carol", "password": "correct horse"}')
    form.get_by_role("button", name="Send").click()
    expect(form.locator(".outcome")).to_contain_text("201 Created")
    token = page.evaluate("JSON.parse(document.querySelector('#register pre').textContent).data.token")

    open_entry(page, "me")
    form = page.locator("#me form")
    form.get_by_role("button", name="Send").click()
    expect(form.locator(".outcome")).to_contain_text("401")
    page.get_by_label("Token", exact=True).fill(token)
    form.get_by_role("button", name="Send").click()
    expect(form.locator(".outcome")).to_contain_text("200 OK")
    expect(form.locator("pre")).to_contain_text('"username": "carol"')


def test_parameters_go_into_path_and_query(page: Page, url: str) -> None:
    open_entry(page, "get_Find_by_node_id")
    form = page.locator("#get_Find_by_node_id form")
    form.get_by_label("node_id").fill("a/b $&")
    form.get_by_label("text").fill("ü")
    with page.expect_request(lambda request: "/walker/Find/" in request.url) as sent:
        form.get_by_role("button", name="Send").click()
    assert sent.value.url == f"{url}/walker/Find/a%2Fb%20%24%26?text=%C3%BC"
    expect(form.locator(".outcome")).to_contain_text("404")


def test_a_file_is_sent_as_a_form(page: Page) -> None:
    open_entry(page, "post_Upload")
    form = page.locator("#post_Upload form")
    form.get_by_label("title").fill("A file")
    form.get_by_label("file").set_input_files({"name": "a.txt", "mimeType": "text/plain", "buffer": b"content"})
    with page.expect_request(lambda request: request.url.endswith("/walker/Upload")) as sent:
        form.get_by_role("button", name="Send").click()
    assert sent.value.headers["content-type"].startswith("multipart/form-data; boundary=")
    expect(form.locator(".outcome")).to_contain_text("404")


def test_by_keyboard(page: Page) -> None:
    page.locator("#login > summary").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.locator("#login")).to_have_attribute("open", "")
    page.locator("#login textarea").focus()
    page.keyboard.press("Tab")
    expect(page.locator("#login button")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#login .outcome")).to_contain_text("401")


def test_an_endpoint_is_found_by_its_words(page: Page) -> None:
    page.get_by_label("Find an endpoint").fill("post user")
    assert page.locator(".entry:visible .path").all_text_contents() == [
        "/user/login",
        "/user/logout",
        "/user/refresh-token",
        "/user/register",
        "/notify",
    ]
    page.get_by_label("Find an endpoint").fill("nowhere")
    expect(page.get_by_text("No endpoint matches.")).to_be_visible()


def test_a_link_opens_its_endpoint(page: Page) -> None:
    page.get_by_role("navigation").get_by_role("link", name="/user/password").click()
    expect(page.locator("#change_password")).to_have_attribute("open", "")


@pytest.mark.parametrize("width", [400, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_the_window(browser: Browser, url: str, width: int, scheme: str) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
    page.goto(f"{url}/docs")
    expect(page.locator("#groups")).to_have_attribute("aria-busy", "false")
    page.evaluate("document.querySelectorAll('details.entry').forEach((each) => { each.open = true; })")
    expect(page.locator("#register form")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == width
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(20, 24, 29)")
    page.close()


def test_a_document_that_cannot_be_read_is_told(browser: Browser, url: str) -> None:
    page = browser.new_page()
    page.route("**/asyncapi.json", lambda route: route.fulfill(status=503))
    page.goto(f"{url}/docs")
    expect(page.get_by_role("alert")).to_contain_text("asyncapi.json: 503")
    expect(page.locator("#register")).to_be_visible()
    page.close()
