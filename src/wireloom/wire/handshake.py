"""The opening handshake (RFC 6455 §4): reading a request head, judging an upgrade, answering it.

Law: nothing is switched before everything was checked; every refusal is a `Deny` with the HTTP answer to send.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple

from wireloom.errors import Deny, HandshakeFailed
from wireloom.wire.deflate import Agreement, DeflateSettings, accept_answer
from wireloom.wire.hosts import HOST

__all__ = [
    "Answer",
    "RequestHead",
    "accept_key",
    "check_answer",
    "check_origin",
    "check_upgrade",
    "choose_subprotocol",
    "deny_body",
    "deny_response",
    "is_origin_allowed",
    "is_upgrade",
    "offered_subprotocols",
    "parse_head",
    "switching_protocols",
    "upgrade_request",
]

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
_FORBIDDEN_IN_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
# RFC 9112 §3.2: origin-form, or absolute-form, which a server MUST accept
_TARGET = re.compile(rb"(?:(?i:https?|wss?)://[\x21-\x22\x24-\x2e\x30-\x3e\x40-\x7e]+)?(/[\x21-\x7e]*|(?<=.)\Z)\Z")

_ORIGIN = re.compile(rf"(?P<scheme>https?)://{HOST}\Z")

Headers = list[tuple[bytes, bytes]]


class RequestHead:
    """The head of one HTTP request. Header names are lower-case; repeated headers stay apart and in order.

    Args:
        method: such as ``"GET"``.
        target: path and query as sent.
        version: ``"1.1"`` or ``"1.0"``.
        header_lines: the header section as it came, without the last line's end.
        headers: the same, parsed.
    """

    __slots__ = ("_header_lines", "_headers", "method", "path", "query_string", "version")

    def __init__(self, method: str, target: str, version: str, header_lines: bytes, headers: Headers) -> None:
        self.method = method
        self.path, _, self.query_string = target.partition("?")
        self.version = version
        self._header_lines = header_lines
        self._headers: Headers | None = headers

    @property
    def headers(self) -> Headers:
        """All headers as pairs of bytes."""
        return _parse_headers(self._header_lines) if self._headers is None else self._headers

    def compact(self) -> None:
        """Drops the parsed headers; an open connection keeps one bytes object and parses it again when asked."""
        if self._header_lines:
            self._headers = None

    def header(self, name: bytes) -> str | None:
        """The first header of that name, or None."""
        for key, value in self.headers:
            if key == name:
                return value.decode("latin-1")
        return None

    def tokens(self, name: bytes) -> list[str]:
        """The comma-separated values of all headers of that name, in order (RFC 9110 §5.6.1)."""
        values = [value.decode("latin-1") for key, value in self.headers if key == name]
        return [token.strip() for value in values for token in value.split(",") if token.strip()]


def parse_head(data: bytes) -> RequestHead:
    """Reads a request head, up to and with the empty line.

    Raises:
        Deny: 400 for what RFC 9112 §2 to §5 forbids (this parser is strict: no bare line feed, no folding).
    """
    request_line, _, header_lines = data[:-4].partition(b"\r\n")
    parts = request_line.split(b" ")
    target = _TARGET.match(parts[1]) if len(parts) == 3 and _TOKEN.match(parts[0]) else None
    if target is None:
        raise Deny(400, "Malformed request line")
    if parts[2] not in (b"HTTP/1.1", b"HTTP/1.0"):
        raise Deny(505, "HTTP Version Not Supported")
    version = "1.1" if parts[2] == b"HTTP/1.1" else "1.0"
    path_and_query = (target[1] or b"/").decode()
    return RequestHead(parts[0].decode(), path_and_query, version, header_lines, _parse_headers(header_lines))


def _parse_headers(header_lines: bytes) -> Headers:
    return [_header_line(line) for line in header_lines.split(b"\r\n")] if header_lines else []


def _header_line(line: bytes) -> tuple[bytes, bytes]:
    name, colon, value = line.partition(b":")
    if not colon or not _TOKEN.match(name) or _FORBIDDEN_IN_VALUE.search(value):
        raise Deny(400, "Malformed header")
    return name.lower(), value.strip(b" \t")


def is_upgrade(head: RequestHead) -> bool:
    """Whether a request asks for WebSocket: ``Upgrade: websocket`` and ``upgrade`` among the Connection tokens.

    Firefox sends ``Connection: keep-alive, Upgrade``, so both are looked for among tokens, in any case.
    """
    return any(token.lower() == "websocket" for token in head.tokens(b"upgrade")) and any(
        token.lower() == "upgrade" for token in head.tokens(b"connection")
    )


def check_upgrade(head: RequestHead) -> str:
    """The accept key for a well-formed upgrade request (RFC 6455 §4.2.1).

    Raises:
        Deny: 400 for a broken request, 426 with the version offered for another version.
    """
    if head.method != "GET" or head.version != "1.1":
        raise Deny(400, "A WebSocket handshake is a GET request of HTTP/1.1")
    lengths = [value for name, value in head.headers if name in (b"content-length", b"transfer-encoding")]
    if any(value.strip() != b"0" for value in lengths):
        raise Deny(400, "A WebSocket handshake has no body")
    hosts = [value for name, value in head.headers if name == b"host"]
    if len(hosts) != 1 or _origin_parts("http://" + hosts[0].decode("latin-1")) is None:
        raise Deny(400, "One Host header is required")
    # RFC 6455 §4.4: another version is answered with the versions understood
    if head.tokens(b"sec-websocket-version") != ["13"]:
        raise Deny(
            426, "This server speaks WebSocket version 13", {"Sec-WebSocket-Version": "13", "Upgrade": "websocket"}
        )
    keys = [value for name, value in head.headers if name == b"sec-websocket-key"]
    if len(keys) != 1 or not _is_key(keys[0]):
        raise Deny(400, "Sec-WebSocket-Key must be 16 bytes in base64, once")
    return accept_key(keys[0])


def _is_key(key: bytes) -> bool:
    try:
        return len(key) == 24 and len(base64.b64decode(key, validate=True)) == 16
    except binascii.Error:
        return False


def accept_key(key: bytes) -> str:
    """The value of ``Sec-WebSocket-Accept`` (RFC 6455 §4.2.2 step 5.4)."""
    return base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest()).decode()


def check_origin(head: RequestHead, allowed: Sequence[str] = ()) -> None:
    """Guards against cross-site WebSocket hijacking (RFC 6455 §10.2).

    A request without Origin does not come from a browser and passes. Else the origin's host must be the Host header's,
    or the origin one of those allowed: exact, with ``*.`` for any subdomain, or ``*`` for all.

    Raises:
        Deny: 403.
    """
    origins = [value.decode("latin-1") for name, value in head.headers if name == b"origin"]
    if not origins:
        return
    if len(origins) > 1 or not is_origin_allowed(origins[0], head.header(b"host") or "", allowed):
        raise Deny(403, "Origin not allowed")


def is_origin_allowed(origin: str, host: str, allowed: Iterable[str]) -> bool:
    """Whether an Origin may talk to this Host; see `check_origin`."""
    if "*" in allowed:
        return True
    sender = _origin_parts(origin)
    if sender is None:
        return origin in allowed  # "null", or the scheme of some application
    scheme, name, port = sender
    if _origin_parts(f"{scheme}://{host}") == sender:
        return True
    return any(_matches(scheme, name, port, pattern) for pattern in allowed)


def _matches(scheme: str, name: str, port: int, pattern: str) -> bool:
    prefix, wildcard, suffix = pattern.partition("://*.")
    if not wildcard:
        return _origin_parts(pattern) == (scheme, name, port)
    domain = _origin_parts(f"{prefix}://{suffix}")
    if domain is None or (scheme, port) != (domain[0], domain[2]):
        return False
    label, dot, rest = name.removesuffix(domain[1]).rpartition(".")
    return bool(dot) and bool(label) and not rest and name.endswith(domain[1])


def _origin_parts(origin: str) -> tuple[str, str, int] | None:
    """Scheme, host and port of a serialized origin (RFC 6454 §6.1), None for anything else."""
    match = _ORIGIN.match(origin.lower())
    if match is None:
        return None
    port = int(match["port"] or (443 if match["scheme"] == "https" else 80))
    return (match["scheme"], match["host"], port) if port < 65536 else None


def offered_subprotocols(head: RequestHead) -> list[str]:
    """The subprotocols that the client offers, in its order of preference."""
    return head.tokens(b"sec-websocket-protocol")


def choose_subprotocol(head: RequestHead, spoken: Sequence[str]) -> str | None:
    """The first subprotocol of ours, in the endpoint's order, that the client offers; None when there is none."""
    offered = offered_subprotocols(head) if spoken else ()
    return next((name for name in spoken if name in offered), None)


