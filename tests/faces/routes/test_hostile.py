"""What hostile clients and hostile files try: to keep others waiting, to fill the log, to break the server."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from tests.faces.routes.kit import failures, http_route, load_problem, log_lines, serving, socket_route

from wireloom.faces.routes.expressions.emit import Namespace
from wireloom.faces.routes.failure import OutOfFuel
from wireloom.faces.routes.fuel import Fuel

pytestmark = pytest.mark.anyio


def caught(operations: str) -> str:
    """Operations in a Try that tells the client why they failed."""
    return f"""
- Try:
    operations: [{operations}]
    catch: [{{Return: {{value: "{{{{ error.code }}}}: {{{{ error }}}}"}}}}]
"""


KEPT_WAITING = "OUT_OF_TIME: the hook kept others waiting for more than 1 s"
LOOKED_UP = "Filter: {input: '{{ json.few }}', condition: 'json.many | contains(item)', output: found}"
IN_A_LOOP = "Loop: {collection: '{{ json.few }}', body: [{Set: {name: a, value: '{{ json.many | contains(item) }}'}}]}"


@pytest.mark.parametrize("operation", [LOOKED_UP, IN_A_LOOP])
async def test_a_message_that_makes_much_work_keeps_nobody_waiting_for_long(tmp_path: Path, operation: str) -> None:
    async with serving(tmp_path, socket_route(caught(f"{{{operation}}}"))) as here:
        message = json.dumps({"few": [1] * 9000, "many": [2.5] * 80_000})
        assert await here.ask(message) == KEPT_WAITING


async def test_a_hook_of_many_operations_is_counted_without_a_loop(tmp_path: Path) -> None:
    many = ", ".join(["{Set: {name: n, value: 1}}"] * 60)
    async with serving(tmp_path, socket_route(caught(many)), routes_max_operations=40) as here:
        assert await here.ask("hi") == "OUT_OF_OPERATIONS: the hook took more than 40 operations"


async def test_a_hook_that_waits_gives_others_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)

    async def at_once() -> int:
        return 1

    fuel = Fuel(10, 30)
    now += 0.9
    assert await fuel.wait(at_once()) == 1
    now += 0.9  # since the others had theirs
    fuel.spend()
    now += 0.2
    with pytest.raises(OutOfFuel, match="kept others waiting"):
        fuel.spend()


async def test_hashing_passwords_is_waiting_and_keeps_nobody(tmp_path: Path) -> None:
    hashing = "{Map: {input: '{{ [1, 2, 3] }}', transform: '{{ hash_password(message) }}', output: hashes}}"
    route = socket_route(caught(f"{hashing}, {{Return: {{value: '{{{{ hashes | first }}}}'}}}}"))
    async with serving(tmp_path, route) as here:
        assert (await here.ask("secret")).startswith("$argon2id$")


async def test_a_long_line_of_the_log_is_cut(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    route = socket_route("""
        - Log: {message: "{{ message }}"}
        - WsOp: {command: send, message: logged}
        - Throw: {message: "{{ message }}"}
    """)
    async with serving(tmp_path, route) as here:
        assert await here.ask("é" * 300_000) == "logged"
        await here.until(lambda: failures(caplog))
    assert log_lines(caplog) == ["é" * 10_000 + "… (300000 characters)"]
    assert len(failures(caplog)[0].getMessage()) < 10_300


async def test_a_header_takes_no_delete(tmp_path: Path) -> None:
    route = http_route("- Return: {value: 1, headers: {X-Echo: '{{ query.v }}'}}")
    async with serving(tmp_path, route) as here:
        answer = await here.http.get("/http", params={"v": "a\x7f"})
        assert answer.status_code == 500
        assert answer.json()["code"] == "INTERNAL_ERROR"


@pytest.mark.parametrize("key", ["name", "path"])
def test_a_null_character_is_a_problem_like_others(tmp_path: Path, key: str) -> None:
    route = {"path": "/x", "logic": [{"Return": {"value": 1}}], key: "/a\0b"}
    told = load_problem(tmp_path, json.dumps(route), suffix=".json")
    assert f"{key} must be" in told or "cannot be printed" in told


def test_names_of_many_values_are_found_at_once() -> None:
    namespace = Namespace()
    values = [[number] for number in range(50_000)]
    names = [namespace.bind(value, "value") for value in values]
    assert names[:3] == ["value", "value_1", "value_2"]
    assert len(set(names)) == len(values)
    assert namespace.bind(values[-1], "value") == names[-1]
    assert all(namespace[name] is value for name, value in zip(names, values, strict=True))
