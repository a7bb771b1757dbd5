"""The page /docs in Chromium: what it lists, how it is found, and what it sends by HTTP, by mouse and by keyboard."""

from __future__ import annotations

from playwright.sync_api import Browser, Page, expect

from tests.e2e.docs_page import make_key, open_docs, open_entry


def test_everything_is_listed_by_tag(docs_page: Page) -> None:
    expect(docs_page).to_have_title("Wireloom application")
    headings = docs_page.locator("section.group > h2")
    assert headings.all_text_contents() == [
        "WebSocket",
        "Walkers",
        "Users",
        "API keys",
        "Publishing",
        "HTTP",
        "Webhooks",
    ]
    paths = docs_page.locator("section[aria-label=WebSocket] .path").all_text_contents()
    assert paths.pop(0).startswith("/a-path/that-has/no-place")
    assert paths == [
        "/any", "/chat/{room}/{floor}", "/close", "/echo", "/flood", "/secret", "/sum", "/websocket",
        "/ws/shout/{room}", "any path",
    ]  # fmt: skip
    walkers = docs_page.locator("section[aria-label=Walkers] .path").all_text_contents()
    assert walkers == [
        "/ws/Greet",
        "/walker/Find",
        "/walker/Find/{node_id}",
        "/walker/Upload",
        "/walker/Upload/{node_id}",
    ]
    assert docs_page.locator("#register > summary .lock").count() == 0
    expect(docs_page.locator("#me > summary").get_by_role("img", name="needs a token")).to_be_visible()
    expect(docs_page.locator("#channel_secret > summary").get_by_role("img", name="needs a token")).to_be_visible()


def test_texts_of_the_application_are_no_markup(docs_page: Page) -> None:
    entry = open_entry(docs_page, "channel_chat")
    expect(entry.locator("> summary")).to_contain_text("Says <b>something</b>.")
    expect(entry.locator(".schema").first).to_be_visible()
    expect(entry.locator(".pair")).to_contain_text("<img src=x onerror=alert(1)>")
    expect(entry.locator(".composer")).to_contain_text("<img src=x onerror=alert(1)>")
    assert docs_page.locator("img, #channel_chat b:has-text('something')").count() == 0


def test_a_type_that_contains_itself_opens_step_by_step(docs_page: Page) -> None:
    rows = open_entry(docs_page, "channel_chat").locator(".message").first
    for depth in range(3):
        rows.locator("summary", has_text="Say").nth(depth).click()
        expect(rows.locator(".name", has_text="answers")).to_have_count(depth + 2)


def test_types_and_examples_of_an_operation_are_told(docs_page: Page) -> None:
    entry = open_entry(docs_page, "post_Find_by_node_id")
    expect(entry.locator(".part", has_text="Parameters")).to_contain_text("node_id string in path required")
    body = entry.locator(".part", has_text="Body")
    expect(body).to_contain_text("text string")
    body.get_by_text("Example").click()
    expect(body.locator("pre")).to_have_text('{\n  "text": "",\n  "most": 3\n}')
    answers = entry.locator(".part", has_text="Answers")
    expect(answers.locator(".status").first).to_have_text("200")
    answers.get_by_text("Refusals").click()
    expect(answers).to_contain_text("VALIDATION_ERROR")
    expect(open_entry(docs_page, "me").locator(".part", has_text="Needs")).to_contain_text("Authorization: Bearer")


def test_a_request_is_tried_and_its_token_used(docs_page: Page) -> None:
    form = open_entry(docs_page, "register").locator("form")
    expect(form.get_by_label("password", exact=True)).to_have_value("correct horse")
    form.get_by_label("username", exact=True).fill("carol")
    form.get_by_role("button", name="Send").click()
    expect(form.locator(".outcome")).to_contain_text("201 Created")
    expect(form.locator(".outcome")).to_contain_text(" ms, ")
    form.get_by_text("Headers", exact=True).click()
    expect(form.get_by_label("Headers of the answer")).to_contain_text("content-type: application/json")

    me = open_entry(docs_page, "me").locator("form")
    me.get_by_role("button", name="Send").click()
    expect(me.locator(".outcome")).to_contain_text("401")
    form.get_by_role("button", name="Use this token").click()
    me.get_by_role("button", name="Send").click()
    expect(me.locator(".outcome")).to_contain_text("200 OK")
    expect(me.get_by_label("Answer", exact=True)).to_contain_text('"username": "carol"')


def test_a_body_is_written_as_json_too(docs_page: Page) -> None:
    form = open_entry(docs_page, "post_Find").locator("form")
    form.get_by_text("JSON", exact=True).click()
    form.get_by_label("Body", exact=True).fill('{"text": "a", "most": 2}')
    form.get_by_role("button", name="Send").click()
    expect(form.get_by_label("Answer", exact=True)).to_contain_text('"a"')
    expect(form.locator(".outcome")).to_contain_text("200 OK")


def test_parameters_go_into_path_and_query(docs_page: Page, docs_url: str) -> None:
    form = open_entry(docs_page, "post_Find_by_node_id").locator("form")
    form.get_by_label("node_id").fill("a/b $&")
    with docs_page.expect_request(lambda request: "/walker/Find/" in request.url) as sent:
        form.get_by_role("button", name="Send").click()
    assert sent.value.url == f"{docs_url}/walker/Find/a%2Fb%20%24%26"
    expect(form.locator(".outcome")).to_contain_text("4")


