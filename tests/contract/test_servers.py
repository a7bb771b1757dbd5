"""One behaviour on four carriers: our own port, uvicorn's and hypercorn's own WebSockets, and inside FastAPI.

The client is the `websockets` package, so that both ends are not ours.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from wireloom.testing import TestServer

from .serving import make_app

pytestmark = pytest.mark.anyio

_HERE = Path(__file__).parent
_COMMANDS = {
    "uvicorn": ["uvicorn", "serving:app", "--port", "0", "--no-access-log"],
    "hypercorn": ["hypercorn", "serving:app", "--bind", "127.0.0.1:0"],
    "fastapi": ["uvicorn", "hosting:host", "--port", "0", "--no-access-log"],
}
_LISTENING = re.compile(r"unning on http://127\.0\.0\.1:(\d+)")


class Carrier:
    """Where the application is reached."""

    def __init__(self, name: str, address: str) -> None:
        self.name = name
        self.address = address

    @property
    def http(self) -> str:
        return f"http://{self.address}"

    def connect(self, path: str, **options: Any) -> connect:
        """A client of one endpoint."""
        return connect(f"ws://{self.address}{path}", proxy=None, max_size=None, **options)


class _Process:
    """A server in a process of its own; its log is read by a thread so that it never waits for us."""

    def __init__(self, command: list[str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=_HERE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.log: list[str] = []
        self.port = 0
        self._listening = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self.log.append(line)
                if match := _LISTENING.search(line):
                    self.port = int(match[1])
                    self._listening.set()
        self._listening.set()

    def wait(self) -> int:
        if not self._listening.wait(20) or not self.port:
            self.stop()
            raise AssertionError("the server did not start:\n" + "".join(self.log))
        return self.port

    def stop(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)  # hypercorn serves from a child of its own
        self._process.wait(5)
        self._thread.join(5)


@pytest.fixture(scope="module")
def processes() -> Iterator[dict[str, _Process]]:
    """All servers, started together."""
    started = {name: _Process(command) for name, command in _COMMANDS.items()}
    yield started
    for process in started.values():
        process.stop()


@pytest.fixture(params=["own", *_COMMANDS])
def carrier(request: pytest.FixtureRequest) -> Any:
    """Each of the carriers, as an asynchronous context manager."""
    name: str = request.param

    @asynccontextmanager
    async def enter() -> AsyncIterator[Carrier]:
        if name == "own":
            async with TestServer(make_app()) as server:
                yield Carrier(name, f"127.0.0.1:{server.port}")
        else:
            port = request.getfixturevalue("processes")[name].wait()
            yield Carrier(name, f"127.0.0.1:{port}" + ("/rt" if name == "fastapi" else ""))

    return enter()


async def heard(ws: ClientConnection, seconds: float = 5) -> Any:
    """The next message, as a value when it is JSON text."""
    async with asyncio.timeout(seconds):
        message = await ws.recv()
    return json.loads(message)


async def hear_until(ws: ClientConnection, wanted: Any, seconds: float = 5) -> list[Any]:
    """All messages up to and with the one that is wanted."""
    found = []
    async with asyncio.timeout(seconds):
        while not found or found[-1] != wanted:
            found.append(json.loads(await ws.recv()))
    return found


async def end_of(ws: ClientConnection, seconds: float = 5) -> tuple[int, str]:
    """Code and reason of the server's close."""
    async with asyncio.timeout(seconds):
        await ws.wait_closed()
    return ws.close_code or 0, ws.close_reason or ""


_names = (f"watcher{number}" for number in range(10_000))


@asynccontextmanager
async def watcher(carrier: Carrier) -> AsyncIterator[ClientConnection]:
    """A client in the lobby, where the application tells what it does."""
    name = next(_names)
    async with carrier.connect(f"/lobby/{name}") as ws:
        await hear_until(ws, {"joined": name})
        yield ws


async def refusal(carrier: Carrier, path: str, **options: Any) -> Any:
    with pytest.raises(InvalidStatus) as caught:
        async with carrier.connect(path, **options):
            pass
    return caught.value.response


# -- messages --------------------------------------------------------------------------------------------------------


