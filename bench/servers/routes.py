"""Declarative routes beside the same handlers in Python."""

from __future__ import annotations

from pathlib import Path

from wireloom import App, Connection, Hub

app = App()
app.add_routes(Path(__file__).with_name("routes.yaml"))


@app.websocket("/handler/echo")
async def echo(message: str) -> str:
    """What the route `echo` does."""
    return f"Echo: {message}"


@app.websocket("/handler/broadcast")
async def broadcast(message: str, connection: Connection, hub: Hub) -> None:
    """What the route `broadcast` does."""
    if "hello" in message:
        hub.publish_nowait(connection.client_id, message)
    else:
        connection.send_text("no")


@broadcast.on_connect
async def join(connection: Connection) -> None:
    """Every connection hears a channel of its own, so that the load is an echo."""
    connection.join(connection.client_id)
