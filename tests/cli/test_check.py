"""``wireloom check`` and ``wireloom routes``: what is wrong, and what there is."""

from __future__ import annotations

import json
from pathlib import Path

from .processes import Run


def test_check_counts(run: Run) -> None:
    result = run("check", "chat.py")
    assert (result.returncode, result.stdout, result.stderr) == (0, "ok: 3 endpoints\n", "")
    assert run("check", "chat:raw").stdout == "ok: 1 endpoint\n"


def test_check_tells_every_problem_with_its_place(run: Run, directory: Path) -> None:
    files = {
        "parameter": 'from wireloom import websocket\n\n\n@websocket("/a")\nasync def a(message, extra): ...\n',
        "syntax": "def f(:\n",
        "library": "import json\n\njson.loads('{')\n",
        "absent": "import no_such_thing\n",
        "option": "from wireloom import App\n\napp = App(prot=1)\n",
        "clash": 'from wireloom import websocket\n\n\n@websocket("/raw")\nasync def again(message): ...\n',
        "apps": "from wireloom import App\n\nfirst, second = App(), App()\n",
        "empty": "x = 1\n",
        "leaves": "raise SystemExit(3)\n",
    }
    for name, text in files.items():
        (directory / f"{name}.py").write_text(text)
    (directory / "wireloom.toml").write_text("port = 'x'\n")
    result = run("check", "chat.py", *(f"{name}.py" for name in files), "chat.py:chta", "nothing_there")
    lines = result.stderr.splitlines()
    assert (result.returncode, result.stdout) == (1, "")
    expected = [
        "parameter.py:4: 'a': nothing explains the parameter 'extra'",
        "syntax.py:1: SyntaxError: ",
        "library.py:3: json.decoder.JSONDecodeError: ",
        "absent.py:1: ModuleNotFoundError: No module named 'no_such_thing'",
        "option.py:3: App has no option 'prot'; did you mean 'port'?",
        "apps.py has several Apps: first, second; name one, such as apps.py:first",
        "empty.py has nothing to serve; it needs an App, functions decorated with websocket(path), or walkers",
        "leaves.py:1: SystemExit: 3",
        "chat.py has no 'chta'; did you mean 'chat'?",
        "there is no module 'nothing_there'",
        "clash.py:4: '/raw' is already served by 'raw'",
        "wireloom.toml:1: port must be a whole number, not 'x'",
    ]
    assert len(lines) == len(expected), result.stderr
    assert [(line, start) for line, start in zip(lines, expected, strict=True) if not line.startswith(start)] == []


def test_check_tells_that_an_import_is_circular(run: Run, directory: Path) -> None:
    (directory / "main.py").write_text("import bids\nfrom wireloom import App\n\napp = App()\n")
    (directory / "bids.py").write_text("from main import app\n")
    result = run("check", "main.py")
    assert result.returncode == 1
    assert result.stderr.startswith("bids.py:1: ImportError: cannot import name 'app'")
    assert "most likely due to a circular import" in result.stderr


def test_check_wants_one_app(run: Run, directory: Path) -> None:
    for name in ("one", "two"):
        (directory / f"{name}.py").write_text("from wireloom import App\n\napp = App()\n")
    result = run("check", "one.py", "two.py")
    assert (result.returncode, result.stderr) == (1, "one.py and two.py have an App each; there can be only one\n")


def test_check_notes_what_was_declared_and_forgotten(run: Run, directory: Path) -> None:
    forgetful = (directory / "chat.py").read_text() + "\n\nfrom wireloom import App\n\napp = App([chat, raw])\n"
    (directory / "main.py").write_text(forgetful)
    result = run("check", "main.py")
    assert (result.returncode, result.stdout) == (0, "ok: 2 endpoints\n")
    assert result.stderr == "note: main.py:25: 'anything' is declared but not served; add it with app.add(anything)\n"


def test_a_file_of_a_package_is_imported_as_its_module(run: Run, directory: Path) -> None:
    package = directory / "shop" / "live"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    (package / "__init__.py").touch()
    (package / "base.py").write_text((directory / "chat.py").read_text())
    (package / "main.py").write_text("from wireloom import App\n\nfrom .base import raw\n\napp = App([raw])\n")
    assert run("check", "shop/live/main.py").stdout == "ok: 1 endpoint\n"
    assert run("check", "shop.live.main:app").stdout == "ok: 1 endpoint\n"


