"""A network of a test's own, which can be taken away from one browser while the server goes on for the others.

Chromium's own emulation of it spares connections that are open, and begins at a time of its own.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from threading import Thread

__all__ = ["Relay"]


class Relay:
    """Passes TCP connections on to a server on this machine.

    Args:
        port: the server's.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._passing: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._port = self._listening.getsockname()[1]
        self._accept()

    @property
    def url(self) -> str:
        """Where the server is, by this way."""
        return f"http://127.0.0.1:{self._port}/"

    def cut(self) -> None:
        """Ends all connections; from now on nobody answers here."""
        for end in (self._listening, *self._passing):
            with suppress(OSError):  # it has ended by itself
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self._passing.clear()

    def mend(self) -> None:
        """Passes on again."""
        self._listening = socket.create_server(("127.0.0.1", self._port))
        self._accept()

    def _accept(self) -> None:
        Thread(target=self._pass_on, args=(self._listening,), daemon=True).start()

    def _pass_on(self, listening: socket.socket) -> None:
        with suppress(OSError):  # until it is cut
            while True:
                near, _ = listening.accept()
                far = socket.create_connection(("127.0.0.1", self._target))
                self._passing += near, far
                for one, other in ((near, far), (far, near)):
                    Thread(target=_copy, args=(one, other), daemon=True).start()


def _copy(one: socket.socket, other: socket.socket) -> None:
    with suppress(OSError):
        while data := one.recv(65536):
            other.sendall(data)
    with suppress(OSError):
        other.shutdown(socket.SHUT_WR)
