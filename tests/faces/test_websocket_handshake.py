"""Page 1, "Declaring": on_handshake and auth, before the upgrade."""

import asyncio
import contextlib
import datetime
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

import pydantic
import pytest

import wireloom
from wireloom import App, ConfigError, Connection, Deny, Disconnect, Hub, Provide, Query, Request, RequestError
from wireloom.testing import HandshakeFailed, TestServer
from wireloom.wire.frames import TEXT, mask_frame

pytestmark = pytest.mark.anyio

T = TypeVar("T")

REQUEST = (
    "GET {target} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def soon(awaitable: Awaitable[T]) -> Awaitable[T]:
    return asyncio.wait_for(awaitable, 20)


def errors(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.levelno >= logging.ERROR]


async def refusal(server: TestServer, path: str = "/", **options: Any) -> HandshakeFailed:
    with pytest.raises(HandshakeFailed) as caught:
        await soon(server.websocket(path, **options).__aenter__())
    return caught.value


def refusing(error: Exception | Callable[[], Exception]) -> tuple[App, list[str]]:
    """An application whose on_handshake raises, and a log of everything else that ran."""
    app, ran = App(), []

    @app.websocket("/")
    async def handler(message: str) -> None:
        ran.append("message")

    @handler.on_handshake
    async def check() -> None:
        raise error if isinstance(error, Exception) else error()

    @handler.on_connect
    async def connected() -> None:
        ran.append("connect")

    @handler.on_disconnect
    async def disconnected() -> None:
        ran.append("disconnect")

    return app, ran


async def test_on_handshake_sees_the_request(wireloom_server: Any) -> None:
    app, seen = App(), {}

    @app.websocket("/{number}", subprotocols=["b"])
    async def handler(message: str, number: int) -> str:
        return message

    @handler.on_handshake
    async def check(request: Request, number: int, hub: Hub, limit: Annotated[int, Query()] = 5) -> None:
        seen.update(
            token=request.headers["X-Token"],
            text=request.query["limit"],
            path=request.path,
            params=request.path_params,
            method=request.method,
            subprotocols=request.subprotocols,
            cookies=request.cookies,
            number=number,
            limit=limit,
            open=hub.count(),
        )

    headers = {"x-token": "secret", "Cookie": "a=1; b=two"}
    async with wireloom_server(app) as server:
        async with server.websocket("/7?limit=9", headers=headers, subprotocols=["a", "b"]) as ws:
            await ws.send_text("accepted")
            assert await ws.receive_text() == "accepted"
    assert seen == {
        "token": "secret",
        "text": "9",
        "path": "/7",
        "params": {"number": 7},
        "method": "GET",
        "subprotocols": ["a", "b"],
        "cookies": {"a": "1", "b": "two"},
        "number": 7,
        "limit": 9,
        "open": 0,
    }


async def test_the_upgrade_waits_for_on_handshake_and_keeps_early_messages(wireloom_server: Any) -> None:
    app, entered, gate = App(), asyncio.Event(), asyncio.Event()

    @app.websocket("/")
    async def handler(message: str) -> str:
        return message

    @handler.on_handshake
    async def check() -> None:
        entered.set()
        await gate.wait()

    async with wireloom_server(app) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(REQUEST.format(target="/").encode() + mask_frame(TEXT, b"one"))
        await soon(entered.wait())
        writer.write(mask_frame(TEXT, b"two"))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.1)
        assert app.hub.count() == 0
        gate.set()
        assert (await soon(reader.readuntil(b"\r\n\r\n"))).startswith(b"HTTP/1.1 101 ")
        assert await soon(reader.readexactly(10)) == b"\x81\x03one\x81\x03two"
        writer.close()
        await writer.wait_closed()


