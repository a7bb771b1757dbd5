"""Page 1, "On the wire": what is refused and what handlers bring about, to the byte."""

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any, TypedDict

import pytest
from tests.faces.wires import application, opened, soon

from wireloom import App, Connection, Disconnect, RequestError
from wireloom.wire.frames import CLOSE, TEXT, mask_frame

pytestmark = pytest.mark.anyio


INVALID = b'{"message":"Invalid JSON","type":"error"}'


WRONG_SHAPE = b'{"error":"Message validation failed"}'


class Reply(TypedDict):
    z: int
    a: str


def errors(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.levelno >= logging.ERROR]


NOT_JSON = ["", " ", "{", "NaN", "[NaN]", "Infinity", '{"text":"a","user":"b"} x', "{}{}", "'a'", "{a:1}", "tru"]


# -- what is refused --------------------------------------------------------------------------------------------------


async def test_what_is_not_json_is_said_to_be(wireloom_server: Any) -> None:
    app, got = application(dev=True)  # details are for shapes, not for syntax
    async with wireloom_server(app) as server:
        for path in ("/chat", "/schema", "/any"):
            async with opened(server, path) as wire:
                for payload in NOT_JSON:
                    wire.send(payload, payload.encode())
                    assert [await wire.frame() for _ in range(2)] == [(0x81, INVALID)] * 2, payload
                assert got == []
                wire.send('{"text":"a","user":"b"}')
                assert (await wire.frame())[1] == b'{"text":"a","user":"b"}'
            got.clear()


async def test_a_binary_frame_that_is_not_utf8_is_not_json(wireloom_server: Any) -> None:
    app, _ = application()
    async with wireloom_server(app) as server, opened(server, "/chat") as wire:
        wire.send(b'{"text":"\xff","user":"b"}')
        assert await wire.frame() == (0x81, INVALID)


@pytest.mark.parametrize("path", ["/chat", "/schema"])
async def test_the_wrong_shape_is_told_without_details(wireloom_server: Any, path: str) -> None:
    app, got = application()
    async with wireloom_server(app) as server, opened(server, path) as wire:
        for payload in ("{}", '{"text":1}', "[]", "1", "null", '"text"'):
            wire.send(payload, payload.encode())
            assert [await wire.frame() for _ in range(2)] == [(0x81, WRONG_SHAPE)] * 2, payload
        assert got == []
        wire.send('{"text":"a","user":"b"}')
        assert (await wire.frame())[1] == b'{"text":"a","user":"b"}'


@pytest.mark.parametrize("options", [{"validation_details": True}, {"dev": True}], ids=str)
async def test_the_wrong_shape_is_told_with_details_where_wanted(wireloom_server: Any, options: dict[str, Any]) -> None:
    app, got = application(**options)
    async with wireloom_server(app) as server:
        async with opened(server, "/chat") as wire:
            wire.send('{"text":"a","user":1}')
            details = b'[{"path":"$.user","message":"Expected `str`, got `int`"}]'
            assert await wire.frame() == (0x81, WRONG_SHAPE[:-1] + b',"details":' + details + b"}")
        async with opened(server, "/schema") as wire:
            wire.send("{}")
            details = b'[{"path":"$","message":"\\"user\\" is a required property"}]'
            assert await wire.frame() == (0x81, WRONG_SHAPE[:-1] + b',"details":' + details + b"}")
    assert got == []


async def test_an_extra_property_is_accepted_unless_the_type_forbids_it(wireloom_server: Any) -> None:
    app, got = application()
    async with wireloom_server(app) as server:
        async with opened(server, "/schema") as wire:
            wire.send('{"user":1,"extra":2}')
            assert await wire.frame() == (0x81, b'{"user":1,"extra":2}')
        async with opened(server, "/closed") as wire:
            wire.send('{"text":"a","extra":2}', '{"text":"a"}')
            assert [await wire.frame() for _ in range(2)] == [(0x81, WRONG_SHAPE), (0x81, b'{"text":"a"}')]
    assert len(got) == 2


async def test_a_binary_frame_on_a_json_endpoint_is_read_as_json(wireloom_server: Any) -> None:
    app, _ = application()
    async with wireloom_server(app) as server, opened(server, "/chat") as wire:
        wire.send('{"text":"é","user":"b"}'.encode())
        assert await wire.frame() == (0x81, '{"text":"é","user":"b"}'.encode())


