"""A real HTTP server of another party, for tests of what routes ask of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

__all__ = ["Outside", "outside"]


class Outside:
    """Answers by path: what `answers` has for it, else 200 with what was asked, as JSON.

    Attributes:
        url: without a slash at the end.
        host: with the port, as it is allow-listed.
        requests: all that came: method, target, headers and body.
        answers: raw responses by path.
        gates: by path, what is waited for before it is answered.
        busy: requests that are not answered yet.
        most: of these at a time.
    """

    def __init__(self) -> None:
        self.url = self.host = ""
        self.requests: list[tuple[str, str, dict[str, str], str]] = []
        self.answers: dict[str, bytes] = {}
        self.gates: dict[str, asyncio.Event] = {}
        self.busy = self.most = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            method, target, _ = head[0].split(" ")
            headers = {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in head[1:] if line}
            body = (await reader.readexactly(int(headers.get("content-length", 0)))).decode()
            self.requests.append((method, target, headers, body))
            self.busy += 1
            self.most = max(self.most, self.busy)
            path = target.partition("?")[0]
            if path in self.gates:
                await self.gates[path].wait()
            self.busy -= 1
            writer.write(self.answers.get(path) or response(json.dumps({"method": method, "body": body}).encode()))
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # who asked has gone
        finally:
            writer.close()


def response(body: bytes, status: str = "200 OK", kind: str = "application/json", more: str = "") -> bytes:
    """A response as it goes over the wire."""
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n{more}\r\n"
    )
    return head.encode() + body


@asynccontextmanager
async def outside() -> AsyncIterator[Outside]:
    """A server on a free port."""
    server = Outside()
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.host = f"127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    server.url = f"http://{server.host}"
    try:
        yield server
    finally:
        for gate in server.gates.values():
            gate.set()
        listening.close()
