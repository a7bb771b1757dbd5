from typing import TypedDict
from wireloom import *
async def test_x(wireloom_server):
    app = App()
    class ChatMessage(TypedDict):
        text: str
        user: str
    log=[]
    @app.websocket("/chat/{room}")
    async def chat(message: ChatMessage, room: str, connection: Connection) -> dict:
        return {"echo": message["text"], "from": message["user"], "room": room}
    @chat.on_connect
    async def joined(room: str, connection: Connection) -> None:
        connection.join(room); log.append("c")
    @chat.on_disconnect
    async def left(connection: Connection) -> None: log.append("d")
    async with wireloom_server(app) as server:
        async with server.websocket("/chat/lobby") as ws:
            await ws.send_json({"text": "Hello", "user": "Alice"})
            assert await ws.receive_json() == {"echo": "Hello", "from": "Alice", "room": "lobby"}
            await app.hub.publish("lobby", {"x":1})
            assert await ws.receive_json() == {"x": 1}
        reply = await server.http.get("/openapi.json")
        assert reply.status_code==404
    assert log==["c","d"]
