"""What typed clients stand on: connections of endpoints, the event socket and HTTP, by types that generated code names.

`wireloom client --lang python` writes subclasses of `TypedClient`. Law: nothing here checks what the server sends; the
server has, against the same contract.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from inspect import isawaitable
from types import TracebackType
from typing import Any, Generic, NotRequired, Self, TypeAlias, TypedDict, TypeVar, Unpack, cast
from urllib.parse import urlsplit

from wireloom.clients.contract import (
    EndpointOf,
    File,
    OperationOf,
    Query,
    body_of,
    failure_in,
    failure_of,
    no_answer,
    refusal_of,
    target_of,
)
from wireloom.clients.opening import ClientOptions
from wireloom.clients.protocol import Ending
from wireloom.clients.reconnect import LastingConnection, State, _Connection, connect
from wireloom.errors import ConnectionClosed, RequestError

__all__ = [
    "AnsweringConnection",
    "ConnectOptions",
    "Connection",
    "EndpointOf",
    "EventSocket",
    "File",
    "OperationOf",
    "Query",
    "Rest",
    "Token",
    "TypedClient",
    "Whereabouts",
]

Sent = TypeVar("Sent", contravariant=True)
Received = TypeVar("Received", covariant=True)

Token: TypeAlias = str | Callable[[], str | Awaitable[str | None] | None]
"""A token, or a function that is asked for it at each connection and each request."""

OnError: TypeAlias = Callable[[RequestError], object]

_log = logging.getLogger("wireloom.clients")


class ConnectOptions(ClientOptions, total=False):
    """What `wireloom.connect` takes besides a URL and subprotocols."""

    max_queue: int
    max_queue_bytes: int
    max_attempts: int | None
    backoff_base: float
    backoff_cap: float
    come_back: Collection[int]
    on_state: Callable[[State], object] | None


class Whereabouts(TypedDict):
    """Who and where a connection of the event socket is."""

    client_id: str
    root_id: str
    channel_id: str
    auth_error: NotRequired[str]
    channel_error: NotRequired[str]


class TypedClient:
    """A client of one application. Use it with ``async with``; it ends all connections that it has opened.

    Args:
        url: where the application is served, such as ``https://example.com``.
        token: of a user, where there are users.
        api_key: for what asks for an API key.
        timeout: seconds that a request or subscription may take; None for no limit.
        on_error: called with errors that no request waits for; without it, they are logged.
        options: see `wireloom.connect`.
    """

    def __init__(
        self,
        url: str,
        *,
        token: Token | None = None,
        api_key: str | None = None,
        timeout: float | None = 30.0,
        on_error: OnError | None = None,
        **options: Unpack[ConnectOptions],
    ) -> None:
        scheme, separator, rest = url.rstrip("/").partition("://")
        if not separator or scheme not in ("http", "https", "ws", "wss") or not urlsplit(url).hostname:
            raise ValueError(f"{url!r} is no URL such as https://example.com")
        self.timeout = timeout
        self._secure = "s" if scheme.endswith("s") else ""
        self._rest = rest
        self._token = token
        self._api_key = api_key
        self._on_error = on_error
        self._options = options
        self._open: set[_Opened] = set()
        self._http: Any = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends all connections for good."""
        for each in list(self._open):
            await each.close()
        if self._http is not None:
            await self._http.aclose()
            self._http = None

    async def current_token(self) -> str | None:
        """The token as it is now."""
        token = self._token() if callable(self._token) else self._token
        return await token if isawaitable(token) else token

    def has_failed(self, error: RequestError) -> None:
        """Tells of an error that no request waits for."""
        if self._on_error is not None:
            self._on_error(error)
        else:
            _log.warning("%s: %s", self._rest, str(error)[:500])

    async def _connect(
        self, kind: type[connect], target: str, subprotocols: Sequence[str], bearer: bool
    ) -> LastingConnection:
        options = self._options.copy()
        given = options.pop("headers", ())

        async def headers() -> list[tuple[str, str]]:
            own = given() if callable(given) else given
            own = await own if isawaitable(own) else own
            pairs = list(own.items()) if isinstance(own, Mapping) else list(own)
            token = await self.current_token() if bearer else None
            return pairs if token is None else [*pairs, ("Authorization", f"Bearer {token}")]

        options["headers"] = headers
        return await kind(f"ws{self._secure}://{self._rest}{target}", subprotocols=subprotocols, **options)

    async def _call(
        self,
        operation: OperationOf,
        path: Query | None,
        query: Query | None,
        body: Any,
        has_body: bool,
    ) -> Any:
        import httpx

        if self._http is None:
            self._http = httpx.AsyncClient(timeout=self.timeout)
        url = f"http{self._secure}://{self._rest}{target_of(operation.path, path, query)}"
        content = body_of(body) if has_body else {}
        headers = await self._headers(operation)
        try:
            answer = await self._http.request(operation.method, url, headers=headers, **content)
        except httpx.RequestError as error:
            raise no_answer(error, operation.method, url, self.timeout) from error
        try:
            told = answer.json()
        except ValueError:
            told = None
        if not answer.is_success:
            raise failure_of(answer.status_code, told)
        if operation.enveloped and isinstance(told, dict):
            return told.get("data")
        return answer.text if told is None else told

    async def _headers(self, operation: OperationOf) -> dict[str, str]:
        if operation.auth == "api_key":
            return {} if self._api_key is None else {"X-API-Key": self._api_key}
        token = await self.current_token()
        return {} if token is None else {"Authorization": f"Bearer {token}"}


