"""Page 4, "Operations": functions, tasks side by side, and waiting."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from .kit import failures, http_route, load_problem, serving, socket_route
from .outside import outside

pytestmark = pytest.mark.anyio

WAITS = "- RedisOp: {command: EXISTS, key: nothing}"  # makes whatever it stands in wait


async def said(folder: Path, operations: str, message: str = "", **options: Any) -> str:
    async with serving(folder, socket_route(operations), **options) as served:
        return await served.ask(message)


@pytest.fixture(params=["plain", "waiting"])
def waits(request: Any) -> str:
    """An operation that makes functions wait, or one that does not."""
    return "{RedisOp: {command: EXISTS, key: nothing}}" if request.param == "waiting" else "{Comment: {}}"


# -- functions ---------------------------------------------------------------------------------------------------------


async def test_a_function_gives_what_it_returns(tmp_path: Path, waits: str) -> None:
    operations = f"""
    - DefineFunction:
        name: greet
        params: [name, greeting]
        body:
          - {waits}
          - Return: {{value: "{{{{ greeting }}}}, {{{{ name }}}}"}}
          - WsOp: {{command: send, message: too far}}
    - CallFunction: {{name: greet, args: ["{{{{ message }}}}", hello], output: one}}
    - CallFunction: {{name: greet, args: {{greeting: hi, name: "{{{{ message }}}}"}}, output: two}}
    - CallFunction: {{name: greet, params: [you], output: three}}
    - Return: {{value: "{{{{ [one, two, three] }}}}"}}
    """
    assert json.loads(await said(tmp_path, operations, "Ann")) == ["hello, Ann", "hi, Ann", ", you"]


async def test_a_function_has_a_scope_of_its_own(tmp_path: Path, waits: str) -> None:
    operations = f"""
    - SetVar: {{name: x, value: of the hook}}
    - DefineFunction:
        name: f
        params: [p]
        body:
          - {waits}
          - Set: {{name: before, value: "{{{{ x | default('nothing') }}}}"}}
          - Set: {{name: x, value: "{{{{ p }}}}"}}
          - Return: {{value: "{{{{ before }}}} {{{{ x }}}} {{{{ connection_id == '' }}}}"}}
    - CallFunction: {{name: f, args: [1], output: one}}
    - CallFunction: {{name: f, args: [2], output: two}}
    - Return: {{value: "{{{{ one }}}}, {{{{ two }}}}, {{{{ x }}}}"}}
    """
    assert await said(tmp_path, operations) == "nothing 1 false, nothing 2 false, of the hook"


@pytest.mark.parametrize("name", ["message", "mine", "json"])
def test_what_belongs_to_the_hook_is_not_known_in_a_function(tmp_path: Path, name: str) -> None:
    operations = f"""
    - SetVar: {{name: mine, value: 1}}
    - DefineFunction: {{name: f, body: [{{Return: {{value: "{{{{ {name} }}}}"}}}}]}}
    """
    assert f"there is no variable {name!r}" in load_problem(tmp_path, socket_route(operations))


async def test_functions_are_known_in_every_hook_and_before_they_are_defined(tmp_path: Path) -> None:
    call = "- CallFunction: {name: double, args: [%s], output: o}\n- Return: {value: '{{ o }}'}"
    define = "- DefineFunction: {name: double, params: [n], body: [{Return: {value: '{{ n * 2 }}'}}]}\n"
    route = socket_route(call % "'{{ message }}'", on_connect=call % 2, on_disconnect=define)
    async with serving(tmp_path, route) as served:
        client = await served.connect()
        assert await client.receive_text() == "4"
        await client.send_text("21")
        assert await client.receive_text() == "42"


FACTORIAL = """
    - DefineFunction:
        name: factorial
        params: [n]
        body:
          - %s
          - If: {condition: n <= 1, then: [{Return: {value: 1}}]}
          - CallFunction: {name: factorial, args: ["{{ n - 1 }}"], output: rest}
          - Return: {value: "{{ n * rest }}"}
    - Try:
        operations: [{CallFunction: {name: factorial, args: ["{{ message }}"], output: result}}]
        catch: [{Return: {value: "{{ error.code }}: {{ error }}"}}]
    - Return: {value: "{{ result }}"}
