"""One function for HTTP requests and WebSocket messages alike."""
