"""Hostile files: whatever a file says, it is refused with a place, or compiled to Python that does what it says."""

from __future__ import annotations

import ast
import json
import time
from copy import deepcopy
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.golden.golden import GOOD, files_of, load, report, sources

from wireloom.core.router import Router
from wireloom.faces.routes.document import File, Value, read
from wireloom.faces.routes.failure import Failure
from wireloom.faces.routes.loading import Served
from wireloom.faces.routes.operations.table import OPERATIONS
from wireloom.faces.routes.report import RoutesInvalid
from wireloom.faces.routes.route import KEYS
from wireloom.faces.routes.visit import Variables

SECONDS = 8.0  # of the processor: some two, and much more where what is read is read again and again
MESSAGES = "path: /a\nws_hooks: {{on_message: {}}}\n"


def first_line(text: str, name: str = "a.yaml") -> str:
    """The first problem of a file, which was found in time; empty where there is none."""
    begin = time.process_time()
    told = report([File(name, text)])
    assert time.process_time() - begin < SECONDS
    assert len(told) < 100_000
    return told.partition("\n")[0]


def nested(template: str, times: int, inner: str = "[]") -> str:
    for _ in range(times):
        inner = template.replace("@", inner)
    return inner


def message_hook(operations: str) -> str:
    return MESSAGES.format(operations)


def texts(value: str) -> str:
    return message_hook(f"[Return: {{value: '{value}'}}]")


# -- size and depth ----------------------------------------------------------------------------------------------------

LAUGHS = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: " + "[" * 100_000, "nested more than 200 levels deep"),
        ("[" * 100_000 + "]" * 100_000, "nested more than 200 levels deep"),
        ("- " * 100_000, "nested more than 200 levels deep"),
        ("? " * 50_000, "nested more than 200 levels deep"),
        ("a: &a0 [x, x, x, x, x]\n" + LAUGHS, "the file has more than 50000 values; aliases count as often as used"),
        ("a: &a {b: *a}", "the alias *a stands for what it is a part of"),
        (message_hook("[" + "Break, " * 50_000 + "]"), "the file has more than 50000 values"),
        (f"# {'x' * 1024 * 1024}", "the file has more than 1048576 characters"),
        (texts("{{ " * 300_000), "the expressions of a route have more than 200000 characters together"),
        (
            texts("{{ 1" + "+1" * 400_000 + " }}"),
            "the expressions of a route have more than 200000 characters together",
        ),
        (texts("{{ 1" + "+1" * 30_000 + " }}"), "the expression has more than 64 levels"),
        (texts("{{ 1" + "**1" * 30_000 + " }}"), "the expression is nested more than 32 levels deep"),
        (texts("{{ 1" + "+1" * 60_000 + " }}"), "a text with expressions has at most 100000 characters"),
        (texts("{{ message" + ".a" * 30_000 + " }}"), "the expression has more than 64 levels"),
        (texts("{{ message" + "|trim" * 10_000 + " }}"), "the expression has more than 64 levels"),
        (texts("{{ " + "(" * 90_000 + " }}"), "the expression is nested more than 32 levels deep"),
        (texts("{{ " + "!" * 90_000 + "1 }}"), "the expression is nested more than 32 levels deep"),
        (texts("{{ message }}" * 1000), "a text has at most 100 expressions"),
        (f"path: /{'a' * 5000}\nws_hooks: {{}}", "path must be a text"),
        (f"name: {'a' * 201}\npath: /a\nws_hooks: {{}}", "name must be a text of 1 to 200 printable characters"),
        (message_hook(nested("[If: {condition: true, then: @}]", 33)), "more than 32 operations within each other"),
        (
            message_hook(nested("[Loop: {collection: [1], body: @}]", 7)),
            "more than 6 loops and tries within each other",
        ),
        (
            message_hook("[While: {condition: true, max_iterations: 1000001}]"),
            "must be a whole number from 1 to 1000000",
        ),
        (
            message_hook(
                f"[Return: {{value: {'[' * 190}'{{{{ len([len([len([len([len([len([1])])])])])]) }}}}'{']' * 190}}}]"
            ),
            "than Python takes",
        ),
    ],
    ids=lambda text: text[:30],
)
def test_what_is_too_much_is_refused_at_once(text: str, message: str) -> None:
    assert message in first_line(text)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "[" * 100_000 + "]" * 100_000])