"""


async def test_functions_call_themselves_up_to_a_depth(tmp_path: Path, waits: str) -> None:
    async with serving(tmp_path, socket_route(FACTORIAL.replace("n * rest", "1 + rest") % waits)) as served:
        assert await served.ask("5") == "5"
        assert await served.ask("32") == "32"
        assert await served.ask("33") == "OUT_OF_DEPTH: functions call each other more than 32 levels deep"
        assert await served.ask("1") == "1"


async def test_functions_call_each_other(tmp_path: Path, waits: str) -> None:
    operations = f"""
    - DefineFunction:
        name: even
        params: [n]
        body:
          - If: {{condition: n == 0, then: [{{Return: {{value: true}}}}]}}
          - CallFunction: {{name: odd, args: ["{{{{ n - 1 }}}}"], output: o}}
          - Return: {{value: "{{{{ o }}}}"}}
    - DefineFunction:
        name: odd
        params: [n]
        body:
          - {waits}
          - If: {{condition: n == 0, then: [{{Return: {{value: false}}}}]}}
          - CallFunction: {{name: even, args: ["{{{{ n - 1 }}}}"], output: o}}
          - Return: {{value: "{{{{ o }}}}"}}
    - CallFunction: {{name: even, args: ["{{{{ message }}}}"], output: is_even}}
    - Return: {{value: "{{{{ is_even }}}}"}}
    """
    async with serving(tmp_path, socket_route(operations)) as served:
        assert await served.ask("10") == "true"
        assert await served.ask("7") == "false"


async def test_calls_of_tasks_side_by_side_do_not_add_up(tmp_path: Path) -> None:
    task = "[{CallFunction: {name: twice_deep, output: o}}, {Return: {value: '{{ o }}'}}]"
    operations = f"""
    - DefineFunction: {{name: deep, body: [{{Sleep: {{duration_ms: 5}}}}, {{Return: {{value: 1}}}}]}}
    - DefineFunction:
        name: twice_deep
        body: [{{CallFunction: {{name: deep, output: o}}}}, {{Return: {{value: "{{{{ o }}}}"}}}}]
    - Parallel: {{tasks: [{", ".join([task] * 32)}], output: all}}
    - Return: {{value: "{{{{ all | sum }}}}"}}
    """
    assert await said(tmp_path, operations) == "32"


async def test_a_function_may_throw(tmp_path: Path, waits: str, caplog: Any) -> None:
    operations = f"""
    - DefineFunction: {{name: f, body: [{waits}, {{Throw: {{message: no, code: F}}}}]}}
    - If: {{condition: message == 'bare', then: [{{CallFunction: {{name: f}}}}]}}
    - Try: {{operations: [{{CallFunction: {{name: f}}}}], catch: [{{Return: {{value: "{{{{ error.code }}}}"}}}}]}}
    """
    async with serving(tmp_path, socket_route(operations)) as served:
        client = await served.connect()
        await client.send_text("bare")
        await client.send_text("caught")
        assert await client.receive_text() == "F"
        (failure,) = failures(caplog)
        assert "function f.body[1]" in failure.getMessage()


async def test_functions_of_http_routes_give_values(tmp_path: Path) -> None:
    logic = """
    - DefineFunction: {name: f, params: [n], body: [{Return: {value: "{{ n + 1 }}"}}]}
    - CallFunction: {name: f, args: ["{{ payload.n }}"], output: o}
    - Return: {value: {o: "{{ o }}"}}
    """
    async with serving(tmp_path, http_route(logic, more="method: POST")) as served:
        assert (await served.http.post("/http", json={"n": 4})).json() == {"o": 5}


@pytest.mark.parametrize(
    ("operations", "problem"),
    [
        ("- CallFunction: {name: gret}", "there is no function 'gret' in this route; did you mean 'greet'?"),
        ("- CallFunction: {name: greet, args: {nam: 1}}", "greet has no parameter 'nam'; did you mean 'name'?"),
        ("- CallFunction: {name: greet, args: [1, 2]}", "greet takes 1 values, not 2"),
        ("- CallFunction: {name: greet, args: 5}", "must be a list, or an object"),
        ("- DefineFunction: {name: greet}", "there is a function 'greet' already, in line 6"),
        ("- DefineFunction: {name: f, body: [{DefineFunction: {name: g}}]}", "cannot be defined within another"),
        ("- DefineFunction: {name: f, params: [a, a]}", "must be names, no two alike"),
        ("- DefineFunction: {name: f, params: [message]}", "must be names, no two alike"),
        ("- DefineFunction: {name: f, params: [a], body: [{SetVar: {name: a, value: 1}}]}", "'a' belongs to what is"),
    ],
)
def test_what_does_not_fit_is_told(tmp_path: Path, operations: str, problem: str) -> None:
    define = "- DefineFunction: {name: greet, params: [name], body: []}\n"
    assert problem in load_problem(tmp_path, socket_route(define + operations))


# -- Parallel ----------------------------------------------------------------------------------------------------------


async def test_parallel_gives_results_in_the_order_of_tasks(tmp_path: Path) -> None:
    operations = """
    - Parallel:
        output: all
        tasks:
          - [{Sleep: {duration_ms: 30}}, {WsOp: {command: send, message: slow}}, {Return: {value: "{{ message }}"}}]
          - [{WsOp: {command: send, message: fast}}, {Return: {value: 2}}]
          - [Comment]
          - []
    - Return: {value: "{{ all }}"}
    """
    async with serving(tmp_path, socket_route(operations)) as served:
        client = await served.connect()
        await client.send_text("one")
        assert [await client.receive_text() for _ in range(3)] == ["fast", "slow", '["one",2,null,null]']


@pytest.mark.parametrize(("most", "written"), [(4, ""), (1, ", max_concurrent: 1"), (3, ", max_concurrent: 3")])
async def test_parallel_runs_so_many_tasks_at_a_time(tmp_path: Path, most: int, written: str) -> None:
    async with outside() as other:
        task = f"[{{HttpRequest: {{url: '{other.url}/slow', output: o}}}}, {{Return: {{value: '{{{{ o.status }}}}'}}}}]"
        operations = f"""
        - Parallel: {{tasks: [{", ".join([task] * 4)}], output: all{written}}}
        - Return: {{value: "{{{{ all }}}}"}}
        """
        import asyncio

        gate = other.gates["/slow"] = asyncio.Event()
        async with serving(tmp_path, socket_route(operations), routes_http_hosts=[other.host]) as served:
            client = await served.connect()
            await client.send_text("")
            await served.until(lambda: other.busy == most)
            gate.set()
            assert await client.receive_text() == "[200,200,200,200]"
            assert other.most == most


async def test_a_task_that_fails_ends_the_others(tmp_path: Path) -> None:
    operations = """
    - Try:
        operations:
          - Parallel:
              tasks:
                - [{Sleep: {duration_ms: 10000}}, {WsOp: {command: send, message: too far}}]
                - [{Sleep: {duration_ms: 1}}, {Throw: {message: "no {{ message }}", code: TASK}}]
        catch: [{Return: {value: "{{ error.code }} {{ error }}"}}]
    """
    begun = time.monotonic()
    assert await said(tmp_path, operations, "tea") == "TASK no tea"
    assert time.monotonic() - begun < 9


async def test_tasks_see_and_set_the_variables_around_them(tmp_path: Path) -> None:
    operations = """
    - Loop:
        collection: [a, b]
        body:
          - Parallel:
              tasks:
                - [{SetVar: {name: first, value: "{{ item }}{{ index }}"}}]
                - [{SetVar: {name: second, value: "{{ message }}{{ item }}"}}]
    - Return: {value: "{{ first }} {{ second }}"}
    """
    assert await said(tmp_path, operations, "m") == "b1 mb"


async def test_tasks_within_tasks_and_functions(tmp_path: Path) -> None:
    operations = """
    - DefineFunction:
        name: f
        params: [n]
        body:
          - Parallel: {output: o, tasks: [[{Return: {value: "{{ n }}"}}], [{Return: {value: "{{ n + 1 }}"}}]]}
          - Return: {value: "{{ o }}"}
    - Parallel:
        output: all
        tasks:
          - [{CallFunction: {name: f, args: [1], output: a}}, {Return: {value: "{{ a }}"}}]
          - [{Parallel: {tasks: [[{Return: {value: x}}]], output: b}}, {Return: {value: "{{ b }}"}}]
    - Return: {value: "{{ all }}"}
    """
    assert await said(tmp_path, operations) == '[[1,2],["x"]]'


async def test_tasks_of_http_routes_give_values(tmp_path: Path) -> None:
    logic = "- Parallel: {tasks: [[{Return: {value: 1}}]], output: o}\n- Return: {value: '{{ o }}'}"
    async with serving(tmp_path, http_route(logic)) as served:
        assert (await served.http.get("/http")).json() == [1]


# -- Sleep -------------------------------------------------------------------------------------------------------------


async def test_sleep_lets_others_go_on(tmp_path: Path) -> None:
    operations = """
    - If: {condition: message == 'slow', then: [{Sleep: {duration_ms: "{{ 200 }}"}}]}
    - WsOp: {command: broadcast, channel: all, message: "{{ message }}"}
    """
    async with serving(tmp_path, socket_route(operations)) as served:
        one, other = await served.members("/ws", 2)
        await one.send_text("slow")
        await one.send_text("behind it")
        await other.send_text("fast")
        assert [await other.receive_text() for _ in range(3)] == ["fast", "slow", "behind it"]


@pytest.mark.parametrize("duration", ["-1", "10001", "1e9"])
def test_a_sleep_is_never_long(tmp_path: Path, duration: str) -> None:
    assert "must be from 0 to 10000" in load_problem(tmp_path, socket_route(f"- Sleep: {{duration_ms: {duration}}}"))


async def test_nor_one_that_was_computed(tmp_path: Path, monkeypatch: Any) -> None:
    from wireloom.faces.routes.operations import functions

    monkeypatch.setattr(functions, "MAX_SLEEP_MILLISECONDS", 20)
    operations = "- Sleep: {duration_ms: '{{ message }}'}\n- Return: {value: awake}"
    begun = time.monotonic()
    async with serving(tmp_path, socket_route(operations)) as served:
        assert await served.ask("9000000") == "awake"
        assert await served.ask("-5") == "awake"
    assert time.monotonic() - begun < 9
