"""In-process measures, no server and no socket: `python -m bench.micro CASE SECONDS` prints one JSON line.

Law: a case is a function that prepares everything and returns the one call to be timed; adding a case is adding a row.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
import timeit
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

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


def _one_message(waits: bool) -> Call:
    """From a whole message to framed bytes in the transport: decode, handler, encode, frame, outbox. No socket."""
    from dataclasses import replace

    from wireloom import App
    from wireloom.net.listener import Listener
    from wireloom.net.websocket import WebSocketShell
    from wireloom.wire.handshake import parse_head

    app = App()

    @app.websocket("/chat/{room}")
    async def chat(message: ChatMessage, room: str) -> dict[str, str]:
        return {"echo": message["text"], "from": message["user"], "room": room}

    loop = asyncio.get_running_loop()
    listener = Listener(app._doors.websocket, app.hub, app.config, loop)
    [endpoint] = app._doors.websocket
    listener.hub.bind(loop)
    plan = listener.plan(replace(endpoint, waits=waits))
    head = parse_head(b"GET /chat/lobby HTTP/1.1\r\nHost: x\r\n\r\n")
    shell = WebSocketShell(listener, plan, _Nowhere(), head, set())
    shell.connection.path_params = {"room": "lobby"}
    shell.open()
    shell._reader = _OneEvent()
    return partial(shell.data_received, b"")


class _OneEvent:
    """A reader whose every read is one whole message."""

    events: ClassVar = [MESSAGE]
    holds: ClassVar = False

    def feed(self, data: bytes) -> list[str]:
        """The message."""
        return self.events


class _Nowhere:
    """A transport that takes everything and does nothing."""

    def get_extra_info(self, name: str) -> _Nowhere:
        """Its socket."""
        return self

    def fileno(self) -> int:
        """No descriptor: everything is written by way of the transport."""
        return -1

    def write(self, data: bytes) -> None:
        """Takes bytes."""

    def get_write_buffer_size(self) -> int:
        """Nothing waits."""
        return 0


def message_direct() -> Call:
    """The handler cannot wait, so it is called without a task."""
    return _one_message(False)


def message_task() -> Call:
    """The handler could wait, so it runs in an eager task."""
    if sys.version_info < (3, 12):
        raise RuntimeError("eager tasks came with Python 3.12")
    return _one_message(True)


def _publication(**options: Any) -> Call:
    """From a text to framed bytes in the transports of 100 subscribers, who all offer compression. No socket."""
    from wireloom import App
    from wireloom.net.listener import Listener
    from wireloom.net.websocket import WebSocketShell
    from wireloom.wire.handshake import parse_head

    app = App(**options)

    @app.websocket("/")
    async def nothing(message: str) -> None:
        """Nobody sends anything."""

    loop = asyncio.get_running_loop()
    app.hub.bind(loop)
    listener = Listener(app._doors.websocket, app.hub, app.config, loop)
    [endpoint] = app._doors.websocket
    head = parse_head(b"GET / HTTP/1.1\r\nHost: x\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n")
    for _ in range(100):
        shell = WebSocketShell(listener, listener.plan(endpoint), _Nowhere(), head, set())
        shell.open()
        shell.connection.join("news")
    text = json.dumps([{"id": number, "user": f"user{number}", "text": MESSAGE} for number in range(20)])
    hub, flush = app.hub, app.hub.flusher._flush

    def publish() -> None:
        hub.publish_nowait("news", text)
        flush()

    return publish


def publication_plain() -> Call:
    """Without compression."""
    return _publication()


def publication_compressed() -> Call:
    """Compressed once for all of them."""
    return _publication(compression=True)


def publication_takeover() -> Call:
    """Compressed for each of them."""
    return _publication(compression=True, compression_takeover=True)


@dataclass(frozen=True, slots=True)
class Case:
    """One row: which table it is in, what the report calls it, how to prepare it."""

    table: str
    label: str
    prepare: Callable[[], Call]


TABLES = {  # key: heading, in the report's order
    "decode": "Decode and validate one chat message, in process",
    "message": "Wireloom's own cost of one typed message, socket and frame parsing aside",
    "publication": "Wireloom's own cost of one publication of 1.6 kB for 100 subscribers, sockets aside",
}

CASES: dict[str, Case] = {
    "wireloom": Case("decode", "wireloom", wireloom_decode),
    "pydantic-adapter": Case("decode", "pydantic `TypeAdapter.validate_json`", pydantic_adapter),
    "pydantic-model": Case("decode", "pydantic `Model.model_validate_json`", pydantic_model),
    "msgspec": Case("decode", "msgspec alone", msgspec_decode),
    "json": Case("decode", "`json.loads`, no validation", json_loads),
    "message-direct": Case("message", "wireloom, `async def` without `await`", message_direct),
    "message-task": Case("message", "wireloom, a handler that may wait: eager task", message_task),
    "publication": Case("publication", "wireloom, as it is", publication_plain),
    "publication-compressed": Case("publication", "wireloom, `compression`", publication_compressed),
    "publication-takeover": Case("publication", "wireloom, `compression_takeover`", publication_takeover),
}


def best_seconds(call: Call, seconds: float) -> float:
    """The least time of one call, among batches that fill about `seconds`."""
    timer = timeit.Timer(call, timer=time.process_time)  # CPU time: another process on this core is not our cost
    number = max(1, int(20_000 * 0.02 / max(timer.timeit(200) * 100, 1e-9)))  # batches of some 20 ms
    end = time.perf_counter() + seconds
    best = timer.timeit(number)
    while time.perf_counter() < end:
        best = min(best, timer.timeit(number))
    return best / number


async def main(name: str, seconds: str) -> None:
    """Measures one case inside a running event loop, as eager tasks need it."""
    each = best_seconds(CASES[name].prepare(), float(seconds))
    print(json.dumps({"per_second": 1 / each, "each_us": each * 1e6}))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
