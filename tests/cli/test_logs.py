"""Logs: JSON lines, and what is never in them."""

from __future__ import annotations

import json
import logging
import re
import signal
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from wireloom.cli.logs import JSONFormatter

from .processes import Start

SECRET = "canary-7c1f"

APP = """\
import logging
from typing import Literal, TypedDict

from wireloom import App, CallbackHandler, Connection, Deny, Request, RequestError, Root, Walker, entry, spec


class Line(TypedDict):
    text: str


class Choice(TypedDict):
    which: Literal["a", "b"]


def answer(req):
    if req.ws is None:
        return {"body": req.body}
    return req.data  # a mistake: it is closed with 1011


@spec(methods=["post", "get", "websocket"])
class Write(Walker):
    text: str

    @entry(Root)
    async def write(self, here: Root) -> None:
        raise ValueError("a bug")


@spec(protocol="webhook")
class Hook(Walker):
    text: str

    @entry(Root)
    async def write(self, here: Root) -> None: ...


app = App([CallbackHandler(answer), Write, Hook], database="sqlite://", allow_token_in_query=True)
app.add_routes("routes")
app.events()


@app.websocket("/chat/{room}")
async def chat(message: Line, room: str, connection: Connection) -> dict[str, str]:
    connection.client_id
    if message["text"].endswith("refuse"):
        raise RequestError("NOT_NOW", message["text"])
    if message["text"].endswith("bug"):
        raise RuntimeError("a bug")
    if message["text"].endswith("mine"):
        logging.getLogger("mine").info("of the application", extra={"answer": 42})
    return {"echo": message["text"]}


@app.websocket("/choice")
async def choice(message: Line) -> Choice:
    return {"which": message["text"]}


@app.websocket("/guarded", auth=True)
async def guarded(message: str) -> str:
    return message


@app.websocket("/denied")
async def denied(message: str) -> None: ...


@denied.on_handshake
async def deny(request: Request) -> None:
    if request.query.get("bug"):
        raise ValueError("a bug")
    raise Deny(418)
"""

ROUTES = {
    "division.yaml": """
name: Division
path: /division
route_type: WebSocket
ws_hooks:
  on_message:
    - WsOp: {command: send, message: "{{ 1 / 0 }}"}
""",
    "ask.yaml": """
name: Ask
path: /ask/:what
route_type: Http
logic:
  - HttpRequest:
      method: GET
      url: "http://127.0.0.1:{{ request.query.port }}/healthz/live?{{ request.params.what }}"
      output: got
  - Return: {value: "{{ got.status }}"}
""",
}


@pytest.fixture
def application(directory: Path) -> Path:
    """An application with every door, whose handlers fail where they are told to."""
    (directory / "app.py").write_text(APP)
    (directory / "routes").mkdir()
    for name, text in ROUTES.items():
        (directory / "routes" / name).write_text(text)
    return directory


def speak(url: str, path: str, message: str, **headers: str) -> str:
    """Sends a message on a connection of its own; gives what is answered, or how it was refused or ended."""
    try:
        with connect(url + path, additional_headers=headers, proxy=None) as ws:
            ws.send(message)
            return str(ws.recv(0.2 if path.startswith(("/choice", "/division")) else 20))
    except (InvalidStatus, ConnectionClosed, TimeoutError) as error:
        return str(error)