class Rest:
    """The endpoints of HTTP; generated code has a method for each.

    Args:
        client: whose.
    """

    def __init__(self, client: TypedClient) -> None:
        self._client = client

    async def _get(self, operation: OperationOf, path: Query | None = None, query: Query | None = None) -> Any:
        """Sends a request without a body."""
        return await self._client._call(operation, path, query, None, has_body=False)

    async def _send(
        self, operation: OperationOf, body: Any, path: Query | None = None, query: Query | None = None
    ) -> Any:
        """Sends a request with a body; None is none."""
        return await self._client._call(operation, path, query, body, has_body=body is not None)


# -- connections ------------------------------------------------------------------------------------------------------


class _Opened:
    """A connection that a client has opened."""

    _kind: type[connect] = connect

    def __init__(
        self, client: TypedClient, target: str, subprotocols: Sequence[str] = (), *, bearer: bool = False
    ) -> None:
        self._client = client
        self._target = target
        self._subprotocols = subprotocols
        self._bearer = bearer
        self._lasting: LastingConnection | None = None

    @property
    def lasting(self) -> LastingConnection:
        """The connection underneath, with all that it has.

        Raises:
            RuntimeError: it was not opened yet.
        """
        if self._lasting is None:
            raise RuntimeError("it is not open; use it with `async with`, or await its open() first")
        return self._lasting

    @property
    def state(self) -> State:
        """``"connected"``, ``"away"`` or ``"over"``."""
        return self._lasting.state if self._lasting is not None else "away"

    async def open(self) -> Self:
        """Waits for the first connection; then it is yours, or the client's, to close.

        Raises:
            HandshakeFailed, OSError: see `wireloom.connect`.
        """
        if self._lasting is None:
            lasting = await self._client._connect(self._kind, self._target, self._subprotocols, self._bearer)
            self._lasting = lasting
            self._client._open.add(self)
            self._opened(lasting)
        return self

    async def close(self, code: int | None = 1000, reason: str = "") -> None:
        """Ends it for good."""
        self._client._open.discard(self)
        if self._lasting is not None:
            await self._lasting.close(code, reason)

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _opened(self, lasting: LastingConnection) -> None:
        """What else is to be done with it."""


