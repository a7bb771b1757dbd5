"""A team in one window: channels, direct messages, who is here, and a report that takes its time.

People register and log in over HTTP and then keep one connection open, the event socket at `/websocket`; both come
with `app.events()`. On that connection whatever the server says is a list, `[kind, data]`. What people send each
other past the server is always an object, so nobody can put words into somebody else's mouth.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypedDict

from msgspec import Meta

from wireloom import App, Connection, RequestError, notify

app = App()

Text = Annotated[str, Meta(min_length=1, max_length=500)]


class Said(TypedDict):
    """What somebody says to everyone in a channel."""

    channel: str
    text: Text


class Told(TypedDict):
    """What somebody says to one person, by the id of that person's root."""

    to: str
    text: Text


class Order(TypedDict):
    """How long a report is to be."""

    pages: Annotated[int, Meta(ge=1, le=40)]


# -- talking -----------------------------------------------------------------------------------------------------------


def signed(text: str, connection: Connection) -> dict[str, Any]:
    """A text with who wrote it and when, as the server knows it."""
    author = {"id": connection.root_id, "name": connection.user.username}
    return {"text": text, "from": author, "at": datetime.now(UTC)}


@app.event(auth=True)
async def say(said: Said, connection: Connection) -> None:
    if said["channel"] not in connection.channels:
        raise RequestError("NOT_A_MEMBER", "Join the channel before you speak in it")
    notify.channels([said["channel"]], ["said", {"channel": said["channel"], **signed(said["text"], connection)}])


@app.event(auth=True)
async def tell(told: Told, connection: Connection) -> None:
    if told["to"] not in app.hub.users():
        raise RequestError("NOT_HERE", "They are not here now, so nothing was delivered")
    notify.users([told["to"], connection.root_id], ["told", {"to": told["to"], **signed(told["text"], connection)}])


# -- a long piece of work ----------------------------------------------------------------------------------------------


@app.event(auth=True)
async def report(order: Order, connection: Connection) -> None:
    if "report" in connection.state and not connection.state["report"].done():
        raise RequestError("BUSY", "One report at a time")
    connection.state["report"] = asyncio.create_task(write(order["pages"]))


async def write(pages: int) -> None:
    """Writes page after page, while whoever ordered them chats on, and tells that connection alone how far it is."""
    for page in range(1, pages + 1):
        await asyncio.sleep(0.15)  # your work
        notify.self(["progress", {"done": page, "of": pages}])


# -- who is here -------------------------------------------------------------------------------------------------------


async def announce() -> None:
    """Tells everyone who is logged in who else is."""
    here = {each.user.root_id: each.user.username for each in app.hub.connections() if each.user}
    notify.users(here, ["people", [{"id": root_id, "name": name} for root_id, name in here.items()]])


async def leave(connection: Connection) -> None:
    if "report" in connection.state:
        connection.state["report"].cancel()
    await announce()


async def allow(connection: Connection, kind: str, names: Sequence[str]) -> bool:
    """Who is logged in may join any channel and hint to those joined that they are typing. All else is said above."""
    if connection.user is None:
        return False
    return kind == "subscribe" or (kind == "channel" and connection.channels.issuperset(names))


app.events(on_connect=announce, on_disconnect=leave, allow=allow)
app.static("/", Path(__file__).parent / "public")
