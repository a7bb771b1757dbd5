"""The tasks example in a real browser: people who share lists, see each other's changes, and lose no work."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.e2e.examples import NARROW, ROOT, WIDE, Example, enter, is_live, person, window
from tests.e2e.relay import Relay

EXAMPLE = ROOT / "examples" / "tasks"
NEEDED_AGAIN = 30_000  # ms, until a page has come back after its server


@pytest.fixture
def tasks(tmp_path: Path) -> Iterator[Example]:
    """A running board."""
    tasks = Example("tasks", tmp_path)
    tasks.start()
    yield tasks
    tasks.stop()


def make(page: Page, title: str) -> None:
    """Makes a list and sees it open."""
    page.fill("#new-title", title)
    page.press("#new-title", "Enter")
    expect(page.locator("#title")).to_have_text(title)


def add(page: Page, *texts: str) -> None:
    """Adds tasks."""
    for text in texts:
        page.fill("#new-task", text)
        page.press("#new-task", "Enter")
        expect(task(page, text)).to_be_visible()


def task(page: Page, text: str) -> Locator:
    """The row of a task."""
    return page.locator(".task").filter(has=page.get_by_text(text, exact=True))


def texts(page: Page) -> Locator:
    """The texts of all tasks."""
    return page.locator(".task .text")


def share(page: Page, name: str, level: str) -> None:
    """Shares the open list."""
    page.click("#settings")
    page.select_option("#share-level", level)
    page.fill("#share-name", name)
    page.press("#share-name", "Enter")
    expect(page.locator(".person .name").filter(has_text=name)).to_be_visible()
    page.click("#about-close")


def test_two_people_change_one_list(browser: Browser, tasks: Example) -> None:
    with person(browser, tasks, "ann") as ann, person(browser, tasks, "bob") as bob:
        expect(bob.locator("#empty-lead")).to_have_text("No list yet.")
        make(ann, "Release")
        add(ann, "Write notes", "Tag")
        share(ann, "bob", "write")
        expect(bob.locator("#title")).to_have_text("Release")
        expect(bob.locator("#subtitle")).to_have_text("ann’s list · 2 open")
        expect(texts(bob)).to_have_text(["Write notes", "Tag"])
        task(bob, "Write notes").get_by_role("checkbox").check()
        expect(task(ann, "Write notes").get_by_role("checkbox")).to_be_checked()
        expect(ann.locator("#news")).to_have_text("bob ticked off “Write notes”")
        expect(task(ann, "Write notes").locator(".by")).to_have_text("bob")
        expect(texts(ann)).to_have_text(["Tag", "Write notes"])  # what is done goes down
        add(bob, "Build")
        expect(texts(ann)).to_have_text(["Tag", "Build", "Write notes"])
        ann.locator(".task").first.hover()
        ann.get_by_role("button", name="Delete Build").click()
        expect(texts(bob)).to_have_text(["Tag", "Write notes"])
        bob.get_by_role("button", name="Delete Tag").click()
        expect(texts(ann)).to_have_text(["Write notes"])
        expect(ann.locator("#subtitle")).to_have_text("All done")
        make(ann, "Private")
        expect(bob.locator(".row .name")).to_have_text(["Release"])
        add(bob, "While you are away")
        expect(ann.locator("#news")).to_have_text("bob added “While you are away” in Release")
        expect(ann.locator(".row", has_text="Release").locator(".fresh")).to_be_visible()
        assert not bob.evaluate("heard.some(frame => frame.includes('Private'))")


def test_a_reader_reads_until_allowed_to_write(browser: Browser, tasks: Example) -> None:
    with person(browser, tasks, "ann") as ann, person(browser, tasks, "bob") as bob:
        make(ann, "Release")
        add(ann, "Tag")
        share(ann, "bob", "read")
        expect(task(bob, "Tag").get_by_role("checkbox")).to_be_disabled()
        expect(bob.locator("#reading")).to_have_text("ann lets you read this list.")
        expect(bob.locator("#add")).to_be_hidden()
        expect(bob.locator(".tools")).to_be_hidden()
        bob.evaluate("document.getElementById('add').requestSubmit()")  # nothing to send
        bob.evaluate("document.getElementById('new-task').value = 'forged'")
        bob.evaluate("document.getElementById('add').requestSubmit()")
        expect(bob.locator("#notice-text")).to_have_text("You may read this list, but not change it.")
        ann.click("#settings")
        ann.get_by_label("What bob may do").select_option("write")
        expect(bob.locator("#add")).to_be_visible()
        bob.fill("#new-task", "")
        add(bob, "Build")
        expect(texts(ann)).to_have_text(["Tag", "Build"])


def test_who_is_shut_out_sees_and_hears_no_more(browser: Browser, tasks: Example) -> None:
    with (
        person(browser, tasks, "ann") as ann,
        person(browser, tasks, "bob") as bob,
        person(browser, tasks, "carol") as carol,
    ):
        make(ann, "Release")
        add(ann, "Tag")
        share(ann, "bob", "write")
        share(ann, "carol", "read")
        expect(texts(bob)).to_have_text(["Tag"])
        expect(texts(carol)).to_have_text(["Tag"])
        ann.click("#settings")
        ann.get_by_role("button", name="Remove bob").click()
        expect(ann.locator(".person .name")).to_have_text(["ann (you)", "carol"])
        ann.click("#about-close")
        expect(bob.locator("#notice-text")).to_have_text("“Release” is no longer shared with you, or it was deleted.")
        expect(bob.locator(".row")).to_have_count(0)
        expect(bob.locator(".task")).to_have_count(0)
        add(ann, "Between us")
        expect(texts(carol)).to_have_text(["Tag", "Between us"])  # who stays has moved along
        make(bob, "My own")
        assert not bob.evaluate("heard.some(frame => frame.includes('Between us'))")
        ann.click("#settings")
        ann.click("#delete")
        expect(ann.locator("#delete")).to_have_text("Yes, delete it")
        ann.click("#delete")
        expect(carol.locator("#empty-lead")).to_have_text("No list yet.")
        expect(ann.locator("#about")).to_be_hidden()
        expect(ann.locator(".row")).to_have_count(0)


def test_a_script_adds_a_task_with_a_key_of_the_page(browser: Browser, tasks: Example, tmp_path: Path) -> None:
    block = re.search(r"```python title=\"add_task.py\"\n(.*?)```", (EXAMPLE / "README.md").read_text(), re.DOTALL)
    assert block is not None
    script = tmp_path / "add_task.py"
    script.write_text(block[1])
    with person(browser, tasks, "ann") as ann:
        make(ann, "Release")
        ann.click("#settings")
        ann.click("#make-key")
        expect(ann.locator("#key-text")).to_contain_text("TASKS_SECRET")
        told = dict(re.findall(r"export (\w+)='([^']*)'", ann.locator("#key-text").inner_text()))
        ann.click("#about-close")
        expect(ann.locator("#key-text")).to_have_text("")  # shown once
        command = [sys.executable, str(script), "Build", "7", "is", "red"]
        subprocess.run(command, env={**os.environ, **told}, check=True, timeout=30)
        expect(texts(ann)).to_have_text(["Build 7 is red"])
        wrong = subprocess.run(command, env={**os.environ, **told, "TASKS_SECRET": "wls_x"}, capture_output=True)
        assert b"HTTP Error 401" in wrong.stderr


def test_what_is_refused_is_told_in_words(browser: Browser, tasks: Example) -> None:
    with window(browser) as context:
        page = context.new_page()
        page.goto(tasks.url)
        problem = page.locator("#enter-error")
        enter(page, "ann", "Create account", "short")
        expect(problem).to_have_text("The password must have at least 8 characters.")
        enter(page, "ann", "Create account")
        is_live(page)
        page.click("#log-out")
        expect(page.locator("#username")).to_be_focused()
        enter(page, "ann", "Create account")
        expect(problem).to_have_text("This name is taken. Log in, or choose another.")
        enter(page, "ann", "Log in", "wrong horse")
        expect(problem).to_have_text("The name or the password is wrong.")
        expect(page.locator("#password")).to_be_focused()
        enter(page, "ann", "Log in")
        is_live(page)
        make(page, "Release")
        page.click("#settings")
        for name, told in (("nobody", "Nobody here is called “nobody”"), ("ann", "You see this list already")):
            page.fill("#share-name", name)
            page.press("#share-name", "Enter")
            expect(page.locator("#about-refusal")).to_have_text(told)
            expect(page.locator("#share-name")).to_have_value(name)
        page.keyboard.press("Escape")
        expect(page.locator("#settings")).to_be_focused()
        page.evaluate("document.getElementById('new-task').removeAttribute('maxlength')")
        page.fill("#new-task", "x" * 201)
        page.press("#new-task", "Enter")
        expect(page.locator("#notice-text")).to_contain_text("length <= 200")
        expect(page.locator("#new-task")).to_have_value("x" * 201)
        page.fill("#new-task", "   ")
        page.press("#new-task", "Enter")
        add(page, "fits")
        expect(texts(page)).to_have_text(["fits"])
        expect(page.locator("#notice")).to_be_hidden()


def test_all_of_it_works_by_keyboard(browser: Browser, tasks: Example) -> None:
    with person(browser, tasks, "ann") as ann, person(browser, tasks, "bob") as bob:
        make(ann, "Release")
        expect(ann.locator("#new-task")).to_be_focused()
        add(ann, "Tag", "Build")
        share(ann, "bob", "write")
        ann.focus("#new-task")
        for key in ("Tab", "Tab", "Space"):  # past the button, to the first task's box
            ann.keyboard.press(key)
        expect(texts(ann)).to_have_text(["Build", "Tag"])
        expect(task(ann, "Tag").get_by_role("checkbox")).to_be_focused()  # it has moved, the focus with it
        ann.keyboard.press("Tab")
        expect(ann.get_by_role("button", name="Rename Tag")).to_be_focused()
        ann.keyboard.press("Enter")
        ann.keyboard.type("Tag and s")
        task(bob, "Build").get_by_role("checkbox").check()
        expect(task(ann, "Build").get_by_role("checkbox")).to_be_checked()
        ann.keyboard.type("ign")  # what others do meanwhile does not get in the way
        ann.keyboard.press("Enter")
        expect(texts(bob)).to_have_text(["Tag and sign", "Build"])
        expect(ann.get_by_role("button", name="Rename Tag and sign")).to_be_focused()
        ann.keyboard.press("Enter")
        ann.keyboard.type("no")
        ann.keyboard.press("Escape")
        expect(ann.get_by_role("button", name="Rename Tag and sign")).to_be_focused()
        ann.keyboard.press("Tab")
        ann.keyboard.press("Enter")  # Delete
        expect(texts(bob)).to_have_text(["Build"])
        expect(ann.locator("#new-task")).to_be_focused()


def test_titles_names_and_tasks_are_text(browser: Browser, tasks: Example) -> None:
    name = "<img src=x onerror=alert(1)>"
    with person(browser, tasks, "ann") as ann, person(browser, tasks, name) as other:
        make(other, "<b>list</b>")
        add(other, "<script>alert(1)</script><i>task</i>")
        share(other, "ann", "write")
        expect(texts(ann)).to_have_text("<script>alert(1)</script><i>task</i>")
        expect(ann.locator("#title")).to_have_text("<b>list</b>")
        ann.click("#settings")
        expect(ann.locator(".person .name")).to_have_text([name, "ann (you)"])
        for page in (ann, other):
            assert page.locator("body :is(img, b, i, script)").count() == 0


def test_a_reload_and_a_restart_lose_nothing(browser: Browser, tasks: Example) -> None:
    with person(browser, tasks, "ann") as ann, person(browser, tasks, "bob") as bob:
        make(ann, "Groceries")
        make(ann, "Release")
        add(ann, "Tag", "Build")
        task(ann, "Tag").get_by_role("checkbox").check()
        share(ann, "bob", "write")
        expect(texts(bob)).to_have_text(["Build", "Tag"])
        ann.locator(".row", has_text="Release").click()
        ann.reload()
        is_live(ann)
        expect(ann.locator("#title")).to_have_text("Release")
        expect(ann.locator(".row .name")).to_have_text(["Groceries", "Release"])
        expect(texts(ann)).to_have_text(["Build", "Tag"])
        assert tasks.stop() == 0
        for page in (ann, bob):
            expect(page.locator("#offline")).to_be_visible()
        task(ann, "Build").get_by_role("checkbox").click()
        expect(ann.locator("#notice-text")).to_have_text("There is no connection now. Nothing was changed.")
        expect(task(ann, "Build").get_by_role("checkbox")).not_to_be_checked()  # taken back
        ann.fill("#new-task", "Kept")
        ann.press("#new-task", "Enter")
        expect(ann.locator("#new-task")).to_have_value("Kept")
        tasks.start()
        for page in (ann, bob):
            is_live(page, NEEDED_AGAIN)
            expect(page.locator("#offline")).to_be_hidden()
            expect(texts(page)).to_have_text(["Build", "Tag"])
        ann.press("#new-task", "Enter")
        expect(texts(bob)).to_have_text(["Build", "Kept", "Tag"])


def test_a_page_that_was_away_finds_what_it_missed(browser: Browser, tasks: Example) -> None:
    network = Relay(tasks.port)
    with person(browser, tasks, "ann") as ann, person(browser, network, "bob") as bob:
        make(ann, "Release")
        add(ann, "Tag")
        share(ann, "bob", "write")
        expect(texts(bob)).to_have_text(["Tag"])
        network.cut()
        expect(bob.locator("#offline")).to_be_visible()
        add(ann, "Build")
        network.mend()
        is_live(bob, NEEDED_AGAIN)
        expect(texts(bob)).to_have_text(["Tag", "Build"])
    network.cut()


def test_a_new_token_keeps_the_lists(browser: Browser, tmp_path: Path) -> None:
    tasks = Example("tasks", tmp_path)
    tasks.options = ("--token-lifetime-seconds", "45")  # the server warns a minute before, so at once
    tasks.start()
    try:
        with window(browser) as context, person(browser, tasks, "bob") as bob:
            ann = context.new_page()
            ann.goto(tasks.url)
            with (
                ann.expect_response("**/user/register") as registered,
                ann.expect_response("**/user/refresh-token") as renewed,
            ):
                enter(ann, "ann", "Create account")
            assert renewed.value.ok
            is_live(ann)
            make(ann, "Release")
            share(ann, "bob", "write")
            expect(bob.locator("#title")).to_have_text("Release")
            add(bob, "Tag")
            expect(texts(ann)).to_have_text(["Tag"])
            token = ann.evaluate("JSON.parse(sessionStorage.getItem('tasks.login')).token")
            assert token != registered.value.json()["data"]["token"]
    finally:
        tasks.stop()


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_nothing_sticks_out_of_the_page(browser: Browser, tasks: Example, size: tuple[int, int]) -> None:
    with person(browser, tasks, "a-name-that-is-as-long-as-names-can-be-" * 3, size) as page:
        make(page, "A list whose title does not end " + "x" * 160)
        add(page, "a word that does not end " + "x" * 170)
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
        assert page.evaluate("document.documentElement.scrollHeight") <= size[1]
        scroller = page.locator("#scroll")
        assert scroller.evaluate("box => box.scrollWidth") <= scroller.evaluate("box => box.clientWidth")
        if size == NARROW:
            page.get_by_role("button", name="More for").click()
        page.locator(".task").hover()
        expect(page.get_by_role("button", name="Delete a word")).to_be_in_viewport(ratio=1)
        expect(page.locator("#settings")).to_be_in_viewport(ratio=1)
        page.click("#settings")
        dialog = page.locator("#about")
        assert dialog.evaluate("box => box.scrollWidth") <= dialog.evaluate("box => box.clientWidth")
        page.click("#about-close")
        if size == NARROW:
            page.click("#back")
            expect(page.locator("[aria-current]")).to_be_focused()
        expect(page.locator("#log-out")).to_be_in_viewport(ratio=1)
