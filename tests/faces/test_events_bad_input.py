"""The event socket and whatever a client may send it: one error in the right shape, and the connection lives."""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from wireloom import App
from wireloom.config import Config
from wireloom.core.actions import Actions
from wireloom.core.dispatch import compile_dispatch, run_hook
from wireloom.core.topic import PUBLIC_ROOT_ID
from wireloom.faces.events.policy import allow_guarded, allow_open
from wireloom.faces.events.socket import EventOptions, compile_event_socket
from wireloom.faces.websocket import compile_event, event
from wireloom.hub.backplane import base
from wireloom.hub.backplane.memory import MemoryBackplane
from wireloom.hub.connection import Connection
from wireloom.hub.hub import Hub
from wireloom.hub.outbox import Outbox, OutboxRules
from wireloom.identity.refusal import TokenInvalid
from wireloom.identity.user import User
from wireloom.testing import TestServer
from wireloom.wire.frames import frame_payload, is_text_frame
from wireloom.wire.handshake import RequestHead

quick = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Link:
    """A transport that is only in memory."""

    client = ("127.0.0.1", 1)
    subprotocol = None
    is_open = True
    cancelled = False

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data += data

    def get_write_buffer_size(self) -> int:
        return 0

    def close(self, code: int, reason: str) -> None:
        self.is_open = False

    async def drain(self) -> None: ...


class Socket:
    """The event socket with one process's hub and no network."""

    def __init__(self) -> None:
        self.runner = asyncio.Runner()
        self.hub = Hub()
        self.runner.run(self.hub.start())
        actions = Actions()

        @event("echo")
        async def echo(context: dict[str, Any]) -> Any:
            return context

        actions.add(compile_event(echo, Config(), self.hub))
        options = EventOptions("/websocket", self.allow)
        self.endpoint = compile_event_socket(options, Config(), self.hub, actions, self.authenticate, {})
        self.dispatch = compile_dispatch(self.endpoint)
        self.policy: Any = allow_guarded

    async def authenticate(self, token: str) -> User:
        if token != "good":
            raise TokenInvalid
        return User("u", "n::aaaaaaaaaaaaaaaaaaaaaaaa", "alice")

    async def allow(self, *asked: Any) -> bool:
        return bool(await self.policy(*asked))

    def connect(self, query: str = "channel_id=own") -> Connection:
        """An open connection whose first frame has been read."""
        link: Any = Link()
        outbox = Outbox(link, self.hub.flusher, OutboxRules(1 << 30, "close"), lambda: None)
        connection = Connection(self.endpoint, RequestHead("GET", f"/?{query}", "1.1", b"", []), link, self.hub, outbox)
        self.hub.register(connection)
        assert self.runner.run(run_hook(self.endpoint, "on_connect", connection))
        assert len(self.read(connection)) == 1
        return connection

    def payloads(self, connection: Connection) -> list[bytes]:
        """What has been sent to a connection since."""
        connection.outbox.flush()
        sink: Any = connection.outbox._sink
        data, sink.data, found = sink.data, b"", []
        while data:
            extra = {126: 2, 127: 8}.get(data[1], 0)
            size = 2 + extra + (int.from_bytes(data[2 : 2 + extra], "big") if extra else data[1])
            assert is_text_frame(data[:size])
            found.append(frame_payload(data[:size]))
            data = data[size:]
        return found

    def read(self, connection: Connection) -> list[Any]:
        """What has been sent to a connection since, as JSON."""
        return [json.loads(payload) for payload in self.payloads(connection)]

    def ask(self, connection: Connection, payload: str | bytes) -> list[Any]:
        """All answers to one message."""
        self.runner.run(self.dispatch(connection, payload))
        assert connection.is_open
        return self.read(connection)


@pytest.fixture
def socket() -> Iterator[Socket]:
    socket = Socket()
    yield socket
    socket.runner.run(socket.hub.stop())
    socket.runner.close()


