"""Each operation does what no neighbour of it in the table does: a case for each, and none may be lacking."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from wireloom import ConfigError, Root, Walker, entry, spec
from wireloom.errors import RequestError
from wireloom.faces.routes.compiler import MODULES
from wireloom.faces.routes.failure import Failure
from wireloom.faces.routes.operations import table
from wireloom.faces.routes.operations.table import OPERATIONS
from wireloom.faces.routes.visit import Visit

from .kit import application, failures, log_lines, socket_route
from .outside import outside

pytestmark = pytest.mark.anyio

assert MODULES  # the table is full


@spec(public=True)
class Ping(Walker):
    @entry(Root)
    async def ping(self, here: Root) -> None:
        self.report("pong")


class Recorder:
    """A connection that keeps what is done to it."""

    client_id = "1:id"
    user = None
    root_id = "n::000000000000000000000001"
    client = None

    def __init__(self) -> None:
        self.done: list[Any] = []
        self.connection = self

    def __getattr__(self, name: str) -> Any:
        if name not in ("send_text", "join", "leave", "close"):
            raise AttributeError(name)
        return lambda *given: self.done.append((name, *given))


# What stands in the hook, and what it returns, does to the connection, writes to the log, and sets.
CASES: dict[str, tuple[str, tuple[Any, list[Any], list[str], dict[str, Any]]]] = {
    "Return": ("- Return: {value: '{{ message }}'}", ("m", [], [], {})),
    "SetVar": ("- SetVar: {name: a, value: '{{ message }}'}", (None, [], [], {"a": "m"})),
    "If": (
        "- If: {condition: message == 'm', then: [{Return: {value: 1}}], else: [{Return: {value: 2}}]}",
        (1, [], [], {}),
    ),
    "Switch": ("- Switch: {value: m, cases: [{value: m, operations: [{Return: {value: 1}}]}]}", (1, [], [], {})),
    "Loop": (
        "- Loop: {collection: [a, b], var: x, body: [{WsOp: {command: send, message: '{{ x }}{{ index }}'}}]}",
        (None, [("send_text", "a0"), ("send_text", "b1")], [], {}),
    ),
    "While": (
        "- While: {condition: (n | default(0)) < 2, body: [{SetVar: {name: n, value: '{{ (n | default(0)) + 1 }}'}}]}",
        (None, [], [], {"n": 2}),
    ),
    "Break": (
        "- Loop: {collection: [1, 2], body: [{Set: {name: n, value: '{{ item }}'}}, Break]}\n- Return: {value: after}",
        ("after", [], [], {"n": 1}),
    ),
    "Continue": (
        "- Loop: {collection: [1, 2], body: [{Set: {name: n, value: '{{ item }}'}}, Continue, {Return: {value: 5}}]}",
        (None, [], [], {"n": 2}),
    ),
    "Try": (
        "- Try: {operations: [{Throw: {message: a}}], catch: [{Return: {value: '{{ error }}'}}]}",
        ("a", [], [], {}),
    ),
    "Throw": ("- Throw: {message: why, code: CODE}", (("CODE", "why"), [], [], {})),
    "Comment": ("- Comment: {text: nothing}\n- Return: {value: after}", ("after", [], [], {})),
    "Log": ("- Log: {message: '{{ message }}', level: error}", (None, [], ["m"], {})),
    "WsOp": ("- WsOp: {command: send, message: '{{ message }}'}", (None, [("send_text", "m")], [], {})),
    "DefineFunction": (
        "- DefineFunction: {name: f, body: [{WsOp: {command: send, message: a}}, {Return: {value: 7}}]}\n"
        "- CallFunction: {name: f, output: o}",
        (None, [("send_text", "a")], [], {"o": 7}),
    ),
    "CallFunction": (
        "- DefineFunction: {name: f, params: [p], body: [{Return: {value: '{{ p }}!'}}]}\n"
        "- CallFunction: {name: f, args: ['{{ message }}'], output: o}",
        (None, [], [], {"o": "m!"}),
    ),
    "Parallel": (
        "- Parallel: {tasks: [[{Return: {value: 1}}], [{Return: {value: 2}}]], output: o}",
        (None, [], [], {"o": [1, 2]}),
    ),
    "Sleep": (
        "- Parallel: {tasks: [[{Sleep: {duration_ms: 20}}, {WsOp: {command: send, message: slow}}],"
        " [{WsOp: {command: send, message: fast}}]]}",
        (None, [("send_text", "fast"), ("send_text", "slow")], [], {}),
    ),
    "Map": ("- Map: {input: [1, 2], transform: '{{ item * 2 }}', output: o}", (None, [], [], {"o": [2, 4]})),
    "Filter": ("- Filter: {input: [1, 2], condition: item > 1, output: o}", (None, [], [], {"o": [2]})),
    "Aggregate": ("- Aggregate: {input: [1, 2], operation: sum, output: o}", (None, [], [], {"o": 3})),
    "SqlOp": ("- SqlOp: {operation: query, query: SELECT 5 AS n, output: o}", (None, [], [], {"o": [{"n": 5}]})),
    "RedisOp": ("- RedisOp: {command: INCR, key: a, output: o}", (None, [], [], {"o": 1})),
    "HttpRequest": (
        "- HttpRequest: {url: 'URL/', output: o}\n- Return: {value: '{{ o.body.method }}'}\n",
        ("GET", [], [], {}),
    ),
    "CallWalker": ("- CallWalker: {walker: Ping, output: o}", (None, [], [], {"o": ["pong"]})),
}


def test_no_operation_lacks_a_case() -> None:
    assert set(CASES) == set(OPERATIONS)


async def outcome(folder: Path, operations: str, caplog: Any) -> Any:
    """What one run of a hook does; how it is refused where it cannot be loaded."""
    caplog.clear()
    caplog.set_level("INFO")
    async with outside() as other:
        text = socket_route(operations.replace("URL", other.url))
        try:
            app = application(folder, text, declarations=[Ping], routes_http_hosts=[other.host])
            app.check()
        except (ConfigError, KeyError, IndexError, SyntaxError) as error:
            return type(error).__name__
        async with app.running():
            (endpoint, _) = [endpoint for endpoint in app._doors if endpoint.path.endswith("/ws")]
            compiled = endpoint.on_connect.__self__._compiled  # type: ignore[union-attr]
            hook, connection = compiled.hooks["on_message"], Recorder()
            visit = Visit(connection)  # type: ignore[arg-type]
            given: Any
            try:
                given = hook.run(visit, connection, "m")
                if hook.waits:
                    given = await given
            except (Failure, RequestError) as failure:
                given = failure.code, failure.message
            except Exception as bug:
                return type(bug).__name__
        kept = {} if "HttpRequest" in operations else dict(visit.variables)
        return given, connection.done, log_lines(caplog), kept


@pytest.mark.parametrize("name", OPERATIONS)
async def test_each_does_what_it_says(tmp_path: Path, caplog: Any, name: str) -> None:
    operations, expected = CASES[name]
    assert await outcome(tmp_path, operations, caplog) == expected
    assert failures(caplog) == []


def fits(name: str, neighbour: str) -> bool:
    """Whether an operation could be written by what writes another: it has the fields that the other needs."""
    has = {field.name for field in OPERATIONS[name].fields}
    if (name, neighbour) == ("DefineFunction", "Comment"):
        return False  # both write nothing: the compiler has written the function, as it does for whatever has the name
    return name != neighbour and all(field.name in has for field in OPERATIONS[neighbour].fields if field.needed)


NEIGHBOURS = [pair for pair in itertools.product(OPERATIONS, repeat=2) if fits(*pair)]


@pytest.mark.parametrize(("name", "neighbour"), NEIGHBOURS)
async def test_no_neighbour_does_it(tmp_path: Path, caplog: Any, monkeypatch: Any, name: str, neighbour: str) -> None:
    row = OPERATIONS[name]
    swapped = replace(row, write=OPERATIONS[neighbour].write)
    for spelling, found in list(table._spellings.items()):
        if found is row:
            monkeypatch.setitem(table._spellings, spelling, swapped)
    operations, expected = CASES[name]
    assert await outcome(tmp_path, operations, caplog) != expected
