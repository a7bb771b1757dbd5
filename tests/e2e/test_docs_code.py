"""What the page /docs gives as code, run as it was copied: Python, JavaScript and curl against the same server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.cli.processes import environment
from tests.e2e.docs_page import console_of, make_key, open_entry
from tests.node import find_node_with_websocket

SECONDS = 20
HARD = "a \"b\" 'c' \\ ${d} `e` é 😀 </script>\u2028"

Copy = Callable[[Locator, str], str]


@pytest.fixture
def copied(docs_page: Page) -> Copy:
    """Copies the code of a language from a console."""
    docs_page.context.grant_permissions(["clipboard-read", "clipboard-write"])

    def copy(console: Locator, language: str) -> str:
        snippet = console.locator(".snippet")
        if snippet.get_attribute("open") is None:
            snippet.locator("summary").click()
        snippet.locator(".switch label", has_text=language).click()
        snippet.get_by_role("button", name="Copy code").click()
        expect(snippet.get_by_role("button", name="Copied")).to_be_visible()
        return str(docs_page.evaluate("navigator.clipboard.readText()"))

    return copy


def run(command: list[str], folder: Path, *, first_line: bool = False, **variables: str) -> str:
    """Runs a command; gives its output, or its first line and ends it."""
    process = subprocess.Popen(
        command, cwd=folder, env=environment(**variables), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    killer = threading.Timer(SECONDS, process.kill)
    killer.start()
    try:
        assert process.stdout is not None
        return process.stdout.readline() if first_line else process.stdout.read()
    finally:
        killer.cancel()
        process.kill()
        process.communicate()


def run_python(code: str, folder: Path, **more: str | bool) -> str:
    (folder / "copied.py").write_text(code, "utf-8")
    return run([sys.executable, "copied.py"], folder, **more)  # type: ignore[arg-type]


def run_node(code: str, folder: Path, **more: str | bool) -> str:
    node = find_node_with_websocket()
    if isinstance(node, str):
        if os.environ.get("CI"):
            pytest.fail(node)
        pytest.skip(node)
    (folder / "copied.mjs").write_text(code, "utf-8")
    return run([*node, "--no-warnings", "copied.mjs"], folder, **more)  # type: ignore[arg-type]


RUNNERS = {"Python": run_python, "JavaScript": run_node}
both = pytest.mark.parametrize("language", list(RUNNERS))


@both
def test_a_message_of_a_typed_handler(docs_page: Page, copied: Copy, tmp_path: Path, language: str) -> None:
    console = console_of(docs_page, "channel_chat", connect=False)
    console.get_by_label("floor", exact=True).fill("3")
    console.get_by_label("tag", exact=True).fill("é&=")
    console.get_by_label("Subprotocols").fill("v1.chat")
    console.locator(".switch label", has_text="JSON").first.click()
    message = {"text": HARD, "loud": True, "quiet": None, "tags": ["x" * 60, HARD], "extra": {}, "weight": 0.5}
    console.locator("textarea.json").fill(json.dumps(message))
    answer = json.loads(RUNNERS[language](copied(console, language), tmp_path, first_line=True))
    assert answer["said"]["text"] == HARD and answer["said"]["tags"] == message["tags"]
    assert (answer["said"]["loud"], answer["said"]["weight"], answer["tags"]) == (True, 0.5, ["é&="])


@both
def test_a_token_comes_from_the_environment(docs_page: Page, copied: Copy, tmp_path: Path, language: str) -> None:
    form = open_entry(docs_page, "register").locator("form")
    form.get_by_label("username", exact=True).fill(f"code{language}")
    form.get_by_role("button", name="Send").click()
    expect(form.locator(".outcome")).to_contain_text("201")
    token = json.loads(form.get_by_label("Answer", exact=True).text_content() or "")["data"]["token"]
    form.get_by_role("button", name="Use this token").click()
    console = console_of(docs_page, "channel_secret", connect=False)
    code = copied(console, language)
    assert token not in code
    output = RUNNERS[language](code, tmp_path, first_line=True, WIRELOOM_TOKEN=token)
    assert json.loads(output) == {"user": f"code{language}", "shape": "Circle"}


@both
def test_texts_and_bytes(docs_page: Page, copied: Copy, tmp_path: Path, language: str) -> None:
    console = console_of(docs_page, "channel_echo", connect=False)
    console.get_by_label("Text", exact=True).fill(HARD)
    assert RUNNERS[language](copied(console, language), tmp_path, first_line=True).rstrip("\n") == HARD
    console.get_by_label("Message", exact=True).select_option(label="Binary")
    console.get_by_label("Bytes", exact=True).fill("00ff41")
    output = RUNNERS[language](copied(console, language), tmp_path, first_line=True)
    assert output.startswith({"Python": r"b'\x00\xffA'", "JavaScript": "ArrayBuffer"}[language])


@both
def test_json_that_javascript_would_round_is_sent_as_it_is(
    docs_page: Page, copied: Copy, tmp_path: Path, language: str
) -> None:
    console = console_of(docs_page, "channel_anything", connect=False)
    console.locator("textarea.json").fill("[12345678901234567890]")
    assert RUNNERS[language](copied(console, language), tmp_path, first_line=True) == "[12345678901234567890]\n"


def test_code_that_cannot_be_says_why(docs_page: Page) -> None:
    console = console_of(docs_page, "channel_echo", connect=False)
    console.get_by_label("Message", exact=True).select_option(label="Binary")
    console.get_by_label("Bytes", exact=True).fill("0")
    console.locator(".snippet summary").click()
    expect(console.get_by_label("Code", exact=True)).to_have_text("Hex is pairs of 0–9 and a–f.\n")


# -- HTTP --------------------------------------------------------------------------------------------------------------


def run_curl(code: str, folder: Path, **more: str) -> str:
    return run(["bash", "-c", code.replace("curl ", "curl -s ", 1)], folder, **more)


HTTP_RUNNERS = {"curl": run_curl, **RUNNERS}
all_three = pytest.mark.parametrize("language", list(HTTP_RUNNERS))


@all_three
def test_a_request_with_a_body(docs_page: Page, copied: Copy, tmp_path: Path, language: str) -> None:
    form = open_entry(docs_page, "post_Find").locator("form")
    form.locator(".switch label", has_text="JSON").first.click()
    form.get_by_label("Body", exact=True).fill(json.dumps({"text": HARD, "most": 2}))
    output = HTTP_RUNNERS[language](copied(form, language), tmp_path)
    assert json.loads(output[output.index("{") :])["data"]["reports"] == [[HARD, HARD]]


@all_three
def test_a_request_with_a_token(docs_page: Page, docs_url: str, copied: Copy, tmp_path: Path, language: str) -> None:
    register = open_entry(docs_page, "register").locator("form")
    register.get_by_label("username", exact=True).fill(f"http{language}")
    register.get_by_role("button", name="Send").click()
    expect(register.locator(".outcome")).to_contain_text("201")
    token = json.loads(register.get_by_label("Answer", exact=True).text_content() or "")["data"]["token"]
    form = open_entry(docs_page, "me").locator("form")
    code = copied(form, language)
    assert token not in code and urlsplit(docs_url).netloc in code
    assert f"http{language}" in HTTP_RUNNERS[language](code, tmp_path, WIRELOOM_TOKEN=token)


@all_three
def test_a_webhook(docs_page: Page, copied: Copy, tmp_path: Path, language: str) -> None:
    form = make_key(docs_page, f"hook{language}")
    form.get_by_label("ref", exact=True).fill(HARD)
    code = copied(form, language)
    secret = form.get_by_label("Signing secret").input_value()
    key = docs_page.get_by_label("API key", exact=True).input_value()
    assert secret not in code and key not in code
    output = HTTP_RUNNERS[language](code, tmp_path, WIRELOOM_API_KEY=key, WIRELOOM_SIGNING_SECRET=secret)
    assert json.loads(output[output.index("{") :])["data"]["reports"] == [f"deployed {HARD}"]


@pytest.mark.parametrize("language", ["curl", "Python"])
def test_a_file(docs_page: Page, copied: Copy, tmp_path: Path, language: str) -> None:
    (tmp_path / "a.txt").write_text("content")
    form = open_entry(docs_page, "post_Upload").locator("form")
    form.get_by_label("title").fill("@it's")
    form.get_by_label("file").set_input_files(tmp_path / "a.txt")
    output = HTTP_RUNNERS[language](copied(form, language), tmp_path)
    assert json.loads(output[output.index("{") :])["data"]["reports"] == [{"title": "@it's", "size": 7}]
