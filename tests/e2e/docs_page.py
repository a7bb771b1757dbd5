"""Steps on the page /docs that several tests take."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

from playwright.sync_api import ConsoleMessage, Locator, Page, Request, WebSocket, expect

__all__ = ["REFUSED_MS", "console_of", "make_key", "open_docs", "open_entry", "send", "watch"]

_REFUSALS = ("Failed to load resource", "WebSocket connection to")  # what Chromium says of every answer above 399

REFUSED_MS = 20_000  # Chromium delays handshakes by seconds after others have failed


def watch(page: Page, url: str) -> list[str]:
    """Collects what must not be: errors, dialogs, breaches of the policy, and requests to foreign hosts."""
    problems: list[str] = []
    own = urlsplit(url).netloc

    def hear(told: ConsoleMessage) -> None:
        if told.type == "error" and not told.text.startswith(_REFUSALS):
            problems.append(told.text)

    def ask(request: Request | WebSocket) -> None:
        if not request.url.startswith(("data:", "blob:")) and urlsplit(request.url).netloc != own:
            problems.append(request.url)

    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("dialog", lambda dialog: (problems.append(dialog.message), dialog.dismiss()))
    page.on("console", hear)
    page.on("request", ask)
    page.on("websocket", ask)
    return problems


def open_docs(page: Page, url: str, anchor: str = "") -> None:
    """Goes to the page and waits until it lists what there is."""
    page.goto(f"{url}/docs{anchor}")
    expect(page.locator("#groups")).to_have_attribute("aria-busy", "false")


def open_entry(page: Page, name: str) -> Locator:
    """Opens an entry."""
    page.locator(f"[id='{name}'] > summary").press("Enter")  # a click may miss it while the page is laid out
    return page.locator(f"[id='{name}']")


def console_of(page: Page, name: str, *, connect: bool = True) -> Locator:
    """The live console of an entry, which is opened."""
    console = open_entry(page, name).locator(".console")
    if connect:
        console.get_by_role("button", name="Connect", exact=True).click()
        expect(console.locator(".badge")).to_have_text("Open")
    return console


def send(console: Locator) -> None:
    """Presses the button."""
    console.get_by_role("button", name="Send", exact=True).click()


def make_key(page: Page, name: str) -> Locator:
    """Has a user with an API key; gives the form of the webhook, with key and secret filled in."""
    register = open_entry(page, "register").locator("form")
    register.get_by_label("username", exact=True).fill(name)
    register.get_by_role("button", name="Send").click()
    register.get_by_role("button", name="Use this token").click()
    key = open_entry(page, "create_key").locator("form")
    key.get_by_label("name", exact=True).fill("hook")
    key.get_by_role("button", name="Send").click()
    made = json.loads(key.get_by_label("Answer", exact=True).text_content() or "")["data"]
    page.get_by_label("API key", exact=True).fill(made["api_key"])
    hook = open_entry(page, "post_Deploy").locator("form")
    hook.get_by_label("Signing secret").fill(made["signing_secret"])
    return hook
