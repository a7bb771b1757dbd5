"""The event socket's endpoint: what each event does.

Laws:
- Nobody learns from an answer, or from the lack of one, whether an id belongs to anyone.
- Bad input gets its error and the connection stays.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import anyio
import msgspec

from wireloom.config import Config
from wireloom.core.actions import Actions
from wireloom.core.codec import Codec, error_object
from wireloom.core.dispatch import invoke, log_bug
from wireloom.core.endpoint import Door, Endpoint, Handler, Parameter
from wireloom.core.provide import compile_call, read_parameters
from wireloom.core.request import Request
from wireloom.core.topic import Topic, channel, client, user
from wireloom.errors import ConnectionClosed, Disconnect, RequestError, Unauthorized
from wireloom.faces.events.messages import (
    Answer,
    ChangeUser,
    ChannelEvent,
    ClientEvent,
    ConnectionEvent,
    ConnectionFrame,
    Event,
    EventError,
    EventId,
    Subscribe,
    Subscribed,
    TokenExpiring,
    Unsubscribe,
    Unsubscribed,
    UserEvent,
    WalkerEvent,
    Whereabouts,
    decode_event,
    encode_answer,
    encode_error,
    encode_frame,
)
from wireloom.faces.events.policy import Allow, Kind, allow_guarded, allow_open
from wireloom.hub.census import TooManyConnections
from wireloom.hub.connection import Connection
from wireloom.hub.hub import Hub
from wireloom.identity.bearer import BEARER_SUBPROTOCOL, Authenticate, find_token
from wireloom.identity.refusal import TokenInvalid

__all__ = ["EventOptions", "compile_event_socket"]

_EVENT_BYTES = 16 * 1024 * 1024  # that one event may send in all
_SETTLE_SECONDS = 5.0  # for the backplane to acknowledge a subscription
_CHANNEL_ID = Parameter(
    "channel_id",
    "query",
    {"type": "string", "description": "The connection's own channel; without it, one that nobody guesses."},
    required=False,
)
_UNAVAILABLE = {
    "code": "UNAVAILABLE",
    "message": "Subscribed in this process; the others cannot be reached now and follow when they can",
}

Hook = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class EventOptions:
    """What an event socket was declared with.

    Args:
        path: where it listens.
        allow: whom a connection may address; None: as the option ``peer_events`` says.
        on_connect: called once a connection was told who and where it is.
        on_disconnect: called exactly once, after its last event.
        implied: nobody declared it: a walker that it reaches brought it.
        source: ``file:line`` of the declaration.
    """

    path: str
    allow: Allow | None = None
    on_connect: Hook | None = None
    on_disconnect: Hook | None = None
    implied: bool = False
    source: str = ""


def compile_event_socket(
    options: EventOptions,
    config: Config,
    hub: Hub,
    actions: Actions,
    authenticate: Authenticate,
    channels: dict[Connection, str],
) -> Endpoint:
    """The endpoint of the event socket.

    Args:
        options: what it was declared with.
        config: the application's options.
        hub: reaches users, channels and clients.
        actions: what ``walker`` events run.
        authenticate: gives the user of a token.
        channels: each open connection's own; what a live reload compiles anew goes on with it.

    Raises:
        ConfigError: a hook with a parameter that nothing explains.
    """
    allow = options.allow or (allow_open if config.peer_events == "open" else allow_guarded)
    came, left = _compile_hook(options.on_connect, hub), _compile_hook(options.on_disconnect, hub)
    own_policy = options.allow is not None
    events = _EventSocket(config, hub, actions, authenticate, channels, allow, came, left, own_policy=own_policy)
    return Endpoint(
        name="events",
        path=options.path,
        door=Door.WEBSOCKET,
        codec=Codec(
            decode_event,
            bytes,
            encode_error,
            message_schema=msgspec.json.schema(Event),
            response_schema=msgspec.json.schema(Answer),
        ),
        on_message=events.on_message,
        parameters=(_CHANNEL_ID,),
        on_connect=events.on_connect,
        on_disconnect=events.on_disconnect,
        limits=config.limits,
        subprotocols=(BEARER_SUBPROTOCOL,),
        summary="The event socket: walkers, users, channels and clients over one connection.",
        takes_over=events.takes_over,
        source=options.source,
    )


def _compile_hook(hook: Hook | None, hub: Hub) -> Handler | None:
    """A function of the request that gives a hook the parameters that it asks for."""
    if hook is None:
        return None
    services = {Connection: "request.connection", Request: "request", Hub: hub}
    return compile_call(hook, read_parameters(hook, [], services, takes_message=False))


class _EventSocket:
    """What the event socket does, for all its connections."""

    def __init__(
        self,
        config: Config,
        hub: Hub,
        actions: Actions,
        authenticate: Authenticate,
        channels: dict[Connection, str],
        allow: Allow,
        came: Handler | None,
        left: Handler | None,
        *,
        own_policy: bool,
    ) -> None:
        self._config = config
        self._hub = hub
        self._actions = actions
        self._authenticate = authenticate
        self._allow = allow
        self._own_policy = own_policy
        self._came = came
        self._left = left
        self._channels = channels  # each connection's own, told in its connection frame
        self._answers: dict[type[Any], Callable[[Connection, Any], Awaitable[bytes | None]]] = {
            ConnectionEvent: self._connection,
            WalkerEvent: self._walker,
            UserEvent: self._user,
            ChannelEvent: self._channel,
            ClientEvent: self._client,
            ChangeUser: self._change_user,
            Subscribe: self._subscribe,
            Unsubscribe: self._unsubscribe,
        }

    # -- coming and going ----------------------------------------------------------------------------------------------

    async def on_connect(self, request: Request) -> None:
        """Logs the connection in where it brings a token, joins its channel and tells it who and where it is."""
        connection: Connection = request.connection
        connection.client_id  # noqa: B018  # made now, so that it is known everywhere before the client is
        token = find_token(
            request.headers, request.query, request.subprotocols, in_query=self._config.allow_token_in_query
        )
        problems = await self._log_in(connection, token)
        wanted = request.query.get("channel_id") or ""
        if wanted and not await self._may(connection, "subscribe", (wanted,)):
            wanted, problems = "", {**problems, "channel_error": "Not allowed"}
        if token and connection.user is None and not problems:  # it ended while the policy was asked
            problems = {"auth_error": "Token expired"}
        own = self._channels[connection] = wanted or _new_channel_id()
        connection.join(own)
        await self._settle_soon()
        connection.send_encoded(self._connection_frame(connection, problems))
        if self._came is not None:
            await self._came(request)

    async def on_disconnect(self, request: Request) -> None:
        """Forgets the connection's channel."""
        self._channels.pop(request.connection, None)
        if self._left is not None:
            await self._left(request)

    def takes_over(self, connection: Connection) -> bool:
        """Goes on with every connection that was told its channel; the end of its login is told here from now on."""
        self._hub.logins.hand_over(connection, self._log_out)
        return connection in self._channels

    async def on_message(self, request: Request) -> bytes | None:
        """Does what one event asks for; gives the answer, if it has one."""
        event: Event = request.message
        try:
            return await self._answers[type(event)](request.connection, event)
        except (RequestError, Disconnect, ConnectionClosed):
            raise
        except Exception as error:  # a bug, of the policy for instance, is told with the event's id
            error_id = log_bug(request.endpoint, error, "handler")
            told = {"code": "INTERNAL_ERROR", "message": "Internal error", "id": error_id}
            raise EventError("error", told, event.id) from error

    def _connection_frame(
        self, connection: Connection, problems: dict[str, str] | None = None, event_id: EventId = None
    ) -> bytes:
        data = Whereabouts(connection.client_id, connection.root_id, self._channels[connection], **(problems or {}))
        return encode_answer(ConnectionFrame(data, event_id))

    # -- who it is -----------------------------------------------------------------------------------------------------

    async def _connection(self, connection: Connection, event: ConnectionEvent) -> bytes:
        return self._connection_frame(connection, None, event.id)

    async def _change_user(self, connection: Connection, event: ChangeUser) -> bytes:
        heard = self._leave_channels(connection) if self._own_policy else set()
        problems = await self._log_in(connection, event.token)
        problems |= await self._hear_again(connection, heard)
        await self._settle_soon()
        return self._connection_frame(connection, problems, event.id)

    async def _log_in(self, connection: Connection, token: str | None) -> dict[str, str]:
        """Makes it the connection of the token's user, or of the public; gives what was wrong with the token."""
        found, problems = None, {}
        since = self._hub.logins.revocations
        if token:
            try:
                found = await self._authenticate(token)
            except TokenInvalid as invalid:
                problems = {"auth_error": invalid.reason}
        try:
            connection.change_user(found)
        except TooManyConnections as refusal:
            found, problems = None, {"auth_error": refusal.message}
            connection.change_user(None)
        self._hub.logins.forget(connection)
        if found is not None and connection.is_open:
            self._hub.logins.track(connection, self._log_out, _warn, since=since)
        return problems

    def _log_out(self, connection: Connection, reason: str) -> None:
        """The login has ended: the connection is the public's from now on, and is told so."""
        connection.change_user(None)
        if self._own_policy:  # it let somebody else in; whoever logs in again asks again
            self._leave_channels(connection)
        if connection in self._channels:  # else its first frame is still to come
            self._keep_own_channel(connection)
            connection.send_encoded(self._connection_frame(connection, {"auth_error": reason}))

    def _leave_channels(self, connection: Connection) -> set[str]:
        """Leaves all channels but one that was made for this connection and is nobody else's; says which."""
        own = self._channels.get(connection)
        made = {own} if own and own != connection.query.get("channel_id") else set()
        heard = connection.channels - made
        for name in heard:
            connection.leave(name)
        return set(heard)

    async def _hear_again(self, connection: Connection, names: set[str]) -> dict[str, str]:
        """Joins the channels that the policy lets the connection's new user hear, too."""
        for name in sorted(names):
            if await self._may(connection, "subscribe", (name,)):
                connection.join(name)
        return {} if self._keep_own_channel(connection) else {"channel_error": "Not allowed"}

    def _keep_own_channel(self, connection: Connection) -> bool:
        """Gives a connection that had to leave its own channel another; says whether it still has the old one."""
        if not connection.is_open or self._channels[connection] in connection.channels:
            return True
        own = self._channels[connection] = _new_channel_id()
        connection.join(own)
        return False

    async def _may(self, connection: Connection, kind: Kind, ids: Sequence[str]) -> bool:
        """What the policy says; asked again when the user was another one by the time it had its answer."""
        while True:
            asked_for = connection.user
            allowed = await self._allow(connection, kind, ids)
            if connection.user is asked_for:
                return allowed

    # -- whom it addresses ---------------------------------------------------------------------------------------------

    async def _user(self, connection: Connection, event: UserEvent) -> None:
        await self._publish(connection, "user", event.root_ids, user, event)

    async def _channel(self, connection: Connection, event: ChannelEvent) -> None:
        await self._publish(connection, "channel", event.channel_ids, channel, event)

    async def _client(self, connection: Connection, event: ClientEvent) -> None:
        await self._publish(connection, "client", event.client_ids, client, event)

    async def _publish(
        self,
        connection: Connection,
        kind: Kind,
        ids: Sequence[str],
        topic: Callable[[str], Topic],
        event: UserEvent | ChannelEvent | ClientEvent,
    ) -> None:
        targets = list(dict.fromkeys(ids))  # an id that is repeated delivers once
        if not await self._may(connection, kind, targets):
            raise EventError(kind, "Not allowed", event.id)
        payload = bytes(event.data)
        if len(targets) * len(payload) > _EVENT_BYTES:
            told = {
                "code": "INVALID_EVENT",
                "message": f"Data times ids is above {_EVENT_BYTES} bytes",
                "path": "$.data",
            }
            raise EventError("error", told, event.id)
        self._hub.publish_payload([topic(target) for target in targets], payload)
        await self._hub.backplane.drain()

    # -- which channels it hears ---------------------------------------------------------------------------------------

    async def _subscribe(self, connection: Connection, event: Subscribe) -> bytes:
        names = list(dict.fromkeys(event.channel_ids))
        if not await self._may(connection, "subscribe", names):
            raise EventError("subscribe", "Not allowed", event.id)
        heard = connection.channels
        try:
            for name in names:
                connection.join(name)
        except RequestError as error:
            for name in set(names) - heard:
                connection.leave(name)
            raise EventError("error", error_object(error), event.id) from error
        if not await self._settle():
            raise EventError("error", _UNAVAILABLE, event.id)
        return encode_answer(Subscribed(names, event.id))

    async def _unsubscribe(self, connection: Connection, event: Unsubscribe) -> bytes:
        names = list(dict.fromkeys(event.channel_ids))
        for name in names:
            connection.leave(name)
        self._keep_own_channel(connection)
        return encode_answer(Unsubscribed(names, event.id))

    async def _settle_soon(self) -> None:
        """As `_settle`, but in an outage there is nothing to wait for: the client is told who it is all the same."""
        if not self._hub.degraded:
            await self._settle()

    async def _settle(self) -> bool:
        """Waits until other processes reach the connection by what it has just joined, for so long and no longer."""
        with anyio.move_on_after(_SETTLE_SECONDS) as waiting:
            await self._hub.settle()
        return not waiting.cancelled_caught

    # -- what it runs --------------------------------------------------------------------------------------------------

    async def _walker(self, connection: Connection, event: WalkerEvent) -> bytes | None:
        endpoint = self._actions.find(event.walker)
        if endpoint is None:
            raise EventError("walker", "Invalid request! Please use valid walker event!", event.id)
        payload, counts = bytes(event.context), endpoint.counts
        counts.received += 1
        counts.received_bytes += len(payload)
        try:
            reports = await invoke(Request(endpoint, connection, None, event.node), payload)
        except Unauthorized as error:
            counts.tell(error.code, error)
            raise EventError("walker", f"Event {event.walker} requires to be authenticated!", event.id) from error
        except RequestError as error:
            counts.tell(error.code, error)
            raise EventError("walker", error_object(error), event.id) from error
        if not event.response:
            return None
        counts.sent += 1
        counts.sent_bytes += len(reports)
        return encode_frame({"status": 200, "reports": msgspec.Raw(reports)}, event.id)


def _new_channel_id() -> str:
    """As client ids are made: nobody guesses it."""
    return f"{int(time.time())}:{uuid.uuid4().hex}"


def _warn(connection: Connection, seconds: int) -> None:
    connection.send_encoded(encode_answer(TokenExpiring(seconds)))