def switching_protocols(accept: str, subprotocol: str | None = None, headers: Mapping[str, str] | None = None) -> bytes:
    """The 101 answer (RFC 6455 §4.2.2)."""
    chosen = f"Sec-WebSocket-Protocol: {subprotocol}\r\n" if subprotocol else ""
    return (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept}\r\n{chosen}{_header_lines(headers or {})}\r\n"
    ).encode("latin-1")


def deny_response(deny: Deny) -> bytes:
    """The whole HTTP answer to a refused handshake; the connection ends after it."""
    content_type, body = deny_body(deny)
    connection = "close, Upgrade" if "Upgrade" in deny.headers else "close"  # RFC 9110 §7.8
    return (
        f"HTTP/1.1 {deny.status} {_phrase(deny.status)}\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: {connection}\r\n{_header_lines(deny.headers)}\r\n"
    ).encode("latin-1") + body


def deny_body(deny: Deny) -> tuple[str, bytes]:
    """Content type and body of a refusal: text becomes ``{"error": text}``, other values are written as they are."""
    value: Any = {"error": deny.body or _phrase(deny.status)} if isinstance(deny.body, str) else deny.body
    if isinstance(value, bytes):
        return "application/octet-stream", value
    return "application/json", json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def _header_lines(headers: Mapping[str, str]) -> str:
    for name, value in headers.items():
        if _FORBIDDEN_IN_VALUE.search(f"{value}".encode("latin-1")):
            raise ValueError(f"the header {name!r:.60} must not contain a line break or another control character")
        if not _TOKEN.match(name.encode("latin-1")):
            raise ValueError(f"there can be no header {name!r:.60}; a line break or a colon ends its name")
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items())


