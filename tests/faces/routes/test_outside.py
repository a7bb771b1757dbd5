"""Page 4, "Operations": HttpRequest to a real server of another party, and CallWalker."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from wireloom import RequestError, Root, Walker, entry, spec

from .kit import failures, http_route, load_problem, serving, socket_route
from .outside import Outside, outside, response

pytestmark = pytest.mark.anyio


@pytest.fixture
async def other() -> AsyncIterator[Outside]:
    async with outside() as server:
        yield server


async def asked(folder: Path, other: Outside, fields: str, message: str = "", hosts: Any = None) -> Any:
    """What an HttpRequest gives, or the code and message that it fails with."""
    operations = f"""
    - Try:
        operations: [{{HttpRequest: {{{fields}, output: o}}}}]
        catch: [{{Return: {{value: {{code: "{{{{ error.code }}}}", why: "{{{{ error }}}}"}}}}}}]
    - Return: {{value: "{{{{ o }}}}"}}
    """
    hosts = [other.host] if hosts is None else hosts
    async with serving(folder, socket_route(operations), routes_http_hosts=hosts) as served:
        return json.loads(await served.ask(message))


async def test_what_is_asked_and_what_comes_back(tmp_path: Path, other: Outside) -> None:
    fields = (
        f"url: '{other.url}/things?q={{{{ message | url_encode }}}}', method: PUT, "
        "headers: {X-Who: '{{ message }}', X-Number: 5}, body: {text: '{{ message }}', list: [1, null]}"
    )
    answer = await asked(tmp_path, other, fields, "a b&c")
    ((method, target, headers, body),) = other.requests
    assert (method, target) == ("PUT", "/things?q=a%20b%26c")
    assert (headers["x-who"], headers["x-number"], headers["content-type"]) == ("a b&c", "5", "application/json")
    assert json.loads(body) == {"text": "a b&c", "list": [1, None]}
    assert (answer["status"], answer["ok"]) == (200, True)
    assert answer["headers"]["content-type"] == "application/json"
    assert answer["body"] == {"method": "PUT", "body": body}


async def test_no_proxy_of_the_environment_is_asked_in_the_place_of_an_allowed_host(
    tmp_path: Path, other: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with outside() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        assert (await asked(tmp_path, other, f"url: '{other.url}/'"))["status"] == 200
        assert (len(other.requests), proxy.requests) == (1, [])


@pytest.mark.parametrize(
    ("fields", "sent", "kind"),
    [
        ("", "", None),
        (", method: POST, body: 'as it is'", "as it is", None),
        (", method: POST, body: '{{ [1] }}'", "[1]", "application/json"),
        (
            ", method: POST, body: {a: 1}, headers: {Content-Type: application/vnd.x+json}",
            '{"a":1}',
            "application/vnd.x+json",
        ),
        (", method: DELETE, headers: null", "", None),
    ],
)
async def test_bodies(tmp_path: Path, other: Outside, fields: str, sent: str, kind: Any) -> None:
    await asked(tmp_path, other, f"url: '{other.url}/'{fields}")
    ((_, _, headers, body),) = other.requests
    assert (body, headers.get("content-type")) == (sent, kind)


@pytest.mark.parametrize(
    ("raw", "status", "ok", "body"),
    [
        (response(b"[1]", kind="application/json; charset=utf-8"), 200, True, [1]),
        (response(b"[1]", kind="application/problem+json", status="404 Not Found"), 404, False, [1]),
        (response(b"[1]", kind="text/plain"), 200, True, "[1]"),
        (response("ä".encode("latin-1"), kind="text/plain; charset=ISO-8859-1"), 200, True, "ä"),
        (response(b"a\xffb", kind="text/html"), 200, True, "a�b"),
        (response(b"", status="204 No Content"), 204, True, ""),
        (response(b"no", kind="text/plain", status="500 No"), 500, False, "no"),
    ],
)
async def test_any_answer_is_a_success(
    tmp_path: Path, other: Outside, raw: bytes, status: int, ok: bool, body: Any
) -> None:
    other.answers["/"] = raw
    answer = await asked(tmp_path, other, f"url: '{other.url}/'")
    assert (answer["status"], answer["ok"], answer["body"]) == (status, ok, body)


async def test_redirects_are_not_followed(tmp_path: Path, other: Outside) -> None:
    other.answers["/"] = response(b"", status="302 Found", more=f"Location: {other.url}/inner\r\n")
    answer = await asked(tmp_path, other, f"url: '{other.url}/'")
    assert (answer["status"], answer["headers"]["location"]) == (302, f"{other.url}/inner")
    assert len(other.requests) == 1


async def test_answers_that_are_no_json_or_too_large(tmp_path: Path, other: Outside) -> None:
    other.answers["/bad"] = response(b"{")
    other.answers["/large"] = response(b"x" * (1024 * 1024 + 1), kind="text/plain")
    other.answers["/broken"] = b"nonsense\r\n\r\n"
    assert (await asked(tmp_path, other, f"url: '{other.url}/bad'"))["code"] == "INVALID_JSON"
    assert (await asked(tmp_path, other, f"url: '{other.url}/large'"))["code"] == "TOO_LARGE"
    assert (await asked(tmp_path, other, f"url: '{other.url}/broken'"))["code"] == "UNAVAILABLE"


async def test_no_more_is_read_than_may_be(tmp_path: Path, other: Outside) -> None:
    other.answers["/"] = b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n" + b"x" * (1024 * 1024 + 1)
    assert (await asked(tmp_path, other, f"url: '{other.url}/'"))["code"] == "TOO_LARGE"


async def test_a_server_that_does_not_answer(tmp_path: Path, other: Outside) -> None:
    other.gates["/never"] = asyncio.Event()
    answer = await asked(tmp_path, other, f"url: '{other.url}/never?key=secret', timeout_ms: 50")
    assert answer == {"code": "UNAVAILABLE", "why": f"{other.url}/never did not answer within 0.05 s"}


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/",
        "http://localhost:{port}/",
        "http://{host}@example.com/",
        "http://user:pass@{host}/",
        "http://example.com#@{host}/",
        "http://example.com\\@{host}/",
        "ftp://{host}/",
        "//{host}/",
        "file:///etc/passwd",
        "http://[::1]/",
        "http://169.254.169.254/",
        "",
    ],
)
async def test_only_hosts_of_the_list_are_asked(tmp_path: Path, other: Outside, url: str) -> None:
    url = url.replace("{host}", other.host).replace("{port}", other.host.partition(":")[2])
    answer = await asked(tmp_path, other, "url: '{{ message }}'", url)
    assert answer["code"] == "NOT_ALLOWED"
    assert other.requests == []
    problem = load_problem(tmp_path, socket_route(f"- HttpRequest: {{url: '{url}'}}"), routes_http_hosts=[other.host])
    assert "HttpRequest.url: " in problem


async def test_a_list_without_ports_allows_any(tmp_path: Path, other: Outside) -> None:
    assert (await asked(tmp_path, other, f"url: '{other.url}/'", hosts=["127.0.0.1"]))["status"] == 200
    assert (await asked(tmp_path, other, "url: '{{ message }}'", f"{other.url}/", hosts=["*.0.0.1"]))["status"] == 200
    assert (await asked(tmp_path, other, "url: '{{ message }}'", f"{other.url}/", hosts=["0.0.1"]))[
        "code"
    ] == "NOT_ALLOWED"
    assert (await asked(tmp_path, other, "url: '{{ message }}'", f"{other.url}/", hosts=[]))["code"] == "NOT_ALLOWED"


@pytest.mark.parametrize("header", ["{'X-A': '{{ message }}'}", "{'{{ 1 }}': a}"])
async def test_a_header_cannot_begin_another(tmp_path: Path, other: Outside, header: str) -> None:
    fields = f"url: '{other.url}/', headers: {header}"
    answer = await asked(tmp_path, other, fields, "a\r\nX-B: b")
    assert answer["code"] == "UNAVAILABLE"
    assert other.requests == []


# -- CallWalker --------------------------------------------------------------------------------------------------------


@spec(public=True)
class Greet(Walker):
    name: str
    times: int = 1

    @entry(Root)
    async def greet(self, here: Root) -> None:
        who = self.request.user.username if self.request.user is not None else "nobody"
        for _ in range(self.times):
            self.report(f"hello {self.name} from {who}")
        if self.name == "boom":
            raise RuntimeError("a detail that only developers see")
        if self.name == "refuse":
            raise RequestError("NOT_TODAY", "Come back tomorrow")


@spec(roles=["admin"])
class Rule(Walker):
    @entry(Root)
    async def rule(self, here: Root) -> None:
        self.report({"root": here.id})


CALL = """
    - Try:
        operations:
          - CallWalker: {walker: "%s", context: %s, output: o}
        catch: [{Return: {value: {code: "{{ error.code }}", why: "{{ error }}"}}}]
    - Return: {value: "{{ o }}"}
