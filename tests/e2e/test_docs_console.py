"""The live console of the page /docs in Chromium: every face, forms and JSON, frames, closes, floods and failures."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.e2e.docs_page import REFUSED_MS, console_of, open_docs, open_entry, send, watch
from tests.e2e.relay import Relay

HOSTILE = "<img src=x onerror=alert(1)>"


def received(console: Locator) -> Locator:
    return console.locator(".frame.received .line")


def json_of(console: Locator) -> object:
    """What the editor holds, by its JSON side."""
    console.locator(".switch label", has_text="JSON").first.click()
    value = json.loads(console.locator("textarea.json").input_value())
    console.locator(".switch label", has_text="Form").first.click()
    return value


def choose(console: Locator, message: str) -> None:
    console.get_by_label("Message", exact=True).select_option(label=message)


# -- every face --------------------------------------------------------------------------------------------------------


def test_a_typed_handler_with_parameters(docs_page: Page, docs_url: str) -> None:
    console = console_of(docs_page, "channel_chat", connect=False)
    console.get_by_role("button", name="Connect", exact=True).click()
    expect(console.locator(".outcome")).to_have_text("Fill in floor first.")
    assert console.get_by_label("room", exact=True).locator("option").all_text_contents() == ["attic", "lobby"]
    console.get_by_label("room", exact=True).select_option("lobby")
    console.get_by_label("floor", exact=True).fill("3")
    console.get_by_label("limit", exact=True).fill("7")
    console.get_by_label("tag", exact=True).fill("a b\nc")
    expect(console.locator(".address")).to_have_text(
        f"{docs_url.replace('http', 'ws')}/chat/lobby/3?limit=7&tag=a+b&tag=c"
    )
    console.get_by_label("Subprotocols").fill("v1.chat")
    console.get_by_role("button", name="Connect", exact=True).click()
    expect(console.locator(".frame.note").nth(1)).to_contain_text("Open, with the subprotocol v1.chat")
    expect(console.get_by_label("floor", exact=True)).to_be_disabled()
    console.get_by_label("text", exact=True).fill("hello")
    send(console)
    frame = console.locator(".frame.received")
    frame.locator("summary").click()
    assert json.loads(frame.locator("pre").text_content() or "") == {
        "said": {
            "text": "hello", "author": None, "mood": "calm", "loud": False, "quiet": None, "weight": 1.0, "tags": [],
            "answers": [], "extra": {}, "pair": [1, "a"], "either": None,
        },
        "room": "lobby", "floor": 3, "limit": 7, "tags": ["a b", "c"],
    }  # fmt: skip
    expect(console.locator(".frame.sent .line")).to_have_text('{"text":"hello"}')


def test_the_event_socket_and_its_named_events(docs_page: Page) -> None:
    console = console_of(docs_page, "channel_events")
    choose(console, "walker.Count")
    console.get_by_label("name", exact=True).fill("Ada")
    send(console)
    expect(received(console).last).to_have_text('{"status":200,"reports":[3]}')
    choose(console, "subscribe")
    console.get_by_label("channel_ids 1").fill("tea")
    console.get_by_role("button", name="Add to channel_ids").click()
    console.get_by_label("channel_ids 2").fill("coffee")
    console.get_by_label("id", exact=True).select_option(label="integer")
    console.get_by_label("integer", exact=True).fill("5")
    send(console)
    expect(received(console).last).to_contain_text('"channel_ids":["tea","coffee"]')
    expect(received(console).last).to_contain_text('"id":5')


def test_a_walker_a_route_and_what_takes_any_path(docs_page: Page) -> None:
    greet = console_of(docs_page, "channel_Greet")
    greet.get_by_label("name", exact=True).fill("Ada")
    send(greet)
    expect(received(greet)).to_contain_text("hello Ada")

    shout = console_of(docs_page, "channel_Shout", connect=False)
    shout.get_by_label("room", exact=True).fill("a/b")
    shout.get_by_role("button", name="Connect", exact=True).click()
    shout.get_by_label("word", exact=True).fill("hey")
    expect(shout.locator(".badge")).to_have_text("Open")
    send(shout)
    expect(received(shout)).to_contain_text("HEY in a/b")

    anywhere = console_of(docs_page, "channel", connect=False)
    anywhere.get_by_label("Path and query").fill("somewhere/else?a=1")
    anywhere.get_by_role("button", name="Connect", exact=True).click()
    expect(anywhere.locator(".badge")).to_have_text("Open")
    anywhere.get_by_label("Text", exact=True).fill("as it is")
    send(anywhere)
    expect(received(anywhere)).to_have_text("as it is")
    assert docs_page.locator(".badge[data-state=open]").count() == 3  # all at once


def test_texts_and_bytes(docs_page: Page) -> None:
    console = console_of(docs_page, "channel_echo")
    console.get_by_label("Text", exact=True).fill("two\nlines")
    send(console)
    expect(received(console).last).to_have_text("two\nlines")
    choose(console, "Binary")
    console.get_by_label("Bytes", exact=True).fill("00 ff 4")
    send(console)
    expect(console.locator("> .outcome")).to_have_text("Hex is pairs of 0–9 and a–f.")
    console.get_by_label("Bytes", exact=True).fill("00 ff 41")
    send(console)
    expect(received(console).last).to_have_text("00 ff 41")
    console.get_by_label("Encoding").select_option("base64")
    console.get_by_label("Bytes", exact=True).fill("aGk=")
    send(console)
    expect(received(console).last).to_have_text("68 69")
    console.get_by_label("or a file").set_input_files({"name": "a.bin", "mimeType": "", "buffer": bytes(range(20))})
    expect(console.get_by_text("a.bin, 20 B")).to_be_visible()
    send(console)
    expect(received(console)).to_have_count(4)
    console.locator(".frame.received summary").last.click()
    expect(console.locator(".frame.received pre").last).to_contain_text("0010  10 11 12 13")


def test_any_json_value(docs_page: Page) -> None:
    console = console_of(docs_page, "channel_anything")
    assert console.locator(".switch label", has_text="Form").count() == 0
    console.locator("textarea.json").fill("[1, 12345678901234567890]")
    send(console)
    expect(received(console)).to_have_text("[1,12345678901234567890]")
    choose(console, "Text, as it is")
    console.get_by_label("Text", exact=True).fill("{")
    send(console)
    expect(received(console).last).to_contain_text("Invalid JSON")


# -- tokens ------------------------------------------------------------------------------------------------------------


def register(page: Page, name: str) -> str:
    form = open_entry(page, "register").locator("form")
    form.get_by_label("username", exact=True).fill(name)
    form.get_by_role("button", name="Send").click()
    expect(form.locator(".outcome")).to_contain_text("201")
    token = json.loads(form.get_by_label("Answer", exact=True).text_content() or "")["data"]["token"]
    form.get_by_role("button", name="Use this token").click()
    page.locator("#register > summary").click()
    return str(token)


def test_a_token_goes_as_a_subprotocol_and_never_in_the_address(docs_page: Page) -> None:
    console = console_of(docs_page, "channel_secret", connect=False)
    console.get_by_role("button", name="Connect", exact=True).click()
    refused = console.locator(".frame.bad")
    expect(refused).to_contain_text("It needs a token, and none was given (401).", timeout=REFUSED_MS)
    expect(console.get_by_role("button", name="Reconnect")).to_be_enabled()
    token = register(docs_page, "dora")
    with docs_page.expect_websocket() as opened:
        console.get_by_role("button", name="Reconnect").click()
    assert token not in opened.value.url
    expect(console.locator(".badge")).to_have_text("Open")
    choose(console, "square")
    console.get_by_label("side", exact=True).fill("2.5")
    send(console)
    expect(received(console)).to_have_text('{"user":"dora","shape":"Square"}')
    everything = docs_page.evaluate("document.documentElement.outerHTML + location.href")
    assert everything.count(token) == 1  # in the answer of its making, and nowhere else


def test_a_token_of_one_connection_wins(docs_page: Page) -> None:
    token = register(docs_page, "emil")
    register(docs_page, "frida")
    console = console_of(docs_page, "channel_secret", connect=False)
    console.get_by_label("Token of this connection").fill(f"Bearer {token}")
    with docs_page.expect_websocket() as opened:
        console.get_by_role("button", name="Connect", exact=True).click()
    assert token not in opened.value.url
    expect(console.locator(".badge")).to_have_text("Open")
    send(console)
    expect(received(console)).to_have_text('{"user":"emil","shape":"Circle"}')


def test_a_wrong_token_is_told(docs_page: Page) -> None:
    console = console_of(docs_page, "channel_secret", connect=False)
    console.get_by_label("Token of this connection").fill("wrong")
    console.get_by_role("button", name="Connect", exact=True).click()
    expect(console.locator(".frame.bad")).to_contain_text("The token is wrong or has expired", timeout=REFUSED_MS)
    console.get_by_label("Token of this connection").fill("a b")
    console.get_by_role("button", name="Reconnect").click()
    expect(console.locator("> .outcome")).to_contain_text("characters that a handshake cannot carry")


# -- forms -------------------------------------------------------------------------------------------------------------


def test_a_form_has_every_kind_of_field(docs_page: Page) -> None:
    console = console_of(docs_page, "channel_chat", connect=False)
    assert json_of(console) == {"text": ""}
    console.get_by_label("text", exact=True).fill("hi")
    console.get_by_role("button", name="Add author").click()
    console.get_by_label("name", exact=True).fill("Ada")
    console.get_by_label("age", exact=True).fill("36")
    console.get_by_label("mood", exact=True).select_option("merry")
    console.get_by_label("loud", exact=True).select_option("true")
    console.get_by_label("weight", exact=True).fill("2.5e0")
    console.get_by_role("button", name="Add to tags").click()
    console.get_by_label("tags 1").fill("x")
    console.get_by_role("button", name="Add to answers").click()
    answer = console.get_by_role("group", name="answers 1")
    answer.get_by_label("text", exact=True).fill("yes")
    answer.get_by_role("button", name="Add to answers").click()
    console.get_by_label("extra", exact=True).last.fill('{"a": 1}')
    console.get_by_role("button", name="Add pair").first.click()
    console.get_by_label("pair 2", exact=True).last.fill("b")
    console.get_by_label("either", exact=True).last.select_option(label="integer")
    console.get_by_label("integer", exact=True).fill("0")
    value = json_of(console)
    assert isinstance(value, dict)
    assert value.pop("answers") == [{"text": "yes", "answers": [{"text": "", "pair": [1, "b"]}]}]
    assert value["author"] == {"name": "Ada", "age": 36}
    assert {name: value[name] for name in ("text", "mood", "loud", "weight", "tags", "extra", "either")} == {
        "text": "hi", "mood": "merry", "loud": True, "weight": 2.5, "tags": ["x"], "extra": {"a": 1}, "either": 0,
    }  # fmt: skip
    console.get_by_role("button", name="Remove author").first.click()
    console.get_by_role("button", name="Remove from tags").click()
    value = json_of(console)
    assert isinstance(value, dict) and "author" not in value and value["tags"] == []


def test_json_goes_into_the_form_and_back(docs_page: Page) -> None:
    console = console_of(docs_page, "channel_chat", connect=False)
    text = {
        "text": "hi", "author": {"name": "Ada", "age": 3}, "mood": "merry", "quiet": False, "weight": 0.5,
        "tags": ["a", ""], "answers": [{"text": "x", "either": "y"}], "extra": {"z": 1}, "pair": [2, "c"], "either": 4,
    }  # fmt: skip
    console.locator(".switch label", has_text="JSON").first.click()
    console.locator("textarea.json").fill(json.dumps(text))
    console.locator(".switch label", has_text="Form").first.click()
    expect(console.get_by_label("age", exact=True).first).to_have_value("3")
    assert json_of(console) == text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"text": "hi", "other": 1}', "The form cannot show this value"),
        ('{"text": "two\\nlines"}', "The form cannot show this value"),
        ('{"text": "hi"', "This is no JSON"),
        ('{"text": "hi", "weight": 12345678901234567}', "would round a number"),
    ],
)
def test_what_a_form_cannot_show_stays_text(docs_page: Page, text: str, told: str) -> None:
    console = console_of(docs_page, "channel_chat", connect=False)
    console.locator(".switch label", has_text="JSON").first.click()
    console.locator("textarea.json").fill(text)
    console.locator(".switch label", has_text="Form").first.click()
    expect(console.locator(".editor > .hint")).to_contain_text(told)
    expect(console.locator("textarea.json")).to_have_value(text)


def test_what_does_not_fit_the_type_is_told_and_may_be_sent(docs_page: Page) -> None:
    console = console_of(docs_page, "channel_chat", connect=False)
    hints = console.get_by_role("list", name="Hints")
    expect(hints).to_have_text("$.text at least 1 character")
    console.get_by_label("text", exact=True).fill("a")
    expect(hints).to_be_hidden()
    console.get_by_label("weight", exact=True).fill("11")
    expect(hints).to_have_text("$.weight at most 10")
    console.get_by_label("weight", exact=True).fill("much")
    expect(hints).to_have_text("$.weight must be number")
    console.locator(".switch label", has_text="JSON").first.click()
    console.locator("textarea.json").fill('{"mood": "sad", "tags": [1], "pair": [1, 2], "author": {"name": 3}}')
    assert sorted(hints.locator("li").all_text_contents()) == [
        "$.author.name must be string",
        '$.mood must be one of "calm", "merry"',
        "$.pair[1] must be string",
        "$.tags[0] must be string",
        "$.text is required",
    ]
    console.get_by_label("floor", exact=True).fill("1")
    console.get_by_role("button", name="Connect", exact=True).click()
    expect(console.locator(".badge")).to_have_text("Open")
    send(console)
    expect(received(console)).to_contain_text("error")


def test_unions_that_contain_themselves(docs_page: Page) -> None:
    console = console_of(docs_page, "channel_add")
    assert console.get_by_label("tree", exact=True).locator("option").all_text_contents() == ["Add", "Value"]
    expect(console.get_by_label("left", exact=True)).to_have_value("1")
    console.get_by_label("left", exact=True).select_option(label="Add")
    assert console.get_by_label("left", exact=True).count() == 2
    console.get_by_label("tree", exact=True).select_option(label="Value")
    console.get_by_label("value", exact=True).fill("3")
    assert json_of(console) == {"tree": {"type": "value", "value": 3}}
    send(console)
    expect(received(console)).to_have_text('"added"')


# -- frames ------------------------------------------------------------------------------------------------------------


def test_frames_are_text_and_no_markup(docs_page: Page) -> None:
    console = console_of(docs_page, "channel_echo")
    console.get_by_label("Text", exact=True).fill(json.dumps({"type": HOSTILE, "text": HOSTILE}))
    send(console)
    expect(console.locator(".frame.received .about")).to_contain_text("<img src=x")
    console.locator(".frame.received summary").click()
    expect(console.locator(".frame.received pre")).to_contain_text(HOSTILE)
    assert docs_page.locator("img").count() == 0


def test_a_flood_is_bounded_and_what_is_dropped_is_told(docs_page: Page) -> None:
    console = console_of(docs_page, "channel_flood")
    console.get_by_label("message", exact=True).fill("5000")
    send(console)
    counted = console.locator(".counted")
    # two notes and what was sent, too
    expect(counted).to_have_text("1000 frames; 4003 older dropped, for 1000 are kept", timeout=20_000)
    assert console.locator(".frame").count() == 1000
    expect(received(console).last).to_contain_text('"number":4999')
    at_the_end = "(list) => list.scrollHeight - list.scrollTop - list.clientHeight < 5"
    assert console.locator(".frames").evaluate(at_the_end)
    console.get_by_role("button", name="Pause scrolling").click()
    console.locator(".frames").evaluate("(list) => { list.scrollTop = 0; }")
    console.get_by_label("message", exact=True).fill("10")
    send(console)
    expect(counted).to_have_text("1000 frames; 4014 older dropped, for 1000 are kept")
    assert not console.locator(".frames").evaluate(at_the_end)
    expect(console.get_by_role("button", name="Pause scrolling")).to_have_attribute("aria-pressed", "true")
    console.get_by_label("Find in frames").fill('"number":5,')
    expect(counted).to_contain_text("1 of 1000 frames")
    console.get_by_label("Find in frames").fill("")
    console.get_by_label("Show").select_option("sent")
    expect(counted).to_contain_text("1 of 1000 frames")
    console.get_by_role("button", name="Clear").click()
    expect(console.get_by_text("Nothing was sent or received yet.")).to_be_visible()
    assert console.locator(".frame").count() == 0


def test_great_frames_are_cut_and_old_ones_go(docs_page: Page) -> None:
    console = console_of(docs_page, "channel_echo")
    console.get_by_label("Text", exact=True).evaluate("(area) => { area.value = 'x'.repeat(3 * 1024 * 1024); }")
    for _ in range(10):
        send(console)
    expect(received(console).last).to_be_visible(timeout=20_000)
    expect(console.locator(".counted")).to_contain_text("older dropped", timeout=20_000)
    console.locator(".frame summary").last.click()
    expect(console.locator(".frame .hint").last).to_have_text("Cut: 3.0 MiB in all.")


def test_frames_are_copied_and_downloaded(docs_page: Page, tmp_path: Path) -> None:
    docs_page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    console = console_of(docs_page, "channel_echo")
    console.get_by_label("Text", exact=True).fill("hello")
    send(console)
    expect(received(console)).to_have_text("hello")
    console.get_by_role("button", name="Copy", exact=True).click()
    expect(docs_page.locator("#announcements")).to_have_text("Copied")
    lines = docs_page.evaluate("navigator.clipboard.readText()").split("\n")
    assert [line[13:] for line in lines[2:]] == ["↑ hello", "↓ hello"]
    with docs_page.expect_download() as started:
        console.get_by_role("button", name="Download").click()
    started.value.save_as(tmp_path / "frames.json")
    frames = json.loads((tmp_path / "frames.json").read_text())
    assert [(frame["direction"], frame.get("text")) for frame in frames[2:]] == [
        ("sent", "hello"),
        ("received", "hello"),
    ]


def test_the_history_by_keyboard(docs_page: Page) -> None:
    console = console_of(docs_page, "channel_echo")
    text = console.get_by_label("Text", exact=True)
    for message in ("one", "two\nlines"):
        text.fill(message)
        text.press("Control+Enter")
    expect(received(console)).to_have_count(2)
    text.fill("draft")
    text.press("ArrowUp")
    expect(text).to_have_value("two\nlines")
    text.press("ArrowUp")  # from the last line to the first, as in any text
    expect(text).to_have_value("two\nlines")
    text.press("ArrowUp")
    expect(text).to_have_value("one")
    text.press("ArrowDown")
    text.press("Control+End")
    text.press("ArrowDown")
    expect(text).to_have_value("draft")


def test_the_history_brings_back_forms(docs_page: Page) -> None:
    console = console_of(docs_page, "channel_events")
    choose(console, "walker.Count")
    console.get_by_label("name", exact=True).fill("Ada")
    console.get_by_label("name", exact=True).press("Control+Enter")
    expect(received(console).last).to_contain_text("[3]")
    console.get_by_label("name", exact=True).fill("Bartholomew")
    console.get_by_label("name", exact=True).press("ArrowUp")
    expect(console.get_by_label("name", exact=True)).to_have_value("Ada")


# -- the connection ----------------------------------------------------------------------------------------------------


def test_closes_are_explained(docs_page: Page) -> None:
    console = console_of(docs_page, "channel_close")
    console.get_by_label("message", exact=True).fill("1012")
    send(console)
    note = console.locator(".frame.note").last
    expect(note).to_contain_text("the server restarts, or the endpoint was removed; clients come back")
    expect(note).to_contain_text(f"Closed with 1012 “{HOSTILE}”")
    expect(console.locator(".badge")).to_have_text("Closed")
    send(console)
    expect(console.locator("> .outcome")).to_have_text("Not connected: connect first.")
    console.get_by_role("button", name="Reconnect").click()
    expect(console.locator(".badge")).to_have_text("Open")
    console.get_by_text("Close with a code").click()
    console.get_by_label("Close code").fill("1012")
    console.get_by_role("button", name="Disconnect").click()
    expect(console.locator("> .outcome")).to_have_text("Pages may close with 1000, or with 3000 to 4999.")
    console.get_by_label("Close code").fill("4001")
    console.get_by_label("Reason").fill("enough")
    console.get_by_role("button", name="Disconnect").click()
    expect(console.locator(".frame.note").last).to_contain_text(
        "Closed with 4001 “enough”: a code of the application's own"
    )


def test_a_handshake_that_fails_has_likely_causes(docs_page: Page) -> None:
    chat = console_of(docs_page, "channel_chat", connect=False)
    chat.get_by_label("floor", exact=True).fill("high")
    chat.get_by_role("button", name="Connect", exact=True).click()
    refused = chat.locator(".frame.bad").last
    expect(refused).to_contain_text("A parameter does not fit its type", timeout=REFUSED_MS)
    chat.get_by_label("floor", exact=True).fill("1")
    chat.get_by_label("Subprotocols").fill("v9.chat")
    chat.get_by_role("button", name="Reconnect").click()
    expect(chat.locator(".frame.bad").last).to_contain_text(
        "None of the subprotocols offered is spoken here; these are: v2.chat, v1.chat.", timeout=REFUSED_MS
    )


def test_a_server_that_is_gone_is_told(browser: Browser, docs_url: str) -> None:
    network = Relay(urlsplit(docs_url).port or 0)
    page = browser.new_page()
    problems = watch(page, network.url)
    open_docs(page, network.url.rstrip("/"))
    console = console_of(page, "channel_echo", connect=False)
    network.cut()
    console.get_by_role("button", name="Connect", exact=True).click()
    expect(console.locator(".frame.bad")).to_contain_text(
        "The server cannot be reached at 127.0.0.1:", timeout=REFUSED_MS
    )
    assert console.locator(".frame.bad li").count() == 1
    page.close()
    assert problems == []


def test_at_400_pixels(browser: Browser, docs_url: str) -> None:
    page = browser.new_page(viewport={"width": 400, "height": 800})
    problems = watch(page, docs_url)
    open_docs(page, docs_url)
    expect(page.locator("#contents")).to_be_hidden()
    page.locator("#menu > summary").click()
    page.get_by_role("navigation").get_by_role("link", name="/echo").click()
    expect(page.locator("#contents")).to_be_hidden()
    console = page.locator("#channel_echo .console")
    console.get_by_role("button", name="Connect", exact=True).click()
    console.get_by_label("Text", exact=True).fill("x" * 500)
    send(console)
    expect(received(console)).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == 400
    page.close()
    assert problems == []
