"""Starlette under uvicorn: plain WebSocket endpoints, JSON by the standard library."""

from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

subscribers: set[WebSocket] = set()


async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    async for message in websocket.iter_text():
        await websocket.send_text(message)


async def chat(websocket: WebSocket) -> None:
    room = websocket.path_params["room"]
    await websocket.accept()
    async for message in websocket.iter_json():
        await websocket.send_json({"echo": message["text"], "from": message["user"], "room": room})


async def sub(websocket: WebSocket) -> None:
    await websocket.accept()
    subscribers.add(websocket)
    try:
        async for _ in websocket.iter_text():
            pass
    finally:
        subscribers.discard(websocket)


async def pub(websocket: WebSocket) -> None:
    await websocket.accept()
    async for message in websocket.iter_text():
        for subscriber in list(subscribers):
            await subscriber.send_text(message)


app = Starlette(
    routes=[
        WebSocketRoute("/echo", echo),
        WebSocketRoute("/chat/{room}", chat),
        WebSocketRoute("/sub", sub),
        WebSocketRoute("/pub", pub),
    ]
)
