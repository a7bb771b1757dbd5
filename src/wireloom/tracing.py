"""Tracing: spans of OpenTelemetry for handshakes, messages and HTTP requests. Imported only where it is turned on.

Laws:
- Every message has a span and a trace of its own, linked to the span of its connection's handshake: a connection lasts
  for hours, and a trace that grew as long would never be shown.
- No span holds what is in a message, nor a query or a header.
- Names and attributes are those of the semantic conventions, where there are any.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from contextvars import Context, ContextVar
from importlib.metadata import version
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context as TraceContext
from opentelemetry.context import attach, detach
from opentelemetry.propagate import extract
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode

from wireloom.core.caller import Caller
from wireloom.core.dispatch import Direct, Dispatch
from wireloom.core.endpoint import Endpoint
from wireloom.errors import Deny, InternalError, RequestError

__all__ = ["Tracing"]

# https://opentelemetry.io/docs/specs/semconv/http/http-spans/: any other method is _OTHER
_METHODS = frozenset(("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"))
_ROOT = TraceContext()
_decided: ContextVar[tuple[Any, Link] | None] = ContextVar("_decided", default=None)  # the handshake of this task


class Tracing:
    """Makes the spans of one application, by the tracer provider that it has set up.

    It is told of errors as `wireloom.metrics.Observer`.
    """

    def __init__(self) -> None:
        self._tracer = trace.get_tracer("wireloom", version("wireloom"))
        self._links: dict[Caller, Link] = {}  # of open connections, to their handshakes

    # -- handshakes and requests ---------------------------------------------------------------------------------------

    @contextmanager
    def handshake(self, connection: Any) -> Iterator[None]:
        """The span of what decides on a handshake; `Deny` is its end."""
        with self._handshake(connection) as span:
            yield
        _decided.set((connection, Link(span.get_span_context())))

    @contextmanager
    def _handshake(self, connection: Any) -> Iterator[Span]:
        attributes = _request_attributes(connection, connection.endpoint)
        attributes["network.protocol.name"] = "websocket"
        with self._request(connection, f"GET {connection.endpoint.label}", attributes) as span:
            try:
                yield span
            except Deny as deny:
                _answered(span, deny.status)
                raise
            _answered(span, 101)

    def opened(self, connection: Any) -> None:
        """A connection is about to open; where nothing had to be decided, its handshake has its span now."""
        decided = _decided.get()
        if decided is not None and decided[0] is connection:
            self._links[connection] = decided[1]
            return
        with self._handshake(connection) as span:
            self._links[connection] = Link(span.get_span_context())

    def closed(self, connection: Any) -> None:
        """A connection has ended."""
        self._links.pop(connection, None)

    @contextmanager
    def request(self, caller: Any, endpoint: Endpoint) -> Iterator[Callable[[int], None]]:
        """The span of an HTTP request; gives what its status is told to."""
        attributes = _request_attributes(caller, endpoint)
        method = attributes["http.request.method"]
        name = f"{'HTTP' if method == '_OTHER' else method} {endpoint.label}"
        with self._request(caller, name, attributes) as span:
            yield lambda status: _answered(span, status)

    @contextmanager
    def _request(self, caller: Any, name: str, attributes: Mapping[str, Any]) -> Iterator[Span]:
        parent = extract({key.decode("latin-1"): value.decode("latin-1") for key, value in caller.head.headers}, _ROOT)
        span = self._tracer.start_span(name, parent, SpanKind.SERVER, attributes)
        # an exception is recorded where it is logged
        with trace.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
            yield span

    # -- messages ------------------------------------------------------------------------------------------------------

    def dispatch(self, endpoint: Endpoint, inner: Dispatch) -> Dispatch:
        """Handles messages as `inner` does, each in a span."""

        async def traced(connection: Caller, payload: str | bytes) -> None:
            await _within(self._message(endpoint, connection, payload), inner(connection, payload))

        return traced

    def direct(self, endpoint: Endpoint, inner: Direct) -> Direct:
        """Handles messages as `inner` does, each in a span, which goes on with what is left to do."""

        def traced(context: Context, connection: Caller, payload: str | bytes) -> Coroutine[Any, Any, None] | None:
            span = self._message(endpoint, connection, payload)
            own = context.copy()
            own.run(attach, trace.set_span_in_context(span, _ROOT))
            rest: Coroutine[Any, Any, None] | None = None
            try:
                rest = inner(own, connection, payload)
            finally:
                if rest is None:
                    span.end()
            return None if rest is None else _within(span, rest)

        return traced

    def _message(self, endpoint: Endpoint, connection: Caller, payload: str | bytes) -> Span:
        link = self._links.get(connection)
        attributes: dict[str, Any] = {
            "messaging.system": "websocket",
            "messaging.operation.type": "process",
            "messaging.operation.name": "process",
            "messaging.destination.template": endpoint.label,
            "messaging.message.body.size": len(payload.encode() if isinstance(payload, str) else payload),
            "network.protocol.name": "websocket",
            "http.route": endpoint.label,
        }
        links = () if link is None else (link,)
        return self._tracer.start_span(f"process {endpoint.label}", _ROOT, SpanKind.CONSUMER, attributes, links)

    # -- errors --------------------------------------------------------------------------------------------------------

    def told(self, error: Exception) -> None:
        """A caller is told of an error: it is no failure of ours, unless its HTTP status would say so."""
        if not isinstance(error, RequestError) or (isinstance(error, InternalError) and error.cause is not None):
            return
        span = trace.get_current_span()
        span.set_attribute("error.type", str(error.code))
        if error.http_status >= 500:
            span.set_status(Status(StatusCode.ERROR, str(error.code)))

    def bug(self, error: BaseException, error_id: str) -> None:
        """An unexpected exception, which is in the log with this id."""
        span = trace.get_current_span()
        name = type(error).__qualname__
        span.record_exception(error)
        span.set_attributes({"error.type": name, "wireloom.error_id": error_id})
        span.set_status(Status(StatusCode.ERROR, name))


async def _within(span: Span, work: Coroutine[Any, Any, None]) -> None:
    """Does something in a span and ends it."""
    token = attach(trace.set_span_in_context(span, _ROOT))
    try:
        await work
    finally:
        detach(token)
        span.end()


def _request_attributes(caller: Any, endpoint: Endpoint) -> dict[str, Any]:
    head, client = caller.head, caller.client
    attributes = {
        "http.request.method": head.method if head.method in _METHODS else "_OTHER",
        "http.route": endpoint.label,
        "url.path": head.path,
    }
    return attributes if client is None else {**attributes, "client.address": client[0]}


def _answered(span: Span, status: int) -> None:
    span.set_attribute("http.response.status_code", status)
    if status >= 500:
        span.set_status(Status(StatusCode.ERROR))
