"""Opening: from an upgrade request to an admitted connection, the same for our own port and for other ASGI servers."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from wireloom.core.dispatch import log_bug
from wireloom.core.endpoint import Endpoint
from wireloom.core.request import Request
from wireloom.errors import Deny, RequestError
from wireloom.hub.connection import Connection
from wireloom.net.listener import Listener
from wireloom.wire.handshake import RequestHead, check_origin, deny_response

__all__ = ["admit", "find_endpoint", "needs_admission"]


def find_endpoint(
    listener: Listener, head: RequestHead, path: str | None = None
) -> tuple[Endpoint, dict[str, Any], dict[str, Any]]:
    """The endpoint that a request wants, with its converted path and query parameters.

    Args:
        path: the path below the place where the application is mounted; by default the head's.

    Raises:
        Deny: 421 for a Host that is not ours, 404 without such an endpoint, 403 from a foreign origin, 400 for the
            query, 503 without room.
    """
    listener.allowed_hosts.check(head.headers)
    match = listener.router.match(head.path if path is None else path)
    if match is None:
        raise Deny(404, {"error": "Not Found", "message": f"No route found for {head.method} {head.path}"})
    check_origin(head, listener.config.allowed_origins)
    listener.check_room()
    endpoint, raw = match
    path_params, query_params = endpoint.bind(raw, head.query_string) if endpoint.bind is not None else (raw, {})
    return endpoint, path_params, query_params


def needs_admission(endpoint: Endpoint) -> bool:
    """Whether anything of the application's own has to run before the upgrade."""
    return endpoint.authorize is not None or endpoint.on_handshake is not None


def _check_writable(deny: Deny, endpoint: Endpoint) -> None:
    """A refusal that cannot be written, by its body or headers, is a bug of the application."""
    try:
        deny_response(deny)
    except (TypeError, ValueError) as error:
        raise _internal_error(endpoint, error) from error


def _internal_error(endpoint: Endpoint, error: Exception) -> Deny:
    return Deny(500, {"error": "Internal error", "id": log_bug(endpoint, error, "handshake")})


async def admit(listener: Listener, connection: Connection) -> None:
    """Asks the endpoint whether this connection may open; sets its user.

    Raises:
        Deny: the application refuses, or fails (500, with the id of the log line); 429 from an address that has as many
            as it may.
    """
    with listener.tracing.handshake(connection) if listener.tracing is not None else nullcontext():
        listener.check_address(connection)
        await _ask(connection)


async def _ask(connection: Connection) -> None:
    endpoint: Endpoint = connection.endpoint
    request = Request(endpoint, connection)
    try:
        if endpoint.authorize is not None:
            connection.user = await endpoint.authorize(request)
        if endpoint.on_handshake is not None:
            await endpoint.on_handshake(request)
    except Deny as deny:
        _check_writable(deny, endpoint)
        raise
    except RequestError as error:
        raise Deny(400, {"error": error.message, "code": error.code}) from error
    except Exception as error:
        raise _internal_error(endpoint, error) from error
