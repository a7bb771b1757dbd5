"""The other end: WebSocket clients. They know the wire and nothing of the server."""
