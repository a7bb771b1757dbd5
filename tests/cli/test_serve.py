"""``wireloom serve`` as a process: how it starts, what it refuses, how it ends."""

from __future__ import annotations

import re
import signal
import socket
import ssl
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from wireloom import __version__
from wireloom.config import grouped_options, options

from .processes import Run, Running, Start

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")

SLOW = """\
import time

from wireloom import websocket


@websocket("/slow")
def slow(message: str) -> str:
    print("working", flush=True)
    time.sleep(60)
    return message
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def talk(start: Start, url: str, text: str) -> Running:
    """A client that has had a reply and stays."""
    client = start("connect", url, "--send", text)
    client.until(text)
    return client


# -- starting ----------------------------------------------------------------------------------------------------------


def test_start_line_has_the_real_port_and_the_endpoints(start: Start) -> None:
    server = start("serve", "chat.py", "--port", "0")
    port = server.started().rpartition(":")[2]
    assert int(port) > 0
    urls = f"http://127.0.0.1:{port} · ws://127.0.0.1:{port}"
    assert server.stdout == f"Wireloom {__version__} · {urls} · 3 endpoints · Ctrl-C stops\n"
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz/ready", timeout=5) as answer:
        assert answer.status == 200


def test_every_declared_option_is_a_flag(run: Run) -> None:
    shown = run("serve", "--help").stdout
    assert [option.flag for option in options() if not re.search(rf"{option.flag}\b", shown.replace("[no-]", ""))] == []
    assert "--[no-]dev " in shown
    assert re.search(r"--max-header-bytes N\s+size of a request head\s+\[default: 16384\]", shown)


@pytest.mark.parametrize("command", ["serve", "demo"])
def test_help_has_the_options_by_group_on_80_columns(run: Run, command: str) -> None:
    shown = run(command, "--help", COLUMNS="80").stdout
    assert max(map(len, shown.splitlines())) <= 80
    sections = re.findall(r"^(\S.*):\n((?: .*\n)+)", shown, re.MULTILINE)
    flags = {title: re.findall(r"^  --(?:\[no-\])?([\w-]+)", text, re.MULTILINE) for title, text in sections}
    assert flags.pop("Options") == ["config"]
    assert flags == {
        group: [option.flag.removeprefix("--") for option in listed] for group, listed in grouped_options().items()
    }


def test_flag_wins_over_variable_over_file(start: Start, directory: Path) -> None:
    by_file, by_variable, by_flag = free_port(), free_port(), free_port()
    (directory / "wireloom.toml").write_text(f"port = {by_file}\n")
    assert start("serve", "chat.py").started() == f"ws://127.0.0.1:{by_file}"
    assert start("serve", "chat.py", WIRELOOM_PORT=str(by_variable)).started() == f"ws://127.0.0.1:{by_variable}"
    started = start("serve", "chat.py", "--port", str(by_flag), WIRELOOM_PORT=str(by_variable)).started()
    assert started == f"ws://127.0.0.1:{by_flag}"


def test_what_the_app_chose_stands_in_for_the_defaults(start: Start, directory: Path) -> None:
    (directory / "main.py").write_text("from wireloom import App\n\napp = App(port=0, host='localhost')\n")
    assert re.fullmatch(r"ws://localhost:\d+", start("serve", "main:app").started())


def test_targets_are_served_together(start: Start, run: Run, directory: Path) -> None:
    (directory / "main.py").write_text("from wireloom import App\nfrom chat import raw\n\napp = App([raw])\n")
    (directory / "queue.py").write_text(SLOW)  # a name that Python has itself
    server = start("serve", "main.py", "chat", "queue.py", "--port", "0")
    url = server.started()
    assert "4 endpoints" in server.stdout
    reply = run("connect", f"{url}/chat/den", "--once", "--send", '{"text":"hi"}')
    assert reply.stdout == '{"echo":"hi","room":"den"}\n'


def test_demo_names_its_page(start: Start) -> None:
    server = start("demo", "--port", "0")
    url = "http" + server.started().removeprefix("ws")
    assert server.until(r"Open (\S+) ")[1] == url
    with urllib.request.urlopen(url, timeout=5) as answer:
        assert b"<html" in answer.read()


def status_by(url: str, host: str) -> int:
    """How a page is answered that is asked for by another name."""
    asked = urllib.request.Request(url, headers={"Host": host})
    try:
        with urllib.request.urlopen(asked, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.parametrize("more", [(), ("--workers", "2")], ids=["one process", "two workers"])
def test_demo_on_loopback_is_served_by_no_strangers_name(start: Start, more: tuple[str, ...]) -> None:
    url = "http" + start("demo", "--port", "0", *more).started().removeprefix("ws")
    assert [status_by(url, host) for host in ("localhost", "evil.example")] == [200, 421]


def test_demo_takes_the_names_that_it_is_told(start: Start) -> None:
    server = start("demo", "--port", "0", "--allowed-hosts", "chat.example")
    url = "http" + server.started().removeprefix("ws")
    assert [status_by(url, host) for host in ("localhost", "chat.example")] == [421, 200]


def test_serve_is_served_by_any_name_unless_in_development(start: Start) -> None:
    for flags, status in ((("--dev",), 421), (("--reload",), 421), ((), 200)):
        url = "http" + start("serve", "chat.py", "--port", "0", *flags).started().removeprefix("ws")
        assert status_by(f"{url}/docs", "evil.example") == status


# -- refusing to start -------------------------------------------------------------------------------------------------


def test_port_in_use(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run("serve", "chat.py", "--port", str(port))
    message = f"port {port} is in use; choose another with --port, or --port 0 for a free one\n"
    assert (result.returncode, result.stdout, result.stderr) == (1, "", message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.py"], "there is no file 'missing.py'"),
        (["cat.py"], "there is no file 'cat.py'; did you mean 'chat.py'?"),
        (["broken.py"], "broken.py:2: ZeroDivisionError: division by zero"),
        (["chat.py", "--port", "65536"], "--port: port must be from 0 to 65535, not 65536"),
        (["chat.py", "--ssl-certfile", "no.pem"], "--ssl-certfile: there is no file 'no.pem'"),
        (["chat.py", "--ssl-certfile", "chat.py"], "chat.py: not a certificate with its private key in PEM"),
        (["chat.py", "--config", "no.toml"], "no.toml: cannot read the configuration: No such file or directory"),
    ],
)
def test_mistakes_are_one_line(run: Run, directory: Path, arguments: list[str], message: str) -> None:
    (directory / "broken.py").write_text("def fail():\n    return 1 / 0\n\n\nfail()\n")
    result = run("serve", *arguments)
    assert (result.returncode, result.stdout, result.stderr) == (1, "", message + "\n")


def test_development_mode_shows_the_traceback_of_the_target_alone(run: Run, directory: Path) -> None:
    (directory / "broken.py").write_text("def fail():\n    return 1 / 0\n\n\nfail()\n")
    result = run("serve", "broken.py", "--dev")
    assert result.returncode == 1
    assert re.findall(r'File "([^"]+)", line (\d+)', result.stderr) == [
        (str(directory / "broken.py"), "5"),
        (str(directory / "broken.py"), "2"),
    ]


def test_unknown_keys_name_the_nearest(run: Run, directory: Path) -> None:
    assert run("serve", "chat.py", WIRELOOM_PROT="1").stderr == (
        "WIRELOOM_PROT: unknown option; did you mean 'WIRELOOM_PORT'?\n"
    )
    (directory / "wireloom.toml").write_text('host = "localhost"\nprot = 1\n')
    result = run("serve", "chat.py")
    assert (result.returncode, result.stderr) == (1, "wireloom.toml:2: unknown option 'prot'; did you mean 'port'?\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["chat.py", "--prot", "1"], ["--prot", "--port"]),
        (["chat.py", "--port", "-1"], ["--port", "'-1' is not a whole number of 0 or more"]),
        (["chat.py", "--log-level", "loud"], ["--log-level", "'debug', 'info', 'warning', 'error'"]),
        ([], ["Missing argument 'TARGET...'"]),
    ],
)
def test_usage_errors_exit_2(run: Run, arguments: list[str], words: list[str]) -> None:
    result = run("serve", *arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert [word for word in words if word not in result.stderr] == []
    assert result.stderr.splitlines()[1:] == ["Try 'wireloom serve --help'."]


# -- ending ------------------------------------------------------------------------------------------------------------


@posix_only
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_0(start: Start, number: int) -> None:
    server = start("serve", "chat.py", "--port", "0")
    server.started()
    server.signal(number)
    assert (server.end(), server.stderr) == (0, "")


@posix_only
def test_sigterm_closes_what_is_open(start: Start) -> None:
    server = start("serve", "chat.py", "--port", "0")
    client = talk(start, f"{server.started()}/raw", "here")
    server.signal(signal.SIGTERM)
    assert (server.end(), server.stderr) == (0, "Stopping; Ctrl-C again ends at once\n")
    assert client.end() == 1
    assert re.fullmatch(
        r'closed by the server: 1012 \{"reconnect_in_ms":\d+\} \(the server restarts, .*\)\n', client.stderr
    )


@posix_only
def test_a_second_signal_ends_at_once(start: Start, directory: Path) -> None:
    (directory / "slow.py").write_text(SLOW)
    server = start("serve", "slow.py", "--port", "0")
    start("connect", f"{server.started()}/slow", "--send", "x")
    server.until("working")
    server.signal(signal.SIGINT)
    server.until("Stopping")
    begun = time.monotonic()
    server.signal(signal.SIGINT)
    assert server.end() == 128 + signal.SIGINT
    assert time.monotonic() - begun < 10
    assert "Traceback" not in server.stderr


# -- workers -----------------------------------------------------------------------------------------------------------


@posix_only
def test_workers_answer_and_end_together(start: Start) -> None:
    server = start("serve", "chat.py", "--port", "0", "--workers", "2")
    client = talk(start, f"{server.started()}/raw", "here")
    server.signal(signal.SIGTERM)
    assert server.end() == 0
    advice = "a publication reaches only the clients of its own worker; give --backplane redis://… or nats://…"
    warning = f"warning: 2 workers without a backplane: {advice}\n"
    assert server.stderr.removesuffix("Stopping; Ctrl-C again ends at once\n") == warning
    client.end()
    assert "1012" in client.stderr


@posix_only
def test_ctrl_c_in_a_terminal_reaches_workers_once(start: Start, directory: Path) -> None:
    (directory / "slow.py").write_text(SLOW)
    server = start("serve", "slow.py", "--port", "0", "--workers", "2")
    start("connect", f"{server.started()}/slow", "--send", "x")
    server.until("working")
    server.signal_group(signal.SIGINT)
    server.until("Stopping")
    server.signal_group(signal.SIGINT)
    assert server.end() == 128 + signal.SIGINT
    assert "Traceback" not in server.stderr


# -- logs --------------------------------------------------------------------------------------------------------------


def test_log_lines(start: Start, run: Run, directory: Path) -> None:
    server = start("serve", "chat.py", "--port", "0")
    reply = run("connect", f"{server.started()}/any", "--once", "--send", "{}")
    error_id = re.search(r'"id":"(\w+)"', reply.stdout)
    assert error_id
    server.until("ValueError: a bug")
    assert re.match(rf"\d\d:\d\d:\d\d error wireloom\.core\.dispatch: .*{error_id[1]}", server.stderr)


def test_an_application_that_set_up_logging_keeps_it(start: Start, run: Run, directory: Path) -> None:
    setup = "import logging\n\nlogging.basicConfig(format='mine %(name)s')\n"
    (directory / "chat.py").write_text(setup + (directory / "chat.py").read_text())
    server = start("serve", "chat.py", "--port", "0")
    run("connect", f"{server.started()}/any", "--once", "--send", "{}")
    server.until("ValueError: a bug")
    server.kill()
    server.end()
    assert server.stderr.startswith("mine wireloom.core.dispatch\n")
    assert server.stderr.count("ValueError: a bug") == 1


# -- callbacks ---------------------------------------------------------------------------------------------------------

CALLBACK = """\
from wireloom import create_server