@pytest.fixture
def no_bugs(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


def require_invalid(answers: list[Any], event_id: Any = None) -> None:
    """One INVALID_EVENT in its shape."""
    [answer] = answers
    assert set(answer) == ({"type", "error"} if event_id is None else {"type", "error", "id"}), answer
    assert answer["type"] == "error"
    assert answer.get("id") == event_id
    assert set(answer["error"]) == {"code", "message", "path"}
    assert answer["error"]["code"] == "INVALID_EVENT"
    assert 0 < len(answer["error"]["message"]) <= 300
    assert answer["error"]["path"].startswith("$")
    assert len(answer["error"]["path"]) <= 300


KINDS = ("connection", "walker", "user", "channel", "client", "change_user", "subscribe", "unsubscribe")
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(codec="utf-8")),
)
values = st.recursive(
    scalars, lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(st.characters(codec="utf-8")), inner))
)
ids = st.lists(st.text(st.characters(codec="utf-8"), min_size=1), min_size=1)
VALID = {
    "walker": {"walker": "echo", "context": {"a": 1}, "response": True, "node": None},
    "user": {"root_ids": ["a"], "data": {}},
    "channel": {"channel_ids": ["own"], "data": {}},
    "client": {"client_ids": ["a"], "data": {}},
    "change_user": {"token": "x"},
    "subscribe": {"channel_ids": ["a"]},
    "unsubscribe": {"channel_ids": ["a"]},
}
REQUIRED = {kind: next(iter(fields)) for kind, fields in VALID.items() if kind != "change_user"}


def fits(field: str, value: Any) -> bool:
    """Whether a field may have this value, told independently of the code."""
    if field in ("context", "data"):
        return isinstance(value, dict)
    if field == "response":
        return isinstance(value, bool)
    if field in ("node", "token"):
        return value is None or isinstance(value, str)
    if field == "walker":
        return isinstance(value, str)
    return isinstance(value, list) and bool(value) and all(isinstance(each, str) and each for each in value)


@quick
@given(data=st.data())
def test_a_field_of_the_wrong_kind_is_one_error(socket: Socket, no_bugs: None, data: st.DataObject) -> None:
    connection = socket.connect()
    kind = data.draw(st.sampled_from(sorted(VALID)))
    field = data.draw(st.sampled_from(sorted(VALID[kind])))
    value = data.draw(values.filter(lambda value: not fits(field, value)))
    event_id = data.draw(st.none() | st.text(st.characters(codec="utf-8")) | st.integers(-(2**63), 2**64 - 1))
    sent = {"type": kind, **VALID[kind], field: value, "id": event_id}
    before = socket.hub.publications
    answers = socket.ask(connection, json.dumps(sent, ensure_ascii=data.draw(st.booleans())))
    require_invalid(answers, event_id)
    assert answers[0]["error"]["path"].startswith(f"$.{field}") or "1e" in repr(value) or abs_is_huge(value)
    assert socket.hub.publications == before


def abs_is_huge(value: Any) -> bool:
    """Numbers that no decoder reads may be told at another place."""
    return any(len(part) > 18 for part in repr(value).split())


@pytest.mark.parametrize("kind", REQUIRED)
@pytest.mark.parametrize("payload", [str, str.encode])
def test_a_field_that_is_missing_is_one_error_with_its_path(socket: Socket, kind: str, payload: Any) -> None:
    connection, field = socket.connect(), REQUIRED[kind]
    sent = {"id": 5, "type": kind, **{name: value for name, value in VALID[kind].items() if name != field}}
    answers = socket.ask(connection, payload(json.dumps(sent)))
    require_invalid(answers, 5)
    assert answers[0]["error"]["path"] == f"$.{field}"


@quick
@given(value=values)
@example({"type": ["user"]})
@example({"type": {"type": "user"}})
@example([{"type": "connection"}])
def test_any_json_that_is_no_event_is_one_error(socket: Socket, no_bugs: None, value: Any) -> None:
    if isinstance(value, dict) and value.get("type") in KINDS:
        return
    event_id = value.get("id") if isinstance(value, dict) else None
    simple = isinstance(event_id, (str, int)) and not isinstance(event_id, bool)
    require_invalid(socket.ask(socket.connect(), json.dumps(value)), event_id if simple else None)


