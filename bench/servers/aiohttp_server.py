"""aiohttp's own server: `WebSocketResponse`, JSON by the standard library."""

import json
import sys

import uvloop
from aiohttp import web

subscribers: set[web.WebSocketResponse] = set()


async def accept(request: web.Request) -> web.WebSocketResponse:
    websocket = web.WebSocketResponse(compress=False)
    await websocket.prepare(request)
    return websocket


async def echo(request: web.Request) -> web.WebSocketResponse:
    websocket = await accept(request)
    async for message in websocket:
        await websocket.send_str(message.data)
    return websocket


async def chat(request: web.Request) -> web.WebSocketResponse:
    room = request.match_info["room"]
    websocket = await accept(request)
    async for frame in websocket:
        message = json.loads(frame.data)
        await websocket.send_json({"echo": message["text"], "from": message["user"], "room": room})
    return websocket


async def sub(request: web.Request) -> web.WebSocketResponse:
    websocket = await accept(request)
    subscribers.add(websocket)
    try:
        async for _ in websocket:
            pass
    finally:
        subscribers.discard(websocket)
    return websocket


async def pub(request: web.Request) -> web.WebSocketResponse:
    websocket = await accept(request)
    async for message in websocket:
        for subscriber in list(subscribers):
            await subscriber.send_str(message.data)
    return websocket


def main(port: int) -> None:
    app = web.Application()
    app.add_routes([web.get("/echo", echo), web.get("/chat/{room}", chat), web.get("/sub", sub), web.get("/pub", pub)])
    web.run_app(app, host="127.0.0.1", port=port, access_log=None, print=None, loop=uvloop.new_event_loop())


if __name__ == "__main__":
    main(int(sys.argv[1]))
