"""Messages of the event socket: what a client sends, as one tagged union, and the answers that are not replies.

Law: an event is validated whole before anything happens; payloads for others stay the bytes that they were.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

import msgspec

from wireloom.core.json_text import CLIENT_ERRORS, refusal_of
from wireloom.errors import RequestError, ValidationFailed

__all__ = [
    "Answer",
    "ChangeUser",
    "ChannelEvent",
    "ClientEvent",
    "ConnectionEvent",
    "ConnectionFrame",
    "Event",
    "EventError",
    "EventId",
    "Subscribe",
    "Subscribed",
    "TokenExpiring",
    "Unsubscribe",
    "Unsubscribed",
    "UserEvent",
    "WalkerEvent",
    "Whereabouts",
    "decode_event",
    "encode_answer",
    "encode_error",
    "encode_frame",
]

MAX_TARGETS = 1000  # ids in one event
MAX_ID_LENGTH = 1000

_encode = msgspec.json.Encoder().encode

Ids: TypeAlias = Annotated[
    list[Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ID_LENGTH)]],
    msgspec.Meta(min_length=1, max_length=MAX_TARGETS),
]
Object: TypeAlias = Annotated[msgspec.Raw, msgspec.Meta(extra_json_schema={"type": "object", "default": {}})]
EventId: TypeAlias = str | int | None


def _empty() -> msgspec.Raw:
    return msgspec.Raw(b"{}")


class _Event(msgspec.Struct, tag_field="type"):
    id: EventId = None


class ConnectionEvent(_Event, tag="connection"):
    """Asks for the connection frame."""


class WalkerEvent(_Event, tag="walker", kw_only=True):
    """Runs a named action."""

    walker: str
    context: Object = msgspec.field(default_factory=_empty)
    response: bool = False
    node: str | None = None


class UserEvent(_Event, tag="user", kw_only=True):
    """Data for every connection of some users."""

    root_ids: Ids
    data: Object = msgspec.field(default_factory=_empty)


class ChannelEvent(_Event, tag="channel", kw_only=True):
    """Data for every subscriber of some channels."""

    channel_ids: Ids
    data: Object = msgspec.field(default_factory=_empty)


class ClientEvent(_Event, tag="client", kw_only=True):
    """Data for some connections."""

    client_ids: Ids
    data: Object = msgspec.field(default_factory=_empty)


class ChangeUser(_Event, tag="change_user", kw_only=True):
    """Logs this connection in as someone else, or out."""

    token: str | None = None


class Subscribe(_Event, tag="subscribe", kw_only=True):
    """Hears further channels."""

    channel_ids: Ids


class Unsubscribe(_Event, tag="unsubscribe", kw_only=True):
    """Hears some channels no longer."""

    channel_ids: Ids


Event: TypeAlias = (
    ConnectionEvent | WalkerEvent | UserEvent | ChannelEvent | ClientEvent | ChangeUser | Subscribe | Unsubscribe
)


class _Answer(msgspec.Struct, tag_field="type", omit_defaults=True):
    pass


class Whereabouts(msgspec.Struct, omit_defaults=True):
    """Who and where a connection is, and what was wrong with the token or the channel that it brought."""

    client_id: str
    root_id: str
    channel_id: str
    auth_error: str | msgspec.UnsetType = msgspec.UNSET
    channel_error: str | msgspec.UnsetType = msgspec.UNSET


class ConnectionFrame(_Answer, tag="connection"):
    """Says who and where this connection is: first of all, and whenever that changes."""

    data: Whereabouts
    id: EventId = None


class Subscribed(_Answer, tag="subscribed"):
    """These channels are heard from now on."""

    channel_ids: list[str]
    id: EventId = None


class Unsubscribed(_Answer, tag="unsubscribed"):
    """These channels are heard no longer."""

    channel_ids: list[str]
    id: EventId = None


class TokenExpiring(_Answer, tag="token_expiring"):
    """The token of this connection expires in so many seconds."""

    expires_in: int


Answer: TypeAlias = ConnectionFrame | Subscribed | Unsubscribed | TokenExpiring


class EventError(RequestError):
    """The sender of an event is told; the connection stays.

    Args:
        kind: the answer's ``type``.
        error: the answer's ``error``: a text, or an object with ``code`` and ``message``.
        event_id: the event's own ``id``, which the answer repeats.
    """

    def __init__(self, kind: str, error: str | dict[str, str], event_id: EventId = None) -> None:
        super().__init__("INVALID_EVENT", str(error))
        self.frame = encode_frame({"type": kind, "error": error}, event_id)


class _Identified(msgspec.Struct):
    id: Any = None


_decoder = msgspec.json.Decoder(Event)
_decode_id = msgspec.json.Decoder(_Identified).decode


def decode_event(payload: str | bytes) -> Event:
    """The event of one message.

    Raises:
        EventError: it is none; with the path of what is wrong and the event's id, where these can be told.
    """
    try:
        text = payload if isinstance(payload, str) else str(payload, "utf-8")
        event: Event = _decoder.decode(text)
    except CLIENT_ERRORS as error:
        raise _invalid(refusal_of(error, payload), _id_of(payload)) from error
    for name in ("data", "context"):
        raw = getattr(event, name, None)
        if raw is not None and bytes(raw[:1] if isinstance(raw, bytes) else memoryview(raw)[:1]) != b"{":
            raise _invalid(ValidationFailed([{"path": f"$.{name}", "message": "Expected `object`"}]), event.id)
    return event


def encode_frame(members: dict[str, Any], event_id: EventId = None) -> bytes:
    """An answer, with the id of the event that it answers where that had one."""
    return _encode(members if event_id is None else {**members, "id": event_id})


def encode_answer(answer: Answer) -> bytes:
    """An answer that has a type of its own."""
    return _encode(answer)


def encode_error(error: RequestError) -> bytes:
    """An error of the event socket itself."""
    if isinstance(error, EventError):
        return error.frame
    told = {"code": error.code, "message": error.message}
    error_id = getattr(error, "error_id", None)
    return encode_frame({"type": "error", "error": {**told, "id": error_id} if error_id else told})


def _invalid(refusal: RequestError, event_id: EventId) -> EventError:
    [first, *_] = (
        refusal.details if isinstance(refusal, ValidationFailed) else [{"path": "$", "message": "Invalid JSON"}]
    )
    return EventError("error", {"code": "INVALID_EVENT", "message": first["message"], "path": first["path"]}, event_id)


def _id_of(payload: str | bytes) -> EventId:
    """The id of an event that is not valid otherwise."""
    try:
        found = _decode_id(payload).id
    except CLIENT_ERRORS:
        return None
    return found if isinstance(found, (str, int)) and not isinstance(found, bool) else None