async def test_a_plain_on_handshake_runs_and_refuses(wireloom_server: Any) -> None:
    app = App()

    @app.websocket("/{word}")
    async def handler(message: str) -> str:
        return message

    @handler.on_handshake
    def check(word: str) -> None:
        if word != "sesame":
            raise Deny(403, "Say the word")

    async with wireloom_server(app) as server:
        assert (await refusal(server, "/please")).status == 403
        async with server.websocket("/sesame") as ws:
            await ws.send_text("in")
            assert await ws.receive_text() == "in"


DENIALS = [
    (Deny(403, "Not you – nie"), '{"error":"Not you – nie"}'),
    (Deny(401), '{"error":"Unauthorized"}'),
    (Deny(429, {"error": "slow down", "wait": [1, 2]}), '{"error":"slow down","wait":[1,2]}'),
    (Deny(503, ["a"]), '["a"]'),
    (Deny(599, {}), "{}"),
]


async def test_deny_answers_with_its_status_and_body(wireloom_server: Any) -> None:
    denials = iter(DENIALS)
    app, ran = refusing(lambda: next(denials)[0])
    async with wireloom_server(app) as server:
        for deny, body in DENIALS:
            error = await refusal(server)
            assert (error.status, error.body.decode()) == (deny.status, body)
            assert error.headers["content-type"] == "application/json"
            assert error.headers["content-length"] == str(len(error.body))
            assert app.hub.count() == 0
    assert ran == []


async def test_deny_may_have_headers(wireloom_server: Any) -> None:
    app, _ = refusing(Deny(401, "Who?", {"WWW-Authenticate": "Bearer", "Retry-After": "5"}))
    async with wireloom_server(app) as server:
        error = await refusal(server)
        assert (error.headers["www-authenticate"], error.headers["retry-after"]) == ("Bearer", "5")


@pytest.mark.parametrize("status", [200, 302, 399, 600])
def test_deny_is_an_error_status(status: int) -> None:
    with pytest.raises(ValueError, match="400 to 599"):
        Deny(status)


async def test_a_request_error_refuses_with_400(wireloom_server: Any, caplog: pytest.LogCaptureFixture) -> None:
    app, ran = refusing(RequestError("TOO_YOUNG", "Come back later"))
    async with wireloom_server(app) as server:
        error = await refusal(server)
        assert error.status == 400
        assert json.loads(error.body) == {"error": "Come back later", "code": "TOO_YOUNG"}
    assert ran == []
    assert errors(caplog) == []


@pytest.mark.parametrize("bug", [ValueError("a secret"), Disconnect(4000, "a secret")], ids=repr)
async def test_a_bug_in_on_handshake_is_a_500_with_the_id_that_is_logged(
    wireloom_server: Any, caplog: pytest.LogCaptureFixture, bug: Exception
) -> None:
    app, ran = refusing(bug)
    async with wireloom_server(app) as server:
        error = await refusal(server)
    assert error.status == 500
    told = json.loads(error.body)
    assert told == {"error": "Internal error", "id": told["id"]}
    assert b"secret" not in error.body
    assert ran == []
    (record,) = errors(caplog)
    assert told["id"] in record.getMessage()
    assert record.exc_info is not None
    assert record.exc_info[1] is bug


@pytest.mark.parametrize(
    "deny",
    [
        Deny(403, {"when": datetime.datetime(2026, 1, 1)}),
        Deny(403, "no", {"X-Reason": "a\r\nSet-Cookie: b"}),
        Deny(403, "no", {"X-Reason": "☃"}),
    ],
    ids=["body without a JSON form", "line break in a header", "header that is not latin-1"],
)
async def test_a_deny_that_cannot_be_written_is_a_bug_and_answered_as_one(
    wireloom_server: Any, caplog: pytest.LogCaptureFixture, deny: Deny
) -> None:
    app, _ = refusing(deny)
    async with wireloom_server(app) as server:
        error = await refusal(server)
    assert error.status == 500
    assert json.loads(error.body)["error"] == "Internal error"
    assert len(errors(caplog)) == 1