def test_what_is_too_deep_for_json_is_refused(text: str) -> None:
    assert "nested more than 200 levels deep" in first_line(text, "a.json")


WAITS = (
    "[{Sleep: {duration_ms: 1}}, {Map: {input: [1], transform: \"{{ verify_password('a', item) }}\", output: x}},"
    " {Filter: {input: [1], condition: \"verify_password('a', item)\", output: y}}, {Return: {value: 1}}]"
)
CATCHES = "[Try: {operations: [Log: {message: a}], catch: @, finally: [Log: {message: b}]}]"
TRIES = "[Try: {operations: @, catch: [Log: {message: '{{ error }}'}], finally: [Log: {message: b}]}]"
BOTH = "[Try: {operations: [Try: {operations: @, finally: []}], catch: []}]"
FINALLYS = "[Try: {operations: [], finally: @}]"
LOOPS = "[Loop: {collection: [1], body: @}]"
WHILES = "[While: {condition: true, body: @}]"


@pytest.mark.parametrize(
    ("template", "times"),
    [
        (CATCHES, 6),
        (TRIES, 6),
        (BOTH, 3),
        (FINALLYS, 6),
        (LOOPS, 6),
        (WHILES, 6),
        ("[Loop: {collection: [1], body: [Try: {operations: [], catch: @, finally: []}]}]", 3),
        ("[If: {condition: true, then: [], else: @}]", 32),
        ("[Switch: {value: 1, cases: [{value: 1, operations: @}]}]", 32),
        ("[Parallel: {tasks: [@]}]", 32),
        (nested("[If: {condition: true, else: @}]", 26, CATCHES.replace("@", "@@")).replace("@@", "@"), 1),
    ],
)
def test_what_is_nested_to_the_limit_is_compiled(template: str, times: int) -> None:
    for inner in ("[Log: {message: a}]", WAITS):
        if template is not FINALLYS or inner is not WAITS:  # nothing returns in a finally
            assert first_line(message_hook(nested(template, times, inner))) == ""
    assert "more than" in first_line(message_hook(nested(template, times * (33 if times == 1 else 2))))


def test_catches_within_catches_within_loops_are_compiled_in_functions_and_tasks_too() -> None:
    deepest = nested(CATCHES, 6, WAITS)
    assert first_line(message_hook(f"[DefineFunction: {{name: f, body: {deepest}}}, CallFunction: {{name: f}}]")) == ""
    assert first_line(message_hook(f"[Parallel: {{tasks: [{deepest}, {deepest}]}}]")) == ""


def test_a_switch_of_many_cases_is_compiled_and_takes_the_first_that_is_equal() -> None:
    for count in (1, 20, 21, 3000):
        cases = ", ".join(f"{{value: {n}, operations: [Return: {{value: {n}}}]}}" for n in range(count))
        switch = f"Switch: {{value: '{{{{ message | number }}}}', cases: [{cases}], default: [Return: {{value: no}}]}}"
        text = message_hook(f"[{switch}]")
        assert [answer(text, str(message)) for message in (0, count - 1, count)] == [0, count - 1, "no"]
        twins = [f"{{value: 7, operations: [SetVar: {{name: a, value: {n}}}]}}" for n in (1, 2)]
        more = ", ".join([*twins, *["{value: x}"] * count])
        switch = f"Switch: {{value: 7, cases: [{more}], default: [SetVar: {{name: a, value: 3}}]}}"
        assert answer(message_hook(f"[{switch}, Return: {{value: '{{{{ a }}}}'}}]")) == 1


def test_a_large_text_and_many_operations_are_taken() -> None:
    assert len(answer(texts("x" * 1_000_000))) == 1_000_000
    assert first_line(message_hook("[" + "Return, " * 49_000 + "]")) == ""


def test_problems_of_one_file_have_an_end() -> None:
    unknown = "".join(f"  - SetVar: {{name: v{n}, value: '{{{{ w{n} }}}}'}}\n" for n in range(6000))
    routes = "".join(f"- {{path: /r{n}}}\n" for n in range(12_000))
    for text in (f"path: /a\nws_hooks:\n on_message:\n{unknown}", routes, "".join(f"k{n}: 1\n" for n in range(24_000))):
        begin = time.process_time()
        with pytest.raises(RoutesInvalid) as caught:
            load([File("a.yaml", text)])
        assert 100 <= len(caught.value.problems) < 110
        assert time.process_time() - begin < SECONDS
    with pytest.raises(RoutesInvalid) as caught:
        load([File("a.yaml", routes), File("b.yaml", "path: [")])
    assert str(caught.value.problems[-1]).startswith("b.yaml:1:7: not YAML")