@pytest.mark.parametrize(("path", "payload", "kind"), [("/text", b"x", "text"), ("/binary", "x", "binary")])
async def test_the_other_kind_of_frame_is_refused_by_a_raw_endpoint(
    wireloom_server: Any, path: str, payload: str | bytes, kind: str
) -> None:
    app, got = application()
    async with wireloom_server(app) as server, opened(server, path) as wire:
        wire.send(payload)
        first, told = await wire.frame()
        assert (first, json.loads(told)) == (
            0x81,
            {"error": f"Expected a {kind} message", "code": "UNSUPPORTED_DATA"},
        )
        wire.send("ok" if kind == "text" else b"ok")
        assert (await wire.frame())[1] == b"ok"
    assert len(got) == 1


# -- what handlers bring about ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["annotation", "response_schema"])
async def test_a_reply_that_breaks_the_response_schema_is_dropped_and_logged(
    wireloom_server: Any, caplog: pytest.LogCaptureFixture, by: str
) -> None:
    app = App()

    @app.websocket("/annotation")
    async def annotated(message: Any) -> Reply:
        return message

    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["z"]}

    @app.websocket("/response_schema", response_schema=schema)
    async def with_schema(message: Any) -> Any:
        return message

    async with wireloom_server(app) as server, opened(server, f"/{by}") as wire:
        wire.send('{"z":1,"a":2}', '{"a":"x"}', '{"z":1,"a":"x"}')
        assert await wire.frame() == (0x81, b'{"z":1,"a":"x"}')  # and nothing for the others
        await wire.nothing()
    first, second = errors(caplog)
    for record in (first, second):
        assert f"websocket /{by}" in record.getMessage()
        assert record.exc_info is None
    assert "$.a" in first.getMessage()
    assert "z" in second.getMessage()


