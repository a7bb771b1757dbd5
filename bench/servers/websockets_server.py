"""The websockets library's asyncio server: one handler by path, its `broadcast`, JSON by the standard library."""

import json
import sys

import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve

subscribers: set[ServerConnection] = set()


async def echo(websocket: ServerConnection) -> None:
    async for message in websocket:
        await websocket.send(message)


async def chat(websocket: ServerConnection, room: str) -> None:
    async for text in websocket:
        message = json.loads(text)
        await websocket.send(json.dumps({"echo": message["text"], "from": message["user"], "room": room}))


async def sub(websocket: ServerConnection) -> None:
    subscribers.add(websocket)
    try:
        await websocket.wait_closed()
    finally:
        subscribers.discard(websocket)


async def pub(websocket: ServerConnection) -> None:
    async for message in websocket:
        broadcast(subscribers, message)


async def handler(websocket: ServerConnection) -> None:
    path = websocket.request.path
    if path.startswith("/chat/"):
        await chat(websocket, path.removeprefix("/chat/"))
    elif endpoint := {"/echo": echo, "/sub": sub, "/pub": pub}.get(path):
        await endpoint(websocket)


async def main(port: int) -> None:
    async with serve(handler, "127.0.0.1", port, compression=None) as server:
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
