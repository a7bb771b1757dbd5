"""Spans of OpenTelemetry: one for each message, handshake and HTTP request, over both transports."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypedDict

import httpx
import pytest
import uvicorn
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from wireloom import App, CallbackHandler, Deny, Request, RequestError, Root, Walker, entry, open_connection, spec
from wireloom.clients.connection import ClientConnection
from wireloom.errors import HandshakeFailed

pytestmark = pytest.mark.anyio

TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = {"traceparent": f"00-{TRACE_ID}-{SPAN_ID}-01"}


@pytest.fixture(scope="module")
def provider() -> InMemorySpanExporter:
    """A process has one tracer provider, from its first use on."""
    exporter, made = InMemorySpanExporter(), TracerProvider()
    made.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(made)
    return exporter


@pytest.fixture
def spans(provider: InMemorySpanExporter) -> Callable[..., list[ReadableSpan]]:
    """Gives the spans that have ended, by their name."""
    provider.clear()
    return lambda name="": [span for span in provider.get_finished_spans() if name in ("", span.name)]


class Line(TypedDict):
    text: str


@spec(public=True, methods=["post"])
class Double(Walker):
    number: int

    @entry(Root)
    async def double(self, here: Root) -> None:
        if self.number == 13:
            raise ZeroDivisionError("a bug")
        self.report(2 * self.number)


def make_app(**options: Any) -> App:
    """An application whose handlers make spans of their own."""
    app = App([Double], **{"database": "sqlite://", "tracing": True, **options})
    tracer = trace.get_tracer("application")

    def act(text: str) -> None:
        with tracer.start_as_current_span("inner"):
            if text == "bug":
                raise ValueError("a bug")
            if text == "refuse":
                raise RequestError("NOT_NOW", "not now")
            if text == "overloaded":
                raise RequestError("OVERLOADED", "later")

    @app.websocket("/direct/{room}")
    async def direct(message: Line) -> str:
        act(message["text"])
        return "done"

    @app.websocket("/waits/{room}")
    async def waits(message: Line) -> str:
        await asyncio.sleep(0)
        act(message["text"])
        return "done"

    @app.websocket("/stream/{room}")
    async def stream(message: Line) -> AsyncIterator[str]:
        act(message["text"])
        yield "done"

    @app.websocket("/guarded")
    async def guarded(message: str) -> str:
        return message

    @guarded.on_handshake
    async def guard(request: Request) -> None:
        await asyncio.sleep(0)
        with tracer.start_as_current_span("decide"):
            if request.query.get("let") == "bug":
                raise ValueError("a bug")
            if request.query.get("let") != "me":
                raise Deny(451)

    return app


class Carrier:
    """Where an application is served."""

    def __init__(self, app: App, port: int) -> None:
        self.app = app
        self.port = port
        self.http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=5)

    def connect(self, path: str, **headers: str) -> Any:
        return open_connection(f"ws://127.0.0.1:{self.port}{path}", headers=headers)


@pytest.fixture(params=["own", "asgi"])
def serve(request: pytest.FixtureRequest, provider: InMemorySpanExporter) -> Any:
    """Serves an application on our own port, or on uvicorn's."""

    @asynccontextmanager
    async def enter(app: App) -> AsyncIterator[Carrier]:
        from wireloom.net.server import uvicorn_config

        if request.param == "own":
            config = uvicorn_config(app, app.config)
        else:
            config = uvicorn.Config(app, log_config=None, access_log=False, ws="websockets-sansio", lifespan="on")
        config.host, config.port = "127.0.0.1", 0
        config.load()
        server = uvicorn.Server(config)
        server.lifespan = config.lifespan_class(config)
        await server.startup()
        carrier = Carrier(app, server.servers[0].sockets[0].getsockname()[1])
        try:
            async with carrier.http:
                yield carrier
        finally:
            await server.shutdown()

    return enter


async def say(ws: ClientConnection, message: str) -> Any:
    ws.send(message)
    async with asyncio.timeout(5):
        return await ws.receive()


async def until(holds: Callable[[], Any]) -> None:
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def only(found: list[ReadableSpan]) -> ReadableSpan:
    assert len(found) == 1, found
    return found[0]


def context_of(span: ReadableSpan) -> Any:
    assert span.context is not None
    return span.context


# -- messages --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["direct", "waits", "stream"])
async def test_a_message_has_a_span_that_is_linked_to_its_connections(serve: Any, spans: Any, kind: str) -> None:
    template = f"/{kind}/{{room}}"
    async with serve(make_app()) as served, served.connect(f"/{kind}/a?token=secret", **TRACEPARENT) as ws:
        for text in ("one", "zwölf"):
            await say(ws, f'{{"text":"{text}"}}')
        await until(lambda: len(spans(f"process {template}")) == 2)
        handshake = only(spans(f"GET {template}"))
        one, two = spans(f"process {template}")
        for span, inner in zip((one, two), spans("inner"), strict=True):
            assert span.kind is SpanKind.CONSUMER
            assert span.parent is None
            assert [link.context for link in span.links] == [context_of(handshake)]
            assert inner.parent == context_of(span)
            assert span.status.status_code is StatusCode.UNSET
        assert context_of(one).trace_id != context_of(two).trace_id != context_of(handshake).trace_id
        assert dict(two.attributes or {}) == {
            "messaging.system": "websocket",
            "messaging.operation.type": "process",
            "messaging.operation.name": "process",
            "messaging.destination.template": template,
            "messaging.message.body.size": len('{"text":"zwölf"}'.encode()),
            "network.protocol.name": "websocket",
            "http.route": template,
        }
    assert not served.app.listener or not served.app.listener.tracing._links