@pytest.mark.parametrize(
    "key", ["route_type", "name", "path", "method", "binary", "auth", "rate_limit", "subprotocols"]
)
def test_a_large_value_in_the_wrong_place_is_refused_at_once(key: str) -> None:
    large = "[" + "[1], " * 20_000 + "]"
    assert first_line(f"path: /a\n{key}: {large}\nlogic: []".replace("path: /a\npath", "path")) != ""
    assert first_line(f"path: /a\nlogic: [DefineFunction: {{name: {large}}}, CallFunction: {{name: {large}}}]") != ""


# -- names -------------------------------------------------------------------------------------------------------------


def answer(text: str, message: str = "hello") -> Any:
    """What the message hook of a file's first route returns."""
    served = load([File("a.yaml", text)])[0]
    visit = SimpleNamespace(variables=Variables(), connection_id="me", params={}, query={}, headers={}, user=None)
    return served.compiled.hooks["on_message"].run(visit, None, message)


INTERNALS = (
    "__class__ __builtins__ __import__ __name__ F V D deeper visit None True False class def lambda import"
    " exec print connection function_x function_len defined_len defined_x given_user parameter_a item_1 index_2"
    " value_1 is_open_2 count_1 caught_1 error_2 task_1 found ROUTE Fuel MAX_OPERATIONS CAUGHT Failure range"
    " enumerate len sized joined member equal bounded answer listed text_of filter_upper on_message"
    " find_channels logic self run spend statement sql _ __"
).split()


@pytest.mark.parametrize("name", INTERNALS)
def test_names_of_pythons_own_are_names_like_others(name: str) -> None:
    text = """
path: /a
ws_hooks:
  on_connect: [SetVar: {name: "NAME", value: 0}]
  on_message:
    - SetVar: {name: "NAME", value: "{{ message | upper }}"}
    - DefineFunction:
        name: "NAME"
        params: ["NAME"]
        body: [Return: {value: "{{ len([NAME]) + NAME }}"}]
    - CallFunction: {name: "NAME", args: {"NAME": 4}, output: five}
    - Loop:
        collection: [1, 2]
        var: "NAME"
        body:
          - Map: {input: [3], var: "NAME", transform: "{{ NAME * 2 }}", output: six}
          - Try: {operations: [Throw: {message: "{{ NAME }}"}], catch: [SetVar: {name: two, value: "{{ error }}"}]}
    - Switch: {value: 1, cases: [{value: 1, operations: [SetVar: {name: one, value: "{{ len([1]) }}"}]}]}
    - Return: {value: {"NAME": "{{ NAME }}", rest: "{{ [one, two, five, six[0]] }}"}}
"""
    assert answer(text.replace("NAME", name)) == {name: "HELLO", "rest": [1, "2", 5, 6]}


NO_NAMES = (
    "a b",
    "a-b",
    "a.b",
    "é",
    "",
    "1a",
    "true",
    "null",
    "and",
    "or",
    "not",
    "a'b",
    'a"]; V["',
    "a\nb",
    "{{ x }}",
    "a\0",
)


@pytest.mark.parametrize("name", [*NO_NAMES, 5, None, ["a"], {"a": 1}], ids=repr)
def test_what_is_no_name_is_refused(name: Any) -> None:
    for operation in (
        {"SetVar": {"name": name, "value": 1}},
        {"DefineFunction": {"name": name, "body": []}},
        {"DefineFunction": {"name": "f", "params": [name], "body": []}},
        {"Loop": {"collection": [1], "var": name, "body": []}},
        {"Map": {"input": [1], "var": name, "transform": 1, "output": "x"}},
        {"Sleep": {"duration_ms": 1, "output": name}},
        {"RedisOp": {"command": "GET", "key": "a", "output": name}},
    ):
        told = first_line(json.dumps({"path": "/a", "ws_hooks": {"on_message": [operation]}}), "a.json")
        assert "on_message[0]" in told, operation


