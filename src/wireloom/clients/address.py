"""Address: a WebSocket URL, parsed as the URL Standard parses it, but strict about its slashes.

Law: what is not certainly a WebSocket URL is refused; no part of it can put anything else into the request.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from urllib.parse import quote, unquote

from wireloom.errors import WebSocketSyntaxError

__all__ = ["Address", "parse_url"]

_SCHEMES = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}
_PORTS = {"ws": 80, "wss": 443}
# `//` and an authority, as RFC 3986 §3 has them; the URL Standard's backslashes are slashes by now
_URL = re.compile(
    r"([A-Za-z][A-Za-z0-9+.-]*)://(?:([^/?]*)@)?(\[[^\]/?@]*\]|[^/?:@\[\]]+)(?::([0-9]*))?(/[^?]*)?(\?.*)?\Z"
)
# user and password, which no message has to tell
_LOGIN = re.compile(r"([/\\]{2})[^/\\?#]*@")
_FORBIDDEN_IN_HOST = re.compile(r"[\x00-\x20#/:<>?@\[\\\]^|%\x7f]")
# The URL Standard's percent-encode sets, by what they leave alone besides letters, digits and _.-~
_PATH_SAFE = "/%!$&'()*+,:;=@[]|\\"
_QUERY_SAFE = "/%!$&()*+,:;=@[]|\\?^`{}"
_USER_SAFE = "%!$&'()*+,"
_DOTS = {".": ".", "%2e": ".", "..": "..", ".%2e": "..", "%2e.": "..", "%2e%2e": ".."}


@dataclass(frozen=True, slots=True)
class Address:
    """A WebSocket URL.

    Attributes:
        url: serialized.
        is_secure: whether by TLS.
        host: a name in ASCII, or an IP address, without brackets.
        port: the scheme's own unless the URL has one.
        target: path and query for the request.
        credentials: ``user:password``, or empty.
        host_header: host and, unless it is the scheme's own, port.
        origin: scheme, host and port.
    """

    url: str = field(repr=False)
    is_secure: bool
    host: str
    port: int
    target: str
    credentials: str = field(repr=False)
    host_header: str
    origin: str

    @property
    def public_url(self) -> str:
        """The URL without user and password, for logs and messages."""
        return self.origin + self.target


def parse_url(url: str) -> Address:
    """Reads a WebSocket URL (URL Standard §4.4, WebSockets Standard §3.1).

    Raises:
        WebSocketSyntaxError: it is none, or has a fragment.
    """
    shown = _LOGIN.sub(r"\1", url)
    text = re.sub(r"[\t\n\r]", "", url.strip("".join(map(chr, range(33)))))
    if "#" in text:
        raise WebSocketSyntaxError(f"{shown!r} has a fragment, which a WebSocket URL must not")
    before_query, mark, query = text.partition("?")
    match = _URL.match(before_query.replace("\\", "/") + mark + query)
    scheme = _SCHEMES.get(match[1].lower()) if match else None
    if match is None or scheme is None:
        raise WebSocketSyntaxError(f"{shown!r} is not a WebSocket URL; it begins with ws:// or wss:// and a host")
    user, _, password = (match[2] or "").partition(":")
    host = _host(match[3], shown)
    port = int(match[4] or _PORTS[scheme])
    if port > 65535:
        raise WebSocketSyntaxError(f"{shown!r} has a port above 65535")
    target = _path(match[5] or "/") + _encode(match[6] or "", _QUERY_SAFE)
    host_header = host if port == _PORTS[scheme] else f"{host}:{port}"
    login = _encode(user, _USER_SAFE) + (f":{_encode(password, _USER_SAFE)}" if password else "")
    return Address(
        url=f"{scheme}://{login + '@' if login else ''}{host_header}{target}",
        is_secure=scheme == "wss",
        host=host.strip("[]"),
        port=port,
        target=target,
        credentials=f"{unquote(user)}:{unquote(password)}" if login else "",
        host_header=host_header,
        origin=f"{scheme}://{host_header}",
    )


def _host(host: str, shown: str) -> str:
    """A host as the URL Standard writes it (§3.5): in lower case, in ASCII, IPv6 in brackets and short."""
    try:
        if host.startswith("["):
            if "%" in host:
                raise ValueError("zone")
            return f"[{IPv6Address(host[1:-1]).compressed}]"
        name = unquote(host, errors="strict")
        name = name.lower() if name.isascii() else name.encode("idna").decode("ascii").lower()
        if _FORBIDDEN_IN_HOST.search(name):
            raise ValueError("code point")
    except ValueError:
        raise WebSocketSyntaxError(f"{shown!r} is not a WebSocket URL; {host!r} is no host") from None
    return name


def _path(path: str) -> str:
    """A path without its dot segments, percent-encoded."""
    segments: list[str] = []
    *parts, last = path.split("/")[1:]
    for part in [*parts, last]:
        dots = _DOTS.get(part.lower())
        if dots == "..":
            del segments[-1:]
        if dots is None:
            segments.append(_encode(part, _PATH_SAFE))
    if last.lower() in _DOTS:
        segments.append("")
    return "/" + "/".join(segments)


def _encode(text: str, safe: str) -> str:
    return quote(text, safe=safe, errors="replace")
