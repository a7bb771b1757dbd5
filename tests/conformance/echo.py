"""What Autobahn talks to: every message comes back as it went. Its cases are as large as 16 MiB."""

from wireloom import App

app = App(
    max_message_bytes=16 * 1024 * 1024,
    outbox_bytes=64 * 1024 * 1024,
    compression=True,
    compression_takeover=True,  # with and without: the cases of 13 ask for either
    compression_min_bytes=0,
)


@app.websocket("/")
async def echo(message: str | bytes) -> str | bytes:
    """The message itself."""
    return message