@pytest.mark.parametrize("kind", ["direct", "waits", "stream"])
@pytest.mark.parametrize(
    ("message", "error_type", "status"),
    [
        ('{"text":"bug"}', "ValueError", StatusCode.ERROR),
        ('{"text":"refuse"}', "NOT_NOW", StatusCode.UNSET),
        ('{"text":"overloaded"}', "OVERLOADED", StatusCode.ERROR),
        ("{", "INVALID_JSON", StatusCode.UNSET),
        ("[]", "VALIDATION_ERROR", StatusCode.UNSET),
    ],
)
async def test_errors_are_on_the_span_of_their_message(
    serve: Any, spans: Any, kind: str, message: str, error_type: str, status: StatusCode
) -> None:
    async with serve(make_app()) as served, served.connect(f"/{kind}/a") as ws:
        answer = await say(ws, message)
        await until(lambda: spans(f"process /{kind}/{{room}}"))
        span = only(spans(f"process /{kind}/{{room}}"))
        assert (span.attributes["error.type"], span.status.status_code) == (error_type, status)
        events = [event.name for event in span.events]
        if error_type == "ValueError":
            assert events == ["exception"]
            assert span.attributes["wireloom.error_id"] in answer
        else:
            assert events == []


# -- handshakes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("query", "status"), [("?let=me", 101), ("", 451), ("?let=bug", 500)])
async def test_a_handshake_is_a_child_of_the_traceparent_and_decides_within(
    serve: Any, spans: Any, query: str, status: int
) -> None:
    async with serve(make_app()) as served:
        try:
            async with served.connect(f"/guarded{query}", **TRACEPARENT):
                pass
        except HandshakeFailed as failed:
            assert failed.status == status
        await until(lambda: spans("GET /guarded"))
        span = only(spans("GET /guarded"))
        assert (f"{context_of(span).trace_id:032x}", f"{span.parent.span_id:016x}") == (TRACE_ID, SPAN_ID)
        assert only(spans("decide")).parent == context_of(span)
        assert span.kind is SpanKind.SERVER
        expected = {
            "http.request.method": "GET",
            "http.route": "/guarded",
            "url.path": "/guarded",
            "client.address": "127.0.0.1",
            "network.protocol.name": "websocket",
            "http.response.status_code": status,
        }
        assert expected.items() <= dict(span.attributes).items()
        assert (span.status.status_code is StatusCode.ERROR) == (status == 500)
        await until(lambda: not served.app.listener.tracing._links)


# -- HTTP ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "status", "error_type"), [(4, 200, None), ("x", 422, "VALIDATION_ERROR"), (13, 500, "ZeroDivisionError")]
)
async def test_an_http_request_has_a_span_below_its_traceparent(
    serve: Any, spans: Any, number: Any, status: int, error_type: str | None
) -> None:
    async with serve(make_app()) as served:
        answer = await served.http.post("/walker/Double?secret=1", json={"number": number}, headers=TRACEPARENT)
        assert answer.status_code == status
        span = only(spans("POST /walker/Double"))
        assert f"{span.parent.span_id:016x}" == SPAN_ID
        assert span.attributes["http.response.status_code"] == status
        assert span.attributes.get("error.type") == error_type
        assert span.attributes["url.path"] == "/walker/Double"
        assert (span.status.status_code is StatusCode.ERROR) == (status == 500)
        assert "secret" not in str(span.attributes)


async def test_what_is_no_method_is_other(serve: Any, spans: Any) -> None:
    app = make_app(docs=False)
    app.add(CallbackHandler(lambda request: {"body": "hello"}))
    async with serve(app) as served:
        await served.http.request("PROPFIND", "/coffee")
        span = only(spans("HTTP *"))
        assert span.attributes["http.request.method"] == "_OTHER"


# -- on and off ------------------------------------------------------------------------------------------------------


async def test_without_the_option_nothing_is_traced(serve: Any, spans: Any) -> None:
    async with serve(make_app(tracing=False)) as served, served.connect("/direct/a", **TRACEPARENT) as ws:
        await say(ws, '{"text":"one"}')
        await served.http.post("/walker/Double", json={"number": 1})
        assert [span.name for span in spans()] == ["inner"]


def test_without_the_extra_it_is_said_what_to_install() -> None:
    code = """
import sys
sys.modules["opentelemetry"] = None
import wireloom
from wireloom.config import Config
app = wireloom.App()
app.configure(Config())
try:
    app.configure(Config(tracing=True))
except wireloom.ConfigError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "the option tracing needs the extra: pip install 'wireloom[otel]'"


def test_nothing_of_opentelemetry_is_imported_without_the_option() -> None:
    code = """
import sys, wireloom.app, wireloom.net.server
assert not [name for name in sys.modules if name.startswith("opentelemetry")]
"""
    subprocess.run([sys.executable, "-c", code], timeout=60, check=True)