class Connection(_Opened, Generic[Sent, Received]):
    """A connection of one endpoint. Comes back by itself; what is sent while it is away waits.

    Args:
        client: whose.
        endpoint: whose messages go to and fro.
        path: the values of the path's parameters.
        query: those of the query's; None is none.
    """

    def __init__(
        self,
        client: TypedClient,
        endpoint: EndpointOf,
        path: Query | None = None,
        query: Query | None = None,
    ) -> None:
        target = target_of(endpoint.path, path, query)
        super().__init__(client, target, endpoint.subprotocols, bearer=endpoint.bearer)
        self._endpoint = endpoint

    async def send(self, message: Sent) -> None:
        """Sends a message; else as `wireloom.clients.reconnect.LastingConnection.send`."""
        await self.lasting.send(self._encode(message))

    async def receive(self) -> Received:
        """The next message.

        Raises:
            ConnectionClosed, HandshakeFailed, OSError: there will be none, and why.
        """
        while True:
            with suppress(_Told):
                return self._decode(await self.lasting.receive())

    def __aiter__(self) -> AsyncIterator[Received]:
        return self._messages()

    async def _messages(self) -> AsyncIterator[Received]:
        async for data in self.lasting:
            with suppress(_Told):
                yield self._decode(data)

    def _encode(self, message: Any) -> str | bytes:
        if not self._endpoint.json:
            return cast("str | bytes", message)
        return json.dumps(message, ensure_ascii=False, separators=(",", ":"))

    def _decode(self, data: str | bytes) -> Received:
        """The message; an error is told to whom it concerns.

        Raises:
            _Told: it was an error.
        """
        message = self._read(data)
        if isinstance(message, RequestError):
            self._client.has_failed(message)
            raise _Told
        return message

    def _read(self, data: str | bytes) -> Received | RequestError:
        if not self._endpoint.json and not (isinstance(data, str) and data.startswith('{"error":')):
            return cast("Received", data)
        try:
            message: Any = json.loads(data)
        except ValueError:
            if not self._endpoint.json:
                return cast("Received", data)
            return RequestError("NOT_JSON", f"what came is not JSON: {data[:100]!r}")
        failure = failure_in(message, self._endpoint.errors)
        return failure or cast("Received", message if self._endpoint.json else data)


class _Told(Exception):
    """It was no message."""


class _InOrder(LastingConnection):
    """Gives each answer to the message that it answers, by their order on one connection."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._turn = asyncio.Lock()
        self._expected: deque[asyncio.Future[str | bytes] | None] = deque()  # None: of what was sent by `send`

    async def send(self, message: str | bytes | bytearray | memoryview) -> None:
        if self._connection is not None and self._connection.is_open and not self._is_closing:
            self._expected.append(None)
        await super().send(message)

    async def exchange(self, message: str | bytes, timeout: float | None) -> str | bytes:
        """Sends a message and gives its answer. One after another; a connection without an answer is given up."""
        async with asyncio.timeout(timeout), self._turn:
            connection = await self._open_connection()
            answer: asyncio.Future[str | bytes] = asyncio.get_running_loop().create_future()
            self._expected.append(answer)
            connection.send(message)
            try:
                return await answer
            except asyncio.CancelledError:
                connection.is_left = True
                connection.abort()  # no closing handshake: the server is busy with what has no answer
                raise

    def _has_opened(self, connection: _Connection) -> None:
        self._expected = deque([None] * len(self._queue))
        super()._has_opened(connection)

    def _has_message(self, message: str | bytes, connection: _Connection) -> None:
        answer = self._expected.popleft() if self._expected else None
        if answer is None:
            super()._has_message(message, connection)
        elif not answer.done():
            answer.set_result(message)

    def _has_closed(self, ending: Ending) -> None:
        expected, self._expected = self._expected, deque()
        for answer in expected:
            if answer is not None and not answer.done():
                answer.set_exception(ending.error)
        super()._has_closed(ending)


class _ConnectInOrder(connect):
    _kind = _InOrder


class AnsweringConnection(Connection[Sent, Received]):
    """A connection of an endpoint that answers each message with one, in their order."""

    _kind = _ConnectInOrder

    async def request(self, message: Sent, *, timeout: float | None = None) -> Received:
        """Sends a message and gives the answer to it: what comes next, so publications would be taken for one.

        Requests go one after another and are never sent twice. After a time-out the connection is renewed, so that a
        late answer is not taken for another's.

        Args:
            timeout: seconds; None: the client's.

        Raises:
            RequestError: the answer is an error.
            ConnectionClosed: the connection was lost before the answer, or all is over.
            TimeoutError: the time is over.
        """
        lasting = cast("_InOrder", self.lasting)
        limit = self._client.timeout if timeout is None else timeout
        answer = self._read(await lasting.exchange(self._encode(message), limit))
        if isinstance(answer, RequestError):
            raise answer
        return answer


# -- the event socket -------------------------------------------------------------------------------------------------


class _Greeted(LastingConnection):
    """Knows who it is by the first frame of each connection, and hears that its login is about to end."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.whereabouts: Whereabouts | None = None
        self.on_expiring: Callable[[], object] | None = None
        self._greeted: _Connection | None = None

    def _has_message(self, message: str | bytes, connection: _Connection) -> None:
        # Only the first frame is surely the server's own: what clients send each other may look like any other
        if self._greeted is not connection:
            self._greeted = connection
            self.whereabouts = json.loads(message).get("data")
            return
        if self.on_expiring is not None and '"token_expiring"' in str(message):
            self.on_expiring()
        super()._has_message(message, connection)

    def _has_closed(self, ending: Ending) -> None:
        self.whereabouts = None
        super()._has_closed(ending)