def test_the_insides_of_python_are_not_reached_by_members() -> None:
    for member in ("__class__", "__dict__", "upper", "format", "f_globals", "variables"):
        assert (
            answer(texts(f"{{{{ [message.{member}, connection_id.{member}, query.{member}, route.{member}] }}}}"))
            == [None] * 4
        )
    with pytest.raises(Failure):
        answer(
            message_hook("[SetVar: {name: a, value: 1}, Return: {value: '{{ a | upper | number }}'}]").replace(
                "1}", "x}"
            )
        )


# -- names and paths of routes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["it's", 'say "hi"', "<b>", "a\\b", "{{ 1 }}", "%s {} {0}", "日本", "'''", "x" * 200])
def test_a_route_is_called_as_it_likes(name: str) -> None:
    hooks = {"on_message": [{"Log": {"message": "a"}}, {"Return": {"value": "{{ route.name }}"}}]}
    text = json.dumps({"name": name, "path": "/a", "ws_hooks": hooks})
    assert answer(text) == name


@pytest.mark.parametrize("name", ["a\nb", "a\0b", "a\x1b[31m", "a\u202eb", "a\u2028b", "", " \t", "x" * 201])
def test_a_name_that_cannot_be_printed_is_refused(name: str) -> None:
    told = first_line(json.dumps({"name": name, "path": "/a", "ws_hooks": {}}), "a.json")
    assert "name must be a text of 1 to 200 printable characters" in told
    assert told.isprintable()


@pytest.mark.parametrize(
    "path", ["", "a", "//", "/a//b", "/..", "/a/./b", "/a/:b:c", "/{a}{b}", "/{a", "/a}", "/:", "/{}"]
)
def test_a_path_that_nobody_reaches_is_refused(path: str) -> None:
    told = first_line(json.dumps({"path": path, "logic": []}), "a.json")
    assert told.startswith("a.json:1:") and "path" in told
    for more in ("?a=b", "#a", "/\x07", "/:x/{x}", "/{1}", "/:a-b", "/{a.b}"):
        assert "path" in first_line(json.dumps({"path": f"/a{more}", "logic": []}), "a.json")


def test_a_path_is_served_as_written_and_below_api() -> None:
    for path, served in {
        "/": ["/", "/api/"],
        "/a/": ["/a/", "/api/a/"],
        "/api": ["/api"],
        "/api/a": ["/api/a"],
        "/api/api": ["/api/api"],
        "/apis": ["/apis", "/api/apis"],
        "/ü/:x/{y}": ["/ü/{x}/{y}", "/api/ü/{x}/{y}"],
    }.items():
        (one,) = load([File("a.yaml", f"path: '{path}'\nlogic: []")])
        assert [endpoint.path for endpoint in one.endpoints] == served


def route(path: str, kind: str) -> str:
    what = "ws_hooks: {}" if kind == "WS" else f"logic: [], method: [{kind}]"
    return f"- {{path: '{path}', {what}}}\n"


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        (("/a", "WS"), ("/a", "WS"), True),
        (("/a", "WS"), ("/a", "GET"), True),
        (("/a", "GET"), ("/a", "GET"), True),
        (("/a", "GET"), ("/a", "POST"), False),
        (("/a", "GET, POST"), ("/a", "POST, PUT"), True),
        (("/a", "WS"), ("/api/a", "WS"), True),
        (("/a", "POST"), ("/api/a", "WS"), True),
        (("/a", "GET"), ("/api/a", "POST"), False),
        (("/api/a", "GET"), ("/api/api/a", "GET"), False),
        (("/:x", "WS"), ("/{y}", "WS"), True),
        (("/:x/b", "GET"), ("/{y}/b", "GET"), True),
        (("/:x/b", "GET"), ("/{y}/c", "GET"), False),
        (("/:x", "WS"), ("/a", "WS"), False),
        (("/a", "WS"), ("/a/", "WS"), False),
        (("/api/:x", "WS"), ("/:y", "WS"), True),
    ],
)
def test_two_routes_share_no_path(one: tuple[str, str], other: tuple[str, str], shared: bool) -> None:
    for first, second in ((one, other), (other, one)):
        told = first_line(route(*first) + route(*second))
        assert told.startswith("a.yaml:2:10: ") is shared, told
        assert ("is that of route" in told) is shared
        served = [] if shared else load([File("a.yaml", route(*first) + route(*second))])
        router = Router()
        for endpoint in (endpoint for each in served for endpoint in each.endpoints):
            router.add(endpoint)  # which refuses what is there


