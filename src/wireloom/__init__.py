"""Wireloom: a real-time application server for Python. The public names, each imported when it is first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from starlette.datastructures import UploadFile

    from wireloom.app import App
    from wireloom.clients.browser import WebSocket
    from wireloom.clients.connection import ClientConnection, open_connection
    from wireloom.clients.events import CloseEvent, MessageEvent
    from wireloom.clients.opening import ClientOptions
    from wireloom.clients.reconnect import LastingConnection, connect
    from wireloom.config import Config, Limits
    from wireloom.core.provide import Provide, Query
    from wireloom.core.request import Request
    from wireloom.core.topic import EVERYONE, Topic, client, user
    from wireloom.errors import (
        ConfigError,
        ConnectionClosed,
        Deny,
        Disconnect,
        HandshakeFailed,
        InvalidAccessError,
        InvalidStateError,
        NoAnswer,
        NoHub,
        QueueFull,
        RequestError,
        WebSocketSyntaxError,
        WireloomError,
    )
    from wireloom.faces.callback.connection import CallbackConnection
    from wireloom.faces.callback.handler import CallbackHandler
    from wireloom.faces.callback.request import CallbackRequest
    from wireloom.faces.walkers.spec import APIProtocol, spec
    from wireloom.faces.walkers.walker import Walker, entry, exit, wait
    from wireloom.faces.websocket import EventHandler, WebSocketHandler, event, websocket
    from wireloom.graph.edge import Edge
    from wireloom.graph.node import Node, Root
    from wireloom.hub.connection import Connection
    from wireloom.hub.hub import Hub
    from wireloom.hub.notify import WEBSOCKET_MANAGER, notify
    from wireloom.identity.user import User
    from wireloom.server import Server, create_server

__all__ = [
    "EVERYONE",
    "WEBSOCKET_MANAGER",
    "APIProtocol",
    "App",
    "CallbackConnection",
    "CallbackHandler",
    "CallbackRequest",
    "ClientConnection",
    "ClientOptions",
    "CloseEvent",
    "Config",
    "ConfigError",
    "Connection",
    "ConnectionClosed",
    "Deny",
    "Disconnect",
    "Edge",
    "EventHandler",
    "HandshakeFailed",
    "Hub",
    "InvalidAccessError",
    "InvalidStateError",
    "LastingConnection",
    "Limits",
    "MessageEvent",
    "NoAnswer",
    "NoHub",
    "Node",
    "Provide",
    "Query",
    "QueueFull",
    "Request",
    "RequestError",
    "Root",
    "Server",
    "Topic",
    "UploadFile",
    "User",
    "Walker",
    "WebSocket",
    "WebSocketHandler",
    "WebSocketSyntaxError",
    "WireloomError",
    "client",
    "connect",
    "create_server",
    "entry",
    "event",
    "exit",
    "notify",
    "open_connection",
    "spec",
    "user",
    "wait",
    "websocket",
]

__version__ = "0.1.0"

_HOMES = {
    "wireloom.app": ("App",),
    "wireloom.clients.browser": ("WebSocket",),
    "wireloom.clients.connection": (
        "ClientConnection",
        "open_connection",
    ),
    "wireloom.clients.events": (
        "CloseEvent",
        "MessageEvent",
    ),
    "wireloom.clients.opening": ("ClientOptions",),
    "wireloom.clients.reconnect": (
        "LastingConnection",
        "connect",
    ),
    "wireloom.config": (
        "Config",
        "Limits",
    ),
    "wireloom.core.provide": (
        "Provide",
        "Query",
    ),
    "wireloom.core.request": ("Request",),
    "wireloom.core.topic": (
        "EVERYONE",
        "Topic",
        "client",
        "user",
    ),
    "wireloom.errors": (
        "ConfigError",
        "ConnectionClosed",
        "Deny",
        "Disconnect",
        "HandshakeFailed",
        "NoAnswer",
        "NoHub",
        "InvalidAccessError",
        "InvalidStateError",
        "QueueFull",
        "RequestError",
        "WebSocketSyntaxError",
        "WireloomError",
    ),
    "starlette.datastructures": ("UploadFile",),
    "wireloom.faces.callback.connection": ("CallbackConnection",),
    "wireloom.faces.callback.handler": ("CallbackHandler",),
    "wireloom.faces.callback.request": ("CallbackRequest",),
    "wireloom.faces.walkers.spec": (
        "APIProtocol",
        "spec",
    ),
    "wireloom.faces.walkers.walker": (
        "Walker",
        "entry",
        "exit",
        "wait",
    ),
    "wireloom.faces.websocket": (
        "EventHandler",
        "WebSocketHandler",
        "event",
        "websocket",
    ),
    "wireloom.graph.edge": ("Edge",),
    "wireloom.graph.node": (
        "Node",
        "Root",
    ),
    "wireloom.hub.connection": ("Connection",),
    "wireloom.hub.hub": ("Hub",),
    "wireloom.hub.notify": (
        "WEBSOCKET_MANAGER",
        "notify",
    ),
    "wireloom.identity.user": ("User",),
    "wireloom.server": (
        "Server",
        "create_server",
    ),
}


if not TYPE_CHECKING:  # a type checker knows the names above, and is to tell of others

    def __getattr__(name: str) -> Any:
        for module, names in _HOMES.items():
            if name in names:
                value = globals()[name] = getattr(importlib.import_module(module), name)
                return value
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