def use_every_door(websocket_url: str) -> None:
    """Has a secret come in by every door, in every place, well and badly."""
    bearer = f"Bearer {SECRET}"
    for text in ("", "refuse", "bug", "mine"):
        speak(websocket_url, f"/chat/{SECRET}", json.dumps({"text": f"{SECRET} {text}"}), Authorization=bearer)
    speak(websocket_url, "/chat/a", f"{SECRET} is no JSON")
    speak(websocket_url, "/chat/a", json.dumps({"text": [SECRET]}))
    speak(websocket_url, "/choice", json.dumps({"text": SECRET}))
    speak(websocket_url, "/anywhere", SECRET)
    speak(websocket_url, "/division", SECRET)
    for path in (f"/guarded?token={SECRET}", f"/denied?bug={SECRET}", f"/denied?x={SECRET}", f"/guarded/{SECRET}"):
        speak(websocket_url, path, SECRET, Authorization=bearer)
    for context in ({"text": SECRET}, {"text": [SECRET]}):
        event = {"type": "walker", "walker": "Write", "context": context, "response": True}
        speak(websocket_url, f"/websocket?token={SECRET}", json.dumps(event))
    url = websocket_url.replace("ws", "http", 1)
    signed = {"X-API-Key": SECRET, "X-Signature": SECRET, "Authorization": f"Bearer {SECRET}"}
    with httpx.Client(base_url=url, headers=signed, timeout=20) as http:
        port = http.base_url.port
        user = {"username": f"{SECRET}@example.com", "password": SECRET}
        assert http.post("/user/register", json=user).status_code < 500
        token = http.post("/user/login", json=user).json()["data"]["token"]
        http.post("/user/login", json={**user, "password": f"{SECRET} wrong"})
        answer = http.post("/walker/Write", json={"text": SECRET}, headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 500
        http.get("/walker/Write", params={"text": SECRET})
        http.post("/walker/Write", content=SECRET)
        http.post("/webhook/Hook", json={"text": SECRET})
        assert http.get(f"/ask/{SECRET}", params={"port": port}).text == "200"
        http.post(f"/{SECRET}", content=SECRET)
        http.request(SECRET.upper().replace("-", ""), f"/{SECRET}?token={SECRET}")


SAID = ("a bug", "DIVISION_BY_ZERO", "of the application", "closed with 1011", "reply of websocket /choice dropped")


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_message_and_no_token_is_ever_logged(start: Start, application: Path, form: str) -> None:
    server = start("serve", "app.py", "--port", "0", "--log-format", form, "--routes-http-hosts", "127.0.0.1")
    use_every_door(server.started())
    server.until("of the application")
    server.signal(signal.SIGTERM)
    assert server.end() == 0
    for said in SAID:
        assert said in server.stderr, said
    assert SECRET not in server.stderr.lower()
    assert "eyJ" not in server.stderr, "a token that was issued"


def test_json_lines(start: Start, application: Path) -> None:
    server = start("serve", "app.py", "--port", "0", "--log-format", "json")
    url = server.started()
    answer = speak(url, "/chat/a", '{"text": "bug"}')
    error_id = re.search(r'"id":"(\w+)"', answer)
    assert error_id
    speak(url, "/chat/a", '{"text": "mine"}')
    server.until("of the application")
    speak(url, "/division", "x")
    server.until("DIVISION_BY_ZERO")
    server.signal(signal.SIGTERM)
    assert server.end() == 0
    lines = [json.loads(line) for line in server.stderr.splitlines()]
    for line in lines:
        assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
        assert line["process"] == server.process.pid
    bug, mine, failure = lines
    assert (bug["level"], bug["logger"], bug["error_id"]) == ("error", "wireloom.core.dispatch", error_id[1])
    assert bug["message"].startswith(f"error {error_id[1]} in handler of websocket /chat/{{room}} (")
    assert bug["traceback"].startswith("Traceback (most recent call last)")
    assert bug["traceback"].endswith("RuntimeError: a bug")
    assert (mine["logger"], mine["level"], mine["answer"]) == ("mine", "info", 42)
    for line in (bug, mine):
        assert (line["door"], line["endpoint"]) == ("websocket", "/chat/{room}")
        assert re.fullmatch(r"\d+:[0-9a-f]{32}", line["client_id"])
    assert (failure["level"], failure["endpoint"], failure["hook"]) == ("warning", "/division", "on_message")
    assert failure["error_id"]


def test_what_the_command_itself_says_is_json_too(start: Start, application: Path) -> None:
    server = start("serve", "app.py", "--port", "0", "--log-format", "json", "--workers", "2")
    server.started()
    server.signal(signal.SIGTERM)
    server.end()
    lines = [json.loads(line) for line in server.stderr.splitlines()]
    assert "without a backplane" in lines[0]["message"]
    assert lines[0]["level"] == "warning"


def record(**more: Any) -> logging.LogRecord:
    return logging.makeLogRecord(
        {"name": "a", "levelno": 30, "levelname": "WARNING", "msg": "b %s", "args": ("c",), **more}
    )


def test_a_record_is_one_line_whatever_it_holds() -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError:
        info = sys.exc_info()
    given = record(msg="x\ny\x00\u2028\ud800 %s", exc_info=info, stack_info="Stack", thing=object(), keys={(1, 2): 3})
    text = JSONFormatter().format(given)
    assert text.isascii()
    assert len(text.splitlines()) == 1
    told = json.loads(text)
    assert told["message"] == "x\ny\x00\u2028\ud800 c"
    assert told["traceback"].endswith("ValueError: two\nlines")
    assert told["stack"] == "Stack"
    assert told["thing"].startswith("<object object")


@pytest.mark.parametrize("kind", ["within itself", "deep", "no number"])
def test_a_record_with_what_is_no_json_is_told_all_the_same(kind: str) -> None:
    given: Any = {"no number": float("nan")}.get(kind, [])
    if kind == "within itself":
        given.append(given)
    for _ in range(100_000 if kind == "deep" else 0):
        given = [given]

    def refuse(constant: str) -> None:
        pytest.fail(f"{constant} is no JSON")

    told = json.loads(JSONFormatter().format(record(given=given)), parse_constant=refuse)
    assert told["level"] == "warning" and isinstance(told["given"], str)


def test_what_is_given_takes_the_place_of_no_member_that_every_line_has() -> None:
    given = {name: f"my {name}" for name in ("time", "level", "logger", "traceback", "stack", "endpoint")}
    try:
        raise ValueError("x")
    except ValueError:
        told = json.loads(JSONFormatter().format(record(exc_info=sys.exc_info(), stack_info="Stack", **given)))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", told["time"])
    assert (told["level"], told["logger"], told["stack"]) == ("warning", "a", "Stack")
    assert told["traceback"].endswith("ValueError: x")
    assert {name: value for name, value in told.items() if str(value).startswith("my ")} == {
        "endpoint": "my endpoint",
        **{f"extra_{name}": f"my {name}" for name in ("time", "level", "logger", "traceback", "stack")},
    }


def test_the_level_that_another_formatter_has_put_there_is_nobodys() -> None:
    seen = record()
    seen.level = "warning"
    assert set(json.loads(JSONFormatter().format(seen))) == {"time", "level", "logger", "message", "process"}


def test_uvicorns_lines_are_json_without_its_colours() -> None:
    told = json.loads(JSONFormatter().format(record(color_message="\x1b[1mb\x1b[0m")))
    assert set(told) == {"time", "level", "logger", "message", "process"}
