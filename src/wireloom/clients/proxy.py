"""Proxies on the way to a server; the library python-socks speaks to them, which the extra ``proxy`` installs."""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING, Literal

from wireloom.clients.address import Address
from wireloom.errors import ConfigError, HandshakeFailed

if TYPE_CHECKING:
    from python_socks.async_.asyncio import Proxy as Dialer

__all__ = ["Proxy", "choose_proxy"]

# the library's names, and whether the proxy is to look the server's name up
_SCHEMES = {
    "http": ("http", None),
    "socks4": ("socks4", None),
    "socks4a": ("socks4", True),
    "socks5": ("socks5", None),
    "socks5h": ("socks5", True),
}
_URL = re.compile(
    r"(?P<scheme>[a-z0-9]+)://(?P<rest>(?:[^/?#@]*@)?(?:\[[0-9A-Fa-f:.]+\]|[^/?#@:\[\]]+):[0-9]{1,5})/?\Z"
)


class Proxy:
    """A proxy.

    Args:
        url: scheme, perhaps user and password, host and port.

    Raises:
        ValueError: none that we speak to.
        ConfigError: the extra is not installed.
    """

    def __init__(self, url: str) -> None:
        match = _URL.match(url)
        if match is None or match["scheme"] not in _SCHEMES:
            raise ValueError("a proxy's URL is http://, socks5:// or socks4://, a host and a port")
        try:
            import python_socks.async_.asyncio  # noqa: F401
        except ImportError:
            raise ConfigError("a proxy needs the extra: pip install 'wireloom[proxy]'") from None
        scheme, self._remote_names = _SCHEMES[match["scheme"]]
        self._url = f"{scheme}://{match['rest']}"

    async def dial(self, host: str, port: int) -> socket.socket:
        """A TCP connection to the server by way of the proxy.

        Raises:
            HandshakeFailed: the proxy refuses; with its status if it speaks HTTP.
            OSError: it is not there.
        """
        from python_socks import ProxyError
        from python_socks.async_.asyncio import Proxy as Dialer

        dialer: Dialer = Dialer.from_url(self._url, rdns=self._remote_names)
        try:
            return await dialer.connect(host, port, timeout=_NEVER)
        except ProxyError as error:
            status = error.error_code if self._url.startswith("http:") and error.error_code else 0
            raise HandshakeFailed(f"the proxy refused: {error}", status) from None


_NEVER = 24 * 3600.0  # the opening has its own time-out


def choose_proxy(wanted: str | Literal[True] | None, address: Address) -> Proxy | None:
    """The proxy for an address.

    Args:
        wanted: a URL, True for the environment's, None for none.
    """
    if wanted is None or wanted is True:
        wanted = _from_environment(address) if wanted else None
    return Proxy(wanted) if wanted else None


def _from_environment(address: Address) -> str | None:
    from urllib.request import getproxies, proxy_bypass

    if proxy_bypass(f"{address.host}:{address.port}"):
        return None
    known = getproxies()
    names = ("wss", "https", "all") if address.is_secure else ("ws", "http", "all")
    url = next((known[name] for name in names if known.get(name)), None)
    return f"http://{url}" if url and "://" not in url else url
