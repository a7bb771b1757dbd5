"""Page 4: what a route declares of its connections, and the fuel of its hooks."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from wireloom.errors import HandshakeFailed

from .kit import failures, load_problem, serving, socket_route

pytestmark = pytest.mark.anyio

ECHO = '- Return: {value: "{{ message }}"}'


# -- fuel --------------------------------------------------------------------------------------------------------------

ENDLESS = "While: {condition: true, max_iterations: 1000000, body: [%s]}"
FUEL = {
    "operations": ("{" + ENDLESS % "Comment" + "}", "OUT_OF_OPERATIONS", "the hook took more than 1000 operations"),
    "items": (
        '{Map: {input: \'{{ "a" | repeat(1001) | split("") }}\', transform: 1, output: o}}',
        "OUT_OF_OPERATIONS",
        "the hook took more than 1000 operations",
    ),
    "depth": ("{CallFunction: {name: f}}", "OUT_OF_DEPTH", "functions call each other more than 32 levels deep"),
    "time": ("{Sleep: {duration_ms: 9000}}", "OUT_OF_TIME", "the hook took longer than 0.3 s"),
    "text": (
        '{SetVar: {name: o, value: \'{{ ("a" | repeat(1000000)) + ("a" | repeat(1000000)) }}\'}}',
        "TOO_LARGE",
        "the result would be a text of more than 1048576 characters",
    ),
    "value": (
        "{Loop: {collection: '{{ [1,2,3,4,5,6] }}', body: [{SetVar: {name: o, value: ['{{ o }}', '{{ o }}']}}]}}",
        "TOO_LARGE",
        "the result would be a value of more than 100000 items",
    ),
}


@pytest.mark.parametrize("kind", FUEL)
async def test_what_is_used_up_is_a_catchable_error_that_names_it(tmp_path: Path, caplog: Any, kind: str) -> None:
    operation, code, why = FUEL[kind]
    operations = f"""
    - DefineFunction: {{name: f, body: [{{CallFunction: {{name: f}}}}]}}
    - SetVar: {{name: o, value: "{{{{ 'a' | repeat(20000) | split('') }}}}"}}
    - If: {{condition: message == 'bare', then: [{operation}]}}
    - Try:
        operations: [{operation}]
        catch: [{{Return: {{value: "{{{{ error.code }}}}: {{{{ error }}}}"}}}}]
    """
    options = {"routes_max_operations": 1000, "routes_max_seconds": 0.3}
    async with serving(tmp_path, socket_route(operations), **options) as served:
        client = await served.connect()
        await client.send_text("bare")
        await client.send_text("")
        assert await client.receive_text() == f"{code}: {why}"
        await client.send_text("")  # the next run has all of it again
        assert await client.receive_text() == f"{code}: {why}"
        (failure,) = failures(caplog)
        assert failure.getMessage().endswith(f"{why} ({code})")


TRYING_BARE = "Try: {operations: [%s], catch: [%s]}"
TRYING = "{" + TRYING_BARE + "}"
LOOPING = "{" + ENDLESS % "Comment" + "}"
LOOPS = {
    "try within a loop": ENDLESS % (TRYING % ("{Throw: {message: a}}", "Comment")),
    "loop within a try within a loop": ENDLESS % (TRYING % ("{" + ENDLESS % "Comment" + "}", "Comment")),
    "loop in a catch": TRYING_BARE % ("{Throw: {message: a}}", LOOPING),
    "loop in catch after catch": TRYING_BARE % (LOOPING, TRYING % (LOOPING, LOOPING)),
    "loop in a finally": (TRYING_BARE % (LOOPING, LOOPING)).replace("catch", "finally"),
    "waiting": ENDLESS
    % (TRYING % ("{RedisOp: {command: GET, key: a}}, {Throw: {message: a}}", "{Sleep: {duration_ms: 0}}")),
    "sleeping": ENDLESS % (TRYING % ("{Sleep: {duration_ms: 10000}}", "{Sleep: {duration_ms: 10000}}")),
    "recursion": "CallFunction: {name: f}",
    "tasks": ENDLESS
    % (TRYING % ("{Parallel: {tasks: [[{%s}], [{Throw: {message: a}}]]}}" % (ENDLESS % "Comment"), "Comment")),
}


@pytest.mark.parametrize("kind", LOOPS)
async def test_endless_loops_end_whatever_they_catch(tmp_path: Path, caplog: Any, kind: str) -> None:
    operations = f"""
    - DefineFunction:
        name: f
        body: [{TRYING % ("{CallFunction: {name: f}}, {CallFunction: {name: f}}", "{CallFunction: {name: f}}")}]
    - If: {{condition: message == 'loop', then: [{{{LOOPS[kind]}}}]}}
    - Return: {{value: after}}
    """
    begun = time.monotonic()
    async with serving(tmp_path, socket_route(operations), routes_max_seconds=0.5) as served:
        client = await served.connect()
        await client.send_text("loop")
        await client.send_text("")
        assert await client.receive_text() == "after"
        (failure,) = failures(caplog)
        assert "(OUT_OF_" in failure.getMessage()
    assert time.monotonic() - begun < 20


async def test_the_time_of_a_hook_that_never_waits(tmp_path: Path) -> None:
    slow = ENDLESS % """{SetVar: {name: o, value: '{{ "a" | repeat(100000) | reverse }}'}}"""
    operations = f"""
    - Try:
        operations: [{{{slow}}}]
        catch: [{{Return: {{value: "{{{{ error.code }}}}"}}}}]
    """
    options = {"routes_max_operations": 100_000_000, "routes_max_seconds": 0.1}
    begun = time.monotonic()
    async with serving(tmp_path, socket_route(operations), **options) as served:
        assert await served.ask() == "OUT_OF_TIME"
    assert time.monotonic() - begun < 4


@pytest.mark.parametrize(
    "expression", ["message" + " | title" * 30, f"[{', '.join(['message | title'] * 30)}] | length"]
)
async def test_the_time_of_one_expression_of_many_filters(tmp_path: Path, expression: str) -> None:
    operations = f"""
    - Try:
        operations: [{{Return: {{value: "{{{{ {expression} }}}}"}}}}]
        catch: [{{Return: {{value: "{{{{ error.code }}}}"}}}}]
    """
    async with serving(tmp_path, socket_route(operations), routes_max_seconds=0.1) as served:
        assert await served.ask("ab " * 100_000) == "OUT_OF_TIME"


# -- rate_limit --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operations", [ECHO, "- Sleep: {duration_ms: 0}\n" + ECHO])
async def test_messages_above_the_rate_are_refused_then_the_connection_ends(tmp_path: Path, operations: str) -> None:
    more = "rate_limit: {messages_per_minute: 6, burst: 3}"
    async with serving(tmp_path, socket_route(operations, more=more)) as served:
        one, other = await served.members("/ws", 2)
        for number in range(14):
            await one.send_text(str(number))
        assert [await one.receive_text() for _ in range(3)] == ["0", "1", "2"]
        for _ in range(10):
            refused = await one.receive_json()
            assert refused.pop("retry_after_seconds") in (9, 10)
            assert refused.pop("error").startswith("Too many requests; try again in ")
            assert refused == {"code": "RATE_LIMITED"}
        assert await one.wait_closed() == 1008
        assert one.close_reason == "Too many messages"
        await other.send_text("mine")
        assert await other.receive_text() == "mine"


async def test_a_message_that_is_let_through_forgives_refusals(tmp_path: Path) -> None:
    more = "rate_limit: {messages_per_minute: 1, burst: 1}"
    async with serving(tmp_path, socket_route(ECHO, more=more)) as served:
        client = await served.connect()
        for turn in range(3):
            await client.send_text("a")
            assert await client.receive_text() == "a"
            for _ in range(8):
                await client.send_text("b")
                assert (await client.receive_json())["code"] == "RATE_LIMITED"
            (visit,) = served.app._visits.values()
            assert visit.refusals == 8, turn
            assert visit.bucket is not None
            visit.bucket.left = 1.0  # a minute later


async def test_who_only_listens_has_a_rate_too(tmp_path: Path) -> None:
    more = "rate_limit: {messages_per_minute: 1, burst: 1}"
    async with serving(tmp_path, socket_route(on_connect="- Comment", more=more)) as served:
        client = await served.connect()
        for _ in range(12):
            await client.send_text("flood")
        assert await client.wait_closed() == 1008


# -- what a message may be ---------------------------------------------------------------------------------------------


async def test_max_message_size(tmp_path: Path) -> None:
    async with serving(tmp_path, socket_route(ECHO, more="max_message_size: 10")) as served:
        one, other = await served.members("/ws", 2)
        await one.send_text("x" * 10)
        assert await one.receive_text() == "x" * 10
        await one.send_text("x" * 11)
        assert await one.wait_closed() == 1009
        await other.send_bytes(b"x" * 11)
        assert await other.wait_closed() == 1009


@pytest.mark.parametrize(
    ("binary", "message", "expected"),
    [
        ("text", "grüß".encode(), '["grüß",null]'),
        ("text", b'{"a": 1}', '["{\\"a\\": 1}",{"a":1}]'),
        ("text", "text", '["text",null]'),
        ("text", b"\xff", '{"error":"A binary message must be UTF-8 here","code":"INVALID_TEXT"}'),
        ("text", b"", '["",null]'),
        ("base64", b"\x00\xff\xfe", '["AP/+",null]'),
        ("base64", "text", '["text",null]'),
        ("json", b'{"a": [1]}', '[{"a":[1]},{"a":[1]}]'),
        ("json", b"5", "[5,null]"),
        ("json", '{"a": [1]}', '["{\\"a\\": [1]}",{"a":[1]}]'),
        ("json", b"{", '{"error":"Invalid JSON","code":"INVALID_JSON"}'),
        ("json", b"\xff", '{"error":"A binary message must be UTF-8 here","code":"INVALID_TEXT"}'),
    ],
)
async def test_what_binary_messages_become(tmp_path: Path, binary: str, message: Any, expected: str) -> None:
    route = socket_route("- Return: {value: ['{{ message }}', '{{ json }}']}", more=f"binary: {binary}")
    async with serving(tmp_path, route) as served:
        client = await served.connect()
        await (client.send_bytes(message) if isinstance(message, bytes) else client.send_text(message))
        assert await client.receive_text() == expected
        await client.send_text("still open")
        assert await client.receive_text() == '["still open",null]'


async def test_message_schema(tmp_path: Path) -> None:
    more = "message_schema: {type: object, required: [n], properties: {n: {type: integer}}}"
    async with serving(tmp_path, socket_route("- Return: {value: '{{ json.n }} {{ message }}'}", more=more)) as served:
        client = await served.connect()
        await client.send_text('{"n": 5}')
        assert await client.receive_text() == '5 {"n": 5}'
        for message, code in (('{"n": "x"}', "VALIDATION_ERROR"), ("{}", "VALIDATION_ERROR"), ("no", "INVALID_JSON")):
            await client.send_text(message)
            assert (await client.receive_json())["code"] == code
        await client.send_text("{}")
        told = {"error": 'Message validation failed: "n" is a required property', "path": "$"}
        assert await client.receive_json() == {**told, "code": "VALIDATION_ERROR"}


@pytest.mark.parametrize("schema", ["{type: nonsense}", "{$ref: 'http://example.com/x'}"])
def test_a_schema_that_is_none(tmp_path: Path, schema: str) -> None:
    problem = load_problem(tmp_path, socket_route(ECHO, more=f"message_schema: {schema}"))
    assert "0.yaml:4:17" in problem


async def test_subprotocols(tmp_path: Path) -> None:
    async with serving(tmp_path, socket_route(ECHO, more="subprotocols: [chat.v2, chat.v1]")) as served:
        for offered, chosen in (
            (["chat.v1", "chat.v2"], "chat.v2"),
            (["chat.v1"], "chat.v1"),
            (["other"], None),
            ([], None),
        ):
            async with served.server.websocket("/ws", subprotocols=offered) as client:
                assert client.subprotocol == chosen


async def test_auth_by_header_or_subprotocol(tmp_path: Path) -> None:
    route = socket_route("- Return: {value: '{{ user.username }}'}", more="auth: true")
    async with serving(tmp_path, route) as served:
        assert served.app.identity is not None
        token = (await served.app.identity.register({"username": "ann"}, "correct horse")).token
        for options in (
            {"headers": {"Authorization": f"Bearer {token}"}},
            {"subprotocols": ["wireloom.bearer", token]},
        ):
            client = await served.connect(**options)
            await client.send_text("")
            assert await client.receive_text() == "ann"
        for headers in ({}, {"Authorization": "Bearer wrong"}):
            with pytest.raises(HandshakeFailed) as refused:
                await served.connect(headers=headers)
            assert refused.value.status == 401
        assert len(served.app._visits) == 2
