"""``wireloom connect``: tokens, certificates, and what is said of a refusal."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from .processes import TIMEOUT_SECONDS, Run, Running, Start

WHO = """\
from wireloom import App, Connection

app = App()


@app.websocket("/who")
async def who(message: str, connection: Connection):
    return connection.headers.get("authorization", "nobody")


@app.websocket("/private", auth=True)
async def private(message: str, connection: Connection):
    return connection.user.username
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Where ``who.py`` is served, and its directory."""
    directory = tmp_path_factory.mktemp("who")
    (directory / "who.py").write_text(WHO)
    server = Running(("serve", "who.py", "--port", "0"), directory, {})
    try:
        yield server.started(), directory
    finally:
        server.kill()


@pytest.mark.parametrize(
    ("given", "stdin"),
    [
        ("abc.def", ""),
        ("Bearer abc.def", ""),
        ("@token.txt", ""),
        ("env:MY_TOKEN", ""),
        ("-", "abc.def\n"),
    ],
)
def test_a_token_from_wherever_it_is(
    run: Run, directory: Path, served: tuple[str, Path], given: str, stdin: str
) -> None:
    (directory / "token.txt").write_text("abc.def\n")
    arguments = [f"{served[0]}/who", "--once", "--send", "x", "--token", given]
    result = run("connect", *arguments, stdin=stdin, MY_TOKEN="abc.def")
    assert (result.returncode, result.stdout, result.stderr) == (0, "Bearer abc.def\n", "")


def test_after_the_token_stdin_has_messages(run: Run, served: tuple[str, Path]) -> None:
    result = run("connect", f"{served[0]}/who", "--token", "-", "--timeout", "0.3", stdin="t0ken\none\ntwo\n")
    assert (result.returncode, result.stdout) == (0, "Bearer t0ken\n" * 2)


def test_a_token_of_the_command_line_opens_what_is_private(run: Run, served: tuple[str, Path]) -> None:
    url, directory = served
    database = f"sqlite:///{directory}/.wireloom/wireloom.db"
    secret = ("--password-stdin", "--database", database)
    assert run("user", "add", "alice", *secret, stdin="correct horse battery\n").returncode == 0
    token = run("token", "alice", "--database", database).stdout
    opened = run("connect", f"{url}/private", "--once", "--send", "x", "--token", "-", stdin=token)
    assert (opened.returncode, opened.stdout, opened.stderr) == (0, "alice\n", "")
    refused = run("connect", f"{url}/private", "--once", "--send", "x")
    message = "refused with 401 Unauthorized: Token missing; give a token with --token\n"
    assert (refused.returncode, refused.stderr) == (1, message)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--token", ""], "a token has characters of ASCII"),
        (["--token", "two words"], "a token has characters of ASCII"),
        (["--token", "@nowhere.txt"], "cannot read 'nowhere.txt': No such file or directory"),
        (["--token", "env:NO_SUCH"], "there is no environment variable 'NO_SUCH'"),
        (["--token", "x", "--header", "authorization: Basic eA=="], "say the same; give one of them"),
        (["--cafile", "x.pem"], "--cafile is for wss://"),
    ],
)
def test_wishes_that_cannot_be(run: Run, arguments: list[str], told: str) -> None:
    result = run("connect", "ws://127.0.0.1:1/", *arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert told in result.stderr.splitlines()[0]
    assert result.stderr.splitlines()[1:] == ["Try 'wireloom connect --help'."]


@pytest.mark.parametrize(("url", "warned"), [("ws://chat.invalid/", True), ("wss://chat.invalid/", False)])
def test_a_token_without_tls_is_warned_of(run: Run, url: str, warned: bool) -> None:
    result = run("connect", url, "--once", "--token", "s3cret")
    assert ("warning: the token goes to chat.invalid without TLS" in result.stderr) == warned
    assert "s3cret" not in result.stderr
    assert result.stderr.splitlines()[-1] == f"cannot connect to {url}: there is no such host"


def test_a_certificate_of_ones_own(start: Start, run: Run, directory: Path, certificate: tuple[str, str]) -> None:
    files = ["--ssl-certfile", certificate[0], "--ssl-keyfile", certificate[1]]
    url = start("serve", "chat.py", "--port", "0", *files).started()
    wishes = [f"{url}/raw", "--once", "--send", "x"]
    trusted = run("connect", *wishes, "--cafile", certificate[0])
    assert (trusted.returncode, trusted.stdout, trusted.stderr) == (0, "x\n", "")
    unknown = run("connect", *wishes)
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert "the certificate is not trusted: self" in unknown.stderr and "--cafile" in unknown.stderr
    (directory / "empty.pem").touch()
    for file, told in (("empty.pem", "no certificate in PEM"), ("no.pem", "No such file or directory")):
        assert f"{file}: {told}" in run("connect", *wishes, "--cafile", file).stderr
    plain = run("connect", f"ws{url.removeprefix('wss')}/raw", "--once", "--send", "x")
    assert (plain.returncode, plain.stdout) == (1, "") and "wss://" in plain.stderr


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"HTTP/1.1 301 x\r\nLocation: wss://a.example/\r\nContent-Length: 0\r\n\r\n", "points to wss://a.example/\n"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "no WebSocket is served at this path"),
        (b"SSH-2.0-OpenSSH_9\r\n", "does not answer in HTTP/1.1"),
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\n\r\n\x1b[1m", "refused with 403 Forbidden: [1m"),
    ],
)
def test_refusals(run: Run, answer: bytes, told: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(TIMEOUT_SECONDS)
        thread = threading.Thread(target=answer_once, args=(listening, answer))
        thread.start()
        result = run("connect", f"127.0.0.1:{listening.getsockname()[1]}", "--once", "--send", "x")
        thread.join()
    assert result.returncode == 1
    assert told in result.stderr and "\x1b" not in result.stderr


def answer_once(listening: socket.socket, answer: bytes) -> None:
    """Answers the first request with some bytes."""
    with listening.accept()[0] as connection:
        connection.settimeout(TIMEOUT_SECONDS)
        connection.recv(4096)
        connection.sendall(answer)