@quick
@given(payload=st.text(st.characters(codec="utf-8")) | st.binary())
@example(b"\xff\xfe")
@example(b'\xef\xbb\xbf{"type":"connection"}')
@example(b'{"type":"connection","x":"\xff"}')
@example(b'{"type":"connection"}\x00')
@example('{"type":"connection","x":NaN}')
@example('{"type":"connection","x":"\\ud800"}')
@example("{'type':'connection'}")
@example('{"type":"connection",}')
@example("")
def test_what_is_not_json_is_one_error(socket: Socket, no_bugs: None, payload: str | bytes) -> None:
    try:
        json.loads(payload if isinstance(payload, str) else str(payload, "utf-8"))
    except ValueError:
        pass
    else:
        if "NaN" not in str(payload) and "ud800" not in str(payload):
            return
    require_invalid(socket.ask(socket.connect(), payload))


@quick
@given(kind=st.sampled_from(KINDS), fields=st.dictionaries(st.sampled_from(
    ["walker", "context", "response", "node", "root_ids", "channel_ids", "client_ids", "data", "token", "id", "x"]
), st.one_of(values, ids, st.just({}), st.just("echo"), st.just("good"), st.just(["own"]))))  # fmt: skip
def test_any_event_is_answered_in_some_known_shape_or_not_at_all(
    socket: Socket, no_bugs: None, kind: str, fields: dict[str, Any]
) -> None:
    connection = socket.connect()
    answers = socket.ask(connection, json.dumps({"type": kind, **fields}))
    mine = fields.get("data", {})
    answers = [answer for answer in answers if answer != mine]
    assert len(answers) <= 1
    for answer in answers:
        assert answer.get("status") == 200 or answer["type"] in ("connection", "subscribed", "unsubscribed") or (
            "error" in answer and (answer["type"] in ("error", kind))
        )  # fmt: skip
    assert socket.ask(connection, '{"type":"connection","id":1}')[0]["id"] == 1


@pytest.mark.parametrize("depth", [100, 1000, 10_000, 400_000])
@pytest.mark.parametrize("opening", ["[", '{"a":'])
@pytest.mark.parametrize("field", ["x", "data", "context", "id", "channel_ids", "type"])
def test_deep_nesting_is_an_error_or_data(socket: Socket, no_bugs: None, depth: int, opening: str, field: str) -> None:
    connection, closing = socket.connect(), "]" if opening == "[" else "}"
    nested = opening * depth + "1" + closing * depth
    inner = f'{{"a":{nested}}}' if field in ("data", "context") else nested
    ids = "" if field == "channel_ids" else '"channel_ids":["own"],'
    kind = "" if field == "type" else f'"type":"{"walker" if field == "context" else "channel"}","walker":"echo",'
    text = f'{{{kind}{ids}"{field}":{inner}}}'
    socket.runner.run(socket.dispatch(connection, text))
    payloads = socket.payloads(connection)
    assert len(payloads) <= 1
    for payload in payloads:
        assert payload in (inner.encode(), b"{}") or b'"error":{"code":' in payload
        assert b"INTERNAL" not in payload
        assert b"EXECUTION" not in payload
    assert len(socket.ask(connection, '{"type":"connection"}')) == 1


def test_ids_have_bounds_and_a_large_id_of_an_event_is_echoed(socket: Socket, no_bugs: None) -> None:
    connection = socket.connect()
    socket.policy = allow_open

    def channel(names: list[str]) -> list[Any]:
        return socket.ask(connection, json.dumps({"type": "channel", "channel_ids": names, "data": {}}))

    assert channel(["x" * 1000]) == []
    require_invalid(channel(["x" * 1001]))
    require_invalid(channel([""]))
    assert channel([f"{n}" for n in range(1000)]) == []
    require_invalid(channel([f"{n}" for n in range(1001)]))
    for event_id in ("x" * 900_000, 10**400):
        answers = socket.ask(connection, json.dumps({"type": "connection", "id": event_id}))
        assert [answer["id"] for answer in answers] == [event_id]
        require_invalid(socket.ask(connection, json.dumps({"type": "nonsense", "id": event_id})), event_id)


# -- nobody learns whether an id is somebody's -------------------------------------------------------------------------