def test_on_handshake_gets_no_connection() -> None:
    """There is none before the upgrade; neither directly nor through a dependency."""

    @wireloom.websocket("/")
    async def handler(message: str) -> None:
        """Nothing."""

    async def direct(connection: Connection) -> None:
        """Nothing."""

    def dependency(connection: Connection) -> int:
        return 1

    async def indirect(made: Annotated[int, Provide(dependency)]) -> None:
        """Nothing."""

    for hook in (direct, indirect):
        with pytest.raises(ConfigError, match="'connection'"):
            handler.on_handshake(hook)
    handler.on_connect(direct)
    handler.on_disconnect(indirect)


async def test_a_client_that_leaves_during_the_handshake_was_never_connected(wireloom_server: Any) -> None:
    app, ran, entered, cancelled = App(), [], asyncio.Event(), asyncio.Event()

    @app.websocket("/")
    async def handler(message: str) -> None:
        ran.append("message")

    @handler.on_handshake
    async def check() -> None:
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    @handler.on_connect
    async def connected() -> None:
        ran.append("connect")

    @handler.on_disconnect
    async def disconnected() -> None:
        ran.append("disconnect")

    async with wireloom_server(App([handler], handshake_timeout_seconds=0.5)) as server:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(REQUEST.format(target="/").encode())
        await soon(entered.wait())
        writer.transport.abort()
        await soon(cancelled.wait())
    assert ran == []


async def test_a_handshake_that_takes_too_long_is_answered(wireloom_server: Any) -> None:
    app, cancelled = App(handshake_timeout_seconds=0.3), asyncio.Event()

    @app.websocket("/")
    async def handler(message: str) -> None:
        """Nothing."""

    @handler.on_handshake
    async def check() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async with wireloom_server(app) as server:
        assert (await refusal(server)).status == 408
        await soon(cancelled.wait())


# -- auth -------------------------------------------------------------------------------------------------------------


async def by_token(request: Request) -> dict[str, str]:
    token = request.query.get("token")
    if token is None:
        raise Deny(401, "Log in first", {"WWW-Authenticate": "Bearer"})
    if token == "bug":
        raise KeyError("a secret")
    return {"name": token}


def guarded() -> tuple[App, list[Any]]:
    app, log = App(), []

    @app.websocket("/", auth=by_token)
    async def handler(message: str, connection: Connection, request: Request) -> str:
        assert request.user is connection.user
        return f"{connection.user['name']}: {message}"

    @handler.on_handshake
    async def check(request: Request) -> None:
        log.append(("handshake", request.user["name"]))

    @handler.on_connect
    async def connected(connection: Connection) -> None:
        log.append(("connect", connection.user["name"]))

    @handler.on_disconnect
    async def disconnected(connection: Connection) -> None:
        log.append(("disconnect", connection.user["name"]))

    return app, log


async def test_auth_gives_the_user_of_the_connection(wireloom_server: Any) -> None:
    app, log = guarded()
    async with wireloom_server(app) as server, server.websocket("/?token=alice") as ws:
        await ws.send_text("hello")
        assert await ws.receive_text() == "alice: hello"
    assert log == [("handshake", "alice"), ("connect", "alice"), ("disconnect", "alice")]
    assert app.describe()[0].auth is True


async def test_auth_refuses_before_the_upgrade(wireloom_server: Any) -> None:
    app, log = guarded()
    async with wireloom_server(app) as server:
        error = await refusal(server)
        assert (error.status, error.body) == (401, b'{"error":"Log in first"}')
        assert error.headers["www-authenticate"] == "Bearer"
    assert log == []


async def test_a_bug_in_auth_is_a_500(wireloom_server: Any, caplog: pytest.LogCaptureFixture) -> None:
    app, log = guarded()
    async with wireloom_server(app) as server:
        error = await refusal(server, "/?token=bug")
    assert error.status == 500
    assert json.loads(error.body)["id"] in errors(caplog)[0].getMessage()
    assert b"secret" not in error.body
    assert log == []