@pytest.mark.parametrize("path", ["/direct", "/waiting", "/raw"])
async def test_a_handler_that_raises_is_told_and_logged_once_with_one_id(
    wireloom_server: Any, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    app = App(dev=True)  # details are never of bugs

    @app.websocket("/direct")
    async def direct(message: Any) -> Any:
        return 1 / message["x"]

    @app.websocket("/waiting")
    async def waiting(message: Any) -> Any:
        await asyncio.sleep(0)
        return 1 / message["x"]

    @app.websocket("/raw")
    async def raw(message: str) -> str:
        return str(1 / json.loads(message)["x"])

    async with wireloom_server(app) as server, opened(server, path) as wire:
        wire.send('{"x":0}')
        first, told = await wire.frame()
        error_id = json.loads(told)["id"]
        assert (first, told) == (0x81, f'{{"error":"Internal error","id":"{error_id}"}}'.encode())
        assert len(error_id) == 12
        (record,) = errors(caplog)
        assert error_id in record.getMessage()
        assert path in record.getMessage()
        assert f"{__file__}:" in record.getMessage()
        assert record.exc_info is not None
        assert record.exc_info[0] is ZeroDivisionError
        wire.send('{"x":0}', '{"x":1}')
        other = json.loads((await wire.frame())[1])["id"]
        assert other != error_id
        assert await wire.frame() == (0x81, b"1.0")
    assert len(errors(caplog)) == 2


async def test_a_reply_without_a_json_form_is_a_bug(wireloom_server: Any, caplog: pytest.LogCaptureFixture) -> None:
    app = App()

    @app.websocket("/json")
    async def json_endpoint(message: Any) -> Any:
        return object() if message else 1

    @app.websocket("/raw")
    async def raw(message: str) -> Any:
        return {"not": "text"}

    async with wireloom_server(app) as server:
        for path in ("/json", "/raw"):
            async with opened(server, path) as wire:
                wire.send("1")
                assert (await wire.frame())[1].startswith(b'{"error":"Internal error","id":"')
    assert len(errors(caplog)) == 2


@pytest.mark.parametrize("path", ["/json", "/raw"])
async def test_a_request_error_is_told_and_is_no_bug(
    wireloom_server: Any, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    app = App()

    @app.websocket("/json")
    async def json_endpoint(message: Any) -> Any:
        raise RequestError("NOT_FOUND", 'No "é" here')

    @app.websocket("/raw")
    async def raw(message: str) -> Any:
        raise RequestError("NOT_FOUND", 'No "é" here')

    async with wireloom_server(app) as server, opened(server, path) as wire:
        wire.send("1")
        assert await wire.frame() == (0x81, '{"error":"No \\"é\\" here","code":"NOT_FOUND"}'.encode())
        wire.send("1")
        assert (await wire.frame())[0] == 0x81
    assert caplog.records == []


UNTELLABLE: list[Callable[[], Exception]] = [
    lambda: RequestError("X", ValueError("not text")),  # type: ignore[arg-type]
    lambda: RequestError("X", "\ud800"),
    lambda: Disconnect(1006),
    lambda: Disconnect(4000, None),  # type: ignore[arg-type]
]


@pytest.mark.parametrize("path", ["/direct", "/waiting"])
@pytest.mark.parametrize(
    "case", range(4), ids=["message not text", "message not UTF-8", "code that must not be sent", "reason not text"]
)
async def test_an_error_that_cannot_be_told_is_a_bug_like_any_other(
    wireloom_server: Any, caplog: pytest.LogCaptureFixture, path: str, case: int
) -> None:
    app = App()

    @app.websocket("/direct")
    async def direct(message: Any) -> Any:
        if message:
            raise UNTELLABLE[case]()
        return "next"

    @app.websocket("/waiting")
    async def waiting(message: Any) -> Any:
        await asyncio.sleep(0)
        if message:
            raise UNTELLABLE[case]()
        return "next"

    async with wireloom_server(app) as server, opened(server, path) as wire:
        wire.send("1", "0")
        assert (await asyncio.wait_for(wire.frame(), 1))[1].startswith(b'{"error":"Internal error","id":"')
        assert await wire.frame() == (0x81, b'"next"')
    assert len(errors(caplog)) == 1


def test_a_disconnect_with_a_code_that_must_not_be_sent_is_told_where_it_is_written() -> None:
    """Like ``Deny(200)``."""
    for code in (0, 999, 1004, 1005, 1006, 1015, 2999, 5000):
        with pytest.raises(ValueError, match=str(code)):
            Disconnect(code)
    for code in (1000, 1008, 3000, 4999):
        assert Disconnect(code).code == code


@pytest.mark.parametrize(
    ("error", "payload"),
    [
        (Disconnect(4001, "é bye"), b"\x0f\xa1" + "é bye".encode()),
        (Disconnect(), b"\x03\xe8"),
        (Disconnect(1008, "é" * 100), b"\x03\xf0" + ("é" * 61).encode()),
    ],
    ids=["code and reason", "neither", "reason too long"],
)
async def test_disconnect_closes_with_its_code_and_reason(
    wireloom_server: Any, caplog: pytest.LogCaptureFixture, error: Disconnect, payload: bytes
) -> None:
    app = App()

    @app.websocket("/")
    async def handler(message: Any, connection: Connection) -> Any:
        connection.send("last words")
        raise error

    async with wireloom_server(app) as server, opened(server, "/") as wire:
        wire.send("1")
        assert await wire.frame() == (0x81, b"last words")
        assert await wire.frame() == (0x88, payload)
        wire.writer.write(mask_frame(CLOSE, payload))
        assert await soon(wire.reader.read()) == b""  # and the server ends TCP
    assert caplog.records == []


async def test_the_clients_close_is_answered_with_its_code(wireloom_server: Any) -> None:
    app, _ = application()
    async with wireloom_server(app) as server:
        for payload in (b"\x0f\xa0bye", b""):
            async with opened(server, "/any") as wire:
                wire.writer.write(mask_frame(TEXT, b"1") + mask_frame(CLOSE, payload))
                assert await wire.frame() == (0x81, b"1")
                first, answer = await wire.frame()
                assert (first, answer[:2]) == (0x88, payload[:2])
                assert await soon(wire.reader.read()) == b""


@pytest.mark.parametrize("way", ["direct", "in one read", "while the handler runs"])
async def test_a_close_of_both_sides_ends_tcp_at_once(wireloom_server: Any, way: str) -> None:
    """The client's close frame has come, if behind the last message: there is nothing to wait for (RFC 6455 §7.1.1)."""
    app, gate, begun = App(), asyncio.Event(), asyncio.Event()

    @app.websocket("/direct")
    async def direct(message: Any, connection: Connection) -> None:
        connection.close(4000)

    @app.websocket("/waiting")
    async def waiting(message: Any, connection: Connection) -> None:
        begun.set()
        await gate.wait()
        connection.close(4000)

    async with wireloom_server(app) as server, opened(server, "/direct" if way == "direct" else "/waiting") as wire:
        message, close = mask_frame(TEXT, b"1"), mask_frame(CLOSE, b"\x03\xe8")
        if way == "while the handler runs":
            wire.writer.write(message)
            await soon(begun.wait())
            wire.writer.write(close)
        else:
            wire.writer.write(message + close)
        if way != "direct":
            await wire.nothing()
            gate.set()
        assert await wire.frame() == (0x88, b"\x0f\xa0")
        assert await asyncio.wait_for(wire.reader.read(), 2) == b""
