"""``POST /notify``: publications for users, channels and clients from services in any language, with an API key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, TypeAlias

import anyio
import anyio.lowlevel
import msgspec
from starlette.requests import Request as HTTPRequest
from starlette.responses import Response
from starlette.routing import Route

from wireloom.config import Limits
from wireloom.core.answers import Answers
from wireloom.core.json_text import CLIENT_ERRORS, refusal_of
from wireloom.core.operation import Operation
from wireloom.core.rest import answer, read_body
from wireloom.core.topic import Topic, channel, client, user
from wireloom.errors import RequestError, Unauthorized, ValidationFailed
from wireloom.hub.hub import Hub
from wireloom.identity.api_key import ApiKey
from wireloom.identity.refusal import Forbidden, KeyInvalid

__all__ = ["CheckKey", "notify_operation", "notify_route"]

CheckKey: TypeAlias = Callable[[str], Awaitable[ApiKey]]
"""The API key of a text. Raises `KeyInvalid`."""

_PATH, _STATUS = "/notify", 202
_MAX_PUBLICATIONS = 1000  # of one request
_MAX_BYTES = 16 * 1024 * 1024  # that one request may send in all

_Names: TypeAlias = Annotated[
    list[Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]],
    msgspec.Meta(min_length=1, max_length=_MAX_PUBLICATIONS),
]


class Notice(msgspec.Struct, forbid_unknown_fields=True):
    """Data, and whom it is for: users, channels or clients."""

    data: msgspec.Raw
    users: _Names | None = None
    channels: _Names | None = None
    clients: _Names | None = None

    def topics(self) -> list[Topic]:
        """Everything that it is addressed to, each once."""
        kinds = ((self.users, user), (self.channels, channel), (self.clients, client))
        return list(dict.fromkeys(topic(name) for names, topic in kinds for name in names or ()))


class _Answer(msgspec.Struct):
    """How many publications were made."""

    publications: int


_decode_one = msgspec.json.Decoder(Notice).decode
_decode_many = msgspec.json.Decoder(list[Notice]).decode


def notify_route(hub: Hub, check_key: CheckKey, *, admins_only: bool, limits: Limits) -> Route:
    """The route.

    Args:
        hub: publishes.
        check_key: knows the API keys.
        admins_only: only the keys of users whose role is ``admin``. Everyone may make a key, so where the application
            has its own policy for whom clients may address, the others' keys must not go around it.
        limits: of bodies.
    """

    async def notify(request: HTTPRequest) -> Response:
        shown = request.headers.get("x-api-key")
        if not shown:
            raise KeyInvalid("API key missing")
        key = await check_key(shown)
        if key.allowed_walkers is not None:
            raise Forbidden("This key is for walkers only")
        if admins_only and key.user.role != "admin":
            raise Forbidden("Only the keys of administrators may publish here")
        notices = _decode(await read_body(request, limits))
        for notice in notices:
            hub.publish_payload(notice.topics(), bytes(notice.data))
            await hub.backplane.drain()
            await anyio.lowlevel.checkpoint()  # a large batch lets the others have their turn
        return answer(_Answer(sum(len(notice.topics()) for notice in notices)), _STATUS)

    return Route(_PATH, Answers({"POST": notify}, _refusal_of))


def _refusal_of(error: Exception) -> RequestError | None:
    return Unauthorized(error.reason) if isinstance(error, KeyInvalid) else None


def notify_operation() -> Operation:
    """What the documents say of the route."""
    return Operation(
        method="POST",
        path=_PATH,
        name="notify",
        summary="Publishes for users, channels and clients.",
        tags=("publishing",),
        auth="api_key",
        body=msgspec.json.schema(Notice | list[Notice]),
        status=_STATUS,
        response=msgspec.json.schema(_Answer),
        errors=(400, 401, 403, 408, 413, 422, 500),
    )


def _decode(body: bytes) -> list[Notice]:
    """The entries of a batch, or the one entry; nothing is published unless all of them are valid."""
    many = body.lstrip()[:1] == b"["
    try:
        text = str(body, "utf-8")
        notices = _decode_many(text) if many else [_decode_one(text)]
    except CLIENT_ERRORS as error:
        raise refusal_of(error, body) from error
    for index, notice in enumerate(notices):
        if not notice.topics():
            path = f"$[{index}]" if many else "$"
            raise ValidationFailed([{"path": path, "message": "Needs one of users, channels and clients"}])
    sizes = [(len(notice.topics()), len(bytes(notice.data))) for notice in notices]
    if sum(count for count, _ in sizes) > _MAX_PUBLICATIONS:
        raise ValidationFailed([{"path": "$", "message": f"More than {_MAX_PUBLICATIONS} publications at once"}])
    if sum(count * size for count, size in sizes) > _MAX_BYTES:
        raise ValidationFailed([{"path": "$", "message": f"More than {_MAX_BYTES} bytes to send in all"}])
    return notices