"""


async def test_a_walker_reports_to_a_route(tmp_path: Path) -> None:
    route = socket_route(CALL % ("Greet", "{name: '{{ message }}', times: 2}"))
    async with serving(tmp_path, route, declarations=[Greet]) as served:
        assert json.loads(await served.ask("Ann")) == ["hello Ann from nobody"] * 2
        assert json.loads(await served.ask("refuse")) == {"code": "NOT_TODAY", "why": "Come back tomorrow"}
        assert json.loads(await served.ask("boom")) == {"code": "INTERNAL_ERROR", "why": "Internal error"}


async def test_fields_that_do_not_fit(tmp_path: Path) -> None:
    route = socket_route(CALL % ("Greet", "{times: '{{ message }}'}"))
    async with serving(tmp_path, route, declarations=[Greet]) as served:
        assert json.loads(await served.ask("x"))["code"] == "VALIDATION_ERROR"


async def test_a_walker_runs_for_the_user_of_the_connection(tmp_path: Path) -> None:
    greet = socket_route(CALL % ("Greet", "{name: x}"), more="auth: true")
    rule = socket_route(CALL % ("Rule", "{}"), path="/rule", more="auth: true")
    public = socket_route(CALL % ("Rule", "{}"), path="/public")
    async with serving(tmp_path, greet, rule, public, declarations=[Greet, Rule]) as served:
        identity = served.app.identity
        assert identity is not None
        ann = await identity.register({"username": "ann"}, "correct horse")
        root = await identity.issue_token(await identity.add_user({"username": "root"}, "correct horse", "admin"))
        answers = []
        for path, login in (("/ws", ann), ("/rule", ann), ("/rule", root)):
            client = await served.connect(path, headers={"Authorization": f"Bearer {login.token}"})
            await client.send_text("")
            answers.append(await client.receive_json())
        assert answers[0] == ["hello x from ann"]
        assert answers[1]["code"] == "FORBIDDEN"
        assert answers[2] == [{"root": root.user.root_id}]
        assert json.loads(await served.ask(path="/public"))["code"] == "UNAUTHORIZED"


async def test_in_http_routes_what_a_walker_refuses_is_the_answer(tmp_path: Path, caplog: Any) -> None:
    logic = (
        "- CallWalker: {walker: Greet, context: {name: '{{ query.name }}'}, output: o}\n- Return: {value: '{{ o }}'}"
    )
    async with serving(tmp_path, http_route(logic), declarations=[Greet]) as served:
        assert (await served.http.get("/http?name=Ann")).json() == ["hello Ann from nobody"]
        refused = await served.http.get("/http?name=refuse")
        assert (refused.status_code, refused.json()) == (400, {"error": "Come back tomorrow", "code": "NOT_TODAY"})
        assert (await served.http.get("/http?name=boom")).status_code == 500


async def test_an_uncaught_refusal_ends_the_hook(tmp_path: Path, caplog: Any) -> None:
    operations = (
        "- CallWalker: {walker: Greet, context: {name: '{{ message }}'}, output: o}\n- Return: {value: '{{ o }}'}"
    )
    async with serving(tmp_path, socket_route(operations), declarations=[Greet]) as served:
        client = await served.connect()
        await client.send_text("refuse")
        await client.send_text("Ann")
        assert await client.receive_json() == ["hello Ann from nobody"]
        (failure,) = failures(caplog)
        assert "Come back tomorrow (NOT_TODAY)" in failure.getMessage()


def test_there_must_be_such_a_walker(tmp_path: Path) -> None:
    problem = load_problem(tmp_path, socket_route("- CallWalker: {walker: Gret}"), declarations=[Greet])
    assert "there is no walker 'Gret'; did you mean 'Greet'?" in problem
    problem = load_problem(tmp_path, socket_route("- CallWalker: {walker: '{{ message }}'}"), declarations=[Greet])
    assert "must be the name of a walker, written out" in problem
