"""Plain HTTP on the same port, handed over to uvicorn's own protocol with the bytes replayed."""

from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route

from wireloom import App, ConfigError
from wireloom.testing import TestServer

from .raw import dial, request_head, upgrade_head

pytestmark = pytest.mark.anyio


def http_app(**options: Any) -> App:
    app = App(**options)

    @app.websocket("/echo/{room}")
    async def echo(message: str) -> str:
        return message

    async def report(request: Request) -> JSONResponse:
        body = await request.body()
        return JSONResponse(
            {
                "method": request.method,
                "path": request.url.path,
                "query": str(request.query_params),
                "size": len(body),
                "sha": hashlib.sha256(body).hexdigest(),
                "marker": request.headers.get("x-marker"),
                "client": request.client.host if request.client else None,
            }
        )

    async def slow(request: Request) -> StreamingResponse:
        async def pieces() -> Any:
            for number in range(3):
                await asyncio.sleep(0.01)
                yield f"{number}\n"

        return StreamingResponse(pieces())

    async def text(request: Request) -> PlainTextResponse:
        return PlainTextResponse("eight by")

    methods = ["GET", "POST", "PUT", "DELETE"]
    routes = [Route("/report", report, methods=methods), Route("/slow", slow), Route("/text", text)]
    app.mount("/api", Starlette(routes=routes))
    return app


async def test_a_get_with_its_query_reaches_the_mounted_application() -> None:
    async with TestServer(http_app()) as server:
        reply = (await server.http.get("/api/report?a=1&b=%C3%BC", headers={"X-Marker": "m"})).json()
    assert reply["method"] == "GET"
    assert reply["path"] == "/api/report"
    assert reply["query"] == "a=1&b=%C3%BC"
    assert reply["marker"] == "m"


async def test_a_get_may_arrive_in_small_pieces() -> None:
    async with TestServer(http_app()) as server:
        for size in (1, 7, 64):
            async with dial(server.port) as peer:
                await peer.send_slowly(request_head("GET", "/api/report?x=y", {"X-Marker": "slow"}), size)
                answer = await peer.answer()
                assert (answer.json["query"], answer.json["marker"]) == ("x=y", "slow")


async def test_a_post_with_a_large_body_in_pieces() -> None:
    body = os.urandom(700_000)
    whole = request_head("POST", "/api/report", {"Content-Length": str(len(body))}) + body
    async with TestServer(http_app()) as server:
        for split in (1, 4, 40, 200):
            async with dial(server.port) as peer:
                peer.send(whole[:split])
                await peer.drain()
                await asyncio.sleep(0.01)
                for start in range(split, len(whole), 50_000):
                    peer.send(whole[start : start + 50_000])
                    await peer.drain()
                answer = await peer.answer()
                assert answer.json["size"] == len(body)
                assert answer.json["sha"] == hashlib.sha256(body).hexdigest()


async def test_a_body_that_talks_of_websockets_is_a_body() -> None:
    body = upgrade_head("/echo/x") * 3
    head = request_head("POST", "/api/report", {"Content-Length": str(len(body)), "X-Marker": "Upgrade: websocket"})
    async with TestServer(http_app()) as server, dial(server.port) as peer:
        peer.send(head + body)
        answer = await peer.answer()
        assert answer.status == 200
        assert answer.json["sha"] == hashlib.sha256(body).hexdigest()


async def test_keep_alive_serves_two_requests_on_one_connection() -> None:
    async with TestServer(http_app()) as server, dial(server.port) as peer:
        for path in ("/api/report?n=1", "/api/report?n=2"):
            peer.send(request_head("GET", path))
            answer = await peer.answer()
            assert answer.json["query"] == path.partition("?")[2]


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with TestServer(http_app()) as server, dial(server.port) as peer:
        peer.send(b"".join(request_head("GET", f"/api/report?n={number}") for number in range(5)))
        found = [(await peer.answer()).json["query"] for _ in range(5)]
        assert found == [f"n={number}" for number in range(5)]


async def test_connection_close_is_obeyed() -> None:
    async with TestServer(http_app()) as server, dial(server.port) as peer:
        peer.send(request_head("GET", "/api/text", {"Connection": "close"}))
        assert (await peer.answer()).body == b"eight by"
        await peer.expect_end()


async def test_a_streamed_answer_arrives_whole() -> None:
    async with TestServer(http_app()) as server:
        assert (await server.http.get("/api/slow")).text == "0\n1\n2\n"