async def test_typed_messages_with_everything_that_a_handler_asks_for(carrier: Any) -> None:
    target, headers = "/chat/r%C3%A4um%2F1/41?limit=6", {"X-Marker": "m"}
    async with carrier as server, server.connect(target, additional_headers=headers) as ws:
        await ws.send('{"text":"Grüße","user":"Ünal"}')
        assert await heard(ws) == {
            "echo": "Grüße",
            "from": "Ünal",
            "room": "räum/1",
            "number": 42,
            "limit": 7,
            "subprotocol": None,
            "marker": "m",
            "has_client": True,
        }


async def test_error_shapes(carrier: Any) -> None:
    async with carrier as server, server.connect("/chat/a/1") as ws:
        for bad in ("{", "", "NaN", '{"text":"a","user":"b"} x'):
            await ws.send(bad)
            assert await heard(ws) == {"message": "Invalid JSON", "type": "error"}, bad
        for bad in ('{"text":"a"}', '{"text":1,"user":"b"}', "[]"):
            await ws.send(bad)
            assert await heard(ws) == {"error": "Message validation failed"}, bad
        await ws.send('{"text":"refuse","user":"b"}')
        assert await heard(ws) == {"error": "not now", "code": "NOT_NOW"}
        await ws.send('{"text":"bug","user":"b"}')
        bug = await heard(ws)
        assert bug == {"error": "Internal error", "id": bug["id"]}
        assert re.fullmatch("[0-9a-f]{12}", bug["id"])
        await ws.send(b'{"text":"binary frames are JSON","user":"b"}')
        assert (await heard(ws))["echo"] == "binary frames are JSON"


async def test_replies_are_compact_text(carrier: Any) -> None:
    async with carrier as server, server.connect("/lobby/compact") as ws:
        async with asyncio.timeout(5):
            assert await ws.recv() == '{"joined":"compact"}'


async def test_text_and_bytes_go_through_as_they_are(carrier: Any) -> None:
    async with carrier as server:
        async with server.connect("/text") as ws:
            for message in ("", "ü", "x" * 90_000, '{"not": "parsed"'):
                await ws.send(message)
                async with asyncio.timeout(5):
                    assert await ws.recv() == message
        async with server.connect("/bytes") as ws:
            for data in (b"", b"\x00\xff", bytes(range(256)) * 300):
                await ws.send(data)
                async with asyncio.timeout(5):
                    assert await ws.recv() == data[::-1]


async def test_fragments_are_one_message(carrier: Any) -> None:
    async with carrier as server, server.connect("/text") as ws:
        await ws.send(["one ", "whole ", "message"])
        async with asyncio.timeout(5):
            assert await ws.recv() == "one whole message"


async def test_many_messages_keep_their_order(carrier: Any) -> None:
    async with carrier as server, server.connect("/text") as ws:
        messages = [f"{number} {'x' * (number * 7 % 500)}" for number in range(500)]

        async def send() -> None:
            for message in messages:
                await ws.send(message)

        sending = asyncio.create_task(send())
        async with asyncio.timeout(10):
            assert [await ws.recv() for _ in messages] == messages
        await sending


async def test_a_slow_handler_keeps_the_order(carrier: Any) -> None:
    async with carrier as server, server.connect("/slow") as ws:
        for seconds in ("0.1", "0.0", "0.05", "0.0"):
            await ws.send(seconds)
        assert [await heard(ws) for _ in range(4)] == [0.1, 0.0, 0.05, 0.0]


async def test_a_stream_sends_every_value_and_then_the_next_message_is_handled(carrier: Any) -> None:
    async with carrier as server, server.connect("/stream/a") as ws:
        await ws.send("5")
        await ws.send("2")
        assert [await heard(ws) for _ in range(7)] == [0, 1, 2, 3, 4, 0, 1]


async def test_leaving_cancels_a_stream(carrier: Any) -> None:
    async with carrier as server, watcher(server) as lobby:
        async with server.connect("/stream/left") as ws:
            await ws.send("3")
            assert [await heard(ws) for _ in range(3)] == [0, 1, 2]
        await hear_until(lobby, {"stream ended": "left"})
        ws = await server.connect("/stream/lost")
        await ws.send("3")
        assert [await heard(ws) for _ in range(3)] == [0, 1, 2]
        ws.transport.abort()
        await hear_until(lobby, {"stream ended": "lost"})


