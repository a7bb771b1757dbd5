"""The REST door: an HTTP request becomes one call of an endpoint, and its reply the response.

Law: who asks is found out before the body is read, and the body is read before anything of it is believed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers, QueryParams
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HTTPRequest
from starlette.responses import Response

from wireloom.core.dispatch import authorize, invoke
from wireloom.core.endpoint import Door, Endpoint
from wireloom.core.request import Request
from wireloom.core.rest import Incoming, headers_of, read_body
from wireloom.core.router import Router
from wireloom.errors import ConnectionClosed, Disconnect, RequestError
from wireloom.wire.handshake import RequestHead

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from wireloom.tracing import Tracing

__all__ = ["RestCaller", "RestDoor"]

_MAX_FORM_FIELDS = 1000


class RestCaller:
    """Where a request of the REST door comes from. Its one reply is the response: nothing else can be sent.

    Args:
        request: Starlette's.
        endpoint: what it wants.
        path_params: the path's parameters.
    """

    def __init__(self, request: HTTPRequest, endpoint: Endpoint, path_params: dict[str, Any]) -> None:
        scope = request.scope
        query = scope["query_string"].decode("latin-1")
        target = _path(request) + (f"?{query}" if query else "")
        self.head = RequestHead(request.method, target, scope.get("http_version", "1.1"), b"", scope["headers"])
        self.endpoint = endpoint
        self.path_params = path_params
        self.query_params: dict[str, Any] = {}
        self.user: Any = None
        self.cancelled = False
        self.proof: Any = None
        self._request = request
        self._limits = endpoint.limits
        self._body: bytes | None = None

    @property
    def client(self) -> tuple[str, int] | None:
        """Address and port of the peer, as seen through trusted proxies."""
        client = self._request.client
        return None if client is None else (client.host, client.port)

    async def read_body(self) -> bytes:
        """The whole body.

        Raises:
            RequestError: ``TOO_LARGE`` or ``TIMEOUT``.
        """
        if self._body is None:
            self._body = await read_body(self._request, self._limits)
            self.endpoint.counts.received_bytes += len(self._body)
        return self._body

    def send(self, data: Any) -> None:
        """There is nobody to send more to."""

    def send_encoded(self, payload: bytes) -> None:
        """There is nobody to send more to."""

    def close(self, code: int = 1000, reason: str = "") -> None:
        """The response ends it."""

    async def drain(self) -> None:
        """Nothing waits."""


def _path(request: HTTPRequest) -> str:
    """The path as it was sent, percent-encoded, where the server tells it."""
    raw: bytes | None = request.scope.get("raw_path")
    return quote(request.scope["path"]) if raw is None else raw.decode("latin-1").partition("?")[0]


class RestDoor:
    """Answers requests for the endpoints of the doors rest and webhook.

    Args:
        router: the endpoints by path.

    Attributes:
        tracing: makes a span of every request.
    """

    def __init__(self, router: Router) -> None:
        self.router = router
        self.tracing: Tracing | None = None

    async def answer(
        self, endpoint: Endpoint, path_params: dict[str, str], scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Answers one request (ASGI) by an endpoint that its path has matched."""
        request, counts = HTTPRequest(scope, receive), endpoint.counts
        caller = RestCaller(request, endpoint, path_params)
        counts.received += 1
        try:
            response = await self._trace(request, caller)
        except ClientDisconnect:
            return
        counts.responses[response.status_code] += 1
        counts.sent += 1
        counts.sent_bytes += len(getattr(response, "body", b""))  # of a stream it is not known
        if not endpoint.as_is:
            response.headers["Cache-Control"] = "no-store"
        await response(scope, receive, send)

    async def _trace(self, http: HTTPRequest, caller: RestCaller) -> Response:
        """Responds within a span, where requests are traced."""
        if self.tracing is None:
            return await self._respond(http, caller)
        with self.tracing.request(caller, caller.endpoint) as tell:
            response = await self._respond(http, caller)
            tell(response.status_code)
            return response

    async def _respond(self, http: HTTPRequest, caller: RestCaller) -> Response:
        endpoint, path_params = caller.endpoint, caller.path_params
        method = "GET" if http.method == "HEAD" and "HEAD" not in endpoint.methods else http.method
        if not endpoint.takes_method(http.method):
            allowed = ", ".join(self.router.methods(endpoint.path))  # RFC 9110 §15.5.6: a 405 MUST name what is allowed
            refusal = RequestError("METHOD_NOT_ALLOWED", f"{http.method} is not allowed here; {allowed} is")
            return _refusal(endpoint, refusal, {"Allow": allowed})
        request = Request(endpoint, caller, node=path_params.get("node_id"))
        form = None
        try:
            await authorize(request)
            body, form = await _read(http, caller, endpoint)
            pairs = None if form is None else form.multi_items()
            query = QueryParams(http.scope["query_string"]).multi_items()
            reply = await invoke(request, Incoming(method, query, path_params, body, pairs), authorized=True)
        except RequestError as error:
            return _refusal(endpoint, error)
        except (Disconnect, ConnectionClosed):
            return _refusal(endpoint, RequestError("NOT_POSSIBLE", "There is no connection to close here"))
        finally:
            if form is not None:
                await form.close()
        return reply if isinstance(reply, Response) else Response(reply, 200, media_type="application/json")


async def _read(http: HTTPRequest, caller: RestCaller, endpoint: Endpoint) -> tuple[bytes, Any]:
    """The body, or the form that it is."""
    if endpoint.as_is:
        return await caller.read_body(), None
    if http.method in ("GET", "HEAD"):
        return b"", None
    kind = http.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind == "multipart/form-data" and endpoint.door is Door.REST:
        return b"", await _read_form(http, await caller.read_body())
    if kind != "application/json" and endpoint.door is Door.REST:
        raise RequestError("UNSUPPORTED_MEDIA_TYPE", "The body must be application/json or multipart/form-data")
    return await caller.read_body(), None


async def _read_form(http: HTTPRequest, body: bytes) -> Any:
    """The fields of a form that has come whole and within its bound."""

    async def parts() -> Any:
        yield body
        yield b""

    # Only the boundary: the parser would decode fields by whatever codec a client names, however slow it is
    _, options = parse_options_header(http.headers.get("content-type", ""))
    boundary = options.get(b"boundary", b"").decode("latin-1")
    headers = Headers({"content-type": f'multipart/form-data; boundary="{boundary}"'})
    parser = MultiPartParser(
        headers, parts(), max_files=_MAX_FORM_FIELDS, max_fields=_MAX_FORM_FIELDS, max_part_size=len(body) + 1
    )
    try:
        return await parser.parse()
    except (MultiPartException, KeyError, ValueError) as error:
        reason = getattr(error, "message", "the form cannot be read")
        raise RequestError("INVALID_FORM", f"Invalid form: {reason}") from error


def _refusal(endpoint: Endpoint, error: RequestError, headers: dict[str, str] | None = None) -> Response:
    endpoint.counts.tell(error.code, error)
    body = endpoint.codec.encode_error(error)
    return Response(body, error.http_status, {**headers_of(error), **(headers or {})}, "application/json")
