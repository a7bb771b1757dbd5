"""RFC 6455 without I/O: bytes to messages, messages to bytes, and the opening handshake. Nothing here waits."""
