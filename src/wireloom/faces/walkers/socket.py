"""The WebSocket door: each message is one run; the connection stays, whatever is wrong with a message."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from wireloom.core.codec import Codec
from wireloom.core.rate import Rate
from wireloom.core.request import Request
from wireloom.core.topic import PUBLIC_ROOT_ID, walker_topic
from wireloom.errors import Disconnect, ValidationFailed
from wireloom.faces.walkers.callers import is_allowed, require_role
from wireloom.faces.walkers.envelope import SOCKET_REPLY_SCHEMA, socket_errors, socket_reply
from wireloom.faces.walkers.fields import Fields, split_token
from wireloom.faces.walkers.run import Runner
from wireloom.faces.walkers.services import Services
from wireloom.hub.census import TooManyConnections
from wireloom.identity.bearer import BEARER_SUBPROTOCOL, find_token

if TYPE_CHECKING:
    from wireloom.faces.walkers.spec import Spec
    from wireloom.faces.walkers.walker import Walker
    from wireloom.hub.connection import Connection

__all__ = ["WalkerSocket"]


class _Unread:
    """A message whose fields wait until it is known who sent it."""

    __slots__ = ("payload", "token")

    def __init__(self, payload: str | bytes, token: Any) -> None:
        self.payload = payload
        self.token = token


class WalkerSocket:
    """The WebSocket door of one walker.

    Args:
        name: the walker's.
        spec: how it was declared.
        fields: how it is made of a message.
        runner: runs it.
        rate: how often one caller may run it; None: as it likes.
        services: what the application has.
    """

    def __init__(
        self, name: str, spec: Spec, fields: Fields, runner: Runner, rate: Rate | None, services: Services
    ) -> None:
        self._spec = spec
        self._fields = fields
        self._runner = runner
        self._services = services
        self._topic = walker_topic(name) if spec.broadcast else None
        self._rate = rate
        self._tokens = services.tokens
        encode_error = socket_errors(services.config.dev)
        message_schema = fields.schema_with_token()
        self.codec = Codec(self._decode, socket_reply, encode_error, True, message_schema, SOCKET_REPLY_SCHEMA)

    @property
    def hooks(self) -> dict[str, Any]:
        """What else the endpoint is made of."""
        direct = not self._runner.waits and not self._spec.broadcast and self._rate is None
        return {
            "on_connect": self.on_connect,
            "on_disconnect": self.on_disconnect,
            "begin": self.begin if direct else None,
            "subprotocols": (BEARER_SUBPROTOCOL,),
            "answers": not self._spec.broadcast,
            "takes_over": self.takes_over,
        }

    # -- life --------------------------------------------------------------------------------------------------------

    async def on_connect(self, request: Request) -> None:
        """Remembers the token that the connection came with, and whose connection it is.

        Raises:
            Disconnect: 1008: its user has as many connections as may be.
        """
        connection: Connection = request.connection
        if self._topic is not None and self._spec.public:
            connection.hear(self._topic)
        token = find_token(request.headers, request.query, request.subprotocols, in_query=True)
        if token is None:
            return
        self._tokens[connection] = token
        assert self._services.callers is not None
        since = self._services.hub.logins.revocations
        user = await self._services.callers.find(token)
        if user is not None and connection.is_open:
            try:
                self._log_in(connection, user, since)
            except TooManyConnections as refusal:
                raise Disconnect(1008, refusal.message) from refusal

    def _log_in(self, connection: Connection, user: Any, since: int) -> None:
        """From now on it is this user's connection, which hears what only those hear who may run the walker."""
        connection.change_user(user)
        if self._topic is not None and is_allowed(user, self._spec.roles):
            connection.hear(self._topic)
        self._services.hub.logins.track(connection, self._log_out, since=since)

    def _log_out(self, connection: Connection, reason: str) -> None:
        """The login has ended: it is the public's connection now, and its messages are told so."""
        connection.change_user(None)
        if self._topic is not None and not self._spec.public:
            connection.stop_hearing(self._topic)

    async def on_disconnect(self, request: Request) -> None:
        """Forgets the connection."""
        self._tokens.pop(request.connection, None)

    # -- messages ----------------------------------------------------------------------------------------------------

    def _decode(self, payload: str | bytes) -> Any:
        """A walker, where anybody may run it and the message brings no token; else what is left to be read."""
        if self._spec.public and (b'"token"' if payload.__class__ is bytes else '"token"') not in payload:  # type: ignore[operator]
            try:
                return self._fields.from_json(payload), payload
            except ValidationFailed:
                if (b"\\u" if payload.__class__ is bytes else "\\u") not in payload:  # type: ignore[operator]
                    raise  # else it may be the token's own name that has escapes in it (RFC 8259 §8.3)
        token, rest = split_token(payload)
        return _Unread(rest, token)

    def begin(self, request: Request) -> Any:
        """Answers at once where nothing has to be waited for: no token to look up, nothing to be kept."""
        message = request.message
        if message.__class__ is _Unread or (self._tokens and request.connection in self._tokens):
            return self.on_message(request)
        return self._runner.begin(request, PUBLIC_ROOT_ID, message[0], self._fields.from_json, message[1])

    async def on_message(self, request: Request) -> bytes | None:
        """Finds out who asks, then reads the fields, then runs."""
        message, callers = request.message, self._services.callers
        assert callers is not None
        connection: Connection = request.connection
        token = getattr(message, "token", None)
        if token is None:
            token = self._tokens.get(connection)
        since = self._services.hub.logins.revocations
        user = None if token is None else await callers.find(token, public=self._spec.public)
        if not self._spec.public:
            require_role(user, self._spec.roles)
        request.caller = user
        if self._rate is not None:
            self._rate.take(request)
        if self._topic is not None and user is not None and connection.user is None:
            self._log_in(connection, user, since)  # else it would not hear its own answer
        walker, again = self._read(message)
        reports = await self._runner.run(request, getattr(user, "root_id", PUBLIC_ROOT_ID), walker, again)
        if self._topic is None:
            return reports
        self._services.hub.publish_payload([self._topic], socket_reply(reports))
        await self._services.hub.backplane.drain()
        return None

    def takes_over(self, connection: Connection) -> bool:
        """Whether a live reload may give it another endpoint's connection: a walker's, heard by the same."""
        other = getattr(connection.endpoint.on_message, "__self__", None)
        return isinstance(other, WalkerSocket) and (other._topic, other._spec.public, other._spec.roles) == (
            self._topic,
            self._spec.public,
            self._spec.roles,
        )

    def _read(self, message: Any) -> tuple[Walker, Any]:
        if message.__class__ is _Unread:
            again = partial(self._fields.from_json, message.payload)
            return again(), again
        walker, payload = message
        return walker, partial(self._fields.from_json, payload)
