"""The event socket (page 2): every row of the table of errors."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from typing import Any

import jsonschema_rs
import pytest
from tests.faces.events import application, ask, heard, opened

from wireloom.testing import TestServer

pytestmark = pytest.mark.anyio


# -- the table of errors -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "path"),
    [
        ("{", "$"),
        ("", "$"),
        ("nonsense", "$"),
        ('{"type":"connection"} x', "$"),
        ("[]", "$"),
        ('"connection"', "$"),
        ("null", "$"),
        ("1", "$"),
        ('{"type":"nonsense"}', "$.type"),
        ('{"type":"Connection"}', "$.type"),
        ('{"type":null}', "$.type"),
        ('{"type":1}', "$.type"),
        ("{}", "$.type"),
        ('{"root_ids":["a"]}', "$.type"),
        ('{"type":"user"}', "$.root_ids"),
        ('{"type":"channel","data":{}}', "$.channel_ids"),
        ('{"type":"client","root_ids":["a"]}', "$.client_ids"),
        ('{"type":"subscribe"}', "$.channel_ids"),
        ('{"type":"unsubscribe"}', "$.channel_ids"),
        ('{"type":"walker"}', "$.walker"),
        ('{"type":"user","root_ids":[]}', "$.root_ids"),
        ('{"type":"user","root_ids":"a"}', "$.root_ids"),
        ('{"type":"user","root_ids":null}', "$.root_ids"),
        ('{"type":"user","root_ids":["a",1]}', "$.root_ids[1]"),
        ('{"type":"channel","channel_ids":["a"],"data":[]}', "$.data"),
        ('{"type":"channel","channel_ids":["a"],"data":"x"}', "$.data"),
        ('{"type":"channel","channel_ids":["a"],"data":null}', "$.data"),
        ('{"type":"walker","walker":1}', "$.walker"),
        ('{"type":"walker","walker":"double","context":5}', "$.context"),
        ('{"type":"walker","walker":"double","response":"true"}', "$.response"),
        ('{"type":"walker","walker":"double","response":1}', "$.response"),
        ('{"type":"walker","walker":"double","node":5}', "$.node"),
        ('{"type":"change_user","token":5}', "$.token"),
        ('{"type":"connection","id":[1]}', "$.id"),
        ('{"type":"connection","id":true}', "$.id"),
    ],
)
async def test_an_invalid_event_is_told_where_it_is_wrong(event: str, path: str) -> None:
    async with TestServer(application()) as server, AsyncExitStack() as stack:
        ws, _ = await opened(stack, server)
        answer = await ask(ws, event)
        message = answer["error"].pop("message")
        assert answer == {"type": "error", "error": {"code": "INVALID_EVENT", "path": path}}
        assert isinstance(message, str)
        assert message
        await ws.send_bytes(event.encode())
        [text] = await heard(ws)
        assert json.loads(text)["error"] == {"code": "INVALID_EVENT", "message": message, "path": path}


@pytest.mark.parametrize(
    ("event", "answer"),
    [
        (
            {"type": "walker", "walker": "nobody"},
            {"type": "walker", "error": "Invalid request! Please use valid walker event!"},
        ),
        (
            {"type": "walker", "walker": ""},
            {"type": "walker", "error": "Invalid request! Please use valid walker event!"},
        ),
        (
            {"type": "walker", "walker": "mine"},
            {"type": "walker", "error": "Event mine requires to be authenticated!"},
        ),
        ({"type": "user", "root_ids": ["a"]}, {"type": "user", "error": "Not allowed"}),
        ({"type": "channel", "channel_ids": ["a"]}, {"type": "channel", "error": "Not allowed"}),
    ],
)
@pytest.mark.parametrize("response", [False, True])
async def test_refusals_have_the_originals_texts(event: Any, answer: Any, response: bool) -> None:
    async with TestServer(application()) as server, AsyncExitStack() as stack:
        ws, _ = await opened(stack, server)
        assert await ask(ws, {**event, "response": response}) == answer
        assert await ask(ws, {**event, "response": response, "id": "7"}) == {**answer, "id": "7"}


@pytest.mark.parametrize("context", ['{"val":"4"}', '{"val":null}', '{"val":1.5}', '{"val":1e400}', "{}"])
async def test_a_wrong_context_is_told_with_its_path(context: str) -> None:
    async with TestServer(application()) as server, AsyncExitStack() as stack:
        ws, _ = await opened(stack, server)
        answer = await ask(ws, f'{{"type":"walker","walker":"double","context":{context},"id":1}}')
        assert answer["error"].pop("message")
        assert answer == {"type": "walker", "error": {"code": "VALIDATION_ERROR", "path": "$.val"}, "id": 1}


async def test_a_login_that_is_missing_is_told_before_the_context_is_looked_at() -> None:
    async with TestServer(application()) as server, AsyncExitStack() as stack:
        ws, _ = await opened(stack, server)
        answer = await ask(ws, {"type": "walker", "walker": "mine", "context": {"wrong": 1}})
        assert answer == {"type": "walker", "error": "Event mine requires to be authenticated!"}


async def test_a_walker_that_raises_is_told_by_an_id_and_never_by_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    async with TestServer(application(dev=False)) as server, AsyncExitStack() as stack:
        ws, _ = await opened(stack, server)
        answer = await ask(ws, {"type": "walker", "walker": "boom", "id": "e"})
        error_id = answer["error"].pop("id")
        told = {"code": "EXECUTION_ERROR", "message": "Walker execution failed"}
        assert answer == {"type": "walker", "error": told, "id": "e"}
        [record] = [record for record in caplog.records if record.levelname == "ERROR"]
        assert error_id in record.getMessage()
        assert record.exc_info is not None


@pytest.mark.parametrize("event_id", ["x", "", 0, -5, 2**64, 2**80])
async def test_the_id_of_an_event_is_echoed_in_every_error(event_id: Any) -> None:
    async with TestServer(application()) as server, AsyncExitStack() as stack:
        ws, _ = await opened(stack, server)
        for event in (
            {"type": "nonsense"},
            {"no": "type"},
            {"type": "user", "root_ids": []},
            {"type": "user", "root_ids": ["a"], "data": 1},
            {"type": "user", "root_ids": ["a"]},
            {"type": "walker", "walker": "nobody"},
            {"type": "walker", "walker": "mine"},
            {"type": "walker", "walker": "boom"},
            {"type": "walker", "walker": "double", "context": {"val": []}},
        ):
            for sent in ({**event, "id": event_id}, {"id": event_id, **event}):
                answer = await ask(ws, sent)
                assert ("error" in answer, answer.get("id")) == (True, event_id), sent
            assert "id" not in await ask(ws, event)


async def test_the_connection_lives_through_every_error() -> None:
    async with TestServer(application()) as server, AsyncExitStack() as stack:
        ws, data = await opened(stack, server)
        for _ in range(50):
            await ws.send_text("{")
            await ws.send_json({"type": "walker", "walker": "nobody"})
        answers = await heard(ws)
        assert [json.loads(text)["type"] for text in answers] == ["error", "walker"] * 50
        assert (await ask(ws, {"type": "connection"}))["data"] == data


async def test_answers_are_as_documented() -> None:
    app = application()
    [socket] = [row for row in app.describe() if row.path == "/websocket"]
    check = jsonschema_rs.validator_for({**socket.response_schema, "unevaluatedProperties": False})
    async with TestServer(app) as server, server.websocket("/websocket?token=no") as ws:
        check.validate(await ws.receive_json())
        for event in (
            {"type": "subscribe", "channel_ids": ["a"]},
            {"type": "unsubscribe", "channel_ids": ["a"], "id": 1},
            {"type": "change_user", "token": "no"},
        ):
            await ws.send_json(event)
            check.validate(await ws.receive_json())
    assert sorted(socket.response_schema["discriminator"]["mapping"]) == [
        "connection",
        "subscribed",
        "token_expiring",
        "unsubscribed",
    ]
    assert not check.is_valid({"type": "subscribed", "channel_ids": ["a"], "more": 1})