async def test_publications_reach_everybody_in_order(carrier: Any) -> None:
    async with carrier as server, watcher(server) as lobby, server.connect("/lobby/other") as other:
        await hear_until(lobby, {"joined": "other"})
        assert await heard(other) == {"joined": "other"}
        for number in range(50):
            await other.send(f"{number}")
        for ws in (lobby, other):
            for number in range(50):
                assert await heard(ws) == {"from": "other", "text": f"{number}"}


# -- handshakes ------------------------------------------------------------------------------------------------------


async def test_an_unknown_path_is_404(carrier: Any) -> None:
    async with carrier as server:
        response = await refusal(server, "/nowhere")
        assert response.status_code == 404
        assert json.loads(response.body)["error"] == "Not Found"


async def test_a_path_parameter_that_does_not_convert_is_404_and_a_query_parameter_400(carrier: Any) -> None:
    async with carrier as server:
        assert (await refusal(server, "/chat/a/x")).status_code == 404
        assert (await refusal(server, "/chat/a/1?limit=x")).status_code == 400


async def test_a_foreign_origin_is_403(carrier: Any) -> None:
    async with carrier as server:
        response = await refusal(server, "/text", origin="http://evil.example")
        assert response.status_code == 403
        host = server.address.partition("/")[0]
        async with server.connect("/text", origin=f"http://{host}") as ws:
            await ws.send("mine")
            async with asyncio.timeout(5):
                assert await ws.recv() == "mine"


async def test_a_handshake_hook_refuses_with_status_headers_and_body(carrier: Any) -> None:
    async with carrier as server:
        response = await refusal(server, "/guarded")
        assert response.status_code == 451
        assert response.headers["X-Reason"] == "law"
        assert json.loads(response.body) == {"error": "not for you", "name": "Ünal"}
        async with server.connect("/guarded?let=me") as ws:
            await ws.send("in")
            async with asyncio.timeout(5):
                assert await ws.recv() == "in"


async def test_the_subprotocol_is_the_endpoints_first_choice(carrier: Any) -> None:
    async with carrier as server:
        choices = (["chat.v1"], "chat.v1"), (["chat.v1", "chat.v2"], "chat.v2"), (["other"], None)
        for offered, chosen in choices:
            async with server.connect("/chat/a/1", subprotocols=offered) as ws:
                assert ws.subprotocol == chosen
                await ws.send('{"text":"","user":""}')
                assert (await heard(ws))["subprotocol"] == chosen


async def test_plain_http(carrier: Any) -> None:
    import httpx

    async with carrier as server, httpx.AsyncClient(timeout=5) as http:
        reply = await http.get(f"{server.http}/text")
        assert reply.status_code == 426
        assert reply.headers["upgrade"] == "websocket"
        assert (await http.get(f"{server.http}/healthz/live")).json() == {"status": "ok"}
        assert (await http.get(f"{server.http}/healthz/ready")).json() == {"status": "ready", "backplane": "ok"}
        reply = await http.get(f"{server.http}/nowhere")
        assert (reply.status_code, reply.json()["error"]) == (404, "Not Found")
        if server.name == "fastapi":
            reply = await http.get(server.http.removesuffix("/rt") + "/hello")
            assert reply.json() == {"hello": "from the host"}


async def test_metrics_count_the_same(carrier: Any) -> None:
    import httpx
    from prometheus_client.parser import text_string_to_metric_families

    async with carrier as server, httpx.AsyncClient(timeout=5) as http:

        async def counted() -> dict[tuple[str, str], float]:
            answer = await http.get(f"{server.http}/metrics")
            assert answer.status_code == 200
            return {
                (sample.name, sample.labels.get("code", "")): sample.value
                for family in text_string_to_metric_families(answer.text)
                for sample in family.samples
                if sample.labels.get("endpoint") == "/bytes"
            }

        before = await counted()
        async with server.connect("/bytes") as ws:
            for data in (b"one", b"three"):
                await ws.send(data)
                async with asyncio.timeout(5):
                    await ws.recv()
            during = await counted()
        async with asyncio.timeout(5):
            # by which code it has ended, every server tells in its own way
            while ended(after := await counted()) == ended(before):
                pass
        names = "connections", "connections_opened_total", "messages_received_total", "messages_sent_total"
        grown = [during[f"wireloom_{name}", ""] - before[f"wireloom_{name}", ""] for name in names]
        assert grown == [1, 1, 2, 2]
        timed = "wireloom_handler_seconds_count", ""
        assert during[timed] - before[timed] == 2
        frames = "wireloom_sent_bytes_total", ""
        assert during[frames] - before[frames] == 2 + 3 + 2 + 5
        came = "wireloom_received_bytes_total", ""
        # another server hands over no frames, only what is in them
        assert during[came] - before[came] == (8 if server.name != "own" else 8 + 2 * 6)
        assert after["wireloom_connections", ""] == before["wireloom_connections", ""]


