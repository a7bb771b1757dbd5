"""The server of the flood: every limit on, and short enough to be met; served by `wireloom serve`."""

import asyncio
import gc
from contextlib import asynccontextmanager

from starlette.responses import JSONResponse

from wireloom import App, CallbackHandler, Connection

NEWS = "n" * 65536


@asynccontextmanager
async def publishing(app):
    """Publishes as long as the server runs, for those who never read."""

    async def publish():
        while True:
            await app.hub.publish("news", NEWS)
            await asyncio.sleep(0.02)

    task = asyncio.create_task(publish())
    yield
    task.cancel()


def callback(req):
    """Takes bodies."""
    return {"body": str(len(req.body))} if req.type != "websocket" else None


app = App(
    [CallbackHandler(callback)],
    lifespan=publishing,
    database="sqlite://",
    compression=True,
    handshake_timeout_seconds=3,
    body_timeout_seconds=3,
    close_timeout_seconds=2,
    ping_interval_seconds=3,
    ping_timeout_seconds=3,
    max_fragments=1000,
    messages_per_second=200,
    max_connections_per_ip=15,
    log_level="error",
)
app.events()


@app.websocket("/echo")
async def echo(message: dict) -> dict:
    return message


@app.websocket("/news")
async def news(message: str) -> None: ...


@news.on_connect
async def joined(connection: Connection) -> None:
    connection.join("news")


async def held(scope, receive, send):
    """What the server holds."""
    gc.collect()
    told = {
        "shells": len(app.listener.shells),
        "counted": len(app.hub.census),
        "connections": app.hub.count(),
        "tasks": len(asyncio.all_tasks()),
    }
    await JSONResponse(told)(scope, receive, send)


app.mount("/held", held)
