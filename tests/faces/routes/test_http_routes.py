"""Page 4: routes by HTTP: what comes in, what goes out, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .kit import failures, http_route, load_problem, serving, socket_route

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("prefix", ["", "/api"])
async def test_what_a_request_is(tmp_path: Path, prefix: str) -> None:
    logic = """
    - Return:
        value:
          request: ["{{ request.method }}", "{{ request.path }}", "{{ request.body }}", "{{ request.client }}"]
          request_maps: ["{{ request.query }}", "{{ request.params }}", "{{ request.headers['x-a'] }}"]
          maps: ["{{ query }}", "{{ params }}", "{{ headers['x-a'] }}"]
          payload: "{{ payload }}"
          bare: ["{{ title }}", "{{ tags[0] }}", "{{ missing | default('none') }}"]
          user: "{{ user }}"
          route: "{{ route }}"
    """
    async with serving(tmp_path, http_route(logic, path="/notes/:id/{part}", more="method: [POST, put]")) as served:
        body = {"title": "T", "tags": ["a"]}
        answer = await served.http.post(f"{prefix}/notes/a%20b/c%2Fd?q=1&q=2", json=body, headers={"X-A": "yes"})
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        params = {"id": "a b", "part": "c/d"}
        told = answer.json()
        assert told["request"][0] == "POST"
        assert told["request"][2:] == [body, "127.0.0.1"]
        assert told["request_maps"] == told["maps"] == [{"q": "2"}, params, "yes"]
        assert (told["payload"], told["bare"], told["user"]) == (body, ["T", "a", "none"], None)
        name = "Test /notes/:id/{part}"
        assert told["route"] == {"name": name, "path": "/notes/{id}/{part}", "type": "Http"}


async def test_a_name_that_the_route_sets_is_its_variable_and_no_member_of_the_payload(tmp_path: Path) -> None:
    logic = """
    - If: {condition: payload.mine == 1, then: [{SetVar: {name: mine, value: 2}}]}
    - Return: {value: ["{{ mine | default('unset') }}", "{{ payload.mine }}"]}
    """
    async with serving(tmp_path, http_route(logic, more="method: POST")) as served:
        assert (await served.http.post("/http", json={"mine": 1})).json() == [2, 1]
        assert (await served.http.post("/http", json={"mine": 3})).json() == ["unset", 3]


async def test_a_member_that_is_not_there(tmp_path: Path, caplog: Any) -> None:
    async with serving(tmp_path, http_route("- Return: {value: '{{ nothing }}'}", more="method: POST")) as served:
        for body in ({}, [], None, "nothing", {"nothing": None}):
            answer = await served.http.post("/http", json=body)
            assert (answer.status_code, answer.json() is None) == (
                (200, True) if body == {"nothing": None} else (500, False)
            )
        assert len(failures(caplog)) == 4


# -- responses ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "status", "body", "kind"),
    [
        ("value: text", 200, b'"text"', "application/json"),
        ("value: {a: [1, null, true]}", 200, b'{"a":[1,null,true]}', "application/json"),
        ("value: null", 200, b"null", "application/json"),
        ("status: 201", 201, b"null", "application/json"),
        ("value: a, status: '{{ 200 + 2 }}'", 202, b'"a"', "application/json"),
        ("value: a, status: 418", 418, b'"a"', "application/json"),
        ("value: <p>, raw: true", 200, b"<p>", "text/plain; charset=utf-8"),
        ("value: {a: 1}, raw: true", 200, b'{"a":1}', "text/plain; charset=utf-8"),
        ("value: <p>, raw: true, headers: {Content-Type: text/html}", 200, b"<p>", "text/html"),
        ("status: 204", 204, b"", None),
        ("value: a, status: 204", 204, b"", None),
        ("value: a, status: 304", 304, b"", None),
        ("value: a, status: 205", 205, b"", None),
    ],
)
async def test_what_return_gives(tmp_path: Path, fields: str, status: int, body: bytes, kind: Any) -> None:
    async with serving(tmp_path, http_route(f"- Return: {{{fields}}}")) as served:
        for _ in range(2):  # the connection can be used again
            answer = await served.http.get("/http")
            assert (answer.status_code, answer.content) == (status, body)
            assert answer.headers.get("content-type") == kind


async def test_without_return_there_is_no_content(tmp_path: Path) -> None:
    async with serving(tmp_path, http_route("- Comment"), http_route("[]", path="/empty")) as served:
        for path in ("/http", "/empty"):
            answer = await served.http.get(path)
            assert (answer.status_code, answer.content) == (204, b"")


async def test_headers_of_a_response(tmp_path: Path) -> None:
    logic = "- Return: {value: a, headers: {X-One: '{{ query.one }}', X-Two: 2, Location: /there}, status: 302}"
    async with serving(tmp_path, http_route(logic)) as served:
        answer = await served.http.get("/http?one=1%09tab")
        assert answer.status_code == 302
        assert [answer.headers[name] for name in ("x-one", "x-two", "location")] == ["1\ttab", "2", "/there"]


@pytest.mark.parametrize("value", ["a%0d%0aSet-Cookie:%20a=b", "a%0ab", "a%00b", "%C3%A9", "a%7fb"])
async def test_a_header_cannot_begin_another(tmp_path: Path, caplog: Any, value: str) -> None:
    async with serving(tmp_path, http_route("- Return: {value: a, headers: {X-A: '{{ query.a }}'}}")) as served:
        answer = await served.http.get(f"/http?a={value}")
        assert answer.status_code == 500
        assert "set-cookie" not in answer.headers
        (failure,) = failures(caplog)
        assert "the header X-A has a character that no header may have" in failure.getMessage()


@pytest.mark.parametrize(
    "header", ["Content-Length", "transfer-encoding", "Connection", "Upgrade", "X A", "'X:A'", "''", '"X\\nA"']
)
async def test_headers_that_are_not_the_routes(tmp_path: Path, caplog: Any, header: str) -> None:
    async with serving(tmp_path, http_route(f"- Return: {{value: a, headers: {{{header}: '5'}}}}")) as served:
        assert (await served.http.get("/http")).status_code == 500
        assert "there can be no header" in failures(caplog)[0].getMessage()


@pytest.mark.parametrize("status", ["99", "199", "600", "-1", "1.5", "x", ""])
async def test_a_status_that_cannot_be(tmp_path: Path, caplog: Any, status: str) -> None:
    async with serving(tmp_path, http_route("- Return: {value: a, status: '{{ query.s }}'}")) as served:
        assert (await served.http.get(f"/http?s={status}")).status_code == 500
        assert len(failures(caplog)) == 1


# -- what goes wrong ---------------------------------------------------------------------------------------------------


async def test_throw_with_a_status(tmp_path: Path, caplog: Any) -> None:
    logic = '- Throw: {message: "no {{ query.what }}", code: "{{ query.code }}"}'
    async with serving(tmp_path, http_route(logic)) as served:
        for code in ("400", "404", "451", "503", "599"):
            answer = await served.http.get(f"/http?what=tea&code={code}")
            assert (answer.status_code, answer.json()) == (int(code), {"error": "no tea", "code": code})
        assert failures(caplog) == []
        for code in ("399", "600", "200", "TEA", "", "²", "4e2"):
            answer = await served.http.get(f"/http?what=tea&code={code}")
            told = answer.json()
            assert (answer.status_code, told.pop("id") in caplog.text) == (500, True)
            assert told == {"error": "Internal error", "code": "INTERNAL_ERROR"}
        assert len(failures(caplog)) == 7


async def test_plain_http_at_a_websocket_path(tmp_path: Path) -> None:
    told = {"error": "WebSocket upgrade required", "message": "This route requires WebSocket protocol"}
    async with serving(tmp_path, socket_route("- Comment", path="/ws/:room")) as served:
        for path in ("/ws/a", "/api/ws/a"):
            for method in ("GET", "POST"):
                answer = await served.http.request(method, path)
                assert (answer.status_code, answer.json()) == (400, told)


async def test_where_there_is_no_route(tmp_path: Path) -> None:
    from wireloom.errors import HandshakeFailed

    async with serving(tmp_path, http_route("- Comment"), socket_route("- Comment")) as served:
        for method, path in (("GET", "/p"), ("POST", "/api/p"), ("GET", "/http/x"), ("GET", "/ws/")):
            answer = await served.http.request(method, path)
            assert answer.status_code == 404
            assert answer.json() == {"error": "Not Found", "message": f"No route found for {method} {path}"}
        with pytest.raises(HandshakeFailed) as refused:
            await served.connect("/p")
        assert refused.value.status == 404
        assert b'"No route found for GET /p"' in refused.value.body


async def test_methods_of_one_path(tmp_path: Path) -> None:
    routes = [http_route(f"- Return: {{value: by {method}}}", more=f"method: {method}") for method in ("GET", "post")]
    async with serving(
        tmp_path, *routes, http_route("- Return: {value: others}", more="method: [PUT, PATCH]")
    ) as served:
        for path in ("/http", "/api/http"):
            assert (await served.http.get(path)).json() == "by GET"
            assert (await served.http.post(path)).json() == "by post"
            assert (await served.http.patch(path)).json() == "others"
            refused = await served.http.delete(path)
            assert refused.status_code == 405
            assert set(refused.headers["allow"].split(", ")) >= {"GET", "POST", "PUT", "PATCH"}


def test_two_routes_cannot_share_a_path(tmp_path: Path) -> None:
    twice = http_route("- Comment", path="/a/:x") + "---\n" + http_route("- Comment", path="/a/{y}")
    assert "is that of route 'Test /a/:x'" in load_problem(tmp_path, twice)
    both = http_route("- Comment", path="/a") + "---\n" + socket_route("- Comment", path="/a")
    assert "is that of route 'Test /a'" in load_problem(tmp_path, both)


@pytest.mark.parametrize(
    ("content", "kind", "status", "code"),
    [
        (b"{", "application/json", 400, "INVALID_JSON"),
        (b"\xff", "application/json", 400, "INVALID_TEXT"),
        (b"a", "text/plain", 415, "UNSUPPORTED_MEDIA_TYPE"),
    ],
)
async def test_bodies_that_cannot_be_read(tmp_path: Path, content: bytes, kind: str, status: int, code: str) -> None:
    async with serving(tmp_path, http_route("- Return: {value: 1}", more="method: POST")) as served:
        answer = await served.http.post("/http", content=content, headers={"Content-Type": kind})
        assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_forms(tmp_path: Path) -> None:
    logic = "- Return: {value: ['{{ payload }}', '{{ name }}']}"
    async with serving(tmp_path, http_route(logic, more="method: POST")) as served:
        multipart = await served.http.post("/http", files={"name": (None, "{{ user }}"), "n": (None, "5")})
        assert multipart.json() == [{"name": "{{ user }}", "n": "5"}, "{{ user }}"]
        with_file = await served.http.post("/http", files={"name": ("a.txt", b"x")})
        assert (with_file.status_code, with_file.json()["code"]) == (400, "INVALID_FORM")


async def test_a_body_of_the_declared_shape(tmp_path: Path) -> None:
    more = "method: POST\nmessage_schema: {type: object, required: [n], properties: {n: {type: integer}}}"
    async with serving(tmp_path, http_route("- Return: {value: '{{ n }}'}", more=more)) as served:
        assert (await served.http.post("/http", json={"n": 5})).json() == 5
        for body in ({"n": "x"}, {}, []):
            refused = await served.http.post("/http", json=body)
            assert (refused.status_code, refused.json()["code"]) == (422, "VALIDATION_ERROR")


async def test_a_form_of_the_declared_shape(tmp_path: Path) -> None:
    more = "method: POST\nmessage_schema: {type: object, required: [n], properties: {n: {maxLength: 2}}}"
    async with serving(tmp_path, http_route("- Return: {value: '{{ n }}'}", more=more)) as served:
        assert (await served.http.post("/http", files={"n": (None, "5")})).json() == "5"
        for name, value in (("n", "555"), ("m", "5")):
            refused = await served.http.post("/http", files={name: (None, value)})
            assert (refused.status_code, refused.json()["code"]) == (422, "VALIDATION_ERROR")


async def test_a_body_that_is_too_large(tmp_path: Path) -> None:
    more = "method: POST\nmax_message_size: 20"
    async with serving(tmp_path, http_route("- Return: {value: taken}", more=more)) as served:
        assert (await served.http.post("/http", json="x" * 18)).json() == "taken"
        refused = await served.http.post("/http", json="x" * 19)
        assert (refused.status_code, refused.json()["code"]) == (413, "TOO_LARGE")


async def test_auth(tmp_path: Path) -> None:
    logic = "- Return: {value: ['{{ user.username }}', '{{ user.role }}', '{{ user.id == user.root_id }}']}"
    async with serving(tmp_path, http_route(logic, more="auth: true")) as served:
        assert served.app.identity is not None
        login = await served.app.identity.register({"username": "ann"}, "correct horse")
        told = await served.http.get("/http", headers={"Authorization": f"Bearer {login.token}"})
        assert told.json()[:2] == ["ann", login.user.role]
        for headers in ({}, {"Authorization": "Bearer wrong"}):
            refused = await served.http.get("/http", headers=headers)
            assert (refused.status_code, refused.json()["code"]) == (401, "UNAUTHORIZED")
            assert refused.headers["www-authenticate"] == "Bearer"


async def test_rate_limit(tmp_path: Path) -> None:
    more = "rate_limit: {messages_per_minute: 60, burst: 2}"
    async with serving(tmp_path, http_route("- Return: {value: 1}", more=more)) as served:
        answers = [await served.http.get(path) for path in ("/http", "/api/http", "/http")]
        assert [answer.status_code for answer in answers[:2]] == [200, 200]
        assert (answers[2].status_code, answers[2].json()["code"]) == (429, "RATE_LIMITED")
        assert answers[2].headers["retry-after"] == "1"


@pytest.mark.parametrize("command", ["send, message: a", "join, channel: a", "leave, channel: a", "close"])
def test_there_is_no_connection(tmp_path: Path, command: str) -> None:
    problem = load_problem(tmp_path, http_route(f"- WsOp: {{command: {command}}}"))
    assert "an HTTP route has no connection to" in problem


async def test_it_reaches_channels(tmp_path: Path) -> None:
    logic = "- WsOp: {command: broadcast, channel: '{{ channel }}', message: '{{ text }}'}"
    room = socket_route(on_connect="- Return: {value: ready}", more="channels: [news]")
    async with serving(tmp_path, http_route(logic, more="method: POST"), room) as served:
        client = await served.connect()
        assert await client.receive_text() == "ready"
        assert (await served.http.post("/http", json={"channel": "news", "text": "rain"})).status_code == 204
        assert await client.receive_text() == "rain"


async def test_a_client_cannot_set_a_variable_of_the_route(tmp_path: Path) -> None:
    logic = """\
- If:
    condition: payload.password == 'secret'
    then:
      - SetVar: {name: admin, value: true}
- Return: {value: {admin: "{{ admin | default(false) }}", other: "{{ other }}"}}
"""
    async with serving(tmp_path, http_route(logic, more="method: POST")) as served:
        answer = await served.http.post("/http", json={"admin": True, "other": 1, "password": "guess"})
        assert answer.json() == {"admin": False, "other": 1}
        answer = await served.http.post("/http", json={"other": 1, "password": "secret"})
        assert answer.json() == {"admin": True, "other": 1}
