"""The way in: the port's first bytes, the WebSocket shell, other people's ASGI servers, plain HTTP."""
