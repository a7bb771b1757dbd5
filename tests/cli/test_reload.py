"""``wireloom serve --reload`` as a process: files are saved, connections stay."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from .processes import Run, Running, Start

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")

TIMEOUT_SECONDS = 20.0
RUNS_ON = "nothing was changed; the code before it runs on\n"


def says(word: str, *paths: str) -> str:
    """A file whose handlers say a word."""
    lines = ["from wireloom import App", "", "app = App()"]
    for number, path in enumerate(paths or ("/say",)):
        lines += ["", "", f'@app.websocket("{path}")', f"async def say{number}(message: str) -> str:"]
        lines += [f'    return "{word} " + message']
    return "\n".join(lines) + "\n"


class Server:
    """A server that reloads, and the connections to it."""

    def __init__(self, process: Running, directory: Path) -> None:
        self.process = process
        self.directory = directory
        self.url = process.started()
        self.open = ExitStack()

    def connect(self, path: str) -> ClientConnection:
        return self.open.enter_context(connect(self.url + path, open_timeout=TIMEOUT_SECONDS))

    def save(self, name: str, text: str, awaited: str) -> str:
        """Saves a file and waits for what is printed; gives all that was printed since the last time."""
        (self.directory / name).write_text(text)
        self.process.until(awaited)
        printed = self.process.stdout + self.process.stderr
        self.process.stdout = self.process.stderr = ""
        return printed


@pytest.fixture
def serving(start: Start, directory: Path) -> Iterator[Any]:
    """Starts ``wireloom serve … --reload``; keyword arguments are the files that there are."""
    servers: list[Server] = []

    def begin(*arguments: str, **files: str) -> Server:
        for name, text in files.items():
            (directory / f"{name}.py").write_text(text)
        process = start("serve", *arguments, "--reload", "--port", "0", PYTHONDONTWRITEBYTECODE="")  # as by default
        servers.append(Server(process, directory))
        servers[-1].process.stdout = ""
        return servers[-1]

    yield begin
    for server in servers:
        server.open.close()


def ask(ws: ClientConnection, text: str) -> str:
    ws.send(text)
    return str(ws.recv(TIMEOUT_SECONDS))


def close_code(ws: ClientConnection) -> int:
    with pytest.raises(ConnectionClosed) as closed:
        ws.recv(TIMEOUT_SECONDS)
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code


# -- saving ------------------------------------------------------------------------------------------------------------


def test_reloads_are_records_where_everything_is(serving: Any) -> None:
    server = serving("app.py", "--log-format", "json", app=says("first"))
    told = json.loads(server.save("app.py", says("second"), "reloaded.*\n"))
    assert told["message"] == "reloaded app.py · 1 endpoint · 0 connections kept"
    wrong, kept = map(json.loads, server.save("app.py", "1 / 0\n", "runs on.*\n").splitlines())
    assert (wrong["message"], wrong["source"]) == ("app.py:1: ZeroDivisionError: division by zero", "app.py:1")
    assert (wrong["level"], kept["message"]) == ("error", RUNS_ON.rstrip())


def test_an_import_that_takes_long_is_no_handler_that_blocks(serving: Any) -> None:
    server = serving("app.py", app=says("first"))
    slow = "import time\n\ntime.sleep(1)\n" + says("second")
    assert "blocked" not in server.save("app.py", slow, "reloaded")


def test_an_open_socket_talks_on_through_good_and_bad_edits(serving: Any) -> None:
    server = serving("app.py", app=says("first"))
    ws = server.connect("/say")
    assert ask(ws, "1") == "first 1"

    printed = server.save("app.py", says("second"), "reloaded")
    assert printed == "reloaded app.py · 1 endpoint · 1 connection kept\n"
    assert ask(ws, "2") == "second 2"

    printed = server.save("app.py", says("third").replace("def say0(", "def say0(("), "runs on")
    assert re.fullmatch(rf"app\.py:\d+: SyntaxError: .*\n{RUNS_ON}", printed)
    assert ask(ws, "3") == "second 3"

    printed = server.save("app.py", says("third") + "\n1 / 0\n", "runs on")
    assert printed == f"app.py:10: ZeroDivisionError: division by zero\n{RUNS_ON}"
    assert ask(ws, "4") == "second 4"

    printed = server.save("app.py", says("third", "/say", "/say"), "runs on")
    assert printed == f"app.py:11: '/say' is already served by 'say0' ({server.directory}/app.py:6)\n{RUNS_ON}"
    assert ask(ws, "5") == "second 5"

    server.save("app.py", says("third"), "reloaded")
    assert ask(ws, "6") == "third 6"

    printed = server.save("app.py", says("third", "/other"), "reloaded")
    assert printed == "reloaded app.py · 1 endpoint · 0 connections kept · 1 closed\n"
    assert close_code(ws) == 1012
    with pytest.raises(InvalidStatus):
        connect(server.url + "/say").__enter__()


def test_an_added_endpoint_appears(serving: Any) -> None:
    server = serving("app.py", app=says("word"))
    assert "2 endpoints" in server.save("app.py", says("word", "/say", "/more"), "reloaded")
    assert ask(server.connect("/more"), "1") == "word 1"


def test_an_edit_of_the_same_size_in_the_same_second(serving: Any) -> None:
    server = serving("app.py", app=says("0"))
    ws = server.connect("/say")
    stamp = (server.directory / "app.py").stat().st_mtime_ns
    for word in "123":
        (server.directory / "app.tmp").write_text(says(word))
        os.utime(server.directory / "app.tmp", ns=(stamp, stamp))
        os.replace(server.directory / "app.tmp", server.directory / "app.py")  # as many editors save
        server.process.until("reloaded app.py")
        server.process.stdout = ""
        assert ask(ws, "x") == f"{word} x"


def test_modules_that_the_target_imports(serving: Any, directory: Path) -> None:
    (directory / "parts").mkdir()
    (directory / "parts" / "word.py").write_text("WORD = 'first'\n")
    (directory / "helper.py").write_text("from parts.word import WORD\n\n\ndef word():\n    return WORD\n")
    server = serving("app.py", app=says("x").replace('"x "', "helper.word()").replace("from", "import helper\nfrom", 1))
    ws = server.connect("/say")
    assert ask(ws, "1") == "first1"
    assert server.save("parts/word.py", "WORD = 'second'\n", "reloaded").startswith("reloaded parts/word.py ·")
    assert ask(ws, "2") == "second2"
    assert server.save("parts/word.py", "WORD = nothing\n", "runs on").startswith("parts/word.py:1: NameError")
    assert ask(ws, "3") == "second3"
    server.save("helper.py", "def word():\n    return 'own'\n", "reloaded")
    assert ask(ws, "4") == "own4"


def test_after_a_bad_edit_the_old_modules_are_those_that_are_found(serving: Any, directory: Path) -> None:
    (directory / "helper.py").write_text("count = 0\n")
    code = says("x").replace(
        'return "x " + message', "import helper\n\n    helper.count += 1\n    return str(helper.count)"
    )
    server = serving("app.py", app="import helper\n" + code)
    ws = server.connect("/say")
    assert ask(ws, "") == "1"
    server.save("app.py", "import helper\n\n1 / 0\n", "runs on")
    assert ask(ws, "") == "2"
    server.save("app.py", code, "reloaded")
    assert ask(ws, "") == "1"


def test_a_package_and_a_file_without_an_app(serving: Any, directory: Path) -> None:
    (directory / "shop").mkdir()
    (directory / "shop" / "__init__.py").touch()
    (directory / "shop" / "app.py").write_text(
        says("old").replace("from wireloom", "from .price import *\nfrom wireloom")
    )
    (directory / "shop" / "price.py").write_text("__all__ = []\n")
    bare = "from wireloom import websocket\n\n\n@websocket('/bare')\nasync def bare(m: str) -> str:\n    return 'old'\n"
    server = serving("shop.app", "bare.py", bare=bare)
    packed, loose = server.connect("/say"), server.connect("/bare")
    server.save(
        "shop/price.py", "__all__ = ['x']\nx = 1\n", "reloaded shop/price.py · 2 endpoints · 2 connections kept"
    )
    server.save("shop/app.py", says("new"), "reloaded")
    server.save("bare.py", bare.replace("old", "new"), "reloaded")
    assert (ask(packed, "1"), ask(loose, "1")) == ("new 1", "new")


def test_what_nobody_edits_by_hand_is_not_looked_at(serving: Any, directory: Path) -> None:
    for folder in (".hidden", "node_modules", "__pycache__", "env/lib"):
        (directory / folder).mkdir(parents=True)
    (directory / "env" / "pyvenv.cfg").touch()
    server = serving("app.py", app=says("old"))
    for folder in (".hidden", "node_modules", "__pycache__", "env/lib"):
        (directory / folder / "module.py").write_text("x = 1\n")
    (directory / "notes.txt").write_text("x")
    printed = server.save("seen.py", "x = 1\n", "reloaded")
    assert printed == "reloaded seen.py · 1 endpoint · 0 connections kept\n"


# -- what stays --------------------------------------------------------------------------------------------------------

KEEPS = """\
from contextlib import asynccontextmanager

