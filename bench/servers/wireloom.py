"""Wireloom, served by `wireloom serve bench/servers/wireloom.py`."""

from typing import TypedDict

from wireloom import App, Connection, Hub

app = App()


class ChatMessage(TypedDict):
    text: str
    user: str


@app.websocket("/echo")
async def echo(message: str) -> str:
    return message


@app.websocket("/chat/{room}")
async def chat(message: ChatMessage, room: str) -> dict:
    return {"echo": message["text"], "from": message["user"], "room": room}


@app.websocket("/sub")
async def sub(message: str) -> None: ...


@sub.on_connect
async def joined(connection: Connection) -> None:
    connection.join("news")


@app.websocket("/pub")
async def pub(message: str, hub: Hub) -> None:
    await hub.publish("news", message)
