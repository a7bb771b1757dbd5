"""In-process measures, no server and no socket: `python -m bench.micro CASE SECONDS` prints one JSON line.

Law: a case is a function that prepares everything and returns the one call to be timed; adding a case is adding a row.
"""

from __future__ import annotations

import json
import sys
import time
import timeit
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

if sys.version_info >= (3, 12):
    from typing import TypedDict
else:  # pydantic reads no other TypedDict there
    from typing_extensions import TypedDict

__all__ = ["CASES", "MESSAGE", "TABLES", "Case"]

MESSAGE = '{"text":"Hello","user":"Alice"}'

Call = Callable[[], Any]


class ChatMessage(TypedDict):
    text: str
    user: str


def wireloom_decode() -> Call:
    """Wireloom's own compiled decoder."""
    from wireloom.core.schema import compile_message

    decode = compile_message(ChatMessage, owner="chat", source="bench/micro.py").decode
    return partial(decode, MESSAGE)


def msgspec_decode() -> Call:
    """msgspec alone: the floor under Wireloom's decoder."""
    import msgspec

    decode = msgspec.json.Decoder(ChatMessage).decode
    return partial(decode, MESSAGE)


def pydantic_adapter() -> Call:
    """pydantic, the same TypedDict."""
    from pydantic import TypeAdapter

    validate = TypeAdapter(ChatMessage).validate_json
    return partial(validate, MESSAGE)


def pydantic_model() -> Call:
    """pydantic, a model of the same fields."""
    from pydantic import BaseModel

    class ChatModel(BaseModel):
        text: str
        user: str

    validate = ChatModel.model_validate_json
    return partial(validate, MESSAGE)


def json_loads() -> Call:
    """The standard library: decodes, validates nothing."""
    return partial(json.loads, MESSAGE)


@dataclass(frozen=True, slots=True)
class Case:
    """One row: which table it is in, what the report calls it, how to prepare it."""

    table: str
    label: str
    prepare: Callable[[], Call]


TABLES = {"decode": "Decode and validate one chat message, in process"}  # key: heading, in the report's order

CASES: dict[str, Case] = {
    "wireloom": Case("decode", "wireloom", wireloom_decode),
    "pydantic-adapter": Case("decode", "pydantic `TypeAdapter.validate_json`", pydantic_adapter),
    "pydantic-model": Case("decode", "pydantic `Model.model_validate_json`", pydantic_model),
    "msgspec": Case("decode", "msgspec alone", msgspec_decode),
    "json": Case("decode", "`json.loads`, no validation", json_loads),
}


def best_seconds(call: Call, seconds: float) -> float:
    """The least time of one call, among batches that fill about `seconds`."""
    timer = timeit.Timer(call, timer=time.process_time)  # CPU time: another process on this core is not our cost
    number = max(1, int(20_000 * 0.02 / max(timer.timeit(20_000), 1e-9)))  # batches of some 20 ms
    end = time.perf_counter() + seconds
    best = timer.timeit(number)
    while time.perf_counter() < end:
        best = min(best, timer.timeit(number))
    return best / number


def main(name: str, seconds: str) -> None:
    each = best_seconds(CASES[name].prepare(), float(seconds))
    print(json.dumps({"per_second": 1 / each, "each_us": each * 1e6}))


if __name__ == "__main__":
    main(*sys.argv[1:])
