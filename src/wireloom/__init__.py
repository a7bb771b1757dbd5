"""Wireloom: a real-time application server for Python. The public names."""

from wireloom.app import App
from wireloom.config import Config, Limits
from wireloom.core.provide import Provide, Query
from wireloom.core.request import Request
from wireloom.core.topic import EVERYONE, Topic, client, user
from wireloom.errors import ConfigError, ConnectionClosed, Deny, Disconnect, RequestError, WireloomError
from wireloom.faces.websocket import WebSocketHandler, websocket
from wireloom.hub.connection import Connection
from wireloom.hub.hub import Hub

__all__ = [
    "EVERYONE",
    "App",
    "Config",
    "ConfigError",
    "Connection",
    "ConnectionClosed",
    "Deny",
    "Disconnect",
    "Hub",
    "Limits",
    "Provide",
    "Query",
    "Request",
    "RequestError",
    "Topic",
    "WebSocketHandler",
    "WireloomError",
    "client",
    "user",
    "websocket",
]

__version__ = "0.1.0"
