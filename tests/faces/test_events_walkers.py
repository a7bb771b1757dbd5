"""`@app.event`: functions that clients of the event socket call by name."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict

import msgspec
import pytest

from wireloom import (
    App,
    ConfigError,
    Connection,
    ConnectionClosed,
    Deny,
    Disconnect,
    EventHandler,
    Hub,
    Provide,
    Query,
    Request,
    RequestError,
    event,
    notify,
    websocket,
)
from wireloom.core.endpoint import Door
from wireloom.identity.login import Login
from wireloom.testing import TestServer, TestWebSocket

pytestmark = pytest.mark.anyio


class Order(TypedDict):
    count: int


@dataclass
class Point:
    x: int
    y: int = 2


async def register(app: App, name: str = "alice") -> Login:
    assert app.identity is not None
    return await app.identity.register({"username": name}, "password1")


def application() -> App:
    app = App(database="sqlite://")
    app.events()
    return app


async def opened(stack: AsyncExitStack, server: TestServer, login: Login | None = None, query: str = "") -> Any:
    """A connection and the data of its first frame."""
    headers = {"Authorization": f"Bearer {login.token}"} if login is not None else {}
    ws = await stack.enter_async_context(server.websocket(f"/websocket{query}", headers=headers))
    return ws, (await ws.receive_json())["data"]


async def heard(ws: TestWebSocket) -> list[Any]:
    """Everything that came before the answer to an event sent now."""
    await ws.send_json({"type": "connection", "id": "so far"})
    values: list[Any] = []
    while (value := await ws.receive_json()).get("id") != "so far":
        values.append(value)
    return values


async def run(ws: TestWebSocket, walker: str, context: Any = None, response: bool = True) -> list[Any]:
    """Everything that one walker event brings."""
    told = {} if context is None else {"context": context}
    await ws.send_json({"type": "walker", "walker": walker, "response": response, **told})
    return await heard(ws)


async def reports(app: App, walker: str, context: Any = None) -> Any:
    """The answer to one walker event of a public connection."""
    async with TestServer(app) as server, AsyncExitStack() as stack:
        ws, _ = await opened(stack, server)
        [answer] = await run(ws, walker, context)
        return answer


# -- context and reports -----------------------------------------------------------------------------------------------


async def test_the_context_reaches_the_function_typed() -> None:
    app, got = application(), []

    @app.event()
    async def place(point: Point) -> Point:
        got.append(point)
        return Point(point.y, point.x)

    assert await reports(app, "place", {"x": 1}) == {"status": 200, "reports": [{"x": 2, "y": 1}]}
    assert got == [Point(1, 2)]


async def test_an_answer_is_given_only_where_it_is_asked_for_and_errors_always() -> None:
    app, ran = application(), []

    @app.event()
    async def count(order: Order) -> int:
        ran.append(order["count"])
        return order["count"]

    async with TestServer(app) as server, AsyncExitStack() as stack:
        ws, _ = await opened(stack, server)
        assert await run(ws, "count", {"count": 1}) == [{"status": 200, "reports": [1]}]
        assert await run(ws, "count", {"count": 2}, response=False) == []
        await ws.send_json({"type": "walker", "walker": "count", "context": {"count": 3}})
        assert await heard(ws) == []
        assert ran == [1, 2, 3]
        [error] = await run(ws, "count", {"count": "4"}, response=False)
        assert error["error"]["code"] == "VALIDATION_ERROR"
        assert ran == [1, 2, 3]


async def test_the_bytes_of_an_answer() -> None:
    app = application()

    @app.event()
    async def say(context: dict[str, Any]) -> str:
        return "ü"

    async with TestServer(app) as server, AsyncExitStack() as stack:
        ws, _ = await opened(stack, server)
        await ws.send_json({"type": "walker", "walker": "say", "response": True, "id": "a"})
        assert await ws.receive_text() == '{"status":200,"reports":["ü"],"id":"a"}'
        await ws.send_json({"type": "walker", "walker": "say", "response": True})
        assert await ws.receive_text() == '{"status":200,"reports":["ü"]}'


@pytest.mark.parametrize(
    ("value", "expected"), [(None, []), ([], [[]]), ([1, 2], [[1, 2]]), (0, [0]), ("", [""]), (False, [False])]
)
async def test_what_is_returned_is_one_report_and_none_is_no_report(value: Any, expected: Any) -> None:
    app = application()

    @app.event("give")
    async def give() -> Any:
        return value

    assert await reports(app, "give") == {"status": 200, "reports": expected}


async def test_a_stream_gives_one_answer_with_all_reports() -> None:
    app, ended = application(), []

    @app.event()
    async def upto(order: Order) -> AsyncIterator[int | None]:
        try:
            for number in range(order["count"]):
                await asyncio.sleep(0)
                yield number
                yield None
        finally:
            ended.append(order["count"])

    async with TestServer(app) as server, AsyncExitStack() as stack:
        ws, _ = await opened(stack, server)
        assert await run(ws, "upto", {"count": 3}) == [{"status": 200, "reports": [0, 1, 2]}]
        assert await run(ws, "upto", {"count": 0}) == [{"status": 200, "reports": []}]
        assert await run(ws, "upto", {"count": 2}, response=False) == []
        assert ended == [3, 0, 2]


async def test_a_context_that_is_missing_is_an_empty_object() -> None:
    app, got = application(), []

    @app.event()
    async def take(context: dict[str, Any]) -> None:
        got.append(context)

    assert (await reports(app, "take"))["reports"] == []
    assert got == [{}]


async def test_a_function_without_a_message_takes_any_context() -> None:
    app = application()

    @app.event()
    async def ping() -> str:
        return "pong"

    assert (await reports(app, "ping", {"whatever": [1]}))["reports"] == ["pong"]


async def test_schemas_decide_where_they_are_given() -> None:
    app = application()
    schema = {"type": "object", "properties": {"n": {"type": "integer", "maximum": 3}}, "required": ["n"]}

    @app.event("checked", message_schema=schema, response_schema={"type": "integer", "maximum": 2})
    async def checked(context: Any) -> int:
        return int(context["n"])

    async with TestServer(app) as server, AsyncExitStack() as stack:
        ws, _ = await opened(stack, server)
        assert await run(ws, "checked", {"n": 2}) == [{"status": 200, "reports": [2]}]
        [error] = await run(ws, "checked", {"n": 4})
        assert (error["error"]["code"], error["error"]["path"]) == ("VALIDATION_ERROR", "$.n")
        [error] = await run(ws, "checked", {"n": 3})  # the reply is what breaks its schema: that is a bug here
        assert error["error"]["code"] == "EXECUTION_ERROR"


# -- who may -----------------------------------------------------------------------------------------------------------


async def test_auth_true_asks_for_a_login_before_anything_is_decoded() -> None:
    app, ran = application(), []

    @app.event(auth=True)
    async def mine(order: Order, request: Request, connection: Connection) -> str:
        ran.append(order)
        assert request.user is connection.user
        return str(request.user.username)

    async with TestServer(app) as server, AsyncExitStack() as stack:
        ws, _ = await opened(stack, server)
        refusal = {"type": "walker", "error": "Event mine requires to be authenticated!"}
        assert await run(ws, "mine", {"count": 1}) == [refusal]
        assert await run(ws, "mine", {"count": "wrong"}, response=False) == [refusal]
        login = await register(app)
        await ws.send_json({"type": "change_user", "token": login.token})
        assert (await heard(ws))[0]["data"]["root_id"] == login.user.root_id
        assert await run(ws, "mine", {"count": 1}) == [{"status": 200, "reports": ["alice"]}]
        assert app.identity is not None
        await app.identity.logout(login.user)
        assert (await run(ws, "mine", {"count": 1}))[-1] == refusal
        assert len(ran) == 1


async def test_auth_may_be_a_function_that_denies() -> None:
    app, asked = application(), []

    async def gate(request: Request) -> Any:
        asked.append(request.connection.query.get("channel_id"))
        if asked[-1] != "open":
            raise Deny(401 if asked[-1] == "shut" else 403, "Not you")
        return None

    @app.event(auth=gate)
    async def gated() -> str:
        return "in"

    async with TestServer(app) as server, AsyncExitStack() as stack:
        inside, _ = await opened(stack, server, query="?channel_id=open")
        outside, _ = await opened(stack, server, query="?channel_id=shut")
        assert await run(inside, "gated") == [{"status": 200, "reports": ["in"]}]
        refusal = {"type": "walker", "error": "Event gated requires to be authenticated!"}
        assert await run(outside, "gated") == [refusal]
        elsewhere, _ = await opened(stack, server, query="?channel_id=elsewhere")
        refusal = {"type": "walker", "error": {"code": "FORBIDDEN", "message": "Not you"}}
        assert await run(elsewhere, "gated") == [refusal]
        assert asked == ["open", "shut", "elsewhere"]


# -- parameters --------------------------------------------------------------------------------------------------------


async def test_parameters_are_provided_as_to_any_handler() -> None:
    app, log = application(), []

    async def session(connection: Connection) -> AsyncIterator[str]:
        log.append("begin")
        yield f"session of {connection.client_id}"
        log.append("end")

    @app.event()
    async def all_of_them(
        connection: Connection, request: Request, hub: Hub, order: Order, db: Annotated[str, Provide(session)]
    ) -> dict[str, Any]:
        log.append("run")
        assert hub is app.hub
        assert request.connection is connection
        assert request.message is order
        assert request.endpoint.door is Door.EVENT
        connection.state["runs"] = connection.state.get("runs", 0) + 1
        return {"db": db, "runs": connection.state["runs"], "count": order["count"]}

    async with TestServer(app) as server, AsyncExitStack() as stack:
        ws, data = await opened(stack, server)
        for runs in (1, 2):
            [answer] = await run(ws, "all_of_them", {"count": 5})
            db = f"session of {data['client_id']}"
            assert answer["reports"] == [{"db": db, "runs": runs, "count": 5}]
        assert log == ["begin", "run", "end"] * 2


async def test_a_provider_cleans_up_when_the_walker_raises(caplog: pytest.LogCaptureFixture) -> None:
    app, log = application(), []

    async def session() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            log.append("end")

    @app.event()
    async def fails(db: Annotated[int, Provide(session)]) -> None:
        raise ValueError("secret")

    assert (await reports(app, "fails"))["error"]["code"] == "EXECUTION_ERROR"
    assert log == ["end"]


async def test_a_plain_function_runs_in_a_thread_and_may_notify() -> None:
    app, threads = application(), []

    @app.event()
    def work(order: Order, connection: Connection) -> int:
        threads.append(threading.current_thread())
        for number in range(5):
            notify.self({"n": number})
        return order["count"]

    async with TestServer(app) as server, AsyncExitStack() as stack:
        ws, _ = await opened(stack, server)
        answer = await run(ws, "work", {"count": 5})
        assert answer == [*({"n": number} for number in range(5)), {"status": 200, "reports": [5]}]
        assert threads[0] is not threading.current_thread()


async def test_what_is_notified_arrives_before_the_response() -> None:
    app = application()

    @app.event()
    async def work(connection: Connection) -> str:
        notify.self({"n": 1})
        await asyncio.sleep(0)
        notify.clients([connection.client_id], {"n": 2})
        notify.users([connection.root_id], {"n": 3})
        notify.channels(["own"], {"n": 4})
        notify.self("text")
        connection.send({"n": 5})
        return "done"

    async with TestServer(app) as server, AsyncExitStack() as stack:
        ws, _ = await opened(stack, server, query="?channel_id=own")
        await ws.send_json({"type": "walker", "walker": "work", "response": True})
        got = [await ws.receive_text() for _ in range(7)]
        assert got[:4] == ['{"n":1}', '{"n":2}', '{"n":3}', '{"n":4}']
        assert got[4:] == ["text", '{"n":5}', '{"status":200,"reports":["done"]}']


async def test_events_of_one_connection_are_handled_in_order() -> None:
    app, log, gate = application(), [], asyncio.Event()

    @app.event()
    async def slow(order: Order) -> int:
        log.append(order["count"])
        if order["count"] == 0:
            await gate.wait()
        return order["count"]

    async with TestServer(app) as server, AsyncExitStack() as stack:
        ws, _ = await opened(stack, server)
        other, _ = await opened(stack, server)
        for count in range(3):
            await ws.send_json({"type": "walker", "walker": "slow", "context": {"count": count}, "response": True})
        assert await run(other, "slow", {"count": 7}) == [{"status": 200, "reports": [7]}]
        assert log.count(1) == 0
        gate.set()
        assert [(await ws.receive_json())["reports"] for _ in range(3)] == [[0], [1], [2]]


# -- what goes wrong ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (RequestError("SOLD_OUT", "None left"), {"code": "SOLD_OUT", "message": "None left"}),
        (ValueError("secret"), None),
        (Deny(403, "secret"), None),
        (TimeoutError(), None),
        (asyncio.CancelledError(), None),
        (msgspec.ValidationError("secret - at `$.x`"), None),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("streams", [False, True])
async def test_what_a_walker_raises_is_told_by_its_class(
    raised: BaseException, told: Any, streams: bool, caplog: pytest.LogCaptureFixture
) -> None:
    app = application()

    async def fails() -> None:
        raise raised

    async def fails_late() -> AsyncIterator[int]:
        yield 1
        raise raised

    app.event("fails")(fails_late if streams else fails)
    answer = await reports(app, "fails")
    assert answer["type"] == "walker"
    assert set(answer) == {"type", "error"}
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    if told is not None:
        assert (answer["error"], errors) == (told, [])
        return
    error_id = answer["error"].pop("id")
    assert answer["error"] == {"code": "EXECUTION_ERROR", "message": "Walker execution failed"}
    [record] = errors
    assert f"error {error_id} " in record.getMessage()
    assert "event fails" in record.getMessage()
    assert record.exc_info is not None


async def test_a_reply_that_has_no_json_form_is_an_execution_error(caplog: pytest.LogCaptureFixture) -> None:
    app = application()

    @app.event("odd")
    async def odd() -> Any:
        return object()

    assert (await reports(app, "odd"))["error"]["code"] == "EXECUTION_ERROR"


async def test_disconnect_ends_the_connection_with_its_code() -> None:
    app = application()

    @app.event("leave")
    async def leave() -> None:
        raise Disconnect(4001, "bye")

    async with TestServer(app) as server, AsyncExitStack() as stack:
        ws, _ = await opened(stack, server)
        await ws.send_json({"type": "walker", "walker": "leave"})
        assert await ws.wait_closed() == 4001
        assert ws.close_reason == "bye"


async def test_a_walker_that_finds_its_connection_closed_is_no_bug(caplog: pytest.LogCaptureFixture) -> None:
    app = application()

    @app.event("leave")
    async def leave(connection: Connection) -> None:
        connection.close(4002)
        await connection.drain()

    async with TestServer(app) as server, AsyncExitStack() as stack:
        ws, _ = await opened(stack, server)
        await ws.send_json({"type": "walker", "walker": "leave", "response": True})
        with pytest.raises(ConnectionClosed):
            await ws.connection.receive()
        assert ws.close_code == 4002
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


# -- declaring ---------------------------------------------------------------------------------------------------------


def test_it_is_still_the_function() -> None:
    app = application()

    @app.event("named")
    def plain(order: Order) -> int:
        """Says it."""
        return order["count"]

    assert isinstance(plain, EventHandler)
    assert plain({"count": 3}) == 3
    assert plain.__doc__ == "Says it."
    assert "named" in repr(plain)
    [described] = [each for each in app.describe() if each.name == "named"]
    assert described.summary == "Says it."


async def test_one_function_may_be_a_websocket_and_an_event() -> None:
    app = application()

    @app.event("double")
    @app.websocket("/double")
    async def double(order: Order, connection: Connection) -> int:
        return order["count"] * 2

    async with TestServer(app) as server, AsyncExitStack() as stack:
        typed = await stack.enter_async_context(server.websocket("/double"))
        await typed.send_json({"count": 2})
        assert await typed.receive_json() == 4
        ws, _ = await opened(stack, server)
        assert await run(ws, "double", {"count": 3}) == [{"status": 200, "reports": [6]}]
        [error] = await run(ws, "double", {"count": "3"})
        assert error["error"]["code"] == "VALIDATION_ERROR"


def test_the_decorators_stacked_the_other_way_round_do_the_same_or_are_refused() -> None:
    """But never give a handler that has lost its types and that it is async."""
    app = application()
    try:

        @app.websocket("/double")
        @app.event("double")
        async def double(order: Order) -> int:
            return order["count"] * 2

    except ConfigError:
        return
    described = {each.door: each for each in app.describe() if "double" in each.path}
    assert described["websocket"].message_schema == described["event"].message_schema
    assert described["websocket"].response_schema == described["event"].response_schema


async def test_a_name_may_be_used_once_and_the_first_goes_on() -> None:
    app = application()

    @app.event("same")
    async def one() -> int:
        return 1

    with pytest.raises(ConfigError, match="'same' is taken"):

        @app.event("same")
        async def two() -> int:
            return 2

    assert (await reports(app, "same"))["reports"] == [1]


async def test_events_declared_before_after_and_without_the_application_are_all_reached() -> None:
    @event("loose")
    async def loose() -> str:
        return "loose"

    app = App([loose], database="sqlite://")

    @app.event("before")
    async def before() -> str:
        return "before"

    app.events()

    @app.event("after")
    async def after() -> str:
        return "after"

    async with TestServer(app) as server, AsyncExitStack() as stack:
        ws, _ = await opened(stack, server)
        for name in ("loose", "before", "after"):
            assert (await run(ws, name))[0]["reports"] == [name]


@websocket("/typed")
async def typed_only(message: Any) -> Any:
    return message


async def test_a_websocket_handler_is_not_open_to_the_event_socket() -> None:
    app = application()
    app.add(typed_only)
    for name in ("typed_only", "/typed", "events", "/websocket"):
        answer = await reports(app, name)
        assert answer == {"type": "walker", "error": "Invalid request! Please use valid walker event!"}


async def takes_text(message: str) -> None: ...
async def takes_bytes(message: bytes) -> None: ...
async def takes_query(order: Order, limit: Annotated[int, Query()] = 1) -> None: ...
async def takes_too_much(order: Order, more: int) -> None: ...
async def takes_stars(*orders: Order) -> None: ...
async def takes_what_is_no_type(order: "NoSuchThing") -> None: ...  # type: ignore[name-defined]  # noqa: F821


async def takes_nothing() -> None: ...


def generates() -> Any:
    yield 1


@pytest.mark.parametrize(
    "function",
    [takes_text, takes_bytes, takes_query, takes_too_much, takes_stars, takes_what_is_no_type, generates],
    ids=lambda function: function.__name__,
)
def test_mistakes_are_told_where_they_are_written(function: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        event()(function)
    assert function.__name__ in str(caught.value)
    assert "test_events_walkers.py" in str(caught.value)


@pytest.mark.parametrize("auth", ["alice", 1, lambda request: None])
def test_auth_that_is_neither_true_nor_an_async_function_is_refused(auth: Any) -> None:
    with pytest.raises(ConfigError, match="auth"):
        event(auth=auth)(takes_nothing)
