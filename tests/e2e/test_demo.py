"""The demo in a real browser: two people, a broken message, a server that goes away and comes back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.conftest import Demo

WIDE, NARROW = {"width": 1280, "height": 800}, {"width": 360, "height": 740}


@contextmanager
def person(browser: Browser, demo: Demo, name: str, size: dict[str, int] = WIDE, room: str = "") -> Iterator[Page]:
    """A page of its own, with its own storage, that has entered the chat; no error may have been thrown in it."""
    context = browser.new_context(viewport={"width": size["width"], "height": size["height"]})
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(demo.url + room)
    expect(page.locator("#status")).to_have_attribute("data-state", "open")
    page.fill("#name", name)
    page.press("#name", "Enter")
    yield page
    context.close()
    assert problems == []


def say(page: Page, text: str) -> None:
    """Types a message and sends it by Enter."""
    page.fill("#text", text)
    page.press("#text", "Enter")


def test_two_people_hear_each_other(browser: Browser, demo: Demo) -> None:
    with person(browser, demo, "Alice") as alice, person(browser, demo, "Bob") as bob:
        expect(alice.locator("#count")).to_have_attribute("data-count", "2")
        say(alice, "Hello <b>Bob</b> & all")
        heard = bob.locator("#log li[data-kind=message] .body")
        expect(heard).to_have_text("Hello <b>Bob</b> & all")
        expect(bob.locator("#log li[data-kind=message] .author").first).to_have_text("Alice")
        say(bob, "Hej ✓")
        expect(alice.locator("#log li[data-kind=message][data-own=false] .body")).to_have_text("Hej ✓")
    # the context of both is closed: a third person is alone again
    with person(browser, demo, "Carol") as carol:
        expect(carol.locator("#count")).to_have_attribute("data-count", "1")


def test_rooms_are_apart(browser: Browser, demo: Demo) -> None:
    with person(browser, demo, "Alice", room="#tea") as alice, person(browser, demo, "Bob", room="#coffee") as bob:
        say(alice, "only tea drinkers read this")
        expect(alice.locator("#log li[data-kind=message] .body")).to_have_count(1)
        say(bob, "and only coffee drinkers this")
        expect(bob.locator("#log li[data-kind=message] .body")).to_have_text(["and only coffee drinkers this"])


def test_a_broken_message_is_told_and_the_connection_stays(browser: Browser, demo: Demo) -> None:
    with person(browser, demo, "Alice") as alice:
        alice.click("#break")
        expect(alice.locator("#frames li[data-refused]").last).to_contain_text("Message validation failed")
        expect(alice.locator("#status")).to_have_attribute("data-state", "open")
        say(alice, "still here")
        expect(alice.locator("#log li[data-kind=message] .body")).to_have_text("still here")


def test_the_page_comes_back_after_the_server(browser: Browser, demo: Demo) -> None:
    with person(browser, demo, "Alice") as alice:
        assert demo.stop() == 0
        expect(alice.locator("#status")).not_to_have_attribute("data-state", "open")
        demo.start()
        expect(alice.locator("#status")).to_have_attribute("data-state", "open", timeout=30_000)
        say(alice, "back again")
        expect(alice.locator("#log li[data-kind=message] .body")).to_have_text("back again")


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_nothing_sticks_out_of_the_page(browser: Browser, demo: Demo, size: dict[str, int]) -> None:
    with person(browser, demo, "A name that is as long as names can be"[:32], size) as page:
        say(page, "a word that does not end " + "x" * 200)
        expect(page.locator("#log li[data-kind=message] .body")).to_have_count(1)
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
        expect(page.locator("#send")).to_be_in_viewport()
