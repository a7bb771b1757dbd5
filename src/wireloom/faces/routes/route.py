"""Route: what a file says of one route, checked; its hooks are left to the compiler."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from wireloom.core.http import is_token
from wireloom.errors import did_you_mean
from wireloom.faces.routes.document import Value
from wireloom.faces.routes.report import MAX_PROBLEMS, Enough, Problem

__all__ = ["HOOKS", "KEYS", "Route", "read_route"]

HOOKS = ("on_connect", "on_message", "on_disconnect")
_BINARY = ("text", "base64", "json")
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
_LONGEST = 2000  # characters of a path
_LONGEST_NAME = 200
_PARAMETER = re.compile(r":([A-Za-z_]\w*)|\{([A-Za-z_]\w*)\}", re.ASCII)

# What a route may have, for the documents and for messages.
KEYS: dict[str, str] = {
    "name": "what logs and documents call it; the path where it is left out",
    "description": "for documents",
    "path": "a template: `:room` and `{room}` are whole segments. It is served as written and below `/api`",
    "route_type": "`WebSocket` or `Http`; what the route has tells it where it is left out",
    "method": "of an HTTP route: one or a list; GET where it is left out",
    "ws_hooks": "of a WebSocket route: lists of operations `on_connect`, `on_message`, `on_disconnect`",
    "logic": "of an HTTP route: the list of operations",
    "auth": "true: only with a token of a user",
    "rate_limit": "`{messages_per_minute, burst}` of a connection; of an HTTP route, of a user or address",
    "channels": "of a WebSocket route: a list of channels that every connection joins",
    "binary": "of a WebSocket route: what a binary message becomes: `text` (UTF-8), `base64` or `json`",
    "message_schema": "JSON Schema of messages, or of the body",
    "max_message_size": "bytes of one message or body",
    "subprotocols": "of a WebSocket route: those that it speaks, most wanted first",
}
_OF_WEBSOCKETS = ("ws_hooks", "channels", "binary", "subprotocols")
_OF_HTTP = ("method", "logic")


@dataclass(slots=True, eq=False)
class Route:
    """One route as it is declared.

    Args:
        value: all of it, for problems.
        name: for messages.
        hooks: lists of operations: those of `HOOKS`, or ``logic``.
        rate: messages, or requests, a minute, and how many may come at once; None: any number.
    """

    value: Value
    name: str
    path: str = ""
    description: str = ""
    is_http: bool = False
    methods: tuple[str, ...] = ("GET",)
    hooks: dict[str, Value] = field(default_factory=dict)
    auth: bool = False
    rate: tuple[int, int] | None = None
    channels: list[Value] = field(default_factory=list)
    binary: str = "text"
    message_schema: Any = None
    max_message_bytes: int | None = None
    subprotocols: tuple[str, ...] = ()
    is_sound: bool = True  # nothing of this is wrong

    @property
    def source(self) -> str:
        """``file:line``."""
        return f"{self.value.file.name}:{self.value.line}"


def read_route(value: Value) -> tuple[Route, list[Problem]]:
    """A route, as far as it can be read, and what is wrong with it."""
    reader = _Reader(value)
    with suppress(Enough):
        reader.read()
    return reader.route, reader.problems


class _Reader:
    """Reads the keys of one route."""

    def __init__(self, value: Value) -> None:
        self._members = {name: inner for name, (_, inner) in value.members().items()}
        self.problems: list[Problem] = []
        self.route = Route(value, self._name(value))

    def _name(self, value: Value) -> str:
        for key in ("name", "path"):
            data = self._members[key].data if key in self._members else None
            if isinstance(data, str) and data:
                return data[:_LONGEST_NAME]
        return "without a name"

    def _problem(self, value: Value, message: str, part: tuple[int, int] | None = None) -> None:
        spot = value.spot() if part is None else value.within(*part)
        self.problems.append(Problem(spot, message, f"route {self.route.name!r}"))
        self.route.is_sound = False
        if len(self.problems) >= MAX_PROBLEMS:
            raise Enough

    def read(self) -> None:
        value = self.route.value
        if not isinstance(value.data, dict):
            self._problem(value, "a route is an object with a path and hooks")
            return
        if value.tag:
            self._problem(value, f"the tag !{value.tag} stands before no operation")
        for name, (key, _) in value.data.items():
            if name not in KEYS:
                nearest = f"; {name} stands below ws_hooks" if name in HOOKS else did_you_mean(name, KEYS)
                self._problem(key, f"a route has no {name!r}{nearest}")
        self._read_type()
        for name, inner in self._members.items():
            read: Callable[[Value], None] | None = getattr(self, f"_read_{name}", None) if name in KEYS else None
            if read is not None:
                read(inner)
        if "path" not in self._members:
            self._problem(value, "a route needs 'path'")
        self._read_hooks()

    # -- what kind it is -----------------------------------------------------------------------------------------------

    def _read_type(self) -> None:
        route = self.route
        written = self._members.get("route_type")
        if written is None:
            route.is_http = "logic" in self._members and "ws_hooks" not in self._members
        else:
            given = written.data if isinstance(written.data, str) else ""
            word = given.replace("_", "").lower()
            if word not in ("websocket", "http"):
                self._problem(written, f"route_type is WebSocket or Http{did_you_mean(given, ('WebSocket', 'Http'))}")
                route.is_http = "logic" in self._members and "ws_hooks" not in self._members
                return
            route.is_http = word == "http"
        kind = "an HTTP" if route.is_http else "a WebSocket"
        for name in _OF_WEBSOCKETS if route.is_http else _OF_HTTP:
            if name in self._members:
                self._problem(route.value.members()[name][0], f"{kind} route has no {name!r}")

    def _read_hooks(self) -> None:
        route = self.route
        if route.is_http:
            if "logic" not in self._members:
                self._problem(route.value, "an HTTP route needs 'logic', a list of operations")
            else:
                route.hooks = {"logic": self._members["logic"]}
            return
        hooks = self._members.get("ws_hooks")
        if hooks is None or not isinstance(hooks.data, dict):
            self._problem(hooks or route.value, "a WebSocket route needs 'ws_hooks', an object of lists of operations")
            return
        for name, (key, inner) in hooks.data.items():
            if name not in HOOKS:
                self._problem(key, f"there is no hook {name!r}{did_you_mean(name, HOOKS)}")
            elif inner.data is not None:
                route.hooks[name] = inner

    # -- key by key ----------------------------------------------------------------------------------------------------

    def _read_name(self, value: Value) -> None:
        if not isinstance(value.data, str) or not 0 < len(value.data) <= _LONGEST_NAME or not value.data.isprintable():
            self._problem(value, f"name must be a text of 1 to {_LONGEST_NAME} printable characters")

    def _read_description(self, value: Value) -> None:
        if not isinstance(value.data, str):
            self._problem(value, "description must be a text")
        else:
            self.route.description = value.data

    def _read_path(self, value: Value) -> None:
        if not isinstance(value.data, str) or len(value.data) > _LONGEST:
            self._problem(value, "path must be a text, such as /ws/chat/:room")
            return
        if not value.data.startswith("/"):
            self._problem(value, f"the path {value.data!r} must begin with a slash")
            return
        segments: list[str] = []
        names: list[str] = []
        at, before = 1, len(self.problems)
        for segment in value.data[1:].split("/"):
            parameter = _PARAMETER.fullmatch(segment)
            is_last = at + len(segment) == len(value.data)
            if parameter is not None:
                name = parameter[1] or parameter[2]
                segments.append(f"{{{name}}}")
                names.append(name)
            elif refusal := _refusal(segment, is_last):
                self._problem(value, f"the path {value.data!r} cannot be: {refusal}", (at - 1, at + len(segment)))
            else:
                segments.append(segment)
            if parameter is not None and names.count(name) > 1:
                message = f"the path {value.data!r} names the parameter {name!r} twice"
                self._problem(value, message, (at, at + len(segment)))
            at += len(segment) + 1
        if len(self.problems) == before:
            self.route.path = "/" + "/".join(segments)

    def _read_method(self, value: Value) -> None:
        written = value.items() if isinstance(value.data, list) else [value]
        methods = [str(item.data).upper() if isinstance(item.data, str) else "" for item in written]
        for item, method in zip(written, methods, strict=True):
            if method not in _METHODS:
                self._problem(item, f"method must be one of {', '.join(_METHODS)}{did_you_mean(method, _METHODS)}")
        if not methods:
            self._problem(value, f"method must be one of {', '.join(_METHODS)}, or a list of them")
        self.route.methods = tuple(dict.fromkeys(methods)) or ("GET",)

    def _read_auth(self, value: Value) -> None:
        if not isinstance(value.data, bool):
            self._problem(value, "auth must be true or false")
        self.route.auth = value.data is True

    def _read_rate_limit(self, value: Value) -> None:
        members = value.members()
        for name, (key, _) in members.items():
            if name not in ("messages_per_minute", "burst"):
                known = ("messages_per_minute", "burst")
                self._problem(key, f"rate_limit has no {name!r}{did_you_mean(name, known)}")
        per_minute = self._whole(members, "messages_per_minute", value)
        burst = self._whole(members, "burst", value) if "burst" in members else per_minute
        self.route.rate = (per_minute, burst)

    def _whole(self, members: dict[str, tuple[Value, Value]], name: str, value: Value) -> int:
        data = members[name][1].data if name in members else None
        if isinstance(data, bool) or not isinstance(data, int) or data < 1:
            self._problem(members[name][1] if name in members else value, f"{name} must be a whole number of 1 or more")
            return 1
        return data

    def _read_channels(self, value: Value) -> None:
        if not isinstance(value.data, list):
            self._problem(value, "channels must be a list of names")
        self.route.channels = value.items()

    def _read_binary(self, value: Value) -> None:
        word = value.data if isinstance(value.data, str) else ""
        if word not in _BINARY:
            self._problem(value, f"binary must be one of {', '.join(_BINARY)}{did_you_mean(word, _BINARY)}")
        else:
            self.route.binary = word

    def _read_message_schema(self, value: Value) -> None:
        self.route.message_schema = _plain(value)
        if not isinstance(value.data, dict | bool):
            self._problem(value, "message_schema must be a JSON Schema")

    def _read_max_message_size(self, value: Value) -> None:
        if isinstance(value.data, bool) or not isinstance(value.data, int) or value.data < 1:
            self._problem(value, "max_message_size must be a whole number of bytes")
        else:
            self.route.max_message_bytes = value.data

    def _read_subprotocols(self, value: Value) -> None:
        names: Sequence[Any] = [item.data for item in value.items()]
        if not isinstance(value.data, list) or not all(isinstance(n, str) and is_token(n) for n in names):
            self._problem(value, "subprotocols must be a list of names")
        else:
            self.route.subprotocols = tuple(names)


def _refusal(segment: str, is_last: bool) -> str:
    """Why a segment of a path cannot be that is no parameter; empty where it can."""
    if not segment and not is_last:
        return "an empty segment, '//'"
    if segment in (".", ".."):
        return f"no client asks for {segment!r}"
    if segment.startswith(":") or "{" in segment or "}" in segment:
        return f"{segment!r} must be a whole segment, such as :room or {{room}}"
    if "?" in segment or "#" in segment:
        return "no query and no fragment stands in it"
    if not segment.isprintable():
        return f"{segment!r} has characters that cannot be printed"
    return ""


def _plain(value: Value) -> Any:
    """A value as it is without places."""
    if isinstance(value.data, list):
        return [_plain(item) for item in value.data]
    if isinstance(value.data, dict):
        return {name: _plain(inner) for name, (_, inner) in value.data.items()}
    return value.data
