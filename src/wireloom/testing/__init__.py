"""What tests of applications need: a real server in the test's own event loop, and clients with time-outs."""

from wireloom.errors import HandshakeFailed
from wireloom.testing.server import TestServer, TestWebSocket

__all__ = ["HandshakeFailed", "TestServer", "TestWebSocket"]
