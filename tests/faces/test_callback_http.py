"""Page 5, `create_server`: HTTP requests and their answers, alone and beside other declarations."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import JSONResponse, Response, StreamingResponse
from tests.ids import shown

from wireloom import (
    App,
    CallbackHandler,
    CallbackRequest,
    ConfigError,
    ConnectionClosed,
    Deny,
    Disconnect,
    RequestError,
    create_server,
)
from wireloom.testing import TestServer

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def answering(answer: Any, **options: Any) -> AsyncIterator[Any]:
    """An HTTP client of a handler, or of one that answers always the same."""
    handler = answer if callable(answer) and not isinstance(answer, type) else lambda req: answer
    async with TestServer(create_server(handler, **options).app) as server:
        yield server.http


def errors(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.levelno >= logging.ERROR]


# -- req ---------------------------------------------------------------------------------------------------------------


def describe(req: CallbackRequest) -> Any:
    names = ("type", "ws", "method", "url", "pathname", "headers", "cookies", "client")
    assert req.data == req.body
    return {"body": {**{name: getattr(req, name) for name in names}, "query": dict(req.query), "size": len(req.body)}}


async def test_what_a_request_has() -> None:
    async with answering(describe) as http:
        headers = [("X-Twice", "a"), ("x-twice", "b"), ("Cookie", "c=1; d=2")]
        told = (await http.post("/a%20b/%2F?x=1&y=%20", content=b"12345", headers=headers)).json()
    assert (told["type"], told["ws"], told["method"]) == ("http", None, "POST")
    assert (told["url"], told["pathname"]) == ("/a%20b/%2F?x=1&y=%20", "/a%20b/%2F")
    assert told["query"] == {"x": "1", "y": " "}
    assert told["headers"]["x-twice"] == "a, b" and told["headers"]["content-length"] == "5"
    assert told["cookies"] == {"c": "1", "d": "2"} and told["client"][0] == "127.0.0.1" and told["size"] == 5


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY"])
@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "image/png", None])
async def test_every_method_with_every_type_of_body_reaches_it(method: str, kind: str | None) -> None:
    async with answering(lambda req: {"body": f"{req.method} {req.body!r}"}) as http:
        headers = {} if kind is None else {"Content-Type": kind}
        answer = await http.request(method, "/", content=b"a=\xff", headers=headers)
        assert answer.text == f"{method} {b'a=' + bytes([255])!r}"


@pytest.mark.parametrize("body", ['{"a": [1, null]}', "0", '"x"'])
async def test_json_is_the_value_of_the_body(body: str) -> None:
    async with answering(lambda req: {"body": [req.json]}) as http:
        assert (await http.post("/", content=body)).json() == [json.loads(body)]


@pytest.mark.parametrize("body", [b"", b"{", b"NaN", b"[1],", b"\xff", b"[" * 100_000])
async def test_json_that_is_none_is_answered_with_400(body: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async with answering(lambda req: {"body": [req.json]}) as http:
        answer = await http.post("/", content=body)
    assert (answer.status_code, answer.json()) == (400, {"error": "Invalid JSON", "code": "INVALID_JSON"})
    assert errors(caplog) == []


async def test_a_body_above_the_limit_is_answered_with_413() -> None:
    async with answering(lambda req: {"body": str(len(req.body))}, max_body_bytes=10) as http:
        assert (await http.post("/", content=b"x" * 10)).text == "10"
        answer = await http.post("/", content=b"x" * 11)
        assert answer.status_code == 413 and answer.json()["code"] == "TOO_LARGE"


async def test_a_body_that_does_not_come_is_answered_with_408() -> None:
    async with TestServer(create_server(describe, body_timeout_seconds=0.05).app) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n12")
        assert (await asyncio.wait_for(reader.readline(), 3)).startswith(b"HTTP/1.1 408 ")
        writer.close()


# -- answers -----------------------------------------------------------------------------------------------------------

PLAIN = "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    ("answer", "status", "kind", "body"),
    [
        ({}, 200, None, b""),
        ({"body": None}, 200, None, b""),
        ({"body": ""}, 200, PLAIN, b""),
        ({"body": "ä"}, 200, PLAIN, "ä".encode()),
        ({"status": 404, "body": "no"}, 404, PLAIN, b"no"),
        ({"body": b"\x00"}, 200, "application/octet-stream", b"\x00"),
        ({"body": bytearray(b"\x01")}, 200, "application/octet-stream", b"\x01"),
        ({"body": {"a": ["ä", None]}}, 200, "application/json", '{"a":["ä",null]}'.encode()),
        ({"body": []}, 200, "application/json", b"[]"),
        ({"body": "<p>", "type": "text/html"}, 200, "text/html; charset=utf-8", b"<p>"),
        ({"body": "<p>", "type": "text/html; charset=latin-1"}, 200, "text/html; charset=latin-1", b"<p>"),
        ({"body": b"\x89", "type": "image/png"}, 200, "image/png", b"\x89"),
        ({"body": {}, "type": "application/problem+json"}, 200, "application/problem+json", b"{}"),
        ({"body": "x", "headers": {"Content-Type": "text/x"}}, 200, "text/x", b"x"),
        ({"body": "x", "headers": {"content-type": "text/x"}, "type": "text/y"}, 200, "text/x", b"x"),
        ({"body": "12", "headers": {"Content-Length": 2}}, 200, PLAIN, b"12"),
        ({"status": 204, "body": "left out"}, 204, PLAIN, b""),
        ({"status": 205, "body": "left out"}, 205, PLAIN, b""),
        ({"status": 304}, 304, None, b""),
    ],
    ids=shown,
)
async def test_an_answer_and_its_response(answer: Any, status: int, kind: str | None, body: bytes) -> None:
    async with answering(answer) as http:
        response = await http.get("/")
        assert (response.status_code, response.headers.get("content-type"), response.content) == (status, kind, body)
        assert "cache-control" not in response.headers
        assert (await http.get("/")).status_code == status  # the connection goes on


async def test_headers_are_sent_as_they_are_and_lists_as_several() -> None:
    headers = {"X-One": "1", "X-Number": 5, "Set-Cookie": ["a=1; Path=/", "b=2"], "Cache-Control": "max-age=5"}
    async with answering({"headers": headers, "body": "x"}) as http:
        response = await http.get("/")
    assert response.headers.get_list("set-cookie") == ["a=1; Path=/", "b=2"]
    assert (response.headers["x-one"], response.headers["x-number"]) == ("1", "5")
    assert response.headers["cache-control"] == "max-age=5"


async def test_head_reaches_the_handler_and_is_answered_without_the_body() -> None:
    seen: list[str] = []

    def handler(req: CallbackRequest) -> Any:
        seen.append(req.method)
        return {"body": "x" * 50}

    async with answering(handler) as http:
        response = await http.head("/")
        assert (response.status_code, response.headers["content-length"], response.content) == (200, "50", b"")
        assert (await http.get("/")).text == "x" * 50
    assert seen == ["HEAD", "GET"]


async def test_the_length_of_what_a_get_would_give_may_be_told_to_a_head() -> None:
    async with answering({"headers": {"Content-Length": "1234"}}) as http:
        assert (await http.head("/")).headers["content-length"] == "1234"


async def test_a_starlette_response_leaves_as_it_is() -> None:
    async def parts() -> AsyncIterator[str]:
        for part in ("a", "b", "c"):
            yield part

    async def handler(req: CallbackRequest) -> Any:
        await asyncio.sleep(0)
        if req.pathname == "/stream":
            return StreamingResponse(parts(), media_type="text/x-parts")
        return JSONResponse({"a": 1}, 201, {"X-Own": "1"})

    async with answering(handler) as http:
        response = await http.get("/")
        assert (response.status_code, response.json(), response.headers["x-own"]) == (201, {"a": 1}, "1")
        assert (await http.get("/stream")).text == "abc"


# -- errors ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (None, "not None"),
        ("text", "a dict such as"),
        ({"statu": 200}, "did you mean 'status'?"),
        ({"status": "200"}, "from 200 to 599"),
        ({"status": 101}, "from 200 to 599"),
        ({"status": True}, "from 200 to 599"),
        ({"body": 5}, "not int"),
        ({"body": {"a": {1, 2}, "b": object()}}, "no JSON form"),
        ({"headers": []}, "headers of an answer are a dict"),
        ({"headers": {"a b": "x"}}, "no header 'a b'"),
        ({"headers": {"X": "a\r\nSet-Cookie: b"}}, "a character that no header may have"),
        ({"headers": {"X": "€"}}, "a character that no header may have"),
        ({"headers": {"X": None}}, "str or a list of str"),
        ({"headers": {"Transfer-Encoding": "chunked"}}, "the server's own"),
        ({"headers": {"Content-Length": "5"}, "body": "x"}, "the body has 1 bytes"),
        ({"type": 5, "body": "x"}, "the type of an answer is str"),
        ({"type": "a\nb", "body": "x"}, "Content-Type"),
    ],
    ids=shown,
)
async def test_an_answer_that_is_none_is_a_500_and_logged_once(
    answer: Any, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with answering(answer) as http:
        response = await http.get("/")
    assert response.status_code == 500
    (record,) = errors(caplog)
    assert record.exc_info is not None and told in str(record.exc_info[1])
    error_id = response.json()["id"]
    assert response.json() == {"error": "Internal error", "code": "INTERNAL_ERROR", "id": error_id}
    assert error_id in record.getMessage()


@pytest.mark.parametrize(
    ("response", "told"),
    [
        (Response("x", 700), "from 200 to 599"),
        (Response("x", headers={"X": "a\r\nSet-Cookie: b"}), "no header 'x'"),
        (Response("x", headers={"X\r\nSet-Cookie": "b"}), "no header"),
    ],
    ids=["status", "value", "name"],
)
async def test_a_starlette_response_that_cannot_be_written_is_a_500(
    response: Response, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with answering(lambda req: response) as http:
        answer = await http.get("/")
    assert (answer.status_code, answer.json()["code"]) == (500, "INTERNAL_ERROR")
    (record,) = errors(caplog)
    assert record.exc_info is not None and told in str(record.exc_info[1])


def raising(error: BaseException) -> Callable[[CallbackRequest], Any]:
    def handler(req: CallbackRequest) -> Any:
        raise error

    return handler


@pytest.mark.parametrize(
    "error", [KeyError("secret"), ConnectionClosed(1000), Disconnect(4000), asyncio.CancelledError()], ids=shown
)
async def test_an_exception_is_a_500_and_logged_once(error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    async with answering(raising(error)) as http:
        response = await http.get("/")
    assert response.status_code == 500 and "secret" not in response.text
    (record,) = errors(caplog)
    assert response.json()["id"] in record.getMessage()


async def test_in_development_a_bug_is_told() -> None:
    async with answering(raising(KeyError("secret")), dev=True) as http:
        assert (await http.get("/")).json()["detail"] == "KeyError: 'secret'"


@pytest.mark.parametrize(
    ("error", "status", "body"),
    [
        (RequestError("NOT_FOUND", "no such page"), 404, {"error": "no such page", "code": "NOT_FOUND"}),
        (RequestError("TEAPOT", "tea only", status=418), 418, {"error": "tea only", "code": "TEAPOT"}),
        (Deny(403, "not you"), 403, {"error": "not you"}),
        (Deny(429, {"wait": 5}, {"Retry-After": "5"}), 429, {"wait": 5}),
    ],
    ids=shown,
)
async def test_a_refusal_is_told(error: Exception, status: int, body: Any, caplog: pytest.LogCaptureFixture) -> None:
    async with answering(raising(error)) as http:
        response = await http.get("/")
    assert (response.status_code, response.json()) == (status, body)
    assert response.headers.get("retry-after") == ("5" if status == 429 else None)
    assert errors(caplog) == []


# -- beside other declarations -----------------------------------------------------------------------------------------


def everything_else(req: CallbackRequest) -> Any:
    if req.ws is not None:
        req.ws.send(f"callback {req.data}")
        return None
    return {"body": f"callback {req.pathname}"}


def full_app(folder: Path) -> App:
    (folder / "page.txt").write_text("a file")
    app = App([CallbackHandler(everything_else)])
    app.static("/files", folder)

    @app.websocket("/chat/{room}")
    async def chat(message: str, room: str) -> str:
        return f"chat {message}"

    return app


@pytest.mark.parametrize(
    ("path", "status", "begins"),
    [
        ("/", 200, "callback /"),
        ("/files/page.txt", 200, "a file"),
        ("/files/none.txt", 404, "{"),
        ("/filesystem", 200, "callback"),
        ("/chat/lobby", 426, "{"),
        ("/chat", 200, "callback"),
        ("/healthz/live", 200, '{"status":"ok"}'),
        ("/healthz/ready", 200, '{"status":"ready"'),
        ("/openapi.json", 200, '{"openapi"'),
        ("/docs/", 307, ""),
    ],
)
async def test_it_takes_what_nothing_else_does(tmp_path: Path, path: str, status: int, begins: str) -> None:
    async with TestServer(full_app(tmp_path)) as server:
        answer = await server.http.get(path)
        assert answer.status_code == status and answer.text.replace(" ", "").startswith(begins.replace(" ", ""))


@pytest.mark.parametrize(
    ("path", "reply"),
    [
        ("/chat/lobby", "chat x"),
        ("/chat", "callback x"),
        ("/chat/a/b", "callback x"),
        ("/files/page.txt", "callback x"),
    ],
)
async def test_a_declared_websocket_comes_first(tmp_path: Path, path: str, reply: str) -> None:
    async with TestServer(full_app(tmp_path)) as server, server.websocket(path) as ws:
        await ws.send_text("x")
        assert await ws.receive_text() == reply


def test_there_is_one_for_everything_else() -> None:
    with pytest.raises(ConfigError, match=r"'\*' is already served by 'everything_else'"):
        App([CallbackHandler(everything_else), CallbackHandler(describe)])


def test_route_tables_show_it_and_documents_cannot(tmp_path: Path) -> None:
    app = full_app(tmp_path)
    rows = [(row.door, row.path, row.name) for row in app.describe()]
    assert rows == [
        ("rest", "*", "everything_else"),
        ("websocket", "*", "everything_else"),
        ("websocket", "/chat/{room}", "chat"),
    ]
    assert list(app.asyncapi()["channels"]) == ["chat"] and "*" not in app.openapi()["paths"]


async def test_its_open_connections_survive_a_live_reload() -> None:
    def later(req: CallbackRequest) -> None:
        req.ws.send(f"later {req.ws.state}")

    def before(req: CallbackRequest) -> None:
        req.ws.state["kept"] = True
        req.ws.send("before")

    async with TestServer(App([CallbackHandler(before)])) as server, server.websocket("/any") as ws:
        await ws.send_text("x")
        assert await ws.receive_text() == "before"
        assert (await server.app.reload(App([CallbackHandler(later)]))).kept == 1
        await ws.send_text("x")
        assert await ws.receive_text() == "later {'kept': True}"