def test_a_file_is_sent_as_a_form(docs_page: Page) -> None:
    form = open_entry(docs_page, "post_Upload").locator("form")
    form.get_by_label("title").fill("A file")
    form.get_by_label("file").set_input_files({"name": "a.txt", "mimeType": "text/plain", "buffer": b"content"})
    form.get_by_role("button", name="Send").click()
    expect(form.locator(".outcome")).to_contain_text("200 OK")
    expect(form.get_by_label("Answer", exact=True)).to_contain_text('"size": 7')


def test_a_webhook_is_signed(docs_page: Page) -> None:
    hook = make_key(docs_page, "hugo")
    hook.get_by_label("ref", exact=True).fill("main é")
    hook.get_by_role("button", name="Send").click()
    expect(hook.get_by_label("Answer", exact=True)).to_contain_text("deployed main é")
    hook.get_by_label("Signing secret").fill("wrong")
    hook.get_by_role("button", name="Send").click()
    expect(hook.get_by_label("Answer", exact=True)).to_contain_text("Signature invalid")


def test_by_keyboard(docs_page: Page) -> None:
    docs_page.locator("#login > summary").focus()
    docs_page.keyboard.press("Enter")
    docs_page.keyboard.press("Tab")
    expect(docs_page.locator("#login")).to_have_attribute("open", "")
    docs_page.locator("#login").get_by_label("password", exact=True).focus()
    docs_page.keyboard.press("Control+Enter")
    expect(docs_page.locator("#login .outcome")).to_contain_text("401")


def test_an_endpoint_is_found_by_its_words(docs_page: Page) -> None:
    docs_page.get_by_label("Find an endpoint").fill("post user")
    assert docs_page.locator(".entry:visible .path").all_text_contents() == [
        "/user/login",
        "/user/logout",
        "/user/refresh-token",
        "/user/register",
        "/notify",
    ]
    docs_page.get_by_label("Find an endpoint").fill("nowhere")
    expect(docs_page.get_by_text("No endpoint matches.")).to_be_visible()


def test_a_link_opens_its_endpoint(docs_page: Page) -> None:
    docs_page.get_by_role("navigation").get_by_role("link", name="/user/password").click()
    expect(docs_page.locator("#change_password")).to_have_attribute("open", "")


def test_an_entry_that_is_opened_again_is_as_it_was(docs_page: Page) -> None:
    entry = open_entry(docs_page, "channel_echo")
    entry.get_by_label("Text", exact=True).fill("draft")
    entry.locator("> summary").click()
    expect(entry.locator(".console")).to_be_hidden()
    entry.locator("> summary").click()
    expect(entry.get_by_label("Text", exact=True)).to_have_value("draft")
    assert entry.locator(".console").count() == 1


def test_every_entry_has_a_link_to_share(docs_page: Page, docs_url: str) -> None:
    ids = docs_page.evaluate("[...document.querySelectorAll('.entry')].map((each) => each.id)")
    assert len(ids) == len(set(ids)) and all(ids)
    entry = open_entry(docs_page, "channel_chat")
    expect(docs_page).to_have_url(f"{docs_url}/docs#channel_chat")
    docs_page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    entry.get_by_role("button", name="Copy link").click()
    expect(entry.get_by_role("button", name="Copied")).to_be_visible()
    link = docs_page.evaluate("navigator.clipboard.readText()")
    assert link == f"{docs_url}/docs#channel_chat"
    open_docs(docs_page, docs_url)
    docs_page.goto("about:blank")
    docs_page.goto(link)
    expect(docs_page.locator("#channel_chat .console")).to_be_visible()
    expect(docs_page.locator("#channel_chat > summary")).to_be_focused()


def test_the_token_is_kept_only_where_that_was_asked_for(docs_page: Page, docs_url: str) -> None:
    def stored() -> object:
        return docs_page.evaluate("[Object.values(sessionStorage), Object.values(localStorage), document.cookie]")

    docs_page.get_by_label("Token", exact=True).fill("abc")
    assert stored() == [[], [], ""]
    open_docs(docs_page, docs_url, "?again")
    expect(docs_page.get_by_label("Token", exact=True)).to_have_value("")
    docs_page.get_by_label("Keep the token in this tab").check()
    docs_page.get_by_label("Token", exact=True).fill("abc")
    assert stored() == [["abc"], [], ""]
    open_docs(docs_page, docs_url)
    expect(docs_page.get_by_label("Token", exact=True)).to_have_value("abc")
    docs_page.get_by_label("Keep the token in this tab").uncheck()
    assert stored() == [[], [], ""]


def test_a_document_that_cannot_be_read_is_told(browser: Browser, docs_url: str) -> None:
    page = browser.new_page()
    page.route("**/asyncapi.json", lambda route: route.fulfill(status=503))
    page.goto(f"{docs_url}/docs")
    expect(page.get_by_role("alert")).to_contain_text("asyncapi.json: 503")
    expect(page.locator("#register")).to_be_visible()
    page.close()