from wireloom import App, Connection


@asynccontextmanager
async def lifespan(app):
    print("lifespan begins", flush=True)
    app.pool = "a pool"
    yield
    print("lifespan ends", flush=True)


app = App(lifespan=lifespan)


@app.websocket("/news")
async def news(message: str, connection: Connection) -> None:
    connection.state["count"] = connection.state.get("count", 0) + 1
    await app.hub.publish("news", ["WORD", app.pool, connection.state["count"], message])


@news.on_connect
async def join(connection: Connection) -> None:
    connection.join("news")
"""


def test_the_modules_own_app_is_the_running_one(serving: Any) -> None:
    server = serving("app.py", app=KEEPS)
    one, two = server.connect("/news"), server.connect("/news")
    one.send("1")
    assert [json.loads(ws.recv(TIMEOUT_SECONDS)) for ws in (one, two)] == 2 * [["WORD", "a pool", 1, "1"]]
    assert "lifespan" not in server.save("app.py", KEEPS.replace("WORD", "NEW"), "reloaded")
    one.send("2")
    assert [json.loads(ws.recv(TIMEOUT_SECONDS)) for ws in (one, two)] == 2 * [["NEW", "a pool", 2, "2"]]


def test_options_in_code_wait_for_the_next_start(serving: Any) -> None:
    server = serving("app.py", app=says("old"))
    changed = says("new").replace("App()", "App(port=1, max_message_bytes=9)")
    printed = server.save("app.py", changed, r"(?s)reloaded.*note: .*\n")
    assert printed.endswith("note: options take effect at the next start: port, max_message_bytes\n")
    printed = server.save("app.py", changed + "\n", "reloaded")
    printed += server.save("app.py", "1 / 0\n", "runs on")  # told on stderr, as notes are
    assert "note" not in printed


EVENTS = """\
from wireloom import App

