"""``wireloom connect``: one shot, from a pipe, in a terminal."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from wireloom.cli.connect import _message_of

from .processes import COMMAND, TIMEOUT_SECONDS, Run, Start, environment


def test_once(run: Run, chat_url: str) -> None:
    result = run("connect", f"{chat_url}/chat/den", "--once", "--send", '{"text":"hé"}')
    assert (result.returncode, result.stdout, result.stderr) == (0, '{"echo":"hé","room":"den"}\n', "")


def test_once_with_the_message_from_a_pipe_and_an_http_url(run: Run, chat_url: str) -> None:
    url = "http" + chat_url.removeprefix("ws")
    result = run("connect", f"{url}/raw", "--once", stdin="one\ntwo\n")
    assert (result.returncode, result.stdout) == (0, "one\n")


def test_once_without_a_reply(run: Run, chat_url: str) -> None:
    result = run("connect", f"{chat_url}/raw", "--once", "--send", "silence", "--timeout", "0.2")
    assert (result.returncode, result.stdout, result.stderr) == (1, "", "no reply within 0.2 s\n")


def test_once_when_the_server_closes_first(run: Run, chat_url: str) -> None:
    result = run("connect", f"{chat_url}/raw", "--once", "--send", "go")
    assert (result.returncode, result.stdout, result.stderr) == (1, "", "closed by the server: 1008 go yourself\n")


def test_header_and_subprotocol(run: Run, chat_url: str) -> None:
    wishes = ["--header", "X-Who: me: myself", "--subprotocol", "quiet", "--subprotocol", "loud"]
    result = run("connect", f"{chat_url}/raw", "--send", "header", "--once", "--json", *wishes)
    assert [json.loads(line) for line in result.stdout.splitlines()] == [
        {"event": "open", "subprotocol": "loud", "extensions": ""},
        {"event": "message", "data": "me: myself"},
        {"event": "close", "code": 1000, "reason": ""},
    ]


def test_a_refused_handshake_shows_status_and_message(run: Run, chat_url: str) -> None:
    result = run("connect", f"{chat_url}/nowhere", "--once", "--send", "x")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "refused with 404 Not Found: No route found for GET /nowhere\n"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error":"Origin not allowed"}', "Origin not allowed"),
        (b'{"error":"Not Found","message":"No route"}', "No route"),
        (b'["a"]', "['a']"),
        (b"<html><h1>Bad Gateway</h1></html>", ""),
        (b"go away\nnow", "go away"),
        (b"", ""),
    ],
)
def test_the_message_of_a_refusal(body: bytes, message: str) -> None:
    assert _message_of(body) == message


def test_compression_is_offered_where_it_is_asked_for(start: Start, run: Run) -> None:
    url = start("serve", "chat.py", "--port", "0", "--compression").started()
    for asked in (True, False):
        text = "a" * 1000
        result = run("connect", f"{url}/raw", "--send", text, "--once", "--json", *["--compression"] * asked)
        opened, message, _ = map(json.loads, result.stdout.splitlines())
        assert opened["extensions"].startswith("permessage-deflate") == asked
        assert message["data"] == text


@pytest.mark.parametrize("by_environment", [False, True])
def test_a_proxy_is_asked_for_the_way(run: Run, by_environment: bool) -> None:
    """One that refuses: the opening stands and falls with it."""
    with socket.create_server(("127.0.0.1", 0)) as proxy, ThreadPoolExecutor(1) as thread:
        asked = thread.submit(refuse_the_way, proxy)
        url = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        variables = {"http_proxy": url, "no_proxy": "", "NO_PROXY": ""} if by_environment else {}
        result = run(
            "connect", "ws://chat.example/den", "--once", "--proxy", "env" if by_environment else url, **variables
        )
        assert asked.result(TIMEOUT_SECONDS).startswith(b"CONNECT chat.example:80 HTTP/1.1\r\n")
    assert (result.returncode, result.stderr) == (1, "refused with 403 Forbidden\n")


def refuse_the_way(proxy: socket.socket) -> bytes:
    """Gives what a proxy was asked for."""
    proxy.settimeout(TIMEOUT_SECONDS)
    with proxy.accept()[0] as client:
        client.settimeout(TIMEOUT_SECONDS)
        asked = b""
        while not asked.endswith(b"\r\n\r\n"):
            asked += client.recv(4096)
        client.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")
    return asked


def test_nobody_there(run: Run) -> None:
    result = run("connect", "127.0.0.1:1/x", "--once")
    assert (result.returncode, result.stderr) == (1, "cannot connect to ws://127.0.0.1:1/x: nothing listens there\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ["ftp://x/"],
        ["ws://x/", "--header", "nonsense"],
        ["ws://x/", "--timeout", "-1"],
        ["ws://x/", "--proxy", "ftp://y:1"],
        ["ws://x/", "--subprotocol", "a b"],
    ],
)
def test_usage_errors_exit_2(run: Run, arguments: list[str]) -> None:
    result = run("connect", *arguments)
    assert (result.returncode, result.stderr.splitlines()[1]) == (2, "Try 'wireloom connect --help'.")


def test_a_pipe_sends_line_by_line_and_waits_for_the_replies(run: Run, chat_url: str) -> None:
    result = run("connect", f"{chat_url}/chat/den", "--timeout", "0.3", stdin='{"text":"a"}\nbad\r\n{"text":"b"}')
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        '{"echo":"a","room":"den"}',
        '{"message":"Invalid JSON","type":"error"}',
        '{"echo":"b","room":"den"}',
    ]


def test_a_pipe_is_read_as_it_comes(start: Start, chat_url: str) -> None:
    client = start("connect", f"{chat_url}/raw")
    for word in ("first", "second"):
        client.type(word + "\n")
        client.until(word)
    client.type("go\n")  # stdin stays open; the server's close ends it all the same
    assert client.end() == 1
    assert client.stderr == "closed by the server: 1008 go yourself\n"


def test_stdout_that_nobody_reads_ends_it_quietly(chat_url: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [*COMMAND, "connect", f"{chat_url}/raw", "--send", "x"]
    try:
        result = subprocess.run(
            command,
            env=environment(),
            input=b"",
            stdout=writer,
            stderr=subprocess.PIPE,
            timeout=TIMEOUT_SECONDS,
        )
    finally:
        os.close(writer)
    assert (result.returncode, result.stderr) == (1, b"")


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_a_terminal(chat_url: str, tmp_path: Path) -> None:
    controller, terminal = os.openpty()
    variables = {"XDG_STATE_HOME": str(tmp_path), "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"}
    process = subprocess.Popen(
        [*COMMAND, "connect", f"{chat_url}/raw"],
        env=environment(**variables),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    try:
        read_until(controller, b"connected", b">")
        os.write(controller, b'{"n":1}\r')
        read_until(controller, b"< ", b"\x1b[1;36m1")  # the number in colour
        os.write(controller, b"go\r")
        read_until(controller, b"closed by the server: 1008 go yourself")
        assert process.wait(TIMEOUT_SECONDS) == 1
    finally:
        process.kill()
        process.wait()
        os.close(controller)
    history = tmp_path / "wireloom" / "connect_history"
    assert '+{"n":1}\n' in history.read_text()
    assert history.stat().st_mode & 0o077 == 0


def read_until(controller: int, *expected: bytes) -> bytes:
    """Reads what the terminal shows until all of it was there."""
    seen, end = b"", time.monotonic() + TIMEOUT_SECONDS
    while not all(part in seen for part in expected):
        readable, _, _ = select.select([controller], [], [], max(0.0, end - time.monotonic()))
        assert readable, f"no {expected!r} in {seen!r}"
        seen += os.read(controller, 4096)
    return seen