def ended(counted: dict[tuple[str, str], float]) -> float:
    """Connections that have ended, whatever their close code."""
    return sum(value for (name, _), value in counted.items() if name == "wireloom_connections_closed_total")


# -- hooks and ends --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["close", "abort"])
async def test_on_connect_comes_first_and_on_disconnect_last_and_once(carrier: Any, how: str) -> None:
    async with carrier as server, watcher(server) as lobby:
        ws = await server.connect("/lobby/guest")
        await ws.send("hello")
        story = [{"joined": "guest"}, {"from": "guest", "text": "hello"}]
        assert await hear_until(lobby, story[-1]) == story
        if how == "close":
            await ws.close()
        else:
            ws.transport.abort()
        assert await heard(lobby) == {"left": "guest", "open": False}
        await lobby.send("nothing between")
        assert (await heard(lobby))["text"] == "nothing between"


async def test_a_client_closes_with_its_own_code(carrier: Any) -> None:
    async with carrier as server:
        for code, reason in ((1000, ""), (3001, "ende ü")):
            async with server.connect("/text") as ws:
                await ws.close(code, reason)
                assert await end_of(ws) == (code, reason)


async def test_the_server_closes_with_code_and_reason(carrier: Any) -> None:
    async with carrier as server, server.connect("/leave/a") as ws:
        await ws.send("go")
        assert await end_of(ws) == (4321, "good bye ü")


async def test_what_was_sent_before_the_close_arrives(carrier: Any) -> None:
    async with carrier as server, server.connect("/leave/a") as ws:
        await ws.send("burst")
        found = []
        async with asyncio.timeout(5):
            with pytest.raises(ConnectionClosed):
                while True:
                    found.append(int((await ws.recv()).split()[0]))
        assert found == list(range(100))
        assert await end_of(ws) == (4321, "good bye ü")


async def test_no_message_is_handled_after_a_handler_has_disconnected(carrier: Any) -> None:
    async with carrier as server, watcher(server) as lobby, server.connect("/leave/a") as ws:
        async with ws.send_context():  # three frames in one segment
            for message in ("first", "second", "third"):
                ws.protocol.send_text(message.encode())
        assert await end_of(ws) == (4321, "good bye ü")
        await lobby.send("and no more")
        story = await hear_until(lobby, {"from": lobby_name(lobby), "text": "and no more"})
        assert [entry["handled"] for entry in story if "handled" in entry] == ["first"]


async def test_no_message_is_handled_when_on_connect_refuses(carrier: Any) -> None:
    async with carrier as server, watcher(server) as lobby, server.connect("/unwelcome") as ws:
        await ws.send("anybody there?")
        assert await end_of(ws) == (4001, "not you")
        await lobby.send("and no more")
        story = await hear_until(lobby, {"from": lobby_name(lobby), "text": "and no more"})
        assert not [entry for entry in story if "handled" in entry]


def lobby_name(ws: ClientConnection) -> str:
    assert ws.request is not None
    return ws.request.path.rpartition("/")[2]


async def test_a_message_above_the_limit_ends_with_1009(carrier: Any) -> None:
    async with carrier as server:
        for message in ("x" * 100_001, "ü" * 60_000):  # the limit is in bytes
            async with server.connect("/text") as ws:
                await ws.send(message)
                code, _ = await end_of(ws, 2)
                assert code == 1009


def test_nothing_is_logged_but_the_bugs(processes: dict[str, _Process]) -> None:
    """Runs last: the servers' logs hold the KeyError of the error shapes and no other traceback."""
    for name, process in processes.items():
        errors = [line for line in process.log if re.match(r"\w*(Error|Exception|Group)\b", line)]
        assert [line for line in errors if "KeyError: 'secret'" not in line] == [], name
        assert not [line for line in process.log if "never retrieved" in line], name