async def test_without_auth_the_user_is_none(wireloom_server: Any) -> None:
    app = App()

    @app.websocket("/")
    async def handler(message: Any, connection: Connection) -> dict:
        return {"user": connection.user}

    async with wireloom_server(app) as server, server.websocket("/?token=alice") as ws:
        await ws.send_json(1)
        assert await ws.receive_json() == {"user": None}


def plain(request: Request) -> str:
    return "anybody"


@pytest.mark.parametrize("auth", ["bearer", 1, plain], ids=["text", "number", "plain def"])
def test_auth_is_true_or_an_async_function(auth: Any) -> None:
    with pytest.raises(ConfigError, match=rf"^{__file__}:\d+: 'handler': auth is True, or an async function"):

        @wireloom.websocket("/", auth=auth)
        async def handler(message: str) -> None:
            """Nothing."""


async def test_before_the_upgrade_there_is_no_connection_to_use(wireloom_server: Any) -> None:
    app, seen = App(), []

    async def gate(request: Request) -> Any:
        connection = request.connection
        connection.send("too early")
        connection.join("news")
        connection.close(1000)
        seen.append((connection.is_open, connection.client_id))
        if request.query.get("in") is None:
            raise Deny(401)
        return None

    @app.websocket("/", auth=gate)
    async def handler(message: str) -> str:
        return message

    async with wireloom_server(app) as server:
        assert (await refusal(server)).status == 401
        assert app.hub.count("news") == 0
        assert app.hub.count(wireloom.client(seen[0][1])) == 0
        async with server.websocket("/?in=1") as ws:
            await ws.send_text("hello")
            assert await ws.receive_text() == "hello"
            assert app.hub.count("news") == 0
            assert app.hub.connections(wireloom.client(seen[1][1])) == app.hub.connections()
        assert [is_open for is_open, _ in seen] == [False, False]


async def test_a_browsers_token_reaches_an_auth_function_and_its_subprotocol_is_answered(wireloom_server: Any) -> None:
    app = App()

    async def by_token(request: Request) -> str:
        if request.subprotocols != ["wireloom.bearer", "secret"]:
            raise Deny(401)
        return "alice"

    @app.websocket("/", auth=by_token)
    async def handler(message: str, connection: Connection) -> str:
        return f"{connection.user} {connection.subprotocol}"

    async with wireloom_server(app) as server:
        async with server.websocket("/", subprotocols=["wireloom.bearer", "secret"]) as ws:
            await ws.send_text("who")
            assert await ws.receive_text() == "alice wireloom.bearer"


async def test_an_application_that_fails_while_it_stops_is_told_so_and_not_of_its_start() -> None:
    sent: list[Any] = []

    @contextlib.asynccontextmanager
    async def failing(app: App) -> Any:
        yield
        raise ValueError("the last page is missing")

    async def receive() -> Any:
        return {"type": "lifespan"}

    async def send(event: Any) -> None:
        sent.append(event)

    app = App(lifespan=failing)
    with pytest.raises(ValueError, match="last page"):
        await app({"type": "lifespan"}, receive, send)
    assert [event["type"] for event in sent] == ["lifespan.startup.complete", "lifespan.shutdown.failed"]


async def test_a_pydantic_model_is_sent_and_published_as_it_is_replied(wireloom_server: Any) -> None:
    class Price(pydantic.BaseModel):
        value: int

    app = App()

    @app.websocket("/")
    async def handler(message: str, connection: Connection, hub: Hub) -> None:
        connection.join("prices")
        connection.send(Price(value=1))
        await hub.publish("prices", {"nested": Price(value=2)})

    async with wireloom_server(app) as server, server.websocket("/") as ws:
        await ws.send_text("go")
        assert [await ws.receive_json() for _ in range(2)] == [{"value": 1}, {"nested": {"value": 2}}]
