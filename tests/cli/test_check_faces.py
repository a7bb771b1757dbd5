"""``wireloom check`` and ``routes`` for every face: each mistake with its place, each endpoint with its row."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .processes import Run

HEAD = "from wireloom import *\nfrom wireloom import spec, entry, event, websocket\n\n"  # what follows begins in line 4

# by name: the file's text below HEAD, and what is told: line, and how the message begins
MISTAKES = {
    # typed handlers
    "parameter": ('@websocket("/a")\nasync def a(message, extra): ...\n', 4, "'a': nothing explains the parameter"),
    "path": ('@websocket("a")\nasync def a(message): ...\n', 4, "the path 'a' must begin with a slash"),
    "segment": ('@websocket("/a-{b}")\nasync def a(message, b): ...\n', 4, "in the path '/a-{b}', 'a-{b}' must be"),
    "message": ('@websocket("/a")\nasync def a(): ...\n', 4, "'a': no parameter takes the message"),
    "type": ('@websocket("/a")\nasync def a(message: complex): ...\n', 4, "handler 'a': cannot make a "),
    "name": ('@websocket("/a")\nasync def a(message: "Nothing"): ...\n', 4, "'a': cannot resolve an annotation"),
    "hook": (
        '@websocket("/a")\nasync def a(message): ...\n\n\n@a.on_connect\nasync def came(who): ...\n',
        8,
        "'came': nothing explains the parameter 'who'",
    ),
    "auth": ('@websocket("/a", auth="yes")\nasync def a(message): ...\n', 4, "'a': auth is True, or an async function"),
    "option": ("app = App(prot=1)\n", 4, "App has no option 'prot'; did you mean 'port'?"),
    "value": ("app = App(port='x')\n", 4, "port must be a whole number, not 'x'"),
    "wildcard": (
        '@websocket("/healthz/live")\nasync def a(message): ...\n',
        4,
        "'/healthz/live' is a path of Wireloom",
    ),
    # the event socket
    "event": (
        '@event("order")\nasync def order(message: str): ...\n\n\napp = App([order])\n',
        4,
        "'order': an event's context is a JSON object",
    ),
    "events_twice": ("app = App()\napp.events()\napp.events('/other')\n", 6, "this application has its event socket"),
    "events_hook": (
        "app = App()\n\n\nasync def came(who): ...\n\n\napp.events(on_connect=came)\n",
        7,
        "'came': nothing explains the parameter 'who'",
    ),
    "event_name": (
        '@event("x")\nasync def x(message: dict): ...\n\n\n@event("x")\nasync def y(message: dict): ...\n',
        8,
        "the event 'x' is taken already",
    ),
    # walkers
    "protocol": ('@spec(protocol="rset")\nclass V(Walker): ...\n', 4, "V: protocol is one of rest"),
    "ability": (
        "class V(Walker):\n    @entry(Root)\n    def go(self): ...\n",
        5,
        "V.go: an ability takes self and here",
    ),
    "waits": (
        '@spec(protocol="websocket")\nclass V(Walker):\n    @entry(Root)\n    def go(self, here): ...\n',
        4,
        "V: abilities of a WebSocket walker are async def",
    ),
    "webhook": (
        '@spec(protocol="webhook", public=True)\nclass V(Walker):\n    @entry(Root)\n    def go(self, here): ...\n',
        4,
        "V: a webhook is its key's user's",
    ),
    "rest_path": (
        '@spec(path="/v/{nothing}")\nclass V(Walker):\n    @entry(Root)\n    def go(self, here): ...\n',
        4,
        "V: the path names 'nothing', which is no field",
    ),
    # the callback
    "callback": ("def handler(): ...\n\n\nserver = create_server(handler)\n", 4, "handler is called with one argument"),
    "callback_option": (
        "def handler(req): ...\n\n\nserver = create_server(handler, prot=1)\n",
        7,
        "create_server has no option 'prot'; did you mean 'port'?",
    ),
    # HTTP
    "static": ("app = App()\napp.static('/', 'nowhere')\n", 5, "there is no directory 'nowhere' to serve at '/'"),
    # the file itself
    "syntax": ("def f(:\n", 4, "SyntaxError: "),
    "raises": ("1 / 0\n", 4, "ZeroDivisionError: division by zero"),
    "exits": ("raise SystemExit(3)\n", 4, "SystemExit: 3"),
}


@pytest.fixture
def mistakes(directory: Path) -> Path:
    """A folder with a file for every mistake."""
    for name, (text, _, _) in MISTAKES.items():
        (directory / f"{name}_.py").write_text(HEAD + text)
    return directory


def test_every_mistake_of_every_face_is_told_with_its_place(run: Run, mistakes: Path) -> None:
    result = run("check", *(f"{name}_.py" for name in MISTAKES), "--json")
    assert result.returncode == 1, result.stderr
    told = {(each["source"], each["message"]) for each in json.loads(result.stdout)["problems"]}
    missing = {
        name: f"{name}_.py:{line}: {begin}"
        for name, (_, line, begin) in MISTAKES.items()
        if not any(source == f"{name}_.py:{line}" and message.startswith(begin) for source, message in told)
    }
    assert missing == {}, "\n".join(f"{source}: {message}" for source, message in sorted(told))


@pytest.mark.parametrize("name", ["parameter", "events_twice", "rest_path", "callback_option"])
def test_other_commands_tell_it_in_the_same_words(run: Run, mistakes: Path, name: str) -> None:
    line = run("check", f"{name}_.py").stderr
    assert line.count("\n") == 1 and line.startswith(f"{name}_.py:{MISTAKES[name][1]}: {MISTAKES[name][2]}")
    for command in ("routes", "openapi", "asyncapi", "serve"):
        result = run(command, f"{name}_.py")
        assert (result.returncode, result.stdout, result.stderr) == (1, "", line)


def test_a_good_target_as_json(run: Run) -> None:
    result = run("check", "chat.py", "--json")
    assert result.returncode == 0
    assert json.loads(result.stdout) == {"endpoints": 3, "problems": [], "notes": []}


TWINS = {
    "handler": '@websocket("/twin")\nasync def twin(message): ...\n',
    "walker": '@spec(protocol="websocket", path="/twin")\nclass V(Walker):\n    @entry(Root)\n'
    "    async def go(self, here): ...\n",
    "events": "app = App()\napp.events('/twin')\n",
}
ROUTE = "name: Twin\npath: /twin\nws_hooks: {}\n"


@pytest.mark.parametrize(
    ("first", "second"),
    [("handler", "walker"), ("walker", "handler"), ("handler", "route"), ("walker", "route"), ("events", "handler")],
)
def test_one_path_for_two_faces_is_refused(run: Run, directory: Path, first: str, second: str) -> None:
    for name in (first, second):
        file = directory / ("route.yaml" if name == "route" else f"{name}_.py")
        file.write_text(ROUTE if name == "route" else HEAD + TWINS[name])
    files = ["route.yaml" if name == "route" else f"{name}_.py" for name in (first, second)]
    result = run("check", *files)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.count("\n") == 1
    assert "'/twin' is already served by" in result.stderr and all(file in result.stderr for file in files)


ALL = '''
from typing import TypedDict

class Said(TypedDict):
    text: str

app = App(database="sqlite://")
app.events("/live")

@app.websocket("/chat/{room}", auth=True)
async def chat(message: Said, room: str) -> list[Said]: ...

@app.event("order")
async def order(message: dict) -> Said: ...

@app.walker()
class Visit(Walker):
    name: str = ""
    @entry(Root)
    def go(self, here): ...

@app.walker(protocol="webhook")
class Hook(Walker):
    @entry(Root)
    def go(self, here): ...

@app.walker(protocol="websocket")
class Sock(Walker):
    @entry(Root)
    async def go(self, here): ...

def rest(req):
    """All else."""
app.add(CallbackHandler(rest))
app.static("/files", ".")
async def other(scope, receive, send): ...
app.mount("/other", other)
'''

ROWS = """\
rest * rest no any any all.py:34
websocket * rest no any any all.py:34
websocket /chat/{room} chat yes Said array of Said all.py:12
websocket /echo/{room} Echo no any any routes/a.yaml:1
rest GET /health Health no any any routes/a.yaml:7
websocket /live events no ConnectionEvent | WalkerEvent | UserEvent | … … all.py:10
rest POST /walker/Visit Visit yes Visit any all.py:18
rest POST /walker/Visit/{node_id} Visit yes Visit any all.py:18
webhook POST /webhook/Hook Hook yes Hook any all.py:24
websocket /ws/Sock Sock yes Sock Reports | Error all.py:29
event order order no any Said all.py:15
http /files/* files of . - - - all.py:37
http /other/* other - - - all.py:39
"""


@pytest.fixture
def everything(directory: Path) -> Path:
    """A file with every face, and a folder of routes."""
    (directory / "all.py").write_text(HEAD + ALL.lstrip("\n"))
    (directory / "routes").mkdir()
    (directory / "routes" / "a.yaml").write_text(
        "name: Echo\npath: /echo/:room\nws_hooks:\n  on_message:\n  - Return: {value: hi}\n---\n"
        "- name: Health\n  path: /health\n  logic: [Return: {value: ok}]\n"
    )
    return directory


def test_every_face_has_its_rows(run: Run, everything: Path) -> None:
    assert run("check", "all.py", "routes").stdout == "ok: 11 endpoints\n"
    shown = run("routes", "all.py", "routes").stdout.splitlines()
    assert shown[0].split() == ["door", "path", "name", "auth", "message", "reply", "source"]
    for line, row in zip(shown[1:], ROWS.splitlines(), strict=True):
        words = " ".join(line.split())
        before, _, after = row.rpartition("… … ") if "… …" in row else (row, "", "")
        assert (words == row) if not after else (words.startswith(before) and words.endswith(after))


def test_rows_as_json(run: Run, everything: Path) -> None:
    rows = json.loads(run("routes", "all.py", "routes", "--json", "--all").stdout)
    by_path = {(row["door"], row["path"]): row for row in rows}
    assert by_path["http", "/other/*"]["auth"] is None and by_path["http", "/other/*"]["source"] == "all.py:39"
    login = by_path["http", "/user/login"]
    assert (login["source"], login["auth"], login["methods"]) == ("wireloom", False, ["POST"])
    assert by_path["websocket", "/chat/{room}"]["response_schema"]["type"] == "array"
    assert ("http", "/healthz/live") in by_path and ("http", "/docs") in by_path


def test_check_starts_nothing(run: Run, everything: Path) -> None:
    before = sorted(path for path in everything.rglob("*") if "__pycache__" not in path.parts)
    urls = {"WIRELOOM_BACKPLANE": "redis://127.0.0.1:1", "WIRELOOM_DATABASE": "postgresql://u@127.0.0.1:1/n"}
    for command in ("check", "routes", "openapi", "asyncapi"):
        assert run(command, "all.py", "routes", **urls).returncode == 0
    assert sorted(path for path in everything.rglob("*") if "__pycache__" not in path.parts) == before


def test_options_are_looked_at_too(run: Run, directory: Path, certificate: tuple[str, str]) -> None:
    (directory / "wireloom.toml").write_text(
        "ssl_certfile = 'no.pem'\nbackplane = 'rdis://x'\ndatabase = 'mysql://u:hunter2@h/n'\ntoken_secret = 'short'\n"
        "token_jwks_url = 'http://keys.example/'\n"
    )
    result = run("check", "chat.py")
    assert result.returncode == 1 and "hunter2" not in result.stderr
    assert result.stderr.splitlines() == [
        "ssl_certfile: there is no file 'no.pem'",
        "unknown backplane rdis://; did you mean 'redis://'?",
        "database must be sqlite:///FILE, sqlite:// or postgresql://USER:PASSWORD@HOST/NAME",
        "token_secret must have 32 bytes or more",
        "token_jwks_url needs token_issuer: the issuer that tokens must name",
    ]