class _ConnectGreeted(connect):
    _kind = _Greeted


class EventSocket(_Opened):
    """One connection for everything: named events, users, channels and other clients. Iterate over it for what comes.

    Args:
        client: whose.
        path: where it is.
    """

    _kind = _ConnectGreeted

    def __init__(self, client: TypedClient, path: str) -> None:
        super().__init__(client, path, bearer=True)
        self._refreshing: asyncio.Task[None] | None = None

    @property
    def whereabouts(self) -> Whereabouts | None:
        """Who and where this connection is; None while there is none."""
        return cast("_Greeted", self.lasting).whereabouts

    async def __aiter__(self) -> AsyncIterator[Any]:
        async for data in self.lasting:
            message = json.loads(data)
            if isinstance(message, dict) and isinstance(message.get("type"), str) and "error" in message:
                self._client.has_failed(refusal_of(message["error"]))
            else:
                yield message

    async def subscribe(self, *channels: str) -> None:
        """Hears channels, on this connection and on all that follow; else as `LastingConnection.subscribe`."""
        await self.lasting.subscribe(*channels, timeout=self._client.timeout)

    async def unsubscribe(self, *channels: str) -> None:
        """Hears channels no longer."""
        await self.lasting.unsubscribe(*channels, timeout=self._client.timeout)

    async def notify_users(self, root_ids: Sequence[str], data: Mapping[str, Any]) -> None:
        """Sends data to every connection of users. Nothing acknowledges it."""
        await self.lasting.send_json({"type": "user", "root_ids": list(root_ids), "data": data})

    async def notify_channels(self, channel_ids: Sequence[str], data: Mapping[str, Any]) -> None:
        """Sends data to every subscriber of channels."""
        await self.lasting.send_json({"type": "channel", "channel_ids": list(channel_ids), "data": data})

    async def notify_clients(self, client_ids: Sequence[str], data: Mapping[str, Any]) -> None:
        """Sends data to connections."""
        await self.lasting.send_json({"type": "client", "client_ids": list(client_ids), "data": data})

    async def change_user(self, token: str | None) -> Whereabouts:
        """Is the connection of a token's user from now on, or with None nobody's; the next asks the client's token."""
        lasting = cast("_Greeted", self.lasting)
        reply = await lasting.request({"type": "change_user", "token": token}, timeout=self._client.timeout)
        whereabouts: Whereabouts = reply["data"]
        lasting.whereabouts = whereabouts
        return whereabouts

    async def call_by_name(self, name: str, context: Any = None) -> list[Any]:
        """Calls what the server has under a name, and gives its reports. Typed as ``call.NAME``.

        Raises:
            RequestError: the server refuses, or it failed.
            ConnectionClosed: the connection was lost before the reply, or all is over.
            TimeoutError: the time is over.
        """
        event = {"type": "walker", "walker": name, "context": {} if context is None else context}
        reply = await self.lasting.request(event, timeout=self._client.timeout)
        reports: list[Any] = reply.get("reports", [])
        return reports

    def _opened(self, lasting: LastingConnection) -> None:
        cast("_Greeted", lasting).on_expiring = self._refresh

    def _refresh(self) -> None:
        """Before the login ends, another token is asked for where a function gives them."""
        if callable(self._client._token) and (self._refreshing is None or self._refreshing.done()):
            self._refreshing = asyncio.create_task(self._log_in_again())

    async def _log_in_again(self) -> None:
        token = await self._client.current_token()
        if token is not None:
            try:
                await self.change_user(token)
            except RequestError as error:
                self._client.has_failed(error)
            except (ConnectionClosed, TimeoutError):
                pass  # the next connection asks for a token of its own
