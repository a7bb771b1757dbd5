"""Page 4, "Operations": Map, Filter and Aggregate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from .kit import serving, socket_route

pytestmark = pytest.mark.anyio

USERS = '[{"name": "Ann", "age": 31}, {"name": "Ben", "age": 25}, {"name": "Cleo", "age": 40}]'


async def result(folder: Path, operation: str, message: str = USERS) -> Any:
    """What an operation puts into the variable ``o``, or the code that it fails with."""
    operations = f"""
    - Try:
        operations: [{operation}]
        catch: [{{Return: {{value: "{{{{ error.code }}}}"}}}}]
    - Return: {{value: {{o: "{{{{ o }}}}"}}}}
    """
    async with serving(folder, socket_route(operations)) as served:
        answer = await served.ask(message)
        return json.loads(answer)["o"] if answer.startswith("{") else answer


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        ("{Map: {input: '{{ json }}', transform: '{{ item.name }}', output: o}}", ["Ann", "Ben", "Cleo"]),
        (
            "{Map: {input: '{{ json }}', var: u, transform: {n: '{{ u.age + 1 }}'}, output: o}}",
            [{"n": 32}, {"n": 26}, {"n": 41}],
        ),
        ("{Map: {input: [1, 2], transform: '<{{ item }}>', output: o}}", ["<1>", "<2>"]),
        ("{Map: {input: [1, 2], transform: same, output: o}}", ["same", "same"]),
        ("{Map: {input: {a: 1, b: 2}, transform: '{{ item.key }}{{ item.value }}', output: o}}", ["a1", "b2"]),
        ("{Map: {input: [], transform: '{{ item / 0 }}', output: o}}", []),
        ("{Map: {input: '{{ 5 + json[1].age }}', transform: 1, output: o}}", "WRONG_TYPE"),
        ("{Map: {input: [1, 0], transform: '{{ 1 / item }}', output: o}}", "DIVISION_BY_ZERO"),
        ("{Filter: {input: '{{ json }}', condition: item.age > 30, output: o}}", json.loads(USERS)[::2]),
        ("{Filter: {input: [0, 1, '', a, null], condition: '{{ item }}', output: o}}", [1, "a"]),
        ("{Filter: {input: {a: 1, b: 2}, var: m, condition: m.value == 2, output: o}}", [{"key": "b", "value": 2}]),
        ("{Filter: {input: [1, a], condition: item > 0, output: o}}", "WRONG_TYPE"),
        ("{Aggregate: {input: '{{ json }}', operation: sum, transform: '{{ item.age }}', output: o}}", 96),
        ("{Aggregate: {input: '{{ json }}', operation: avg, transform: '{{ item.age }}', output: o}}", 32),
        ("{Aggregate: {input: '{{ json }}', operation: min, transform: '{{ item.name }}', output: o}}", "Ann"),
        ("{Aggregate: {input: [3, 1, 2], operation: max, output: o}}", 3),
        ("{Aggregate: {input: [3, 1, 2], operation: MIN, output: o}}", 1),
        ("{Aggregate: {input: '{{ json }}', operation: count, output: o}}", 3),
        ("{Aggregate: {input: {a: 1, b: 2}, var: m, operation: sum, transform: '{{ m.value }}', output: o}}", 3),
        ("{Aggregate: {input: [], operation: sum, output: o}}", 0),
        ("{Aggregate: {input: [], operation: count, output: o}}", 0),
        ("{Aggregate: {input: [], operation: avg, output: o}}", None),
        ("{Aggregate: {input: [], operation: min, output: o}}", None),
        ("{Aggregate: {input: [], operation: max, output: o}}", None),
        ("{Aggregate: {input: [1, x], operation: sum, output: o}}", "WRONG_TYPE"),
    ],
)
async def test_what_lists_become(tmp_path: Path, operation: str, expected: Any) -> None:
    assert await result(tmp_path, operation) == expected


async def test_they_stand_within_each_other_and_in_loops(tmp_path: Path) -> None:
    operations = """
    - SetVar: {name: item, value: mine}
    - SetVar: {name: rows, value: []}
    - Loop:
        collection: [2, 3]
        var: factor
        body:
          - Map: {input: [1, 2], transform: "{{ item * factor }}", output: row}
          - Filter: {input: "{{ row }}", condition: item != factor, output: row}
          - WsOp: {command: send, message: "{{ row }} {{ item }}"}
    """
    async with serving(tmp_path, socket_route(operations)) as served:
        client = await served.connect()
        await client.send_text("")
        assert [await client.receive_text(), await client.receive_text()] == ["[4] mine", "[6] mine"]


@pytest.mark.parametrize("kind", ["Map: {transform: a, ", "Filter: {condition: true, ", "Aggregate: {operation: sum, "])
async def test_every_item_counts_as_an_operation(tmp_path: Path, kind: str) -> None:
    assert await result(tmp_path, f"{{{kind}input: '{{{{ json }}}}', output: o}}}}", f"[{'0,' * 10_000}0]") == (
        "OUT_OF_OPERATIONS"
    )
