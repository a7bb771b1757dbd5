"""Litestar under uvicorn: its typed WebSocket listeners, a dataclass DTO for the chat message."""

from dataclasses import dataclass

from litestar import Litestar, WebSocket, websocket_listener
from litestar.dto import DataclassDTO

subscribers: set[WebSocket] = set()


@dataclass
class ChatMessage:
    text: str
    user: str


@websocket_listener("/echo")
async def echo(data: str) -> str:
    return data


@websocket_listener("/chat/{room:str}", dto=DataclassDTO[ChatMessage], return_dto=None)
async def chat(data: ChatMessage, room: str) -> dict[str, str]:
    return {"echo": data.text, "from": data.user, "room": room}


async def joined(socket: WebSocket) -> None:
    subscribers.add(socket)


async def left(socket: WebSocket) -> None:
    subscribers.discard(socket)


@websocket_listener("/sub", on_accept=joined, on_disconnect=left)
async def sub(data: str) -> None: ...


@websocket_listener("/pub")
async def pub(data: str) -> None:
    for subscriber in list(subscribers):
        await subscriber.send_text(data)


app = Litestar([echo, chat, sub, pub], openapi_config=None)