def upgrade_request(
    host: str, target: str, key: bytes, subprotocols: Sequence[str], headers: Iterable[tuple[str, str]]
) -> bytes:
    """A client's opening request (RFC 6455 §4.1).

    Args:
        host: the Host header, with the port unless it is the scheme's own.
        target: path and query.
        key: 16 random bytes in base64.
    """
    offered = f"Sec-WebSocket-Protocol: {', '.join(subprotocols)}\r\n" if subprotocols else ""
    lines = "".join(_header_lines({name: value}) for name, value in headers)
    return (
        f"GET {target} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key.decode()}\r\nSec-WebSocket-Version: 13\r\n{offered}{lines}\r\n"
    ).encode("latin-1")


class Answer(NamedTuple):
    """What a server chose in its 101.

    Args:
        subprotocol: one of those offered, or None.
        extensions: the elements of ``Sec-WebSocket-Extensions``.
        deflate: what they mean; None: no compression.
    """

    subprotocol: str | None
    extensions: list[str]
    deflate: Agreement | None


def check_answer(
    data: bytes, key: bytes, subprotocols: Sequence[str], deflate: DeflateSettings | None = None
) -> Answer:
    """Judges a server's answer, head and whatever body came with it (RFC 6455 §4.1).

    Args:
        data: the answer.
        key: of the request.
        subprotocols: those that were offered.
        deflate: what was offered of permessage-deflate; None: nothing.

    Raises:
        HandshakeFailed: anything but a correct 101.
    """
    head, _, body = data.partition(b"\r\n\r\n")
    status_line, _, lines = head.partition(b"\r\n")
    match = re.match(rb"HTTP/1\.1 (\d{3})( |\Z)", status_line)
    if not match:
        raise HandshakeFailed("the server does not answer in HTTP/1.1")
    try:
        pairs = _parse_headers(lines)
    except Deny as error:
        raise HandshakeFailed(f"the server's answer is malformed: {error.body}") from None
    answer = RequestHead("", "/", "1.1", b"", pairs)
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in pairs}
    status = int(match[1])
    if status != 101:
        raise HandshakeFailed(f"the server answered {status} {_phrase(status)}", status, headers, body)
    # RFC 6455 §11.3.3, §11.3.4: neither MUST appear more than once
    names = [name for name, _ in pairs]
    if names.count(b"sec-websocket-accept") > 1 or names.count(b"sec-websocket-protocol") > 1:
        raise HandshakeFailed("the server's 101 has a header twice that must be there once", status, headers)
    if not is_upgrade(answer) or headers.get("sec-websocket-accept") != accept_key(key):
        raise HandshakeFailed("the server's 101 does not accept this handshake", status, headers)
    extensions = answer.tokens(b"sec-websocket-extensions")
    try:
        agreement = accept_answer(extensions, deflate)
    except HandshakeFailed as error:
        raise HandshakeFailed(error.reason, status, headers) from None
    chosen = headers.get("sec-websocket-protocol")
    if chosen is not None and chosen not in subprotocols:
        raise HandshakeFailed(f"the server chose the subprotocol {chosen!r}, which was not offered", status, headers)
    return Answer(chosen, extensions, agreement)
