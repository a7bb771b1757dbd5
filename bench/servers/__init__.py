"""The servers measured: one file each, and this table of how each is started.

Law: every server offers the same four WebSocket paths and does the same work on them: `/echo` (text as it is),
`/chat/{room}` (typed JSON), `/sub` (hears the news) and `/pub` (whatever is sent here goes to every `/sub`). One
process, uvloop, no compression, no access log; otherwise each library's own defaults. A peer's file is not called what
the peer is called: with this directory on `sys.path`, it would be imported in its stead.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SERVERS", "Server"]

COMPACT_REPLY = '{"echo":"Hello","from":"Alice","room":"lobby"}'
SPACED_REPLY = '{"echo": "Hello", "from": "Alice", "room": "lobby"}'  # what `json.dumps` writes by default

UVICORN = (
    *("-m", "uvicorn", "--host", "127.0.0.1", "--port", "{port}", "--loop", "uvloop", "--http", "httptools"),
    *("--ws", "websockets-sansio", "--ws-per-message-deflate", "false", "--no-access-log", "--log-level", "error"),
)


@dataclass(frozen=True, slots=True)
class Server:
    """How one server is started.

    Args:
        name: its name in tables and in `--servers`.
        arguments: the interpreter's arguments; `{port}` becomes the port.
        packages: distributions whose versions are reported.
        typed_reply: the exact text it must answer on `/chat/lobby`.
        typed_how: how it reads a typed message, for the report.
    """

    name: str
    arguments: tuple[str, ...]
    packages: tuple[str, ...]
    typed_reply: str
    typed_how: str


def _under_uvicorn(name: str, typed_how: str) -> Server:
    packages = (name, "uvicorn", "websockets")
    return Server(name, (*UVICORN, f"bench.servers.{name}_server:app"), packages, COMPACT_REPLY, typed_how)


def _alone(name: str) -> Server:
    how = "`json.loads`, dict access (missing keys fail, types are not checked), `json.dumps`"
    return Server(name, ("-m", f"bench.servers.{name}_server", "{port}"), (name,), SPACED_REPLY, how)


_WIRELOOM = Server(
    "wireloom",
    ("-m", "wireloom.cli.main", "serve", "bench/servers/wireloom.py", "--port", "{port}", "--log-level", "error"),
    ("wireloom",),
    COMPACT_REPLY,
    "a `TypedDict` annotation: decoded and validated in one pass",
)

SERVERS: dict[str, Server] = {
    server.name: server
    for server in (
        _WIRELOOM,
        _under_uvicorn("starlette", "`receive_json` and dict access (types are not checked), `send_json`"),
        _under_uvicorn("fastapi", "`Model.model_validate_json` on each message, `send_json`"),
        _under_uvicorn("litestar", "`@websocket_listener` with a `DataclassDTO`: decoded, validated; reply by msgspec"),
        _alone("aiohttp"),
        _alone("websockets"),
        _alone("picows"),
    )
}
