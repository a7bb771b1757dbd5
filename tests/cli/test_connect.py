"""``wireloom connect``: one shot, from a pipe, in a terminal."""

from __future__ import annotations

import json
import os
import re
import select
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from wireloom.cli.connect import _message_of
from wireloom.cli.screen import describe_close
from wireloom.errors import CLOSE_CODES
from wireloom.wire.handshake import accept_key

from .processes import COMMAND, TIMEOUT_SECONDS, Run, Start, environment

DIES = """\
import os

from wireloom import App

app = App()


@app.websocket("/")
async def die(message: str) -> None:
    os._exit(9)
"""


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
    assert (result.returncode, result.stdout, result.stderr) == (
        1,
        "",
        "closed by the server: 1008 go yourself (a policy was broken)\n",
    )


def test_once_when_the_connection_is_lost(run: Run, start: Start, directory: Path) -> None:
    (directory / "dies.py").write_text(DIES)
    result = run("connect", start("serve", "dies.py", "--port", "0").started(), "--once", "--send", "go")
    assert (result.returncode, result.stdout, result.stderr) == (1, "", "ended: 1006 (the connection was lost)\n")


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


def refuse_the_way(proxy: socket.socket, answer: bytes = b"HTTP/1.1 403 Forbidden\r\n\r\n") -> bytes:
    """Gives what a proxy was asked for."""
    proxy.settimeout(TIMEOUT_SECONDS)
    with proxy.accept()[0] as client:
        client.settimeout(TIMEOUT_SECONDS)
        asked = b""
        while not asked.endswith(b"\r\n\r\n"):
            asked += client.recv(4096)
        client.sendall(answer)
    return asked


def test_what_a_proxy_says_has_no_control_characters(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy, ThreadPoolExecutor(1) as thread:
        asked = thread.submit(refuse_the_way, proxy, b"\x1b]0;mine\x07\x1b[2J\r\n\r\n")
        url = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        result = run("connect", "ws://chat.example/den", "--once", "--proxy", url)
        asked.result(TIMEOUT_SECONDS)
    assert result.returncode == 1 and "mine" in result.stderr and "\x1b" not in result.stderr


def test_nobody_there(run: Run) -> None:
    result = run("connect", "127.0.0.1:1/x", "--once")
    assert (result.returncode, result.stderr) == (1, "cannot connect to ws://127.0.0.1:1/x: nothing listens there\n")


def test_the_password_of_the_url_is_not_told(run: Run) -> None:
    result = run("connect", "ws://ann:hunter2@127.0.0.1:1/x", "--once")
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
    assert client.stderr == "closed by the server: 1008 go yourself (a policy was broken)\n"


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


def test_a_pipe_is_read_no_faster_than_the_server_takes_it() -> None:
    """A server that reads nothing: what waits is in the buffers of the network, not in this process."""
    with deaf_server() as (listening, url), subprocess_of("connect", url) as client:
        with accept_websocket(listening):
            assert client.stdin is not None
            written = fill(client.stdin.fileno(), b"x" * 65535 + b"\n", MUCH_BYTES)
            assert written < MUCH_BYTES
            client.kill()


MUCH_BYTES = 64 * 1024 * 1024


@contextmanager
def deaf_server() -> Iterator[tuple[socket.socket, str]]:
    """Listens with a small buffer."""
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        listening.settimeout(TIMEOUT_SECONDS)
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening, f"ws://127.0.0.1:{listening.getsockname()[1]}/"


@contextmanager
def subprocess_of(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """The command, with pipes, ended whatever happens."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([*COMMAND, *arguments], env=environment(), bufsize=0, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def accept_websocket(listening: socket.socket) -> Iterator[socket.socket]:
    """The server's end of a WebSocket, from which nobody reads."""
    with listening.accept()[0] as connection:
        connection.settimeout(TIMEOUT_SECONDS)
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(4096)
        key = re.search(rb"(?i)sec-websocket-key: (\S+)", head)
        assert key
        upgrade = b"HTTP/1.1 101 \r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
        connection.sendall(upgrade + accept_key(key[1]).encode() + b"\r\n\r\n")
        yield connection


def fill(descriptor: int, line: bytes, most: int) -> int:
    """Writes lines until nobody takes more for a second; gives how many bytes were taken."""
    os.set_blocking(descriptor, False)
    written = 0
    while written < most and select.select([], [descriptor], [], 1.0)[1]:
        with suppress(BlockingIOError):
            written += os.write(descriptor, line)
    return written


def test_a_long_pipe_arrives_whole_and_in_order(run: Run, chat_url: str) -> None:
    lines = [f"{number} {'x' * (number % 50)}" for number in range(20_000)]
    result = run("connect", f"{chat_url}/raw", stdin="\n".join(lines))
    assert (result.returncode, result.stdout.splitlines()) == (0, lines)


def test_a_line_without_an_end_is_refused(run: Run, chat_url: str) -> None:
    result = run("connect", f"{chat_url}/raw", stdin="x" * (16 * 1024 * 1024 + 1))
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "a line of stdin is longer than 16 MiB\n"


def test_what_the_server_broke_is_not_told_as_its_close(run: Run) -> None:
    with deaf_server() as (listening, url), subprocess_of("connect", url) as client:
        with accept_websocket(listening) as connection:
            connection.sendall(b"\x83\x00")  # an opcode that RFC 6455 reserves
            _, stderr = client.communicate(timeout=TIMEOUT_SECONDS)
    assert client.returncode == 1
    assert re.fullmatch(rb"ended, for what the server sent: 1002 .+ \(the peer broke the protocol\)\n", stderr)


@pytest.mark.parametrize(
    ("code", "reason", "told"),
    [
        (1000, "", "1000 (normal end)"),
        (1006, "", "1006 (the connection was lost)"),
        (1008, "", f"1008 ({CLOSE_CODES[1008].meaning})"),
        (1008, "go \x1b[31myourself", "1008 go \\x1b[31myourself (a policy was broken)"),
        (4321, "late", "4321 late"),
        (4321, "", "4321 (a code of its own)"),
        (4000, "bye", "4000 bye"),
        (4004, "", "4004 (there is no such walker)"),
    ],
)
def test_a_close_is_told_with_what_its_code_means(code: int, reason: str, told: str) -> None:
    assert describe_close(code, reason) == told
