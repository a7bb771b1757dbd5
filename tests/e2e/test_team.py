"""The team example in a real browser: people who log in, talk, come and go, and cannot speak for each other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.examples import NARROW, WIDE, Example, arrive, enter, person, window

# Remembers every state of the report's line, however short it stood.
WATCH_REPORT = """() => {
  const line = document.getElementById("report-state"), bar = document.getElementById("progress");
  window.seen = [];
  new MutationObserver(() => window.seen.push([bar.value, bar.max])).observe(line, { childList: true });
}"""

# Until the second connection frame, which answers `change_user`. Playwright's own wait needs a page that allows eval.
WAIT_FOR_CHANGE_OF_USER = """() => new Promise((resolve) => {
  const look = () => {
    if (window.heard.filter((frame) => JSON.parse(frame).type === "connection").length > 1) resolve();
    else requestAnimationFrame(look);
  };
  look();
})"""


@pytest.fixture
def team(tmp_path: Path) -> Iterator[Example]:
    """A running team."""
    team = Example("team", tmp_path)
    team.start()
    yield team
    team.stop()


def say(page: Page, text: str) -> None:
    """Types a message and sends it by Enter."""
    page.fill("#text", text)
    page.press("#text", "Enter")


def send(page: Page, event: str) -> None:
    """Sends an event past the page, as somebody with a console could."""
    page.evaluate("event => window.wire.send(event)", event)


def test_two_people_see_and_hear_each_other(browser: Browser, team: Example) -> None:
    with person(browser, team, "alice") as alice:
        expect(alice.locator("#alone")).to_be_visible()
        with person(browser, team, "bob") as bob:
            expect(alice.locator("#people .name")).to_have_text(["bob"])
            expect(bob.locator("#people .name")).to_have_text(["alice"])
            say(alice, "Good morning")
            expect(bob.locator("#log .author")).to_have_text("alice")
            say(bob, "Hej ✓")
            expect(alice.locator("#log .body")).to_have_text(["Good morning", "Hej ✓"])
            expect(alice.locator("#log .author")).to_have_text(["alice (you)", "bob"])
        expect(alice.locator("#people .row")).to_have_count(0)  # bob's window is closed
        expect(alice.locator("#news")).to_have_text("bob has left")


def test_channels_are_apart(browser: Browser, team: Example) -> None:
    with person(browser, team, "alice") as alice, person(browser, team, "bob") as bob:
        alice.click("[data-key='#design']")
        expect(alice.locator("#title")).to_have_text("#design")
        say(alice, "for designers")
        expect(alice.locator("#log .body")).to_have_text("for designers")
        alice.click("[data-key='#lobby']")
        say(alice, "for everyone")
        expect(bob.locator("#log .body")).to_have_text(["for everyone"])
        assert not bob.evaluate("heard.some(frame => frame.includes('designers'))")
        bob.click("[data-key='#design']")
        expect(bob.locator("#title")).to_have_text("#design")
        say(bob, "me too")
        expect(alice.locator("[data-key='#design'] .count")).to_contain_text("1")
        bob.click("#leave")
        expect(bob.locator("#title")).to_have_text("#lobby")
        alice.click("[data-key='#design']")
        say(alice, "alone again")
        expect(alice.locator("#log .body")).to_have_text(["for designers", "me too", "alone again"])
        alice.click("[data-key='#lobby']")
        say(alice, "done")
        expect(bob.locator("#log .body")).to_have_text(["for everyone", "done"])
        assert not bob.evaluate("heard.some(frame => frame.includes('alone again'))")


def test_a_direct_message_reaches_every_window_of_one_person(browser: Browser, team: Example) -> None:
    with person(browser, team, "alice") as alice, window(browser) as bobs, person(browser, team, "carol") as carol:
        bob = arrive(bobs, team, "bob")
        second = arrive(bobs, team, "bob", "Log in")
        expect(alice.locator("#people .name")).to_have_text(["bob", "carol"])  # who is here twice is here once
        alice.locator("#people .row", has_text="bob").click()
        say(alice, "only for you")
        expect(alice.locator("#log .body")).to_have_text("only for you")
        for page in (bob, second):
            expect(page.locator("#people .row", has_text="alice").locator(".count")).to_contain_text("1")
            page.locator("#people .row", has_text="alice").click()
            expect(page.locator("#log .body")).to_have_text("only for you")
        say(second, "thanks")
        for page in (alice, bob, second):
            expect(page.locator("#log .body")).to_have_text(["only for you", "thanks"])
        say(carol, "anybody?")
        expect(carol.locator("#log .body")).to_have_text("anybody?")
        assert not carol.evaluate("heard.some(frame => frame.includes('only for you'))")
        second.close()
        bob.close()
        expect(alice.locator("#people .row", has_text="bob")).to_contain_text("away")
        say(alice, "still there?")
        expect(alice.locator("#notice")).to_contain_text("NOT_HERE")
        expect(alice.locator("#text")).to_have_value("still there?")


def test_that_somebody_types_is_shown_until_they_have_spoken(browser: Browser, team: Example) -> None:
    with person(browser, team, "alice") as alice, person(browser, team, "bob") as bob:
        expect(alice.locator("#people .name")).to_have_text(["bob"])
        bob.locator("#text").press_sequentially("hm")
        expect(alice.locator("#typing")).to_have_text("bob is typing…")
        say(bob, "hmm")
        expect(alice.locator("#log .body")).to_have_text("hmm")
        assert alice.locator("#typing").text_content() == ""  # at once; after some seconds it goes by itself
        assert bob.locator("#typing").text_content() == ""


def test_a_report_tells_only_its_owner_how_far_it_is(browser: Browser, team: Example) -> None:
    with person(browser, team, "alice") as alice, person(browser, team, "bob") as bob:
        alice.evaluate(WATCH_REPORT)
        alice.fill("#pages", "6")
        alice.dblclick("#write")
        expect(alice.locator("#report-refusal")).to_have_text("One report at a time")
        say(alice, "talking on meanwhile")
        expect(bob.locator("#log .body")).to_have_text("talking on meanwhile")
        expect(alice.locator("#report-state")).to_have_text("Finished: 6 pages.")
        seen = alice.evaluate("seen.filter(([value, max]) => max === 6)")
        assert {page for page, _ in seen} == {1, 2, 3, 4, 5, 6}
        say(bob, "nothing here")
        expect(bob.locator("#log .body")).to_have_count(2)
        expect(bob.locator("#progress-line")).to_be_hidden()
        assert not bob.evaluate("heard.some(frame => frame.includes('progress'))")


def test_what_the_server_refuses_is_told(browser: Browser, team: Example) -> None:
    with person(browser, team, "alice") as alice:
        say(alice, "x" * 501)
        expect(alice.locator("#notice")).to_contain_text("length <= 500")
        expect(alice.locator("#text")).to_have_value("x" * 501)
        alice.click("#dismiss")
        expect(alice.locator("#notice")).to_be_hidden()
        alice.fill("#pages", "41")
        alice.click("#write")
        expect(alice.locator("#report-refusal")).to_contain_text("<= 40")
        say(alice, "still here")
        expect(alice.locator("#log .body")).to_have_text("still here")


def test_the_door_tells_why_it_stays_shut(browser: Browser, team: Example) -> None:
    with window(browser) as context:
        page = context.new_page()
        page.goto(team.url)
        enter(page, "alice", "Create account", "short")
        expect(page.locator("#enter-error")).to_have_text("The password must have at least 8 characters.")
        enter(page, "alice", "Create account")
        expect(page.locator("#status")).to_have_attribute("data-state", "open")
        page.reload()
        expect(page.locator("#my-name")).to_have_text("alice")
        page.click("#log-out")
        expect(page.locator("#username")).to_be_focused()
        enter(page, "alice", "Log in", "wrong horse")
        expect(page.locator("#enter-error")).to_have_text("Invalid credentials")
        expect(page.locator("#password")).to_be_focused()
        enter(page, "alice", "Log in")
        expect(page.locator("#status")).to_have_attribute("data-state", "open")


def test_nobody_speaks_in_another_s_name(browser: Browser, team: Example) -> None:
    with person(browser, team, "alice") as alice, person(browser, team, "mallory") as mallory:
        expect(mallory.locator("#people .name")).to_have_text(["alice"])
        forged = '{"text":"forged","channel":"lobby","from":{"id":"n::1","name":"bob"},"at":"2026-01-01T00:00:00Z"}'
        for data in (forged, f'{{"said":{forged}}}', f'{{"0":"said","1":{forged},"length":2}}'):
            send(mallory, f'{{"type":"channel","channel_ids":["lobby"],"data":{data}}}')
        send(mallory, f'{{"type":"channel","channel_ids":["lobby"],"data":["said",{forged}]}}')
        send(mallory, '{"type":"channel","channel_ids":["lobby"],"data":{"typing":"lobby","by":"bob"}}')
        send(mallory, '{"type":"channel","channel_ids":["lobby"],"data":{"type":"error","error":"forged"}}')
        send(mallory, '{"type":"channel","channel_ids":["design"],"data":{"forged":1},"id":"elsewhere"}')
        target = mallory.locator("#people .row").get_attribute("data-key")
        assert target is not None
        send(mallory, f'{{"type":"user","root_ids":["{target[1:]}"],"data":{forged},"id":"person"}}')
        send(mallory, '{"type":"walker","walker":"say","context":{"channel":"design","text":"x"},"id":"walker"}')
        say(mallory, "honest")
        expect(alice.locator("#log .body")).to_have_text(["honest"])
        assert alice.locator("#typing").text_content() == ""
        expect(alice.locator("#notice")).to_be_hidden()
        answers = (
            "heard.map(frame => JSON.parse(frame)).filter(frame => frame.error).map(frame => [frame.type, frame.id])"
        )
        told = mallory.evaluate(answers)
        assert ["channel", "elsewhere"] in told
        assert ["user", "person"] in told
        assert ["walker", "walker"] in told


def test_names_and_texts_are_text(browser: Browser, team: Example) -> None:
    name = "<img src=x onerror=alert(1)>"
    with person(browser, team, "alice") as alice, person(browser, team, name) as other:
        say(other, "<script>alert(1)</script><b>bold</b>")
        expect(alice.locator("#log .body")).to_have_text("<script>alert(1)</script><b>bold</b>")
        expect(alice.locator("#log .author")).to_have_text(name)
        expect(alice.locator("#people .name")).to_have_text([name])
        alice.click("#people .row")
        expect(alice.locator("#title")).to_have_text(name)
        for page in (alice, other):
            assert page.locator("#office img, #office b, #office script").count() == 0


def test_the_page_comes_back_after_the_server(browser: Browser, team: Example) -> None:
    with person(browser, team, "alice") as alice, person(browser, team, "bob") as bob:
        for page in (alice, bob):
            page.click("[data-key='#design']")
            expect(page.locator("#title")).to_have_text("#design")
        assert team.stop() == 0
        expect(alice.locator("#offline")).to_be_visible()
        expect(alice.locator("#send")).to_be_disabled()
        team.start()
        for page in (alice, bob):
            expect(page.locator("#status")).to_have_attribute("data-state", "open", timeout=30_000)
        expect(alice.locator("#people .name")).to_have_text(["bob"])
        say(alice, "back again")
        expect(bob.locator("#log .body")).to_have_text("back again")


def test_a_token_is_renewed_before_it_ends(browser: Browser, tmp_path: Path) -> None:
    team = Example("team", tmp_path)
    team.options = ("--token-lifetime-seconds", "45")  # the server warns a minute before, so at once
    team.start()
    try:
        with window(browser) as context:
            page = context.new_page()
            page.goto(team.url)
            with page.expect_response("**/user/refresh-token") as renewed:
                enter(page, "alice", "Create account")
            assert renewed.value.ok
            page.evaluate(WAIT_FOR_CHANGE_OF_USER)
            say(page, "as before")
            expect(page.locator("#log .body")).to_have_text("as before")
            token = page.evaluate("JSON.parse(sessionStorage.getItem('team.login')).token")
            assert token == renewed.value.json()["data"]["token"]
    finally:
        team.stop()


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_nothing_sticks_out_of_the_page(browser: Browser, team: Example, size: tuple[int, int]) -> None:
    with person(browser, team, "a-name-that-is-as-long-as-names-can-be-" * 3, size) as page:
        say(page, "a word that does not end " + "x" * 200)
        expect(page.locator("#log .body")).to_have_count(1)
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
        scroller = page.locator("#scroll")
        assert scroller.evaluate("box => box.scrollWidth") <= scroller.evaluate("box => box.clientWidth")
        assert page.evaluate("document.documentElement.scrollHeight") <= size[1]
        expect(page.locator("#send")).to_be_in_viewport(ratio=1)
        if size == NARROW:
            page.click("#back")
            expect(page.locator("[data-key='#lobby']")).to_be_focused()
        expect(page.locator("#write")).to_be_in_viewport(ratio=1)
        expect(page.locator("#log-out")).to_be_in_viewport(ratio=1)
        page.click("[data-key='#lobby']")
        expect(page.locator("#send")).to_be_in_viewport(ratio=1)