async def test_head_has_headers_and_no_body() -> None:
    async with TestServer(http_app()) as server, dial(server.port) as peer:
        peer.send(request_head("HEAD", "/api/text"))
        answer = await peer.answer(has_body=False)
        assert answer.status == 200
        assert answer.headers["content-length"] == "8"
        peer.send(request_head("GET", "/api/text"))  # its body would be read as this answer's beginning
        assert (await peer.answer()).body == b"eight by"


async def test_an_unknown_path_is_404_in_json() -> None:
    async with TestServer(http_app()) as server:
        reply = await server.http.get("/nowhere/at-all?x=1")
        assert reply.status_code == 404
        assert reply.headers["content-type"] == "application/json"
        assert reply.json() == {"error": "Not Found", "message": "No route found for GET /nowhere/at-all"}
        reply = await server.http.post("/", json={})
        assert reply.status_code == 404
        assert reply.json()["message"] == "No route found for POST /; /docs shows what there is"


async def test_plain_http_on_a_websocket_path_is_426() -> None:
    async with TestServer(http_app()) as server:
        for headers in ({}, {"Upgrade": "websocket"}, {"Connection": "Upgrade"}):
            reply = await server.http.get("/echo/lobby", headers=headers)
            assert reply.status_code == 426
            assert reply.headers["upgrade"] == "websocket"
            assert reply.json()["error"] == "Upgrade Required"


async def test_a_query_that_mentions_websocket_is_plain_http() -> None:
    async with TestServer(http_app()) as server:
        reply = await server.http.get("/api/report?protocol=websocket")
        assert reply.json()["query"] == "protocol=websocket"


async def test_a_mention_of_websocket_changes_nothing_for_plain_http() -> None:
    """What uvicorn serves without the word must be served with it (absolute form: RFC 9112 §3.2.2)."""
    async with TestServer(http_app()) as server:
        for target in ("http://localhost/api/report?why=websocket", "/api/report?why=websocket&name=\u00fc"):
            statuses = []
            for word in ("websocket", "something"):
                async with dial(server.port) as peer:
                    peer.send(request_head("GET", target.replace("websocket", word)))
                    statuses.append((await peer.answer()).status)
            assert statuses[0] == statuses[1], target


async def test_health() -> None:
    async with TestServer(http_app()) as server:
        answers = {"/healthz/live": {"status": "ok"}, "/healthz/ready": {"status": "ready", "backplane": "ok"}}
        for path, answer in answers.items():
            reply = await server.http.get(path)
            assert (reply.status_code, reply.json()) == (200, answer)


async def test_not_ready_while_draining() -> None:
    async with TestServer(http_app()) as server:
        assert server.app.listener is not None
        server.app.listener.begin_drain()
        assert (await server.http.get("/healthz/ready")).status_code == 503
        assert (await server.http.get("/healthz/live")).status_code == 200


async def test_static_files(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<h1>home</h1>")
    (tmp_path / "app.js").write_text("let a = 1")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "index.html").write_text("sub")
    app = http_app()
    app.static("/", tmp_path)
    async with TestServer(app) as server:
        home = await server.http.get("/")
        assert (home.status_code, home.text) == (200, "<h1>home</h1>")
        assert home.headers["content-type"].startswith("text/html")
        assert (await server.http.get("/app.js")).text == "let a = 1"
        assert (await server.http.get("/sub/")).text == "sub"
        assert (await server.http.get("/api/text")).text == "eight by"  # what was mounted before goes first
        assert (await server.http.get("/healthz/live")).json() == {"status": "ok"}
        async with server.websocket("/echo/lobby") as ws:
            await ws.send_text("and sockets")
            assert await ws.receive_text() == "and sockets"


async def test_a_missing_static_file_is_404_in_json(tmp_path: Path) -> None:
    app = http_app()
    app.static("/files", tmp_path)
    async with TestServer(app) as server:
        reply = await server.http.get("/files/missing.txt")
        assert reply.status_code == 404
        assert reply.json()["error"] == "Not Found"
        assert (await server.http.post("/files/missing.txt")).status_code == 405


def test_a_static_directory_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no directory"):
        App().static("/", tmp_path / "missing")


async def test_forwarded_for_counts_for_http_as_well() -> None:
    for trusted, seen in (("127.0.0.1", "203.0.113.7"), ("10.9.9.9", "127.0.0.1")):
        async with TestServer(http_app(forwarded_allow_ips=trusted)) as server:
            reply = await server.http.get("/api/report", headers={"X-Forwarded-For": "203.0.113.7"})
            assert reply.json()["client"] == seen


async def test_a_malformed_plain_request_is_400() -> None:
    async with TestServer(http_app()) as server, dial(server.port) as peer:
        peer.send(b"GET /api/text HTTP/1.1\r\nHost localhost\r\n\r\n")
        assert (await peer.answer()).status == 400
        await peer.expect_end()