def test_routes_as_json(run: Run) -> None:
    result = run("routes", "chat.py", "--json")
    assert result.returncode == 0
    rows = json.loads(result.stdout)
    assert [(row["door"], row["path"], row["name"], row["auth"], row["source"]) for row in rows] == [
        ("websocket", "/any", "anything", False, "chat.py:25"),
        ("websocket", "/chat/{room}", "chat", False, "chat.py:10"),
        ("websocket", "/raw", "raw", False, "chat.py:15"),
    ]
    assert rows[0]["message_schema"] is None
    assert rows[1]["message_schema"]["$defs"]["ChatMessage"]["required"] == ["text"]


def test_routes_as_a_table(run: Run, directory: Path) -> None:
    guarded = (
        "from wireloom import websocket\n\n\nasync def who(request): ...\n\n\n"
        '@websocket("/list", auth=who)\nasync def listing(message: list[int] | None): ...\n'
    )
    (directory / "guarded.py").write_text(guarded)
    lines = run("routes", "chat.py", "guarded.py").stdout.splitlines()
    assert [line.split(maxsplit=4) for line in lines] == [
        ["door", "path", "name", "auth", lines[0].split(maxsplit=4)[4]],
        ["websocket", "/any", "anything", "no", lines[1].split(maxsplit=4)[4]],
        ["websocket", "/chat/{room}", "chat", "no", lines[2].split(maxsplit=4)[4]],
        ["websocket", "/list", "listing", "yes", lines[3].split(maxsplit=4)[4]],
        ["websocket", "/raw", "raw", "no", lines[4].split(maxsplit=4)[4]],
    ]
    assert [line.rsplit(maxsplit=1)[1] for line in lines] == [
        "source",
        "chat.py:25",
        "chat.py:10",
        "guarded.py:7",
        "chat.py:15",
    ]
    assert "  any  " in lines[1] and "  ChatMessage  " in lines[2] and "  array of integer | null  " in lines[3]


TYPES = {
    'Literal["a", "b"]': '"a" | "b"',
    'Literal["a", 1, True]': 'true | 1 | "a"',
    'Literal["x", "y"] | int': '"x" | "y" | integer',
    'Literal["a", "b", "c", "d", "e"]': '"a" | "b" | "c" | …',
    'Optional[Literal["a"]]': '"a" | null',
    'list[Literal["a", "b"]]': 'array of ("a" | "b")',
    "Optional[Line]": "Line | null",
    "list[Line] | None": "array of Line | null",
    "list[int | str]": "array of (integer | string)",
    "list[list[int]]": "array of array of integer",
    "dict[str, Line]": "object of Line",
    "dict[str, Any]": "object",
    "tuple[int, Line]": "[integer, Line]",
    "tuple[int, ...]": "array of integer",
    "list[Any]": "array",
    "Colour": "Colour",
    "bytes": "bytes",
    "str | bytes": "string | bytes",
    "Model | Literal['x']": 'Model | "x"',
    "Any": "any",
}


def test_routes_say_what_a_message_is_in_a_few_words(run: Run, directory: Path) -> None:
    head = (
        "import enum\nfrom typing import Any, Literal, Optional, TypedDict\nimport pydantic\n"
        "from wireloom import websocket\n\nclass Line(TypedDict):\n    text: str\n\n"
        "class Model(pydantic.BaseModel):\n    text: str\n\nclass Colour(enum.Enum):\n    RED = 'red'\n\n"
    )
    handlers = [
        f"@websocket('/{number:02}')\nasync def f{number:02}(message: {each}): ...\n"
        for number, each in enumerate(TYPES)
    ]
    (directory / "types_.py").write_text(head + "\n".join(handlers))
    heading, *lines = run("routes", "types_.py").stdout.splitlines()
    begin, end = heading.index("message"), heading.index("reply")
    assert [line[begin:end].strip() for line in lines] == list(TYPES.values())


def test_routes_of_a_broken_target(run: Run, directory: Path) -> None:
    (directory / "broken.py").write_text("1 / 0\n")
    result = run("routes", "broken.py")
    assert (result.returncode, result.stderr) == (1, "broken.py:1: ZeroDivisionError: division by zero\n")