def handler(req):
    \"\"\"Says it back.\"\"\"
    if req.ws is None:
        return {"body": "hello"}
    req.ws.send(f"Echo: {req.data}")


SERVER = create_server(handler, max_message_bytes=10)
if __name__ == "__main__":
    SERVER.listen(3000)
"""


@pytest.mark.parametrize("target", ["callback.py", "callback.py:SERVER", "callback"])
def test_a_server_of_a_callback_is_served(start: Start, directory: Path, target: str) -> None:
    (directory / "callback.py").write_text(CALLBACK)
    server = start("serve", target, "--port", "0")
    url = server.started()
    talk(start, url + "/any/path", "x").until("Echo: x")
    assert urllib.request.urlopen(f"http{url.removeprefix('ws')}/any", timeout=5).read() == b"hello"


def test_a_server_with_tls_is_served_with_tls(start: Start, directory: Path, certificate: tuple[str, str]) -> None:
    (directory / "callback.py").write_text(CALLBACK.replace("max_message_bytes=10", f"ssl={certificate!r}"))
    url = start("serve", "callback.py", "--port", "0").started()
    assert url.startswith("wss://")
    trusting = ssl.create_default_context(cafile=certificate[0])
    with urllib.request.urlopen(f"https{url.removeprefix('wss')}/", timeout=5, context=trusting) as answer:
        assert answer.read() == b"hello"


@pytest.mark.parametrize("target", ["callback.py", "callback.py:SERVER"])
def test_a_server_with_a_context_is_not_served_without_it(run: Run, directory: Path, target: str) -> None:
    context = "ssl=ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)"
    (directory / "callback.py").write_text("import ssl\n" + CALLBACK.replace("max_message_bytes=10", context))
    result = run("serve", target, "--port", "0")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == (
        "SERVER has an ssl.SSLContext, which only its own listen() and start() can use; "
        "give it files, ssl=(certfile, keyfile)\n"
    )


def test_a_callback_declared_for_an_app_is_served_without_one(start: Start, directory: Path) -> None:
    text = (
        CALLBACK.replace("create_server", "CallbackHandler").partition("SERVER")[0] + "ALL = CallbackHandler(handler)\n"
    )
    (directory / "callback.py").write_text(text)
    talk(start, start("serve", "callback.py", "--port", "0").started(), "x").until("Echo: x")


def test_route_tables_and_checks_know_callbacks(run: Run, directory: Path) -> None:
    (directory / "callback.py").write_text(CALLBACK)
    checked = run("check", "callback.py")
    assert (checked.returncode, checked.stdout) == (0, "ok: 2 endpoints\n")
    lines = [line.split() for line in run("routes", "callback.py").stdout.splitlines()[1:]]
    place = "callback.py:4"
    rest = ["*", "handler", "no", "any", "any", place]
    assert lines == [["rest", *rest], ["websocket", *rest]]


def test_a_callback_beside_an_app_is_noted_where_it_is_not_served(run: Run, directory: Path) -> None:
    loose = "from wireloom import App, CallbackHandler\n\n\ndef handler(req):\n    return {}\n\n\napp = App()\n"
    (directory / "loose.py").write_text(loose + "everything = CallbackHandler(handler)\n")
    assert "'handler' is declared but not served" in run("check", "loose.py").stderr
