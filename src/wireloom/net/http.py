"""Plain HTTP on the same port: an ASGI application made of routes, mounts and the answers for WebSocket paths."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.requests import Request as HTTPRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Router

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from wireloom.net.listener import Listener

__all__ = ["HTTPDoor"]


class HTTPDoor:
    """Answers HTTP requests: health, the WebSocket paths' 426, then whatever was added, in that order."""

    def __init__(self) -> None:
        self._router = Router(default=self._no_route)
        self._listener: Listener | None = None

    def add(self, route: BaseRoute) -> None:
        """Adds a Starlette route or mount; they are asked in order."""
        self._router.routes.append(route)

    def attach(self, listener: Listener) -> None:
        """Learns of the WebSocket endpoints beside it."""
        self._listener = listener

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        listener = self._listener
        path = scope["path"].removeprefix(scope.get("root_path", "").rstrip("/")) or "/"
        if listener is not None and listener.router.match(path) is not None:
            await _upgrade_required(scope)(scope, receive, send)
        elif path == "/healthz/live":
            await JSONResponse({"status": "ok"})(scope, receive, send)
        elif path == "/healthz/ready":
            await _readiness(listener)(scope, receive, send)
        else:
            await self._router(scope, receive, send)

    async def _no_route(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = HTTPRequest(scope)
        message = f"No route found for {request.method} {request.url.path}"
        await JSONResponse({"error": "Not Found", "message": message}, 404)(scope, receive, send)


def _upgrade_required(scope: Scope) -> Response:
    # RFC 9110 §15.5.22: a 426 MUST name the protocol required
    message = f"{scope['path']} speaks WebSocket; connect with ws:// or wss://"
    headers = {"Upgrade": "websocket", "Connection": "Upgrade"}
    return JSONResponse({"error": "Upgrade Required", "message": message}, 426, headers)


def _readiness(listener: Listener | None) -> Response:
    ready = listener is not None and not listener.draining
    return JSONResponse({"status": "ready" if ready else "not ready"}, 200 if ready else 503)