app = App()
app.events()


@app.event("word")
async def word() -> str:
    return "old"
"""


def test_an_event_socket(serving: Any) -> None:
    server = serving("app.py", app=EVENTS)
    ws = server.connect("/websocket")
    first = ws.recv(TIMEOUT_SECONDS)
    walker = '{"type":"walker","walker":"word","response":true}'
    assert json.loads(ask(ws, walker))["reports"] == ["old"]
    server.save("app.py", EVENTS.replace("old", "new"), "1 connection kept")
    assert json.loads(ask(ws, walker))["reports"] == ["new"]
    assert ask(ws, '{"type":"connection"}') == first


WALKERS = """\
from wireloom import Node, Root, Walker, entry, spec


class Visits(Node):
    count: int = 0


@spec(methods=["post"], public=True)
class Visit(Walker):
    @entry(Root)
    async def come(self, here: Root) -> None:
        self.visit(await here.nodes(Visits) or [here.connect(Visits())])

    @entry(Visits)
    async def add(self, here: Visits) -> None:
        here.count += STEP
        self.report(here.count)


@spec(protocol="websocket", public=True)
class Say(Walker):
    word: str

    @entry(Root)
    async def say(self, here: Root) -> None:
        self.report([self.word, STEP])
"""


def test_walkers(serving: Any, directory: Path) -> None:
    def visit() -> list[int]:
        url, headers = server.url.replace("ws", "http", 1), {"Content-Type": "application/json"}
        request = urllib.request.Request(url + "/walker/Visit", b"{}", headers)
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
            return list(json.load(answer)["data"]["reports"])

    server = serving("app.py", app=WALKERS.replace("STEP", "1"))
    ws = server.connect("/ws/Say")
    assert visit() == [1]
    assert '["a",1]' in ask(ws, '{"word":"a"}')
    server.save("app.py", WALKERS.replace("STEP", "10"), "1 connection kept")
    assert visit() == [11]
    assert '["b",10]' in ask(ws, '{"word":"b"}')
    server.save(
        "app.py",
        WALKERS.replace("STEP", "100") + "\n\nfrom wireloom import App\n\napp = App([Visit, Visit])\n",
        "runs on",
    )
    assert visit() == [21]
    server.save("app.py", WALKERS.replace("STEP", "1").replace("class Say", "class Tell"), "1 closed")
    assert close_code(ws) == 1012


# -- pages -------------------------------------------------------------------------------------------------------------


def test_pages_hear_of_swaps_errors_and_files(serving: Any, directory: Path) -> None:
    (directory / "public").mkdir()
    (directory / "public" / "index.html").write_text("one")
    code = says("old") + "\napp.static('/', 'public')\n"
    server = serving("app.py", app=code)
    page = server.connect("/__reload")
    (directory / "public" / "index.html").write_text("two")
    assert json.loads(page.recv(TIMEOUT_SECONDS)) == {"type": "reload", "changed": ["public/index.html"]}
    server.save("app.py", "import nothing_of_the_kind\n", "runs on")
    message = "app.py:1: ModuleNotFoundError: No module named 'nothing_of_the_kind'"
    assert json.loads(page.recv(TIMEOUT_SECONDS)) == {"type": "error", "message": message}
    (directory / "elsewhere").mkdir()
    server.save("app.py", code.replace("public", "elsewhere"), "reloaded app.py · 1 endpoint · 0 connections kept")
    assert json.loads(page.recv(TIMEOUT_SECONDS)) == {"type": "reload", "changed": ["app.py"]}
    (directory / "public" / "index.html").write_text("three")  # no longer served
    (directory / "elsewhere" / "new.css").write_text("")
    assert json.loads(page.recv(TIMEOUT_SECONDS)) == {"type": "reload", "changed": ["elsewhere/new.css"]}


def test_files_elsewhere_are_watched_once_they_are_served(serving: Any, directory: Path) -> None:
    for name in ("site", "public"):
        (directory / name).mkdir()
    (directory / "site" / "app.py").write_text(says("old"))
    server = serving("site/app.py")
    page = server.connect("/__reload")
    server.save("site/app.py", says("old") + "\napp.static('/', 'public')\n", "reloaded")
    assert json.loads(page.recv(TIMEOUT_SECONDS))["changed"] == ["site/app.py"]
    for number in range(20):  # the new folder is watched some time after the reload
        (directory / "public" / "index.html").write_text(str(number))
        with suppress(TimeoutError):
            assert json.loads(page.recv(0.5))["changed"] == ["public/index.html"]
            return
    raise AssertionError("the page was not told")


def test_without_the_flag_nothing_is_watched(start: Start) -> None:
    url = start("serve", "chat.py", "--port", "0").started()
    with pytest.raises(InvalidStatus) as refused:
        connect(url + "/__reload").__enter__()
    assert refused.value.response.status_code == 404


# -- the command -------------------------------------------------------------------------------------------------------


def test_development_mode_shows_the_traceback_of_the_targets(serving: Any) -> None:
    server = serving("app.py", "--dev", app=says("old"))
    printed = server.save("app.py", "def fail():\n    return 1 / 0\n\n\nfail()\n", "runs on")
    file = str(server.directory / "app.py")
    assert re.findall(r'File "([^"]+)", line (\d+)', printed) == [(file, "5"), (file, "2")]
    assert printed.endswith(f"app.py:2: ZeroDivisionError: division by zero\n{RUNS_ON}")


def test_several_processes_do_not_reload(run: Run) -> None:
    result = run("serve", "chat.py", "--reload", "--workers", "2")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "--reload is for one process, not for 2; leave --workers out with it\n"


SLOW = "import time\n\nprint('importing', flush=True)\ntime.sleep(SECONDS)\n"


@posix_only
def test_ctrl_c_while_it_reloads_ends_cleanly(serving: Any) -> None:
    server = serving("app.py", app=says("old"))
    ws = server.connect("/say")
    server.save("app.py", SLOW.replace("SECONDS", "0.5") + says("new"), "importing")
    server.process.signal(signal.SIGINT)
    assert close_code(ws) == 1012
    assert server.process.end() == 0
    assert "Traceback" not in server.process.stderr


@posix_only
def test_ctrl_c_again_ends_a_reload_that_hangs(serving: Any) -> None:
    server = serving("app.py", app=says("old"))
    server.save("app.py", SLOW.replace("SECONDS", "60"), "importing")
    for _ in range(20):  # signals that come together are one
        server.process.signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            server.process.process.wait(0.1)
            break
    assert server.process.end() == 128 + signal.SIGINT
    assert "Traceback" not in server.process.stderr


@posix_only
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_0(serving: Any, number: int) -> None:
    server = serving("app.py", app=says("old"))
    server.save("app.py", says("new"), "reloaded")
    server.process.signal(number)
    assert (server.process.end(), server.process.stderr) == (0, "")
