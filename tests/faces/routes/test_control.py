"""Page 4, "Operations": variables, conditions, loops, errors, and the end of a hook."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .kit import failures, load_problem, serving, socket_route

pytestmark = pytest.mark.anyio

SAY = "- WsOp: {command: send, message: '%s'}"


def say(text: str) -> str:
    return SAY % text


async def said(folder: Path, operations: str, message: str = "", count: int = 1, **options: Any) -> Any:
    """What a route of these operations sends for one message; its first answer, or as many as are asked for."""
    async with serving(folder, socket_route(operations), **options) as served:
        client = await served.connect()
        await client.send_text(message)
        answers = [await client.receive_text() for _ in range(count)]
        return answers[0] if count == 1 else answers


# -- Return ------------------------------------------------------------------------------------------------------------

DEPTHS = {
    "hook": "- Return: {value: end}",
    "if": "- If: {condition: 'true', then: [{Return: {value: end}}]}",
    "else": "- If: {condition: 'false', then: [], else: [{Return: {value: end}}]}",
    "switch": "- Switch: {value: a, cases: [{value: a, operations: [{Return: {value: end}}]}]}",
    "default": "- Switch: {value: a, cases: [], default: [{Return: {value: end}}]}",
    "loop": "- Loop: {collection: [1, 2], body: [{Return: {value: end}}]}",
    "while": "- While: {condition: 'true', body: [{Return: {value: end}}]}",
    "try": "- Try: {operations: [{Return: {value: end}}], catch: []}",
    "catch": "- Try: {operations: [{Throw: {message: no}}], catch: [{Return: {value: end}}]}",
    "all": """
        - Loop:
            collection: [1, 2]
            body:
              - While:
                  condition: true
                  body:
                    - Try:
                        operations:
                          - If: {condition: 'index == 0', then: [{Switch: {value: 1, cases: [
                              {value: 1, operations: [{Return: {value: end}}]}]}}]}
                        finally: [Comment]
        """,
}


@pytest.mark.parametrize("depth", DEPTHS)
async def test_return_ends_the_whole_hook_from_any_depth(tmp_path: Path, depth: str) -> None:
    from textwrap import dedent

    route = socket_route(dedent(DEPTHS[depth]).strip() + "\n" + say("too far"))
    async with serving(tmp_path, route) as served:
        client = await served.connect()
        for _ in range(2):
            await client.send_text("")
            assert await client.receive_text() == "end"


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        ("text", "text"),
        ("''", ""),
        ("1", "1"),
        ("1.5", "1.5"),
        ("'{{ 2.0 }}'", "2"),
        ("true", "true"),
        ("false", "false"),
        ("[1, 'a', null]", '[1,"a",null]'),
        ("{a: '{{ message }}', b: {c: [1]}}", '{"a":"m","b":{"c":[1]}}'),
        ("'{{ [message, 1] }}'", '["m",1]'),
        ("'{{ message == \"m\" }}'", "true"),
    ],
)
async def test_return_sends_texts_as_text_and_others_as_json(tmp_path: Path, value: str, sent: str) -> None:
    assert await said(tmp_path, f"- Return: {{value: {value}}}", "m") == sent


@pytest.mark.parametrize("value", ["- Return: {value: null}", "- Return", "- Return: {value: '{{ json }}'}"])
async def test_return_of_null_sends_nothing(tmp_path: Path, value: str) -> None:
    operations = f"- If:\n    condition: message == 'on'\n    then: [{say('on')[2:]}]\n{value}\n{say('too far')}"
    async with serving(tmp_path, socket_route(operations)) as served:
        client = await served.connect()
        await client.send_text("off")
        await client.send_text("on")
        assert await client.receive_text() == "on"


async def test_return_in_on_disconnect_is_dropped(tmp_path: Path, caplog: Any) -> None:
    route = socket_route(on_disconnect="- Log: {message: bye}\n- Return: {value: dropped}\n- Log: {message: no}")
    caplog.set_level("INFO")
    async with serving(tmp_path, route) as served:
        client = await served.connect()
        await served.until(lambda: served.app._visits)
        await client.close()
        await served.until(lambda: not served.app._visits)
        assert [record.getMessage()[-5:] for record in caplog.records if record.name == "wireloom.routes"] == [": bye"]


def test_return_cannot_leave_a_finally(tmp_path: Path) -> None:
    text = socket_route("- Try: {operations: [Comment], finally: [{Return: {value: 1}}]}")
    assert "Return cannot stand in a finally" in load_problem(tmp_path, text)


# -- SetVar ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["SetVar", "Set", "set_var", "set"])
@pytest.mark.parametrize("field", ["name", "var"])
async def test_set_keeps_the_kind_of_a_value(tmp_path: Path, name: str, field: str) -> None:
    operations = f"- {name}: {{{field}: kept, value: {{a: [1, '{{{{ message }}}}', null, true]}}}}\n"
    assert await said(tmp_path, operations + "- Return: {value: '{{ kept }}'}", "m") == '{"a":[1,"m",null,true]}'


async def test_operations_are_written_by_tags_too(tmp_path: Path) -> None:
    operations = """
    - !SetVar {name: a, value: tagged}
    - !If
      condition: "{{ a == 'tagged' }}"
      then:
        - !Return {value: "{{ a }}"}
    """
    assert await said(tmp_path, operations) == "tagged"


async def test_what_is_not_set_yet_fails_and_default_stands_in(tmp_path: Path, caplog: Any) -> None:
    operations = """
    - Return: {value: "{{ later | default('not yet') }}"}
    - SetVar: {name: later, value: 1}
    """
    assert await said(tmp_path, operations) == "not yet"
    assert failures(caplog) == []
    operations = """
    - Try: {operations: [{Return: {value: "{{ later }}"}}], catch: [{Return: {value: "{{ error.code }}"}}]}
    - SetVar: {name: later, value: 1}
    """
    assert await said(tmp_path, operations) == "NOT_SET"


@pytest.mark.parametrize("name", ["message", "connection_id", "params", "query", "headers", "user", "route", "json"])
def test_what_is_always_there_cannot_be_set(tmp_path: Path, name: str) -> None:
    problem = load_problem(tmp_path, socket_route(f"- SetVar: {{name: {name}, value: 1}}"))
    assert f"{name!r} is always there and cannot be set" in problem


# -- If and Switch -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("otherwise", ["else", "otherwise"])
@pytest.mark.parametrize("condition", ["\"{{ message == 'a' }}\"", "message == 'a'"])
async def test_if_takes_one_way(tmp_path: Path, condition: str, otherwise: str) -> None:
    operations = f"""
    - If:
        condition: {condition}
        then: [{say("then")[2:]}]
        {otherwise}: [{say("else")[2:]}]
    {say("after")}
    """
    async with serving(tmp_path, socket_route(operations)) as served:
        client = await served.connect()
        for message, expected in (("a", "then"), ("b", "else"), ("a", "then")):
            await client.send_text(message)
            assert [await client.receive_text(), await client.receive_text()] == [expected, "after"]


@pytest.mark.parametrize(
    ("value", "counts"),
    [
        *[(value, False) for value in ("null", "false", "0", "0.0", "''", "[]", "{}")],
        *[(value, True) for value in ("true", "1", "'0'", "'false'", "[0]", "{a: 0}", "-1")],
    ],
)
async def test_what_counts_as_true(tmp_path: Path, value: str, counts: bool) -> None:
    operations = f"""
    - SetVar: {{name: value, value: {value}}}
    - If: {{condition: value, then: [{{Return: {{value: 'true'}}}}], else: [{{Return: {{value: 'false'}}}}]}}
    """
    assert await said(tmp_path, operations) == str(counts).lower()


async def test_switch_takes_the_first_equal_case(tmp_path: Path) -> None:
    operations = """
    - Switch:
        value: "{{ message }}"
        cases:
          - {value: a, operations: [{Return: {value: first}}]}
          - {value: a, operations: [{Return: {value: second}}]}
          - {value: 1, operations: [{Return: {value: number}}]}
          - {value: "{{ query.wanted }}", operations: [{Return: {value: computed}}]}
          - {value: nothing}
        default: [{Return: {value: default}}]
    - Return: {value: after}
    """
    async with serving(tmp_path, socket_route(operations)) as served:
        client = await served.connect("/ws?wanted=w")
        for message, expected in (
            ("a", "first"),
            ("1", "number"),
            ("w", "computed"),
            ("nothing", "after"),
            ("else", "default"),
        ):
            await client.send_text(message)
            assert await client.receive_text() == expected


# -- loops -------------------------------------------------------------------------------------------------------------


async def test_loop_sets_its_names_and_restores_them(tmp_path: Path) -> None:
    operations = """
    - SetVar: {name: item, value: mine}
    - SetVar: {name: index, value: its}
    - Loop:
        collection: ["{{ message }}", b]
        body:
          - WsOp: {command: send, message: "{{ index }}{{ item }}"}
    - WsOp: {command: send, message: "{{ index }} {{ item }}"}
    """
    assert await said(tmp_path, operations, "a", 3) == ["0a", "1b", "its mine"]


async def test_loops_within_each_other(tmp_path: Path) -> None:
    operations = """
    - SetVar: {name: all, value: []}
    - Loop:
        collection: [x, y]
        var: outer
        body:
          - SetVar: {name: before, value: "{{ index }}"}
          - Loop:
              collection: {k: 1, l: 2}
              var: inner
              body:
                - SetVar: {name: last, value: "{{ outer }}{{ before }}{{ inner.key }}{{ inner.value }}{{ index }}"}
                - WsOp: {command: send, message: "{{ last }}"}
          - WsOp: {command: send, message: "{{ outer }}{{ index }}"}
    """
    expected = ["x0k10", "x0l21", "x0", "y1k10", "y1l21", "y1"]
    assert await said(tmp_path, operations, count=6) == expected


@pytest.mark.parametrize("var", ["var", "name"])
async def test_a_loop_leaves_no_name_behind(tmp_path: Path, var: str) -> None:
    problem = load_problem(
        tmp_path, socket_route(f"- Loop: {{collection: [1], {var}: each}}\n- Return: {{value: '{{{{ each }}}}'}}")
    )
    assert "there is no variable 'each'" in problem


async def test_a_loop_of_what_is_no_list_fails(tmp_path: Path) -> None:
    operations = """
    - Try:
        operations: [{Loop: {collection: "{{ json.a }}", body: [Comment]}}]
        catch: [{Return: {value: "{{ error.code }}: {{ error }}"}}]
    - Return: {value: fine}
    """
    assert await said(tmp_path, operations, '{"a": 5}') == "WRONG_TYPE: a list is wanted, not a number"
    assert await said(tmp_path, operations, '{"a": [5]}') == "fine"


async def test_while_runs_until_its_condition_fails(tmp_path: Path) -> None:
    operations = """
    - SetVar: {name: n, value: 0}
    - While:
        condition: n < 3
        body: [{SetVar: {name: n, value: "{{ n + 1 }}"}}]
    - Return: {value: "{{ n }}"}
    """
    assert await said(tmp_path, operations) == "3"


@pytest.mark.parametrize(("most", "expected"), [(3, "3"), (2, "TOO_MANY_ITERATIONS 2 more than 2 times")])
async def test_while_ends_past_max_iterations(tmp_path: Path, most: int, expected: str) -> None:
    operations = f"""
    - SetVar: {{name: n, value: 0}}
    - Try:
        operations:
          - While:
              condition: n < 3
              max_iterations: {most}
              body: [{{SetVar: {{name: n, value: "{{{{ n + 1 }}}}"}}}}]
        catch: [{{Return: {{value: "{{{{ error.code }}}} {{{{ n }}}} {{{{ error | slice(13) }}}}"}}}}]
    - Return: {{value: "{{{{ n }}}}"}}
    """
    assert await said(tmp_path, operations) == expected


async def test_while_ends_after_a_thousand_turns_where_nothing_is_said(tmp_path: Path) -> None:
    operations = """
    - SetVar: {name: n, value: 0}
    - Try:
        operations: [{While: {condition: true, body: [{SetVar: {name: n, value: "{{ n + 1 }}"}}]}}]
        catch: [{Return: {value: "{{ n }} {{ error.code }}"}}]
    """
    assert await said(tmp_path, operations) == "1000 TOO_MANY_ITERATIONS"


async def test_break_and_continue_are_about_the_loop_around_them(tmp_path: Path) -> None:
    operations = """
    - Loop:
        collection: [1, 2]
        var: outer
        body:
          - Loop:
              collection: [1, 2, 3, 4]
              var: inner
              body:
                - If: {condition: inner == 2, then: [Continue]}
                - Try:
                    operations: [{If: {condition: inner == 4, then: [Break]}}]
                    finally: [{WsOp: {command: send, message: "{{ outer }}{{ inner }}"}}]
    - SetVar: {name: n, value: 0}
    - While:
        condition: true
        body:
          - SetVar: {name: n, value: "{{ n + 1 }}"}
          - If: {condition: n < 5, then: [Continue]}
          - Break
    - WsOp: {command: send, message: "{{ n }}"}
    """
    assert await said(tmp_path, operations, count=7) == ["11", "13", "14", "21", "23", "24", "5"]


@pytest.mark.parametrize("name", ["Break", "Continue"])
def test_there_must_be_a_loop_to_leave(tmp_path: Path, name: str) -> None:
    assert f"{name} stands in a Loop or While" in load_problem(tmp_path, socket_route(f"- {name}"))
    text = socket_route(f"- Loop: {{collection: [1], body: [{{Parallel: {{tasks: [[{name}]]}}}}]}}")
    assert f"{name} stands in a Loop or While" in load_problem(tmp_path, text)


# -- errors ------------------------------------------------------------------------------------------------------------


async def test_catch_is_told_what_went_wrong(tmp_path: Path) -> None:
    operations = """
    - Try:
        operations:
          - WsOp: {command: send, message: before}
          - Throw: {message: "no {{ message }}", code: NOT_TODAY}
          - WsOp: {command: send, message: too far}
        catch:
          - WsOp: {command: send, message: "{{ error }}|{{ error.message }}|{{ error.code }}"}
          - Return: {value: {told: "{{ error }}", all: ["{{ error.code }}", "{{ error }}"]}}
        finally:
          - WsOp: {command: send, message: finally}
    """
    assert await said(tmp_path, operations, "tea", 4) == [
        "before",
        "no tea|no tea|NOT_TODAY",
        "finally",
        '{"told":"no tea","all":["NOT_TODAY","no tea"]}',
    ]


async def test_an_error_can_be_kept_and_returned(tmp_path: Path) -> None:
    operations = """
    - Try: {operations: [{Throw: {message: kept}}], catch: [{SetVar: {name: why, value: "{{ error }}"}}]}
    - If: {condition: message == 'json', then: [{Return: {value: {why: "{{ why }}"}}}]}
    - Return: {value: "{{ why }}"}
    """
    assert await said(tmp_path, operations) == "kept"
    assert await said(tmp_path, operations, "json") == '{"why":"kept"}'


async def test_finally_runs_in_any_case(tmp_path: Path) -> None:
    operations = """
    - Try:
        operations:
          - Try:
              operations:
                - If: {condition: message == 'throw', then: [{Throw: {message: thrown}}]}
                - If: {condition: message == 'return', then: [{Return: {value: returned}}]}
              finally: [{WsOp: {command: send, message: finally}}]
        catch: [{Return: {value: "{{ error.code }} {{ error }}"}}]
    - Return: {value: end}
    """
    async with serving(tmp_path, socket_route(operations)) as served:
        client = await served.connect()
        for message, expected in (("throw", "THROWN thrown"), ("return", "returned"), ("", "end")):
            await client.send_text(message)
            assert [await client.receive_text(), await client.receive_text()] == ["finally", expected]


async def test_tries_within_each_other(tmp_path: Path) -> None:
    operations = """
    - Try:
        operations:
          - Try:
              operations: [{Throw: {message: inner}}]
              catch: [{Throw: {message: "{{ error }} and outer"}}]
              finally: [{WsOp: {command: send, message: "first"}}]
        catch: [{WsOp: {command: send, message: "{{ error }}"}}]
    """
    assert await said(tmp_path, operations, count=2) == ["first", "inner and outer"]


async def test_as_many_blocks_within_each_other_as_are_allowed(tmp_path: Path) -> None:
    operations = "{Throw: {message: deep}}"
    for level in range(6):
        catch = f"{{Throw: {{message: '{{{{ error }}}} {level}'}}}}"
        operations = f"{{Try: {{operations: [{operations}], catch: [{catch}], finally: [Comment]}}}}"
    async with serving(tmp_path, socket_route(f"- {operations}"), socket_route(path="/other")) as served:
        client = await served.connect()
        await client.send_text("")
        await served.until(lambda: served.app._visits)
    problem = load_problem(tmp_path, socket_route(f"- {{Try: {{operations: [{operations}], catch: []}}}}"))
    assert "more than 6 loops and tries within each other" in problem


async def test_a_throw_that_nobody_catches_ends_the_hook(tmp_path: Path, caplog: Any) -> None:
    operations = """
    - If: {condition: message == 'throw', then: [{Throw: {message: "not {{ message }}"}}]}
    - Return: {value: still here}
    """
    async with serving(tmp_path, socket_route(operations)) as served:
        client = await served.connect()
        await client.send_text("throw")
        await client.send_text("")
        assert await client.receive_text() == "still here"
        (failure,) = failures(caplog)
        assert failure.getMessage().endswith(": not throw (THROWN)")


# -- Comment -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("comment", ["- Comment", "- Comment: {text: '{{ nothing is read here'}", "- !Comment {}"])
async def test_comments_do_nothing(tmp_path: Path, comment: str) -> None:
    assert await said(tmp_path, f"{comment}\n{say('done')}") == "done"