class CountingBackplane(MemoryBackplane):
    """Counts what it is asked to do."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def publish(self, publication: base.Publication) -> None:
        self.calls.append("publish")

    async def drain(self) -> None:
        self.calls.append("drain")

    async def settle(self) -> None:
        self.calls.append("settle")


@pytest.mark.parametrize("kind", ["user", "channel", "client"])
@pytest.mark.parametrize("count", [1, 3])
def test_an_id_that_exists_costs_the_same_work_and_answer_as_one_that_does_not(
    socket: Socket, monkeypatch: pytest.MonkeyPatch, kind: str, count: int
) -> None:
    socket.policy = allow_open
    sender = socket.connect()
    others = [socket.connect(f"channel_id=room{number}") for number in range(count)]
    for number, other in enumerate(others):
        other.change_user(User("u", f"n::{number + 10:024x}", "alice"))
    found = {
        "user": [other.root_id for other in others],
        "channel": [f"room{number}" for number in range(count)],
        "client": [other.client_id for other in others],
    }[kind]
    missing = [f"{name}-" for name in found]
    field = "root_ids" if kind == "user" else f"{kind}_ids"
    backplane = socket.hub.backplane = CountingBackplane()
    made: list[bytes] = []
    real = base.text_frame
    monkeypatch.setattr(base, "text_frame", lambda payload: made.append(payload) or real(payload))  # type: ignore[func-returns-value]

    def cost(names: list[str]) -> tuple[Any, ...]:
        made.clear()
        backplane.calls.clear()
        before = socket.hub.publications
        answers = socket.ask(sender, json.dumps({"type": kind, field: names, "data": {"n": 1}, "id": 1}))
        return answers, len(made), backplane.calls[:], socket.hub.publications - before

    assert cost(missing) == cost(found) == ([], 1, ["publish"] * count + ["drain"], count)
    assert [socket.read(other) for other in others] == [[{"n": 1}]] * count


@pytest.mark.parametrize("kind", ["user", "channel"])
def test_a_refusal_does_not_tell_either(socket: Socket, kind: str) -> None:
    sender, other = socket.connect(), socket.connect("channel_id=room")
    other.change_user(User("u", "n::bbbbbbbbbbbbbbbbbbbbbbbb", "bob"))
    field = "root_ids" if kind == "user" else "channel_ids"
    answers = [
        socket.ask(sender, json.dumps({"type": kind, field: [name]}))
        for name in ("room", "nobody's", other.root_id, "n::cccccccccccccccccccccccc", PUBLIC_ROOT_ID)
    ]
    assert answers == [[{"type": kind, "error": "Not allowed"}]] * 5
    assert socket.read(other) == []


def test_joining_and_leaving_do_not_tell_who_else_is_there(socket: Socket) -> None:
    socket.connect("channel_id=room")
    connection = socket.connect()
    for kind, told in (("subscribe", "subscribed"), ("unsubscribe", "unsubscribed")):
        for name in ("room", "nobody's"):
            answers = socket.ask(connection, json.dumps({"type": kind, "channel_ids": [name]}))
            assert answers == [{"type": told, "channel_ids": [name]}]


# -- live --------------------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_live_connection_answers_each_of_many_bad_messages_once_and_in_order() -> None:
    chance = random.Random(20_240_611)
    bad: list[str | bytes] = ["{", "[]", '{"type":"nonsense"}', '{"type":"user","root_ids":[]}', b"\xff\xff", b""]
    bad += [chance.randbytes(chance.randrange(1, 200)) for _ in range(300)]
    bad += ["[" * chance.randrange(1, 50_000) for _ in range(20)]
    app = App(database="sqlite://")
    app.events()
    async with TestServer(app) as server, server.websocket("/websocket") as ws:
        await ws.receive_json()
        for number, payload in enumerate(bad):
            await (ws.send_text(payload) if isinstance(payload, str) else ws.send_bytes(payload))
            await ws.send_json({"type": "connection", "id": number})
        for number in range(len(bad)):
            answer = await ws.receive_json()
            assert (answer["type"], answer["error"]["code"]) == ("error", "INVALID_EVENT")
            assert (await ws.receive_json())["id"] == number
