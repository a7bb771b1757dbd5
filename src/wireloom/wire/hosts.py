"""AllowedHosts: the names by which a server may be asked, against DNS rebinding (RFC 9110 §7.4).

Law: a ``Host`` that cannot be read is a name that is not allowed: browsers send more characters than names have here.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence

from wireloom.errors import Deny

__all__ = ["HOST", "AllowedHosts"]

# a name, an IPv4 address or an IPv6 address in brackets, in lower case, and a port (RFC 3986 §3.2.2)
HOST = r"(?P<host>[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?\.?|\[[0-9a-f:.]+\])(?::(?P<port>[0-9]{1,5}))?"
_HOST = re.compile(rf"{HOST}\Z")

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class AllowedHosts:
    """What the ``Host`` of a request may be. Ports, case and a dot at the end do not matter.

    Args:
        patterns: exact names; ``*.`` before one for all below it; addresses and networks, for who asks by address;
            ``*``. None at all: any host.
    """

    __slots__ = ("_names", "_networks", "_suffixes", "_takes_any")

    def __init__(self, patterns: Sequence[str] = ()) -> None:
        self._takes_any = not patterns or "*" in patterns
        self._networks = [network for network in map(_network, patterns) if network is not None]
        names = [pattern.lower().removesuffix(".") for pattern in patterns if _network(pattern) is None]
        self._names = frozenset(names)
        self._suffixes = tuple(name[1:] for name in names if name.startswith("*."))

    def check(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Judges a request by its headers, whose names are lower-case. One without a Host is no browser's, and passes.

        Raises:
            Deny: 421 (RFC 9110 §15.5.20).
        """
        if self._takes_any:
            return
        for name, value in headers:
            if name == b"host":
                self._check(value.decode("latin-1"))

    def _check(self, host: str) -> None:
        match = _HOST.match(host.lower())
        name = match["host"].removesuffix(".") if match is not None else ""
        if not name or not self._allows(name):
            message = f"{name or 'This Host'} is not served here; the option allowed_hosts has to name it"
            raise Deny(421, {"error": "Misdirected Request", "message": message})

    def _allows(self, name: str) -> bool:
        if name in self._names or name.endswith(self._suffixes):
            return True
        try:
            address = ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return False
        return any(address in network for network in self._networks)


def _network(pattern: str) -> _Network | None:
    try:
        return ipaddress.ip_network(pattern.strip("[]"), strict=False)
    except ValueError:
        return None