def test_every_pair_of_routes_that_share_a_path_is_told() -> None:
    told = report([File("a.yaml", route("/a", "GET") + route("/a", "POST") + route("/a", "GET") + route("/a", "WS"))])
    places = [line.split(": ")[0] + line.split("(")[1][:8] for line in told.splitlines() if "already" in line]
    assert places == ["a.yaml:3:10a.yaml:1", "a.yaml:4:10a.yaml:1", "a.yaml:4:10a.yaml:2"]


@pytest.mark.parametrize(
    "schema",
    [
        "{type: strin}",
        "{pattern: '('}",
        "{$ref: 'http://127.0.0.1:9/schema'}",
        "{$ref: 'file:///etc/passwd'}",
        "{$ref: '#/nowhere'}",
        "{$schema: 'http://nowhere/schema'}",
        "{minimum: '1'}",
        "{required: a}",
        "5",
        "[]",
        "text",
    ],
)
@pytest.mark.parametrize("kind", ["ws_hooks: {}", "logic: []"])
def test_a_schema_that_cannot_be_is_refused(schema: str, kind: str) -> None:
    told = first_line(f"path: /a\nmessage_schema: {schema}\n{kind}")
    assert told.startswith("a.yaml:2:17: route '/a': ") and "message_schema" in told


def test_what_a_hook_takes_has_an_end() -> None:
    text = message_hook(
        "[Loop: {collection: [1, 2, 3], body: [While: {condition: true, max_iterations: 1000000, body: []}]}]"
    )
    with pytest.raises(Failure) as failure:
        answer(text)
    assert failure.value.code == "OUT_OF_OPERATIONS"
    for text in (texts('{{ "x" | repeat(1000000000000) }}'), texts("{{ 9 ** 9 ** 9 ** 9 }}")):
        begin = time.process_time()
        with pytest.raises(Failure):
            answer(text)
        assert time.process_time() - begin < SECONDS


# -- whatever there may be ---------------------------------------------------------------------------------------------

WORDS = [
    *KEYS,
    *OPERATIONS,
    *{field.name for operation in OPERATIONS.values() for field in operation.fields},
    *(
        "on_connect",
        "on_message",
        "on_disconnect",
        "send",
        "broadcast",
        "query",
        "GET",
        "Http",
        "WebSocket",
        "/a",
        "/:a",
    ),
    *("{{ message }}", "{{ a }}", "{{", "}}", "{{ 1 + }}", "{{ item | length }}", "{{ error.code }}", "a", "item", "f"),
    *(
        "SELECT 1",
        "SELECT :a",
        "SELECT ?",
        "https://api.example.com/",
        "message == 1",
        "__class__",
        "\n",
        "\0",
        "'",
        '"',
    ),
]
SCALARS = (
    st.sampled_from(WORDS)
    | st.sampled_from([None, True, False, 0, 1, -1, 0.5, 1e308, 2**63, -(2**70), 10**30])
    | st.text(max_size=8)
)
DATA = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=25,
)
PATIENT = settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def must_load_or_be_refused(text: str, name: str) -> bool:
    """Loads a file; says whether it could be."""
    try:
        served = load([File(name, text)])
    except RoutesInvalid as invalid:
        for problem in invalid.problems:
            assert problem.source.startswith(f"{name}:") and problem.problem
            assert str(problem).splitlines()[0].isprintable(), str(problem)
        return False
    for one in served:
        ast.parse(one.compiled.source)
    return True


@PATIENT
@given(DATA)
def test_any_data_is_loaded_or_refused(data: Any) -> None:
    must_load_or_be_refused(json.dumps(data), "a.json")
    must_load_or_be_refused(yaml.safe_dump(data, allow_unicode=True), "a.yaml")


@PATIENT
@given(st.sampled_from([*OPERATIONS]), st.dictionaries(st.sampled_from(WORDS), DATA, max_size=5), st.booleans())
def test_any_operation_is_loaded_or_refused(operation: str, given_fields: dict[str, Any], is_http: bool) -> None:
    fields = {field.name: given_fields.get(field.name, "a") for field in OPERATIONS[operation].fields if field.needed}
    operations = [{operation: {**given_fields, **fields}}]
    where = {"logic": operations} if is_http else {"ws_hooks": {"on_message": operations}}
    must_load_or_be_refused(json.dumps({"path": "/a", **where}), "a.json")


