"""Opening: from a URL to an open WebSocket, by TCP, TLS and perhaps a proxy.

Laws:
- What is wrong with the arguments is told when they are given, not when the connection is opened.
- One time-out bounds all of it: the name, the proxy, TCP, TLS and the handshake.
"""

from __future__ import annotations

import asyncio
import base64
import os
import re
import ssl as tls
from collections.abc import Awaitable, Callable, Iterable, Mapping
from inspect import isawaitable
from typing import Any, Literal, TypeAlias, TypedDict, TypeVar

from wireloom.clients.address import Address, parse_url
from wireloom.clients.protocol import ClientProtocol, Handshake
from wireloom.clients.proxy import Proxy, choose_proxy
from wireloom.errors import WebSocketSyntaxError
from wireloom.wire.deflate import DeflateSettings, offer
from wireloom.wire.handshake import upgrade_request

__all__ = ["ClientOptions", "Headers", "Opening"]

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")

Headers: TypeAlias = Mapping[str, str] | Iterable[tuple[str, str]]
P = TypeVar("P", bound=ClientProtocol)

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")


class ClientOptions(TypedDict, total=False):
    """What every client takes by keyword.

    Attributes:
        headers: further request headers; or a function, asynchronous or not, that gives them for each handshake.
        ssl: a TLS context for ``wss://``; by default the system's certificates decide.
        open_timeout: seconds for all of the opening; None for no limit. Default 10.
        max_size: bytes of one message, above it the connection ends with 1009; None for no limit. Default 16 MiB.
        ping_interval: seconds of silence before a ping; a server that stays silent for 8 more is given up. None for no
            pings. Default 25.
        proxy: the URL of a proxy, ``http://``, ``socks5://`` or ``socks4://``; True for the environment's
            (``HTTP_PROXY``, ``HTTPS_PROXY``, ``ALL_PROXY``, ``NO_PROXY``); None for none, the default.
        compression: offer permessage-deflate (RFC 7692). Default False.
    """

    headers: Headers | Callable[[], Headers | Awaitable[Headers]]
    ssl: tls.SSLContext | None
    open_timeout: float | None
    max_size: int | None
    ping_interval: float | None
    proxy: str | Literal[True] | None
    compression: bool


class Opening:
    """How to open a WebSocket; good for any number of them.

    Args:
        url: ``ws://`` or ``wss://``; ``http://`` and ``https://`` stand for them.
        subprotocols: one, or those offered, most wanted first.
        options: see `ClientOptions`.

    Attributes:
        address: the URL, parsed.

    Raises:
        WebSocketSyntaxError: not a WebSocket URL; or a subprotocol that is twice there or no token.
        ValueError: not a proxy's URL.
        ConfigError: a proxy without the extra ``proxy``.
    """

    def __init__(self, url: str, subprotocols: str | Iterable[str], options: ClientOptions) -> None:
        if unknown := set(options) - set(ClientOptions.__annotations__):
            raise TypeError(f"unexpected keyword argument {min(unknown)!r}")
        self.address: Address = parse_url(url)
        self._subprotocols = _names(subprotocols)
        self._headers = options.get("headers", ())
        self._tls = (options.get("ssl") or tls.create_default_context()) if self.address.is_secure else None
        self._timeout = options.get("open_timeout", 10.0)
        self._max_size = options.get("max_size", 16 * 1024 * 1024) or 0
        self._ping_interval = options.get("ping_interval", 25.0) or 0.0
        self._deflate = DeflateSettings(takeover=True) if options.get("compression") else None
        self._proxy: Proxy | None = choose_proxy(options.get("proxy"), self.address)

    async def open(self, make: Callable[[Handshake], P]) -> P:
        """Opens one.

        Args:
            make: makes the protocol object for it.

        Raises:
            HandshakeFailed: the server, or the proxy, did not agree.
            OSError: nobody listens there, or TLS failed.
            TimeoutError: the time is over.
            ValueError: a header with a line break, or another character that no header may have.
        """
        protocol: P | None = None
        try:
            async with asyncio.timeout(self._timeout):
                protocol = make(await self._handshake())
                await self._connect(protocol)
                await protocol.wait_opened()
        except BaseException as error:
            if protocol is not None:
                refusal = protocol.refusal if isinstance(error, TimeoutError) else None
                protocol.abort()
                if refusal is not None:  # it came, only its body did not end
                    raise refusal from None
            raise
        return protocol

    async def _handshake(self) -> Handshake:
        headers = self._headers() if callable(self._headers) else self._headers
        if isawaitable(headers):
            headers = await headers
        pairs = list(headers.items()) if isinstance(headers, Mapping) else list(headers)
        address = self.address
        if address.credentials and not any(name.lower() == "authorization" for name, _ in pairs):
            pairs.append(("Authorization", f"Basic {base64.b64encode(address.credentials.encode()).decode()}"))
        if self._deflate is not None:
            pairs.append(("Sec-WebSocket-Extensions", offer(self._deflate)))
        key = base64.b64encode(os.urandom(16))
        request = upgrade_request(address.host_header, address.target, key, self._subprotocols, pairs)
        return Handshake(request, key, self._subprotocols, self._max_size, self._ping_interval, self._deflate)

    async def _connect(self, protocol: ClientProtocol) -> None:
        loop = asyncio.get_running_loop()
        address = self.address
        where: dict[str, Any] = {"host": address.host, "port": address.port}
        if self._proxy is not None:
            where = {"sock": await self._proxy.dial(address.host, address.port)}
            if self._tls is not None:
                where["server_hostname"] = address.host
        await loop.create_connection(lambda: protocol, ssl=self._tls, **where)


def _names(subprotocols: str | Iterable[str]) -> list[str]:
    """Subprotocols as they may be offered (RFC 6455 §4.1)."""
    names = [subprotocols] if isinstance(subprotocols, str) else list(subprotocols)
    for index, name in enumerate(names):
        if not _TOKEN.match(name) or name in names[:index]:
            raise WebSocketSyntaxError(f"the subprotocol {name!r} is twice there or no token")
    return names
