"""Pages: the browser pages that hear of live reloads, at ``/__reload``. Law: they are told, and say nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from wireloom.config import Config
from wireloom.core.codec import Codec
from wireloom.core.endpoint import Door, Endpoint
from wireloom.core.request import Request
from wireloom.errors import RequestError
from wireloom.hub.connection import Connection

if TYPE_CHECKING:
    from starlette.types import ASGIApp

__all__ = ["Pages"]

_PATH = "/__reload"
_SCRIPT = """\
(() => {
  const address = new URL("__reload", document.currentScript.src);
  address.protocol = address.protocol.replace("http", "ws");
  let lost = false;
  const connect = () => {
    const socket = new WebSocket(address.href);
    let opened = false;
    socket.onopen = () => {
      opened = true;
      if (lost) location.reload();
    };
    socket.onmessage = ({ data }) => {
      const event = JSON.parse(data);
      if (event.type === "reload") location.reload();
      else console.error(`reload failed: ${event.message}`);
    };
    socket.onclose = () => {
      lost ||= opened;
      setTimeout(connect, 500);
    };
  };
  connect();
})();
"""


class Pages:
    """The open connections of ``/__reload``, and the script that makes them."""

    def __init__(self) -> None:
        self._connections: set[Connection] = set()

    def tell(self, event: dict[str, Any]) -> None:
        """Sends an event to every page."""
        for connection in self._connections:
            connection.send(event)

    def compile(self, config: Config) -> Endpoint:
        """The endpoint that pages connect to."""
        return Endpoint(
            name="reload",
            path=_PATH,
            door=Door.WEBSOCKET,
            codec=Codec(_read, _read, _encode_error, json=False),
            on_message=_ignore,
            on_connect=self._came,
            on_disconnect=self._left,
            limits=config.limits,
            hidden=True,
        )

    def answers(self) -> dict[str, ASGIApp]:
        """What HTTP serves for them, by path."""
        script = Response(_SCRIPT, media_type="text/javascript", headers={"Cache-Control": "no-store"})
        return {f"{_PATH}.js": script}

    async def _came(self, request: Request) -> None:
        self._connections.add(request.connection)

    async def _left(self, request: Request) -> None:
        self._connections.discard(request.connection)


def _read(payload: Any) -> Any:
    return payload


def _encode_error(error: RequestError) -> bytes:
    return error.message.encode()


async def _ignore(request: Request) -> None:
    """Pages have nothing to say."""