def plain(value: Value) -> Any:
    """A value without places; a tag is the name of its operation."""
    data: Any = value.data
    if isinstance(value.data, list):
        data = [plain(item) for item in value.data]
    if isinstance(value.data, dict):
        data = {name: plain(inner) for name, (_, inner) in value.data.items()}
    return {value.tag: data} if value.tag else data


SOURCES = [file for source in sources(GOOD) for file in files_of(source)]
ROUTES = [plain(value) for file in SOURCES for value in read(file)]


def containers(data: Any) -> list[Any]:
    """All lists and objects of a value."""
    inner = data.values() if isinstance(data, dict) else data if isinstance(data, list) else ()
    found = [data] if isinstance(data, dict | list) and data else []
    return found + [container for one in inner for container in containers(one)]


@PATIENT
@given(st.data())
def test_changed_routes_are_loaded_or_refused(draw: st.DataObject) -> None:
    routes = deepcopy(draw.draw(st.sampled_from(ROUTES)))
    for _ in range(draw.draw(st.integers(1, 3))):
        places = containers(routes)
        container = draw.draw(st.sampled_from(places))
        other = draw.draw(st.sampled_from(places))
        keys = list(container) if isinstance(container, dict) else list(range(len(container)))
        key = draw.draw(st.sampled_from(keys))
        match draw.draw(st.sampled_from(["delete", "rename", "replace", "copy", "duplicate"])):
            case "delete":
                del container[key]
            case "rename" if isinstance(container, dict):
                container[draw.draw(st.sampled_from(WORDS))] = container.pop(key)
            case "copy":
                container[key] = deepcopy(other)
            case "duplicate" if isinstance(container, list):
                container.insert(key, deepcopy(container[key]))
            case _:
                container[key] = draw.draw(SCALARS)
        if not containers(routes):
            break
    must_load_or_be_refused(json.dumps(routes), "a.json")
    must_load_or_be_refused(yaml.safe_dump(routes, allow_unicode=True), "a.yaml")


@PATIENT
@given(st.sampled_from(SOURCES), st.data())
def test_changed_files_are_loaded_or_refused(file: File, draw: st.DataObject) -> None:
    text = file.text
    for _ in range(draw.draw(st.integers(1, 3))):
        start, end = sorted(draw.draw(st.integers(0, len(text))) for _ in range(2))
        end = min(end, start + draw.draw(st.integers(0, 40)))
        put = draw.draw(
            st.sampled_from(
                [
                    "",
                    text[start:end] * 2,
                    "\t",
                    "\n",
                    "- ",
                    ": ",
                    "{",
                    "]",
                    '"',
                    "'",
                    "|",
                    "&a ",
                    "*a",
                    "{{",
                    "\r",
                    "é",
                    "\x85",
                    "\u2028",
                    "\x00",
                    "!Set ",
                    "<<: ",
                ]
            )
        )
        text = text[:start] + put + text[end:]
    must_load_or_be_refused(text, file.name)


def test_the_good_files_are_loaded_from_what_they_are_read_as() -> None:
    """The mutations above begin at something that is served."""
    assert all(must_load_or_be_refused(json.dumps(routes), "a.json") for routes in ROUTES)
    assert all(isinstance(served, Served) for file in SOURCES for served in load([file]))


def test_a_channel_that_has_to_be_waited_for_is_joined_when_it_is_known() -> None:
    """The channels of a connection are found without waiting; such a one is met when a broadcast comes to it."""
    waits = "{channel: \"{{ hash_password('x') }}\", command: broadcast, message: a}"
    fixed = '{channel: "{{ params.room }}", command: broadcast, message: a}'
    (one,) = load([File("a.yaml", message_hook(f"[WsOp: {waits}]"))])
    assert one.compiled.find_channels is None and one.compiled.hooks["on_message"].waits
    (both,) = load([File("a.yaml", message_hook(f"[WsOp: {waits}, WsOp: {fixed}]"))])
    assert both.compiled.find_channels is not None
    assert both.compiled.find_channels(SimpleNamespace(params={"room": "lobby"}), None) == ["lobby"]
