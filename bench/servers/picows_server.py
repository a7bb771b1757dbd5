"""picows: listeners with synchronous callbacks, as its documentation writes them; JSON by the standard library.

It hands out frames, not messages: nothing here joins fragments or checks UTF-8 on the echo path, as in its examples.
"""

import json
import sys

import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

subscribers: set[WSTransport] = set()


class Endpoint(WSListener):
    """Answers the close frame; a subclass handles what is neither close nor control."""

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()
        else:
            self.on_message(transport, frame)

    def on_message(self, transport: WSTransport, frame: WSFrame) -> None: ...


class Echo(Endpoint):
    def on_message(self, transport: WSTransport, frame: WSFrame) -> None:
        transport.send(frame.msg_type, frame.get_payload_as_memoryview())


class Chat(Endpoint):
    def __init__(self, room: str) -> None:
        self.room = room

    def on_message(self, transport: WSTransport, frame: WSFrame) -> None:
        message = json.loads(frame.get_payload_as_utf8_text())
        reply = json.dumps({"echo": message["text"], "from": message["user"], "room": self.room})
        transport.send(WSMsgType.TEXT, reply.encode())


class Sub(Endpoint):
    def on_ws_connected(self, transport: WSTransport) -> None:
        subscribers.add(transport)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        subscribers.discard(transport)


class Pub(Endpoint):
    def on_message(self, transport: WSTransport, frame: WSFrame) -> None:
        payload = frame.get_payload_as_bytes()
        for subscriber in list(subscribers):
            subscriber.send(WSMsgType.TEXT, payload)


def route(request: WSUpgradeRequest) -> WSListener | None:
    path = request.path.decode()
    if path.startswith("/chat/"):
        return Chat(path.removeprefix("/chat/"))
    endpoint = {"/echo": Echo, "/sub": Sub, "/pub": Pub}.get(path)
    return endpoint() if endpoint else None


async def main(port: int) -> None:
    server = await ws_create_server(route, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
