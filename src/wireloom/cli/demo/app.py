"""A typed chat in rooms and the page that speaks it, on one port.

A message that does not match `ChatMessage` never reaches the handler: its
sender is told what is wrong with it, and the connection stays open.
"""

from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from typing import Annotated, Literal, TypedDict

from msgspec import Meta

from wireloom import App, Connection, Hub, Query

__all__ = ["ChatMessage", "Event", "Presence", "Said", "app"]

app = App(validation_details=True)


class ChatMessage(TypedDict):
    """What a browser sends."""

    text: Annotated[str, Meta(min_length=1, max_length=500)]
    user: Annotated[str, Meta(min_length=1, max_length=32)]


class Event(TypedDict):
    """What everything that a room hears has in common."""

    user: str
    author: str  # a public id of the connection, since two people may share a name
    room: str
    at: datetime
    count: int  # people in the room now


class Said(Event):
    """Somebody spoke."""

    type: Literal["message"]
    text: str


class Presence(Event):
    """Somebody came or went; `welcome` goes to the newcomer alone, before `joined`."""

    type: Literal["welcome", "joined", "left"]


def event(room: str, connection: Connection, hub: Hub) -> Event:
    state = connection.state
    count = hub.count(f"chat:{room}")
    return {"user": state["user"], "author": state["author"], "room": room, "at": datetime.now(UTC), "count": count}


@app.websocket("/chat/{room}")
async def chat(message: ChatMessage, room: str, connection: Connection, hub: Hub) -> None:
    connection.state["user"] = message["user"]
    spoken: Said = {"type": "message", "text": message["text"], **event(room, connection, hub)}
    await hub.publish(f"chat:{room}", spoken)


@chat.on_connect
async def joined(room: str, connection: Connection, hub: Hub, user: Annotated[str, Query()] = "Someone") -> None:
    connection.state.update(user=user[:32], author=token_hex(4))
    connection.join(f"chat:{room}")
    newcomer: Presence = {"type": "welcome", **event(room, connection, hub)}
    connection.send(newcomer)
    await hub.publish(f"chat:{room}", {**newcomer, "type": "joined"})


@chat.on_disconnect
async def left(room: str, connection: Connection, hub: Hub) -> None:
    leaver: Presence = {"type": "left", **event(room, connection, hub)}
    await hub.publish(f"chat:{room}", leaver)


app.static("/", Path(__file__).parent)  # the page, and this file, which the page shows
